//! `beckon serve`: both nodes in one process, joined by function calls.

use crate::genkey;
use beckon_connection_node::{
    BUILD,
    config::SocketSettings,
    presence::Announcement,
    server::{Membership, Server},
};
use beckon_endpoint_node::{HandlerParts, config::HttpSettings};
use beckon_ops::{
    admin::{Admin, StorageCheck, Vitals},
    clock::Clock,
    config::{ConfigErrors, Secret, Source, parsed},
    exit::Failure,
    logging::LogSettings,
    program::About,
    shutdown::Shutdown,
};
use beckon_store::{OpenError, OpenOptions, Store};
use beckon_types::KeyRing;
use std::{
    fs,
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::net::TcpListener;

/// The file in the data directory that has the keys of endpoint tokens.
const KEYS_FILE: &str = "token-keys";

/// Time for requests of application servers to end, after the sockets have gone.
const HTTP_DRAIN: Duration = Duration::from_secs(5);

/// Time for the admin listener to answer what it has begun, at the very end.
const ADMIN_DRAIN: Duration = Duration::from_secs(1);

beckon_ops::settings! {
    /// What concerns the one process.
    pub(crate) struct ProcessSettings {
        /// Address and port for health, version, metrics and broadcasts.
        admin_listen: SocketAddr = "127.0.0.1:8083",
        /// Where notifications are kept: embedded (in data_dir), or a URL as for the nodes of a cluster.
        store: Secret = "embedded" => store_url,
        /// Directory of the embedded store and of the token keys, made at first start.
        data_dir: PathBuf = "./beckon-data",
        /// Whether an accepted notification also survives a power failure. Without, it survives the death of
        /// the process only.
        fsync: bool = "true",
        /// Wait for the store at start instead of ending with exit code 69.
        wait_for_store: bool = "false",
    }
}

/// What the program says of itself.
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
    parts: &[SocketSettings::FIELDS, HttpSettings::FIELDS, ProcessSettings::FIELDS, LogSettings::FIELDS],
    defaults: &[("endpoint_url", "http:// and http_listen"), ("token_keys", "made at first start")],
    build: BUILD,
};

/// All settings of a standalone server.
pub(crate) struct Config {
    sockets: SocketSettings,
    http: HttpSettings,
    process: ProcessSettings,
    log: LogSettings,
    keys_given: bool,
}

/// Serves until a signal.
pub(crate) fn start(source: Source) -> Result<(), Failure> {
    if let Some(request) = source.request() {
        return ABOUT.answer(request);
    }
    let mut config = read(source).map_err(Failure::usage)?;
    beckon_ops::logging::init(&config.log).map_err(Failure::software)?;
    beckon_ops::process::raise_open_files_max();
    if !config.keys_given {
        let keys = keys_of(&config.process.data_dir)?;
        config.sockets.token_keys = keys.clone();
        config.http.token_keys = keys;
    }
    beckon_ops::program::runtime()?.block_on(serve(config))
}

/// Reads the settings.
pub(crate) fn read(mut source: Source) -> Result<Config, ConfigErrors> {
    let keys_given = source.is_given("token_keys");
    // Replaced by those of the data directory, once nothing else is wrong.
    source.set_default("token_keys", KeyRing::key_text(&[0; beckon_types::TOKEN_KEY_LEN]));
    let http = HttpSettings::read(&mut source);
    if let Some(http) = &http {
        source.set_default("endpoint_url", format!("http://{}", reachable(http.http_listen)));
    }
    let sockets = SocketSettings::read(&mut source);
    let process = ProcessSettings::read(&mut source);
    let log = LogSettings::read(&mut source);
    source.finish()?;
    match (sockets, http, process, log) {
        (Some(sockets), Some(http), Some(process), Some(log)) => {
            Ok(Config { sockets, http, process, log, keys_given })
        }
        // A source without an error gave every setting a value.
        _ => Err(ConfigErrors(Vec::new())),
    }
}

async fn serve(config: Config) -> Result<(), Failure> {
    let Config { sockets, http, process, .. } = &config;
    let shutdown = Shutdown::new();
    shutdown.on_signal().map_err(Failure::unavailable)?;
    let clock = Clock::start();
    let options = OpenOptions {
        data_dir: process.data_dir.clone(),
        uaid_idle: sockets.uaid_idle,
        step_timeout: sockets.store_timeout,
        fsync: process.fsync,
        clock: Arc::new(move || Duration::from_millis(clock.unix_ms())),
    };
    let opening = beckon_store::open(process.store.expose(), &options, process.wait_for_store);
    let store = tokio::select! {
        store = opening => store.map_err(failure)?,
        () = shutdown.requested() => return Ok(()),
    };
    let ws_listener = beckon_ops::listener::bind("ws_listen", sockets.ws_listen)?;
    let http_listener = beckon_ops::listener::bind("http_listen", http.http_listen)?;
    let admin_listener = beckon_ops::listener::bind("admin_listen", process.admin_listen)?;
    run(&config, store, [ws_listener, http_listener, admin_listener], &shutdown).await
}

/// Serves over these listeners, for sockets, endpoints and operators, until it is told to stop.
pub(crate) async fn run(
    config: &Config,
    store: Arc<dyn Store>,
    [ws_listener, http_listener, admin_listener]: [TcpListener; 3],
    shutdown: &Shutdown,
) -> Result<(), Failure> {
    let Config { sockets, http, process, .. } = config;
    let clock = Clock::start();
    let mut measured = beckon_ops::metrics::registry("beckon", BUILD.version, BUILD.commit);
    let beckon = measured.sub_registry_with_prefix("beckon");
    let membership = Membership {
        name: "standalone".into(),
        announcement: Announcement {
            grpc_address: String::new(),
            ws_url: None,
            drain_time: sockets.drain_time,
        },
        secret: None,
        tls: None,
    };
    let server = Server::start(sockets, membership, store.clone(), clock, beckon).await;
    let server = server.map_err(Failure::unavailable)?;
    let metrics = beckon_endpoint_node::metrics::Metrics::register(beckon);
    let vitals = Arc::new(StandaloneVitals {
        node: beckon_connection_node::server::NodeVitals(server.node().clone()),
        endpoint_connections_max: http.http_max_connections as u64,
    });
    let admin = Arc::new(Admin::new(vitals, BUILD, beckon_types::ERRORS_PAGE.to_owned(), measured, clock));
    // Ends after everything else, so that operators can watch the drain.
    let admin_end = Shutdown::new();
    let added = beckon_connection_node::broadcasts::paths(server.node().clone(), admin.clone());
    admin_end.spawn(admin.clone().serve_with(admin_listener, added, admin_end.clone()));
    let parts = HandlerParts {
        store: store.clone(),
        nodes: Arc::new(server.delivery()),
        keys: http.token_keys.clone(),
        url: sockets.endpoint_url.clone(),
        metrics,
        clock,
    };
    shutdown.spawn(beckon_endpoint_node::serve(http_listener, http, parts, admin.clone(), shutdown.clone()));
    introduce(sockets, http, process)?;
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

/// Says where everything is and what to try.
fn introduce(
    sockets: &SocketSettings,
    http: &HttpSettings,
    process: &ProcessSettings,
) -> Result<(), Failure> {
    let ws = format!("ws://{}{}", reachable(sockets.ws_listen), "/");
    let endpoint = &sockets.endpoint_url;
    let admin = reachable(process.admin_listen);
    let kept = match process.store.expose() {
        "embedded" => process.data_dir.display().to_string(),
        _ => "the store that you named".into(),
    };
    tracing::debug!(http.listen = %http.http_listen, "serving");
    beckon_ops::program::print(&format!(
        "\
beckon {version} is running. Ctrl-C ends it.

  WebSocket      {ws}
  endpoints      {endpoint}/update/...
  health         http://{admin}/health
  data           {kept}

See a notification arrive. In a second terminal:

  {program} listen {ws}

It prints an endpoint. In a third terminal:

  curl -X PUT -d version=1 ENDPOINT
",
        version = BUILD.version,
        program = program(),
    ))
}

/// How this program is called from the directory in which it was started.
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

/// An address that can be connected to: a wildcard address stands for this machine.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        ip if !ip.is_unspecified() => address,
        IpAddr::V4(_) => SocketAddr::from((Ipv4Addr::LOCALHOST, address.port())),
        IpAddr::V6(_) => SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, address.port())),
    }
}

/// The keys in the data directory; at the first start, a new one.
fn keys_of(data_dir: &Path) -> Result<KeyRing, Failure> {
    let path = data_dir.join(KEYS_FILE);
    let blame = |error: io::Error| Failure::unavailable(format!("{}: {error}", path.display()));
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(data_dir).map_err(blame)?;
            let key = genkey::new_key()?;
            keep(&path, &key).map_err(blame)?;
            key
        }
        Err(error) => return Err(blame(error)),
    };
    parsed(text.trim()).map_err(|reason| Failure::usage(format!("{}: {reason}", path.display())))
}

/// Writes the file whole or not at all: without its keys, all endpoints would be lost.
fn keep(path: &Path, key: &str) -> io::Result<()> {
    let draft = path.with_extension("new");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    writeln!(file, "{key}")?;
    file.sync_all()?;
    fs::rename(&draft, path)
}

fn failure(error: OpenError) -> Failure {
    match error {
        OpenError::Configuration(reason) => Failure::usage(reason),
        OpenError::Unavailable(reason) => Failure::unavailable(reason),
    }
}

fn store_url(text: &str) -> Result<Secret, String> {
    if text.is_empty() { Err("must not be empty".to_owned()) } else { Ok(text.to_owned().into()) }
}

/// How both nodes in one are doing.
#[derive(Debug)]
struct StandaloneVitals {
    node: beckon_connection_node::server::NodeVitals,
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

    fn draining(&self) -> bool {
        self.node.draining()
    }

    fn instance(&self) -> &str {
        self.node.instance()
    }

    fn storage(&self) -> StorageCheck<'_> {
        self.node.storage()
    }
}
