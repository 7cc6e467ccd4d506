//! The endpoint-node: accepts notifications over HTTP. It stores nothing itself.
//!
//! A notification goes one way, and responses are return values:
//!
//! ```text
//! http ──▶ dispatch ──▶ store            stored first
//!             └──────▶ connection_nodes ──▶ gRPC ──▶ the node that has the client
//! ```
//!
//! * [`config`], [`metrics`]: this node's settings and metrics, one documented struct each;
//! * `http`: the table of paths, with one file for each operation and one map from outcomes to statuses;
//! * [`vapid`]: verifies which application server has signed a request;
//! * `dispatch`: stores a notification and decides whether to deliver it at once;
//! * [`connection_nodes`]: which connection-nodes are alive, and a stream to each of them.
//!
//! A new process takes the port and the idle connections over from a running one ([`beckon_node::hand_over`]).
//!
//! [`EndpointNode`] is a node of a cluster; [`serve_endpoints`] is the part of it that a standalone server shares.

pub mod config;
pub mod connection_nodes;
mod dispatch;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod http;
pub mod metrics;
mod reloading;
pub mod vapid;

pub use reloading::{RELOADED, Tuner};

use arc_swap::ArcSwap;
use beckon_dashboard::{Dashboard, clients::Identification, local::Local};
use beckon_listener::{http::Limits, port::Port};
use beckon_node::{
    admin::{Admin, GATE, StorageCheck, Vitals},
    assembly::{Assembled, Assembly, Run},
    drain::Drain,
    files::fitting,
    hand_over::{self, Giver, HandOvers, Inheritance, Offered, PortFiles, Program, Requests, Seat},
    key_rings::KeyRings,
    store_room::StoreRoom,
    trace::Tracer,
};
use beckon_ops::{
    clock::Clock,
    exit::Failure,
    listener::{BindError, Listener, bind},
    log_throttle::LogThrottle,
    program::{About, Build},
    reload::{Reload, Reloadables},
    shutdown::Shutdown,
    stage::Stage,
    supervisor,
    tenure::Phase,
    workers::{Worker, Workers},
};
use beckon_proto::{channels::Channels, delivery::Deliver};
use beckon_store::Store;
use beckon_types::{EndpointUrl, KeyRing};
use config::{Config, HttpSettings};
use connection_nodes::{ConnectionNodes, Member};
use dispatch::Dispatcher;
use metrics::Metrics;
use std::{sync::Arc, time::Duration};
use vapid::Verifier;
use warp::Filter as _;

/// What identifies this build.
pub const BUILD: Build = beckon_node::build("endpoint-node");

/// How the program describes itself.
pub const ABOUT: About = About {
    name: "endpoint-node",
    summary: "Accepts notifications from application servers",
    parts: Config::PARTS,
    defaults: &[],
    essential: &["http_listen", "admin_listen", "admin_token_file", "log"],
    groups: &[],
    build: BUILD,
};

/// Time limit for requests that have begun when the listener closes: a request gets its body, is stored and handed over
/// within it, by the default settings.
pub const REQUESTS_STOP: Duration = Duration::from_secs(15);

/// Of the requests that fail with the same status in so much time, one is logged.
const FAILURE_LOG_INTERVAL: Duration = Duration::from_secs(1);

/// Time limit for the streams to connection-nodes to end, once the requests have ended.
const STREAMS_STOP: Duration = Duration::from_secs(5);

/// The ports of a node, as they are called in a hand-over.
const HTTP: &str = "http";
const ADMIN: &str = "admin";

/// The ports of a node, bound but not served yet.
#[derive(Debug)]
pub struct Listeners {
    /// For application servers.
    pub http: Listener,
    /// For operators.
    pub admin: Listener,
}

impl Listeners {
    /// Binds the ports that the settings name. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// A port cannot be bound.
    pub fn bind(config: &Config) -> Result<Self, BindError> {
        Ok(Self {
            http: bind("http_listen", config.http.http_listen)?,
            admin: bind("admin_listen", config.node.admin_listen)?,
        })
    }

    /// Takes the ports of the former process, and binds those that have other addresses now.
    fn inherit(config: &Config, offered: &mut Offered) -> Result<Self, Failure> {
        Ok(Self {
            http: offered.port(HTTP, "http_listen", config.http.http_listen)?,
            admin: offered.port(ADMIN, "admin_listen", config.node.admin_listen)?,
        })
    }

    /// The same ports, to hand them over.
    fn files(&self) -> Result<PortFiles, Failure> {
        hand_over::port_files([(HTTP, &self.http), (ADMIN, &self.admin)])
    }

    fn under(self, run: &Run) -> Self {
        let Self { http, admin } = self;
        Self { http: http.under(&run.tenure), admin: admin.under(&run.tenure) }
    }
}

/// Opens the store, binds the ports, and runs a node of a cluster until `shutdown` is requested and the node has
/// stopped.
///
/// # Errors
/// The store or a port is not available, or a setting cannot be used.
pub async fn serve(
    config: Config,
    shutdown: Shutdown,
    workers: Workers,
    reload: Reload,
) -> Result<(), Failure> {
    let opened = beckon_node::store::open(&config.cluster.store, None, &config.common, None, &shutdown);
    let Some(store) = opened.await? else { return Ok(()) };
    let beginning = hand_over::begin(BUILD, config.common.hand_over.as_deref(), &shutdown);
    let Some(beginning) = beginning.await? else { return Ok(()) };
    let alone = async |run: Run| {
        // Only now, so that until then load balancers are refused instead of kept waiting.
        let listeners = Listeners::bind(&config)?;
        let ports = listeners.files()?;
        Ok(Some((EndpointNode::start(&config, listeners, store.clone(), run).await, ports)))
    };
    let prepare =
        async |offered: &mut Offered, run| EndpointNode::prepare(&config, offered, store.clone(), run).await;
    let succeed = async |node: &EndpointNode, inheritance: Inheritance| {
        node.port.serve_again(inheritance.requests);
        node.run.tenure.enter(Phase::Serving);
    };
    let run = Run::new(shutdown, workers);
    let started = hand_over::start(beginning, run, alone, prepare, succeed).await?;
    let Some(node) = started else { return Ok(()) };
    node.reload_by(&reload, &config).await;
    supervisor::ready();
    node.run().await;
    Ok(())
}

/// A node of a cluster that serves.
#[derive(Debug)]
pub struct EndpointNode {
    tuner: Tuner,
    requests: Stage,
    streams: Stage,
    assembled: Assembled,
    drain: Drain,
    port: Arc<Port>,
    hand_overs: HandOvers,
    run: Run,
}

impl EndpointNode {
    /// Prepares a node to go on with what another process still has.
    async fn prepare(
        config: &Config,
        offered: &mut Offered,
        store: Arc<dyn Store>,
        run: Run,
    ) -> Result<(Self, PortFiles, Inheritance), Failure> {
        let listeners = Listeners::inherit(config, offered)?;
        let ports = listeners.files()?;
        let node = Self::start(config, listeners, store, run).await;
        match offered.receive().await {
            Ok(inheritance) => Ok((node, ports, inheritance)),
            Err(failure) => {
                node.stop().await;
                Err(failure)
            }
        }
    }

    /// Serves on these listeners from now on, or as soon as the process serves. Must be called inside a tokio runtime.
    pub async fn start(config: &Config, listeners: Listeners, store: Arc<dyn Store>, run: Run) -> Self {
        let (listeners, Run { shutdown, workers, .. }) = (listeners.under(&run), run.clone());
        let Config { common, ports, certificates, .. } = config;
        let mut assembly = Assembly::new(BUILD, store, run.clone(), common, ports, certificates.clone());
        let store = assembly.store.clone();
        let (metrics, clock, drain) =
            (Metrics::register(assembly.metrics()), assembly.clock, assembly.drain.clone());
        let (requests, streams) = (Stage::new(&shutdown, "requests"), Stage::new(&shutdown, "streams"));
        let settings = config.connection_nodes();
        let name = config.cluster.node_name.clone().unwrap_or_else(|| local(&listeners.http));
        let key_rings = Arc::new(KeyRings::in_cluster(&config.common.token_keys));
        let (stores, threads) = (assembly.stores.clone(), workers.clone());
        let nodes = ConnectionNodes::start(
            store.clone(),
            Member { name: name.clone(), key_rings: key_rings.clone() },
            settings,
            metrics.clone(),
            clock,
            streams.clone(),
            threads,
        );
        nodes.register(assembly.metrics());
        // Until then this node does not know whether it has all token keys.
        nodes.until_read().await;
        let port = config.http.port(connections_max(&config.http), &assembly.ports);
        let hand_overs = HandOvers::default();
        let (room, tracer) = (assembly.room.clone(), assembly.tracer.clone());
        let vitals = NodeVitals { name, port: port.clone(), store: store.clone() };
        let assembled = assembly.finish(Arc::new(vitals), config.access.clone());
        let (admin, guard) = (assembled.admin().clone(), assembled.guard().clone());
        let this = Local::new(nodes.id(), admin, guard, clock, None);
        nodes.attend(this.clone());
        let channels = Channels::new(config.cluster.cluster_secret.clone(), config.tls.clone());
        let identification = Identification { keys: config.common.token_keys.clone(), uaid_key: None };
        let dashboard = Dashboard::new(this, store, channels, identification, &streams);
        let parts = HandlerParts {
            port: port.clone(),
            workers,
            stores,
            nodes: Arc::new(nodes),
            keys: config.common.token_keys.clone(),
            key_rings,
            url: config.common.endpoint_url.clone(),
            metrics,
            clock,
            drain: drain.clone(),
            room,
            tracer,
        };
        tracing::info!(
            http.listen = local(&listeners.http),
            admin.listen = local(&listeners.admin),
            endpoint.url = %config.common.endpoint_url,
            "serving endpoints"
        );
        let admin = assembled.admin().clone();
        let paths = hand_overs.path(admin.clone()).or(dashboard.paths()).unify();
        let routes = [HandOvers::ROUTES, Dashboard::API, Dashboard::PAGES];
        assembled.serve_admin_with(listeners.admin, paths, &routes);
        let tuner = serve_endpoints(listeners.http, &config.http, parts, admin, &requests);
        Self { tuner, requests, streams, assembled, drain, port, hand_overs, run }
    }

    /// Lets this node take new settings from now on.
    pub async fn reload_by(&self, reload: &Reload, config: &Config) {
        let mut parts = Reloadables::default();
        let keys = &config.common.token_keys;
        self.assembled.add_reloadables(keys, &mut parts, |config: &Config| (&config.common, &config.ports));
        let tuner = self.tuner.clone();
        parts.add(RELOADED, move |config: &Config| {
            Ok(tuner.prepare(&config.http, &config.ports, connections_max(&config.http)))
        });
        config.cluster.add_reloadables(&mut parts, |config| &config.cluster);
        beckon_node::reloading::add_tls(config.tls.as_ref(), &mut parts, |config| config.tls.as_ref());
        beckon_node::reloading::add_certificates(config.certificates.as_ref(), &mut parts, |config| {
            config.certificates.as_ref()
        });
        reload.serve(parts).await;
        self.assembled.admin().set_reload(reload.clone());
    }

    /// Serves until the shutdown is requested and for `drain_delay` after it, then stops: first the requests, then the
    /// streams to connection-nodes, then the listener that operators watch this on, and the store.
    pub async fn run(self) {
        self.run.shutdown.requested().await;
        // If another process serves, and all connections are there, there is nothing to wait for.
        if !self.run.tenure.is_over() || self.port.open_connections() > 0 {
            self.drain.delayed().await;
        }
        self.stop().await;
    }
}

impl Program for EndpointNode {
    fn hand_over(&self, seat: Seat, ports: PortFiles) -> Result<(), Failure> {
        let Run { clock, tenure, .. } = self.run.clone();
        let (holdings, stage) = (Requests::of(self.port.clone()), self.requests.clone());
        self.hand_overs.serve(seat, Giver { build: BUILD, holdings, tenure, clock, ports, stage })
    }

    async fn stop(self) {
        self.requests.stop(REQUESTS_STOP).await;
        self.streams.stop(STREAMS_STOP).await;
        self.assembled.close().await;
    }
}

/// How many connections of application servers there may be.
fn connections_max(settings: &HttpSettings) -> u64 {
    let files_max = beckon_ops::process::open_files_max();
    fitting("http_max_connections", settings.http_max_connections as u64, files_max)
}

/// The address that a listener has: the settings may leave the port to the system.
fn local(listener: &Listener) -> String {
    listener.local_addr().map_or_else(|_| "unknown".to_owned(), |address| address.to_string())
}

/// What serving endpoints takes besides its settings.
#[derive(Debug)]
pub struct HandlerParts {
    /// The port for application servers ([`HttpSettings::port`]).
    pub port: Arc<Port>,
    /// The threads that serve.
    pub workers: Workers,
    /// Where notifications are stored, as each worker uses it.
    pub stores: Vec<Arc<dyn Store>>,
    /// The way to the nodes that have the clients.
    pub nodes: Arc<dyn Deliver>,
    /// Open the tokens of endpoints, and make the ids of messages.
    pub keys: KeyRing,
    /// Whether other nodes have keys that this one lacks.
    pub key_rings: Arc<KeyRings>,
    /// What endpoints begin with.
    pub url: EndpointUrl,
    /// What is measured.
    pub metrics: Metrics,
    /// Its time is the version of a write that has none.
    pub clock: Clock,
    /// While it drains, each answer is the last of its connection.
    pub drain: Drain,
    /// What the store has room for.
    pub room: Arc<StoreRoom>,
    /// Traces single requests.
    pub tracer: Tracer,
}

/// Serves endpoints and the public health paths from now on. `stage` owns the connections and the requests. Returns what
/// gives them other settings.
pub fn serve_endpoints(
    listener: Listener,
    settings: &HttpSettings,
    parts: HandlerParts,
    admin: Arc<Admin>,
    stage: &Stage,
) -> Tuner {
    let HandlerParts {
        port,
        workers,
        stores,
        nodes,
        keys,
        key_rings,
        url,
        metrics,
        clock,
        drain,
        room,
        tracer,
    } = parts;
    let handler_settings = Arc::new(ArcSwap::from_pointee(http::HandlerSettings::new(settings, &url)));
    let vapid = Arc::new(Verifier::new(
        &url,
        &settings.former_endpoint_urls,
        settings.vapid_cache_size,
        metrics.clone(),
    ));
    let rates = Arc::new(http::Rates::new(settings.endpoint_rate, settings.vapid_rate));
    let tuner = Tuner {
        settings: handler_settings.clone(),
        rates: rates.clone(),
        port: port.clone(),
        url: url.clone(),
        key_rings: key_rings.clone(),
    };
    let dispatcher =
        Dispatcher::new(stores[0].clone(), nodes, metrics.clone(), clock, stage.clone(), tracer.clone());
    let server_errors = Arc::new(LogThrottle::new(FAILURE_LOG_INTERVAL));
    let requests = stage.clone();
    let service = move |worker: &Worker| {
        let store = stores[usize::from(worker.index())].clone();
        let handler = Arc::new(http::Handler {
            dispatcher: dispatcher.with_store(store),
            keys: keys.clone(),
            key_rings: key_rings.clone(),
            settings: handler_settings.clone(),
            vapid: vapid.clone(),
            rates: rates.clone(),
            url: url.clone(),
            metrics: metrics.clone(),
            clock,
            request_ids: http::RequestIds::default(),
            tracer: tracer.clone(),
            server_errors: server_errors.clone(),
            room: room.clone(),
        });
        beckon_listener::http::warp_service(http::filter(
            handler,
            admin.clone(),
            drain.clone(),
            requests.clone(),
        ))
    };
    let limits = Limits::DEFAULT;
    let serving = beckon_listener::http::serve(port, listener, workers, service, GATE, limits, stage.clone());
    stage.spawn_vital("listener for requests", serving);
    tuner
}

/// The state of an endpoint-node. It has no clients of its own.
#[derive(Debug)]
struct NodeVitals {
    name: String,
    port: Arc<Port>,
    store: Arc<dyn Store>,
}

impl Vitals for NodeVitals {
    fn clients(&self) -> u64 {
        0
    }

    fn clients_max(&self) -> u64 {
        0
    }

    fn endpoint_connections_max(&self) -> u64 {
        self.port.connections_max() as u64
    }

    fn instance(&self) -> &str {
        &self.name
    }

    fn reach_store(&self) -> StorageCheck<'_> {
        let reach = self.store.reach();
        Box::pin(async { reach.await.map_err(|error| error.to_string()) })
    }

    fn check_store(&self) -> StorageCheck<'_> {
        let check = self.store.check();
        Box::pin(async move { check.await.map_err(|error| error.to_string()) })
    }
}
