//! WP-1 to WP-7: hello in the Web Push dialect.

use crate::{
    server::{Registered, Server},
    talk::new_channel,
    webpush::{Client, Subscribed, expect_hello_reply},
};
use serde_json::{Value, json};

pub(crate) fn expect_new_uaid(reply: &Value) -> &str {
    expect_hello_reply(reply);
    let uaid = reply["uaid"].as_str().unwrap();
    let is_new = uaid.len() == 32 && uaid.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    assert!(is_new, "{reply}");
    uaid
}

/// The error reply is a copy of the request, but for the UAID: a browser would take it for a new one.
pub async fn expect_refused_hello(mut client: Client, request: &Value) {
    let mut expected = request.clone();
    expected["status"] = json!(401);
    expected["error"] = json!("Invalid Command");
    expected.as_object_mut().unwrap().remove("uaid");
    assert_eq!(client.ask(request).await, expected);
    client.expect_close(1008).await;
}

pub(crate) async fn wp_1_a_hello_reply_has_what_browsers_need(server: Server) {
    let mut seen = Vec::new();
    for request in [
        json!({"messageType": "hello", "use_webpush": true}),
        json!({"messageType": "hello", "use_webpush": true, "uaid": ""}),
        json!({"messageType": "hello", "use_webpush": true, "uaid": null, "broadcasts": null}),
        json!({"messageType": "HELLO", "use_webpush": true, "broadcasts": {}, "wakeup_hostport": {}}),
    ] {
        let reply = server.connect_webpush().await.ask(&request).await;
        let uaid = expect_new_uaid(&reply).to_owned();
        assert_eq!(reply["broadcasts"], json!({}), "{reply}");
        assert!(!seen.contains(&uaid), "{uaid} twice");
        seen.push(uaid);
    }
}

pub(crate) async fn wp_2_a_bare_hello_is_web_push(server: Server) {
    for request in [
        json!({"messageType": "hello"}),
        json!({"messageType": "hello", "uaid": null}),
        json!({"messageType": "hello", "uaid": ""}),
        json!({"messageType": "hello", "use_webpush": "false"}),
        json!({"messageType": "hello", "channelIDs": null}),
    ] {
        let mut client = server.connect_webpush().await;
        expect_new_uaid(&client.ask(&request).await);
        assert!(client.register(&new_channel()).await.contains("/wpush/v1/"), "{request}");
    }
}

pub(crate) async fn wp_3_a_stored_uaid_keeps_its_dialect(server: Server) {
    let Subscribed { client, uaid, channel, endpoint } = server.subscribed().await;
    client.leave().await;
    let plain = uaid.replace('-', "");
    let hyphens = [&plain[..8], &plain[8..12], &plain[12..16], &plain[16..20], &plain[20..]].join("-");
    for request in [
        json!({"messageType": "hello", "uaid": uaid}),
        json!({"messageType": "hello", "uaid": uaid, "channelIDs": []}),
        json!({"messageType": "hello", "uaid": uaid, "channelIDs": [new_channel()]}),
        json!({"messageType": "hello", "uaid": uaid, "use_webpush": true}),
        json!({"messageType": "hello", "uaid": uaid, "use_webpush": "x"}),
        // Echoed as it was sent.
        json!({"messageType": "hello", "uaid": hyphens.to_uppercase()}),
    ] {
        let mut client = server.connect_webpush().await;
        let reply = client.ask(&request).await;
        expect_hello_reply(&reply);
        assert_eq!(reply["uaid"], request["uaid"], "{request}");
        assert_eq!(client.register(&channel).await, endpoint);
    }
}

pub(crate) async fn wp_4_an_unusable_uaid_gets_a_new_one(server: Server) {
    for uaid in ["!@#", "abc", "0123456789abcdef0123456789abcdef01", &"x".repeat(128_000), &new_channel()] {
        let request = json!({"messageType": "hello", "use_webpush": true, "uaid": uaid});
        let reply = server.connect_webpush().await.ask(&request).await;
        assert_ne!(expect_new_uaid(&reply), uaid);
    }
    // One of the other dialect stays what it is.
    let Registered { client, uaid, channel, endpoint } = server.registered().await;
    client.leave().await;
    let request = json!({"messageType": "hello", "use_webpush": true, "uaid": uaid});
    let reply = server.connect_webpush().await.ask(&request).await;
    assert_ne!(expect_new_uaid(&reply), uaid);
    assert_eq!(server.put(&endpoint, 7).await, 202);
    let mut client = server.connect().await;
    client.resume(&uaid, &[&channel]).await;
    client.expect_update(&channel, 7).await;
    // And the other way round.
    let Subscribed { client, uaid, channel, endpoint } = server.subscribed().await;
    client.leave().await;
    let request = json!({"messageType": "hello", "use_webpush": false, "uaid": uaid, "channelIDs": []});
    let reply = server.connect().await.ask(&request).await;
    assert_eq!(reply["status"], 200, "{reply}");
    assert_ne!(reply["uaid"], uaid);
    let id = server.message(&endpoint, "still here").await;
    server.resumed(&uaid).await.expect_message(&channel, &id, "still here").await;
}

pub(crate) async fn wp_5_channels_in_a_hello_have_no_effect(server: Server) {
    let Subscribed { client, uaid, channel, endpoint } = server.subscribed().await;
    client.leave().await;
    for channels in [
        json!([]),
        json!([channel]),
        json!([new_channel()]),
        json!([1, null, {}]),
        json!("x"),
        json!({"a": 1}),
        json!(null),
        json!(5),
    ] {
        let mut client = server.connect_webpush().await;
        let reply = client.hello_with(json!({"uaid": uaid, "channelIDs": channels})).await;
        assert_eq!(reply["uaid"], uaid, "{channels}");
        assert_eq!(client.register(&channel).await, endpoint, "{channels}");
    }
}

pub(crate) async fn wp_6_a_second_hello_is_an_invalid_command(server: Server) {
    for again in [
        json!({"messageType": "hello", "use_webpush": true}),
        json!({"messageType": "hello", "use_webpush": true, "uaid": new_channel()}),
        json!({"messageType": "hello"}),
        json!({"messageType": "hello", "use_webpush": false, "channelIDs": []}),
    ] {
        let mut client = server.connect_webpush().await;
        client.hello().await;
        expect_refused_hello(client, &again).await;
    }
    let Subscribed { client, uaid, .. } = server.subscribed().await;
    let again = json!({"messageType": "hello", "use_webpush": true, "uaid": uaid});
    expect_refused_hello(client, &again).await;
}
