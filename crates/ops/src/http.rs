//! An HTTP/1.1 server with limits. It takes any hyper service; [`warp_service`] makes one of a warp filter.

mod stall;

use crate::{listener, shutdown::Shutdown};
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
use warp::{Filter, reply, reply::Reply};

/// What a server lets its clients do.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at a time. Beyond that, clients wait in the kernel's queue until one ends.
    pub connections_max: usize,
    /// How long the head of a request may take, from the end of the former response or from the accepted
    /// connection: a slow sender is cut off, and so is a kept-alive connection without requests.
    pub head_timeout: Duration,
    /// How long a client may leave what is sent to it untaken; then the connection is closed.
    pub write_timeout: Duration,
    /// Bytes a connection may have in its read buffer, and so the longest head of a request. At least 8192.
    pub buffer_bytes_max: usize,
    /// Header fields of a request; more are answered by 431.
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

/// Serves until `shutdown` is requested: then it accepts no more connections, closes idle ones, lets requests
/// that have begun be answered, and returns when the last connection has ended. Bound it with
/// [`Shutdown::drain`], which also waits for the connections: they are its tasks.
pub async fn serve<S, B>(listener: TcpListener, service: S, limits: Limits, shutdown: Shutdown)
where
    S: Service<Request<Incoming>, Response = hyper::Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    // More permits than that cannot be waited for at the end, nor can a machine have so many connections.
    let connections_max = u32::try_from(limits.connections_max).unwrap_or(u32::MAX);
    let permits = Arc::new(Semaphore::new(connections_max as usize));
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_buf_size(limits.buffer_bytes_max)
        .max_headers(limits.headers_max)
        .pipeline_flush(limits.pipeline_flush);
    loop {
        let (stream, permit) = tokio::select! {
            biased;
            () = shutdown.requested() => break,
            accepted = accept(&listener, &permits) => accepted,
        };
        let stream = Stall::new(TokioIo::new(stream), limits.write_timeout);
        let connection = builder.serve_connection(stream, service.clone());
        let handle = shutdown.clone();
        shutdown.spawn(async move {
            let ended = until_closed(connection, &handle).await;
            if let Err(error) = ended {
                tracing::debug!(%error, "http connection ended early");
            }
            drop(permit);
        });
    }
    drop(listener);
    // Every permit is back when the last connection has ended.
    let _ = permits.acquire_many(connections_max).await;
}

/// The next connection, as soon as there may be one more. Cancel safe.
async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> (TcpStream, Option<OwnedSemaphorePermit>) {
    // Fails only if the semaphore was closed, which nobody does.
    let permit = permits.clone().acquire_owned().await.ok();
    let (stream, _peer) = listener::accept(listener).await;
    (stream, permit)
}

/// Drives a connection to its end; asks it to end after the current response when the shutdown is requested.
async fn until_closed<S, B>(
    connection: http1::Connection<Stall<TokioIo<TcpStream>>, S>,
    shutdown: &Shutdown,
) -> hyper::Result<()>
where
    S: Service<Request<Incoming>, Response = hyper::Response<B>>,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut connection = pin!(connection);
    let mut requested = pin!(shutdown.requested());
    let mut is_armed = false;
    let mut is_asked = false;
    poll_fn(|context| {
        if let Poll::Ready(ended) = connection.as_mut().poll(context) {
            return Poll::Ready(ended);
        }
        // The first poll leaves our waker, which stays the same for the life of the task; polling again takes
        // a lock that all connections share, so it waits until there is something to hear.
        if !is_asked && (!is_armed || shutdown.is_requested()) {
            is_armed = true;
            if requested.as_mut().poll(context).is_ready() {
                is_asked = true;
                connection.as_mut().graceful_shutdown();
                return connection.as_mut().poll(context);
            }
        }
        Poll::Pending
    })
    .await
}
