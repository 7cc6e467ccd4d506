//! `beckon serve`: both nodes in one process, joined by function calls.

use crate::{
    admin_token,
    commands::{ABOUT, BUILD},
    config::{Config, reachable},
    control::Control,
    itself::program,
};
use beckon_connection_node::{Announcement, Membership, Server};
use beckon_endpoint_node::{HandlerParts, REQUESTS_STOP, Tuner, metrics::Metrics, serve_endpoints};
use beckon_node::{
    admin::{StorageCheck, Vitals},
    assembly::{Assembled, Assembly, Run},
    key_rings::KeyRings,
    try_page::{self, TryPage, TryPageSetting},
};
use beckon_ops::{
    config::{ConfigErrors, Source},
    exit::Failure,
    listener::{BindError, Listener, bind},
    reload::{Reload, Reloadables, Take},
    shutdown::Shutdown,
    stage::Stage,
    supervisor,
    workers::Workers,
};
use beckon_proto::auth::ClusterSecret;
use beckon_store::{EMBEDDED, Store, embedded::EmbeddedStore};
use beckon_types::KeyRing;
use std::{ffi::OsString, sync::Arc};
use tokio::runtime::Handle;
use warp::Filter as _;

/// Serves until a signal.
pub(crate) fn start(arguments: Vec<OsString>) -> Result<(), Failure> {
    ABOUT.serve(move || Source::from_environment(arguments.clone()), serve)
}

async fn serve(
    mut config: Config,
    shutdown: Shutdown,
    workers: Workers,
    reload: Reload,
) -> Result<(), Failure> {
    config.find_keys()?;
    if config.access.operators.is_empty() {
        config.access.operators = admin_token::read_or_make(&config.process.data_dir)?;
    }
    let uaid_key = &config.sockets.uaid_key;
    let (store, embedded): (Arc<dyn Store>, _) = if config.process.store.expose() == EMBEDDED {
        let opened =
            beckon_node::store::open_embedded(config.embedded(), &config.common, uaid_key, &shutdown);
        let Some(store) = opened.await? else { return Ok(()) };
        (store.clone(), Some(store))
    } else {
        let opened =
            beckon_node::store::open(&config.process.store, None, &config.common, Some(uaid_key), &shutdown);
        let Some(store) = opened.await? else { return Ok(()) };
        (store, None)
    };
    let listeners = Listeners::bind(&config)?;
    let control = match &embedded {
        Some(store) => Some(Control::bind(&config, store.clone())?),
        None => None,
    };
    let standalone = Standalone::start(&config, listeners, store, control, shutdown, workers).await?;
    standalone.reload_by(&reload, &config, embedded).await;
    introduce(&config)?;
    supervisor::ready();
    standalone.run().await;
    Ok(())
}

/// The store opens with any key that it has known, so it learns about new ones before they are used. It forgets those that
/// have gone when it is opened again.
fn know_keys(store: &EmbeddedStore, keys: &KeyRing) -> Result<Take, ConfigErrors> {
    let known = Handle::current().block_on(store.know_keys(keys.fingerprints()));
    known
        .map_err(|error| ConfigErrors::one("token_keys", format!("cannot be noted in the store: {error}")))?;
    Ok(Box::new(|| {}))
}

/// The ports of the server, bound but not served yet.
#[derive(Debug)]
pub(crate) struct Listeners {
    sockets: Listener,
    http: Listener,
    pub(crate) admin: Listener,
}

impl Listeners {
    /// Binds the ports that the settings name. Must be called inside a tokio runtime.
    pub(crate) fn bind(config: &Config) -> Result<Self, BindError> {
        Ok(Self {
            sockets: bind("ws_listen", config.sockets.ws_listen)?,
            http: bind("http_listen", config.http.http_listen)?,
            admin: bind("admin_listen", config.process.admin_listen)?,
        })
    }
}

/// Both nodes in one, serving.
#[derive(Debug)]
pub(crate) struct Standalone {
    server: Server,
    tuner: Tuner,
    requests: Stage,
    assembled: Assembled,
    shutdown: Shutdown,
}

impl Standalone {
    /// Serves on these listeners from now on.
    pub(crate) async fn start(
        config: &Config,
        listeners: Listeners,
        store: Arc<dyn Store>,
        control: Option<Control>,
        shutdown: Shutdown,
        workers: Workers,
    ) -> Result<Self, Failure> {
        let Config { sockets, http, common, .. } = config;
        let mut assembly = Assembly::new(
            BUILD,
            store,
            Run::new(shutdown.clone(), workers.clone()),
            common,
            &config.ports,
            config.certificates.clone(),
        );
        let membership = Membership {
            name: "standalone".into(),
            announcement: Announcement { grpc_address: String::new(), ws_url: None },
            secret: ClusterSecret::default(),
            tls: None,
            former: None,
        };
        let (http_connections_max, limits) = config.limits(beckon_ops::process::open_files_max());
        if let Some(control) = &control {
            control.register_metrics(assembly.metrics());
        }
        let server = Server::start(sockets, common, limits, membership, &mut assembly).await;
        let (metrics, clock, drain) =
            (Metrics::register(assembly.metrics()), assembly.clock, assembly.drain.clone());
        let stores = assembly.stores.clone();
        let http_port = http.port(http_connections_max, &assembly.ports);
        let room = assembly.room.clone();
        let vitals = Arc::new(StandaloneVitals {
            node: server.vitals(),
            endpoint_connections_max: http_connections_max,
        });
        let assembled = assembly.finish(vitals, config.access.clone());
        let admin = assembled.admin();
        let page = TryPage::new(&config.process.try_page, &config.ws_url(), &common.endpoint_url);
        let has_page = page.is_some();
        let dashboard = server.dashboard(&assembled).paths();
        let paths =
            server.operator_paths(admin.clone()).or(TryPage::paths(page)).unify().or(dashboard).unify();
        let mut routes = Server::ROUTES.to_vec();
        if has_page {
            routes.push(try_page::ROUTES);
        }
        assembled.serve_admin_with(listeners.admin, paths, &routes);
        let parts = HandlerParts {
            port: http_port,
            workers,
            stores,
            nodes: Arc::new(server.delivery()),
            keys: common.token_keys.clone(),
            key_rings: Arc::new(KeyRings::alone(&common.token_keys)),
            url: common.endpoint_url.clone(),
            metrics,
            clock,
            drain,
            room,
        };
        let requests = Stage::new(&shutdown, "requests");
        let tuner = serve_endpoints(listeners.http, http, parts, admin.clone(), &requests);
        server.accept(listeners.sockets, admin.clone());
        if let Some(control) = control {
            control.serve(&requests);
        }
        Ok(Self { server, tuner, requests, assembled, shutdown })
    }

    /// Lets the server take new settings from now on. `embedded` is its store, if that is in this process.
    async fn reload_by(&self, reload: &Reload, config: &Config, embedded: Option<Arc<EmbeddedStore>>) {
        let mut parts = Reloadables::default();
        let given = config.given;
        parts.complete(move |config: &mut Config| {
            if config.given != given {
                let reason = "cannot move into the data directory or out of it while the server runs";
                return Err(ConfigErrors::one("token_keys", reason));
            }
            config.find_keys().map_err(|failure| ConfigErrors::one("token_keys", failure))
        });
        let keys = &config.common.token_keys;
        self.assembled.add_reloadables(keys, &mut parts, |config: &Config| (&config.common, &config.ports));
        let (sockets, http) = (self.server.tuner(), self.tuner.clone());
        let names = [beckon_connection_node::RELOADED, beckon_endpoint_node::RELOADED].concat();
        parts.add(&names, move |config: &Config| {
            let (http_connections_max, limits) = config.limits(beckon_ops::process::open_files_max());
            let sockets = sockets.prepare(&config.sockets, &config.common, &config.ports, limits);
            let http = http.prepare(&config.http, &config.ports, http_connections_max);
            Ok(Box::new(|| {
                sockets();
                http();
            }))
        });
        if let Some(store) = embedded {
            parts.add(&["token_keys"], move |config| know_keys(&store, &config.common.token_keys));
        }
        beckon_node::reloading::add_certificates(config.certificates.as_ref(), &mut parts, |config| {
            config.certificates.as_ref()
        });
        reload.serve(parts).await;
        self.assembled.admin().set_reload(reload.clone());
    }

    /// Serves until the shutdown is requested, then stops: first the sockets, then the requests, then what served the
    /// sockets, then the listener that operators watch this on, and the store.
    pub(crate) async fn run(self) {
        self.shutdown.requested().await;
        self.server.drained().await;
        self.requests.stop(REQUESTS_STOP).await;
        self.server.stop().await;
        self.assembled.close().await;
    }
}

/// Prints where everything is and what to try.
fn introduce(config: &Config) -> Result<(), Failure> {
    let Config { process, common, .. } = config;
    let ws = config.ws_url();
    let endpoint = &common.endpoint_url;
    let admin = reachable(process.admin_listen);
    let page = match process.try_page {
        TryPageSetting::Off => String::new(),
        TryPageSetting::On | TryPageSetting::At(_) => {
            format!("\nTo see a push message arrive in your browser, open http://{admin}/\n")
        }
    };
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
  dashboard      http://{admin}/dashboard/
  data           {data}
{page}
To see a notification arrive, run this in a second terminal:

  {program} listen {ws}

It prints an endpoint. In a third terminal, send to it:

  curl -X PUT -d version=1 ENDPOINT
",
        version = BUILD.version,
        program = program(),
    ))
}

/// The state of both nodes together.
#[derive(Debug)]
struct StandaloneVitals {
    node: Arc<dyn Vitals>,
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

    fn instance(&self) -> &str {
        self.node.instance()
    }

    fn reach_store(&self) -> StorageCheck<'_> {
        self.node.reach_store()
    }

    fn check_store(&self) -> StorageCheck<'_> {
        self.node.check_store()
    }
}
