//! WP-28, WP-29 and WP-40: what a user agent says of messages.

use beckon_cluster_tests::{
    shared::Profile,
    stage::Stage,
    talk::new_channel,
    webpush::{ENCRYPTED, KEPT, NOT_KEPT, Subscribed},
};
use beckon_testbed::plan::Shape;
use serde_json::{Value, json};

on_both_shapes![
    wp_28_an_ack_deletes_the_message_whatever_its_code,
    wp_29_a_nack_has_no_effect,
    wp_40_urgency_holds_back_what_can_wait,
    an_ack_that_is_none_is_an_invalid_command,
    nobody_can_acknowledge_for_another,
];

async fn wp_28_an_ack_deletes_the_message_whatever_its_code(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    let Subscribed { mut client, uaid, channel, endpoint } = stage.subscribed().await;
    let codes = [json!(100), json!(101), json!(102), json!(7), json!(null)].map(Some);
    for code in codes.into_iter().chain([None]) {
        let id = stage.message(&endpoint, "x").await;
        client.expect_message(&channel, &id, "x").await;
        let mut entry = json!({"channelID": channel, "version": id});
        if let Some(code) = code {
            entry["code"] = code;
        }
        client.send(&json!({"messageType": "ack", "updates": [entry]})).await;
        client.settle(&channel).await;
        client = stage.resumed(&uaid).await;
        client.expect_nothing().await;
    }
    // What is unknown, or known no more, is ignored, and what stands beside it counts.
    let gone = stage.message(&endpoint, "x").await;
    client.expect_message(&channel, &gone, "x").await;
    client.ack(&channel, &gone).await;
    let ids = [stage.message(&endpoint, "0").await, stage.message(&endpoint, "1").await];
    client.expect_ids(&channel, &ids).await;
    client
        .ack_all(&channel, &["", "x", &gone, "m1.9mXzq0v5T0eQ2sLw", &ids[0], "\u{e9}", &"A".repeat(5000)])
        .await;
    client.ack(&new_channel(), &gone).await;
    client.send(&json!({"messageType": "ack", "updates": []})).await;
    client.expect_nothing().await;
    client.settle(&channel).await;
    let mut client = stage.resumed(&uaid).await;
    client.expect_message(&channel, &ids[1], "1").await;
    client.expect_nothing().await;
}

async fn wp_29_a_nack_has_no_effect(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    let Subscribed { mut client, uaid, channel, endpoint } = stage.subscribed().await;
    let id = stage.message(&endpoint, "x").await;
    client.expect_message(&channel, &id, "x").await;
    for nack in [
        json!({"messageType": "nack", "version": id}),
        json!({"messageType": "nack", "version": id, "code": 301}),
        json!({"messageType": "nack", "version": id, "code": 302, "channelID": channel}),
        json!({"messageType": "nack", "version": id, "code": null}),
        json!({"messageType": "nack", "version": "x", "code": 9999}),
    ] {
        client.send(&nack).await;
        client.expect_nothing().await;
    }
    client.leave().await;
    let mut client = stage.resumed(&uaid).await;
    client.expect_message(&channel, &id, "x").await;
    for bad in [json!({"messageType": "nack"}), json!({"messageType": "nack", "version": 5, "code": 301})] {
        let mut client = stage.connect_webpush().await;
        client.hello().await;
        client.expect_401(&bad).await;
    }
}

async fn wp_40_urgency_holds_back_what_can_wait(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    let Subscribed { mut client, uaid, channel, endpoint } = stage.subscribed().await;
    let ask = |min: &str| json!({"messageType": "urgency", "min": min});
    let granted = json!({"messageType": "urgency", "status": 200});
    let send = async |urgency: &str, ttl| {
        stage.accepted(&endpoint, &[ttl, ENCRYPTED, ("urgency", urgency)], urgency.to_owned()).await
    };
    assert_eq!(client.ask(&ask("normal")).await, granted);
    let low = send("low", KEPT).await;
    send("low", NOT_KEPT).await;
    client.expect_nothing().await;
    // What matters passes by.
    for urgency in ["normal", "high"] {
        let id = send(urgency, KEPT).await;
        client.expect_message(&channel, &id, urgency).await;
        client.ack(&channel, &id).await;
    }
    // Without a word on it, a message is normal.
    let id = stage.message(&endpoint, "x").await;
    client.expect_message(&channel, &id, "x").await;
    client.ack(&channel, &id).await;
    assert_eq!(client.ask(&ask("very-low")).await, granted);
    client.expect_message(&channel, &low, "low").await;
    client.ack(&channel, &low).await;
    client.settle(&channel).await;
    client.expect_nothing().await;
    // A new hello asks for everything.
    assert_eq!(client.ask(&ask("high")).await, granted);
    let very_low = send("very-low", KEPT).await;
    client.expect_nothing().await;
    client.leave().await;
    let mut client = stage.resumed(&uaid).await;
    client.expect_message(&channel, &very_low, "very-low").await;
    for min in [json!("Normal"), json!("urgent"), json!(""), json!(1), Value::Null] {
        let mut client = stage.connect_webpush().await;
        client.hello().await;
        client.expect_401(&json!({"messageType": "urgency", "min": min})).await;
    }
}

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
