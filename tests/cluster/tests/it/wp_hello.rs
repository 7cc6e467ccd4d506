//! WP-1 to WP-7: hello in the Web Push dialect.

use beckon_cluster_tests::{
    shared::Profile,
    stage::{Registered, Stage},
    talk::new_channel,
    webpush::{Client, Subscribed, expect_hello_reply},
};
use beckon_testbed::{
    plan::{Plan, Shape},
    redis::{Options, RedisServer},
    until,
};
use serde_json::{Value, json};

on_both_shapes![
    wp_1_a_hello_reply_has_what_browsers_need,
    wp_2_a_bare_hello_is_web_push,
    wp_3_a_stored_uaid_keeps_its_dialect,
    wp_4_an_unusable_uaid_gets_a_new_one,
    wp_5_channels_in_a_hello_have_no_effect,
    wp_6_a_second_hello_is_an_invalid_command,
    wp_7_an_error_reply_to_a_hello_has_no_uaid,
    a_newer_socket_replaces_the_older,
    a_node_without_room_sends_no_browser_away,
];

fn expect_new_uaid(reply: &Value) -> &str {
    expect_hello_reply(reply);
    let uaid = reply["uaid"].as_str().unwrap();
    let is_new = uaid.len() == 32 && uaid.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    assert!(is_new, "{reply}");
    uaid
}

async fn wp_1_a_hello_reply_has_what_browsers_need(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    let mut seen = Vec::new();
    for request in [
        json!({"messageType": "hello", "use_webpush": true}),
        json!({"messageType": "hello", "use_webpush": true, "uaid": ""}),
        json!({"messageType": "hello", "use_webpush": true, "uaid": null, "broadcasts": null}),
        json!({"messageType": "HELLO", "use_webpush": true, "broadcasts": {}, "wakeup_hostport": {}}),
    ] {
        let reply = stage.connect_webpush().await.ask(&request).await;
        let uaid = expect_new_uaid(&reply).to_owned();
        assert_eq!(reply["broadcasts"], json!({}), "{reply}");
        assert!(!seen.contains(&uaid), "{uaid} twice");
        seen.push(uaid);
    }
}

async fn wp_2_a_bare_hello_is_web_push(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    for request in [
        json!({"messageType": "hello"}),
        json!({"messageType": "hello", "uaid": null}),
        json!({"messageType": "hello", "uaid": ""}),
        json!({"messageType": "hello", "use_webpush": "false"}),
        json!({"messageType": "hello", "channelIDs": null}),
    ] {
        let mut client = stage.connect_webpush().await;
        expect_new_uaid(&client.ask(&request).await);
        assert!(client.register(&new_channel()).await.contains("/wpush/v1/"), "{request}");
    }
}

async fn wp_3_a_stored_uaid_keeps_its_dialect(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    let Subscribed { client, uaid, channel, endpoint } = stage.subscribed().await;
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
        let mut client = stage.connect_webpush().await;
        let reply = client.ask(&request).await;
        expect_hello_reply(&reply);
        assert_eq!(reply["uaid"], request["uaid"], "{request}");
        assert_eq!(client.register(&channel).await, endpoint);
    }
}

async fn wp_4_an_unusable_uaid_gets_a_new_one(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    for uaid in ["!@#", "abc", "0123456789abcdef0123456789abcdef01", &"x".repeat(128_000), &new_channel()] {
        let request = json!({"messageType": "hello", "use_webpush": true, "uaid": uaid});
        let reply = stage.connect_webpush().await.ask(&request).await;
        assert_ne!(expect_new_uaid(&reply), uaid);
    }
    // One of the other dialect stays what it is.
    let Registered { client, uaid, channel, endpoint } = stage.registered().await;
    client.leave().await;
    let request = json!({"messageType": "hello", "use_webpush": true, "uaid": uaid});
    let reply = stage.connect_webpush().await.ask(&request).await;
    assert_ne!(expect_new_uaid(&reply), uaid);
    assert_eq!(stage.put(&endpoint, 7).await, 202);
    let mut client = stage.connect().await;
    client.resume(&uaid, &[&channel]).await;
    client.expect_update(&channel, 7).await;
    // And the other way round.
    let Subscribed { client, uaid, channel, endpoint } = stage.subscribed().await;
    client.leave().await;
    let request = json!({"messageType": "hello", "use_webpush": false, "uaid": uaid, "channelIDs": []});
    let reply = stage.connect().await.ask(&request).await;
    assert_eq!(reply["status"], 200, "{reply}");
    assert_ne!(reply["uaid"], uaid);
    let id = stage.message(&endpoint, "still here").await;
    stage.resumed(&uaid).await.expect_message(&channel, &id, "still here").await;
}

async fn wp_5_channels_in_a_hello_have_no_effect(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    let Subscribed { client, uaid, channel, endpoint } = stage.subscribed().await;
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
        let mut client = stage.connect_webpush().await;
        let reply = client.hello_with(json!({"uaid": uaid, "channelIDs": channels})).await;
        assert_eq!(reply["uaid"], uaid, "{channels}");
        assert_eq!(client.register(&channel).await, endpoint, "{channels}");
    }
}

async fn wp_6_a_second_hello_is_an_invalid_command(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    for again in [
        json!({"messageType": "hello", "use_webpush": true}),
        json!({"messageType": "hello", "use_webpush": true, "uaid": new_channel()}),
        json!({"messageType": "hello"}),
        json!({"messageType": "hello", "use_webpush": false, "channelIDs": []}),
    ] {
        let mut client = stage.connect_webpush().await;
        client.hello().await;
        expect_refused_hello(client, &again).await;
    }
    let Subscribed { client, uaid, .. } = stage.subscribed().await;
    let again = json!({"messageType": "hello", "use_webpush": true, "uaid": uaid});
    expect_refused_hello(client, &again).await;
}

/// The error reply is a copy of the request, but for the UAID: a browser would take it for a new one.
async fn expect_refused_hello(mut client: Client, request: &Value) {
    let mut expected = request.clone();
    expected["status"] = json!(401);
    expected["error"] = json!("Invalid Command");
    expected.as_object_mut().unwrap().remove("uaid");
    assert_eq!(client.ask(request).await, expected);
    client.expect_close(1008).await;
}

async fn wp_7_an_error_reply_to_a_hello_has_no_uaid(shape: Shape) {
    let redis_options = Options { appendonly: true, ..Options::default() };
    let mut redis = RedisServer::start_with(redis_options);
    let stage = Stage::own(Plan::new(shape).store(redis.url()));
    for request in [
        json!({"messageType": "hello", "use_webpush": true, "uaid": 5, "x": [1]}),
        json!({"messageType": "hello", "use_webpush": true, "uaid": ["x"]}),
        json!({"messageType": "hello", "uaid": {"x": 1}}),
        json!({"messageType": "hello", "use_webpush": true, "uaid": new_channel(), "broadcasts": []}),
        json!({"messageType": "hello", "use_webpush": true, "uaid": new_channel(), "broadcasts": "x"}),
    ] {
        expect_refused_hello(stage.connect_webpush().await, &request).await;
    }
    let Subscribed { client, uaid, .. } = stage.subscribed().await;
    client.leave().await;
    redis.kill();
    for request in [
        json!({"messageType": "hello", "use_webpush": true, "uaid": uaid}),
        json!({"messageType": "hello", "uaid": uaid}),
        json!({"messageType": "hello", "use_webpush": true}),
    ] {
        let mut client = stage.connect_webpush().await;
        client.send(&request).await;
        client.expect_close(1011).await;
    }
}

async fn a_newer_socket_replaces_the_older(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    let Subscribed { mut client, uaid, channel, endpoint } = stage.subscribed().await;
    let mut unacknowledged = Vec::new();
    for round in 0..4 {
        let id = stage.message(&endpoint, &round.to_string()).await;
        client.expect_message(&channel, &id, &round.to_string()).await;
        unacknowledged.push(id);
        let mut newer = stage.resumed(&uaid).await;
        newer.expect_ids(&channel, &unacknowledged).await;
        client.expect_close(1000).await;
        client = newer;
    }
}

async fn a_node_without_room_sends_no_browser_away(shape: Shape) {
    let plan =
        Plan::new(shape).sockets("BECKON_MAX_CONNECTIONS", "20").sockets("BECKON_REDIRECT_THRESHOLD", "0.1");
    let stage = Stage::own(plan);
    let node = stage.connection_nodes()[0];
    let mut clients = Vec::new();
    // The other dialect is sent away as soon as the node has counted itself above the threshold.
    until("SimplePush is sent away", async || {
        let mut client = Stage::client_of(node).await;
        let reply = client.ask(&json!({"messageType": "hello", "channelIDs": []})).await;
        if reply["status"] == 200 && clients.len() < 10 {
            clients.push(client);
        }
        (reply["status"] != 200).then_some(())
    })
    .await;
    let mut client = Client::connect(&node.ws_url()).await;
    client.hello().await;
    client.register(&new_channel()).await;
}
