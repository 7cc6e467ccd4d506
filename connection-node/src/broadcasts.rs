//! Broadcasts: what this node knows of them, and telling connections that they have changed.
//!
//! Each node asks the store by itself, so that a broadcast reaches every node without any of them knowing the
//! others. A session compares what it sent with what the node knows; a connection is only told to look.

mod paths;

pub(crate) use paths::paths;

use crate::{mailbox::Mailbox, node::Node, pace::spread};
use beckon_store::StoreError;
use beckon_types::Broadcasts;
use std::{sync::Arc, time::Duration};
use tokio::sync::Notify;

/// How often the store is asked. A change reaches the first sockets within this time and one answer of the store.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Time over which subscribers are told of a change, if they are few enough for [`TELL_RATE_MAX`].
const TELL_WINDOW: Duration = Duration::from_millis(500);

/// Subscribers that are told of a change in one second at most: so a broadcast to a million sockets takes a minute,
/// and leaves the node's processors to notifications.
const TELL_RATE_MAX: u32 = 20_000;

/// Asks the store for the broadcasts; true if they have changed.
///
/// # Errors
/// The store does not answer in its time. What is known stays.
pub(crate) async fn read(node: &Node) -> Result<bool, StoreError> {
    let known = node.broadcasts.load_full();
    let Some(mut found) = node.store.broadcasts(known.revision).await? else { return Ok(false) };
    found.values = found.values.into_iter().map(|value| shared(&known, value)).collect();
    node.broadcasts.store(Arc::new(found));
    node.metrics.broadcast_changes.inc();
    Ok(true)
}

/// The same id and version, in the memory of those that sockets have already.
fn shared(known: &Broadcasts, (id, version): (Arc<str>, Arc<str>)) -> (Arc<str>, Arc<str>) {
    match known.values.get_key_value(&id) {
        Some((id, former)) if *former == version => (id.clone(), former.clone()),
        Some((id, _)) => (id.clone(), version),
        None => (id, version),
    }
}

/// Keeps the broadcasts current and signals changes to subscribers, without end.
pub(crate) async fn keep_current(node: Arc<Node>) {
    let changed = Notify::new();
    tokio::join!(keep_reading(&node, &changed), keep_telling(&node, &changed));
}

async fn keep_reading(node: &Node, changed: &Notify) {
    let mut failing = false;
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        match read(node).await {
            Ok(has_changed) => {
                if std::mem::take(&mut failing) {
                    tracing::info!("broadcasts can be read again");
                }
                if has_changed {
                    changed.notify_one();
                }
            }
            Err(error) => {
                node.step_failed(&error);
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(%error, "broadcasts cannot be read, going on with the last ones");
                }
            }
        }
    }
}

/// One round of telling at a time: what changes meanwhile is told in the next, so the rate holds.
async fn keep_telling(node: &Node, changed: &Notify) {
    loop {
        changed.notified().await;
        let mut subscribers = node.registry.all();
        subscribers.retain(|mailbox| mailbox.is_subscribed());
        let at_full_rate = Duration::from_secs(1) * subscribers.len() as u32 / TELL_RATE_MAX;
        spread(&node.clock, subscribers, at_full_rate.max(TELL_WINDOW), Mailbox::signal_broadcasts).await;
    }
}
