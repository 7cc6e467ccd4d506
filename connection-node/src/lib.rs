//! A connection-node: holds WebSockets.
//!
//! * [`config`], `metrics`: this node's settings and measurements, a documented struct each;
//! * `node`: what all connections share;
//! * `listener` accepts, `handshake` upgrades, `socket` frames, `connection` runs one conversation, `store_steps`
//!   performs what it asks of the store;
//! * `registry` finds a connection's `mailbox` by its id, `timers` wakes connections;
//! * `suspended` is a connection without a task; `compaction` moves connections together when many have left;
//! * `presence` keeps this node in the directory, `peers` reaches the other nodes;
//! * `broadcasts` keeps the broadcasts current, and is where operators set them;
//! * `delivery_service` takes notifications from the endpoint tier.
//!
//! [`run`] is a node of a cluster; [`Server`] is the part of it that a standalone server shares.

pub mod config;

mod broadcasts;
mod compaction;
mod connection;
mod delivery_service;
mod handshake;
mod listener;
mod mailbox;
mod metrics;
mod node;
mod peers;
mod presence;
mod registry;
mod server;
mod socket;
mod store_steps;
mod suspended;
#[cfg(test)]
mod test_node;
mod timers;

pub use delivery_service::DeliveryService;
pub use node::Limits;
pub use presence::Announcement;
pub use server::{Membership, NodeVitals, Server};

use beckon_node::admin::Admin;
use beckon_ops::{clock::Clock, exit::Failure, listener::BindError, program::Build, shutdown::Shutdown};
use beckon_store::Store;
use config::Config;
use std::{sync::Arc, time::Duration};
use tokio::net::TcpListener;

/// Which build this is.
pub const BUILD: Build = beckon_node::build("connection-node");

/// Time for the admin listener to answer what it has begun, at the very end.
const ADMIN_DRAIN: Duration = Duration::from_secs(1);

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

/// Opens the store, binds the ports, and runs a node of a cluster until `shutdown` is requested.
///
/// # Errors
/// The store or a port is not available, or a setting cannot be used.
pub async fn serve(config: Config, shutdown: Shutdown) -> Result<(), Failure> {
    let opened = beckon_node::store::open(&config.cluster.store, None, &config.common, &shutdown);
    let Some(store) = opened.await? else { return Ok(()) };
    // Only now, so that until then load balancers are refused instead of kept waiting.
    let listeners = Listeners::bind(&config)?;
    run(config, listeners, store, shutdown).await
}

/// Runs a node of a cluster until `shutdown` is requested and the node has drained.
///
/// # Errors
/// The store does not answer the first announcement, or the TLS configuration cannot be used.
pub async fn run(
    config: Config,
    listeners: Listeners,
    store: Arc<dyn Store>,
    shutdown: Shutdown,
) -> Result<(), Failure> {
    let clock = Clock::start();
    let mut measured = beckon_ops::metrics::registry("connection-node", BUILD.version, BUILD.commit);
    let grpc_address = match (&config.node.grpc_advertise, listeners.grpc.local_addr()) {
        (Some(address), _) => address.clone(),
        (None, Ok(address)) => address.to_string(),
        (None, Err(error)) => return Err(Failure::unavailable(error)),
    };
    let membership = Membership {
        name: config.cluster.node_name.clone().unwrap_or_else(|| grpc_address.clone()),
        announcement: Announcement {
            grpc_address,
            ws_url: config.node.ws_advertise.clone(),
            drain_time: config.common.drain_time,
        },
        secret: config.cluster.cluster_secret.clone(),
        tls: config.tls.clone(),
    };
    let beckon = measured.sub_registry_with_prefix("beckon");
    let limits = config.sockets.limits(beckon_ops::process::open_files_max());
    let server =
        Server::start(&config.sockets, &config.common, limits, membership, store.clone(), clock, beckon)
            .await;
    let server = server.map_err(Failure::unavailable)?;
    let (secret, tls) = (config.cluster.cluster_secret.clone(), config.tls.as_ref());
    server.serve_nodes(listeners.grpc, secret, tls).map_err(Failure::usage)?;
    let vitals = Arc::new(server.vitals());
    let admin = Arc::new(Admin::new(vitals, BUILD, measured, clock));
    // Ends after everything else, so that operators can watch the drain.
    let admin_end = Shutdown::new();
    let added = server.broadcast_paths(admin.clone());
    admin_end.spawn(admin.clone().serve_with(listeners.admin, added, admin_end.clone()));
    tracing::info!(
        node.id = %server.node().id,
        ws.listen = %config.sockets.ws_listen,
        grpc.listen = %config.node.grpc_listen,
        admin.listen = %config.node.admin_listen,
        connections.max = server.node().limits.connections_max,
        "serving websockets"
    );
    server.run(listeners.sockets, admin, &shutdown).await;
    admin_end.drain(ADMIN_DRAIN).await;
    if let Err(error) = store.close().await {
        tracing::warn!(%error, "store not closed");
    }
    tracing::info!("stopped");
    Ok(())
}
