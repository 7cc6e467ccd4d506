//! WP-38 and WP-39: pings, frames, and messages that are none.

use beckon_client::raw::Frame;
use beckon_cluster_tests::{shared::Profile, stage::Stage, talk::new_channel, webpush::Subscribed};
use beckon_testbed::{
    PATIENCE,
    plan::{Plan, Shape},
    process::Signal,
};
use serde_json::{Value, json};
use std::time::Duration;

on_both_shapes![
    wp_38_a_second_ping_too_soon_is_closed_with_4774,
    wp_39_what_is_not_understood_is_closed,
    purge_is_answered_in_web_push_too,
    a_graceful_shutdown_keeps_messages,
];

async fn wp_38_a_second_ping_too_soon_is_closed_with_4774(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    for second in [json!({}), json!({"messageType": "PiNg", "x": [1]})] {
        let mut client = stage.connect_webpush().await;
        client.hello().await;
        assert_eq!(client.ask(&json!({})).await, json!({}));
        client.send(&second).await;
        client.expect_close(4774).await;
    }
    // Ping frames of WebSocket are another thing.
    let mut client = stage.connect_webpush().await;
    client.hello().await;
    for _ in 0..10 {
        client.socket().send_ping("x").await.unwrap();
        assert_eq!(client.socket().receive_within(PATIENCE).await.unwrap(), Frame::Pong("x".into()));
    }
    assert_eq!(client.ask(&json!({"messageType": "ping"})).await, json!({}));
    // And not so soon, it is fine.
    let stage = Stage::shared(shape, Profile::ShortTimes);
    let mut client = stage.connect_webpush().await;
    client.hello().await;
    for _ in 0..3 {
        assert_eq!(client.ask(&json!({})).await, json!({}));
        client.expect_nothing_for(Duration::from_millis(1200)).await;
    }
}

async fn wp_39_what_is_not_understood_is_closed(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    for binary in [r#"{"messageType":"purge"}"#, "{}", "x"] {
        let mut client = stage.connect_webpush().await;
        client.hello().await;
        // An empty one is ignored.
        client.socket().send_binary("").await.unwrap();
        client.expect_nothing().await;
        client.socket().send_binary(binary).await.unwrap();
        client.expect_close(1003).await;
    }
    // The dialect is not known before hello.
    let mut client = stage.connect_webpush().await;
    client.socket().send_binary(r#"{"messageType":"hello","use_webpush":true}"#).await.unwrap();
    assert_eq!(client.receive().await["status"], 200);
    let requests = [json!(123), Value::Null, json!(""), json!("nonsense"), json!(" ping"), json!(["ack"])]
        .map(|message_type| json!({"messageType": message_type, "uaid": "x", "list": [1, null, {"a": 1.5}]}));
    for request in requests.into_iter().chain([json!({"channelIDs": []})]) {
        let mut client = stage.connect_webpush().await;
        client.hello().await;
        client.expect_401(&request).await;
    }
    for text in [r#"{"messageType":"#, "[]", r#""x""#, "1", " "] {
        let mut client = stage.connect_webpush().await;
        client.hello().await;
        client.send_text(text).await;
        client.expect_close(1007).await;
    }
    let mut client = stage.connect_webpush().await;
    client.hello().await;
    client.send(&json!({"messageType": "purge", "x": "y".repeat(256 * 1024)})).await;
    client.expect_close(1009).await;
}

async fn purge_is_answered_in_web_push_too(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    let Subscribed { mut client, channel, endpoint, .. } = stage.subscribed().await;
    for purge in [json!({"messageType": "purge"}), json!({"messageType": "PURGE", "x": [1]})] {
        for _ in 0..20 {
            assert_eq!(client.ask(&purge).await, json!({}));
        }
    }
    let id = stage.message(&endpoint, "x").await;
    client.expect_message(&channel, &id, "x").await;
}

async fn a_graceful_shutdown_keeps_messages(shape: Shape) {
    let stage = Stage::own(Plan::new(shape));
    let Subscribed { mut client, uaid, channel, endpoint } = stage.subscribed().await;
    let second = new_channel();
    let second_endpoint = client.register(&second).await;
    let mut ids = vec![stage.message(&endpoint, "0").await];
    client.expect_message(&channel, &ids[0], "0").await;
    for node in stage.connection_nodes() {
        node.signal(Signal::TERM);
    }
    client.expect_close(1001).await;
    for node in stage.connection_nodes() {
        assert_eq!(node.wait().code(), Some(0), "{}", node.log());
    }
    if shape == Shape::Cluster {
        ids.push(stage.message(&endpoint, "1").await);
    }
    for node in stage.connection_nodes() {
        node.start();
    }
    let mut client = stage.resumed(&uaid).await;
    client.expect_ids(&channel, &ids).await;
    client.expect_nothing().await;
    assert_eq!(client.register(&second).await, second_endpoint);
}
