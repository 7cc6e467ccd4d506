//! Starting, running and stopping the parts of a connection-node, in a process of its own or in a standalone
//! server.

use crate::{
    broadcasts,
    compaction::{self, Order},
    config::SocketSettings,
    delivery_service::DeliveryService,
    draining,
    hand_over::{Adopted, Sockets as SocketsToHandOver},
    handshake::Handshake,
    listener,
    node::{Former, Limits, Node},
    node_listener,
    operators::OperatedSockets,
    peers::Peers,
    presence::{self, Announcement},
    reloading::Tuner,
    shard::Shard,
};
use beckon_dashboard::{
    Dashboard,
    clients::Identification,
    local::{Local, Sockets},
};
use beckon_listener::port::Port;
use beckon_node::{
    admin::{Admin, StorageCheck, Vitals},
    assembly::{Assembled, Assembly},
    config::CommonSettings,
    hand_over::{HandOvers, Inheritance},
    routes::Route,
};
use beckon_ops::{
    exit::Failure,
    listener::Listener,
    stage::Stage,
    tenure::Phase,
    workers::{Worker, Workers},
};
use beckon_proto::{
    auth::{ClusterSecret, RequireSecret},
    channels::Channels,
    push_v1::{admin_server::AdminServer, delivery_server::DeliveryServer},
    tls::Tls,
    transport,
};
use beckon_store::Store;
use beckon_types::{ClientId, Dialect, Presence};
use bytes::Bytes;
use http::Response;
use std::{sync::Arc, time::Duration};
use tokio::sync::mpsc;
use tonic::service::interceptor::InterceptedService;
use warp::{Filter, Rejection};

/// Time for the last sockets to close after they were signalled, and for their last steps.
const CLOSING_TIME: Duration = Duration::from_secs(10);

/// How often the drain checks whether all sockets have gone.
const DRAIN_CHECK_INTERVAL: Duration = Duration::from_millis(20);

/// Time limit for ending the lease, the streams of other nodes, and everything else that served the sockets.
const STOP_TIME: Duration = Duration::from_secs(5);

/// How this node takes part in a cluster.
#[derive(Debug)]
pub struct Membership {
    /// What operators call the node.
    pub name: String,
    /// What the other nodes read in the directory.
    pub announcement: Announcement,
    /// The secret that this node presents to other nodes and requires of them.
    pub secret: ClusterSecret,
    /// TLS between the nodes.
    pub tls: Option<Tls>,
    /// What another process has handed over. `None`: this is a new run of the node.
    pub former: Option<Former>,
}

/// The part of a node that holds WebSockets. It is known to the other nodes, and accepts clients as soon as
/// [`Server::accept`] is called.
#[derive(Debug)]
pub struct Server {
    node: Arc<Node>,
    /// The threads that hold the sockets, and the share of each, in their order.
    workers: Workers,
    shards: Vec<Arc<Shard>>,
    /// Suspend and resume the connections of each.
    orders: Vec<mpsc::Sender<Order>>,
    delivery: DeliveryService,
    membership: Membership,
    /// Everything that serves sockets, and the sockets.
    stage: Stage,
    /// The connections to the other nodes.
    channels: Channels,
    shedder: Arc<draining::Shedder>,
    ws_path: Option<String>,
    port: Arc<Port>,
}

impl Server {
    /// Announces the node, and starts what its sockets need. If the store cannot perform the announcement, the node
    /// starts all the same and goes on trying: the parts of the store that its clients need may work.
    pub async fn start(
        settings: &SocketSettings,
        common: &CommonSettings,
        limits: Limits,
        membership: Membership,
        assembly: &mut Assembly,
    ) -> Self {
        let stage = Stage::new(&assembly.shutdown, "sockets");
        let Membership { name, announcement, secret, tls, former } = &membership;
        let channels = Channels::new(secret.clone(), tls.clone());
        let peers = Peers::new(channels.clone(), stage.clone());
        let tunables = settings.tunables(common, limits);
        let node = Arc::new(Node::new(name.clone(), *former, tunables, peers, assembly));
        let announced = presence::announce(&node, announcement).await;
        let first = announced.inspect_err(|error| node.step_failed(error)).ok();
        // Before the first hello, which would otherwise find no broadcasts.
        if let Err(error) = broadcasts::read(&node).await {
            node.step_failed(&error);
        }
        let lease = presence::keep_lease(node.clone(), announcement.clone(), first, stage.clone());
        stage.spawn_vital("lease", lease);
        stage.spawn_endless("broadcasts", broadcasts::keep_current(node.clone()));
        stage.spawn_endless("drain", draining::close_sockets(node.clone()));
        let workers = assembly.workers.clone();
        let shards = workers
            .iter()
            .zip(&assembly.stores)
            .map(|(worker, store)| start_shard(&node, worker, store, &stage));
        let (shards, orders) = shards.unzip();
        Self {
            shards,
            orders,
            delivery: DeliveryService::new(node.clone(), stage.clone()),
            shedder: draining::Shedder::new(node.clone(), stage.clone()),
            channels,
            node,
            workers,
            membership,
            stage,
            ws_path: settings.ws_path.clone(),
            port: settings.port(&assembly.ports),
        }
    }

    /// Gives the sockets other settings while the node runs.
    pub fn tuner(&self) -> Tuner {
        Tuner { node: self.node.clone(), port: self.port.clone() }
    }

    /// What this node's connections share.
    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// How many threads hold the sockets.
    pub(crate) fn workers(&self) -> u8 {
        self.workers.count()
    }

    /// Owns the sockets, and what serves them.
    pub fn stage(&self) -> &Stage {
        &self.stage
    }

    /// The state of this node.
    pub fn vitals(&self) -> Arc<dyn Vitals> {
        self.node.clone()
    }

    /// What operators do with a node that has sockets, for [`Admin::serve_with`]: they set the broadcasts, and shed sockets.
    pub fn operator_paths(
        &self,
        admin: Arc<Admin>,
    ) -> impl Filter<Extract = (Response<Bytes>,), Error = Rejection, Future: Send> + Clone + Send + Sync + 'static
    {
        let shed = draining::shed_path(self.shedder.clone(), admin.clone());
        broadcasts::paths(self.node.clone(), admin).or(shed).unify()
    }

    /// The routes of [`Server::operator_paths`], of [`Server::dashboard`], and of the program's [`HandOvers`].
    pub const ROUTES: [&'static [Route]; 4] = [
        &[broadcasts::ROUTES[0], broadcasts::ROUTES[1], draining::ROUTE],
        HandOvers::ROUTES,
        Dashboard::API,
        Dashboard::PAGES,
    ];

    /// What operators of the whole cluster see and do through this node.
    pub fn dashboard(&self, assembled: &Assembled) -> Dashboard {
        let node = self.node.clone();
        let sockets: Arc<dyn Sockets> =
            Arc::new(OperatedSockets { node: node.clone(), shedder: self.shedder.clone() });
        let (admin, guard) = (assembled.admin().clone(), assembled.guard().clone());
        let local = Local::new(node.id, admin, guard, node.clock, Some(sockets));
        let settings = &node.tunables().settings;
        let (keys, uaid_key) = (settings.keys.clone(), Some(settings.uaid_key.clone()));
        let identification = Identification { keys, uaid_key };
        Dashboard::new(local, node.store.clone(), self.channels.clone(), identification, &self.stage)
    }

    /// Takes notifications for this node's sockets.
    pub fn delivery(&self) -> DeliveryService {
        self.delivery.clone()
    }

    /// Serves the other nodes on this listener from now on.
    pub fn serve_nodes(&self, listener: Listener, dashboard: &Dashboard) {
        let Membership { secret, tls, .. } = &self.membership;
        let service = DeliveryServer::new(self.delivery())
            .max_decoding_message_size(transport::MESSAGE_LEN_MAX)
            .max_encoding_message_size(transport::MESSAGE_LEN_MAX);
        let services = node_listener::Services {
            delivery: InterceptedService::new(service, RequireSecret(secret.clone())),
            admin: InterceptedService::new(
                AdminServer::new(dashboard.service(self.stage.clone())),
                RequireSecret(secret.clone()),
            ),
        };
        node_listener::serve(listener, &self.node.tenure, &self.workers, &services, tls.clone(), &self.stage);
    }

    /// Accepts clients on this listener from now on. `admin` answers the health paths there.
    pub fn accept(&self, listener: Listener, admin: Arc<Admin>) {
        let handshake = |shard: &Arc<Shard>| {
            Arc::new(Handshake {
                shard: shard.clone(),
                port: self.port.clone(),
                admin: admin.clone(),
                ws_path: self.ws_path.clone(),
            })
        };
        let handshakes = self.shards.iter().map(handshake).collect();
        let (port, workers) = (self.port.clone(), self.workers.clone());
        let accepting = listener::accept(port, listener, workers, handshakes, self.stage.clone());
        self.stage.spawn_vital("listener for sockets", accepting);
    }

    /// Prepares the sockets of the process before this one.
    ///
    /// # Errors
    /// They are not what that process could have had.
    pub fn adopt(&self, inheritance: Inheritance) -> Result<Adopted, Failure> {
        Adopted::prepare(&self.node, inheritance)
    }

    /// Which of these sockets own which clients, for a store that does not know it.
    pub fn claims(&self, adopted: &Adopted) -> Vec<(ClientId, Presence, Dialect)> {
        adopted.claims(&self.node)
    }

    /// Serves these sockets, and the ports, from now on.
    pub async fn succeed(&self, adopted: Adopted) {
        adopted.resume(&self.node, &self.orders).await;
        self.node.tenure.enter(Phase::Serving);
    }

    /// The sockets, for another process.
    pub fn sockets_to_hand_over(&self) -> SocketsToHandOver {
        let (node, port) = (self.node.clone(), self.port.clone());
        let grpc_address = self.membership.announcement.grpc_address.clone();
        SocketsToHandOver::of(node, self.orders.clone(), self.delivery.clone(), port, grpc_address)
    }

    /// For a stopping program: waits until the drain's delay is over and all sockets have gone.
    pub async fn drained(&self) {
        let node = &self.node;
        node.drain.delayed().await;
        let closing_time = draining::closing_time(node.registry.open(), node.tunables().limits.drain_rate);
        let gone = async {
            while node.registry.open() > 0 {
                tokio::time::sleep(DRAIN_CHECK_INTERVAL).await;
            }
        };
        if self.stage.shutdown().within(closing_time + CLOSING_TIME, gone).await.is_none() {
            tracing::warn!(sockets = node.registry.open(), "drain cut short");
        }
    }

    /// Stops everything that served the sockets, and ends the lease.
    pub async fn stop(self) {
        self.stage.stop(STOP_TIME).await;
    }
}

/// Starts what the sockets of a worker need, on that worker.
fn start_shard(
    node: &Arc<Node>,
    worker: &Worker,
    store: &Arc<dyn Store>,
    stage: &Stage,
) -> (Arc<Shard>, mpsc::Sender<Order>) {
    let (sender, suspended) = mpsc::channel(compaction::BATCH_LEN);
    let (orders, ordered) = mpsc::channel(compaction::ORDERS_MAX);
    let shard = Arc::new(Shard::new(node.clone(), worker.index(), store.clone(), sender));
    let timed = shard.clone();
    let _entered = worker.enter();
    stage.spawn_endless("timers", async move {
        timed.timers.run(&timed.node.clock, &timed.node.registry).await;
    });
    stage.spawn_vital("compaction", compaction::run(shard.clone(), suspended, ordered, stage.clone()));
    (shard, orders)
}

impl Vitals for Node {
    fn clients(&self) -> u64 {
        self.registry.open()
    }

    fn clients_max(&self) -> u64 {
        self.tunables().limits.connections_max
    }

    fn endpoint_connections_max(&self) -> u64 {
        0
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
        Box::pin(async { check.await.map_err(|error| error.to_string()) })
    }
}
