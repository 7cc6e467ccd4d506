//! This node's lease in the directory, and what follows when the store or the lease was lost.
//!
//! There is no heartbeat for a client: its presence names this run of the node, and is valid as long as the node's
//! lease.

use crate::{mailbox::Mailbox, node::Node, pace::pace};
use beckon_ops::stage::Stage;
use beckon_store::{ANNOUNCE_INTERVAL, Announced, NodeEntry};
use std::{sync::Arc, time::Duration};

/// Time over which all connections re-read the store after a lapsed lease, so that it is not flooded.
const CATCH_UP_TIME: Duration = Duration::from_secs(5);

/// What the other nodes read of this node in the directory.
#[derive(Debug, Clone)]
pub struct Announcement {
    /// Where the node takes gRPC. Empty in a standalone server.
    pub grpc_address: String,
    /// The WebSocket URL of this very node, if clients may be redirected to it.
    pub ws_url: Option<String>,
    /// Time over which sockets are closed when the store has lost its data.
    pub drain_time: Duration,
}

/// Announces the node until `stage` is asked to stop, then ends its lease. `epoch` is that of the first announcement, if
/// it has succeeded.
pub(crate) async fn keep_lease(
    node: Arc<Node>,
    announcement: Announcement,
    mut epoch: Option<u64>,
    stage: Stage,
) {
    while stage.run_until_stopping(tokio::time::sleep(ANNOUNCE_INTERVAL)).await.is_some() {
        let announced = match announce(&node, &announcement).await {
            Ok(announced) => announced,
            Err(error) => {
                node.step_failed(&error);
                tracing::warn!(%error, "could not renew the lease");
                continue;
            }
        };
        let before = epoch.replace(announced.epoch);
        if before.is_some_and(|before| before != announced.epoch) {
            tracing::warn!("the store has lost its data; closing all sockets");
            signal_all(&node, announcement.drain_time, Mailbox::signal_store_lost, &stage);
        } else if announced.lapsed {
            tracing::warn!("the lease had lapsed; all connections re-read the store");
            signal_all(&node, CATCH_UP_TIME, Mailbox::signal_missed, &stage);
        }
    }
    if let Err(error) = node.store.retire(node.id).await {
        tracing::warn!(%error, "could not end the lease; it will lapse");
    }
}

/// Signals all connections, spread over a time, in a task of its own: the lease must not wait for it.
fn signal_all(node: &Arc<Node>, time: Duration, signal: fn(&Mailbox), stage: &Stage) {
    let (node, handle) = (node.clone(), stage.clone());
    stage.spawn(async move {
        handle.run_until_stopping(pace(&node.clock, node.registry.all(), time, signal)).await;
    });
}

/// Announces the node once, and keeps the directory that the store returns.
pub(crate) async fn announce(
    node: &Arc<Node>,
    announcement: &Announcement,
) -> Result<Announced, beckon_store::StoreError> {
    let announced = node
        .store
        .announce(NodeEntry {
            node: node.id,
            name: node.name.clone(),
            grpc_address: announcement.grpc_address.clone(),
            ws_url: announcement.ws_url.clone(),
            room: node.has_room(),
        })
        .await?;
    node.peers.set_directory(announced.nodes.clone());
    Ok(announced)
}
