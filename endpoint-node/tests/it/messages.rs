//! What becomes of an accepted message: whether it is stored, handed over, or neither.

use crate::{
    http_client::{Answer, send},
    node_server::{Manner, NodeServer},
    test_node::{TestNode, connected_to},
    webpush::{assert_cors, assert_error},
};
use beckon_proto::delivery::Receipt;
use beckon_types::{
    ChannelId, ClientId, Draft, Encoding, Message, MessageId, Notification, Payload, TopicTag, Urgency,
};
use bytes::Bytes;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

/// The id of the message that an answer has accepted.
fn id(node: &TestNode, answer: &Answer) -> MessageId {
    assert_eq!(answer.status, 201, "{answer:?}");
    let id = answer.header("location").strip_prefix("http://push.example.net/m/").unwrap();
    MessageId::open(&node.keys, id).unwrap()
}

fn bodies(messages: &[Message]) -> Vec<&[u8]> {
    messages
        .iter()
        .map(|message| message.draft.payload.as_ref().map_or(&b""[..], |payload| &payload.body))
        .collect()
}

/// The messages that a node has received, as soon as there are `count`.
async fn taken(server: &NodeServer, count: usize) -> Vec<Message> {
    let enough = server.until_taken(|taken| taken.len() >= count);
    let taken = tokio::time::timeout(PATIENCE, enough).await.expect("the messages are handed over");
    let messages = taken.into_iter().map(|parcel| match parcel.notification {
        Notification::Message(message) => message,
        Notification::Update(_) | Notification::Missed => panic!("a message was sent"),
    });
    messages.collect()
}

#[tokio::test]
async fn a_connected_client_gets_what_was_sent() {
    let node = TestNode::start().await;
    let server = NodeServer::start(21, None, None);
    server.announce(&node.store).await;
    let path = node.subscribe(1, connected_to(server.node, 1), None).await;
    let channel = ChannelId([1; 16]);
    let aesgcm = "Content-Encoding: aesgcm\r\nEncryption: keyid=\"p256dh\"; salt=\"2rG0_w==\"\r\n\
                  Crypto-Key: keyid=\"p256dh\";dh=BKk=\r\nCrypto-Key: p256ecdsa=BOp8\r\n";
    let encoding = Encoding::Aesgcm {
        encryption: "keyid=p256dh; salt=2rG0_w".into(),
        crypto_key: "keyid=p256dh;dh=BKk, p256ecdsa=BOp8".into(),
    };
    let binary: Vec<u8> = (0..=255).collect();
    let payload = |encoding, body: &[u8]| Some(Payload { encoding, body: Bytes::copy_from_slice(body) });
    for (count, (headers, body, urgency, topic, ttl, expected)) in [
        ("TTL: 0\r\n", &b""[..], Urgency::Normal, None, 0, None),
        (
            "TTL: 60\r\nContent-Encoding: aes128gcm\r\nEncryption: salt=x\r\n",
            b"",
            Urgency::Normal,
            None,
            60,
            None,
        ),
        (
            "TTL: 99999999999\r\nContent-Encoding: aes128gcm\r\nUrgency: very-low\r\n",
            &binary,
            Urgency::VeryLow,
            None,
            2_592_000,
            payload(Encoding::Aes128gcm, &binary),
        ),
        (
            &format!("TTL: 5\r\nTopic: news\r\nUrgency: high\r\n{aesgcm}"),
            b"x",
            Urgency::High,
            Some(TopicTag::parse(channel, "news").unwrap()),
            5,
            payload(encoding, b"x"),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = send(node.http, "POST", &path, headers, body).await;
        let MessageId { client, place } = id(&node, &answer);
        let message = taken(&server, count + 1).await.pop().unwrap();
        assert_eq!((client, place.topic), (ClientId([1; 16]), topic));
        // It is shorter by the time for which the message waited for its turn on the stream.
        let (full, ttl) = (Duration::from_secs(ttl), message.draft.ttl);
        assert!(ttl <= full && full - ttl < Duration::from_secs(2), "{ttl:?} of {full:?}");
        let key = node.keys.newest();
        assert_eq!(
            message,
            Message { channel, place, key, draft: Draft { urgency, ttl, payload: expected } },
            "{headers}"
        );
    }
    node.stop().await;
}

#[tokio::test]
async fn what_is_stored_is_what_was_sent() {
    let node = TestNode::start().await;
    let path = node.subscribe_offline(1).await;
    let first = id(&node, &node.post(&path, "Urgency: low\r\n", b"first").await);
    let empty = id(&node, &node.post(&path, "", b"").await);
    let now_or_never = send(node.http, "POST", &path, "TTL: 0\r\n", b"").await;
    assert_eq!(now_or_never.status, 201);
    let [one, two] = &node.stored(1).await[..] else { panic!("two are stored") };
    assert_eq!((one.place, two.place), (first.place, empty.place));
    assert_eq!(
        (one.channel, one.draft.urgency, one.key),
        (ChannelId([1; 16]), Urgency::Low, node.keys.newest())
    );
    let payload = Payload { encoding: Encoding::Aes128gcm, body: Bytes::from_static(b"first") };
    assert_eq!((&one.draft.payload, &two.draft.payload), (&Some(payload), &None));
    assert!(
        one.draft.ttl > Duration::ZERO && one.draft.ttl <= Duration::from_secs(60),
        "{:?}",
        one.draft.ttl
    );
    node.stop().await;
}

#[tokio::test]
async fn a_message_replaces_another_of_its_topic_and_channel() {
    let node = TestNode::start().await;
    let (path, other) = (node.subscribe_offline(1).await, node.subscribe_offline(2).await);
    for (path, headers, body) in [
        (&path, "Topic: a\r\n", b"1"),
        (&path, "Topic: b\r\n", b"2"),
        (&path, "Topic: a=\r\n", b"3"),
        (&path, "", b"4"),
        (&other, "Topic: a\r\n", b"5"),
    ] {
        assert_eq!(node.post(path, headers, body).await.status, 201);
    }
    assert_eq!(bodies(&node.stored(1).await), [b"2", b"3", b"4"]);
    assert_eq!(bodies(&node.stored(2).await), [b"5"]);
    node.stop().await;
}

#[tokio::test]
async fn a_client_at_its_limit_loses_no_message() {
    let node = TestNode::start_with(&[("BECKON_MSG_LIMIT", "2"), ("BECKON_MSG_RESERVE", "0")]).await;
    let path = node.subscribe_offline(1).await;
    for (headers, body) in [("Topic: a\r\n", b"1"), ("", b"2")] {
        assert_eq!(node.post(&path, headers, body).await.status, 201);
    }
    let answer = node.post(&path, "", b"3").await;
    assert_error(&answer, 429, None);
    assert_eq!(answer.header("retry-after"), "3600");
    assert_cors(&answer, "POST, OPTIONS");
    assert_eq!(node.post(&path, "Topic: a\r\n", b"4").await.status, 201, "it replaces another");
    assert_eq!(send(node.http, "POST", &path, "TTL: 0\r\n", b"").await.status, 201, "it is not stored");
    // The answer to an unusable message says what is wrong with it, not that there are too many.
    assert_error(&send(node.http, "POST", &path, "", b"").await, 400, Some(111));
    assert_eq!(bodies(&node.stored(1).await), [b"4", b"2"]);
    node.stop().await;
}

#[tokio::test]
async fn an_undelivered_message_is_stored_unless_its_ttl_is_zero() {
    let node = TestNode::start().await;
    let server = NodeServer::start(22, None, None);
    server.announce(&node.store).await;
    for (client, receipt) in [(1, Receipt::NotHere), (2, Receipt::Busy)] {
        server.behave(Manner::Answer(receipt));
        let presence = connected_to(server.node, client);
        let path = node.subscribe(client, presence, None).await;
        for headers in
            ["TTL: 60\r\nContent-Encoding: aes128gcm\r\n", "TTL: 0\r\nContent-Encoding: aes128gcm\r\n"]
        {
            assert_eq!(send(node.http, "POST", &path, headers, b"x").await.status, 201);
        }
        assert_eq!(node.stored(client).await.len(), 1);
    }
    let metrics = send(node.admin, "GET", "/metrics", "", b"").await.body;
    let dropped = "beckon_endpoint_messages_dropped_total 2";
    assert!(metrics.lines().any(|line| line == dropped), "{metrics}");
    node.stop().await;
}

#[tokio::test]
async fn an_unusable_message_is_neither_stored_nor_handed_over() {
    let node = TestNode::start().await;
    let server = NodeServer::start(23, None, None);
    server.announce(&node.store).await;
    let path = node.subscribe(1, connected_to(server.node, 1), None).await;
    assert_error(&send(node.http, "POST", &path, "", b"").await, 400, Some(111));
    assert_eq!(node.post(&path, "", b"good").await.status, 201);
    assert_eq!(bodies(&taken(&server, 1).await), [b"good"]);
    assert_eq!(bodies(&node.stored(1).await), [b"good"]);
    node.stop().await;
}
