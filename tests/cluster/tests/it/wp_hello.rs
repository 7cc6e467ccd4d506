//! WP-1 to WP-7: hello in the Web Push dialect.

use beckon_cluster_tests::{
    shared::Profile,
    stage::Stage,
    talk::new_channel,
    webpush::{Client, Subscribed},
};
use beckon_conformance::parts::expect_refused_hello;
use beckon_testbed::{
    plan::{Plan, Shape},
    redis::{Options, RedisServer},
    until,
};
use serde_json::json;

on_both_shapes![
    wp_7_an_error_reply_to_a_hello_has_no_uaid,
    a_newer_socket_replaces_the_older,
    a_node_without_room_sends_no_browser_away,
];

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
    let mut client = Client::from(Stage::client_of(node).await);
    client.hello().await;
    client.register(&new_channel()).await;
}
