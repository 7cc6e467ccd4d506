//! What all connections of a node share.

use crate::{
    memory::Memory,
    metrics::{Eviction, Lease, Metrics, Open},
    origin::Origin,
    peers::Peers,
    registry::Registry,
    socket::MessageLimits,
};
use arc_swap::{ArcSwap, Guard};
use beckon_listener::{shares::Shares, source::Source};
use beckon_node::{
    assembly::Assembly,
    drain::Drain,
    key_rings::KeyRings,
    step_failures::StepFailures,
    store_room::{Newcomer, StoreRoom},
    trace::Tracer,
};
use beckon_ops::{clock::Clock, tenure::Tenure};
use beckon_session::{Admission, Demand, Settings};
use beckon_store::{Store, StoreError};
use beckon_types::{Broadcasts, Moment, NodeId, Presence};
use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};
use tokio::sync::{Mutex, oneshot};

/// The label of the port for WebSockets in metrics.
pub(crate) const PORT: &str = "sockets";

/// A connection-node.
#[derive(Debug)]
pub(crate) struct Node {
    /// Names this run of the node.
    pub(crate) id: NodeId,
    /// What operators call it.
    pub(crate) name: String,
    /// What an operator can change while the node runs. Reading it takes no lock.
    tunables: Arc<ArcSwap<Tunables>>,
    /// The node's monotonic time.
    pub(crate) clock: Clock,
    /// The store, for what the node does once. Connections have that of their [`Shard`](crate::shard::Shard).
    pub(crate) store: Arc<dyn Store>,
    /// The connections.
    pub(crate) registry: Arc<Registry>,
    /// What the connections may hold for their peers.
    pub(crate) memory: Arc<Memory>,
    /// What each source may take.
    pub(crate) shares: Arc<Shares>,
    /// The other nodes.
    pub(crate) peers: Arc<Peers>,
    /// The token keys of this node and of the others.
    pub(crate) key_rings: KeyRings,
    /// What is measured.
    pub(crate) metrics: Arc<Metrics>,
    /// The age of this node's lease, for the metrics.
    pub(crate) lease: Lease,
    /// Bounds what is logged of failed store steps.
    pub(crate) step_failures: StepFailures,
    /// The broadcasts, as last read from the store ([`crate::broadcasts`]).
    pub(crate) broadcasts: ArcSwap<Broadcasts>,
    /// The drain of this node.
    pub(crate) drain: Drain,
    /// Whether this process serves.
    pub(crate) tenure: Tenure,
    /// Held while the node is announced, and while it is handed over.
    pub(crate) announcing: Arc<Mutex<()>>,
    /// The epoch of the store as of the last announcement; 0 before the first.
    pub(crate) epoch: AtomicU64,
    /// What the store has room for.
    room: Arc<StoreRoom>,
    /// Traces single notifications.
    pub(crate) tracer: Tracer,
}

/// What a process goes on with that has taken a node over from another one.
#[derive(Debug, Clone, Copy)]
pub struct Former {
    /// The run of the node.
    pub id: NodeId,
    /// The tables that the former process had for its connections.
    pub tables: u8,
    /// The epoch of the store as the former process knew it; 0 if it did not.
    pub epoch: u64,
}

/// The limits of a client's messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Messages {
    /// Before its hello is answered (`max_message`).
    pub(crate) before_hello: MessageLimits,
    /// After that (`max_message_greeted`).
    pub(crate) greeted: MessageLimits,
}

/// How many sockets a node holds, and how fast it closes them.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// With this many open, an upgrade is refused with 503 (`max_connections`).
    pub connections_max: u64,
    /// With more than this many open, SimplePush clients are sent elsewhere (`redirect_threshold`).
    pub redirect_above: u64,
    /// So many are closed in a second when the node drains or sheds (`drain_rate`).
    pub drain_rate: u32,
    /// So many bytes they may hold for their peers (`max_buffered`).
    pub buffered_max: u64,
}

/// What an operator can change while the node runs.
#[derive(Debug)]
pub(crate) struct Tunables {
    /// What conversations depend on.
    pub(crate) settings: Settings,
    /// Limits on sockets.
    pub(crate) limits: Limits,
    /// What a client may send.
    pub(crate) messages: Messages,
    /// When a client that acknowledges nothing is dead (`dead_client`); zero for never. For sockets that are new.
    pub(crate) dead_client: Duration,
    /// Origins of pages that may connect (`allowed_origins`). Empty: all.
    pub(crate) allowed_origins: Vec<Origin>,
}

impl Node {
    /// A node without connections: a new one, which no other node knows yet, or one that another process has had.
    pub(crate) fn new(
        name: String,
        former: Option<Former>,
        tunables: Tunables,
        peers: Peers,
        assembly: &mut Assembly,
    ) -> Self {
        let (store, clock) = (assembly.store.clone(), assembly.clock);
        let exported = assembly.metrics();
        let (metrics, lease) = (Arc::new(Metrics::new(exported)), Lease::new(clock));
        exported.register_collector(Box::new(lease.clone()));
        let shares = assembly.ports.shares().clone();
        let workers = assembly.workers.count();
        let tables = former.map_or(workers, |former| former.tables);
        let registry = Registry::new(workers, tables, shares, clock, metrics.lifetimes.clone());
        let registry = Arc::new(registry);
        let memory = Arc::new(Memory::new(tunables.limits.buffered_max, registry.clone()));
        let key_rings = KeyRings::in_cluster(&tunables.settings.keys);
        let tunables = Arc::new(ArcSwap::from_pointee(tunables));
        let now = tunables.clone();
        let max = Box::new(move || now.load().limits.connections_max);
        let open = Open { registry: registry.clone(), max, memory: memory.clone() };
        assembly.metrics().register_collector(Box::new(open));
        Self {
            id: former.map_or_else(new_node_id, |former| former.id),
            name,
            tunables,
            clock,
            store,
            registry,
            memory,
            shares: assembly.ports.shares().clone(),
            peers: Arc::new(peers),
            lease,
            key_rings,
            step_failures: StepFailures::new(metrics.steps_failed.clone()),
            metrics,
            broadcasts: ArcSwap::default(),
            drain: assembly.drain.clone(),
            tenure: assembly.tenure.clone(),
            announcing: Arc::default(),
            epoch: AtomicU64::new(former.map_or(0, |former| former.epoch)),
            room: assembly.room.clone(),
            tracer: assembly.tracer.clone(),
        }
    }

    /// What an operator can change, as it is now. Not to be kept while waiting.
    pub(crate) fn tunables(&self) -> Guard<Arc<Tunables>> {
        self.tunables.load()
    }

    /// Uses these from now on. The key ring stays: it gets other keys in place. So does what other parts of the node would
    /// have to change with it.
    pub(crate) fn tune(&self, mut tunables: Tunables) {
        let now = self.tunables.load_full();
        tunables.settings.keys = now.settings.keys.clone();
        tunables.settings.uaid_idle = now.settings.uaid_idle;
        tunables.settings.endpoint_url.clone_from(&now.settings.endpoint_url);
        self.memory.set_max(tunables.limits.buffered_max);
        self.tunables.store(Arc::new(tunables));
    }

    /// The node's monotonic time.
    pub(crate) fn now(&self) -> Moment {
        Moment(self.clock.now_ms())
    }

    /// Whether the node has room for more SimplePush clients.
    pub(crate) fn has_room(&self) -> bool {
        !self.drain.is_draining() && self.registry.open() <= self.tunables().limits.redirect_above
    }

    /// Whether this node takes SimplePush clients, or which other one does (PROTOCOL.md section 1.9).
    pub(crate) fn admission(&self) -> Admission {
        if self.registry.open() <= self.tunables().limits.redirect_above {
            return Admission::Open;
        }
        let directory = self.peers.directory();
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

    /// Whether a source may ask for this now, and the store has room for it.
    pub(crate) fn admits(&self, source: Option<Source>, demand: Demand) -> bool {
        match demand {
            Demand::Hello => self.shares.admits_hello(PORT, source),
            Demand::Register => {
                self.room.has_room_for(Newcomer::Channel) && self.shares.admits_register(PORT, source)
            }
            Demand::NewClient => self.room.has_room_for(Newcomer::Client),
        }
    }

    /// Counts a store step that failed, and logs the reason: once a minute for each cause.
    pub(crate) fn step_failed(&self, error: &StoreError) {
        self.step_failures.record(error, self.clock.now_ms());
    }

    /// Closes the socket that owned a UAID before. Returns a receiver if that socket is on this node; it ends when
    /// the socket's Close frame is on its way.
    pub(crate) fn evict(&self, former: Presence) -> Option<oneshot::Receiver<()>> {
        if former.node == self.id {
            self.metrics.evicted(Eviction::Here);
            return self.registry.evict(former.connection);
        }
        self.peers.evict(former, self.metrics.clone());
        None
    }
}

fn new_node_id() -> NodeId {
    let mut bytes = [0; 8];
    #[expect(clippy::expect_used, reason = "without a random source no secret can be made")]
    getrandom::fill(&mut bytes).expect("the system has a random source");
    // In the records of the store, zero stands for no node.
    NodeId(u64::from_be_bytes(bytes).max(1))
}
