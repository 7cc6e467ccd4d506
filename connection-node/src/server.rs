//! Starting, running and stopping the parts of a connection-node, in a process of its own or in a standalone
//! server.

use crate::{
    broadcasts, compaction,
    config::SocketSettings,
    delivery_service::DeliveryService,
    handshake::Handshake,
    listener,
    mailbox::Mailbox,
    metrics::{Metrics, Open},
    node::{Limits, Node},
    peers::Peers,
    presence::{self, Announcement},
    registry::Registry,
    suspended::Suspended,
    timers::Timers,
};
use beckon_node::{
    admin::{Admin, StorageCheck, Vitals},
    config::CommonSettings,
};
use beckon_ops::{
    clock::Clock,
    log_throttle::{self, LogThrottle},
    shutdown::Shutdown,
};
use beckon_proto::{auth::ClusterSecret, push_v1::delivery_server::DeliveryServer, tls::Tls, transport};
use beckon_store::{Store, StoreError};
use beckon_types::{Moment, NodeId};
use bytes::Bytes;
use http::Response;
use parking_lot::RwLock;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use warp::{Filter, Rejection};

/// Time after the drain time in which the last sockets close and the store is told.
const DRAIN_REST: Duration = Duration::from_secs(10);

/// How often the drain looks whether all sockets have gone.
const DRAIN_LOOK: Duration = Duration::from_millis(20);

/// How this node takes part in a cluster.
#[derive(Debug)]
pub struct Membership {
    /// What operators call the node.
    pub name: String,
    /// What the others are told.
    pub announcement: Announcement,
    /// What is presented to other nodes, and required of them.
    pub secret: Option<ClusterSecret>,
    /// TLS between the nodes.
    pub tls: Option<Tls>,
}

/// A connection-node that is known to the others and does not accept clients yet.
#[derive(Debug)]
pub struct Server {
    node: Arc<Node>,
    announcement: Announcement,
    epoch: u64,
    tasks: TaskTracker,
    /// Connections that are suspended.
    suspended: mpsc::Receiver<Suspended>,
    /// Cancelled when the last socket has gone, or time is up.
    stop: CancellationToken,
    ws_path: Option<String>,
    allowed_origins: Vec<crate::handshake::Origin>,
}

impl Server {
    /// Announces the node.
    ///
    /// # Errors
    /// The store cannot be reached.
    pub async fn start(
        settings: &SocketSettings,
        common: &CommonSettings,
        limits: Limits,
        membership: Membership,
        store: Arc<dyn Store>,
        clock: Clock,
        measured: &mut prometheus_client::registry::Registry,
    ) -> Result<Self, StoreError> {
        let tasks = TaskTracker::new();
        let Membership { name, announcement, secret, tls } = membership;
        let registry = Arc::new(Registry::new());
        let (suspended_sender, suspended) = mpsc::channel(compaction::BATCH_LEN);
        measured.register_collector(Box::new(Open(registry.clone())));
        let node = Arc::new(Node {
            id: new_node_id(),
            name,
            settings: settings.session(common),
            limits,
            message_len_max: settings.message_len_max(),
            clock,
            store,
            registry,
            timers: Timers::new(Moment(clock.now_ms())),
            peers: Arc::new(Peers::new(secret, tls, tasks.clone())),
            metrics: Metrics::new(measured),
            step_failures: LogThrottle::new(log_throttle::INTERVAL),
            directory: RwLock::default(),
            broadcasts: RwLock::default(),
            suspended: suspended_sender,
            draining: AtomicBool::new(false),
        });
        let epoch = presence::announce(&node, &announcement).await?.epoch;
        // Before the first hello, which would be told that there are none.
        broadcasts::read(&node).await?;
        Ok(Self {
            node,
            announcement,
            epoch,
            tasks,
            suspended,
            stop: CancellationToken::new(),
            ws_path: settings.ws_path.clone(),
            allowed_origins: settings.allowed_origins.clone(),
        })
    }

    /// What this node's connections share.
    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// How this node is doing.
    pub fn vitals(&self) -> NodeVitals {
        NodeVitals(self.node.clone())
    }

    /// Where operators see and set the broadcasts, for [`Admin::serve_with`].
    pub fn broadcast_paths(
        &self,
        admin: Arc<Admin>,
    ) -> impl Filter<Extract = (Response<Bytes>,), Error = Rejection, Future: Send> + Clone + Send + Sync + 'static
    {
        broadcasts::paths(self.node.clone(), admin)
    }

    /// Takes notifications for this node's sockets.
    pub fn delivery(&self) -> DeliveryService {
        DeliveryService::new(self.node.clone(), self.stop.clone())
    }

    /// Serves the other nodes on this listener from now on, until the node has drained.
    ///
    /// # Errors
    /// The TLS configuration cannot be used.
    pub fn serve_nodes(
        &self,
        listener: TcpListener,
        secret: Option<ClusterSecret>,
        tls: Option<&Tls>,
    ) -> Result<(), beckon_proto::tls::TlsError> {
        let service = DeliveryServer::new(self.delivery())
            .max_decoding_message_size(transport::MESSAGE_LEN_MAX)
            .max_encoding_message_size(transport::MESSAGE_LEN_MAX);
        let service = tonic::service::interceptor::InterceptedService::new(
            service,
            beckon_proto::auth::RequireSecret(secret),
        );
        let server = transport::server(tls)?;
        let incoming = tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            let stopped = stop.cancelled_owned();
            if let Err(error) = server.serve_with_incoming_shutdown(service, incoming, stopped).await {
                let error = transport::chain(&error);
                tracing::error!(error, "the listener for other nodes has failed");
            }
        });
        Ok(())
    }

    /// Accepts clients until `shutdown` is requested, then closes the sockets over the drain time, and
    /// returns when all have gone and the store knows, or when the time for that is up.
    pub async fn run(self, sockets: TcpListener, admin: Arc<Admin>, shutdown: &Shutdown) {
        let Self { node, announcement, epoch, tasks, suspended, stop, ws_path, allowed_origins } = self;
        let accepting = CancellationToken::new();
        let handshake = Arc::new(Handshake { node: node.clone(), admin, ws_path, allowed_origins });
        tasks.spawn(listener::accept(sockets, handshake, tasks.clone(), accepting.clone()));
        {
            let (node, stop) = (node.clone(), stop.clone());
            tasks.spawn(async move { node.timers.run(&node.clock, &node.registry, &stop).await });
        }
        {
            let (node, stop, tasks_of_lease) = (node.clone(), stop.clone(), tasks.clone());
            let announcement = announcement.clone();
            tasks.spawn(async move {
                presence::keep_lease(&node, &announcement, epoch, &stop, &tasks_of_lease).await;
            });
        }
        {
            let (node, stop) = (node.clone(), stop.clone());
            tasks.spawn(async move { broadcasts::keep_current(&node, &stop).await });
        }
        tasks.spawn(compaction::run(node.clone(), suspended, tasks.clone(), stop.clone()));
        shutdown.requested().await;
        drain(&node, &announcement).await;
        accepting.cancel();
        stop.cancel();
        tasks.close();
        if tokio::time::timeout(DRAIN_REST, tasks.wait()).await.is_err() {
            tracing::warn!(tasks = tasks.len(), "stopped before all work was done");
        }
    }
}

/// Closes all sockets over the drain time, while upgrades are refused, and waits until they have gone.
async fn drain(node: &Arc<Node>, announcement: &Announcement) {
    node.draining.store(true, Ordering::Relaxed);
    if let Err(error) = presence::announce(node, announcement).await {
        tracing::warn!(error = %error, "the other nodes are not told of the drain");
    }
    let window = announcement.drain_time;
    tracing::info!(sockets = node.registry.open(), "draining");
    let closed = async {
        presence::pace(node.registry.all(), window, CancellationToken::new(), Mailbox::signal_drain).await;
        while node.registry.open() > 0 {
            // Again, for those that were being upgraded when the drain began.
            node.registry.all().iter().for_each(|mailbox| mailbox.signal_drain());
            tokio::time::sleep(DRAIN_LOOK).await;
        }
    };
    if tokio::time::timeout(window + DRAIN_REST, closed).await.is_err() {
        tracing::warn!(sockets = node.registry.open(), "drain cut short");
    }
}

/// How a connection-node is doing.
#[derive(Debug)]
pub struct NodeVitals(Arc<Node>);

impl Vitals for NodeVitals {
    fn clients(&self) -> u64 {
        self.0.registry.open()
    }

    fn clients_max(&self) -> u64 {
        self.0.limits.connections_max
    }

    fn endpoint_connections_max(&self) -> u64 {
        0
    }

    fn is_draining(&self) -> bool {
        self.0.is_draining()
    }

    fn instance(&self) -> &str {
        &self.0.name
    }

    fn check_store(&self) -> StorageCheck<'_> {
        let check = self.0.store.check();
        Box::pin(async { check.await.map_err(|error| error.to_string()) })
    }
}

fn new_node_id() -> NodeId {
    let mut bytes = [0; 8];
    #[expect(clippy::expect_used, reason = "without a random source no secret can be made")]
    getrandom::fill(&mut bytes).expect("the system has a random source");
    // All zero means nobody in the store's records.
    NodeId(u64::from_be_bytes(bytes).max(1))
}
