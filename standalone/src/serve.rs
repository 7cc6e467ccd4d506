//! `beckon serve`: both nodes in one process, joined by function calls.

use crate::{
    config::{Config, reachable},
    token_keys,
};
use beckon_connection_node::{Announcement, Membership, NodeVitals, Server};
use beckon_endpoint_node::HandlerParts;
use beckon_node::admin::{Admin, StorageCheck, Vitals};
use beckon_ops::{
    clock::Clock,
    config::Source,
    exit::Failure,
    program::{About, Build},
    shutdown::Shutdown,
};
use beckon_store::{EMBEDDED, Store};
use std::{sync::Arc, time::Duration};
use tokio::net::TcpListener;

/// Which build this is.
const BUILD: Build = beckon_node::build("beckon");

/// Time for requests of application servers to end, after the sockets have gone.
const HTTP_DRAIN: Duration = Duration::from_secs(5);

/// Time for the admin listener to answer what it has begun, at the very end.
const ADMIN_DRAIN: Duration = Duration::from_secs(1);

/// How the program describes itself.
pub(crate) const ABOUT: About = About {
    name: "beckon",
    usage: "\
beckon: a push-notification server

Usage: beckon [serve] [SETTINGS]
       beckon listen [URL]           connect as a user agent and print what arrives
       beckon send ENDPOINT          send a notification
       beckon broadcast ACTION       list, set or remove values that all Web Push clients share
       beckon genkey                 print a key for BECKON_TOKEN_KEYS
",
    parts: Config::FIELDS,
    defaults: Config::DEFAULTS,
    build: BUILD,
};

/// Serves until a signal.
pub(crate) fn start(source: Source) -> Result<(), Failure> {
    ABOUT.serve(source, serve)
}

async fn serve(mut config: Config, shutdown: Shutdown) -> Result<(), Failure> {
    if !config.keys_given {
        config.common.token_keys = token_keys::read_or_make(&config.process.data_dir)?;
    }
    let embedded = Some(config.embedded());
    let opened = beckon_node::store::open(&config.process.store, embedded, &config.common, &shutdown);
    let Some(store) = opened.await? else { return Ok(()) };
    let ws_listener = beckon_ops::listener::bind("ws_listen", config.sockets.ws_listen)?;
    let http_listener = beckon_ops::listener::bind("http_listen", config.http.http_listen)?;
    let admin_listener = beckon_ops::listener::bind("admin_listen", config.process.admin_listen)?;
    run(&config, store, [ws_listener, http_listener, admin_listener], &shutdown).await
}

/// Serves on these listeners, for sockets, endpoints and operators, until `shutdown` is requested.
pub(crate) async fn run(
    config: &Config,
    store: Arc<dyn Store>,
    [ws_listener, http_listener, admin_listener]: [TcpListener; 3],
    shutdown: &Shutdown,
) -> Result<(), Failure> {
    let Config { sockets, http, common, .. } = config;
    let clock = Clock::start();
    let mut measured = beckon_ops::metrics::registry("beckon", BUILD.version, BUILD.commit);
    let beckon = measured.sub_registry_with_prefix("beckon");
    let membership = Membership {
        name: "standalone".into(),
        announcement: Announcement {
            grpc_address: String::new(),
            ws_url: None,
            drain_time: common.drain_time,
        },
        secret: None,
        tls: None,
    };
    let limits = config.limits(beckon_ops::process::open_files_max());
    let server = Server::start(sockets, common, limits, membership, store.clone(), clock, beckon).await;
    let server = server.map_err(Failure::unavailable)?;
    let metrics = beckon_endpoint_node::metrics::Metrics::register(beckon);
    let vitals = Arc::new(StandaloneVitals {
        node: server.vitals(),
        endpoint_connections_max: http.http_max_connections as u64,
    });
    let admin = Arc::new(Admin::new(vitals, BUILD, measured, clock));
    // Ends after everything else, so that operators can watch the drain.
    let admin_end = Shutdown::new();
    let added = server.broadcast_paths(admin.clone());
    admin_end.spawn(admin.clone().serve_with(admin_listener, added, admin_end.clone()));
    let parts = HandlerParts {
        store: store.clone(),
        nodes: Arc::new(server.delivery()),
        keys: common.token_keys.clone(),
        url: common.endpoint_url.clone(),
        metrics,
        clock,
    };
    shutdown.spawn(beckon_endpoint_node::serve_endpoints(
        http_listener,
        http,
        parts,
        admin.clone(),
        shutdown.clone(),
    ));
    introduce(config)?;
    server.run(ws_listener, admin, shutdown).await;
    shutdown.drain(HTTP_DRAIN).await;
    admin_end.drain(ADMIN_DRAIN).await;
    // The embedded store's last acknowledgements reach the disk.
    if let Err(error) = store.close().await {
        tracing::warn!(%error, "store not closed");
    }
    tracing::info!("stopped");
    Ok(())
}

/// Prints where everything is and what to try.
fn introduce(config: &Config) -> Result<(), Failure> {
    let Config { sockets, process, common, .. } = config;
    let ws = format!("ws://{}/", reachable(sockets.ws_listen));
    let endpoint = &common.endpoint_url;
    let admin = reachable(process.admin_listen);
    let data = match process.store.expose() {
        EMBEDDED => process.data_dir.display().to_string(),
        _ => "the store that the settings name".into(),
    };
    beckon_ops::program::print(&format!(
        "\
beckon {version} is running. Press Ctrl-C to stop it.

  WebSocket      {ws}
  endpoints      {endpoint}/update/...
  health         http://{admin}/health
  data           {data}

To see a notification arrive, run this in a second terminal:

  {program} listen {ws}

It prints an endpoint. In a third terminal, send to it:

  curl -X PUT -d version=1 ENDPOINT
",
        version = BUILD.version,
        program = program(),
    ))
}

/// The command that starts this program from the current directory.
fn program() -> String {
    let here = std::env::current_dir().ok();
    let itself = std::env::current_exe().ok();
    match (here, itself) {
        (Some(here), Some(itself)) => match itself.strip_prefix(&here) {
            Ok(path) => path.display().to_string(),
            Err(_) => "beckon".into(),
        },
        _ => "beckon".into(),
    }
}

/// The state of both nodes together.
#[derive(Debug)]
struct StandaloneVitals {
    node: NodeVitals,
    endpoint_connections_max: u64,
}

impl Vitals for StandaloneVitals {
    fn clients(&self) -> u64 {
        self.node.clients()
    }

    fn clients_max(&self) -> u64 {
        self.node.clients_max()
    }

    fn endpoint_connections_max(&self) -> u64 {
        self.endpoint_connections_max
    }

    fn is_draining(&self) -> bool {
        self.node.is_draining()
    }

    fn instance(&self) -> &str {
        self.node.instance()
    }

    fn check_store(&self) -> StorageCheck<'_> {
        self.node.check_store()
    }
}
