//! SP-46 to SP-49: acknowledgements.

use crate::{
    server::{Registered, Server},
    talk::{Client, new_channel, update},
};
use serde_json::{Value, json};
use std::time::Duration;

/// What is pending, as a repeated hello tells: the store answers it after every ack before it.
pub(crate) async fn pending(client: &mut Client, uaid: &str) -> Vec<Value> {
    client.resume(uaid, &[]).await;
    client.send_text(r#"{"messageType":"purge"}"#).await;
    let message = client.receive().await;
    if message == json!({}) {
        return Vec::new();
    }
    assert_eq!(client.receive_text().await, "{}");
    message["updates"].as_array().unwrap().clone()
}

pub(crate) async fn sp_46_an_acknowledged_update_does_not_come_again(server: Server) {
    let Registered { mut client, uaid, channel, endpoint } = server.registered().await;
    assert_eq!(server.put(&endpoint, 7).await, 200);
    client.expect_update(&channel, 7).await;
    client.ack(&channel, 7).await;
    assert_eq!(pending(&mut client, &uaid).await, Vec::<Value>::new());
    client.leave().await;
    let mut client = server.connect().await;
    client.resume(&uaid, &[&channel]).await;
    client.expect_nothing().await;
    // The next update is not mistaken for the one acknowledged, even if it is the same number.
    assert_eq!(server.put(&endpoint, 7).await, 200);
    client.expect_update(&channel, 7).await;
}

pub(crate) async fn sp_46_an_acknowledged_update_is_not_sent_again_by_timer(server: Server) {
    let interval = server.times().sp_retry_interval;
    let Registered { client, uaid, channel, endpoint } = server.registered().await;
    let mut client = client.with_patience(server.patience() + interval);
    assert_eq!(server.put(&endpoint, 7).await, 200);
    client.expect_update(&channel, 7).await;
    client.ack(&channel, 7).await;
    client.expect_nothing_for(interval * 3).await;
    assert_eq!(pending(&mut client, &uaid).await, Vec::<Value>::new());
    // The next update is sent again, even if it is the same number.
    assert_eq!(server.put(&endpoint, 7).await, 200);
    client.expect_update(&channel, 7).await;
    client.expect_update(&channel, 7).await;
}

pub(crate) async fn sp_47_only_the_pending_version_is_acknowledged(server: Server) {
    const LARGE: u64 = 9_007_199_254_740_993;
    let Registered { mut client, uaid, channel, endpoint } = server.registered().await;
    let plain = channel.replace('-', "").to_uppercase();
    for (version, ack, acknowledged) in [
        (7, json!({"updates": [update(&channel, 6)]}), false),
        (7, json!({"updates": [update(&channel, 8)]}), false),
        (7, json!({"updates": [update(&new_channel(), 7)]}), false),
        (7, json!({"updates": [update("not-a-uuid", 7)]}), false),
        (7, json!({"updates": [{"channelID": channel, "version": 7.5}]}), false),
        (7, json!({"updates": [{"channelID": channel, "version": -7}]}), false),
        (7, json!({"expired": [new_channel()]}), false),
        (7, json!({"updates": [update(&channel, 7)]}), true),
        (8, json!({"updates": [{"channelID": channel, "version": 8.0}]}), true),
        (9, json!({"updates": [{"channelID": channel, "version": 9, "data": "x"}], "x": 1}), true),
        (10, json!({"updates": [update(&plain, 10)]}), true),
        (11, json!({"updates": [{"channelID": channel}]}), true),
        (
            12,
            json!({"updates": [update(&channel, 11), update(&channel, 12), update(&new_channel(), 1)]}),
            true,
        ),
        (13, json!({"expired": [channel]}), true),
        (14, json!({"updates": [], "expired": [channel]}), true),
        // User agents round like JavaScript.
        (LARGE, json!({"updates": [update(&channel, LARGE - 1)]}), true),
        (LARGE, json!({"updates": [update(&channel, LARGE + 3)]}), false),
    ] {
        assert_eq!(server.put(&endpoint, version).await, 200);
        client.expect_update(&channel, version).await;
        let mut message = ack.clone();
        message["messageType"] = json!("ack");
        client.send(&message).await;
        let left = if acknowledged { vec![] } else { vec![update(&channel, version)] };
        assert_eq!(pending(&mut client, &uaid).await, left, "{ack}");
    }
    // An ack of what has been replaced meanwhile.
    assert_eq!(server.put(&endpoint, 20).await, 200);
    assert_eq!(server.put(&endpoint, 21).await, 200);
    client.expect_update(&channel, 20).await;
    client.ack(&channel, 20).await;
    client.expect_update(&channel, 21).await;
    assert_eq!(pending(&mut client, &uaid).await, [update(&channel, 21)]);
}

pub(crate) async fn sp_48_an_ack_repeats_nothing(server: Server) {
    let Registered { mut client, uaid, channel, endpoint } = server.registered().await;
    let second = new_channel();
    let second_endpoint = client.register(&second).await;
    assert_eq!(server.put(&endpoint, 1).await, 200);
    client.expect_update(&channel, 1).await;
    assert_eq!(server.put(&second_endpoint, 2).await, 200);
    client.expect_update(&second, 2).await;
    client.ack(&channel, 1).await;
    client.expect_nothing_for(Duration::from_millis(500)).await;
    client.expect_nothing().await;
    assert_eq!(pending(&mut client, &uaid).await, [update(&second, 2)]);
}

pub(crate) async fn sp_49_a_malformed_ack_is_invalid_and_a_good_one_silent(server: Server) {
    let Registered { mut client, channel, .. } = server.registered().await;
    for ack in [
        json!({}),
        json!({"updates": []}),
        json!({"updates": [], "expired": []}),
        json!({"updates": null}),
        json!({"updates": {}}),
        json!({"updates": "x"}),
        json!({"updates": [{"channelID": channel, "version": "7"}]}),
        json!({"updates": [{"channelID": channel, "version": null}]}),
        json!({"updates": [{"channelID": 5, "version": 7}]}),
        json!({"updates": [{"version": 7}]}),
        json!({"updates": [channel]}),
        json!({"updates": [update(&channel, 7), null]}),
        json!({"expired": [5]}),
        json!({"expired": channel}),
    ] {
        let mut other = server.connect().await;
        other.hello().await;
        let mut message = ack;
        message["messageType"] = json!("ack");
        other.expect_401(&message).await;
    }
    for ack in [json!({"updates": [update(&channel, 7)]}), json!({"expired": [channel]})] {
        let mut message = ack;
        message["messageType"] = json!("ack");
        client.send(&message).await;
        client.expect_nothing().await;
    }
}
