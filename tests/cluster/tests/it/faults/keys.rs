//! Keys that are rotated, that differ, and that are lost.

use beckon_cluster_tests::{
    device::{DIALECTS, Device},
    site::{HEARING, LEASE, RECOVERY, Site},
    stage::Stage,
};
use beckon_testbed::{
    node::Node,
    plan::{Plan, key},
    redis::Topology,
    until_within,
};

rows![
    a_rotation_of_token_keys_loses_no_subscription: [Server, Sentinel, Cluster],
    an_endpoint_node_with_other_keys_denies_no_subscription: [Server, Sentinel, Cluster],
    a_node_alone_in_the_directory_denies_no_subscription: [Server],
    a_lost_key_file_denies_no_subscription: [Server],
    another_uaid_key_forgets_no_client: [Server, Sentinel, Cluster],
];

/// The lists of keys that all nodes get, one round after the other, as docs/configuration.md says.
const ROUNDS: [&[u8]; 2] = [&[1, 2], &[2, 1]];

/// Nodes are restarted with a new key, one after the other: whatever is registered meanwhile on any node can be sent to
/// through any other.
async fn a_rotation_of_token_keys_loses_no_subscription(topology: Topology) {
    let site = Site::start(topology);
    let mut devices = site.devices("c0").await;
    for numbers in ROUNDS {
        let keys: Vec<String> = numbers.iter().map(|number| key(*number)).collect();
        for node in ["c0", "e0", "c1", "e1"].map(|name| site.node(name)) {
            node.terminate();
            node.set("BECKON_TOKEN_KEYS", keys.join(","));
            node.start();
            for connection_node in site.connection_nodes() {
                devices.extend(site.devices(connection_node.name()).await);
            }
            for device in &mut devices {
                for endpoint_node in site.endpoint_nodes() {
                    let sent = device.try_send(endpoint_node).await;
                    assert!(sent.is_ok(), "after {} through {}: {sent:?}", node.name(), endpoint_node.name());
                }
            }
        }
    }
    for device in &mut devices {
        device.hello(site.node("c0")).await;
        site.expect_to_hear(device).await;
    }
}

/// An endpoint-node gets keys that no other node has: it refuses to start, or it answers 503 and complains. It never
/// tells an application server that a subscription is gone.
async fn an_endpoint_node_with_other_keys_denies_no_subscription(topology: Topology) {
    let site = Site::start(topology);
    let mut devices = site.devices("c0").await;
    let node = site.node("e1");
    node.terminate();
    node.set("BECKON_TOKEN_KEYS", key(9));
    node.launch();
    expect_no_denial(node, &mut devices).await;
    for device in &mut devices {
        let sent = device.send(site.node("e0")).await;
        device.receive(&sent, HEARING).await;
    }
}

/// The leases of all other nodes lapse, as when the store was away and a node with other keys reaches it first: that it is the only
/// one in the directory does not mean that its keys are all there are.
async fn a_node_alone_in_the_directory_denies_no_subscription(topology: Topology) {
    let site = Site::start(topology);
    let mut devices = site.devices("c0").await;
    let node = site.node("e1");
    node.terminate();
    node.set("BECKON_TOKEN_KEYS", key(9));
    node.start();
    let others: Vec<_> = site.nodes().iter().filter(|other| other.name() != node.name()).collect();
    others.iter().for_each(|other| other.pause());
    let is_alone = async || {
        for device in &mut devices {
            assert_eq!(device.try_send(node).await, Err(503));
        }
        // Each announcement removes what has lapsed.
        (site.store.fields("{beckon}nodes") <= 2).then_some(())
    };
    until_within(LEASE + RECOVERY, "the leases of the others have lapsed", is_alone).await;
    node.terminate();
    node.start();
    for device in &mut devices {
        assert_eq!(device.try_send(node).await, Err(503), "it has never seen the others");
    }
    others.iter().for_each(|other| other.resume());
}

/// A connection-node gets a UAID key that no other node has, so it would know no client: it refuses to start, and the
/// others go on. An endpoint-node needs no UAID key.
async fn another_uaid_key_forgets_no_client(topology: Topology) {
    let site = Site::start(topology);
    let mut devices = site.devices("c0").await;
    let node = site.node("c1");
    node.terminate();
    node.set("BECKON_UAID_KEY", key(9));
    node.launch();
    let status = until_within(RECOVERY, "c1 has ended", async || node.ended()).await;
    let log = node.log();
    assert!(status.code() == Some(64) && log.contains("another uaid_key"), "{status}: {log}");
    let endpoint_node = site.node("e1");
    endpoint_node.terminate();
    endpoint_node.set("BECKON_UAID_KEY", key(9));
    endpoint_node.start();
    for device in &mut devices {
        device.hello(site.node("c0")).await;
        site.expect_to_hear(device).await;
    }
    node.set("BECKON_UAID_KEY", key(2));
    node.start();
    for device in &mut devices {
        device.hello(node).await;
        site.expect_to_hear(device).await;
    }
}

/// The key file beside the database of a standalone server is lost.
async fn a_lost_key_file_denies_no_subscription(_: Topology) {
    let stage = Stage::own(Plan::standalone());
    let node = &stage.nodes()[0];
    let mut devices = Vec::new();
    for dialect in DIALECTS {
        devices.push(Device::join(node, dialect).await);
    }
    node.terminate();
    std::fs::remove_file(stage.folder().join("data/token-keys")).unwrap();
    node.launch();
    expect_no_denial(node, &mut devices).await;
}

/// A node that cannot open the endpoints of these clients ends with a complaint, or says so to senders and in its log.
async fn expect_no_denial(node: &Node, devices: &mut [Device]) {
    let settled = async || (node.ended().is_some() || node.is_ready()).then_some(());
    until_within(RECOVERY, &format!("{} has ended or is ready", node.name()), settled).await;
    let complaint =
        |log: String| log.lines().any(|line| line.contains("ERROR") || line.contains("token_keys"));
    if let Some(status) = node.ended() {
        assert!(!status.success() && complaint(node.log()), "{status}: {}", node.log());
        return;
    }
    for device in devices {
        assert_eq!(device.try_send(node).await, Err(503), "{:?}", device.dialect());
    }
    let complains = async || complaint(node.log()).then_some(());
    until_within(RECOVERY, &format!("{} complains in its log", node.name()), complains).await;
}
