//! What all connections of a node share.

use crate::{connection::Suspended, metrics::Metrics, peers::Peers, registry::Registry, timers::Timers};
use beckon_ops::clock::Clock;
use beckon_session::{Admission, Settings};
use beckon_store::{NodeEntry, Store};
use beckon_types::{Broadcasts, Moment, NodeId, Presence};
use parking_lot::RwLock;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use tokio::sync::{mpsc, oneshot};

/// A connection-node at work.
#[derive(Debug)]
pub struct Node {
    /// This run of the node.
    pub id: NodeId,
    /// What operators call it.
    pub name: String,
    /// What conversations depend on.
    pub settings: Settings,
    /// Limits on sockets.
    pub limits: Limits,
    /// Largest message, in bytes, that a client may send (`max_message`).
    pub message_len_max: usize,
    /// The node's monotonic time.
    pub clock: Clock,
    /// What the cluster remembers.
    pub store: Arc<dyn Store>,
    /// The sockets.
    pub registry: Arc<Registry>,
    /// When to wake them.
    pub timers: Timers,
    /// The other nodes.
    pub peers: Arc<Peers>,
    /// What is measured.
    pub metrics: Metrics,
    /// The directory as of the last announcement.
    pub directory: RwLock<Arc<Vec<NodeEntry>>>,
    /// The broadcasts, as the store had them when it was last asked ([`crate::broadcasts`]).
    pub broadcasts: RwLock<Arc<Broadcasts>>,
    /// Takes connections that are to move to another place in memory ([`crate::compaction`]).
    pub moving: mpsc::Sender<Suspended>,
    /// Set for good when the node begins to stop.
    pub draining: AtomicBool,
}

/// How many sockets a node holds.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// With this many open, an upgrade is refused by 503 (`max_connections`).
    pub connections_max: u64,
    /// With more than this many open, SimplePush clients are sent elsewhere (`redirect_threshold`).
    pub redirect_above: u64,
}

impl Node {
    /// The time.
    pub fn now(&self) -> Moment {
        Moment(self.clock.now_ms())
    }

    /// Whether the node has begun to stop.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Whether the node has room for more SimplePush clients.
    pub fn has_room(&self) -> bool {
        !self.is_draining() && self.registry.open() <= self.limits.redirect_above
    }

    /// Whether this node takes SimplePush clients, or which other one does (PROTOCOL.md section 1.9).
    pub fn admission(&self) -> Admission {
        if self.registry.open() <= self.limits.redirect_above {
            return Admission::Open;
        }
        let directory = self.directory.read().clone();
        let others: Vec<&String> = directory
            .iter()
            .filter(|entry| entry.room && entry.node != self.id)
            .filter_map(|entry| entry.ws_url.as_ref())
            .collect();
        // The clock is random enough to spread clients over the others.
        match others.get(self.clock.now_ms() as usize % others.len().max(1)) {
            Some(url) => Admission::Redirect((*url).clone()),
            None => Admission::Full,
        }
    }

    /// Closes the socket that owned a UAID before. A receiver is returned if it is on this node; it ends when
    /// the socket's Close frame is on its way.
    pub fn evict(&self, former: Presence) -> Option<oneshot::Receiver<()>> {
        self.metrics.evictions.inc();
        if former.node == self.id {
            return self.registry.evict(former.connection);
        }
        self.peers.evict(former, self.directory.read().clone(), self.store.clone());
        None
    }
}
