//! The servers, their store, and the links between them, all of which can fail.

use crate::settings::Servers;
use beckon_testbed::{
    fleet::Fleet,
    forwarder::Forwarder,
    node::Node,
    plan::Plan,
    programs::Programs,
    redis::{Deployment, Links, Takeover, Watch},
};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Nodes of each tier.
const NODES: usize = 3;

/// Everything that serves.
#[derive(Debug)]
pub(crate) struct Site {
    fleet: Fleet,
    /// The links of each node to the store, by its name.
    links: BTreeMap<String, Links>,
    /// The links from the endpoint-nodes to each connection-node, by its name.
    deliveries: BTreeMap<String, Forwarder>,
    /// `None`: the store is embedded.
    store: Option<Mutex<Deployment>>,
    pub(crate) sockets: Vec<String>,
    pub(crate) endpoints: Vec<SocketAddr>,
}

impl Site {
    /// Starts everything and waits until it is ready.
    ///
    /// # Panics
    /// A program does not start.
    pub(crate) fn start(servers: Servers, store_replicas: u32, programs: Programs) -> Self {
        let mut store = match servers {
            Servers::Beckon => None,
            Servers::Cluster(topology) => Some(Deployment::start(topology)),
        };
        let mut plan = if store.is_some() { Plan::cluster(NODES, NODES) } else { Plan::standalone() };
        let (mut links, mut deliveries) = (BTreeMap::new(), BTreeMap::new());
        for node in plan.programs_mut() {
            node.set("BECKON_WAIT_FOR_STORE", "true");
            // All devices have the address of this machine.
            node.set("BECKON_LIMIT_PRIVATE_SOURCES", "false");
            if let Some(store) = &mut store {
                let own = store.links();
                node.set("BECKON_STORE", own.url());
                node.set("BECKON_STORE_REPLICAS", &store_replicas.to_string());
                links.insert(node.name.clone(), own);
            }
            if let Some(grpc) = node.addresses.grpc {
                let link = Forwarder::to(grpc);
                node.set("BECKON_GRPC_ADVERTISE", &link.address().to_string());
                deliveries.insert(node.name.clone(), link);
            }
        }
        let fleet = plan.build(programs).start();
        let sockets = fleet.connection_nodes().into_iter().map(Node::ws_url).collect();
        let endpoints = fleet.endpoint_nodes().into_iter().filter_map(|node| node.addresses().http).collect();
        Self { fleet, links, deliveries, store: store.map(Mutex::new), sockets, endpoints }
    }

    pub(crate) fn nodes(&self) -> &[Node] {
        self.fleet.nodes()
    }

    pub(crate) fn node(&self, name: &str) -> &Node {
        self.fleet.node(name)
    }

    /// The names of the nodes that hold WebSockets, or of those that accept notifications.
    pub(crate) fn names(&self, hold_sockets: bool) -> Vec<String> {
        let of = if hold_sockets { self.fleet.connection_nodes() } else { self.fleet.endpoint_nodes() };
        of.into_iter().map(|node| node.name().to_owned()).collect()
    }

    /// The links of a node to the store.
    pub(crate) fn links(&self, node: &str) -> Option<&Links> {
        self.links.get(node)
    }

    /// The link from the endpoint-nodes to a connection-node.
    pub(crate) fn delivery(&self, node: &str) -> Option<&Forwarder> {
        self.deliveries.get(node)
    }

    /// The store, for one fault at a time.
    pub(crate) fn store(&self) -> Option<MutexGuard<'_, Deployment>> {
        self.store.as_ref().map(|store| store.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// [`Deployment::is_replicated`].
    pub(crate) fn is_replicated(&self) -> bool {
        self.store().is_none_or(|store| store.is_replicated())
    }

    /// Reports replicas that take over beside a primary that works.
    pub(crate) fn watch(&self, report: impl FnMut(Takeover) + Send + 'static) -> Option<Watch> {
        self.store().map(|store| store.watch(report))
    }

    /// Bytes in the files of the embedded store.
    pub(crate) fn file_bytes(&self) -> u64 {
        let files = std::fs::read_dir(self.fleet.folder().join("data")).into_iter().flatten().flatten();
        files.filter_map(|file| file.metadata().ok()).map(|about| about.len()).sum()
    }

    /// The last lines of every log.
    pub(crate) fn logs(&self) -> String {
        self.fleet.logs()
    }
}
