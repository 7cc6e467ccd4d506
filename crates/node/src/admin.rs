//! Health, status, version, metrics and draining over HTTP (PROTOCOL.md section 6): GET and HEAD unless stated,
//! `Cache-Control: no-store`, JSON unless stated.
//!
//! | path | answer | public |
//! | --- | --- | --- |
//! | `/live` | 200 and empty, whatever else is wrong | yes |
//! | `/ready` | 200; 503 with the reason while draining, full, or without any part of the store for [`STORE_AWAY_MAX`] | yes |
//! | `/status`, `/status/` | 200, without asking the store | yes |
//! | `/health` | 200, or 503 if the store does not answer | yes |
//! | `/__lbheartbeat__` | 200 and empty; 503 while draining | yes |
//! | `/__heartbeat__` | the same as `/health` | |
//! | `/realstatus`, `/realstatus/` | 200 or 503, with capacities | |
//! | `/__version__` | which build this is | |
//! | `/metrics`, `/metrics/` | OpenMetrics text for Prometheus | |
//! | `/drain` | how far the drain is; POST begins it | |
//! | `/undrain` | POST takes the drain back; 409 if the program is stopping | |
//! | `/reload` | POST reads the settings again; 422 with everything that is wrong with them | |
//!
//! The public ones are also answered on the listener that clients use. [`Admin::serve_with`] is the admin listener, where
//! a [`Guard`] decides who is answered; a node adds further paths for its operators there, and lists them
//! ([`crate::routes`]).

pub use crate::{
    answer::{empty, json, respond},
    probe::StorageCheck,
    question::{Audience, ROUTES},
};
use crate::{
    drain::{Drain, Phase},
    error_body::ErrorBody,
    guard::Guard,
    probe::Probe,
    question::Question,
    routes::{self, Route},
    try_page,
};
use beckon_listener::{
    connections::Limits,
    gate::{Gate, Refusal},
    http::{self, RequestBody},
    port::Port,
};
use beckon_ops::{
    clock::Clock, listener::Listener, metrics, program::Build, reload::Reload, stage::Stage, workers::Workers,
};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Bytes,
    header::{ALLOW, HeaderValue},
    service::{Service, service_fn},
};
use prometheus_client::{metrics::gauge::Gauge, registry::Registry};
use serde::Serialize;
use std::{
    convert::Infallible,
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};
use warp::{Filter, Rejection, reply, reply::Reply as _};

/// How long the store may be silent before a node is not ready. Shorter outages should not empty the load balancer.
pub const STORE_AWAY_MAX: Duration = Duration::from_secs(10);

/// A store that takes longer is reported as a reason not to be ready.
const REPORT_STORE_TIMEOUT: Duration = Duration::from_millis(500);

/// Most connections of monitors and scrapers. They are few, and one that hangs must not keep the others out.
const CONNECTIONS_MAX: usize = 256;

/// Time limit for the body of what an operator asks for. Some of it is read before it is known who asks.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// The limits of the admin listener.
const LIMITS: Limits = Limits {
    connections_max: CONNECTIONS_MAX,
    source_opening_max: CONNECTIONS_MAX,
    head_timeout: Duration::from_secs(10),
    idle_timeout: Duration::from_secs(75),
    handshakes: None,
};

/// What every port says to its requests.
pub const GATE: Gate = Gate {
    is_health: |path| Question::of(Audience::Public, path).is_some(),
    counts_requests: true,
    answer: refused,
};

/// Whether a path of the admin listener is for whoever asks: health, the try page, and the files of the dashboard, which say
/// nothing of this server.
fn is_open(path: &str) -> bool {
    let is_health = Question::of(Audience::Public, path).is_some() || path == "/__heartbeat__";
    is_health || try_page::has(path) || path == "/dashboard" || path.starts_with("/dashboard/")
}

/// The state of a node, as its operators see it.
pub trait Vitals: fmt::Debug + Send + Sync {
    /// Open connections of clients.
    fn clients(&self) -> u64;

    /// Most open connections of clients.
    fn clients_max(&self) -> u64;

    /// Most open connections of application servers; 0 where none are accepted.
    fn endpoint_connections_max(&self) -> u64;

    /// What operators call the node.
    fn instance(&self) -> &str;

    /// Asks all of the store for a sign of life. The answer must come within two seconds.
    fn check_store(&self) -> StorageCheck<'_>;

    /// Asks any part of the store for a sign of life. The answer must come within two seconds.
    fn reach_store(&self) -> StorageCheck<'_>;
}

/// Answers the paths of the table.
#[derive(Debug)]
pub struct Admin {
    vitals: Arc<dyn Vitals>,
    drain: Drain,
    /// Reads the settings again, once the program has started.
    reload: OnceLock<Reload>,
    build: Build,
    registry: Registry,
    clock: Clock,
    /// Whether all of the store answers.
    storage: Probe,
    /// Whether any part of it does.
    reach: Probe,
    /// `ready`: what `/ready` answers, as of the last time that anybody asked.
    ready: Gauge,
}

/// A node as it is now.
#[derive(Debug)]
pub struct Report {
    /// What it was built from.
    pub build: Build,
    /// What operators call it.
    pub name: String,
    /// The phase of its drain.
    pub phase: Phase,
    /// Why it is not ready for new clients: draining, full or store.
    pub unready: Option<&'static str>,
    /// Open connections of clients.
    pub clients: u64,
    /// Most open connections of clients.
    pub clients_max: u64,
    /// What `/metrics` answers.
    pub metrics: String,
}

/// The answer of `/ready`.
#[derive(Serialize)]
struct Readiness {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

/// The answer of `/drain` and `/undrain`.
#[derive(Serialize)]
struct DrainState {
    phase: Phase,
    clients: u64,
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
    pub fn new(
        vitals: Arc<dyn Vitals>,
        drain: Drain,
        build: Build,
        mut registry: Registry,
        clock: Clock,
    ) -> Self {
        let ready = Gauge::default();
        let help = "1 if the node is ready for new clients, and 0 while it drains, is full, or has no store";
        registry.sub_registry_with_prefix("beckon").register("ready", help, ready.clone());
        let (storage, reach) = (Probe::new("all of the store"), Probe::new("the store"));
        let reload = OnceLock::new();
        Self { vitals, drain, reload, build, registry, clock, storage, reach, ready }
    }

    /// Serves whoever `guard` admits, until `stage` is asked to stop. `added` are the paths that the node adds, and `routes`
    /// lists them. They take precedence, and `added` rejects all other paths.
    pub async fn serve_with<F>(
        self: Arc<Self>,
        listener: Listener,
        guard: Arc<Guard>,
        added: F,
        mut routes: Vec<&'static [Route]>,
        stage: Stage,
    ) where
        F: Filter<Extract = (Response<Bytes>,), Error = Rejection, Future: Send>
            + Clone
            + Send
            + Sync
            + 'static,
    {
        let service = http::warp_service(added.or(self.clone().filter()).unify());
        routes.push(ROUTES);
        self.serve_guarded(listener, guard, service, routes.into(), stage).await;
    }

    /// Every request to the admin listener passes here.
    async fn serve_guarded<S>(
        self: Arc<Self>,
        listener: Listener,
        guard: Arc<Guard>,
        service: S,
        routes: Arc<[&'static [Route]]>,
        stage: Stage,
    ) where
        S: Service<Request<RequestBody>, Response = reply::Response, Error = Infallible, Future: Send>
            + Clone
            + Send
            + Sync
            + 'static,
    {
        let port = Port::internal("admin", LIMITS, self.clock);
        let (workers, limits) = (Workers::current(), http::Limits::DEFAULT);
        let guarded = service_fn(move |request: Request<RequestBody>| {
            let (admin, guard, service, routes) =
                (self.clone(), guard.clone(), service.clone(), routes.clone());
            async move {
                let change = match guard.admit(&request, is_open) {
                    Ok(change) => change,
                    Err(refused) => return Ok::<_, Infallible>(refused.into_response()),
                };
                let routed = routes::check(&routes, request.method().as_str(), request.uri().path());
                let response = match routed {
                    Ok(()) => {
                        let Ok(response) = service.call(request).await;
                        response
                    }
                    Err(allowed) => admin.not_routed(&allowed).into_response(),
                };
                if let Some(change) = change {
                    guard.answered(change, &response);
                }
                Ok(response)
            }
        });
        http::serve(port, listener, workers, |_| guarded.clone(), GATE, limits, stage).await;
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
                    None => admin.not_routed(""),
                }
            }
        };
        warp::method().and(warp::path::full()).then(answer)
    }

    /// The answer to one request, `None` for a path that is not for this audience. The server that sends the
    /// response omits the body for a HEAD.
    pub async fn answer(&self, audience: Audience, method: &Method, path: &str) -> Option<Response<Bytes>> {
        let question = Question::of(audience, path)?;
        let is_get = matches!(*method, Method::GET | Method::HEAD);
        Some(match question {
            Question::Drain if *method == Method::POST => self.begin_drain(),
            Question::Undrain if *method == Method::POST => self.undo_drain(),
            Question::Drain if !is_get => self.wrong_method("GET, HEAD, POST"),
            Question::Reload if *method == Method::POST => self.reload().await,
            Question::Undrain | Question::Reload => self.wrong_method("POST"),
            _ if !is_get => self.wrong_method("GET, HEAD"),
            Question::Drain => self.drain_state(),
            Question::Live => empty(StatusCode::OK),
            Question::Ready => self.ready().await,
            Question::Status => self.status(),
            Question::Health => self.health().await,
            Question::LoadBalancer => self.load_balancer(),
            Question::RealStatus => self.real_status().await,
            Question::Version => json(StatusCode::OK, &self.build),
            Question::Metrics => self.metrics().await,
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

    /// Why the node is not ready for new clients; `None` if it is.
    async fn unready(&self) -> Option<&'static str> {
        let (clients, clients_max) = (self.vitals.clients(), self.vitals.clients_max());
        let reason = if self.drain.is_draining() {
            Some("draining")
        } else if clients_max > 0 && clients >= clients_max {
            Some("full")
        } else if self.store_is_away().await {
            Some("store")
        } else {
            None
        };
        self.ready.set(reason.is_none().into());
        reason
    }

    /// What any node shows to operators of this one. Does not wait long for a store that does not answer.
    pub async fn report(&self) -> Report {
        let unready = tokio::time::timeout(REPORT_STORE_TIMEOUT, self.unready()).await;
        Report {
            build: self.build,
            name: self.vitals.instance().to_owned(),
            phase: self.drain.phase(),
            unready: unready.unwrap_or(Some("store")),
            clients: self.vitals.clients(),
            clients_max: self.vitals.clients_max(),
            // Fails only if a collector does.
            metrics: metrics::encode(&self.registry).unwrap_or_default(),
        }
    }

    /// What operators call the node.
    pub fn name(&self) -> &str {
        self.vitals.instance()
    }

    /// The drain of the node.
    pub fn drain(&self) -> &Drain {
        &self.drain
    }

    async fn ready(&self) -> Response<Bytes> {
        let reason = self.unready().await;
        match reason {
            None => json(StatusCode::OK, &Readiness { status: "OK", reason }),
            Some(_) => json(StatusCode::SERVICE_UNAVAILABLE, &Readiness { status: "ERROR", reason }),
        }
    }

    fn begin_drain(&self) -> Response<Bytes> {
        self.drain.begin();
        self.drain_state()
    }

    fn undo_drain(&self) -> Response<Bytes> {
        match self.drain.undo() {
            Ok(()) => self.drain_state(),
            Err(error) => self.error(StatusCode::CONFLICT, &error.to_string()),
        }
    }

    /// From now on `/reload` does this.
    pub fn set_reload(&self, reload: Reload) {
        // A program has one, and sets it once.
        let _ = self.reload.set(reload);
    }

    async fn reload(&self) -> Response<Bytes> {
        let Some(reload) = self.reload.get() else {
            return self.error(StatusCode::SERVICE_UNAVAILABLE, "The node is starting");
        };
        match reload.reload_in_background().await {
            Ok(reloaded) => json(StatusCode::OK, &reloaded),
            Err(errors) => self.error(StatusCode::UNPROCESSABLE_ENTITY, &errors.to_string()),
        }
    }

    fn drain_state(&self) -> Response<Bytes> {
        json(StatusCode::OK, &DrainState { phase: self.drain.phase(), clients: self.vitals.clients() })
    }

    fn load_balancer(&self) -> Response<Bytes> {
        let is_draining = self.drain.is_draining();
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

    async fn metrics(&self) -> Response<Bytes> {
        // For the gauge.
        let _ = self.unready().await;
        match metrics::encode(&self.registry) {
            Ok(text) => respond(StatusCode::OK, Some(metrics::CONTENT_TYPE), text.into()),
            Err(_) => self.error(StatusCode::INTERNAL_SERVER_ERROR, "The metrics could not be encoded"),
        }
    }

    fn not_routed(&self, allowed: &str) -> Response<Bytes> {
        if allowed.is_empty() {
            return self.error(StatusCode::NOT_FOUND, "There is nothing at this path");
        }
        self.wrong_method(allowed)
    }

    fn wrong_method(&self, allowed: &str) -> Response<Bytes> {
        let message = format!("This path takes only {allowed}");
        let mut response = self.error(StatusCode::METHOD_NOT_ALLOWED, &message);
        if let Ok(allowed) = HeaderValue::from_str(allowed) {
            response.headers_mut().insert(ALLOW, allowed);
        }
        response
    }

    /// The body of PROTOCOL.md section 5.8, with errno null.
    pub fn error(&self, code: StatusCode, message: &str) -> Response<Bytes> {
        json(code, &ErrorBody::new(code, None, message))
    }

    /// Whether all of the store answers.
    async fn storage_is_ok(&self) -> bool {
        let failing = self.storage.failing_for(&self.clock, || self.vitals.check_store());
        failing.await.is_none()
    }

    /// Whether no part of the store has answered for [`STORE_AWAY_MAX`].
    async fn store_is_away(&self) -> bool {
        let failing = self.reach.failing_for(&self.clock, || self.vitals.reach_store());
        failing.await.is_some_and(|time| time >= STORE_AWAY_MAX)
    }
}

/// The answer to a request that a port refuses.
fn refused(refusal: &Refusal) -> Response<Bytes> {
    json(refusal.status, &ErrorBody::new(refusal.status, None, refusal.text))
}
