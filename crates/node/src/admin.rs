//! Health, status, version and metrics over HTTP (PROTOCOL.md section 6): GET and HEAD, `Cache-Control: no-store`,
//! JSON unless stated.
//!
//! | path | answer | public |
//! | --- | --- | --- |
//! | `/status`, `/status/` | 200, without a look at the store | yes |
//! | `/health` | 200, or 503 if the store does not answer | yes |
//! | `/__lbheartbeat__` | 200 and empty; 503 while shutting down | yes |
//! | `/__heartbeat__` | the same as `/health` | |
//! | `/realstatus`, `/realstatus/` | 200 or 503, with capacities | |
//! | `/__version__` | which build this is | |
//! | `/metrics`, `/metrics/` | OpenMetrics text for Prometheus | |
//!
//! The public ones are also answered on the listener that clients use. [`Admin::serve`] is the admin listener; a node
//! that has more paths for its operators adds them there ([`Admin::serve_with`]).

use crate::error_body::ErrorBody;
use beckon_ops::{clock::Clock, http, metrics, program::Build, stage::Stage};
use hyper::{
    Method, Response, StatusCode,
    body::Bytes,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
};
use prometheus_client::registry::Registry;
use serde::Serialize;
use std::{convert::Infallible, fmt, pin::Pin, sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::Mutex};
use warp::{Filter, Rejection};

/// Time limit for an answer of the store; after that it counts as down.
const STORAGE_CHECK_LIMIT: Duration = Duration::from_secs(2);

/// How long an answer of the store is reused: many requests at once cost one question.
const STORAGE_CHECK_AGE_MS: u64 = 1000;

/// Most connections of monitors and scrapers. They are few, and one that hangs must not keep the others out.
const CONNECTIONS_MAX: usize = 256;

/// The limits of the admin listener.
const LIMITS: http::Limits = http::Limits { connections_max: CONNECTIONS_MAX, ..http::Limits::DEFAULT };

/// The answer of the store, or why there is none. The reason is logged and not shown.
pub type StorageCheck<'a> = Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;

/// The state of a node, as its operators see it.
pub trait Vitals: fmt::Debug + Send + Sync {
    /// Open connections of clients.
    fn clients(&self) -> u64;

    /// Most open connections of clients.
    fn clients_max(&self) -> u64;

    /// Most open connections of application servers; 0 where none are accepted.
    fn endpoint_connections_max(&self) -> u64;

    /// Whether the node is shutting down, so that load balancers should use another one.
    fn is_draining(&self) -> bool;

    /// What operators call the node.
    fn instance(&self) -> &str;

    /// Asks the store for a sign of life. The answer must come within two seconds.
    fn check_store(&self) -> StorageCheck<'_>;
}

/// Answers the paths of the table.
#[derive(Debug)]
pub struct Admin {
    vitals: Arc<dyn Vitals>,
    build: Build,
    registry: Registry,
    clock: Clock,
    checked: Mutex<Option<Checked>>,
}

/// The last answer of the store.
#[derive(Debug, Clone, Copy)]
struct Checked {
    at_ms: u64,
    is_ok: bool,
}

/// Where a request has come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// On the public listener: only what load balancers need.
    Public,
    /// On the admin listener.
    Operator,
}

#[derive(Serialize)]
struct Status<'a> {
    status: &'a str,
    clients: u64,
    version: &'a str,
}

#[derive(Serialize)]
struct Health<'a> {
    status: &'a str,
    version: &'a str,
    connections: u64,
    storage: StorageHealth<'a>,
}

#[derive(Serialize)]
struct StorageHealth<'a> {
    status: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RealStatus<'a> {
    ok: bool,
    client_count: u64,
    max_clients: u64,
    max_endpoint_conns: u64,
    plugins: [Plugin<'a>; 1],
    version: &'a str,
    instance: &'a str,
}

#[derive(Serialize)]
struct Plugin<'a> {
    name: &'a str,
    ok: bool,
}

impl Admin {
    /// `build` is the answer of `/__version__`, `registry` that of `/metrics`.
    pub fn new(vitals: Arc<dyn Vitals>, build: Build, registry: Registry, clock: Clock) -> Self {
        Self { vitals, build, registry, clock, checked: Mutex::new(None) }
    }

    /// Serves all paths until `stage` is asked to stop.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, stage: Stage) {
        http::serve(listener, http::warp_service(self.filter()), LIMITS, stage).await;
    }

    /// As [`Admin::serve`], with paths that the node adds. They take precedence, and reject all other paths.
    pub async fn serve_with<F>(self: Arc<Self>, listener: TcpListener, added: F, stage: Stage)
    where
        F: Filter<Extract = (Response<Bytes>,), Error = Rejection, Future: Send>
            + Clone
            + Send
            + Sync
            + 'static,
    {
        let all = added.or(self.filter()).unify();
        http::serve(listener, http::warp_service(all), LIMITS, stage).await;
    }

    /// The warp filter of the admin listener. It answers every request.
    pub fn filter(
        self: Arc<Self>,
    ) -> impl Filter<Extract = (Response<Bytes>,), Error = Infallible, Future: Send> + Clone + Send {
        let answer = move |method: Method, path: warp::path::FullPath| {
            let admin = self.clone();
            async move {
                match admin.answer(Audience::Operator, &method, path.as_str()).await {
                    Some(response) => response,
                    None => admin.error(StatusCode::NOT_FOUND, "There is nothing at this path"),
                }
            }
        };
        warp::method().and(warp::path::full()).then(answer)
    }

    /// The answer to one request, `None` for a path that is not for this audience. The server that sends the
    /// response omits the body for a HEAD.
    pub async fn answer(&self, audience: Audience, method: &Method, path: &str) -> Option<Response<Bytes>> {
        let question = Question::of(audience, path)?;
        if method != Method::GET && method != Method::HEAD {
            let mut response =
                self.error(StatusCode::METHOD_NOT_ALLOWED, "Only GET and HEAD are answered here");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return Some(response);
        }
        Some(match question {
            Question::Status => self.status(),
            Question::Health => self.health().await,
            Question::LoadBalancer => self.load_balancer(),
            Question::RealStatus => self.real_status().await,
            Question::Version => json(StatusCode::OK, &self.build),
            Question::Metrics => self.metrics(),
        })
    }

    fn status(&self) -> Response<Bytes> {
        let clients = self.vitals.clients();
        json(StatusCode::OK, &Status { status: "OK", clients, version: self.build.version })
    }

    async fn health(&self) -> Response<Bytes> {
        let (code, status) = match self.storage_is_ok().await {
            true => (StatusCode::OK, "OK"),
            false => (StatusCode::SERVICE_UNAVAILABLE, "ERROR"),
        };
        let connections = self.vitals.clients();
        let storage = StorageHealth { status };
        json(code, &Health { status, version: self.build.version, connections, storage })
    }

    fn load_balancer(&self) -> Response<Bytes> {
        let is_draining = self.vitals.is_draining();
        empty(if is_draining { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK })
    }

    async fn real_status(&self) -> Response<Bytes> {
        let ok = self.storage_is_ok().await;
        let code = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let body = RealStatus {
            ok,
            client_count: self.vitals.clients(),
            max_clients: self.vitals.clients_max(),
            max_endpoint_conns: self.vitals.endpoint_connections_max(),
            plugins: [Plugin { name: "storage", ok }],
            version: self.build.version,
            instance: self.vitals.instance(),
        };
        json(code, &body)
    }

    fn metrics(&self) -> Response<Bytes> {
        match metrics::encode(&self.registry) {
            Ok(text) => respond(StatusCode::OK, Some(metrics::CONTENT_TYPE), text.into()),
            Err(_) => self.error(StatusCode::INTERNAL_SERVER_ERROR, "The metrics could not be encoded"),
        }
    }

    /// The body of PROTOCOL.md section 5.8, with errno null.
    pub fn error(&self, code: StatusCode, message: &str) -> Response<Bytes> {
        json(code, &ErrorBody::new(code, None, message))
    }

    /// Whether the store answers. It is asked at most once in [`STORAGE_CHECK_AGE_MS`], and requests that come while
    /// it is being asked wait for the same answer. A change is logged.
    async fn storage_is_ok(&self) -> bool {
        let mut checked = self.checked.lock().await;
        let before = *checked;
        if let Some(recent) = before
            && self.clock.now_ms().saturating_sub(recent.at_ms) < STORAGE_CHECK_AGE_MS
        {
            return recent.is_ok;
        }
        let answer = match tokio::time::timeout(STORAGE_CHECK_LIMIT, self.vitals.check_store()).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer within {STORAGE_CHECK_LIMIT:?}")),
        };
        let was_ok = before.is_none_or(|before| before.is_ok);
        match &answer {
            Err(error) if was_ok => tracing::warn!(%error, "the store does not answer"),
            Ok(()) if !was_ok => tracing::info!("the store answers again"),
            Ok(()) | Err(_) => {}
        }
        let is_ok = answer.is_ok();
        *checked = Some(Checked { at_ms: self.clock.now_ms(), is_ok });
        is_ok
    }
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    Status,
    Health,
    LoadBalancer,
    RealStatus,
    Version,
    Metrics,
}

impl Question {
    /// The table of paths.
    fn of(audience: Audience, path: &str) -> Option<Self> {
        match (path, audience) {
            ("/status" | "/status/", _) => Some(Self::Status),
            ("/health", _) => Some(Self::Health),
            ("/__lbheartbeat__", _) => Some(Self::LoadBalancer),
            ("/__heartbeat__", Audience::Operator) => Some(Self::Health),
            ("/realstatus" | "/realstatus/", Audience::Operator) => Some(Self::RealStatus),
            ("/__version__", Audience::Operator) => Some(Self::Version),
            ("/metrics" | "/metrics/", Audience::Operator) => Some(Self::Metrics),
            _ => None,
        }
    }
}

/// An answer in JSON that caches must not store.
pub fn json(code: StatusCode, body: &impl Serialize) -> Response<Bytes> {
    // Structs of strings and numbers always have a JSON form.
    let body = serde_json::to_vec(body).unwrap_or_default();
    respond(code, Some("application/json"), body.into())
}

/// An answer without a body that caches must not store.
pub fn empty(code: StatusCode) -> Response<Bytes> {
    respond(code, None, Bytes::new())
}

pub(crate) fn respond(code: StatusCode, content_type: Option<&'static str>, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(content_type) = content_type {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    response
}
