//! Web Push over sockets: what the node adds to the session.

use crate::{
    node::{TestNode, client_id},
    wire::{TEXT, Wire},
};
use beckon_proto::delivery::{Deliver as _, Parcel, Receipt};
use beckon_types::{
    Cause, ChannelId, Draft, Encoding, Message, Nonce, Notification, Payload, Place, PutMessage,
    PutMessageOutcome, Urgency,
};
use serde_json::{Value, json};
use std::time::Duration;

const CHANNEL: &str = "4f0c6a3e-8f55-4d0b-b7b4-2a9d11c0e6ff";

/// The first byte of a binary frame.
const BINARY: u8 = 0x82;

/// The next message.
async fn read(wire: &mut Wire) -> Value {
    serde_json::from_str(&wire.text().await).unwrap()
}

/// A socket that has said hello, and its UAID: the given one, or a new one.
async fn greeted(node: &TestNode, uaid: Option<&str>) -> (Wire, String) {
    let mut wire = Wire::upgraded(node.address).await;
    let hello = json!({"messageType": "hello", "use_webpush": true, "uaid": uaid});
    wire.send(TEXT, hello.to_string().as_bytes()).await;
    let reply = read(&mut wire).await;
    assert_eq!((&reply["status"], &reply["use_webpush"]), (&json!(200), &json!(true)), "{reply}");
    (wire, reply["uaid"].as_str().unwrap().to_owned())
}

/// A socket of a new client with one registered channel, and its UAID.
async fn registered(node: &TestNode) -> (Wire, String) {
    let (mut wire, uaid) = greeted(node, None).await;
    let register = json!({"messageType": "register", "channelID": CHANNEL});
    wire.send(TEXT, register.to_string().as_bytes()).await;
    assert_eq!(read(&mut wire).await["status"], 200);
    (wire, uaid)
}

/// Stores a message and hands it over, as an endpoint-node does.
async fn post(node: &TestNode, uaid: &str, body: &[u8], ttl: Duration) -> Option<Receipt> {
    let channel = ChannelId::parse(CHANNEL).unwrap().0;
    let payload =
        (!body.is_empty()).then(|| Payload { encoding: Encoding::Aes128gcm, body: body.to_vec().into() });
    let draft = Draft { urgency: Urgency::Normal, ttl, payload };
    let nonce = Nonce(getrandom::u64().unwrap());
    let put = PutMessage {
        client: client_id(uaid),
        channel,
        restricted: None,
        key: node.token_keys.newest(),
        nonce,
        topic: None,
        draft: draft.clone(),
        messages_max: 1000,
        reserve: 0,
    };
    let key = put.key;
    match node.store.put_message(put).await.unwrap() {
        PutMessageOutcome::Accepted { sequence, previous, presence } => {
            let place = Place { sequence, nonce, topic: None };
            let message = Message { channel, place, key, draft };
            let (notification, cause) = (Notification::Message(message), Cause::default());
            let parcel = Parcel { to: presence?, notification, previous: Some(previous), cause };
            Some(node.delivery.deliver(parcel).await.unwrap())
        }
        other @ (PutMessageOutcome::UaidGone | PutMessageOutcome::ChannelGone | PutMessageOutcome::Full) => {
            panic!("{other:?}")
        }
    }
}

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_message_is_sent_on_each_socket_until_it_is_acknowledged() {
    let node = TestNode::start(&[]).await;
    let (mut wire, uaid) = registered(&node).await;
    assert_eq!(post(&node, &uaid, b"one", MINUTE).await, Some(Receipt::Delivered));
    assert_eq!(post(&node, &uaid, b"", MINUTE).await, Some(Receipt::Delivered));
    assert_eq!(post(&node, &uaid, b"not kept", Duration::ZERO).await, Some(Receipt::Delivered));
    let one = read(&mut wire).await;
    assert_eq!((&one["messageType"], &one["channelID"]), (&json!("notification"), &json!(CHANNEL)), "{one}");
    assert_eq!((&one["data"], &one["headers"]), (&json!("b25l"), &json!({"encoding": "aes128gcm"})));
    let empty = read(&mut wire).await;
    assert!(empty.get("data").is_none() && empty["version"].is_string(), "{empty}");
    assert_eq!(read(&mut wire).await["data"], "bm90IGtlcHQ");
    // The same again, under the same ids, on another socket.
    let (mut again, same) = greeted(&node, Some(&uaid)).await;
    assert_eq!(same, uaid);
    assert_eq!([read(&mut again).await, read(&mut again).await], [one.clone(), empty.clone()]);
    let ack = json!({"messageType": "ack", "updates": [
        {"channelID": CHANNEL, "version": one["version"], "code": 101},
    ]});
    again.send(TEXT, ack.to_string().as_bytes()).await;
    again.send(TEXT, b"{}").await;
    assert_eq!(again.text().await, "{}");
    let (mut third, _) = greeted(&node, Some(&uaid)).await;
    assert_eq!(read(&mut third).await, empty);
    drop((wire, again, third));
    node.stop().await;
}

#[tokio::test]
async fn a_binary_frame_ends_a_web_push_conversation() {
    let node = TestNode::start(&[]).await;
    let (mut wire, _) = greeted(&node, None).await;
    wire.send(BINARY, b"{}").await;
    assert_eq!(wire.close_code().await, 1003);
    drop(wire);
    // Before the hello, it is read as if it were text.
    let mut wire = Wire::upgraded(node.address).await;
    wire.send(BINARY, br#"{"messageType":"hello","use_webpush":true}"#).await;
    assert_eq!(read(&mut wire).await["status"], 200);
    drop(wire);
    node.stop().await;
}

#[tokio::test]
async fn web_push_clients_are_accepted_above_the_redirect_threshold() {
    let settings = [("BECKON_MAX_CONNECTIONS", "2"), ("BECKON_REDIRECT_THRESHOLD", "0")];
    let node = TestNode::start(&settings).await;
    let mut simple = Wire::upgraded(node.address).await;
    simple.send(TEXT, crate::wire::HELLO.as_bytes()).await;
    assert_eq!(read(&mut simple).await["status"], 429);
    assert_eq!(simple.close_code().await, 1000);
    let (wire, _) = greeted(&node, None).await;
    drop((wire, simple));
    node.stop().await;
}

#[tokio::test]
async fn the_settings_of_web_push_take_effect() {
    let settings =
        [("BECKON_BATCH_SIZE", "2"), ("BECKON_MAX_CHANNELS_WP", "1"), ("BECKON_PING_MIN_WP", "1h")];
    let node = TestNode::start(&settings).await;
    let (mut wire, uaid) = registered(&node).await;
    let second = json!({"messageType": "register", "channelID": "d".repeat(32)});
    wire.send(TEXT, second.to_string().as_bytes()).await;
    assert_eq!(read(&mut wire).await["status"], 500);
    for body in [b"1", b"2", b"3"] {
        post(&node, &uaid, body, MINUTE).await;
        read(&mut wire).await;
    }
    drop(wire);
    let (mut wire, _) = greeted(&node, Some(&uaid)).await;
    let first = [read(&mut wire).await, read(&mut wire).await];
    // A reply shows that there is no third one yet.
    wire.send(TEXT, b"{}").await;
    assert_eq!(wire.text().await, "{}");
    let updates: Vec<Value> =
        first.iter().map(|message| json!({"channelID": CHANNEL, "version": message["version"]})).collect();
    wire.send(TEXT, json!({"messageType": "ack", "updates": updates}).to_string().as_bytes()).await;
    assert_eq!(read(&mut wire).await["data"], "Mw");
    wire.send(TEXT, b"{}").await;
    assert_eq!(wire.close_code().await, 4774);
    drop(wire);
    node.stop().await;
}

#[tokio::test]
async fn a_client_that_stops_reading_gets_all_messages_when_it_reads_again() {
    let node = TestNode::start(&[("BECKON_BATCH_SIZE", "100")]).await;
    let (mut wire, uaid) = registered(&node).await;
    let body = vec![b'x'; 16_000];
    let mut posted = 1;
    while post(&node, &uaid, &body, MINUTE).await == Some(Receipt::Delivered) {
        posted += 1;
        assert!(posted < 990, "the buffers are larger than this test thinks");
    }
    let mut seen = std::collections::HashSet::new();
    while seen.len() < posted {
        let message = read(&mut wire).await;
        let version = message["version"].as_str().unwrap().to_owned();
        let ack = json!({"messageType": "ack", "updates": [{"channelID": CHANNEL, "version": version}]});
        wire.send(TEXT, ack.to_string().as_bytes()).await;
        assert!(seen.insert(version), "none comes twice");
    }
    drop(wire);
    node.stop().await;
}

#[tokio::test]
async fn reports_of_user_agents_are_counted() {
    let node = TestNode::start(&[]).await;
    let (mut wire, uaid) = registered(&node).await;
    post(&node, &uaid, b"one", MINUTE).await;
    let version = read(&mut wire).await["version"].clone();
    for message in [
        json!({"messageType": "nack", "version": version, "code": 301}),
        json!({"messageType": "ack", "updates": [{"channelID": CHANNEL, "version": version, "code": 102}]}),
        json!({"messageType": "unregister", "channelID": CHANNEL, "code": 202}),
    ] {
        wire.send(TEXT, message.to_string().as_bytes()).await;
    }
    assert_eq!(read(&mut wire).await["status"], 200);
    let metrics = node.metrics().await;
    for line in [
        r#"client_reports_total{report="handler_threw"} 1"#,
        r#"client_reports_total{report="no_receiver"} 1"#,
        r#"client_reports_total{report="permission_revoked"} 1"#,
        r#"parcels_total{kind="message",receipt="delivered"} 1"#,
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    drop(wire);
    node.stop().await;
}
