//! The connection-nodes of a cluster: which of them are alive, and a stream to each of their workers.
//!
//! This node announces itself every [`beckon_store::ANNOUNCE_INTERVAL`], which reads the directory, and at once when a
//! presence names a node that is not in it, but not more often than every [`REFRESH_INTERVAL_MIN`]. A node that is still
//! missing after that counts as offline until a reading has it. When it has been missing for five minutes, presences that
//! name it are released.
//!
//! A notification goes on the stream to the worker that has its client, so that on that node no other thread handles it. All
//! workers of this node share the streams, each of which runs on one of them: their number grows with the workers of the
//! connection-nodes, and not with those of this node.
//!
//! A node that has left the directory is forgotten, unless its stream works: then the store is wrong about it
//! (it may have been away itself), and its clients can still be reached.

mod backoff;
mod context;
mod gauges;
mod link;
mod pending;

use crate::metrics::Metrics;
use arc_swap::ArcSwap;
use beckon_dashboard::local::Local;
use beckon_node::{key_rings::KeyRings, step_failures::StepFailures};
use beckon_ops::{clock::Clock, stage::Stage, workers::Workers};
use beckon_proto::{
    auth::ClusterSecret,
    delivery::{Deliver, Parcel, Receipt, Undelivered},
    tls::Tls,
};
use beckon_store::{ANNOUNCE_INTERVAL, NodeEntry, Store, StoreError};
use beckon_types::{Moment, NodeId, Presence};
use context::Context;
use futures_util::future::{BoxFuture, FutureExt as _};
use gauges::{NodeStreams, Streams};
use link::Link;
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{Notify, SetOnce, watch},
    time::{sleep, timeout},
};

/// The directory is not read more often than this, however many presences name a node that is not in it.
pub const REFRESH_INTERVAL_MIN: Duration = Duration::from_millis(200);

/// How often expired parcels are collected: a parcel can outlive its deadline by this much.
const EXPIRY_INTERVAL: Duration = Duration::from_millis(100);

/// How many missing nodes are remembered. For any other, the directory is read again.
const ABSENT_MAX: usize = 16_384;

/// A node that has been missing for this long does not come back, or all its connections verify their claims if it does.
const LONG_GONE: Duration = Duration::from_secs(5 * 60);

/// This node, as the directory has it.
#[derive(Debug)]
pub struct Member {
    /// What operators call it.
    pub name: String,
    /// The token keys of this node and of the others.
    pub key_rings: Arc<KeyRings>,
}

/// How this node speaks to the connection-nodes.
#[derive(Debug)]
pub struct Settings {
    /// How long a stored notification waits for the receipt of its node before its sender is answered without one.
    pub delivery_timeout: Duration,
    /// The secret of the cluster.
    pub secret: ClusterSecret,
    /// Mutual TLS, if configured.
    pub tls: Option<Tls>,
}

/// Hands notifications to the connection-nodes of a cluster. Clones share everything.
#[derive(Clone)]
pub struct ConnectionNodes {
    shared: Arc<Shared>,
}

struct Shared {
    store: Arc<dyn Store>,
    workers: Workers,
    context: Arc<Context>,
    /// The stream to each worker of each node.
    links: ArcSwap<HashMap<NodeId, Vec<Arc<Link>>>>,
    /// This run of this node.
    id: NodeId,
    member: Member,
    /// Nodes that a presence named and that were not in the directory when it was last read, and since when.
    absent: Mutex<HashMap<NodeId, Moment>>,
    /// Asks for the directory to be read.
    refresh: Notify,
    /// How many readings of the directory have begun, and have ended.
    readings: watch::Sender<Readings>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Readings {
    begun: u64,
    ended: u64,
    /// Whether the last one that has ended was answered.
    is_current: bool,
}

impl ConnectionNodes {
    /// Starts reading the directory, in tasks of `stage`. When it stops, all streams are closed, and parcels that
    /// still wait for a receipt get none. Must be called inside a tokio runtime.
    pub fn start(
        store: Arc<dyn Store>,
        member: Member,
        settings: Settings,
        metrics: Metrics,
        clock: Clock,
        stage: Stage,
        workers: Workers,
    ) -> Self {
        let context = Arc::new(Context {
            delivery_timeout: settings.delivery_timeout,
            secret: settings.secret,
            tls: settings.tls,
            metrics,
            clock,
            stage,
            local: SetOnce::new(),
        });
        let id = NodeId(context.random().max(1));
        let shared = Arc::new(Shared {
            store,
            workers,
            id,
            member,
            context,
            links: ArcSwap::default(),
            absent: Mutex::default(),
            refresh: Notify::new(),
            readings: watch::Sender::default(),
        });
        shared.context.stage.spawn_vital("directory", shared.clone().keep_reading());
        Self { shared }
    }

    /// This run of this node, as the directory has it.
    pub fn id(&self) -> NodeId {
        self.shared.id
    }

    /// Lets operators reach this node through every connection-node from now on, on the connections of the streams.
    pub fn attend(&self, local: Arc<Local>) {
        // A node is set once.
        let _ = self.shared.context.local.set(local);
    }

    /// Exports which nodes can be reached, with the prefix `endpoint_`. Pass the sub-registry of `beckon`.
    pub fn register(&self, registry: &mut Registry) {
        let streams = Streams(self.shared.clone());
        registry.sub_registry_with_prefix("endpoint").register_collector(Box::new(streams));
    }

    /// Waits until the first reading of the directory has ended, within the time limit of the store.
    pub async fn until_read(&self) {
        let mut readings = self.shared.readings.subscribe();
        let read = readings.wait_for(|readings| readings.ended > 0);
        let _ = self.shared.context.stage.run_until_stopping(read).await;
    }
}

impl fmt::Debug for ConnectionNodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionNodes")
            .field("nodes", &self.shared.links.load().len())
            .finish_non_exhaustive()
    }
}

impl Deliver for ConnectionNodes {
    fn deliver(&self, parcel: Parcel) -> BoxFuture<'static, Result<Receipt, Undelivered>> {
        match self.shared.link(parcel.to) {
            Some(link) => link.deliver(parcel).boxed(),
            None => self.shared.clone().find_and_deliver(parcel).boxed(),
        }
    }
}

impl gauges::Count for Shared {
    fn count(&self) -> Vec<NodeStreams> {
        let of = |links: &Vec<Arc<Link>>| {
            let open = links.iter().filter(|link| link.is_open()).count();
            links.first().map(|link| NodeStreams {
                node: link.node_name().to_owned(),
                open,
                all: links.len(),
            })
        };
        self.links.load().values().filter_map(of).collect()
    }
}

impl Shared {
    fn link(&self, to: Presence) -> Option<Arc<Link>> {
        let links = self.links.load();
        let workers = links.get(&to.node)?;
        // A socket of a worker that the directory does not know of is found by any other as well.
        workers.get(usize::from(to.connection.worker())).or(workers.first()).cloned()
    }

    async fn find_and_deliver(self: Arc<Self>, parcel: Parcel) -> Result<Receipt, Undelivered> {
        let node = parcel.to.node;
        if let Some(since) = self.absent.lock().get(&node) {
            let is_current = self.readings.borrow().is_current;
            let is_long_gone = is_current && self.context.now().since(*since) >= LONG_GONE;
            return Err(if is_long_gone { Undelivered::NodeLongGone } else { Undelivered::NodeGone });
        }
        let last = *self.readings.borrow();
        if last.ended > 0 && !last.is_current {
            // The last reading failed, and the next one would probably fail too. The primary that has the client may be well, so the
            // node hears of the notification through the store.
            return Err(Undelivered::NodeGone);
        }
        let read = timeout(self.context.delivery_timeout, self.fresh_reading()).await;
        if let Some(link) = self.link(parcel.to) {
            return link.deliver(parcel).await;
        }
        let is_current = read.map_err(|_| Undelivered::TimedOut)?;
        let mut absent = self.absent.lock();
        if is_current && absent.len() < ABSENT_MAX {
            absent.insert(node, self.context.now());
        }
        Err(Undelivered::NodeGone)
    }

    /// Waits until the directory has been read by a reading that began after this call. All waiters share one
    /// reading. Returns whether it was answered.
    async fn fresh_reading(&self) -> bool {
        let mut readings = self.readings.subscribe();
        let fresh = readings.borrow().begun + 1;
        self.refresh.notify_one();
        // The sender lives as long as `self`.
        readings.wait_for(|readings| readings.ended >= fresh).await.is_ok_and(|readings| readings.is_current)
    }

    /// Reads the directory again and again, and gives up on late parcels, until this node stops; then closes all links.
    async fn keep_reading(self: Arc<Self>) {
        let reading = async {
            let mut failing = false;
            loop {
                self.read(&mut failing).await;
                sleep(REFRESH_INTERVAL_MIN).await;
                let asked = async {
                    tokio::select! {
                        () = self.refresh.notified() => {}
                        () = self.member.key_rings.until_reloaded() => {}
                    }
                };
                let _ = timeout(ANNOUNCE_INTERVAL - REFRESH_INTERVAL_MIN, asked).await;
            }
        };
        // One timer, however many links there are.
        let expiring = async {
            loop {
                sleep(EXPIRY_INTERVAL).await;
                self.links.load().values().flatten().for_each(|link| link.expire());
            }
        };
        let work = async { tokio::join!(reading, expiring) };
        let _: Option<((), ())> = self.context.stage.run_until_stopping(work).await;
        for links in self.links.swap(Arc::default()).values() {
            links.iter().for_each(|link| link.close());
        }
        if let Err(error) = self.store.retire(self.id).await {
            StepFailures::count(&self.context.metrics.steps_failed, &error);
            tracing::warn!(%error, "could not end the lease; it will lapse");
        }
    }

    /// Announces this node. Returns the directory.
    async fn announce(&self) -> Result<Vec<NodeEntry>, StoreError> {
        let Member { name, key_rings } = &self.member;
        let entry = NodeEntry {
            node: self.id,
            name: name.clone(),
            grpc_address: String::new(),
            workers: 1,
            ws_url: None,
            room: false,
            keys: key_rings.own(),
        };
        let nodes = self.store.announce(entry).await?.nodes;
        key_rings.compare(&nodes, self.context.now());
        Ok(nodes)
    }

    async fn read(&self, failing: &mut bool) {
        self.readings.send_modify(|readings| readings.begun += 1);
        let announced = self.announce().await;
        self.context.metrics.count_announcement(announced.is_ok());
        let is_current = announced.is_ok();
        match announced {
            Ok(nodes) => {
                if std::mem::take(failing) {
                    tracing::info!("directory of nodes can be read again");
                }
                self.update(nodes);
            }
            Err(error) => {
                StepFailures::count(&self.context.metrics.steps_failed, &error);
                if !std::mem::replace(failing, true) {
                    tracing::warn!(%error, "directory of nodes cannot be read, the last one stays in use");
                }
            }
        }
        self.readings.send_modify(|readings| {
            (readings.ended, readings.is_current) = (readings.begun, is_current);
        });
    }

    /// Starts a link to each worker of a node. Those of one node are spread over the workers of this one.
    fn start_links(&self, entry: NodeEntry) -> Vec<Arc<Link>> {
        let first = entry.node.0 as usize;
        let entry = Arc::new(entry);
        let start = |worker| {
            let _entered = self.workers.wrapping(first.wrapping_add(usize::from(worker))).enter();
            Link::start(entry.clone(), worker, self.context.clone())
        };
        (0..entry.workers).map(start).collect()
    }

    fn update(&self, nodes: Vec<NodeEntry>) {
        let listed: HashSet<NodeId> = nodes.iter().map(|entry| entry.node).collect();
        self.absent.lock().retain(|node, _| !listed.contains(node));
        // Only this task changes it.
        let mut links = HashMap::clone(&self.links.load());
        links.retain(|node, links| {
            let keep = listed.contains(node) || links.iter().any(|link| link.is_open());
            if !keep {
                links.iter().for_each(|link| link.close());
            }
            keep
        });
        for entry in nodes.into_iter().filter(|entry| !entry.grpc_address.is_empty()) {
            links.entry(entry.node).or_insert_with(|| self.start_links(entry));
        }
        self.context.metrics.nodes.set(i64::try_from(links.len()).unwrap_or(i64::MAX));
        self.links.store(Arc::new(links));
    }
}
