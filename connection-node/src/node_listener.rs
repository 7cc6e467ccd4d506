//! The listener for other nodes: each connection is served by the worker that it asks for
//! ([`beckon_proto::worker_line`]).

use crate::delivery_service::DeliveryService;
use beckon_ops::{
    listener::accept,
    stage::Stage,
    workers::{Worker, Workers},
};
use beckon_proto::{auth::RequireSecret, push_v1::delivery_server::DeliveryServer, transport, worker_line};
use futures_util::stream::unfold;
use std::{convert::Infallible, io, sync::Arc};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
};
use tonic::{service::interceptor::InterceptedService, transport::Server};

/// What is served.
pub(crate) type Service = InterceptedService<DeliveryServer<DeliveryService>, RequireSecret>;

/// Most connections that may be on their way to their worker. Further ones wait in the kernel's queue.
const ARRIVING_MAX: usize = 512;

/// Serves other nodes until `stage` is asked to stop: a gRPC server on each worker, and one accept loop.
pub(crate) fn serve(
    listener: TcpListener,
    workers: &Workers,
    server: &Server,
    service: &Service,
    stage: &Stage,
) {
    let sockets: Vec<_> =
        workers.iter().map(|worker| serve_on(worker, server.clone(), service.clone(), stage)).collect();
    let accepting = accept_all(listener, workers.clone(), sockets, stage.clone());
    stage.spawn_vital("listener for nodes", accepting);
}

/// Serves what is sent to the returned channel, on this worker.
fn serve_on(worker: &Worker, server: Server, service: Service, stage: &Stage) -> mpsc::Sender<TcpStream> {
    let (sender, sockets) = mpsc::channel(ARRIVING_MAX);
    let incoming = unfold(sockets, |mut sockets| async {
        let socket = sockets.recv().await?;
        Some((Ok::<_, Infallible>(socket), sockets))
    });
    let handle = stage.clone();
    let _entered = worker.enter();
    stage.spawn_vital("server for nodes", async move {
        let serving = server.serve_with_incoming_shutdown(service, incoming, handle.stopping());
        if let Err(error) = serving.await {
            let error = transport::chain(&error);
            tracing::error!(error, "the server for other nodes has failed");
        }
    });
    sender
}

/// Accepts connections until `stage` is asked to stop.
async fn accept_all(
    listener: TcpListener,
    workers: Workers,
    sockets: Vec<mpsc::Sender<TcpStream>>,
    stage: Stage,
) {
    let permits = Arc::new(Semaphore::new(ARRIVING_MAX));
    let next = async || {
        // Fails only if the semaphore is closed, which never happens.
        let permit = permits.clone().acquire_owned().await.ok();
        (permit, accept(&listener).await.0)
    };
    while let Some((permit, stream)) = stage.run_until_stopping(next()).await {
        let (workers, sockets, handle) = (workers.clone(), sockets.clone(), stage.clone());
        stage.spawn(async move {
            let arriving = hand_over(stream, &workers, &sockets, permit);
            if let Some(Err(error)) = handle.run_until_stopping(arriving).await {
                tracing::debug!(%error, "connection of another node lost before it was served");
            }
        });
    }
}

/// Hands a connection to the worker that it asks for. A node that knows an earlier run of this one may ask for a worker
/// that does not exist; any worker can take a notification for any socket.
async fn hand_over(
    mut stream: TcpStream,
    workers: &Workers,
    sockets: &[mpsc::Sender<TcpStream>],
    _permit: Option<OwnedSemaphorePermit>,
) -> io::Result<()> {
    let worker = workers.wrapping(worker_line::read(&mut stream).await?.into());
    let stream = worker.adopt(stream)?;
    // Fails only if the server has ended, which stops the node.
    let _ = sockets[usize::from(worker.index())].send(stream).await;
    Ok(())
}
