//! Redis fails over, goes back in time, refuses, and is full.

use crate::hand_over::metric;
use beckon_cluster_tests::{
    device::Device,
    site::{HEARING, LEASE, RECOVERY, Site},
};
use beckon_testbed::{redis::Topology, until_within};
use beckon_types::Dialect;
use std::time::Duration;

rows![
    a_store_that_goes_back_in_time_hides_nothing: [Server, Sentinel, Cluster],
    a_registration_that_is_lost_is_noticed: [Server, Sentinel, Cluster],
    a_demoted_primary_is_left: [Server, Sentinel, Cluster],
    a_wrong_password_does_no_lasting_harm: [Server, Sentinel, Cluster],
    acknowledgements_are_repeated_until_they_are_stored: [Server, Sentinel, Cluster],
    a_full_store_lets_clients_come_and_go: [Server, Sentinel, Cluster],
    a_fail_over_loses_nothing_that_replicas_had_to_have: [Server, Sentinel, Cluster],
];

/// A fail-over loses the last notifications, which the client has had. What is sent later reaches it, and no message
/// gets the id of one that was lost.
async fn a_store_that_goes_back_in_time_hides_nothing(topology: Topology) {
    const LOST: usize = 3;
    let mut site = Site::start(topology);
    let mut devices = site.devices("c0").await;
    site.store.stop_replication();
    for device in &mut devices {
        for _ in 0..LOST {
            let sent = device.send(site.node("e0")).await;
            device.receive(&sent, HEARING).await;
        }
        device.settle().await;
    }
    for shard in 0..site.store.shards() {
        site.store.fail_over_by_kill(shard);
    }
    for device in &mut devices {
        for _ in 0..LOST {
            site.expect_to_hear(device).await;
        }
    }
}

/// A fail-over loses the last registration of a connected client: it is told to say hello again, with a list that is not registered.
async fn a_registration_that_is_lost_is_noticed(topology: Topology) {
    let mut site = Site::start(topology);
    let mut device = Device::join(site.node("c0"), Dialect::SimplePush).await;
    site.store.stop_replication();
    device.try_register_another().await.unwrap();
    for shard in 0..site.store.shards() {
        site.store.fail_over_by_kill(shard);
    }
    assert_eq!(device.try_await_close(HEARING).await, Ok(1011));
    let counted = r#"beckon_connection_ends_total{by="server",reason="registration_lost"}"#;
    until_within(RECOVERY, "it is counted", async || {
        site.connection_nodes().iter().any(|node| metric(node, counted) == Some(1.0)).then_some(())
    })
    .await;
}

/// The primary becomes a replica, and its connections stay open: a fail-over by DNS, by a virtual address or by a proxy,
/// one that Sentinels or an operator order.
async fn a_demoted_primary_is_left(topology: Topology) {
    let mut site = Site::start(topology);
    let mut devices = site.devices("c0").await;
    site.store.fail_over();
    site.expect_recovery().await;
    for device in &mut devices {
        site.expect_to_hear(device).await;
    }
}

/// Nodes that reconnect meet another password for a while, as when the users of Redis are loaded late.
async fn a_wrong_password_does_no_lasting_harm(topology: Topology) {
    const WRONG: Duration = Duration::from_secs(5);
    let mut site = Site::start(topology);
    let mut devices = site.devices("c0").await;
    let right = site.store.password();
    site.store.set_password(Some("another"));
    site.store.drop_clients();
    tokio::time::sleep(WRONG).await;
    site.store.set_password(Some(&right));
    site.expect_recovery().await;
    for device in &mut devices {
        site.expect_to_hear(device).await;
    }
}

/// A client acknowledges as many messages as are kept for it while the store is away, and stays connected: there is
/// room for others soon after.
async fn acknowledgements_are_repeated_until_they_are_stored(topology: Topology) {
    const LIMIT: usize = 20;
    /// Longer than the time limit of a step.
    const AWAY: Duration = Duration::from_secs(5);
    let mut site = Site::start_with(topology, |plan| {
        plan.http("BECKON_MSG_LIMIT", &LIMIT.to_string()).http("BECKON_MSG_RESERVE", "0")
    });
    let mut device = Device::join(site.node("c0"), Dialect::WebPush).await;
    device.hold_acknowledgements();
    for _ in 0..LIMIT {
        let sent = device.send(site.node("e0")).await;
        device.receive(&sent, HEARING).await;
    }
    assert_eq!(device.try_send(site.node("e0")).await, Err(429));
    site.store.pause();
    device.acknowledge_all().await;
    tokio::time::sleep(AWAY).await;
    site.store.resume();
    for _ in 0..LIMIT {
        let accepted = async || device.try_send(site.node("e0")).await.ok();
        let sent = until_within(HEARING, "there is room for a message", accepted).await;
        device.receive(&sent, HEARING).await;
    }
}

/// Redis has no memory for anything new, and senders go on: clients that are known can say hello, acknowledge and
/// leave, nodes keep their leases, and health says all the time that notifications cannot be stored.
async fn a_full_store_lets_clients_come_and_go(topology: Topology) {
    const CLIENTS: usize = 3;
    let mut site = Site::start(topology);
    let before = lapses(&site);
    let mut devices = Vec::new();
    for _ in 0..CLIENTS {
        devices.extend(site.devices("c0").await);
    }
    let mut waiting = Vec::new();
    for device in &mut devices {
        device.leave().await;
        waiting.push(device.send(site.node("e0")).await);
    }
    // What health has said before holds for a while.
    tokio::time::sleep(Duration::from_secs(2)).await;
    site.store.fill_up();
    for (device, waiting) in devices.iter_mut().zip(&waiting) {
        assert_eq!(device.try_send(site.node("e0")).await, Err(503), "{:?}", device.dialect());
        device.hello(site.node("c1")).await;
        device.receive(waiting, RECOVERY).await;
        device.leave().await;
    }
    // Longer than a lease.
    for _ in 0..25 {
        for node in site.nodes() {
            let answer = site.get(&format!("http://{}/health", node.addresses().admin)).await;
            assert_eq!(answer.status(), 503, "{}: {answer:?}", node.name());
        }
        tokio::time::sleep(LEASE / 20).await;
    }
    assert_eq!(lapses(&site), before, "nodes announce themselves");
    site.store.make_room();
    site.expect_recovery().await;
    for device in &mut devices {
        // What was received while the store was full stays acknowledged, and is not sent again.
        device.hello(site.node("c0")).await;
        site.expect_to_hear(device).await;
    }
}

/// Announcements that failed and leases that lapsed, of all connection-nodes.
fn lapses(site: &Site) -> f64 {
    const COUNTERS: [&str; 2] = [
        r#"beckon_announcements_total{result="failed"}"#,
        r#"beckon_claim_doubts_total{reason="lease_lapsed"}"#,
    ];
    let nodes = site.connection_nodes().into_iter();
    nodes.flat_map(|node| COUNTERS.map(|counter| metric(node, counter).unwrap())).sum()
}

/// With `store_replicas`, nothing is accepted that a replica lacks, so a fail-over loses nothing that was accepted, and
/// health says why nothing is.
async fn a_fail_over_loses_nothing_that_replicas_had_to_have(topology: Topology) {
    let mut site = Site::start_with(topology, |plan| plan.all("BECKON_STORE_REPLICAS", "1"));
    let mut devices = site.devices("c0").await;
    let mut waiting = Vec::new();
    for device in &mut devices {
        device.leave().await;
        waiting.push(device.send(site.node("e0")).await);
    }
    site.store.stop_replication();
    for device in &mut devices {
        assert_eq!(device.try_send(site.node("e0")).await, Err(503), "{:?}", device.dialect());
    }
    for node in site.nodes() {
        let health = format!("http://{}/health", node.addresses().admin);
        let sick = async || (site.get(&health).await.status() == 503).then_some(());
        until_within(RECOVERY, &format!("{} says that replicas lag", node.name()), sick).await;
    }
    for shard in 0..site.store.shards() {
        site.store.fail_over_by_kill(shard);
    }
    for (device, waiting) in devices.iter_mut().zip(&waiting) {
        let greeted = async {
            while device.try_hello(site.node("c1")).await.is_err() {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        tokio::time::timeout(RECOVERY, greeted).await.expect("hellos are answered again");
        device.receive(waiting, HEARING).await;
    }
}
