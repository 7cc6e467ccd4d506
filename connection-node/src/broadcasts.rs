//! Broadcasts: the node's copy of them, and how connections notice changes.
//!
//! Each node reads the store by itself, so a broadcast reaches every node without messages between nodes. When the copy
//! changes, the subscribed connections are signalled, and each session compares the copy with what it has sent.

mod paths;

pub(crate) use paths::{ROUTES, paths};

use crate::{mailbox::Mailbox, node::Node, pace::spread};
use beckon_ops::tenure::Phase;
use beckon_store::StoreError;
use beckon_types::Broadcasts;
use std::{sync::Arc, time::Duration};
use tokio::sync::Notify;

/// How often the store is read. A change reaches the first sockets within this time plus one read.
pub(crate) const READ_INTERVAL: Duration = Duration::from_millis(500);

/// Time over which the signals of one change are spread, if [`SIGNAL_RATE_MAX`] allows it.
const SIGNAL_WINDOW: Duration = Duration::from_millis(500);

/// Most subscribers that are signalled per second. So a broadcast to a million sockets takes a minute, and leaves the
/// node's processors to notifications.
const SIGNAL_RATE_MAX: u32 = 20_000;

/// Reads the broadcasts from the store. Returns whether they have changed.
///
/// # Errors
/// The store did not answer within its time limit, or the record cannot be read. The copy stays as it is.
pub(crate) async fn read(node: &Node) -> Result<bool, StoreError> {
    let known = node.broadcasts.load_full();
    let Some(mut found) = node.store.broadcasts(known.revision).await? else { return Ok(false) };
    found.values = found.values.into_iter().map(|value| shared(&known, value)).collect();
    node.broadcasts.store(Arc::new(found));
    node.metrics.broadcast_changes.inc();
    Ok(true)
}

/// The same id and version, but sharing the strings that the former copy and the sessions already hold.
fn shared(known: &Broadcasts, (id, version): (Arc<str>, Arc<str>)) -> (Arc<str>, Arc<str>) {
    match known.values.get_key_value(&id) {
        Some((id, former)) if *former == version => (id.clone(), former.clone()),
        Some((id, _)) => (id.clone(), version),
        None => (id, version),
    }
}

/// Keeps the copy current and signals changes to subscribers. Never returns.
pub(crate) async fn keep_current(node: Arc<Node>) {
    let changed = Notify::new();
    tokio::join!(keep_reading(&node, &changed), keep_signalling(&node, &changed));
}

async fn keep_reading(node: &Node, changed: &Notify) {
    let mut failing = false;
    loop {
        tokio::time::sleep(READ_INTERVAL).await;
        // Another process may have the store until then.
        node.tenure.reached(Phase::Serving).await;
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
                    tracing::warn!(%error, "broadcasts cannot be read, keeping the last ones");
                }
            }
        }
    }
}

/// Signals one change after the other. Changes during a round are combined into the next round, so the rate is kept.
async fn keep_signalling(node: &Node, changed: &Notify) {
    loop {
        changed.notified().await;
        let mut subscribers = node.registry.all();
        subscribers.retain(|mailbox| mailbox.is_subscribed());
        let at_full_rate = Duration::from_secs(1) * subscribers.len() as u32 / SIGNAL_RATE_MAX;
        spread(&node.clock, subscribers, at_full_rate.max(SIGNAL_WINDOW), Mailbox::signal_broadcasts).await;
    }
}
