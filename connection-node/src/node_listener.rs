//! The listener for other nodes: each connection is served by the worker that it asks for
//! ([`beckon_proto::worker_line`]).

use crate::delivery_service::DeliveryService;
use beckon_dashboard::service::AdminService;
use beckon_ops::{
    listener::{Listener, accept},
    stage::Stage,
    tenure::{Phase, Tenure},
    workers::{Worker, Workers},
};
use beckon_proto::{
    auth::RequireSecret,
    push_v1::{
        admin_server::{AdminServer, SERVICE_NAME as ADMIN},
        delivery_server::DeliveryServer,
    },
    server_stream::ServerStream,
    tls::Tls,
    transport, worker_line,
};
use futures_util::stream::unfold;
use std::{
    convert::Infallible,
    io,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
};
use tonic::{
    body::Body,
    codegen::{Service, http},
    service::interceptor::InterceptedService,
};

/// A service for those who present the cluster secret.
type Guarded<S> = InterceptedService<S, RequireSecret>;

type Deliveries = Guarded<DeliveryServer<DeliveryService>>;

/// What is served: each call by the service that its path names.
#[derive(Debug, Clone)]
pub(crate) struct Services {
    /// Takes notifications.
    pub(crate) delivery: Deliveries,
    /// Answers to operators.
    pub(crate) admin: Guarded<AdminServer<AdminService>>,
}

impl Service<http::Request<Body>> for Services {
    type Response = <Deliveries as Service<http::Request<Body>>>::Response;
    type Error = Infallible;
    type Future = <Deliveries as Service<http::Request<Body>>>::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Both services always are.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        match request.uri().path().split('/').nth(1) {
            Some(ADMIN) => self.admin.call(request),
            Some(_) | None => self.delivery.call(request),
        }
    }
}

/// Most connections that may be on their way to their worker, or have not begun with HTTP/2. Further ones wait in the kernel's queue.
const ARRIVING_MAX: usize = 512;

/// Most connections that may be open for each worker: each endpoint-node has one to it, and each connection-node may have one to
/// the node. Further ones wait in the kernel's queue.
const OPEN_PER_WORKER_MAX: usize = 4096;

/// Serves other nodes until `stage` is asked to stop: a gRPC server on each worker, and one accept loop.
pub(crate) fn serve(
    listener: Listener,
    tenure: &Tenure,
    workers: &Workers,
    services: &Services,
    tls: Option<Tls>,
    stage: &Stage,
) {
    let arrivals = workers.iter().map(|worker| serve_on(worker, services.clone(), tenure, stage)).collect();
    let arrivals =
        Arc::new(Arrivals { workers: workers.clone(), arrived: arrivals, tls, stage: stage.clone() });
    stage.spawn_vital("listener for nodes", accept_all(listener, arrivals));
}

/// Serves what is sent to the returned channel, on this worker.
fn serve_on(
    worker: &Worker,
    services: Services,
    tenure: &Tenure,
    stage: &Stage,
) -> mpsc::Sender<ServerStream> {
    let (sender, streams) = mpsc::channel(ARRIVING_MAX);
    let incoming = unfold(streams, |mut streams| async {
        let stream = streams.recv().await?;
        Some((Ok::<_, Infallible>(stream), streams))
    });
    let (handle, tenure) = (stage.clone(), tenure.clone());
    let _entered = worker.enter();
    stage.spawn_vital("server for nodes", async move {
        // Nodes whose requests come after a hand-over connect to the next process.
        let ending = async {
            tokio::select! {
                () = handle.stopping() => {}
                () = tenure.reached(Phase::Over) => {}
            }
        };
        let serving = transport::server().serve_with_incoming_shutdown(services, incoming, ending);
        match serving.await {
            Ok(()) => handle.stopping().await,
            Err(error) => {
                let error = transport::chain(&error);
                tracing::error!(error, "the server for other nodes has failed");
            }
        }
    });
    sender
}

/// Accepts connections until the stage is asked to stop.
async fn accept_all(listener: Listener, arrivals: Arc<Arrivals>) {
    let open_max = OPEN_PER_WORKER_MAX * arrivals.arrived.len();
    let (arriving, open) = (Arc::new(Semaphore::new(ARRIVING_MAX)), Arc::new(Semaphore::new(open_max)));
    let next = async || {
        // Both fail only if the semaphore is closed, which never happens.
        let permits = Permits {
            arriving: arriving.clone().acquire_owned().await.ok(),
            open: open.clone().acquire_owned().await.ok(),
        };
        (permits, accept(&listener).await.0)
    };
    while let Some((permits, stream)) = arrivals.stage.run_until_stopping(next()).await {
        let arriving = arrivals.clone();
        arrivals.stage.spawn(async move { arriving.find_worker(stream, permits).await });
    }
}

/// What a connection needs.
struct Permits {
    /// Until HTTP/2 has begun.
    arriving: Option<OwnedSemaphorePermit>,
    /// Until it ends.
    open: Option<OwnedSemaphorePermit>,
}

/// Connections on their way to their workers.
struct Arrivals {
    workers: Workers,
    /// In the order of the workers.
    arrived: Vec<mpsc::Sender<ServerStream>>,
    tls: Option<Tls>,
    stage: Stage,
}

impl Arrivals {
    /// Hands a connection to the worker that it asks for. A node that knows an earlier run of this one may ask for a worker
    /// that does not exist; any worker can take a notification for any socket.
    async fn find_worker(self: Arc<Self>, mut stream: TcpStream, permits: Permits) {
        let asked = async {
            let worker = self.workers.wrapping(worker_line::read(&mut stream).await?.into());
            Ok((worker, worker.adopt(stream)?))
        };
        let Some(asked) = self.stage.run_until_stopping(asked).await else { return };
        let (worker, stream) = match asked {
            Ok(asked) => asked,
            Err(error) => return lost(&error),
        };
        let (arrivals, index) = (self.clone(), usize::from(worker.index()));
        let _entered = worker.enter();
        self.stage.spawn(async move {
            let Permits { arriving: _arriving, open } = permits;
            let accepted = transport::accept(stream, arrivals.tls.as_ref());
            match arrivals.stage.run_until_stopping(accepted).await {
                // Fails only if the server has ended, which stops the node.
                Some(Ok(stream)) => {
                    drop(arrivals.arrived[index].send(stream.with_permit(open)).await);
                }
                Some(Err(error)) => lost(&error),
                None => {}
            }
        });
    }
}

fn lost(error: &io::Error) {
    tracing::debug!(%error, "connection of another node lost before it was served");
}
