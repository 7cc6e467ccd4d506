//! The accept loop: one task for each connection, from its first byte to its last.

use crate::{connection::Connection, handshake::Handshake};
use std::sync::Arc;
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Connections that may be on their way to the upgrade at once. Further ones wait in the kernel's queue.
pub(crate) const UPGRADES_MAX: usize = 512;

/// Accepts connections until `stop` is cancelled. The connections go on; `tasks` owns them.
pub(crate) async fn accept(
    listener: TcpListener,
    handshake: Arc<Handshake>,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    let permits = Arc::new(Semaphore::new(UPGRADES_MAX));
    loop {
        // The semaphore is never closed.
        let Ok(permit) = permits.clone().acquire_owned().await else { return };
        let accepted = stop.run_until_cancelled(beckon_ops::listener::accept(&listener)).await;
        let Some((tcp, _peer)) = accepted else { return };
        let handshake = handshake.clone();
        tasks.spawn(async move {
            let node = handshake.node.clone();
            // Boxed, so that the long wait does not carry the upgrade's state along.
            let upgraded = Box::pin(handshake.upgrade(tcp)).await;
            drop(permit);
            if let Some((socket, registration)) = upgraded {
                Connection::new(node, socket, registration).run().await;
            }
        });
    }
}
