//! Requests to the other connection-nodes: to close the socket of a client that has said hello here.

use crate::metrics::{Eviction, Metrics};
use beckon_ops::stage::Stage;
use beckon_proto::{
    auth::PresentSecret,
    channels::Channels,
    push_v1::{EvictRequest, delivery_client::DeliveryClient},
    status::Failure,
};
use beckon_store::{LEASE, NodeEntry};
use beckon_types::Presence;
use std::{sync::Arc, time::Duration};
use tokio::sync::{Semaphore, watch};

/// Most evictions on other nodes that may be under way. Further ones are not sent. The old socket then stays open until
/// its next store step or until its keep-alive fails, but it no longer owns its UAID.
pub(crate) const EVICTIONS_MAX: usize = 1024;

/// Most of them that may wait for the next copy of the directory. A node that has crashed leaves many presences.
const UNKNOWN_MAX: usize = EVICTIONS_MAX / 4;

/// Time limit for one attempt.
const EVICT_TIMEOUT: Duration = Duration::from_secs(3);

/// Attempts per eviction.
const ATTEMPTS: usize = 3;

/// Pause between two attempts.
const ATTEMPT_INTERVAL: Duration = Duration::from_secs(1);

/// The other connection-nodes.
#[derive(Debug)]
pub(crate) struct Peers {
    /// The directory as of this node's last announcement.
    directory: watch::Sender<Arc<Vec<NodeEntry>>>,
    channels: Channels,
    permits: Arc<Semaphore>,
    /// Of these, the ones for nodes that are not in the directory.
    unknown_permits: Semaphore,
    stage: Stage,
}

impl Peers {
    /// Knows no node yet. `stage` owns the tasks that send requests.
    pub(crate) fn new(channels: Channels, stage: Stage) -> Self {
        let permits = Arc::new(Semaphore::new(EVICTIONS_MAX));
        let (directory, unknown_permits) = (watch::Sender::default(), Semaphore::new(UNKNOWN_MAX));
        Self { directory, channels, permits, unknown_permits, stage }
    }

    /// The directory as of this node's last announcement, with this node in it.
    pub(crate) fn directory(&self) -> Arc<Vec<NodeEntry>> {
        self.directory.borrow().clone()
    }

    /// Replaces the directory, and drops the channels to nodes that have left it.
    pub(crate) fn set_directory(&self, nodes: Vec<NodeEntry>) {
        self.channels.retain(|address| nodes.iter().any(|entry| entry.grpc_address == address));
        self.directory.send_replace(Arc::new(nodes));
    }

    /// Asks another node to close a socket, in the background. A node that is not in this node's copy of the directory
    /// may have joined since, so the next copy is waited for in that case: when a node has crashed, each of its clients asks
    /// for this, and none of them reads the store.
    pub(crate) fn evict(self: &Arc<Self>, former: Presence, metrics: Arc<Metrics>) {
        let Ok(permit) = self.permits.clone().try_acquire_owned() else {
            metrics.evicted(Eviction::Skipped);
            return;
        };
        let peers = self.clone();
        self.stage.spawn(async move {
            let _permit = permit;
            // A node without a lease has no sockets, or notices that its lease had lapsed.
            let eviction = match peers.find(former).await {
                Ok(entry) => peers.evict_from(former, &entry.grpc_address).await,
                Err(eviction) => eviction,
            };
            metrics.evicted(eviction);
        });
    }

    async fn evict_from(&self, former: Presence, address: &str) -> Eviction {
        for attempt in 1..=ATTEMPTS {
            let Err(reason) = self.attempt(former, address).await else { return Eviction::There };
            tracing::debug!(node.id = %former.node, reason, "socket not evicted");
            if attempt < ATTEMPTS {
                tokio::time::sleep(ATTEMPT_INTERVAL).await;
            }
        }
        Eviction::Failed
    }

    /// The entry of a node, if this copy of the directory or the next one has it; otherwise what becomes of the eviction.
    async fn find(&self, presence: Presence) -> Result<NodeEntry, Eviction> {
        let mut directory = self.directory.subscribe();
        if let Some(entry) = entry_of(presence, &directory.borrow_and_update()) {
            return Ok(entry);
        }
        let Ok(_permit) = self.unknown_permits.try_acquire() else { return Err(Eviction::Skipped) };
        // Without a next copy, nobody has seen the node for as long as a lease.
        let _ = tokio::time::timeout(LEASE, directory.changed()).await;
        entry_of(presence, &directory.borrow()).ok_or(Eviction::NodeGone)
    }

    async fn attempt(&self, former: Presence, address: &str) -> Result<(), String> {
        let channel = self.channels.get(address).map_err(|error| {
            tracing::warn!(node.address = address, %error, "another node has announced an address that cannot be used");
            error.to_string()
        })?;
        let secret = PresentSecret(self.channels.secret().clone());
        let mut client = DeliveryClient::with_interceptor(channel, secret);
        let request = tonic::Request::new(EvictRequest::from(former));
        match tokio::time::timeout(EVICT_TIMEOUT, client.evict(request)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(status)) => Err(Failure::from(status).to_string()),
            Err(_) => Err(format!("no answer within {EVICT_TIMEOUT:?}")),
        }
    }
}

fn entry_of(presence: Presence, directory: &[NodeEntry]) -> Option<NodeEntry> {
    directory.iter().find(|entry| entry.node == presence.node).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use beckon_ops::shutdown::Shutdown;
    use beckon_types::{ConnectionId, NodeId};
    use tokio::time::timeout;

    fn peers() -> Arc<Peers> {
        let stage = Stage::new(&Shutdown::new(), "peers");
        Arc::new(Peers::new(Channels::new(beckon_proto::auth::ClusterSecret::default(), None), stage))
    }

    const FORMER: Presence = Presence { node: NodeId(7), connection: ConnectionId(1) };

    #[tokio::test(start_paused = true)]
    async fn an_eviction_that_is_not_tried_is_skipped() {
        let peers = peers();
        assert_eq!(peers.find(FORMER).await, Err(Eviction::NodeGone));
        let all = peers.unknown_permits.acquire_many(UNKNOWN_MAX as u32).await.unwrap();
        assert_eq!(peers.find(FORMER).await, Err(Eviction::Skipped));
        drop(all);
        assert_eq!(peers.find(FORMER).await, Err(Eviction::NodeGone));
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_waited_for_after_the_last_attempt() {
        let peers = peers();
        let pauses = ATTEMPT_INTERVAL * (ATTEMPTS as u32 - 1);
        let evicted = timeout(pauses + ATTEMPT_INTERVAL / 2, peers.evict_from(FORMER, "no address")).await;
        assert_eq!(evicted, Ok(Eviction::Failed));
    }
}
