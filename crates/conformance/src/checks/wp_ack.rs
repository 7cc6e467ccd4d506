//! WP-28, WP-29 and WP-40: what a user agent says of messages.

use crate::{
    server::Server,
    talk::new_channel,
    webpush::{ENCRYPTED, KEPT, NOT_KEPT, Subscribed},
};
use serde_json::{Value, json};

pub(crate) async fn wp_28_an_ack_deletes_the_message_whatever_its_code(server: Server) {
    let Subscribed { mut client, uaid, channel, endpoint } = server.subscribed().await;
    let codes = [json!(100), json!(101), json!(102), json!(7), json!(null)].map(Some);
    for code in codes.into_iter().chain([None]) {
        let id = server.message(&endpoint, "x").await;
        client.expect_message(&channel, &id, "x").await;
        let mut entry = json!({"channelID": channel, "version": id});
        if let Some(code) = code {
            entry["code"] = code;
        }
        client.send(&json!({"messageType": "ack", "updates": [entry]})).await;
        client.settle(&channel).await;
        client = server.resumed(&uaid).await;
        client.expect_nothing().await;
    }
    // What is unknown, or known no more, is ignored, and what stands beside it counts.
    let gone = server.message(&endpoint, "x").await;
    client.expect_message(&channel, &gone, "x").await;
    client.ack(&channel, &gone).await;
    let ids = [server.message(&endpoint, "0").await, server.message(&endpoint, "1").await];
    client.expect_ids(&channel, &ids).await;
    client
        .ack_all(&channel, &["", "x", &gone, "m1.9mXzq0v5T0eQ2sLw", &ids[0], "\u{e9}", &"A".repeat(5000)])
        .await;
    client.ack(&new_channel(), &gone).await;
    client.send(&json!({"messageType": "ack", "updates": []})).await;
    client.expect_nothing().await;
    client.settle(&channel).await;
    let mut client = server.resumed(&uaid).await;
    client.expect_message(&channel, &ids[1], "1").await;
    client.expect_nothing().await;
}

pub(crate) async fn wp_29_a_nack_has_no_effect(server: Server) {
    let Subscribed { mut client, uaid, channel, endpoint } = server.subscribed().await;
    let id = server.message(&endpoint, "x").await;
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
    let mut client = server.resumed(&uaid).await;
    client.expect_message(&channel, &id, "x").await;
    for bad in [json!({"messageType": "nack"}), json!({"messageType": "nack", "version": 5, "code": 301})] {
        let mut client = server.connect_webpush().await;
        client.hello().await;
        client.expect_401(&bad).await;
    }
}

pub(crate) async fn wp_40_urgency_holds_back_what_can_wait(server: Server) {
    let Subscribed { mut client, uaid, channel, endpoint } = server.subscribed().await;
    let ask = |min: &str| json!({"messageType": "urgency", "min": min});
    let granted = json!({"messageType": "urgency", "status": 200});
    let send = async |urgency: &str, ttl| {
        server.accepted(&endpoint, &[ttl, ENCRYPTED, ("urgency", urgency)], urgency.to_owned()).await
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
    let id = server.message(&endpoint, "x").await;
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
    let mut client = server.resumed(&uaid).await;
    client.expect_message(&channel, &very_low, "very-low").await;
    for min in [json!("Normal"), json!("urgent"), json!(""), json!(1), Value::Null] {
        let mut client = server.connect_webpush().await;
        client.hello().await;
        client.expect_401(&json!({"messageType": "urgency", "min": min})).await;
    }
}
