//! WP-28, WP-29 and WP-40: what a user agent says of messages.

use beckon_cluster_tests::{shared::Profile, stage::Stage, talk::new_channel, webpush::Subscribed};
use beckon_testbed::plan::Shape;
use serde_json::json;

on_both_shapes![an_ack_that_is_none_is_an_invalid_command, nobody_can_acknowledge_for_another,];

async fn an_ack_that_is_none_is_an_invalid_command(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    let channel = new_channel();
    for updates in [
        json!(null),
        json!({}),
        json!("x"),
        json!([1]),
        json!([{}]),
        json!([{"channelID": channel}]),
        json!([{"version": "x"}]),
        json!([{"channelID": channel, "version": 1}]),
        json!([{"channelID": 1, "version": "x"}]),
        json!([{"channelID": channel, "version": "x"}, null]),
    ] {
        let mut client = stage.connect_webpush().await;
        client.hello().await;
        client.expect_401(&json!({"messageType": "ack", "updates": updates})).await;
    }
    let mut client = stage.connect_webpush().await;
    client.hello().await;
    client.expect_401(&json!({"messageType": "ack"})).await;
}

async fn nobody_can_acknowledge_for_another(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    let Subscribed { client, uaid, channel, endpoint } = stage.subscribed().await;
    client.leave().await;
    let id = stage.message(&endpoint, "x").await;
    let mut other = stage.subscribed().await;
    other.client.register(&channel).await;
    other.client.ack(&channel, &id).await;
    other.client.settle(&channel).await;
    stage.resumed(&uaid).await.expect_message(&channel, &id, "x").await;
}
