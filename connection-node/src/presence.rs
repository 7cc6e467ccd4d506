//! This node's lease in the directory, and what follows when the store or the lease was lost.
//!
//! There is no heartbeat for a client: its presence names this run of the node, and is as good as the node's
//! lease.

use crate::{mailbox::Mailbox, node::Node};
use beckon_store::{ANNOUNCE_INTERVAL, Announced, NodeEntry};
use std::{sync::Arc, time::Duration};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Time over which all connections are told to look into the store, so that the store is not flooded.
const CATCH_UP_WINDOW: Duration = Duration::from_secs(5);

/// How often the next few connections are told.
const PACE_INTERVAL: Duration = Duration::from_millis(20);

/// How many connections are told something each time at least, however long the window is.
const PACE_MIN: usize = 10;

/// What the others are told of this node.
#[derive(Debug, Clone)]
pub struct Announcement {
    /// Where the node takes gRPC. Empty in a standalone server.
    pub grpc_address: String,
    /// The WebSocket URL of this very node, if clients may be redirected to it.
    pub ws_url: Option<String>,
    /// Time over which sockets are closed when the store has lost its memory.
    pub drain_time: Duration,
}

/// Announces the node until `stop` is cancelled, then ends its lease. `epoch` is that of the first announcement.
/// What takes longer than an announcement runs on `tasks`.
pub(crate) async fn keep_lease(
    node: &Arc<Node>,
    announcement: &Announcement,
    mut epoch: u64,
    stop: &CancellationToken,
    tasks: &TaskTracker,
) {
    while stop.run_until_cancelled(tokio::time::sleep(ANNOUNCE_INTERVAL)).await.is_some() {
        match announce(node, announcement).await {
            Ok(announced) if announced.epoch != epoch => {
                epoch = announced.epoch;
                tracing::warn!("the store has lost its memory, all sockets are closed");
                let (all, window) = (node.registry.all(), announcement.drain_time);
                tasks.spawn(pace(all, window, stop.clone(), Mailbox::signal_store_lost));
            }
            Ok(announced) if announced.lapsed => {
                tracing::warn!("the lease had lapsed, all connections look into the store");
                tasks.spawn(pace(node.registry.all(), CATCH_UP_WINDOW, stop.clone(), Mailbox::signal_missed));
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(error = %error, "not announced"),
        }
    }
    if let Err(error) = node.store.retire(node.id).await {
        tracing::warn!(error = %error, "lease not ended, it will lapse");
    }
}

/// Announces the node once and keeps the directory.
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
    node.peers.retain(|address| announced.nodes.iter().any(|entry| entry.grpc_address == address));
    *node.directory.write() = Arc::new(announced.nodes.clone());
    Ok(announced)
}

/// Tells connections something, spread over the window; all at once after `hurry`.
pub(crate) async fn pace(
    mailboxes: Vec<Arc<Mailbox>>,
    window: Duration,
    hurry: CancellationToken,
    tell: impl Fn(&Mailbox),
) {
    let steps = (window.as_millis() / PACE_INTERVAL.as_millis()).max(1) as usize;
    let at_once = mailboxes.len().div_ceil(steps).max(PACE_MIN);
    for (index, mailbox) in mailboxes.into_iter().enumerate() {
        if index > 0 && index % at_once == 0 {
            hurry.run_until_cancelled(tokio::time::sleep(PACE_INTERVAL)).await;
        }
        tell(&mailbox);
    }
}
