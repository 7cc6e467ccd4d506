//! WP-33 to WP-37: what waits for a user agent.

use beckon_cluster_tests::{
    shared::Profile,
    stage::Stage,
    talk::new_channel,
    webpush::{Client, ENCRYPTED, KEPT, KEPT_FOR_A_SECOND, NOT_KEPT, Subscribed, let_a_second_pass},
};
use beckon_testbed::plan::{Plan, Shape};
use serde_json::{Value, json};
use std::collections::BTreeSet;

on_both_shapes![
    wp_33_of_a_topic_only_the_last_message_is_kept,
    wp_34_topics_come_first_and_then_the_oldest,
    wp_35_a_batch_follows_when_the_last_is_acknowledged,
    wp_36_expired_messages_hold_nothing_up,
    wp_37_a_full_backlog_refuses_and_loses_nothing,
    a_live_message_does_not_wait_for_the_backlog,
    a_backlog_passes_over_what_can_wait,
    a_client_that_does_not_read_misses_nothing,
];

/// PROTOCOL.md section 1.10.
const BATCH_SIZE: usize = 10;
const MSG_LIMIT: usize = 150;

/// Messages that each channel may have besides.
const MSG_RESERVE: usize = 8;

/// Stores this many messages and returns their ids.
async fn stored(stage: &Stage, endpoint: &str, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for index in 0..count {
        ids.push(stage.message(endpoint, &index.to_string()).await);
    }
    ids
}

async fn wp_33_of_a_topic_only_the_last_message_is_kept(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    let Subscribed { mut client, uaid, channel, endpoint } = stage.subscribed().await;
    let second = new_channel();
    let second_endpoint = client.register(&second).await;
    client.leave().await;
    let send = async |endpoint: &str, topic: &str, body: &str| {
        stage.accepted(endpoint, &[KEPT, ENCRYPTED, ("topic", topic)], body.to_owned()).await
    };
    let replaced = send(&endpoint, "a", "replaced").await;
    let other_topic = send(&endpoint, "b", "b").await;
    let other_channel = send(&second_endpoint, "a", "other channel").await;
    let last = send(&endpoint, "a", "last").await;
    let mut client = stage.resumed(&uaid).await;
    client.expect_message(&channel, &other_topic, "b").await;
    client.expect_message(&second, &other_channel, "other channel").await;
    client.expect_message(&channel, &last, "last").await;
    client.expect_nothing().await;
    // Acknowledged, the replaced one does not take its successor with it.
    client.ack(&channel, &replaced).await;
    client.ack_all(&channel, &[&other_topic]).await;
    client.ack(&second, &other_channel).await;
    client.settle(&channel).await;
    let mut client = stage.resumed(&uaid).await;
    client.expect_message(&channel, &last, "last").await;
    // What was sent and not acknowledged is replaced too, live as it is.
    let live = send(&endpoint, "a", "live").await;
    client.expect_message(&channel, &live, "live").await;
    let mut client = stage.resumed(&uaid).await;
    client.expect_message(&channel, &live, "live").await;
    client.expect_nothing().await;
    client.ack(&channel, &live).await;
    client.settle(&channel).await;
    stage.resumed(&uaid).await.expect_nothing().await;
}

async fn wp_34_topics_come_first_and_then_the_oldest(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    let Subscribed { client, uaid, channel, endpoint } = stage.subscribed().await;
    client.leave().await;
    let (mut with_topic, mut without) = (Vec::new(), Vec::new());
    for topic in ["z", "a", "m"] {
        without.push(stage.message(&endpoint, "x").await);
        with_topic.push(stage.accepted(&endpoint, &[KEPT, ENCRYPTED, ("topic", topic)], "x").await);
        without.push(stage.message(&endpoint, "x").await);
    }
    // The replacement is as old as it is, not as what it replaces.
    with_topic.remove(0);
    with_topic.push(stage.accepted(&endpoint, &[KEPT, ENCRYPTED, ("topic", "z")], "x").await);
    let mut client = stage.resumed(&uaid).await;
    client.expect_ids(&channel, &with_topic).await;
    client.expect_ids(&channel, &without).await;
    client.expect_nothing().await;
}

async fn wp_35_a_batch_follows_when_the_last_is_acknowledged(shape: Shape) {
    const MESSAGES: usize = 25;
    let stage = Stage::shared(shape, Profile::Defaults);
    let Subscribed { client, uaid, channel, endpoint } = stage.subscribed().await;
    client.leave().await;
    let ids = stored(&stage, &endpoint, MESSAGES).await;
    let batches: Vec<_> = ids.chunks(BATCH_SIZE).collect();
    let mut client = stage.resumed(&uaid).await;
    client.expect_ids(&channel, batches[0]).await;
    client.expect_nothing().await;
    // Out of order, some twice, and all but one.
    client.ack_all(&channel, &batches[0][5..]).await;
    client.ack_all(&channel, &batches[0][1..7]).await;
    client.settle(&channel).await;
    client.expect_nothing().await;
    client.ack(&channel, &batches[0][0]).await;
    client.expect_ids(&channel, batches[1]).await;
    client.settle(&channel).await;
    client.expect_nothing().await;
    client.ack_all(&channel, batches[1]).await;
    client.expect_ids(&channel, batches[2]).await;
    client.ack_all(&channel, batches[2]).await;
    client.settle(&channel).await;
    client.expect_nothing().await;
    stage.resumed(&uaid).await.expect_nothing().await;
    // As many as the setting says.
    let strict = Stage::shared(shape, Profile::Strict);
    let Subscribed { client, uaid, channel, endpoint } = strict.subscribed().await;
    client.leave().await;
    let ids = stored(&strict, &endpoint, 3).await;
    let mut client = strict.resumed(&uaid).await;
    client.expect_ids(&channel, &ids[..2]).await;
    client.expect_nothing().await;
    client.ack_all(&channel, &ids[..2]).await;
    client.expect_ids(&channel, &ids[2..]).await;
}

async fn wp_36_expired_messages_hold_nothing_up(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    let Subscribed { client, uaid, channel, endpoint } = stage.subscribed().await;
    client.leave().await;
    for index in 0..3 * BATCH_SIZE {
        let topic = format!("t{index}");
        let mut headers = vec![KEPT_FOR_A_SECOND, ENCRYPTED];
        if index % 2 == 0 {
            headers.push(("topic", &topic));
        }
        stage.accepted(&endpoint, &headers, "x").await;
    }
    let ids = stored(&stage, &endpoint, BATCH_SIZE + 1).await;
    let_a_second_pass().await;
    let mut client = stage.resumed(&uaid).await;
    client.expect_ids(&channel, &ids[..BATCH_SIZE]).await;
    client.expect_nothing().await;
    client.ack_all(&channel, &ids[..BATCH_SIZE]).await;
    client.expect_ids(&channel, &ids[BATCH_SIZE..]).await;
    client.settle(&channel).await;
    client.expect_nothing().await;
}

async fn wp_37_a_full_backlog_refuses_and_loses_nothing(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    let Subscribed { mut client, uaid, channel, endpoint } = stage.subscribed().await;
    let second = new_channel();
    let second_endpoint = client.register(&second).await;
    client.leave().await;
    let topic = [KEPT, ENCRYPTED, ("topic", "t")];
    stage.accepted(&endpoint, &topic, "replaced").await;
    let mut ids = stored(&stage, &endpoint, MSG_LIMIT - 1 + MSG_RESERVE).await;
    // The other channel has a reserve of its own.
    let others = stored(&stage, &second_endpoint, MSG_RESERVE).await;
    for endpoint in [&endpoint, &second_endpoint] {
        for headers in [&[KEPT, ENCRYPTED][..], &[KEPT], &[KEPT, ENCRYPTED, ("topic", "another")]] {
            let body = if headers.len() == 1 { "" } else { "x" };
            expect_refused(&stage, endpoint, headers, body).await;
        }
    }
    // These take no more room.
    stage.accepted(&endpoint, &[NOT_KEPT, ENCRYPTED], "x").await;
    ids.insert(0, stage.accepted(&endpoint, &topic, "x").await);
    let mut client = stage.resumed(&uaid).await;
    let of_channel =
        |channel: &str, ids: Vec<String>| ids.into_iter().map(|id| (channel.to_owned(), id)).collect();
    let all: [Vec<_>; 2] = [of_channel(&channel, ids), of_channel(&second, others)];
    for batch in all.concat().chunks(BATCH_SIZE) {
        for (channel, id) in batch {
            client.expect_ids(channel, std::slice::from_ref(id)).await;
        }
        for (channel, id) in batch {
            client.ack_all(channel, std::slice::from_ref(id)).await;
        }
    }
    client.settle(&channel).await;
    client.expect_nothing().await;
    // There is room again.
    let id = stage.message(&second_endpoint, "room").await;
    client.expect_message(&second, &id, "room").await;
    assert_eq!(client.register(&channel).await, endpoint);
}

async fn expect_refused(stage: &Stage, endpoint: &str, headers: &[(&str, &str)], body: &'static str) {
    let answer = stage.post(endpoint, headers, body).await;
    assert_eq!(answer.status().as_u16(), 429, "{answer:?}");
    assert_eq!(answer.headers()["retry-after"], "3600", "{answer:?}");
    let error: Value = serde_json::from_slice(answer.body()).unwrap();
    assert_eq!((&error["code"], &error["errno"]), (&429.into(), &Value::Null), "{error}");
}

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
