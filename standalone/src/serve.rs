//! `beckon serve`: both nodes in one process, joined by function calls.

use crate::{
    admin_token,
    commands::{ABOUT, BUILD},
    config::Config,
    control::{self, Control},
    holdings::Whole,
    introduction,
};
use beckon_connection_node::{Adopted, Announcement, Former, Membership, Server};
use beckon_endpoint_node::{HandlerParts, REQUESTS_STOP, Tuner, metrics::Metrics, serve_endpoints};
use beckon_listener::port::{Port, Rested};
use beckon_node::{
    admin::{StorageCheck, Vitals},
    assembly::{Assembled, Assembly, Run},
    hand_over::{self, Giver, HandOvers, Inheritance, Offered, PortFiles, Program, Requests, Seat},
    key_rings::KeyRings,
    try_page::{self, TryPage},
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
use beckon_store::{Store, embedded::EmbeddedStore};
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
    let beginning = hand_over::begin(BUILD, config.common.hand_over.as_deref(), &shutdown);
    let Some(beginning) = beginning.await? else { return Ok(()) };
    let alone = async |run: Run| {
        let Some(opened) = Opened::open(&config, &run.shutdown).await? else { return Ok(None) };
        let listeners = Listeners::bind(&config)?;
        let ports = listeners.files()?;
        let standalone = Standalone::start(&config, listeners, opened, None, run).await?;
        standalone.serve_control(&config)?;
        introduction::print(&config)?;
        Ok(Some((standalone, ports)))
    };
    let prepare = async |offered: &mut Offered, run| Standalone::prepare(&config, offered, run).await;
    let succeed = async |standalone: &Standalone, (sockets, requests)| {
        standalone.http_port.serve_again(requests);
        standalone.server.succeed(sockets).await;
        if let Err(failure) = standalone.serve_control(&config) {
            tracing::error!(reason = failure.message, "backups cannot be taken");
        }
        // It serves, whether or not somebody reads this.
        let _ = introduction::print(&config);
    };
    let run = Run::new(shutdown, workers);
    let started = hand_over::start(beginning, run, alone, prepare, succeed).await?;
    let Some(standalone) = started else { return Ok(()) };
    standalone.reload_by(&reload, &config).await;
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

/// An open store.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) store: Arc<dyn Store>,
    /// The same, if it is in this process.
    pub(crate) embedded: Option<Arc<EmbeddedStore>>,
}

impl Opened {
    /// Opens the store that the settings name. `None` if the shutdown is requested first.
    async fn open(config: &Config, shutdown: &Shutdown) -> Result<Option<Self>, Failure> {
        let (common, uaid_key) = (&config.common, &config.sockets.uaid_key);
        if config.is_embedded() {
            let opened = beckon_node::store::open_embedded(config.embedded(), common, uaid_key, shutdown);
            let opened = opened.await?;
            return Ok(opened.map(|store| Self { store: store.clone(), embedded: Some(store) }));
        }
        let name = &config.process.store;
        let opened = beckon_node::store::open(name, None, common, Some(uaid_key), shutdown).await?;
        Ok(opened.map(|store| Self { store, embedded: None }))
    }
}

/// The ports of the server, as they are called in a hand-over.
const SOCKETS: &str = "sockets";
const HTTP: &str = "http";
const ADMIN: &str = "admin";

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

    /// Takes the ports of the former process, and binds those that have other addresses now.
    fn inherit(config: &Config, offered: &mut Offered) -> Result<Self, Failure> {
        Ok(Self {
            sockets: offered.port(SOCKETS, "ws_listen", config.sockets.ws_listen)?,
            http: offered.port(HTTP, "http_listen", config.http.http_listen)?,
            admin: offered.port(ADMIN, "admin_listen", config.process.admin_listen)?,
        })
    }

    /// The same ports, to hand them over.
    fn files(&self) -> Result<PortFiles, Failure> {
        let Self { sockets, http, admin } = self;
        hand_over::port_files([(SOCKETS, sockets), (HTTP, http), (ADMIN, admin)])
    }

    fn under(self, run: &Run) -> Self {
        let Self { sockets, http, admin } = self;
        let under = |listener: Listener| listener.under(&run.tenure);
        Self { sockets: under(sockets), http: under(http), admin: under(admin) }
    }
}

/// Both nodes in one, serving.
#[derive(Debug)]
pub(crate) struct Standalone {
    server: Server,
    tuner: Tuner,
    requests: Stage,
    assembled: Assembled,
    http_port: Arc<Port>,
    embedded: Option<Arc<EmbeddedStore>>,
    hand_overs: HandOvers,
    run: Run,
}

impl Standalone {
    /// Prepares a server to go on with what another process still has.
    async fn prepare(
        config: &Config,
        offered: &mut Offered,
        run: Run,
    ) -> Result<(Self, PortFiles, (Adopted, Vec<Rested>)), Failure> {
        let listeners = Listeners::inherit(config, offered)?;
        let ports = listeners.files()?;
        let (former, _) = Former::read(&offered.about).map_err(Failure::unavailable)?;
        // The other process has the embedded store until it stands still. With any other store, what takes long is done before.
        let early = if config.is_embedded() { Some(offered.receive().await?) } else { None };
        let opened = Opened::open(config, &run.shutdown).await?;
        let opened = opened.ok_or_else(|| Failure::unavailable("this process is stopping"))?;
        let standalone = Self::start(config, listeners, opened, Some(former), run).await?;
        let received = match early {
            Some(inheritance) => Ok(inheritance),
            None => offered.receive().await,
        };
        let adopted = match received {
            Ok(inheritance) => standalone.adopt(inheritance).await,
            Err(failure) => Err(failure),
        };
        match adopted {
            Ok(adopted) => Ok((standalone, ports, adopted)),
            Err(failure) => {
                standalone.stop().await;
                Err(failure)
            }
        }
    }

    /// Prepares the connections of another process.
    async fn adopt(&self, mut inheritance: Inheritance) -> Result<(Adopted, Vec<Rested>), Failure> {
        let requests = std::mem::take(&mut inheritance.requests);
        let sockets = self.server.adopt(inheritance)?;
        if let Some(store) = &self.embedded {
            // Which sockets own which clients was in the memory of the other process only.
            store.seat(self.server.claims(&sockets)).await.map_err(Failure::unavailable)?;
        }
        Ok((sockets, requests))
    }

    /// Serves backups, if the store is in this process.
    fn serve_control(&self, config: &Config) -> Result<(), Failure> {
        match &self.embedded {
            Some(store) => Control::new(config, store.clone()).serve(&self.requests),
            None => Ok(()),
        }
    }

    /// Serves on these listeners from now on, or as soon as the process serves. `former` is what another process has had.
    pub(crate) async fn start(
        config: &Config,
        listeners: Listeners,
        opened: Opened,
        former: Option<Former>,
        run: Run,
    ) -> Result<Self, Failure> {
        let Config { sockets, http, common, .. } = config;
        let (listeners, Run { shutdown, workers, .. }) = (listeners.under(&run), run.clone());
        let Opened { store, embedded } = opened;
        let mut assembly =
            Assembly::new(BUILD, store, run.clone(), common, &config.ports, config.certificates.clone());
        let membership = Membership {
            name: "standalone".into(),
            announcement: Announcement { grpc_address: String::new(), ws_url: None },
            secret: ClusterSecret::default(),
            tls: None,
            former,
        };
        let (http_connections_max, limits) = config.limits(beckon_ops::process::open_files_max());
        if let Some(store) = &embedded {
            control::register_metrics(store.clone(), assembly.metrics());
        }
        let server = Server::start(sockets, common, limits, membership, &mut assembly).await;
        let (metrics, clock, drain) =
            (Metrics::register(assembly.metrics()), assembly.clock, assembly.drain.clone());
        let stores = assembly.stores.clone();
        let http_port = http.port(http_connections_max, &assembly.ports);
        let (room, tracer) = (assembly.room.clone(), assembly.tracer.clone());
        let vitals = Arc::new(StandaloneVitals {
            node: server.vitals(),
            endpoint_connections_max: http_connections_max,
        });
        let assembled = assembly.finish(vitals, config.access.clone());
        let admin = assembled.admin();
        let page = TryPage::new(&config.process.try_page, &config.ws_url(), &common.endpoint_url);
        let has_page = page.is_some();
        let dashboard = server.dashboard(&assembled).paths();
        let hand_overs = HandOvers::default();
        let paths = server.operator_paths(admin.clone()).or(hand_overs.path(admin.clone())).unify();
        let paths = paths.or(TryPage::paths(page)).unify().or(dashboard).unify();
        let mut routes = Server::ROUTES.to_vec();
        if has_page {
            routes.push(try_page::ROUTES);
        }
        assembled.serve_admin_with(listeners.admin, paths, &routes);
        let parts = HandlerParts {
            port: http_port.clone(),
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
            tracer,
        };
        let requests = Stage::new(&shutdown, "requests");
        let tuner = serve_endpoints(listeners.http, http, parts, admin.clone(), &requests);
        server.accept(listeners.sockets, admin.clone());
        Ok(Self { server, tuner, requests, assembled, http_port, embedded, hand_overs, run })
    }

    /// Lets the server take new settings from now on.
    async fn reload_by(&self, reload: &Reload, config: &Config) {
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
        if let Some(store) = self.embedded.clone() {
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
        self.run.shutdown.requested().await;
        self.server.drained().await;
        self.stop().await;
    }
}

impl Program for Standalone {
    fn hand_over(&self, seat: Seat, ports: PortFiles) -> Result<(), Failure> {
        let Run { clock, tenure, .. } = self.run.clone();
        let holdings = Whole {
            sockets: self.server.sockets_to_hand_over(),
            requests: Requests::of(self.http_port.clone()),
            embedded: self.embedded.clone(),
            lent: None,
        };
        let stage = self.server.stage().clone();
        self.hand_overs.serve(seat, Giver { build: BUILD, holdings, tenure, clock, ports, stage })
    }

    async fn stop(self) {
        self.requests.stop(REQUESTS_STOP).await;
        self.server.stop().await;
        self.assembled.close().await;
    }
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
