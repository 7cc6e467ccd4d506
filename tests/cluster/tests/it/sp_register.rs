//! SP-31 to SP-40: register and unregister.

use beckon_cluster_tests::{
    shared::Profile,
    stage::{Registered, Stage},
    talk::{new_channel, update},
};
use beckon_testbed::plan::Shape;
use serde_json::json;
use std::time::Duration;

on_both_shapes![
    sp_31_commands_before_hello_are_invalid,
    sp_32_a_register_gets_an_endpoint,
    sp_33_registering_again_changes_nothing,
    sp_34_a_register_without_a_uuid_is_invalid,
    sp_35_a_register_ignores_other_members,
    sp_36_the_same_channel_of_two_clients_is_two_channels,
    sp_37_a_channel_too_many_is_an_internal_error,
    sp_38_an_unregister_of_anything_succeeds,
    sp_39_an_unregister_without_a_channel_is_invalid,
    sp_40_nothing_is_delivered_after_an_unregister,
];

async fn sp_31_commands_before_hello_are_invalid(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    for request in [
        json!({"messageType": "register", "channelID": new_channel(), "x": 1}),
        json!({"messageType": "unregister", "channelID": new_channel(), "x": 1}),
        json!({"messageType": "ack", "updates": [update(&new_channel(), 1)], "x": 1}),
    ] {
        stage.connect().await.expect_401(&request).await;
        // A ping is no hello.
        let mut client = stage.connect().await;
        assert_eq!(client.ask(&json!({})).await, json!({}));
        client.expect_401(&request).await;
    }
}

async fn sp_32_a_register_gets_an_endpoint(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    let mut client = stage.connect().await;
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
        assert!(origin.starts_with("http://127.0.0.1:"), "{endpoint}");
        assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_=".contains(&byte)), "{token}");
        assert!(endpoint.len() <= 1000, "{endpoint}");
        for secret in [&uaid, &channel.replace('-', "")] {
            assert!(!endpoint.to_lowercase().contains(&secret.to_lowercase()), "{endpoint} tells {secret}");
        }
    }
}

async fn sp_33_registering_again_changes_nothing(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    let Registered { mut client, uaid, channel, endpoint } = stage.registered().await;
    assert_eq!(client.register(&channel).await, endpoint);
    client.leave().await;
    assert_eq!(stage.put(&endpoint, 5).await, 202);
    let mut client = stage.connect().await;
    client.resume(&uaid, &[]).await;
    client.expect_update(&channel, 5).await;
    assert_eq!(client.register(&channel).await, endpoint);
    client.expect_nothing().await;
    // Another spelling is the same channel, and the one to use from now on.
    let plain = channel.replace('-', "").to_uppercase();
    assert_eq!(client.register(&plain).await, endpoint);
    drop(client);
    let mut client = stage.connect().await;
    client.resume(&uaid, &[&channel]).await;
    client.expect_update(&plain, 5).await;
    assert_eq!(stage.put(&endpoint, 6).await, 200);
    client.expect_update(&plain, 6).await;
}

async fn sp_34_a_register_without_a_uuid_is_invalid(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    for channel in [
        json!(""),
        json!("0123456789abcdef0123456789abcdef01"),
        json!("0123456789abcdef0123456789abcdeg"),
        json!(5),
        json!(null),
        json!([new_channel()]),
        json!("x".repeat(30_000)),
    ] {
        let mut client = stage.connect().await;
        client.hello().await;
        client.expect_401(&json!({"messageType": "register", "channelID": channel})).await;
    }
    // The public suite sends keys of this length, with a limit that allows them.
    let mut client = Stage::shared(shape, Profile::Strict).connect().await;
    client.hello().await;
    client.expect_401(&json!({"messageType": "register", "channelID": "x".repeat(128_000)})).await;
    let mut client = stage.connect().await;
    client.hello().await;
    client.expect_401(&json!({"messageType": "register", "channelIDs": [new_channel()]})).await;
    let mut client = stage.connect().await;
    client.hello().await;
    let request = json!({"messageType": "register", "channelID": "", "pushEndpoint": "http://x/"});
    let reply = client.ask(&request).await;
    let expected =
        json!({"messageType": "register", "channelID": "", "status": 401, "error": "Invalid Command"});
    assert_eq!(reply, expected);
    client.expect_close(1008).await;
}

async fn sp_35_a_register_ignores_other_members(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    let mut client = stage.connect().await;
    let uaid = client.hello().await;
    let channel = new_channel();
    let request = json!({
        "messageType": "register", "channelID": channel, "uaid": new_channel(), "key": 5, "status": 500,
        "pushEndpoint": "http://x/", "x": {"y": []},
    });
    let reply = client.ask(&request).await;
    assert_eq!((&reply["status"], &reply["uaid"]), (&json!(200), &json!(uaid)), "{reply}");
    let endpoint = reply["pushEndpoint"].as_str().unwrap();
    assert_eq!(stage.put(endpoint, 1).await, 200);
    client.expect_update(&channel, 1).await;
}

async fn sp_36_the_same_channel_of_two_clients_is_two_channels(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    let Registered { client: mut first, channel, endpoint: first_endpoint, .. } = stage.registered().await;
    let mut second = stage.connect().await;
    second.hello().await;
    let second_endpoint = second.register(&channel).await;
    assert_ne!(first_endpoint, second_endpoint);
    assert_eq!(stage.put(&first_endpoint, 1).await, 200);
    assert_eq!(stage.put(&second_endpoint, 2).await, 200);
    first.expect_update(&channel, 1).await;
    second.expect_update(&channel, 2).await;
    first.expect_nothing().await;
    second.expect_nothing().await;
}

async fn sp_37_a_channel_too_many_is_an_internal_error(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Strict);
    let Registered { mut client, uaid, channel, endpoint } = stage.registered().await;
    for _ in 1..5 {
        client.register(&new_channel()).await;
    }
    let one_more = json!({"messageType": "register", "channelID": new_channel()});
    client.expect_error(&one_more, 500, "Internal Error").await;
    client.expect_error(&one_more, 500, "Internal Error").await;
    // The socket is as good as before.
    assert_eq!(client.register(&channel).await, endpoint);
    assert_eq!(stage.put(&endpoint, 1).await, 200);
    client.expect_update(&channel, 1).await;
    client.unregister(&channel).await;
    assert_eq!(client.ask(&one_more).await["status"], 200);
    // More channels than there can be cannot all be registered.
    let many: Vec<_> = (0..6).map(|_| new_channel()).collect();
    let listed: Vec<_> = many.iter().map(String::as_str).collect();
    assert_ne!(stage.connect().await.hello_as(&uaid, &listed).await, uaid);
}

async fn sp_38_an_unregister_of_anything_succeeds(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    let Registered { client: mut owner, channel: foreign, endpoint: foreign_endpoint, .. } =
        stage.registered().await;
    let Registered { mut client, channel, endpoint, .. } = stage.registered().await;
    client.unregister(&channel).await;
    assert_eq!(stage.put(&endpoint, 1).await, 410);
    client.unregister(&channel).await;
    client.unregister(&new_channel()).await;
    client.unregister("not-a-uuid").await;
    client.unregister(&foreign).await;
    assert_eq!(stage.put(&foreign_endpoint, 1).await, 200);
    owner.expect_update(&foreign, 1).await;
    client.expect_nothing().await;
}

async fn sp_39_an_unregister_without_a_channel_is_invalid(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    for request in [
        json!({"messageType": "unregister"}),
        json!({"messageType": "unregister", "channelID": ""}),
        json!({"messageType": "unregister", "channelID": 5}),
        json!({"messageType": "unregister", "channelID": null}),
    ] {
        let mut client = stage.connect().await;
        client.hello().await;
        client.expect_401(&request).await;
    }
}

async fn sp_40_nothing_is_delivered_after_an_unregister(shape: Shape) {
    let stage = Stage::shared(shape, Profile::ShortTimes);
    let Registered { mut client, uaid, channel, endpoint } = stage.registered().await;
    assert_eq!(stage.put(&endpoint, 1).await, 200);
    client.expect_update(&channel, 1).await;
    client.unregister(&channel).await;
    // Longer than it takes until an update is sent again.
    client.expect_nothing_for(Duration::from_secs(3)).await;
    assert_eq!(stage.put(&endpoint, 2).await, 410);
    let mut client = stage.connect().await;
    client.resume(&uaid, &[]).await;
    client.expect_nothing().await;
    // Registered again, it is a channel without a past.
    assert_eq!(client.register(&channel).await, endpoint);
    client.resume(&uaid, &[&channel]).await;
    client.expect_nothing().await;
    assert_eq!(stage.put(&endpoint, 3).await, 200);
    client.expect_update(&channel, 3).await;
}
