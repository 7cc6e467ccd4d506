//! An HTTP/1.1 server with limits. It takes any hyper service; [`warp_service`] makes one of a warp filter.

mod stall;

use crate::{
    listener,
    stage::Stage,
    workers::{Worker, Workers},
};
use hyper::{
    Request,
    body::{Body, Incoming},
    server::conn::http1,
    service::Service,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use stall::Stall;
use std::{
    convert::Infallible, error::Error, future::poll_fn, pin::pin, sync::Arc, task::Poll, time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::sync::CancellationToken;
use warp::{Filter, reply, reply::Reply};

/// What a server allows its clients.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most connections at once. Further clients wait in the kernel's queue until one ends.
    pub connections_max: usize,
    /// Time limit for the head of a request, from the end of the previous response or from the accepted connection:
    /// a slow sender is cut off, and so is a kept-alive connection without requests.
    pub head_timeout: Duration,
    /// Time limit for a client to take what is sent to it; then the connection is closed.
    pub write_timeout: Duration,
    /// Bytes a connection may have in its read buffer, and so the longest head of a request. At least 8192.
    pub buffer_bytes_max: usize,
    /// Most header fields of a request; more are answered with 431.
    pub headers_max: usize,
    /// Send responses to pipelined requests together. Costs latency where clients don't pipeline.
    pub pipeline_flush: bool,
}

impl Limits {
    /// What suits most listeners.
    pub const DEFAULT: Self = Self {
        connections_max: 10_000,
        head_timeout: Duration::from_secs(75),
        write_timeout: Duration::from_secs(30),
        buffer_bytes_max: 64 * 1024,
        headers_max: 64,
        pipeline_flush: false,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The service of a warp filter that answers every request: rejections have to be recovered from first.
pub fn warp_service<F, R>(
    filter: F,
) -> impl Service<Request<Incoming>, Response = reply::Response, Error = Infallible, Future: Send> + Clone + Send
where
    F: Filter<Extract = (R,), Error = Infallible, Future: Send> + Clone + Send,
    R: Reply,
{
    TowerToHyperService::new(warp::service(filter))
}

/// How long a listener that stops takes what has begun: for the last step of handshakes, and for requests on their way.
const LAST_REQUESTS: Duration = Duration::from_millis(250);

/// Accepts connections until `stage` is asked to stop, and for [`LAST_REQUESTS`] those that have begun by then. Spreads them
/// evenly over the workers, each of which serves its connections with its own `service`. The connections are tasks of the
/// stage: idle ones are closed after [`LAST_REQUESTS`], and the others when the request that has begun is answered. So
/// [`Stage::stop`] bounds the drain.
pub async fn serve<S, B>(
    listener: TcpListener,
    workers: Workers,
    service: impl Fn(&Worker) -> S,
    limits: Limits,
    stage: Stage,
) where
    S: Service<Request<Incoming>, Response = hyper::Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let permits = Arc::new(Semaphore::new(limits.connections_max.min(Semaphore::MAX_PERMITS)));
    let services: Vec<S> = workers.iter().map(service).collect();
    // Each connection holds a clone of its worker's, so the count of clones is the worker's load.
    let loads: Vec<Arc<()>> = workers.iter().map(|_| Arc::default()).collect();
    let ending = CancellationToken::new();
    let _ends_when_dropped = ending.clone().drop_guard();
    let last_requests = async {
        stage.stopping().await;
        if let Err(error) = listener::stop_new(&listener) {
            tracing::debug!(%error, "connections that begin now may be reset");
        }
        tokio::time::sleep(LAST_REQUESTS).await;
    };
    let mut last_requests = pin!(last_requests);
    loop {
        let (stream, permit) = tokio::select! {
            biased;
            () = &mut last_requests => return,
            accepted = accept(&listener, &permits) => accepted,
        };
        let load = |worker: &Worker| Arc::strong_count(&loads[usize::from(worker.index())]) as u64;
        let worker = workers.least_loaded(load);
        let index = usize::from(worker.index());
        let (service, held, handle) =
            (services[index].clone(), (loads[index].clone(), permit), stage.clone());
        let stream = match worker.adopt(stream) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "HTTP connection lost before it was served");
                continue;
            }
        };
        let ending = ending.clone();
        let _entered = worker.enter();
        stage.spawn(async move {
            let stream = Stall::new(TokioIo::new(stream), limits.write_timeout);
            let connection = builder(&limits).serve_connection(stream, service);
            let ended = until_closed(connection, &handle, &ending).await;
            if let Err(error) = ended {
                tracing::debug!(%error, "HTTP connection ended early");
            }
            drop(held);
        });
    }
}

fn builder(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_buf_size(limits.buffer_bytes_max)
        .max_headers(limits.headers_max)
        .pipeline_flush(limits.pipeline_flush);
    builder
}

/// Accepts the next connection, as soon as the limit allows one more. Cancel safe.
async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> (TcpStream, Option<OwnedSemaphorePermit>) {
    // Fails only if the semaphore is closed, which never happens.
    let permit = permits.clone().acquire_owned().await.ok();
    let (stream, _peer) = listener::accept(listener).await;
    (stream, permit)
}

/// Drives a connection to its end; asks it to end after the current response at `ending`, which comes after `stage` was
/// asked to stop.
async fn until_closed<S, B>(
    connection: http1::Connection<Stall<TokioIo<TcpStream>>, S>,
    stage: &Stage,
    ending: &CancellationToken,
) -> hyper::Result<()>
where
    S: Service<Request<Incoming>, Response = hyper::Response<B>>,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut connection = pin!(connection);
    let mut ended = pin!(ending.cancelled());
    let mut is_armed = false;
    let mut is_asked = false;
    poll_fn(|context| {
        if let Poll::Ready(ended) = connection.as_mut().poll(context) {
            return Poll::Ready(ended);
        }
        // The first poll registers the waker, which stays the same for the life of the task. Every poll takes a lock
        // that all connections share, so the second one waits until the stage is stopping.
        if !is_asked && (!is_armed || stage.is_stopping()) {
            is_armed = true;
            if ended.as_mut().poll(context).is_ready() {
                is_asked = true;
                connection.as_mut().graceful_shutdown();
                return connection.as_mut().poll(context);
            }
        }
        Poll::Pending
    })
    .await
}
