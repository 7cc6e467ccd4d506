//! The endpoint-node: accepts notifications over HTTP, keeps nothing.
//!
//! A notification goes one way, and answers are return values:
//!
//! ```text
//! http ──▶ dispatch ──▶ store            stored first
//!             └──────▶ connection_nodes ──▶ gRPC ──▶ the node that has the client
//! ```
//!
//! * [`config`], [`metrics`]: this node's settings and measurements, a documented struct each;
//! * `http`: the table of paths, and below it one file for each operation and one map to statuses;
//! * [`vapid`]: who an application server is;
//! * `dispatch`: the decision to hand over now or leave for later;
//! * [`connection_nodes`]: who is alive, and a stream to each.
//!
//! [`serve`] is a node of a cluster; [`serve_endpoints`] is the part of it that a standalone server shares.

pub mod config;
pub mod connection_nodes;
mod dispatch;
mod http;
pub mod metrics;
pub mod vapid;

use beckon_node::admin::{Admin, StorageCheck, Vitals};
use beckon_ops::{
    clock::Clock,
    exit::Failure,
    http::Limits,
    listener::BindError,
    program::Build,
    shutdown::{Drained, Shutdown},
};
use beckon_proto::delivery::Deliver;
use beckon_store::Store;
use beckon_types::{EndpointUrl, KeyRing};
use config::{Config, HttpSettings};
use connection_nodes::ConnectionNodes;
use dispatch::Dispatcher;
use metrics::Metrics;
use std::{sync::Arc, time::Duration};
use tokio::net::TcpListener;
use vapid::Verifier;

/// Which build this is.
pub const BUILD: Build = beckon_node::build("endpoint-node");

/// Time for the admin listener to answer what it has begun, at the very end.
const ADMIN_DRAIN: Duration = Duration::from_secs(1);

/// The ports of a node, bound but not served yet.
#[derive(Debug)]
pub struct Listeners {
    /// For application servers.
    pub http: TcpListener,
    /// For operators.
    pub admin: TcpListener,
}

impl Listeners {
    /// Binds the ports that the settings name. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// A port cannot be had.
    pub fn bind(config: &Config) -> Result<Self, BindError> {
        Ok(Self {
            http: beckon_ops::listener::bind("http_listen", config.http.http_listen)?,
            admin: beckon_ops::listener::bind("admin_listen", config.node.admin_listen)?,
        })
    }
}

/// Opens the store, binds the ports, and runs a node of a cluster until `shutdown` is requested.
///
/// # Errors
/// The store or a port is not available, or a setting cannot be used.
pub async fn serve(config: Config, shutdown: Shutdown) -> Result<(), Failure> {
    let opened = beckon_node::store::open(&config.cluster.store, None, &config.common, &shutdown);
    let Some(store) = opened.await? else { return Ok(()) };
    // Only now, so that until then load balancers are refused instead of kept waiting.
    let listeners = Listeners::bind(&config)?;
    run(config, listeners, store, shutdown).await;
    Ok(())
}

/// Runs a node of a cluster until `shutdown` is requested and requests have ended, or their time is over.
pub async fn run(config: Config, listeners: Listeners, store: Arc<dyn Store>, shutdown: Shutdown) {
    let clock = Clock::start();
    let mut registry = beckon_ops::metrics::registry("endpoint-node", BUILD.version, BUILD.commit);
    let metrics = Metrics::register(registry.sub_registry_with_prefix("beckon"));
    let nodes = ConnectionNodes::start(store.clone(), config.connection_nodes(), metrics.clone(), clock);
    let vitals = Arc::new(NodeVitals {
        name: config.cluster.node_name.clone().unwrap_or_else(|| local(&listeners.http)),
        connections_max: config.http.http_max_connections as u64,
        store: store.clone(),
        shutdown: shutdown.clone(),
    });
    let admin = Arc::new(Admin::new(vitals, BUILD, registry, clock));
    // Ends after everything else, so that operators can watch the drain.
    let admin_end = Shutdown::new();
    let parts = HandlerParts {
        store: store.clone(),
        nodes: Arc::new(nodes.clone()),
        keys: config.common.token_keys.clone(),
        url: config.common.endpoint_url.clone(),
        metrics,
        clock,
    };
    tracing::info!(
        http.listen = local(&listeners.http),
        admin.listen = local(&listeners.admin),
        endpoint.url = %config.common.endpoint_url,
        "serving endpoints"
    );
    admin_end.spawn(admin.clone().serve(listeners.admin, admin_end.clone()));
    shutdown.spawn(serve_endpoints(listeners.http, &config.http, parts, admin, shutdown.clone()));
    shutdown.requested().await;
    match shutdown.drain(config.common.drain_time).await {
        Drained::Complete => tracing::info!("drained"),
        Drained::CutShort { tasks } => tracing::warn!(tasks, "drain cut short, requests were dropped"),
    }
    nodes.close().await;
    admin_end.drain(ADMIN_DRAIN).await;
    if let Err(error) = store.close().await {
        tracing::warn!(%error, "store not closed");
    }
}

/// The address that a listener has got, which is not that of the settings if they leave the port to the system.
fn local(listener: &TcpListener) -> String {
    listener.local_addr().map_or_else(|_| "unknown".to_owned(), |address| address.to_string())
}

/// What serving endpoints takes besides its settings.
#[derive(Debug)]
pub struct HandlerParts {
    /// Where notifications are stored.
    pub store: Arc<dyn Store>,
    /// The way to the nodes that have the clients.
    pub nodes: Arc<dyn Deliver>,
    /// Open the tokens of endpoints, and make the ids of messages.
    pub keys: KeyRing,
    /// What endpoints begin with.
    pub url: EndpointUrl,
    /// Where it is counted.
    pub metrics: Metrics,
    /// Tells the time of writes that have no version.
    pub clock: Clock,
}

/// Serves endpoints, and what load balancers ask, until `shutdown` is requested and the last connection has
/// ended; [`Shutdown::drain`] bounds that.
pub fn serve_endpoints(
    listener: TcpListener,
    settings: &HttpSettings,
    parts: HandlerParts,
    admin: Arc<Admin>,
    shutdown: Shutdown,
) -> impl Future<Output = ()> + Send + use<> {
    let limits = Limits {
        connections_max: settings.http_max_connections,
        head_timeout: settings.http_head_timeout,
        ..Limits::default()
    };
    let HandlerParts { store, nodes, keys, url, metrics, clock } = parts;
    let handler = Arc::new(http::Handler {
        dispatcher: Dispatcher::new(store, nodes, metrics.clone(), clock),
        keys,
        settings: http::HandlerSettings {
            sp_max_data: settings.sp_max_data,
            wp_max_data: settings.wp_max_data,
            ttl_max: settings.max_ttl,
            messages_max: settings.msg_limit,
            body_timeout: settings.http_body_timeout,
        },
        vapid: Verifier::new(&url, settings.vapid_cache_size, metrics.clone()),
        url,
        metrics,
        clock,
    });
    async move {
        let service = beckon_ops::http::warp_service(http::filter(handler.clone(), admin));
        beckon_ops::http::serve(listener, service, limits, shutdown).await;
        handler.dispatcher.finish().await;
    }
}

/// What an endpoint-node says of itself. It has no clients of its own.
#[derive(Debug)]
struct NodeVitals {
    name: String,
    connections_max: u64,
    store: Arc<dyn Store>,
    shutdown: Shutdown,
}

impl Vitals for NodeVitals {
    fn clients(&self) -> u64 {
        0
    }

    fn clients_max(&self) -> u64 {
        0
    }

    fn endpoint_connections_max(&self) -> u64 {
        self.connections_max
    }

    fn is_draining(&self) -> bool {
        self.shutdown.is_requested()
    }

    fn instance(&self) -> &str {
        &self.name
    }

    fn check_store(&self) -> StorageCheck<'_> {
        let check = self.store.check();
        Box::pin(async move { check.await.map_err(|error| error.to_string()) })
    }
}
