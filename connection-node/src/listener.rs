//! The accept loop: one task for each connection, from its first byte to its last.

use crate::{connection::Connection, handshake::Handshake};
use beckon_ops::stage::Stage;
use std::sync::Arc;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

/// Most connections that may be on their way to the upgrade. Further ones wait in the kernel's queue.
pub(crate) const UPGRADES_MAX: usize = 512;

/// Accepts connections until `stage` is asked to stop. Connections that are not upgraded then are dropped; the others
/// go on, as tasks of the stage.
pub(crate) async fn accept(listener: TcpListener, handshake: Arc<Handshake>, stage: Stage) {
    let permits = Arc::new(Semaphore::new(UPGRADES_MAX));
    let next = async || {
        let permit = permits.clone().acquire_owned().await;
        let (tcp, _peer) = beckon_ops::listener::accept(&listener).await;
        (permit, tcp)
    };
    while let Some((permit, tcp)) = stage.run_until_stopping(next()).await {
        // Boxed, so that the long wait after it does not carry the upgrade's state along.
        let upgrade = Box::pin(upgrade(handshake.clone(), tcp, permit, stage.clone()));
        stage.spawn(async move {
            if let Some(connection) = upgrade.await {
                connection.run().await;
            }
        });
    }
}

/// Waits for the upgrade. `None` if the peer left or took too long, or the node stops first.
async fn upgrade<P>(
    handshake: Arc<Handshake>,
    tcp: TcpStream,
    permit: P,
    stage: Stage,
) -> Option<Connection> {
    let node = handshake.node.clone();
    let (socket, registration) = stage.run_until_stopping(handshake.upgrade(tcp)).await??;
    drop(permit);
    if node.drain.is_closing() {
        // It may be registered too late for the drain to find it.
        registration.mailbox.signal_drain();
    }
    Some(Connection::new(node, socket, registration))
}
