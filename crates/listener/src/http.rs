//! An HTTP/1.1 server with limits. It takes any hyper service; [`warp_service`] makes one of a warp filter.

pub use crate::request_body::RequestBody;
use crate::{
    connections::Visit,
    gate::{FIELDS_READ_MAX, Gate},
    port::{Accepted, Connection, Port, Rested},
    stream::Stream,
    watched::Watched,
};
use beckon_ops::{
    listener::Listener,
    stage::Stage,
    workers::{Worker, Workers},
};
use http_body_util::{Either, Full};
use hyper::{
    Request, Response,
    body::{Body, Bytes, Incoming},
    header::{CONNECTION, HeaderValue},
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use std::{
    convert::Infallible,
    error::Error,
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use warp::{Filter, reply, reply::Reply};

/// Bytes that a connection may have in its read buffer, and so the longest head of a request.
const BUFFER_LEN_MAX: usize = 64 * 1024;

/// What a server allows its clients, besides the limits of its port.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Time limit for a client to take what is sent to it; then the connection is closed.
    pub write_timeout: Duration,
}

impl Limits {
    /// What suits most servers.
    pub const DEFAULT: Self = Self { write_timeout: Duration::from_secs(30) };
}

/// The service of a warp filter that answers every request: rejections have to be recovered from first.
pub fn warp_service<F, R>(
    filter: F,
) -> impl Service<Request<RequestBody>, Response = reply::Response, Error = Infallible, Future: Send> + Clone + Send
where
    F: Filter<Extract = (R,), Error = Infallible, Future: Send> + Clone + Send,
    R: Reply,
{
    TowerToHyperService::new(warp::service(filter))
}

/// How long a port that stops takes what has begun: for the last step of handshakes, and for requests on their way.
const LAST_REQUESTS: Duration = Duration::from_millis(250);

/// Accepts connections until `stage` is asked to stop, and for 250 ms those that have begun by then. Spreads them evenly
/// over the workers, each of which serves its connections with its own `service`. The connections are tasks of the stage:
/// idle ones are closed after those 250 ms, and the others when the request that has begun is answered. So
/// [`Stage::stop`] bounds the drain.
pub async fn serve<S, B>(
    port: Arc<Port>,
    listener: Listener,
    workers: Workers,
    service: impl Fn(&Worker) -> S,
    gate: Gate,
    limits: Limits,
    stage: Stage,
) where
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let services: Vec<S> = workers.iter().map(service).collect();
    // Each connection holds a clone of its worker's, so the count of clones is the worker's load.
    let loads: Vec<Arc<()>> = workers.iter().map(|_| Arc::default()).collect();
    let ending = CancellationToken::new();
    let _ends_when_dropped = ending.clone().drop_guard();
    let (tasks, served) = (stage.clone(), port.clone());
    let hand_over = move |accepted: Accepted| {
        let load = |worker: &Worker| Arc::strong_count(&loads[usize::from(worker.index())]) as u64;
        let worker = workers.least_loaded(load);
        let Some(accepted) = accepted.adopted_by(worker) else { return };
        let index = usize::from(worker.index());
        let (port, stage, service, load) =
            (served.clone(), tasks.clone(), services[index].clone(), loads[index].clone());
        let ending = ending.clone();
        let _entered = worker.enter();
        tasks.spawn(async move {
            if let Some(Some(connection)) = ending.run_until_cancelled(accepted.identify()).await {
                serve_connection(&port, connection, service, gate, limits, &stage, &ending).await;
            }
            drop(load);
        });
    };
    port.accept(listener, stage, LAST_REQUESTS, hand_over).await;
}

async fn serve_connection<S, B>(
    port: &Arc<Port>,
    connection: Connection,
    service: S,
    gate: Gate,
    limits: Limits,
    stage: &Stage,
    ending: &CancellationToken,
) where
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible> + Send + Sync + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let Connection { mut stream, peer, client, mut read, visit } = connection;
    let peer = port.is_internal().then_some(peer);
    let (visit, service) = (Arc::new(visit), Arc::new(service));
    let is_plain = matches!(stream, Stream::Plain(_));
    let rests = || is_plain && port.resting().is_open() && visit.is_at_rest();
    loop {
        let watched = TokioIo::new(Watched::new(stream, read, visit.clone(), limits.write_timeout));
        let (service, asked) = (service.clone(), visit.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            let (port, visit, service) = (port.clone(), asked.clone(), service.clone());
            async move {
                visit.begin();
                let mut request = request.map(|body| RequestBody::new(body, visit.clone()));
                let source = port.trust().source(client, request.headers());
                let served = async {
                    gate.admit(&port, source, visit.is_spare(), &request)?;
                    if let Some(peer) = peer {
                        request.extensions_mut().insert(peer);
                    }
                    gate.serve(&port, async { service.call(request).await }).await
                };
                let mut response = match served.await {
                    Ok(Ok(response)) => response.map(Either::Left),
                    Err(refused) => (*refused).map(|body| Either::Right(Full::new(body))),
                };
                if port.resting().is_over() {
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                visit.answered();
                Ok::<_, Infallible>(response)
            }
        });
        let mut builder = http1::Builder::new();
        // The port ends a connection whose head is late.
        builder.timer(TokioTimer::new()).header_read_timeout(None);
        builder.max_buf_size(BUFFER_LEN_MAX).max_headers(FIELDS_READ_MAX);
        let connection = builder.serve_connection(watched, service);
        let parts = match until_closed(connection, &visit, stage, ending, rests).await {
            Ok(Some(parts)) => parts,
            Ok(None) => return,
            Err(error) => {
                tracing::debug!(%error, "HTTP connection ended early");
                return;
            }
        };
        let (at_rest, unread) = parts.io.into_inner().into_parts();
        let Stream::Plain(tcp) = at_rest else { return };
        let Ok(tcp) = tcp.into_std() else { return };
        let read_before = [parts.read_buf, unread].concat().into();
        let (address, was_answered) = (client.address(), !visit.is_opening());
        let rested = Rested { tcp, address, was_answered, read: read_before };
        // It may be too late for that.
        let Err(rested) = port.resting().add(rested) else { return };
        let Ok(tcp) = TcpStream::from_std(rested.tcp) else { return };
        (stream, read) = (Stream::Plain(tcp), rested.read);
    }
}

/// Drives a connection to its end. Asks it to end after the current response at `ending`, which comes after `stage` was
/// asked to stop, and drops it when it has to make room. Takes it apart when it `rests`.
async fn until_closed<I, S, B>(
    mut connection: http1::Connection<I, S>,
    visit: &Visit,
    stage: &Stage,
    ending: &CancellationToken,
    rests: impl Fn() -> bool,
) -> hyper::Result<Option<http1::Parts<I, S>>>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut ended = pin!(ending.cancelled());
    let mut is_armed = false;
    let mut is_asked = false;
    let driven = poll_fn(|context| {
        if visit.poll_ended(context) {
            return Poll::Ready(Ok(true));
        }
        if let Poll::Ready(ended) = Pin::new(&mut connection).poll(context) {
            return Poll::Ready(ended.map(|()| true));
        }
        // The first poll registers the waker, which stays the same for the life of the task. Every poll takes a lock
        // that all connections share, so the second one waits until the stage is stopping.
        if !is_asked && (!is_armed || stage.is_stopping()) {
            is_armed = true;
            if ended.as_mut().poll(context).is_ready() {
                is_asked = true;
                Pin::new(&mut connection).graceful_shutdown();
                return Pin::new(&mut connection).poll(context).map_ok(|()| true);
            }
        }
        if rests() { Poll::Ready(Ok(false)) } else { Poll::Pending }
    });
    Ok(if driven.await? { None } else { Some(connection.into_parts()) })
}
