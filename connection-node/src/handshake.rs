//! From a connection to a WebSocket: the upgrade, and the few plain requests that load balancers send to the same
//! port.
//!
//! hyper serves the requests. Once it has answered one with 101, the connection is taken back and all of hyper's
//! state is dropped.

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;

use crate::{metrics::Upgrade, node::PORT, registry::Registration, shard::Shard, socket::Socket};
use beckon_listener::{
    gate::{FIELDS_READ_MAX, Gate, seconds},
    port::{Connection, Port},
    source::Source,
    stream::Stream,
    trust::Client,
};
use beckon_node::admin::{Admin, Audience, GATE};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{
        ALLOW, CONNECTION, CONTENT_TYPE, ORIGIN, RETRY_AFTER, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
        UPGRADE,
    },
};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;

/// Time limit for the upgrade, from the connection and its TLS handshake. Then the connection is dropped.
pub(crate) const UPGRADE_TIMEOUT: Duration = Duration::from_secs(20);

/// Longest head of a request, in bytes. A longer one is refused with 431 and no body; the gate refuses shorter ones with
/// a body that says why.
const HEAD_LEN_MAX: usize = 48 * 1024;

/// Upgrades are counted when they are accepted.
const UPGRADES: Gate = Gate { counts_requests: false, ..GATE };

/// The subprotocol that is selected if the user agent offers it (PROTOCOL.md section 1.4).
const SUBPROTOCOL: &str = "push-notification";

/// Upgrades the connections of a worker to WebSockets.
#[derive(Debug)]
pub(crate) struct Handshake {
    /// The worker's share of the node.
    pub(crate) shard: Arc<Shard>,
    /// The port.
    pub(crate) port: Arc<Port>,
    /// Answers `/status`, `/health` and `/__lbheartbeat__`.
    pub(crate) admin: Arc<Admin>,
    /// A second path for WebSockets besides `/` (`ws_path`).
    pub(crate) ws_path: Option<String>,
}

/// Where an accepted request is left for [`Handshake::upgrade`].
type Accepted = Arc<Mutex<Option<(OnUpgrade, Registration)>>>;

impl Handshake {
    /// Serves one request. `None` if it is not upgraded: the peer leaves, takes longer than [`UPGRADE_TIMEOUT`], has to
    /// make room for another, or asks for something else.
    pub(crate) async fn upgrade(self: Arc<Self>, connection: Connection) -> Option<(Socket, Registration)> {
        let Connection { stream, client, visit, .. } = connection;
        let accepted = Accepted::default();
        let service = service_fn(|request: Request<Incoming>| {
            visit.begin();
            let asked = self.answer(request, client, visit.is_spare(), &accepted);
            async { Ok::<_, Infallible>(asked.await) }
        });
        // The port ends a connection whose head is late.
        let serving = http1::Builder::new()
            .header_read_timeout(None)
            .max_buf_size(HEAD_LEN_MAX)
            .max_headers(FIELDS_READ_MAX)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        visit.until_ended(tokio::time::timeout(UPGRADE_TIMEOUT, serving)).await?.ok()?.ok()?;
        let (on_upgrade, registration) = accepted.lock().take()?;
        let parts = on_upgrade.await.ok()?.downcast::<TokioIo<Stream>>().ok()?;
        let tunables = self.shard.node.tunables();
        let socket = Socket::new(parts.io.into_inner(), parts.read_buf, tunables.messages.before_hello);
        socket.notice_death_within(tunables.dead_client);
        Some((socket, registration))
    }

    /// Answers a request. Any answer but 101 ends the connection.
    async fn answer(
        &self,
        request: Request<Incoming>,
        client: Client,
        is_spare: bool,
        accepted: &Accepted,
    ) -> Response<Full<Bytes>> {
        let source = self.port.trust().source(client, request.headers());
        let served = async {
            UPGRADES.admit(&self.port, source, is_spare, &request)?;
            UPGRADES.serve(&self.port, self.serve(request, source, accepted)).await
        };
        let mut response = served.await.unwrap_or_else(|refused| (*refused).map(Full::new));
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            response.headers_mut().append(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    async fn serve(
        &self,
        mut request: Request<Incoming>,
        source: Option<Source>,
        accepted: &Accepted,
    ) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        let is_websocket = path == "/" || self.ws_path.as_deref() == Some(path);
        if !is_websocket {
            let answer = self.admin.answer(Audience::Public, request.method(), path).await;
            let not_found = || self.admin.error(StatusCode::NOT_FOUND, "There is nothing at this path");
            return answer.unwrap_or_else(not_found).map(Full::new);
        }
        if request.method() != Method::GET {
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "this path takes WebSocket upgrades");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
            return response;
        }
        if !request.headers().contains_key(UPGRADE) {
            let mut response = plain(StatusCode::UPGRADE_REQUIRED, "this path takes WebSocket upgrades");
            response.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
            return response;
        }
        match self.accept(&mut request, source, accepted) {
            Ok(response) => {
                self.shard.node.metrics.upgrade(Upgrade::Accepted);
                response
            }
            Err(refusal) => {
                self.shard.node.metrics.upgrade(refusal.label());
                refusal.response()
            }
        }
    }

    /// Checks an upgrade request in the order of PROTOCOL.md section 1.4.
    fn accept(
        &self,
        request: &mut Request<Incoming>,
        source: Option<Source>,
        accepted: &Accepted,
    ) -> Result<Response<Full<Bytes>>, Refusal> {
        join_lists(request.headers_mut());
        let response = create_response_with_body(request, Full::default);
        let mut response = response.map_err(|error| Refusal::Malformed(error.to_string()))?;
        if !self.allows_origin(request) {
            return Err(Refusal::ForeignOrigin);
        }
        let node = &self.shard.node;
        if node.drain.is_closing() {
            return Err(Refusal::Draining);
        }
        node.shares.open(PORT, source).map_err(Refusal::SourceFull)?;
        let registration = node
            .registry
            .enter(self.shard.worker, node.tunables().limits.connections_max, source)
            .ok_or(Refusal::Full)?;
        if offers_subprotocol(request) {
            let selected = HeaderValue::from_static(SUBPROTOCOL);
            response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, selected);
        }
        *accepted.lock() = Some((hyper::upgrade::on(request), registration));
        Ok(response)
    }

    fn allows_origin(&self, request: &Request<Incoming>) -> bool {
        let tunables = self.shard.node.tunables();
        let allowed = &tunables.allowed_origins;
        if allowed.is_empty() {
            return true;
        }
        let mut origins = request.headers().get_all(ORIGIN).iter();
        let Some(origin) = origins.next() else { return true };
        // Firefox sends the URL of the WebSocket, which ends with a slash.
        let origin = origin.to_str().ok().map(|origin| origin.strip_suffix('/').unwrap_or(origin));
        let origin = origin.and_then(|origin| origin.parse().ok());
        origins.next().is_none() && origin.is_some_and(|origin| allowed.contains(&origin))
    }
}

/// Writes `Connection` and `Upgrade` as tungstenite reads them: as one line, and without other protocols. Both are lists
/// (RFC 9110 sections 7.6.1 and 7.8), which may have several lines. A list without the item is removed: tungstenite finds
/// the item also in the middle of another one.
fn join_lists(headers: &mut HeaderMap) {
    for (name, item) in [(CONNECTION, "upgrade"), (UPGRADE, "websocket")] {
        let lines = headers.get_all(&name).iter().filter_map(|line| line.to_str().ok());
        let mut items = lines.flat_map(|line| line.split(',')).map(str::trim);
        if items.any(|other| other.eq_ignore_ascii_case(item)) {
            headers.insert(name, HeaderValue::from_static(item));
        } else {
            headers.remove(name);
        }
    }
}

fn offers_subprotocol(request: &Request<Incoming>) -> bool {
    let offers = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL);
    let mut offers = offers.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    offers.any(|offer| offer.trim() == SUBPROTOCOL)
}

/// Why a request is not upgraded.
enum Refusal {
    /// It is not a WebSocket upgrade (RFC 6455 section 4.2.1).
    Malformed(String),
    ForeignOrigin,
    Draining,
    Full,
    /// Its source has too many sockets, or asks for too many; it may try again after this time.
    SourceFull(Duration),
}

impl Refusal {
    fn label(&self) -> Upgrade {
        match self {
            Self::Malformed(_) => Upgrade::Malformed,
            Self::ForeignOrigin => Upgrade::ForeignOrigin,
            Self::Draining => Upgrade::Draining,
            Self::Full => Upgrade::Full,
            Self::SourceFull(_) => Upgrade::SourceFull,
        }
    }

    /// The one map to statuses (PROTOCOL.md section 1.4).
    fn response(&self) -> Response<Full<Bytes>> {
        let unavailable = StatusCode::SERVICE_UNAVAILABLE;
        let (status, reason, header) = match self {
            Self::Malformed(reason) => {
                let version = HeaderValue::from_static("13");
                (StatusCode::BAD_REQUEST, reason.as_str(), Some((SEC_WEBSOCKET_VERSION, version)))
            }
            Self::ForeignOrigin => (StatusCode::FORBIDDEN, "origin not allowed", None),
            Self::Draining => {
                let wait = HeaderValue::from_static("5");
                (unavailable, "this node is draining", Some((RETRY_AFTER, wait)))
            }
            Self::Full => {
                (unavailable, "this node is full", Some((RETRY_AFTER, HeaderValue::from_static("120"))))
            }
            Self::SourceFull(wait) => {
                let reason = "too many sockets come from your address";
                (StatusCode::TOO_MANY_REQUESTS, reason, Some((RETRY_AFTER, seconds(*wait))))
            }
        };
        let mut response = plain(status, reason);
        if let Some((name, value)) = header {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

fn plain(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(format!("{text}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
