//! A fleet, its store, and the links between them, all of which can fail.

use crate::{
    device::{DIALECTS, Device},
    stage::Stage,
};
use beckon_testbed::{
    node::Node,
    plan::{Plan, Shape},
    redis::{Deployment, Links, Topology},
    until_within,
};
use std::{ops::Deref, time::Duration};

/// After a fault is over, everything works again within this time.
pub const RECOVERY: Duration = Duration::from_secs(15);

/// After a fault is over, a connected client has received everything that was accepted for it within this time.
pub const HEARING: Duration = Duration::from_secs(60);

/// A node is in the directory for this time after its last announcement.
pub const LEASE: Duration = Duration::from_secs(10);

/// Two connection-nodes `c0` and `c1`, two endpoint-nodes `e0` and `e1`, and a store with replicas, to which each node
/// has links of its own.
#[derive(Debug)]
pub struct Site {
    stage: Stage,
    /// The links of each node, by its name.
    links: Vec<(String, Links)>,
    /// The store.
    pub store: Deployment,
}

impl Site {
    /// Starts everything and waits until PUTs reach clients by every way.
    pub fn start(topology: Topology) -> Self {
        Self::start_with(topology, |plan| plan)
    }

    /// [`Self::start`] with a changed plan.
    pub fn start_with(topology: Topology, change: impl FnOnce(Plan) -> Plan) -> Self {
        let site = Self::start_apart(topology, change);
        site.wait_until_connected();
        site
    }

    /// [`Self::start_with`] that waits only until each node is ready.
    pub fn start_apart(topology: Topology, change: impl FnOnce(Plan) -> Plan) -> Self {
        let site = Self::launch(topology, change);
        site.wait_until_ready();
        site
    }

    /// [`Self::start_with`] that waits for no node.
    pub fn launch(topology: Topology, change: impl FnOnce(Plan) -> Plan) -> Self {
        let mut store = Deployment::start(topology);
        let mut plan = change(Plan::new(Shape::Cluster));
        let mut links = Vec::new();
        for node in plan.programs_mut() {
            let own = store.links();
            node.set("BECKON_STORE", own.url());
            links.push((node.name.clone(), own));
        }
        Self { stage: Stage::launch(plan), links, store }
    }

    /// The links of one node to the store.
    pub fn links(&self, node: &str) -> &Links {
        let found = self.links.iter().find(|(name, _)| name == node);
        found.map(|(_, links)| links).unwrap_or_else(|| panic!("no {node} on the site"))
    }

    /// The links of all nodes.
    pub fn all_links(&self) -> impl Iterator<Item = &Links> {
        self.links.iter().map(|(_, links)| links)
    }

    /// A new client of each dialect on a node.
    pub async fn devices(&self, node: &str) -> Vec<Device> {
        let mut devices = Vec::new();
        for dialect in DIALECTS {
            devices.push(Device::join(self.node(node), dialect).await);
        }
        devices
    }

    /// A connected client hears what is sent to it through every endpoint-node, within [`HEARING`] after it was
    /// accepted, which has to be within [`RECOVERY`].
    pub async fn expect_to_hear(&self, device: &mut Device) {
        for node in self.endpoint_nodes() {
            let what = format!("{} accepts a notification for a {:?} client", node.name(), device.dialect());
            let sent = until_within(RECOVERY, &what, async || device.try_send(node).await.ok()).await;
            device.receive(&sent, HEARING).await;
        }
    }

    /// Within [`RECOVERY`], hellos are answered and notifications accepted and delivered, in both dialects, on and
    /// through this node.
    pub async fn expect_to_work(&self, name: &str) {
        self.expect_all_to_work(&[self.node(name)]).await;
    }

    /// [`Self::expect_to_work`] for all nodes together.
    pub async fn expect_recovery(&self) {
        let nodes: Vec<_> = self.nodes().iter().collect();
        self.expect_all_to_work(&nodes).await;
    }

    async fn expect_all_to_work(&self, nodes: &[&Node]) {
        let mut reason = String::new();
        let work = tokio::time::timeout(RECOVERY, async {
            while let Err(error) = self.try_work(nodes).await {
                reason = error;
                tokio::time::sleep(beckon_testbed::POLL).await;
            }
        });
        if work.await.is_err() {
            panic!("it does not work again within {RECOVERY:?}: {reason}");
        }
    }

    async fn try_work(&self, nodes: &[&Node]) -> Result<(), String> {
        for node in nodes {
            let (mut connection_nodes, mut endpoint_nodes) = (vec![*node], vec![*node]);
            if node.addresses().ws.is_none() {
                connection_nodes = self.connection_nodes();
            } else {
                endpoint_nodes = self.endpoint_nodes();
            }
            for (dialect, connection_node) in DIALECTS.into_iter().zip(connection_nodes.into_iter().cycle()) {
                let joined = Device::try_join(connection_node, dialect).await;
                let mut device = joined.map_err(|error| format!("on {}: {error}", connection_node.name()))?;
                for endpoint_node in &endpoint_nodes {
                    let at = |error: String| format!("through {}: {error}", endpoint_node.name());
                    let sent =
                        device.try_send(endpoint_node).await.map_err(|status| at(status.to_string()))?;
                    device.try_receive(&sent, RECOVERY).await.map_err(at)?;
                }
            }
        }
        Ok(())
    }
}

impl Deref for Site {
    type Target = Stage;

    fn deref(&self) -> &Stage {
        &self.stage
    }
}
