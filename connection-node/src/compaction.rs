//! Giving memory back when many clients have left.
//!
//! An allocator gives the kernel whole pages, and those who stay are spread over nearly all of them: when nine of ten
//! clients have left at random, hardly a page is empty. So the connections that are left are moved together. A
//! connection at rest is little more than a socket and a session: its task suspends it and ends, and it is resumed in
//! a new one, for which the allocator takes the oldest place that is free. What the peer or other nodes send meanwhile
//! waits in the kernel and in the mailbox, about a tenth of a second and longer on a node that is busy.
//!
//! They are moved in batches that leave their old places before they take new ones, and free the last of them (the
//! tables of their channels) after that: memory that is freed and wanted again at once does not get back to where the
//! allocator would choose the oldest place. The mailboxes stay where they are, since other tasks hold them, too.

use crate::{connection::Suspended, node::Node};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    task::yield_now,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Connections that are moved together.
pub const BATCH_LEN: usize = 4096;

/// With fewer connections at most since the last time, there is nothing worth moving for.
const CONNECTIONS_MIN: u64 = 1024;

/// How often it is looked whether enough have left.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// When no connection has come for so long, a batch does not wait for the others: they are busy, and stay.
const GATHER_PAUSE: Duration = Duration::from_millis(5);

/// Connections that are resumed before others have the thread.
const RESUMED_AT_ONCE: usize = 32;

/// Moves connections whenever half of them have left, until the node stops. Then all who were on their way go on.
pub async fn run(
    node: Arc<Node>,
    mut moving: mpsc::Receiver<Suspended>,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    let mut looks = interval(LOOK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut most = 0;
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            // Came too late for its batch.
            Some(late) = moving.recv() => resume(&node, vec![late], &tasks).await,
            _ = looks.tick() => {
                let open = node.registry.open();
                most = open.max(most);
                if most >= CONNECTIONS_MIN && open <= most / 2 && !node.is_draining() {
                    let moved = compact(&node, &mut moving, &tasks).await;
                    tracing::info!(connections = open, moved, "many have left, their memory is given back");
                    most = open;
                }
            }
        }
    }
    moving.close();
    let mut rest = Vec::new();
    while moving.recv_many(&mut rest, BATCH_LEN).await > 0 {}
    resume(&node, rest, &tasks).await;
}

/// Moves all connections that are at rest. Returns how many did.
async fn compact(node: &Node, moving: &mut mpsc::Receiver<Suspended>, tasks: &TaskTracker) -> usize {
    let mut moved = 0;
    for batch in node.registry.all().chunks(BATCH_LEN) {
        if node.is_draining() {
            break;
        }
        for mailbox in batch {
            mailbox.move_out();
        }
        let mut gathered = Vec::with_capacity(batch.len());
        while gathered.len() < batch.len() {
            let missing = batch.len() - gathered.len();
            match timeout(GATHER_PAUSE, moving.recv_many(&mut gathered, missing)).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => break,
            }
        }
        moved += gathered.len();
        resume(node, gathered, tasks).await;
    }
    moved
}

/// Has connections go on, in tasks of their own.
async fn resume(node: &Node, connections: Vec<Suspended>, tasks: &TaskTracker) {
    let mut left = Vec::with_capacity(connections.len());
    for (index, suspended) in connections.into_iter().enumerate() {
        match suspended.resume() {
            Ok((running, vacated)) => {
                tasks.spawn(running);
                left.push(vacated);
                node.metrics.connections_moved.inc();
            }
            Err(error) => tracing::warn!(%error, "connection lost when it was to be moved"),
        }
        if index % RESUMED_AT_ONCE == RESUMED_AT_ONCE - 1 {
            yield_now().await;
        }
    }
}
