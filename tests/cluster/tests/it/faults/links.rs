//! The links between nodes and their store, and between the tiers, stall and break.

use beckon_cluster_tests::site::{HEARING, Site};
use beckon_testbed::redis::Topology;
use std::time::Duration;

rows![
    a_lapsed_node_hears_of_what_a_new_endpoint_node_accepted: [Server, Cluster],
];

/// A connection-node cannot reach the store for longer than its lease. Meanwhile an endpoint-node that has just been
/// started accepts something for a client of it: the client hears of it when the node is back.
async fn a_lapsed_node_hears_of_what_a_new_endpoint_node_accepted(topology: Topology) {
    /// Longer than a lease.
    const STALL: Duration = Duration::from_secs(12);
    let site = Site::start(topology);
    let mut devices = site.devices("c0").await;
    site.links("c0").stall();
    site.node("e1").kill();
    tokio::time::sleep(STALL).await;
    site.node("e1").start();
    let mut sent = Vec::new();
    for device in &mut devices {
        sent.push(device.send(site.node("e1")).await);
    }
    site.links("c0").heal();
    for (device, sent) in devices.iter_mut().zip(&sent) {
        device.receive(sent, HEARING).await;
    }
}
