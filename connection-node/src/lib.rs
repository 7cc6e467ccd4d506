//! A connection-node: holds WebSockets.
//!
//! * [`config`], `metrics`: this node's settings and measurements, a documented struct each;
//! * `node`: what all connections share; `shard`: what those of one worker share;
//! * `listener` accepts, `handshake` upgrades (web pages: by `origin`), `socket` frames, `connection` runs one conversation, `store_steps`
//!   performs what it asks of the store;
//! * `registry` finds a connection's `mailbox` by its id, `timers` wakes connections, `pace` signals many of them
//!   without waking all at once;
//! * `traces` follows single notifications to their acknowledgement;
//! * `suspended` is a connection without a task; `compaction` moves connections together when many have left;
//! * `draining` closes sockets so that their clients go elsewhere; `reloading` gives them other settings;
//! * `operators` is what operators do with the sockets, through any node;
//! * `hand_over` hands the sockets over to another process;
//! * `advertise` finds the address at which other nodes reach this one;
//! * `presence` keeps this node in the directory, `peers` reaches the other nodes;
//! * `broadcasts` keeps the broadcasts current, and is where operators set them;
//! * `node_listener` hands the connections of other nodes to the workers that they ask for, where `delivery_service` takes
//!   notifications from the endpoint tier.
//!
//! [`ConnectionNode`] is a node of a cluster; [`Server`] is the part of it that a standalone server shares.

pub mod config;

mod advertise;
mod broadcasts;
mod compaction;
mod connection;
mod delivery_service;
mod draining;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod hand_over;
mod handshake;
mod listener;
mod mailbox;
mod memory;
mod metrics;
mod node;
mod node_listener;
mod operators;
mod origin;
mod pace;
mod peers;
mod presence;
mod registry;
mod reloading;
mod server;
mod shard;
mod socket;
mod store_steps;
mod suspended;
#[cfg(test)]
mod test_node;
mod timers;
mod traces;

pub use advertise::Advertise;
pub use delivery_service::DeliveryService;
pub use hand_over::{Adopted, Sockets};
pub use node::{Former, Limits};
pub use presence::Announcement;
pub use reloading::{RELOADED, Tuner};
pub use server::{Membership, Server};

use beckon_node::{
    assembly::{Assembled, Assembly, Run},
    hand_over::{self as handing, Giver, HandOvers, Offered, PortFiles, Program, Seat},
};
use beckon_ops::{
    exit::Failure,
    listener::{BindError, Listener, bind},
    program::{About, Build},
    reload::{Reload, Reloadables},
    shutdown::Shutdown,
    supervisor,
    workers::Workers,
};
use beckon_store::Store;
use config::Config;
use std::sync::Arc;
use warp::Filter as _;

/// Which build this is.
pub const BUILD: Build = beckon_node::build("connection-node");

/// How the program describes itself.
pub const ABOUT: About = About {
    name: "connection-node",
    summary: "Holds the WebSockets of user agents",
    parts: Config::PARTS,
    defaults: &[],
    essential: &["ws_listen", "grpc_listen", "grpc_advertise", "admin_listen", "admin_token_file", "log"],
    groups: &[],
    build: BUILD,
};

/// The ports of a node, as they are called in a hand-over.
const SOCKETS: &str = "sockets";
const GRPC: &str = "grpc";
const ADMIN: &str = "admin";

/// The ports of a node, bound but not served yet.
#[derive(Debug)]
pub struct Listeners {
    /// For clients.
    pub sockets: Listener,
    /// For other nodes.
    pub grpc: Listener,
    /// For operators.
    pub admin: Listener,
}

impl Listeners {
    /// Binds the ports that the settings name. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// A port cannot be had.
    pub fn bind(config: &Config) -> Result<Self, BindError> {
        Ok(Self {
            sockets: bind("ws_listen", config.sockets.ws_listen)?,
            grpc: bind("grpc_listen", config.node.grpc_listen)?,
            admin: bind("admin_listen", config.node.admin_listen)?,
        })
    }

    /// Takes the ports of the former process, and binds those that have other addresses now.
    fn inherit(config: &Config, offered: &mut Offered) -> Result<Self, Failure> {
        Ok(Self {
            sockets: offered.port(SOCKETS, "ws_listen", config.sockets.ws_listen)?,
            grpc: offered.port(GRPC, "grpc_listen", config.node.grpc_listen)?,
            admin: offered.port(ADMIN, "admin_listen", config.node.admin_listen)?,
        })
    }

    /// The same ports, to hand them over.
    fn files(&self) -> Result<PortFiles, Failure> {
        let Self { sockets, grpc, admin } = self;
        handing::port_files([(SOCKETS, sockets), (GRPC, grpc), (ADMIN, admin)])
    }

    fn under(self, run: &Run) -> Self {
        let Self { sockets, grpc, admin } = self;
        let under = |listener: Listener| listener.under(&run.tenure);
        Self { sockets: under(sockets), grpc: under(grpc), admin: under(admin) }
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
    let uaid_key = Some(&config.sockets.uaid_key);
    let opened = beckon_node::store::open(&config.cluster.store, None, &config.common, uaid_key, &shutdown);
    let Some(store) = opened.await? else { return Ok(()) };
    let beginning = handing::begin(BUILD, config.common.hand_over.as_deref(), &shutdown);
    let Some(beginning) = beginning.await? else { return Ok(()) };
    let alone = async |run: Run| {
        // Only now, so that until then load balancers are refused instead of kept waiting.
        let listeners = Listeners::bind(&config)?;
        let ports = listeners.files()?;
        Ok(Some((ConnectionNode::start(&config, listeners, store.clone(), run).await?, ports)))
    };
    let prepare = async |offered: &mut Offered, run| {
        ConnectionNode::prepare(&config, offered, store.clone(), run).await
    };
    let succeed = async |node: &ConnectionNode, adopted| node.server.succeed(adopted).await;
    let run = Run::new(shutdown, workers);
    let started = handing::start(beginning, run, alone, prepare, succeed).await?;
    let Some(node) = started else { return Ok(()) };
    node.reload_by(&reload, &config).await;
    supervisor::ready();
    node.run().await;
    Ok(())
}

/// A node of a cluster that serves.
#[derive(Debug)]
pub struct ConnectionNode {
    server: Server,
    assembled: Assembled,
    hand_overs: HandOvers,
    run: Run,
}

impl ConnectionNode {
    /// Serves on these listeners from now on.
    ///
    /// # Errors
    /// The address of the listener for nodes is not known.
    pub async fn start(
        config: &Config,
        listeners: Listeners,
        store: Arc<dyn Store>,
        run: Run,
    ) -> Result<Self, Failure> {
        Self::start_with(config, listeners, None, store, run).await
    }

    /// Prepares a node to go on with what another process still has.
    async fn prepare(
        config: &Config,
        offered: &mut Offered,
        store: Arc<dyn Store>,
        run: Run,
    ) -> Result<(Self, PortFiles, Adopted), Failure> {
        let listeners = Listeners::inherit(config, offered)?;
        let ports = listeners.files()?;
        let address = grpc_address(config, &listeners.grpc).await?;
        let (former, had) = Former::read(&offered.about).map_err(Failure::unavailable)?;
        if address != had {
            let reason = format!("a node is at {had}, and should be at {address}; restart it instead");
            return Err(Failure::usage(reason));
        }
        // While the other process serves, because this may take a while.
        let node = Self::start_with(config, listeners, Some(former), store, run).await?;
        let received = offered.receive().await;
        match received.and_then(|inheritance| node.server.adopt(inheritance)) {
            Ok(adopted) => Ok((node, ports, adopted)),
            Err(failure) => {
                node.stop().await;
                Err(failure)
            }
        }
    }

    async fn start_with(
        config: &Config,
        listeners: Listeners,
        former: Option<Former>,
        store: Arc<dyn Store>,
        run: Run,
    ) -> Result<Self, Failure> {
        let listeners = listeners.under(&run);
        let Config { common, ports, certificates, .. } = config;
        let mut assembly = Assembly::new(BUILD, store, run.clone(), common, ports, certificates.clone());
        let limits = config.sockets.limits(beckon_ops::process::open_files_max());
        let membership = membership(config, &listeners.grpc, former).await?;
        let starting = Server::start(&config.sockets, &config.common, limits, membership, &mut assembly);
        let server = starting.await;
        let assembled = assembly.finish(server.vitals(), config.access.clone());
        let admin = assembled.admin();
        let dashboard = server.dashboard(&assembled);
        let hand_overs = HandOvers::default();
        let paths = server.operator_paths(admin.clone()).or(hand_overs.path(admin.clone())).unify();
        let paths = paths.or(dashboard.paths()).unify();
        assembled.serve_admin_with(listeners.admin, paths, &Server::ROUTES);
        server.serve_nodes(listeners.grpc, &dashboard);
        server.accept(listeners.sockets, admin.clone());
        tracing::info!(
            node.id = %server.node().id,
            ws.listen = %config.sockets.ws_listen,
            grpc.listen = %config.node.grpc_listen,
            admin.listen = %config.node.admin_listen,
            workers = server.workers(),
            connections.max = server.node().tunables().limits.connections_max,
            "serving WebSockets"
        );
        Ok(Self { server, assembled, hand_overs, run })
    }

    /// Lets this node take new settings from now on.
    pub async fn reload_by(&self, reload: &Reload, config: &Config) {
        let mut parts = Reloadables::default();
        let keys = &config.common.token_keys;
        self.assembled.add_reloadables(keys, &mut parts, |config: &Config| (&config.common, &config.ports));
        let tuner = self.server.tuner();
        parts.add(RELOADED, move |config: &Config| {
            let Config { sockets, common, ports, .. } = config;
            let limits = sockets.limits(beckon_ops::process::open_files_max());
            Ok(tuner.prepare(sockets, common, ports, limits))
        });
        config.cluster.add_reloadables(&mut parts, |config| &config.cluster);
        beckon_node::reloading::add_tls(config.tls.as_ref(), &mut parts, |config| config.tls.as_ref());
        beckon_node::reloading::add_certificates(config.certificates.as_ref(), &mut parts, |config| {
            config.certificates.as_ref()
        });
        reload.serve(parts).await;
        self.assembled.admin().set_reload(reload.clone());
    }

    /// The part that holds the sockets.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Serves until the shutdown is requested, then stops: first the sockets, then what served them, then the
    /// listener that operators watch this on, and the store.
    pub async fn run(self) {
        self.run.shutdown.requested().await;
        self.server.drained().await;
        self.stop().await;
    }
}

impl Program for ConnectionNode {
    fn hand_over(&self, seat: Seat, ports: PortFiles) -> Result<(), Failure> {
        let Run { clock, tenure, .. } = self.run.clone();
        let (holdings, stage) = (self.server.sockets_to_hand_over(), self.server.stage().clone());
        self.hand_overs.serve(seat, Giver { build: BUILD, holdings, tenure, clock, ports, stage })
    }

    /// Stops everything, with what is left of the sockets.
    async fn stop(self) {
        self.server.stop().await;
        self.assembled.close().await;
    }
}

/// Where other nodes reach the one that listens there.
async fn grpc_address(config: &Config, grpc: &Listener) -> Result<String, Failure> {
    let listen = grpc.local_addr().map_err(Failure::unavailable)?;
    config.node.grpc_advertise.resolve(listen).await
}

async fn membership(config: &Config, grpc: &Listener, former: Option<Former>) -> Result<Membership, Failure> {
    let grpc_address = grpc_address(config, grpc).await?;
    Ok(Membership {
        name: config.cluster.node_name.clone().unwrap_or_else(|| grpc_address.clone()),
        announcement: Announcement { grpc_address, ws_url: config.node.ws_advertise.clone() },
        secret: config.cluster.cluster_secret.clone(),
        tls: config.tls.clone(),
        former,
    })
}
