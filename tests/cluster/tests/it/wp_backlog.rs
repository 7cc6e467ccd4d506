//! WP-33 to WP-37: what waits for a user agent.

use beckon_cluster_tests::{
    shared::Profile,
    stage::Stage,
    webpush::{Client, ENCRYPTED, KEPT, Subscribed},
};
use beckon_conformance::parts::{BATCH_SIZE, stored};
use beckon_testbed::plan::{Plan, Shape};
use serde_json::json;
use std::collections::BTreeSet;

on_both_shapes![
    a_live_message_does_not_wait_for_the_backlog,
    a_backlog_passes_over_what_can_wait,
    a_client_that_does_not_read_misses_nothing,
];

async fn a_live_message_does_not_wait_for_the_backlog(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    let Subscribed { client, uaid, channel, endpoint } = stage.subscribed().await;
    client.leave().await;
    let ids = stored(&stage, &endpoint, BATCH_SIZE + 2).await;
    let mut client = stage.resumed(&uaid).await;
    client.expect_ids(&channel, &ids[..BATCH_SIZE]).await;
    let live = stage.message(&endpoint, "live").await;
    client.expect_message(&channel, &live, "live").await;
    // It belongs to no batch, and does not come twice.
    client.ack_all(&channel, &ids[..BATCH_SIZE]).await;
    client.expect_ids(&channel, &ids[BATCH_SIZE..]).await;
    client.ack_all(&channel, &ids[BATCH_SIZE..]).await;
    client.settle(&channel).await;
    client.expect_nothing().await;
    let mut client: Client = stage.resumed(&uaid).await;
    client.expect_message(&channel, &live, "live").await;
    client.expect_nothing().await;
}

async fn a_backlog_passes_over_what_can_wait(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    let Subscribed { client, uaid, channel, endpoint } = stage.subscribed().await;
    client.leave().await;
    let first = stored(&stage, &endpoint, BATCH_SIZE).await;
    let (mut low, mut high) = (Vec::new(), Vec::new());
    for _ in 0..BATCH_SIZE {
        low.push(stage.accepted(&endpoint, &[KEPT, ENCRYPTED, ("urgency", "low")], "x").await);
        high.push(stage.accepted(&endpoint, &[KEPT, ENCRYPTED, ("urgency", "high")], "x").await);
    }
    let mut client = stage.resumed(&uaid).await;
    client.expect_ids(&channel, &first).await;
    let granted = json!({"messageType": "urgency", "status": 200});
    assert_eq!(client.ask(&json!({"messageType": "urgency", "min": "normal"})).await, granted);
    client.ack_all(&channel, &first).await;
    let mut missing: BTreeSet<_> = high.into_iter().collect();
    expect_each_once(&mut client, &channel, &mut missing).await;
    client.settle(&channel).await;
    client.expect_nothing().await;
    assert_eq!(client.ask(&json!({"messageType": "urgency", "min": "low"})).await, granted);
    let mut missing: BTreeSet<_> = low.into_iter().collect();
    expect_each_once(&mut client, &channel, &mut missing).await;
    client.settle(&channel).await;
    client.expect_nothing().await;
    stage.resumed(&uaid).await.expect_nothing().await;
}

/// Receives and acknowledges all of these, in any order and no other.
async fn expect_each_once(client: &mut Client, channel: &str, missing: &mut BTreeSet<String>) {
    while !missing.is_empty() {
        let message = client.notification().await;
        let id = message["version"].as_str().unwrap();
        assert!(missing.remove(id), "{message}");
        client.ack(channel, id).await;
    }
}

async fn a_client_that_does_not_read_misses_nothing(shape: Shape) {
    // More than the buffers of both ends take.
    const MESSAGES: usize = 800;
    let stage = Stage::own(Plan::new(shape).http("BECKON_MSG_LIMIT", "2000"));
    let Subscribed { mut client, uaid, channel, endpoint } = stage.subscribed().await;
    let body = "x".repeat(5600);
    let mut missing = BTreeSet::new();
    for _ in 0..MESSAGES {
        missing.insert(stage.message(&endpoint, &body).await);
    }
    assert!(any_busy(&stage).await, "the buffers took {MESSAGES} messages");
    // On the same socket, without a hello.
    expect_each_once(&mut client, &channel, &mut missing).await;
    client.settle(&channel).await;
    client.expect_nothing().await;
    stage.resumed(&uaid).await.expect_nothing().await;
}

/// Whether a node has refused a message because of a slow client.
async fn any_busy(stage: &Stage) -> bool {
    for node in stage.connection_nodes() {
        let metrics = stage.get(&format!("http://{}/metrics", node.addresses().admin)).await;
        if String::from_utf8_lossy(metrics.body()).contains(r#"{kind="message",receipt="busy"}"#) {
            return true;
        }
    }
    false
}
