//! WP-12 to WP-20: register and unregister.

use crate::{
    server::Server,
    talk::new_channel,
    webpush::{
        ENCRYPTED, KEPT, Subscribed, audience_of, authorization, expect_endpoint, new_signer, notification,
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// PROTOCOL.md section 1.2.
pub(crate) const ENDPOINT_LEN_MAX: usize = 1000;

/// The channel in other spellings of the same identifier.
pub(crate) fn spellings(channel: &str) -> [String; 4] {
    let plain = channel.replace('-', "");
    [channel.to_owned(), channel.to_uppercase(), plain.to_uppercase(), plain]
}

pub(crate) async fn wp_12_a_key_restricts_the_endpoint(server: Server) {
    let mut client = server.connect_webpush().await;
    let uaid = client.hello().await;
    let key = new_signer().public_key().to_owned();
    for (key, path) in [
        (None, "/wpush/v1/"),
        (Some(Value::Null), "/wpush/v1/"),
        (Some(json!(key)), "/wpush/v2/"),
        (Some(json!(format!("{key}="))), "/wpush/v2/"),
    ] {
        let channel = new_channel();
        let mut request = json!({"messageType": "register", "channelID": channel});
        if let Some(key) = key {
            request["key"] = key;
        }
        let endpoint = expect_endpoint(&client.ask(&request).await, &channel);
        let audience = audience_of(&endpoint);
        assert!(endpoint.starts_with(&format!("{audience}{path}")), "{endpoint}");
        assert!(endpoint.len() <= ENDPOINT_LEN_MAX && !endpoint.contains(&uaid), "{endpoint}");
    }
}

pub(crate) async fn wp_13_a_key_is_the_same_in_each_spelling(server: Server) {
    let mut client = server.connect_webpush().await;
    client.hello().await;
    let channel = new_channel();
    // One that differs in the two alphabets.
    let mut signer = new_signer();
    while !(signer.public_key().contains('-') && signer.public_key().contains('_')) {
        signer = new_signer();
    }
    let key = signer.public_key();
    let standard = key.replace('-', "+").replace('_', "/");
    let endpoint = client.register_for(&channel, key).await;
    for spelling in [&format!("{key}="), &*standard, &format!("{standard}=")] {
        assert_eq!(client.register_for(&channel, spelling).await, endpoint, "{spelling}");
    }
    let credential = authorization(&signer, &endpoint);
    let headers = [KEPT, ENCRYPTED, ("authorization", &*credential)];
    let id = server.accepted(&endpoint, &headers, "x").await;
    client.expect_message(&channel, &id, "x").await;
}

pub(crate) async fn wp_14_an_unusable_key_is_refused(server: Server) {
    let Subscribed { mut client, channel, endpoint, .. } = server.subscribed().await;
    let key = new_signer().public_key().to_owned();
    let off_the_curve = URL_SAFE_NO_PAD.encode([4; 65]);
    let compressed = URL_SAFE_NO_PAD.encode([2; 33]);
    let wrong_form = format!("A{}", &key[1..]);
    for bad in [
        json!(""),
        json!("="),
        json!("!!!"),
        json!(key[1..]),
        json!(format!("{key}AA")),
        json!(format!("*{}", &key[1..])),
        json!(off_the_curve),
        json!(compressed),
        json!(wrong_form),
        json!(5),
        json!([key]),
        json!({}),
        json!(true),
        json!("x".repeat(30_000)),
    ] {
        let request = json!({"messageType": "register", "channelID": channel, "key": bad});
        client.expect_error(&request, 400, "Invalid Key").await;
    }
    // A copied endpoint would be taken for a working one.
    let request =
        json!({"messageType": "register", "channelID": channel, "key": "", "pushEndpoint": "http://x/"});
    let reply = client.ask(&request).await;
    assert_eq!((&reply["status"], reply.get("pushEndpoint")), (&json!(400), None), "{reply}");
    // Nothing has changed.
    let id = server.message(&endpoint, "x").await;
    client.expect_message(&channel, &id, "x").await;
    assert_eq!(client.register(&channel).await, endpoint);
}

pub(crate) async fn wp_15_another_key_supersedes_the_endpoint(server: Server) {
    let mut client = server.connect_webpush().await;
    client.hello().await;
    let channel = new_channel();
    let (first, second) = (new_signer(), new_signer());
    let registers = [None, Some(&first), Some(&second), Some(&first), None, Some(&second)];
    let mut endpoints: BTreeMap<Option<&str>, String> = BTreeMap::new();
    for signer in registers {
        let key = signer.map(beckon_client::vapid::Signer::public_key);
        let endpoint = match key {
            None => client.register(&channel).await,
            Some(key) => client.register_for(&channel, key).await,
        };
        let again = match key {
            None => client.register(&channel).await,
            Some(key) => client.register_for(&channel, key).await,
        };
        assert_eq!(endpoint, again);
        // Going back to a former key gives that key's endpoint.
        assert_eq!(endpoints.entry(key).or_insert_with(|| endpoint.clone()), &endpoint);
        for (of, endpoint) in &endpoints {
            let signer = [&first, &second].into_iter().find(|signer| Some(signer.public_key()) == *of);
            let credential = signer.map(|signer| authorization(signer, endpoint));
            let mut headers = vec![KEPT, ENCRYPTED];
            headers.extend(credential.as_deref().map(|credential| ("authorization", credential)));
            let answer = server.post(endpoint, &headers, "x").await;
            if *of == key {
                assert_eq!(answer.status().as_u16(), 201, "{answer:?}");
                let message = client.notification().await;
                let id = message["version"].as_str().unwrap().to_owned();
                client.ack(&channel, &id).await;
            } else {
                assert_eq!(answer.status().as_u16(), 410, "{answer:?}");
            }
        }
    }
    assert_eq!(endpoints.len(), 3);
    client.expect_nothing().await;
}

pub(crate) async fn wp_16_replies_repeat_the_channel_exactly(server: Server) {
    const CHANNELS: usize = 10;
    let mut client = server.connect_webpush().await;
    client.hello().await;
    let channels: Vec<_> = (0..CHANNELS).map(|index| spellings(&new_channel())[index % 4].clone()).collect();
    for channel in &channels {
        client.send(&json!({"messageType": "register", "channelID": channel})).await;
    }
    let mut endpoints = BTreeMap::new();
    for _ in &channels {
        let reply = client.receive().await;
        let channel = reply["channelID"].as_str().unwrap().to_owned();
        let endpoint = expect_endpoint(&reply, &channel);
        endpoints.insert(channel, endpoint);
    }
    for channel in &channels {
        let id = server.message(&endpoints[channel], channel).await;
        client.expect_message(channel, &id, channel).await;
    }
    // The spelling of the latest register counts, and the endpoint is the same.
    for spelling in spellings(&channels[0]) {
        assert_eq!(client.register(&spelling).await, endpoints[&channels[0]]);
        let id = server.message(&endpoints[&channels[0]], "x").await;
        client.expect_message(&spelling, &id, "x").await;
    }
}

pub(crate) async fn wp_17_a_channel_that_is_no_uuid_is_an_invalid_command(server: Server) {
    for channel in [
        json!(""),
        json!("x"),
        json!("0123456789abcdef0123456789abcdef01"),
        json!("4f0c6a3e8f55-4d0b-b7b4-2a9d11c0e6ff-"),
        json!("4f0c6a3e-8f55-4d0b-b7b4-2a9d11c0e6fg"),
        json!(5),
        json!(null),
        json!([]),
    ] {
        let mut client = server.connect_webpush().await;
        client.hello().await;
        client.expect_401(&json!({"messageType": "register", "channelID": channel})).await;
    }
    let mut client = server.connect_webpush().await;
    client.hello().await;
    let reply = client.ask(&json!({"messageType": "register", "pushEndpoint": "http://x/"})).await;
    assert_eq!(reply, json!({"messageType": "register", "status": 401, "error": "Invalid Command"}));
    client.expect_close(1008).await;
    // Before hello, everything is.
    for name in ["register", "unregister", "ack", "nack", "broadcast_subscribe", "urgency"] {
        let request = json!({"messageType": name, "channelID": new_channel(), "min": "low", "updates": []});
        server.connect_webpush().await.expect_401(&request).await;
    }
}

pub(crate) async fn wp_18_two_hundred_registers_at_once_are_answered(server: Server) {
    const CHANNELS: usize = 200;
    let mut client = server.connect_webpush().await;
    // Not even the hello reply is waited for.
    client.send(&json!({"messageType": "hello", "use_webpush": true})).await;
    let channels: Vec<_> = (0..CHANNELS).map(|_| new_channel()).collect();
    for channel in &channels {
        client.send(&json!({"messageType": "register", "channelID": channel})).await;
    }
    assert_eq!(client.receive().await["messageType"], "hello");
    let mut endpoints = BTreeMap::new();
    for _ in &channels {
        let reply = client.receive().await;
        let channel = reply["channelID"].as_str().unwrap().to_owned();
        endpoints.insert(channel.clone(), expect_endpoint(&reply, &channel));
    }
    assert!(channels.iter().all(|channel| endpoints.contains_key(channel)));
    for channel in [&channels[0], &channels[CHANNELS - 1]] {
        let id = server.message(&endpoints[channel], "x").await;
        client.expect_message(channel, &id, "x").await;
    }
}

pub(crate) async fn wp_19_unregister_is_always_confirmed(server: Server) {
    let foreign = server.subscribed().await;
    let mut client = server.connect_webpush().await;
    client.hello().await;
    for code in
        [Some(json!(200)), Some(json!(201)), Some(json!(202)), Some(json!(7)), Some(Value::Null), None]
    {
        let channel = new_channel();
        client.register(&channel).await;
        // The second time it is unknown.
        for _ in 0..2 {
            let mut request = json!({"messageType": "unregister", "channelID": channel});
            if let Some(code) = &code {
                request["code"] = code.clone();
            }
            let expected = json!({"messageType": "unregister", "channelID": channel, "status": 200});
            assert_eq!(client.ask(&request).await, expected);
        }
    }
    for channel in [&*new_channel(), "x", &foreign.channel] {
        client.unregister(channel).await;
    }
    let id = server.message(&foreign.endpoint, "x").await;
    let mut foreign_client = foreign.client;
    foreign_client.expect_message(&foreign.channel, &id, "x").await;
    for channel in [json!(""), json!(5), json!(null), json!([])] {
        let mut client = server.connect_webpush().await;
        client.hello().await;
        client.expect_401(&json!({"messageType": "unregister", "channelID": channel})).await;
    }
}

pub(crate) async fn wp_20_an_unregistered_channel_has_nothing_left(server: Server) {
    let Subscribed { mut client, uaid, channel, endpoint } = server.subscribed().await;
    let kept = new_channel();
    let kept_endpoint = client.register(&kept).await;
    client.leave().await;
    server.message(&endpoint, "gone").await;
    server.accepted(&endpoint, &[KEPT, ENCRYPTED, ("topic", "t")], "gone too").await;
    let id = server.message(&kept_endpoint, "kept").await;
    let mut client = server.resumed(&uaid).await;
    for _ in 0..3 {
        client.notification().await;
    }
    client.unregister(&channel).await;
    assert_eq!(server.post(&endpoint, &[KEPT], "").await.status().as_u16(), 410);
    assert_eq!(server.post(&endpoint, &[("ttl", "0")], "").await.status().as_u16(), 410);
    client.expect_nothing().await;
    client.leave().await;
    for _ in 0..2 {
        let mut client = server.resumed(&uaid).await;
        assert_eq!(client.notification().await, notification(&kept, &id, "kept"));
        client.expect_nothing().await;
        // Nor do they come back with the channel.
        client.register(&channel).await;
        client.leave().await;
    }
}
