//! The accept loop: one task for each connection, from its first byte to its last, on the worker that owns it.

use crate::{connection::Connection, handshake::Handshake};
use beckon_ops::{
    stage::Stage,
    workers::{Worker, Workers},
};
use std::sync::Arc;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

/// Most connections that may be on their way to the upgrade. Further ones wait in the kernel's queue.
pub(crate) const UPGRADES_MAX: usize = 512;

/// Accepts connections until `stage` is asked to stop, and hands each to the worker that has fewest. There is a handshake
/// for each worker, in their order. Connections that are not upgraded when the stage stops are dropped; the others go on,
/// as tasks of the stage.
pub(crate) async fn accept(
    listener: TcpListener,
    workers: Workers,
    handshakes: Vec<Arc<Handshake>>,
    stage: Stage,
) {
    let permits = Arc::new(Semaphore::new(UPGRADES_MAX));
    let next = async || {
        let permit = permits.clone().acquire_owned().await;
        let (tcp, _peer) = beckon_ops::listener::accept(&listener).await;
        (permit, tcp)
    };
    while let Some((permit, tcp)) = stage.run_until_stopping(next()).await {
        let worker = workers.least_loaded(|worker| load(worker, &handshakes));
        let tcp = match worker.adopt(tcp) {
            Ok(tcp) => tcp,
            Err(error) => {
                tracing::warn!(%error, "connection lost before its upgrade");
                continue;
            }
        };
        let (handshake, handle) = (handshakes[usize::from(worker.index())].clone(), stage.clone());
        let _entered = worker.enter();
        stage.spawn(async move {
            let connection = upgrade(handshake, tcp, permit, &handle).await;
            // A task of its own, which has no room for the state of the upgrade.
            if let Some(connection) = connection {
                handle.spawn(connection.run());
            }
        });
    }
}

/// The connections of a worker, and those that are on their way to the upgrade: each of them has a clone of the handshake.
fn load(worker: &Worker, handshakes: &[Arc<Handshake>]) -> u64 {
    let handshake = &handshakes[usize::from(worker.index())];
    handshake.shard.node.registry.open_of(worker.index()) + Arc::strong_count(handshake) as u64
}

/// Waits for the upgrade. `None` if the peer left or took too long, or the node stops first.
async fn upgrade<P>(
    handshake: Arc<Handshake>,
    tcp: TcpStream,
    permit: P,
    stage: &Stage,
) -> Option<Connection> {
    let shard = handshake.shard.clone();
    let (socket, registration) = stage.run_until_stopping(handshake.upgrade(tcp)).await??;
    drop(permit);
    if shard.node.drain.is_closing() {
        // It may be registered too late for the drain to find it.
        registration.mailbox.signal_drain();
    }
    Some(Connection::new(shard, socket, registration))
}
