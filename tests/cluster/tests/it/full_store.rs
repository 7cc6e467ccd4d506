//! A store that fills up: what is new is refused first, and known clients go on.

use beckon_cluster_tests::{
    bare::{self, BareSocket},
    stage::{Registered, Stage},
    talk::new_channel,
    webpush::{KEPT, Subscribed},
};
use beckon_testbed::{PATIENCE, node::Node, plan::Plan, redis::RedisServer, until};
use serde_json::json;

/// How full the store is, as a node has last heard.
async fn fullness(stage: &Stage, node: &Node) -> f64 {
    let url = format!("http://{}/metrics", node.addresses().admin);
    let text = stage.get(&url).await.into_body();
    let text = str::from_utf8(&text).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("beckon_store_fullness "));
    line.unwrap().parse().unwrap()
}

/// Makes Redis so full, in percent, and waits until the nodes have noticed.
async fn fill(stage: &Stage, redis: &RedisServer, percent: u64) {
    let used: u64 = redis.info("used_memory").trim().parse().unwrap();
    redis.command(&["CONFIG", "SET", "maxmemory", &(used * 100 / percent).to_string()]);
    for node in stage.nodes() {
        until(&format!("{} has noticed", node.name()), async || {
            let fullness = fullness(stage, node).await;
            ((fullness * 100.0 - percent as f64).abs() < 4.0).then_some(())
        })
        .await;
    }
}

/// How a socket of a new client is closed.
async fn first_hello(stage: &Stage) -> Option<u16> {
    let ws = stage.next_connection_node().addresses().ws.unwrap();
    let mut socket = BareSocket::connect(ws).await;
    socket.send(bare::TEXT, br#"{"messageType":"hello","use_webpush":true}"#).await;
    socket.receive_within(PATIENCE).await.unwrap().close_code()
}

#[tokio::test]
async fn a_store_that_fills_up_refuses_what_is_new_first() {
    let redis = RedisServer::start();
    let plan = Plan::cluster(1, 1).store(redis.url()).all("BECKON_STORE_MEMORY_HIGH", "0.6");
    let stage = Stage::own(plan);
    let Registered { mut client, uaid, channel, endpoint } = stage.registered().await;
    let Subscribed { client: mut browser, channel: subscribed, endpoint: push, .. } =
        stage.subscribed().await;
    let low = [KEPT, ("urgency", "low")];
    let post = async |headers: &[(&str, &str)]| stage.post(&push, headers, "").await.status().as_u16();
    fill(&stage, &redis, 50).await;
    assert_eq!(first_hello(&stage).await, None);

    // From 60 %: no new clients.
    fill(&stage, &redis, 66).await;
    assert_eq!(first_hello(&stage).await, Some(1011));
    client.register(&new_channel()).await;

    // From 73 %: no new channels either.
    fill(&stage, &redis, 80).await;
    let refused = json!({"messageType": "register", "channelID": new_channel()});
    client.expect_error(&refused, 500, "Internal Error").await;
    assert_eq!(post(&low).await, 201);
    browser.notification().await;

    // From 87 %: no messages of low urgency either.
    fill(&stage, &redis, 94).await;
    assert_eq!(post(&low).await, 503);
    assert_eq!(post(&[("ttl", "0"), ("urgency", "low")]).await, 201, "it is not stored");
    browser.notification().await;
    assert_eq!(post(&[KEPT]).await, 201);
    let message = browser.notification().await;
    assert_eq!(message["channelID"], subscribed.as_str());
    // Known clients come back, receive and acknowledge.
    assert_eq!(first_hello(&stage).await, Some(1011));
    client.leave().await;
    assert_eq!(stage.put(&endpoint, 7).await, 202);
    let mut again = stage.connect().await;
    again.resume(&uaid, &[&channel]).await;
    again.expect_update(&channel, 7).await;
    again.ack(&channel, 7).await;

    // One that does not answer is not empty.
    redis.pause();
    for node in stage.nodes() {
        until("it is logged", async || node.log().contains("counts as full as before").then_some(())).await;
        let fullness = fullness(&stage, node).await;
        assert!(fullness > 0.9, "{}: {fullness}", node.name());
    }
    redis.resume();

    fill(&stage, &redis, 50).await;
    assert_eq!(first_hello(&stage).await, None);
    assert_eq!(post(&low).await, 201);
}
