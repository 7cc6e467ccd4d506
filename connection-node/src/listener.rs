//! One task for each connection, from its first byte to its last, on the worker that owns it.

use crate::{connection::Connection, handshake::Handshake};
use beckon_listener::port::{Accepted, Port};
use beckon_ops::{
    listener::Listener,
    stage::Stage,
    workers::{Worker, Workers},
};
use std::{sync::Arc, time::Duration};

/// Accepts connections until `stage` is asked to stop, and hands each to the worker that has fewest. There is a handshake
/// for each worker, in their order. Connections that are not upgraded when the stage stops are dropped; the others go on,
/// as tasks of the stage.
pub(crate) async fn accept(
    port: Arc<Port>,
    listener: Listener,
    workers: Workers,
    handshakes: Vec<Arc<Handshake>>,
    stage: Stage,
) {
    let tasks = stage.clone();
    let hand_over = move |accepted: Accepted| {
        let worker = workers.least_loaded(|worker| load(worker, &handshakes));
        let Some(accepted) = accepted.adopted_by(worker) else { return };
        let (handshake, handle) = (handshakes[usize::from(worker.index())].clone(), tasks.clone());
        let _entered = worker.enter();
        tasks.spawn(async move {
            let connection = upgrade(handshake, accepted, &handle).await;
            // A task of its own, which has no room for the state of the upgrade.
            if let Some(connection) = connection {
                handle.spawn(connection.run());
            }
        });
    };
    port.accept(listener, stage, Duration::ZERO, hand_over).await;
}

/// The connections of a worker, and those that are on their way to the upgrade: each of them has a clone of the handshake.
fn load(worker: &Worker, handshakes: &[Arc<Handshake>]) -> u64 {
    let handshake = &handshakes[usize::from(worker.index())];
    handshake.shard.node.registry.open_of(worker.index()) + Arc::strong_count(handshake) as u64
}

/// Waits for the upgrade. `None` if the peer left or took too long, or the node stops first.
async fn upgrade(handshake: Arc<Handshake>, accepted: Accepted, stage: &Stage) -> Option<Connection> {
    let shard = handshake.shard.clone();
    let upgraded = async { handshake.upgrade(accepted.identify().await?).await };
    let (socket, registration) = stage.run_until_stopping(upgraded).await??;
    if shard.node.drain.is_closing() {
        // It may be registered too late for the drain to find it.
        registration.mailbox.signal_drain();
    }
    Some(Connection::new(shard, socket, registration))
}
