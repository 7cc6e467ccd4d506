//! A connection-node: holds WebSockets.
//!
//! * [`config`], `metrics`: this node's settings and measurements, a documented struct each;
//! * `node`: what all connections share; `shard`: what those of one worker share;
//! * `listener` accepts, `handshake` upgrades (web pages: by `origin`), `socket` frames, `connection` runs one conversation, `store_steps`
//!   performs what it asks of the store;
//! * `registry` finds a connection's `mailbox` by its id, `timers` wakes connections, `pace` signals many of them
//!   without waking all at once;
//! * `suspended` is a connection without a task; `compaction` moves connections together when many have left;
//! * `draining` closes sockets so that their clients go elsewhere; `reloading` gives them other settings;
//! * `operators` is what operators do with the sockets, through any node;
//! * `presence` keeps this node in the directory, `peers` reaches the other nodes;
//! * `broadcasts` keeps the broadcasts current, and is where operators set them;
//! * `node_listener` hands the connections of other nodes to the workers that they ask for, where `delivery_service` takes
//!   notifications from the endpoint tier.
//!
//! [`ConnectionNode`] is a node of a cluster; [`Server`] is the part of it that a standalone server shares.

pub mod config;

mod broadcasts;
mod compaction;
mod connection;
mod delivery_service;
mod draining;
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

pub use delivery_service::DeliveryService;
pub use node::Limits;
pub use presence::Announcement;
pub use reloading::{RELOADED, Tuner};
pub use server::{Membership, Server};

use beckon_node::assembly::{Assembled, Assembly};
use beckon_ops::{
    exit::Failure,
    listener::BindError,
    program::Build,
    reload::{Reload, Reloadables},
    shutdown::Shutdown,
    supervisor,
    workers::Workers,
};
use beckon_store::Store;
use config::Config;
use std::sync::Arc;
use tokio::net::TcpListener;
use warp::Filter as _;

/// Which build this is.
pub const BUILD: Build = beckon_node::build("connection-node");

/// The ports of a node, bound but not served yet.
#[derive(Debug)]
pub struct Listeners {
    /// For clients.
    pub sockets: TcpListener,
    /// For other nodes.
    pub grpc: TcpListener,
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
            sockets: beckon_ops::listener::bind("ws_listen", config.sockets.ws_listen)?,
            grpc: beckon_ops::listener::bind("grpc_listen", config.node.grpc_listen)?,
            admin: beckon_ops::listener::bind("admin_listen", config.node.admin_listen)?,
        })
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
    // Only now, so that until then load balancers are refused instead of kept waiting.
    let listeners = Listeners::bind(&config)?;
    let node = ConnectionNode::start(&config, listeners, store, shutdown, workers).await?;
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
    shutdown: Shutdown,
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
        shutdown: Shutdown,
        workers: Workers,
    ) -> Result<Self, Failure> {
        let mut assembly = Assembly::new(
            BUILD,
            store,
            shutdown.clone(),
            workers,
            &config.common,
            &config.ports,
            config.certificates.clone(),
        );
        let limits = config.sockets.limits(beckon_ops::process::open_files_max());
        let membership = membership(config, &listeners.grpc)?;
        let starting = Server::start(&config.sockets, &config.common, limits, membership, &mut assembly);
        let server = starting.await;
        let assembled = assembly.finish(server.vitals(), config.access.clone());
        let admin = assembled.admin();
        let dashboard = server.dashboard(&assembled);
        let paths = server.operator_paths(admin.clone()).or(dashboard.paths()).unify();
        assembled.serve_admin_with(listeners.admin, paths);
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
        Ok(Self { server, assembled, shutdown })
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
        self.shutdown.requested().await;
        self.server.drained().await;
        self.server.stop().await;
        self.assembled.close().await;
    }
}

fn membership(config: &Config, grpc: &TcpListener) -> Result<Membership, Failure> {
    let grpc_address = match &config.node.grpc_advertise {
        Some(address) => address.clone(),
        None => grpc.local_addr().map_err(Failure::unavailable)?.to_string(),
    };
    Ok(Membership {
        name: config.cluster.node_name.clone().unwrap_or_else(|| grpc_address.clone()),
        announcement: Announcement { grpc_address, ws_url: config.node.ws_advertise.clone() },
        secret: config.cluster.cluster_secret.clone(),
        tls: config.tls.clone(),
    })
}
