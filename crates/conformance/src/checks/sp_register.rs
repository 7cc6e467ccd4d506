//! SP-31 to SP-40: register and unregister.

use crate::{
    server::{Registered, Server},
    talk::{new_channel, update},
};
use serde_json::json;

pub(crate) async fn sp_31_commands_before_hello_are_invalid(server: Server) {
    for request in [
        json!({"messageType": "register", "channelID": new_channel(), "x": 1}),
        json!({"messageType": "unregister", "channelID": new_channel(), "x": 1}),
        json!({"messageType": "ack", "updates": [update(&new_channel(), 1)], "x": 1}),
    ] {
        server.connect().await.expect_401(&request).await;
        // A ping is no hello.
        let mut client = server.connect().await;
        assert_eq!(client.ask(&json!({})).await, json!({}));
        client.expect_401(&request).await;
    }
}

pub(crate) async fn sp_32_a_register_gets_an_endpoint(server: Server) {
    let mut client = server.connect().await;
    let uaid = client.hello().await;
    for channel in [new_channel(), new_channel().to_uppercase(), new_channel().replace('-', "")] {
        let reply = client.ask(&json!({"messageType": "register", "channelID": channel})).await;
        let endpoint = reply["pushEndpoint"].as_str().unwrap().to_owned();
        let expected = json!({
            "messageType": "register", "channelID": channel, "status": 200, "uaid": uaid,
            "pushEndpoint": endpoint,
        });
        assert_eq!(reply, expected);
        let (origin, token) = endpoint.split_once("/update/").unwrap();
        assert!(origin.starts_with("http://") || origin.starts_with("https://"), "{endpoint}");
        assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_=".contains(&byte)), "{token}");
        assert!(endpoint.len() <= 1000, "{endpoint}");
        for secret in [&uaid, &channel.replace('-', "")] {
            assert!(!endpoint.to_lowercase().contains(&secret.to_lowercase()), "{endpoint} tells {secret}");
        }
    }
}

pub(crate) async fn sp_33_registering_again_changes_nothing(server: Server) {
    let Registered { mut client, uaid, channel, endpoint } = server.registered().await;
    assert_eq!(client.register(&channel).await, endpoint);
    client.leave().await;
    assert_eq!(server.put(&endpoint, 5).await, 202);
    let mut client = server.connect().await;
    client.resume(&uaid, &[]).await;
    client.expect_update(&channel, 5).await;
    assert_eq!(client.register(&channel).await, endpoint);
    client.expect_nothing().await;
    // Another spelling is the same channel, and the one to use from now on.
    let plain = channel.replace('-', "").to_uppercase();
    assert_eq!(client.register(&plain).await, endpoint);
    drop(client);
    let mut client = server.connect().await;
    client.resume(&uaid, &[&channel]).await;
    client.expect_update(&plain, 5).await;
    assert_eq!(server.put(&endpoint, 6).await, 200);
    client.expect_update(&plain, 6).await;
}

pub(crate) async fn sp_34_a_register_without_a_uuid_is_invalid(server: Server) {
    for channel in [
        json!(""),
        json!("0123456789abcdef0123456789abcdef01"),
        json!("0123456789abcdef0123456789abcdeg"),
        json!(5),
        json!(null),
        json!([new_channel()]),
        json!("x".repeat(30_000)),
    ] {
        let mut client = server.connect().await;
        client.hello().await;
        client.expect_401(&json!({"messageType": "register", "channelID": channel})).await;
    }
    let mut client = server.connect().await;
    client.hello().await;
    client.expect_401(&json!({"messageType": "register", "channelIDs": [new_channel()]})).await;
    let mut client = server.connect().await;
    client.hello().await;
    let request = json!({"messageType": "register", "channelID": "", "pushEndpoint": "http://x/"});
    let reply = client.ask(&request).await;
    let expected =
        json!({"messageType": "register", "channelID": "", "status": 401, "error": "Invalid Command"});
    assert_eq!(reply, expected);
    client.expect_close(1008).await;
}

pub(crate) async fn sp_35_a_register_ignores_other_members(server: Server) {
    let mut client = server.connect().await;
    let uaid = client.hello().await;
    let channel = new_channel();
    let request = json!({
        "messageType": "register", "channelID": channel, "uaid": new_channel(), "key": 5, "status": 500,
        "pushEndpoint": "http://x/", "x": {"y": []},
    });
    let reply = client.ask(&request).await;
    assert_eq!((&reply["status"], &reply["uaid"]), (&json!(200), &json!(uaid)), "{reply}");
    let endpoint = reply["pushEndpoint"].as_str().unwrap();
    assert_eq!(server.put(endpoint, 1).await, 200);
    client.expect_update(&channel, 1).await;
}

pub(crate) async fn sp_36_the_same_channel_of_two_clients_is_two_channels(server: Server) {
    let Registered { client: mut first, channel, endpoint: first_endpoint, .. } = server.registered().await;
    let mut second = server.connect().await;
    second.hello().await;
    let second_endpoint = second.register(&channel).await;
    assert_ne!(first_endpoint, second_endpoint);
    assert_eq!(server.put(&first_endpoint, 1).await, 200);
    assert_eq!(server.put(&second_endpoint, 2).await, 200);
    first.expect_update(&channel, 1).await;
    second.expect_update(&channel, 2).await;
    first.expect_nothing().await;
    second.expect_nothing().await;
}

pub(crate) async fn sp_38_an_unregister_of_anything_succeeds(server: Server) {
    let Registered { client: mut owner, channel: foreign, endpoint: foreign_endpoint, .. } =
        server.registered().await;
    let Registered { mut client, channel, endpoint, .. } = server.registered().await;
    client.unregister(&channel).await;
    assert_eq!(server.put(&endpoint, 1).await, 410);
    client.unregister(&channel).await;
    client.unregister(&new_channel()).await;
    client.unregister("not-a-uuid").await;
    client.unregister(&foreign).await;
    assert_eq!(server.put(&foreign_endpoint, 1).await, 200);
    owner.expect_update(&foreign, 1).await;
    client.expect_nothing().await;
}

pub(crate) async fn sp_39_an_unregister_without_a_channel_is_invalid(server: Server) {
    for request in [
        json!({"messageType": "unregister"}),
        json!({"messageType": "unregister", "channelID": ""}),
        json!({"messageType": "unregister", "channelID": 5}),
        json!({"messageType": "unregister", "channelID": null}),
    ] {
        let mut client = server.connect().await;
        client.hello().await;
        client.expect_401(&request).await;
    }
}

pub(crate) async fn sp_40_nothing_is_delivered_after_an_unregister(server: Server) {
    let Registered { mut client, uaid, channel, endpoint } = server.registered().await;
    assert_eq!(server.put(&endpoint, 1).await, 200);
    client.expect_update(&channel, 1).await;
    client.unregister(&channel).await;
    client.expect_nothing().await;
    assert_eq!(server.put(&endpoint, 2).await, 410);
    let mut client = server.connect().await;
    client.resume(&uaid, &[]).await;
    client.expect_nothing().await;
    // Registered again, it is a channel without a past.
    assert_eq!(client.register(&channel).await, endpoint);
    client.resume(&uaid, &[&channel]).await;
    client.expect_nothing().await;
    assert_eq!(server.put(&endpoint, 3).await, 200);
    client.expect_update(&channel, 3).await;
}

pub(crate) async fn sp_40_an_unregister_ends_what_is_sent_again_by_timer(server: Server) {
    let Registered { mut client, channel, endpoint, .. } = server.registered().await;
    assert_eq!(server.put(&endpoint, 1).await, 200);
    client.expect_update(&channel, 1).await;
    client.unregister(&channel).await;
    client.expect_nothing_for(server.times().sp_retry_interval * 3).await;
}
