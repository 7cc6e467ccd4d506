//! SP-19 to SP-30: hello, and who owns a UAID.

use beckon_client::user_agent::{self, UserAgent};
use beckon_cluster_tests::{
    shared::Profile,
    stage::{Registered, Stage},
    talk::{Client, new_channel, update},
};
use beckon_testbed::{
    PATIENCE,
    plan::{Plan, Shape},
    until,
};
use serde_json::{Value, json};

on_both_shapes![
    sp_19_a_hello_without_a_uaid_gets_a_new_one,
    sp_20_an_unknown_uaid_without_channels_is_adopted,
    sp_21_an_unknown_uaid_with_channels_gets_another,
    sp_22_a_known_uaid_with_its_channels_is_kept,
    sp_23_an_unregistered_channel_resets_the_uaid,
    sp_24_a_malformed_uaid_gets_a_new_one_or_503,
    sp_25_a_hello_with_wrong_types_is_an_invalid_command,
    sp_26_a_second_hello_sends_pending_updates_again,
    sp_27_a_second_hello_with_another_uaid_is_refused,
    sp_28_a_newer_socket_replaces_the_older,
    sp_29_the_end_of_the_replaced_socket_changes_nothing,
    sp_30_a_node_without_room_sends_clients_away,
];

fn is_new_uaid(uaid: &Value) -> bool {
    let uaid = uaid.as_str().unwrap_or_default();
    uaid.len() == 32 && uaid.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

async fn sp_19_a_hello_without_a_uaid_gets_a_new_one(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    let mut seen = Vec::new();
    for request in [
        json!({"messageType": "hello", "uaid": "", "channelIDs": []}),
        json!({"messageType": "hello", "uaid": null, "channelIDs": []}),
        json!({"messageType": "hello", "channelIDs": []}),
        json!({"messageType": "hello", "channelIDs": [], "use_webpush": false}),
        json!({"messageType": "hello", "channelIDs": [], "wakeup_hostport": {"ip": 1}, "mobilenetwork": null}),
    ] {
        let reply = stage.connect().await.ask(&request).await;
        let uaid = reply["uaid"].clone();
        assert!(is_new_uaid(&uaid), "{reply}");
        assert_eq!(reply, json!({"messageType": "hello", "uaid": uaid, "status": 200}));
        assert!(!seen.contains(&uaid), "{uaid} twice");
        seen.push(uaid);
    }
}

async fn sp_20_an_unknown_uaid_without_channels_is_adopted(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    let hyphens = new_channel();
    for uaid in [
        hyphens.clone(),
        new_channel().to_uppercase(),
        new_channel().replace('-', ""),
        hyphens.replace('-', "").to_uppercase(),
    ] {
        let mut client = stage.connect().await;
        client.resume(&uaid, &[]).await;
        client.register(&new_channel()).await;
        stage.connect().await.resume(&uaid, &[]).await;
    }
}

async fn sp_21_an_unknown_uaid_with_channels_gets_another(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    for channel in [new_channel(), "not-a-uuid".to_owned(), String::new()] {
        let uaid = new_channel();
        let other = stage.connect().await.hello_as(&uaid, &[&channel]).await;
        assert!(is_new_uaid(&json!(other)) && other != uaid, "{other}");
    }
}

async fn sp_22_a_known_uaid_with_its_channels_is_kept(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    let Registered { mut client, uaid, channel, endpoint } = stage.registered().await;
    let second = new_channel();
    client.register(&second).await;
    let plain = second.replace('-', "").to_uppercase();
    for listed in [&[&*channel, &*second][..], &[&*channel], &[], &[&*plain, &*channel, &*channel]] {
        let mut client = stage.connect().await;
        client.resume(&uaid, listed).await;
        // A channel that the list lacks is kept.
        assert_eq!(client.register(&channel).await, endpoint);
    }
    // The same identifier, spelled in another way: echoed as it was sent.
    stage.connect().await.resume(&uaid.to_uppercase(), &[&channel]).await;
}

async fn sp_23_an_unregistered_channel_resets_the_uaid(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    for stranger in [new_channel(), "not-a-uuid".to_owned()] {
        let Registered { mut client, uaid, channel, endpoint } = stage.registered().await;
        assert_eq!(stage.put(&endpoint, 1).await, 200);
        client.expect_update(&channel, 1).await;
        let mut second = stage.connect().await;
        let other = second.hello_as(&uaid, &[&channel, &stranger]).await;
        assert!(is_new_uaid(&json!(other)) && other != uaid, "{other}");
        assert_eq!(stage.put(&endpoint, 2).await, 410);
        assert_eq!(stage.put(&endpoint, 3).await, 410);
        second.expect_nothing().await;
        // The socket of the deleted UAID has nothing to stay for.
        client.expect_close(1000).await;
        let mut third = stage.connect().await;
        third.resume(&uaid, &[]).await;
        third.expect_nothing().await;
    }
}

async fn sp_24_a_malformed_uaid_gets_a_new_one_or_503(shape: Shape) {
    let lenient = Stage::shared(shape, Profile::Defaults);
    let strict = Stage::shared(shape, Profile::Strict);
    for uaid in ["!@#", "abc", "0123456789abcdef0123456789abcdef01", &"x".repeat(128_000)] {
        let other = lenient.connect().await.hello_as(uaid, &[]).await;
        assert!(is_new_uaid(&json!(other)), "{other}");
        let mut client = strict.connect().await;
        let request = json!({"messageType": "hello", "uaid": uaid, "channelIDs": []});
        client.expect_error(&request, 503, "Invalid UAID").await;
        client.expect_close(1008).await;
    }
}

async fn sp_25_a_hello_with_wrong_types_is_an_invalid_command(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    for request in [
        json!({"messageType": "hello", "use_webpush": false, "uaid": 5, "channelIDs": []}),
        json!({"messageType": "hello", "use_webpush": false, "uaid": ["x"], "channelIDs": []}),
        json!({"messageType": "hello", "use_webpush": false, "channelIDs": "x"}),
        json!({"messageType": "hello", "use_webpush": false, "channelIDs": {}}),
        json!({"messageType": "hello", "use_webpush": false, "channelIDs": null}),
        json!({"messageType": "hello", "use_webpush": false, "channelIDs": [1]}),
        json!({"messageType": "hello", "use_webpush": false, "channelIDs": [new_channel(), null]}),
        json!({"messageType": "hello", "use_webpush": false}),
        json!({"messageType": "hello", "uaid": 5, "channelIDs": []}),
        json!({"messageType": "hello", "channelIDs": [1]}),
    ] {
        stage.connect().await.expect_401(&request).await;
    }
}

async fn sp_26_a_second_hello_sends_pending_updates_again(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    let Registered { mut client, uaid, channel, endpoint } = stage.registered().await;
    client.resume(&uaid, &[&channel]).await;
    client.expect_nothing().await;
    assert_eq!(stage.put_data(&endpoint, 7, "look").await, 200);
    assert_eq!(client.updates().await, [json!({"channelID": channel, "version": 7, "data": "look"})]);
    for again in [
        json!({"messageType": "hello", "uaid": "", "channelIDs": []}),
        json!({"messageType": "hello", "uaid": null, "channelIDs": [channel]}),
        json!({"messageType": "hello", "channelIDs": []}),
        json!({"messageType": "hello", "uaid": uaid, "channelIDs": [channel]}),
    ] {
        let reply = client.ask(&again).await;
        assert_eq!(reply, json!({"messageType": "hello", "uaid": uaid, "status": 200}));
        client.expect_update(&channel, 7).await;
    }
}

async fn sp_27_a_second_hello_with_another_uaid_is_refused(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    for other in [new_channel(), "!@#".to_owned()] {
        let mut client = stage.connect().await;
        client.hello().await;
        let request = json!({"messageType": "hello", "uaid": other, "channelIDs": []});
        client.expect_error(&request, 503, "UAID Already Assigned").await;
        client.expect_close(1008).await;
    }
}

async fn sp_28_a_newer_socket_replaces_the_older(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    let Registered { mut client, uaid, channel, endpoint } = stage.registered().await;
    // Of a cluster's nodes, the first two newer sockets meet the older on another node, the last on the same.
    let nodes = stage.connection_nodes();
    let last = nodes.len() - 1;
    for (version, node) in [(1, last), (2, 0), (3, 0)] {
        let mut newer = Stage::client_of(nodes[node]).await;
        newer.resume(&uaid, &[&channel]).await;
        client.expect_close(1000).await;
        assert_eq!(stage.put(&endpoint, version).await, 200);
        newer.expect_update(&channel, version).await;
        newer.ack(&channel, version).await;
        // A repeated hello is answered by the store after the ack.
        newer.resume(&uaid, &[]).await;
        newer.expect_nothing().await;
        client = newer;
    }
}

async fn sp_29_the_end_of_the_replaced_socket_changes_nothing(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    let Registered { client: older, uaid, channel, endpoint } = stage.registered().await;
    let mut newer = stage.connect().await;
    newer.resume(&uaid, &[&channel]).await;
    // It may still be open, or be closed already.
    drop(older);
    for version in 1..20 {
        assert_eq!(stage.put_data(&endpoint, version, "x").await, 200);
        assert_eq!(newer.updates().await, [json!({"channelID": channel, "version": version, "data": "x"})]);
    }
    // The same if the older ends in good order.
    let mut newest = stage.connect().await;
    newest.resume(&uaid, &[]).await;
    newest.expect_update(&channel, 19).await;
    newer.expect_close(1000).await;
    drop(newer);
    assert_eq!(stage.put_data(&endpoint, 20, "x").await, 200);
    assert_eq!(newest.updates().await[0]["data"], "x");
}

async fn sp_30_a_node_without_room_sends_clients_away(shape: Shape) {
    let mut plan =
        Plan::new(shape).sockets("BECKON_MAX_CONNECTIONS", "20").sockets("BECKON_REDIRECT_THRESHOLD", "0.25");
    if shape == Shape::Cluster {
        for name in ["c0", "c1"] {
            let url = format!("ws://{}/", plan.node(name).addresses.ws.unwrap());
            plan.node(name).set("BECKON_WS_ADVERTISE", &url);
        }
    }
    let stage = Stage::own(plan);
    let nodes = stage.connection_nodes();
    let Registered { client, uaid, channel, endpoint } = stage.registered().await;
    client.leave().await;
    let mut fillers = fill(&stage, 0).await;
    let hello = json!({"messageType": "hello", "uaid": uaid, "channelIDs": [channel]});
    let hello_at_first = async || {
        let mut client = Stage::client_of(nodes[0]).await;
        let reply = client.ask(&hello).await;
        client.expect_close(1000).await;
        reply
    };
    if shape == Shape::Cluster {
        let expected =
            json!({"messageType": "hello", "uaid": uaid, "status": 307, "redirect": nodes[1].ws_url()});
        // The nodes hear of each other every three seconds.
        let redirected = async || (hello_at_first().await == expected).then_some(());
        until("the first node sends clients to the second", redirected).await;
        // There, it is welcome.
        let mut client = Client::connect(expected["redirect"].as_str().unwrap()).await;
        client.resume(&uaid, &[&channel]).await;
        client.leave().await;
        // A user agent follows by itself.
        let agent = UserAgent::connect(&nodes[0].ws_url(), user_agent::Options::default()).await.unwrap();
        agent.close().await;
        fillers.extend(fill(&stage, 1).await);
    }
    let expected = json!({"messageType": "hello", "uaid": uaid, "status": 429});
    // The other node tells that it is full when it announces itself the next time.
    until("429", async || (hello_at_first().await == expected).then_some(())).await;
    // Nothing was lost by being sent away.
    drop(fillers);
    assert_eq!(stage.put(&endpoint, 1).await, 202);
    until("room again", async || {
        let mut client = Stage::client_of(nodes[0]).await;
        if client.ask(&hello).await["status"] != 200 {
            return None;
        }
        assert_eq!(client.updates().await, [update(&channel, 1)]);
        Some(())
    })
    .await;
}

/// Opens more sockets than a quarter of twenty on one node.
async fn fill(stage: &Stage, node: usize) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(Stage::client_of(stage.connection_nodes()[node]).await);
    }
    // The server counts a socket from its upgrade on: it answers, so it has counted.
    for client in &mut clients {
        client.socket().send_ping("").await.unwrap();
        client.socket().receive_within(PATIENCE).await.unwrap();
    }
    clients
}
