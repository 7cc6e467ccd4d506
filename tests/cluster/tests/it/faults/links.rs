//! The links between nodes and their store, and between the tiers, stall and break.

use beckon_cluster_tests::{
    device::{Device, Sent},
    requests,
    site::{HEARING, Site},
    stage::Stage,
    talk::new_channel,
    webpush,
};
use beckon_testbed::{
    PATIENCE,
    forwarder::{Forwarder, Way},
    redis::Topology,
};
use beckon_types::Dialect;
use http::Method;
use std::{sync::OnceLock, time::Duration};

/// After the next notification, a client has what was stored before and not handed over, within this time.
const FOLLOWING: Duration = Duration::from_secs(10);

rows![
    a_late_hello_takes_no_client_away: [Server, Sentinel, Cluster],
    a_hello_whose_socket_has_gone_takes_no_client_away: [Server, Sentinel, Cluster],
    a_late_put_replaces_no_newer_version: [Server, Sentinel, Cluster],
    a_cut_between_the_tiers_outlives_the_endpoint_node: [Server, Sentinel, Cluster],
    what_is_stored_after_its_sender_gave_up_is_handed_over: [Server, Sentinel, Cluster],
    a_version_that_was_called_failed_follows_the_next_one: [Server, Sentinel, Cluster],
    a_message_that_was_called_failed_follows_the_next_one: [Server, Sentinel, Cluster],
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

/// The same, but the store is asked for both hellos in time: the socket of the first one has gone before it is performed.
async fn a_hello_whose_socket_has_gone_takes_no_client_away(topology: Topology) {
    /// Until the node has asked the store. Twice this is less than `store_timeout`.
    const ASKED: Duration = Duration::from_millis(500);
    let site = Site::start(topology);
    for mut device in site.devices("c0").await {
        device.leave().await;
        site.links("c0").stall();
        let gone = device.begin_hello(site.node("c0")).await.unwrap();
        tokio::time::sleep(ASKED).await;
        drop(gone);
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

/// Redis has stored a version, and its answer has stalled: the sender is told that it failed, and nobody tells the connected
/// client. It hears of it soon after the next notification, through another node.
async fn a_version_that_was_called_failed_follows_the_next_one(topology: Topology) {
    let site = Site::start(topology);
    let mut client = Stage::client_of(site.node("c0")).await.with_patience(FOLLOWING);
    let (failed, next) = (new_channel(), new_channel());
    client.hello().await;
    let (failed_endpoint, next_endpoint) = (client.register(&failed).await, client.register(&next).await);
    // From here on each server has the script, so that it need not be asked for.
    assert_eq!(Stage::put_through(site.node("e0"), &next_endpoint, 1).await, 200);
    client.expect_update(&next, 1).await;
    client.ack(&next, 1).await;
    site.links("e0").stall_way(Way::ToClient);
    assert_eq!(Stage::put_through(site.node("e0"), &failed_endpoint, 1).await, 503);
    site.links("e0").heal();
    client.expect_nothing().await;
    assert_eq!(Stage::put_through(site.node("e1"), &next_endpoint, 2).await, 200);
    client.expect_update(&next, 2).await;
    client.expect_update(&failed, 1).await;
}

/// The same with messages.
async fn a_message_that_was_called_failed_follows_the_next_one(topology: Topology) {
    let site = Site::start(topology);
    let client = Stage::client_of(site.node("c0")).await.with_patience(FOLLOWING);
    let (mut client, channel) = (webpush::Client::from(client), new_channel());
    client.hello().await;
    let endpoint = client.register(&channel).await;
    let post = async |node: &str, body: &'static str| {
        let url = requests::through(site.node(node), &endpoint);
        site.send(Method::POST, &url, &[webpush::KEPT, webpush::ENCRYPTED], body).await
    };
    // From here on each server has the script, so that it need not be asked for.
    let first = webpush::id_of(&post("e0", "first").await);
    client.expect_message(&channel, &first, "first").await;
    site.links("e0").stall_way(Way::ToClient);
    assert_eq!(post("e0", "failed").await.status(), 503);
    site.links("e0").heal();
    client.expect_nothing().await;
    let next = webpush::id_of(&post("e1", "next").await);
    client.expect_message(&channel, &next, "next").await;
    let failed = client.notification().await;
    let id = failed["version"].as_str().unwrap();
    assert_eq!(failed, webpush::notification(&channel, id, "failed"));
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
