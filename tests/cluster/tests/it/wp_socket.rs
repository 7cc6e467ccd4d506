//! WP-38 and WP-39: pings, frames, and messages that are none.

use beckon_cluster_tests::{shared::Profile, stage::Stage, talk::new_channel, webpush::Subscribed};
use beckon_testbed::{
    plan::{Plan, Shape},
    process::Signal,
};
use serde_json::json;

on_both_shapes![purge_is_answered_in_web_push_too, a_graceful_shutdown_keeps_messages,];

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
