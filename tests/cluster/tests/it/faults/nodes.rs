//! Nodes that crash, restart, and are set up wrongly.

use super::gate;
use beckon_cluster_tests::{
    device::{DIALECTS, Device},
    site::{HEARING, RECOVERY, Site},
};
use beckon_testbed::{node::Node, redis::Topology, until_within};
use beckon_types::UNREGISTERED_LIFETIME;
use std::time::Duration;

rows![
    a_crash_leaves_no_record_of_clients_that_never_registered: [Server, Sentinel, Cluster],
    two_nodes_with_one_address_are_noticed: [Server, Sentinel, Cluster],
    a_restarted_node_leaves_no_ghost: [Server, Sentinel, Cluster],
];

/// Clients that said hello and registered nothing are forgotten within minutes after their node was killed.
async fn a_crash_leaves_no_record_of_clients_that_never_registered(topology: Topology) {
    let clients = if gate::is_thorough() { 2000 } else { 500 };
    let site = Site::start(topology);
    // A record that expires within this time counts as gone.
    let is_lasting = |left: &Option<Duration>| left.is_none_or(|left| left > UNREGISTERED_LIFETIME);
    let lasting = || site.store.keys().iter().filter(|(_, left)| is_lasting(left)).count();
    let before = lasting();
    let mut sockets = Vec::new();
    for client in 0..clients {
        let stranger = Device::stranger(DIALECTS[client % 2]);
        let mut socket = stranger.begin_hello(site.node("c0")).await.unwrap();
        socket.text_within(RECOVERY).await.unwrap();
        sockets.push(socket);
    }
    assert!(site.store.keys().len() >= clients, "their records are counted");
    site.node("c0").kill();
    let forgotten = async || (lasting() <= before).then_some(());
    until_within(HEARING, "no record of them lasts", forgotten).await;
}

/// Two connection-nodes announce the same address, as replicas of one service do: the second is refused, or every client
/// is served all the same; and the log names the address.
async fn two_nodes_with_one_address_are_noticed(topology: Topology) {
    let mut address = String::new();
    let site = Site::launch(topology, |mut plan| {
        address = plan.node("c0").addresses.grpc.expect("a connection-node").to_string();
        plan.node("c1").set("BECKON_GRPC_ADVERTISE", &address);
        plan
    });
    for name in ["c0", "e0", "e1"] {
        site.node(name).wait_until_ready();
    }
    let second = site.node("c1");
    let settled = async || (second.ended().is_some() || second.is_ready()).then_some(());
    until_within(RECOVERY, "the second node is refused or ready", settled).await;
    let mut devices = Vec::new();
    for node in site.connection_nodes().into_iter().filter(|node| node.ended().is_none()) {
        for _ in 0..3 {
            devices.extend(site.devices(node.name()).await);
        }
    }
    for device in &mut devices {
        site.expect_to_hear(device).await;
        site.expect_to_hear(device).await;
    }
    let is_loud = |line: &str| (line.contains("ERROR") || line.contains("WARN")) && line.contains(&address);
    assert!(
        site.nodes().iter().any(|node| node.log().lines().any(is_loud)),
        "no log complains about {address}"
    );
}

/// However often a node is restarted at its address, endpoint-nodes know as many nodes as there are.
async fn a_restarted_node_leaves_no_ghost(topology: Topology) {
    const RESTARTS: usize = 5;
    let site = Site::start(topology);
    for _ in 0..RESTARTS {
        site.node("c0").terminate();
        site.node("c0").start();
        site.expect_to_work("c0").await;
    }
    for node in site.endpoint_nodes() {
        let nodes = site.connection_nodes().len().to_string();
        let knows = async || (metric(&site, node, "beckon_endpoint_nodes").await == nodes).then_some(());
        until_within(RECOVERY, &format!("{} knows {nodes} nodes", node.name()), knows).await;
    }
}

/// The value of a metric without labels.
pub(super) async fn metric(site: &Site, node: &Node, name: &str) -> String {
    let answer = site.get(&format!("http://{}/metrics", node.addresses().admin)).await;
    let text = String::from_utf8_lossy(answer.body()).into_owned();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("{} has no {name}", node.name())).to_owned()
}
