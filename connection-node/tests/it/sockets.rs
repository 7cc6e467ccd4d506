//! What a socket does with bytes.

use crate::{
    node::{TestNode, client_id},
    wire::{CLOSE, HELLO, PING, PONG, TEXT, UPGRADE, Wire, frame},
};
use beckon_proto::delivery::{Deliver as _, Parcel, Receipt, Undelivered};
use beckon_store::Store;
use beckon_types::{
    Cause, ChannelId, ClientId, ConnectionId, NodeId, Notification, Presence, PutVersion, PutVersionOutcome,
    Version,
};
use std::sync::Arc;
use tokio::io::AsyncWriteExt as _;

const CHANNEL: &str = "0d9f7b52-3c41-4e8a-9a57-51e0c2b7aa10";
const UAID: &str = "6fa1c3e2d40b4f5a8c7e9b1032a4d5f6";

fn client() -> ClientId {
    client_id(UAID)
}

fn channel() -> ChannelId {
    ChannelId::parse(CHANNEL).unwrap().0
}

pub(crate) fn hello_as(channels: &str) -> String {
    format!(r#"{{"messageType":"hello","use_webpush":false,"uaid":"{UAID}","channelIDs":[{channels}]}}"#)
}

/// A socket of a known client with one registered channel.
pub(crate) async fn registered(node: &TestNode) -> Wire {
    let mut wire = Wire::upgraded(node.address).await;
    wire.send(TEXT, hello_as("").as_bytes()).await;
    wire.text().await;
    let register = format!(r#"{{"messageType":"register","channelID":"{CHANNEL}"}}"#);
    wire.send(TEXT, register.as_bytes()).await;
    assert!(wire.text().await.contains("pushEndpoint"));
    wire
}

/// Writes a version and hands it over, as an endpoint-node does.
pub(crate) async fn put(node: &TestNode, number: u64) -> Option<Receipt> {
    put_with_data(node, number, None).await
}

async fn put_with_data(node: &TestNode, number: u64, data: Option<Arc<str>>) -> Option<Receipt> {
    let parcel = write(&*node.store, number, data).await?;
    Some(node.delivery.deliver(parcel).await.unwrap())
}

/// Writes a version, and returns the parcel for the socket of the client.
pub(crate) async fn stored(store: &dyn Store, number: u64) -> Parcel {
    write(store, number, None).await.unwrap()
}

async fn write(store: &dyn Store, number: u64, data: Option<Arc<str>>) -> Option<Parcel> {
    let version = Version::new(number).unwrap();
    let put = PutVersion { client: client(), channel: channel(), version };
    match store.put_version(put).await.unwrap() {
        PutVersionOutcome::Stored { sequence, previous, presence } => {
            let update = beckon_types::Update { channel: channel(), version, sequence, data };
            Some(Parcel {
                to: presence?,
                notification: Notification::Update(update),
                previous: Some(previous),
                cause: Cause::default(),
            })
        }
        PutVersionOutcome::Gone => panic!("the channel is registered"),
    }
}

#[tokio::test]
async fn a_message_may_arrive_in_any_pieces() {
    let node = TestNode::start(&[]).await;
    let bytes = frame(TEXT, HELLO.as_bytes());
    for pieces in [1, 2, 5, 40] {
        let mut wire = Wire::upgraded(node.address).await;
        for piece in bytes.chunks(pieces) {
            wire.0.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        assert!(wire.text().await.contains("\"status\":200"), "{pieces}");
    }
    node.stop().await;
}

#[tokio::test]
async fn a_message_may_arrive_together_with_the_upgrade() {
    let node = TestNode::start(&[]).await;
    let mut bytes = UPGRADE.as_bytes().to_vec();
    bytes.extend(frame(TEXT, b"{}"));
    bytes.extend(frame(TEXT, HELLO.as_bytes()));
    let mut wire = Wire::open(node.address, &bytes).await;
    assert!(wire.head().await.starts_with("HTTP/1.1 101 "));
    assert_eq!(wire.text().await, "{}");
    assert!(wire.text().await.contains("\"status\":200"));
    drop(wire);
    node.stop().await;
}

#[tokio::test]
async fn a_message_in_fragments_is_put_together_around_a_ping() {
    let node = TestNode::start(&[]).await;
    let mut wire = Wire::upgraded(node.address).await;
    let (head, tail) = HELLO.split_at(20);
    wire.send(0x01, head.as_bytes()).await;
    wire.send(PING, b"are you there").await;
    assert_eq!(wire.next().await, Some((PONG, b"are you there".to_vec())));
    wire.send(0x00, b"").await;
    wire.send(0x80, tail.as_bytes()).await;
    assert!(wire.text().await.contains("\"status\":200"));
    drop(wire);
    node.stop().await;
}

#[tokio::test]
async fn many_messages_at_once_are_all_answered() {
    let node = TestNode::start(&[]).await;
    let mut wire = Wire::greeted(node.address).await;
    let mut bytes = Vec::new();
    for number in 0..200 {
        let register = format!(
            r#"{{"messageType":"register","channelID":"{number:032x}","padding":"{}"}}"#,
            "x".repeat(number * 7)
        );
        bytes.extend(frame(TEXT, register.as_bytes()));
    }
    wire.0.write_all(&bytes).await.unwrap();
    for _ in 0..200 {
        let reply = wire.text().await;
        assert!(reply.contains("\"status\":200") && reply.contains("pushEndpoint"), "{reply}");
    }
    drop(wire);
    node.stop().await;
}

#[tokio::test]
async fn a_protocol_error_is_named_in_a_close_frame_and_ends_the_stream() {
    let node = TestNode::start(&[]).await;
    let mut unmasked = frame(TEXT, b"");
    unmasked = vec![unmasked[0], 0];
    for (bytes, code) in [
        (unmasked, 1002),
        (frame(0xc1, b"{}"), 1002),
        (frame(0x83, b"{}"), 1002),
        (frame(0x80, b"{}"), 1002),
        (frame(0x09, b""), 1002),
        (frame(TEXT, b"\xff"), 1007),
        (frame(TEXT, b"[]"), 1007),
        (frame(TEXT, &vec![b' '; 262_145]), 1009),
    ] {
        let mut wire = Wire::upgraded(node.address).await;
        wire.0.write_all(&bytes).await.unwrap();
        assert_eq!(wire.close_code().await, code, "{:?}", &bytes[..2]);
        if code != 1007 {
            assert_eq!(wire.next().await, None, "the stream ends");
        }
    }
    node.until("beckon_connections", |open| open <= 1).await;
    node.stop().await;
}

#[tokio::test]
async fn a_refused_upgrade_says_why() {
    let node = TestNode::start(&[("BECKON_WS_PATH", "/push")]).await;
    for (request, status, header) in [
        (UPGRADE.replace("GET /", "GET /push"), "101", "sec-websocket-accept: "),
        (UPGRADE.replace("GET /", "GET /elsewhere"), "404", "content-type: application/json"),
        (UPGRADE.replace("GET /", "POST /"), "405", "allow: GET"),
        (UPGRADE.replace("Version: 13", "Version: 8"), "400", "sec-websocket-version: 13"),
        (UPGRADE.replace("AAAA==", "AA"), "400", "sec-websocket-version: 13"),
        ("GET / HTTP/1.1\r\nHost: h\r\n\r\n".into(), "426", "upgrade: websocket"),
        ("GET /status HTTP/1.1\r\nHost: h\r\n\r\n".into(), "200", "cache-control: no-store"),
        ("GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n".into(), "404", "content-type: application/json"),
    ] {
        let head = Wire::open(node.address, request.as_bytes()).await.head().await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{request}{head}");
        assert!(head.to_lowercase().contains(&header.to_lowercase()), "{request}{head}");
    }
    node.stop().await;
}

#[tokio::test]
async fn the_closing_handshake_ends_after_the_acknowledgement_is_stored() {
    let node = TestNode::start(&[]).await;
    let mut wire = registered(&node).await;
    for round in 1..20 {
        assert_eq!(put(&node, round).await, Some(Receipt::Delivered));
        assert!(wire.text().await.contains("notification"));
        let ack =
            format!(r#"{{"messageType":"ack","updates":[{{"channelID":"{CHANNEL}","version":{round}}}]}}"#);
        wire.send(TEXT, ack.as_bytes()).await;
        wire.send(CLOSE, &1000_u16.to_be_bytes()).await;
        assert_eq!(wire.close_code().await, 1000);
        assert_eq!(wire.next().await, None);
        assert_eq!(put(&node, 1000 + round).await, None, "the client is on no node");
        wire = Wire::upgraded(node.address).await;
        wire.send(TEXT, hello_as(&format!("\"{CHANNEL}\"")).as_bytes()).await;
        wire.text().await;
        let notification = wire.text().await;
        assert!(notification.contains(&format!("\"version\":{}", 1000 + round)), "{notification}");
    }
    drop(wire);
    node.stop().await;
}

#[tokio::test]
async fn a_reset_socket_leaves_nothing_behind() {
    let node = TestNode::start(&[]).await;
    let wire = registered(&node).await;
    assert_eq!(node.metric("beckon_connections").await, 1);
    wire.0.set_zero_linger().unwrap();
    drop(wire);
    node.until("beckon_connections", |open| open == 0).await;
    assert_eq!(put(&node, 1).await, None);
    node.stop().await;
}

#[tokio::test]
async fn an_older_socket_is_closed_before_the_new_one_is_answered() {
    let node = TestNode::start(&[]).await;
    let mut older = registered(&node).await;
    for _ in 0..20 {
        let mut newer = Wire::upgraded(node.address).await;
        newer.send(TEXT, hello_as("").as_bytes()).await;
        assert!(newer.text().await.contains("\"status\":200"));
        // The Close frame was handed to the kernel before the reply, so it is there without waiting.
        let mut bytes = [0; 4];
        assert_eq!(older.0.try_read(&mut bytes).unwrap(), 4);
        assert_eq!(bytes, [CLOSE, 2, 3, 0xe8]);
        older = newer;
    }
    assert_eq!(put(&node, 7).await, Some(Receipt::Delivered));
    assert!(older.text().await.contains("\"version\":7"));
    drop(older);
    node.stop().await;
}

#[tokio::test]
async fn a_parcel_for_an_unknown_connection_is_not_here() {
    let node = TestNode::start(&[]).await;
    let here = node.store.nodes().await.unwrap()[0].node;
    let deliver = |to| {
        let (notification, cause) = (Notification::Missed, Cause::default());
        node.delivery.deliver(Parcel { to, notification, previous: None, cause })
    };
    let absent = Presence { node: here, connection: ConnectionId(7) };
    assert_eq!(deliver(absent).await, Ok(Receipt::NotHere));
    let elsewhere = Presence { node: NodeId(here.0 ^ 1), connection: ConnectionId(0) };
    assert_eq!(deliver(elsewhere).await, Err(Undelivered::NodeGone), "it is not this node's to judge");
    node.stop().await;
}

#[tokio::test]
async fn a_peer_that_stops_reading_gets_everything_when_it_reads_again() {
    let node = TestNode::start(&[]).await;
    let mut wire = registered(&node).await;
    let data: Arc<str> = "x".repeat(60_000).into();
    let mut last = 0;
    loop {
        last += 1;
        match put_with_data(&node, last, Some(data.clone())).await {
            Some(Receipt::Delivered) => assert!(last < 2000, "the buffers are larger than this test thinks"),
            Some(Receipt::Busy) => break,
            other => panic!("{other:?}"),
        }
    }
    // What did not fit is read from the store, once there is room.
    let mut seen = 0;
    while seen != last {
        let text = wire.text().await;
        let (_, version) = text.split_once("\"version\":").unwrap();
        let version: u64 = version.split([',', '}']).next().unwrap().parse().unwrap();
        assert!(version > seen, "{version} after {seen}");
        seen = version;
    }
    drop(wire);
    node.stop().await;
}
