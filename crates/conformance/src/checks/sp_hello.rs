//! SP-19 to SP-30: hello, and who owns a UAID.

use crate::{
    server::{Registered, Server},
    talk::new_channel,
};
use serde_json::{Value, json};

pub(crate) fn is_new_uaid(uaid: &Value) -> bool {
    let uaid = uaid.as_str().unwrap_or_default();
    uaid.len() == 32 && uaid.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

pub(crate) async fn sp_19_a_hello_without_a_uaid_gets_a_new_one(server: Server) {
    let mut seen = Vec::new();
    for request in [
        json!({"messageType": "hello", "uaid": "", "channelIDs": []}),
        json!({"messageType": "hello", "uaid": null, "channelIDs": []}),
        json!({"messageType": "hello", "channelIDs": []}),
        json!({"messageType": "hello", "channelIDs": [], "use_webpush": false}),
        json!({"messageType": "hello", "channelIDs": [], "wakeup_hostport": {"ip": 1}, "mobilenetwork": null}),
    ] {
        let reply = server.connect().await.ask(&request).await;
        let uaid = reply["uaid"].clone();
        assert!(is_new_uaid(&uaid), "{reply}");
        assert_eq!(reply, json!({"messageType": "hello", "uaid": uaid, "status": 200}));
        assert!(!seen.contains(&uaid), "{uaid} twice");
        seen.push(uaid);
    }
}

pub(crate) async fn sp_20_an_unknown_uaid_without_channels_is_adopted(server: Server) {
    let hyphens = new_channel();
    for uaid in [
        hyphens.clone(),
        new_channel().to_uppercase(),
        new_channel().replace('-', ""),
        hyphens.replace('-', "").to_uppercase(),
    ] {
        let mut client = server.connect().await;
        client.resume(&uaid, &[]).await;
        client.register(&new_channel()).await;
        server.connect().await.resume(&uaid, &[]).await;
    }
}

pub(crate) async fn sp_21_an_unknown_uaid_with_channels_gets_another(server: Server) {
    for channel in [new_channel(), "not-a-uuid".to_owned(), String::new()] {
        let uaid = new_channel();
        let other = server.connect().await.hello_as(&uaid, &[&channel]).await;
        assert!(is_new_uaid(&json!(other)) && other != uaid, "{other}");
    }
}

pub(crate) async fn sp_22_a_known_uaid_with_its_channels_is_kept(server: Server) {
    let Registered { mut client, uaid, channel, endpoint } = server.registered().await;
    let second = new_channel();
    client.register(&second).await;
    let plain = second.replace('-', "").to_uppercase();
    for listed in [&[&*channel, &*second][..], &[&*channel], &[], &[&*plain, &*channel, &*channel]] {
        let mut client = server.connect().await;
        client.resume(&uaid, listed).await;
        // A channel that the list lacks is kept.
        assert_eq!(client.register(&channel).await, endpoint);
    }
    // The same identifier, spelled in another way: echoed as it was sent.
    server.connect().await.resume(&uaid.to_uppercase(), &[&channel]).await;
}

pub(crate) async fn sp_23_an_unregistered_channel_resets_the_uaid(server: Server) {
    for stranger in [new_channel(), "not-a-uuid".to_owned()] {
        let Registered { mut client, uaid, channel, endpoint } = server.registered().await;
        assert_eq!(server.put(&endpoint, 1).await, 200);
        client.expect_update(&channel, 1).await;
        let mut second = server.connect().await;
        let other = second.hello_as(&uaid, &[&channel, &stranger]).await;
        assert!(is_new_uaid(&json!(other)) && other != uaid, "{other}");
        assert_eq!(server.put(&endpoint, 2).await, 410);
        assert_eq!(server.put(&endpoint, 3).await, 410);
        second.expect_nothing().await;
        // The socket of the deleted UAID has nothing to stay for.
        client.expect_close(1000).await;
        let mut third = server.connect().await;
        third.resume(&uaid, &[]).await;
        third.expect_nothing().await;
    }
}

pub(crate) async fn sp_24_a_malformed_uaid_gets_a_new_one(server: Server) {
    for uaid in ["!@#", "abc", "0123456789abcdef0123456789abcdef01", &"x".repeat(128_000)] {
        let other = server.connect().await.hello_as(uaid, &[]).await;
        assert!(is_new_uaid(&json!(other)), "{other}");
    }
}

pub(crate) async fn sp_25_a_hello_with_wrong_types_is_an_invalid_command(server: Server) {
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
        server.connect().await.expect_401(&request).await;
    }
}

pub(crate) async fn sp_26_a_second_hello_sends_pending_updates_again(server: Server) {
    let Registered { mut client, uaid, channel, endpoint } = server.registered().await;
    client.resume(&uaid, &[&channel]).await;
    client.expect_nothing().await;
    assert_eq!(server.put_data(&endpoint, 7, "look").await, 200);
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

pub(crate) async fn sp_27_a_second_hello_with_another_uaid_is_refused(server: Server) {
    for other in [new_channel(), "!@#".to_owned()] {
        let mut client = server.connect().await;
        client.hello().await;
        let request = json!({"messageType": "hello", "uaid": other, "channelIDs": []});
        client.expect_error(&request, 503, "UAID Already Assigned").await;
        client.expect_close(1008).await;
    }
}

pub(crate) async fn sp_28_a_newer_socket_replaces_the_older(server: Server) {
    let Registered { mut client, uaid, channel, endpoint } = server.registered().await;
    // Of a cluster's nodes, the first two newer sockets meet the older on another node, the last on the same.
    let nodes = server.ws_urls().to_vec();
    let last = nodes.len() - 1;
    for (version, node) in [(1, last), (2, 0), (3, 0)] {
        let mut newer = server.connect_to(&nodes[node]).await;
        newer.resume(&uaid, &[&channel]).await;
        client.expect_close(1000).await;
        assert_eq!(server.put(&endpoint, version).await, 200);
        newer.expect_update(&channel, version).await;
        newer.ack(&channel, version).await;
        // A repeated hello is answered by the store after the ack.
        newer.resume(&uaid, &[]).await;
        newer.expect_nothing().await;
        client = newer;
    }
}

pub(crate) async fn sp_29_the_end_of_the_replaced_socket_changes_nothing(server: Server) {
    let Registered { client: older, uaid, channel, endpoint } = server.registered().await;
    let mut newer = server.connect().await;
    newer.resume(&uaid, &[&channel]).await;
    // It may still be open, or be closed already.
    drop(older);
    for version in 1..20 {
        assert_eq!(server.put_data(&endpoint, version, "x").await, 200);
        assert_eq!(newer.updates().await, [json!({"channelID": channel, "version": version, "data": "x"})]);
    }
    // The same if the older ends in good order.
    let mut newest = server.connect().await;
    newest.resume(&uaid, &[]).await;
    newest.expect_update(&channel, 19).await;
    newer.expect_close(1000).await;
    drop(newer);
    assert_eq!(server.put_data(&endpoint, 20, "x").await, 200);
    assert_eq!(newest.updates().await[0]["data"], "x");
}
