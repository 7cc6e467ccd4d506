//! The links between nodes and their store, and between the tiers, stall and break.

use beckon_cluster_tests::{
    device::{Device, Sent},
    site::{HEARING, Site},
};
use beckon_testbed::{PATIENCE, forwarder::Forwarder, redis::Topology};
use beckon_types::Dialect;
use std::{sync::OnceLock, time::Duration};

rows![
    a_late_hello_takes_no_client_away: [Server, Sentinel, Cluster],
    a_late_put_replaces_no_newer_version: [Server, Sentinel, Cluster],
    a_cut_between_the_tiers_outlives_the_endpoint_node: [Server, Sentinel, Cluster],
    what_is_stored_after_its_sender_gave_up_is_handed_over: [Server, Sentinel, Cluster],
    a_lapsed_node_hears_of_what_a_new_endpoint_node_accepted: [Server, Sentinel, Cluster],
];

/// The store is asked for a hello on `c0` and answers late: the client has given up and said hello on `c1`. It stays
/// there.
async fn a_late_hello_takes_no_client_away(topology: Topology) {
    let site = Site::start(topology);
    for mut device in site.devices("c0").await {
        device.leave().await;
        site.links("c0").stall();
        let mut late = device.begin_hello(site.node("c0")).await.unwrap();
        let close = late.close_within(PATIENCE).await.unwrap();
        assert_eq!(close.code, 1011, "{:?}", device.dialect());
        device.hello(site.node("c1")).await;
        site.links("c0").heal();
        site.expect_to_work("c0").await;
        for _ in 0..2 {
            site.expect_to_hear(&mut device).await;
        }
    }
}

/// A version that was answered with 503 does not overwrite a newer one that was accepted meanwhile.
async fn a_late_put_replaces_no_newer_version(topology: Topology) {
    let site = Site::start(topology);
    let mut device = Device::join(site.node("c0"), Dialect::SimplePush).await;
    device.leave().await;
    site.links("e0").stall();
    assert_eq!(device.try_send(site.node("e0")).await, Err(503));
    let newer = device.send(site.node("e1")).await;
    site.links("e0").heal();
    site.expect_to_work("e0").await;
    device.hello(site.node("c1")).await;
    device.receive(&newer, HEARING).await;
}

/// An endpoint-node accepts what it cannot hand over, because it does not reach the connection-node, and ends before
/// it can: the client hears of it all the same.
async fn a_cut_between_the_tiers_outlives_the_endpoint_node(topology: Topology) {
    let link = OnceLock::new();
    let site = Site::start_with(topology, |mut plan| {
        let node = plan.node("c0");
        let link = link.get_or_init(|| Forwarder::to(node.addresses.grpc.expect("a connection-node")));
        node.set("BECKON_GRPC_ADVERTISE", &link.address().to_string());
        plan
    });
    let link = link.get().expect("the plan was made");
    let mut devices = site.devices("c0").await;
    link.cut();
    let mut sent: Vec<Sent> = Vec::new();
    for device in &mut devices {
        sent.push(device.send(site.node("e0")).await);
    }
    site.node("e0").kill();
    link.heal();
    for (device, sent) in devices.iter_mut().zip(&sent) {
        device.receive(sent, HEARING).await;
    }
}

/// An application server does not wait for an answer as long as a slow store needs: what is stored then reaches the
/// connected client, without another notification.
async fn what_is_stored_after_its_sender_gave_up_is_handed_over(topology: Topology) {
    let site = Site::start(topology);
    let mut device = Device::join(site.node("c0"), Dialect::SimplePush).await;
    site.links("e0").stall();
    let sent = device.send_and_give_up(site.node("e0"), Duration::from_millis(500)).await;
    site.links("e0").heal();
    device.receive(&sent, HEARING).await;
}

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
