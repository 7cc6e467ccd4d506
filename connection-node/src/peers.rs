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
                Some(entry) => peers.evict_from(former, &entry.grpc_address).await,
                None => Eviction::NodeGone,
            };
            metrics.evicted(eviction);
        });
    }

    async fn evict_from(&self, former: Presence, address: &str) -> Eviction {
        for _ in 0..ATTEMPTS {
            match self.attempt(former, address).await {
                Ok(()) => return Eviction::There,
                Err(reason) => {
                    tracing::debug!(node.id = %former.node, reason, "socket not evicted");
                    tokio::time::sleep(ATTEMPT_INTERVAL).await;
                }
            }
        }
        Eviction::Failed
    }

    /// The entry of a node, if this copy of the directory or the next one has it.
    async fn find(&self, presence: Presence) -> Option<NodeEntry> {
        let mut directory = self.directory.subscribe();
        let entry = entry_of(presence, &directory.borrow_and_update());
        if entry.is_some() {
            return entry;
        }
        let _permit = self.unknown_permits.try_acquire().ok()?;
        tokio::time::timeout(LEASE, directory.changed()).await.ok()?.ok()?;
        entry_of(presence, &directory.borrow())
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
