//! Suspending a connection and resuming it, with a real store and a real peer.

use super::*;
use crate::test_node::{Peer, TestNode};
use beckon_proto::delivery::Receipt;
use beckon_types::{ChannelId, PutVersion, PutVersionOutcome, UAID_KEY_LEN, UaidKey, Update, Version};
use bytes::Bytes;
use futures_util::SinkExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio_tungstenite::tungstenite::Message;

const UAID: &str = "6fa1c3e2d40b4f5a8c7e9b1032a4d5f6";
const CHANNEL: &str = "0d9f7b52-3c41-4e8a-9a57-51e0c2b7aa10";

fn hello() -> String {
    format!(r#"{{"messageType":"hello","use_webpush":false,"uaid":"{UAID}","channelIDs":[]}}"#)
}

/// Stores a version and posts it to the connection that has the client, as an endpoint-node does.
async fn put(node: &Node, number: u64) -> Receipt {
    let uaid_key = UaidKey::new(&[1; UAID_KEY_LEN]);
    let (client, channel) =
        (uaid_key.client_id(Uaid::parse(UAID).unwrap().0), ChannelId::parse(CHANNEL).unwrap().0);
    let version = Version::new(number).unwrap();
    let stored = node.store.put_version(PutVersion { client, channel, version }).await.unwrap();
    let PutVersionOutcome::Stored { sequence, presence: Some(to), .. } = stored else { panic!("{stored:?}") };
    let update = Update { channel, version, sequence, data: None };
    node.registry.post(to.connection, node.now(), Notification::Update(update))
}

/// How many hellos were measured, and how many seconds they have taken together.
fn hellos_measured(node: &Node) -> (u64, f64) {
    let mut registry = prometheus_client::registry::Registry::default();
    registry.register("x", "", node.metrics.hello_duration.clone());
    let text = beckon_ops::metrics::encode(&registry).unwrap();
    let value = |name| text.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    (value("x_count").parse().unwrap(), value("x_sum").parse().unwrap())
}

/// Polls a connection once.
async fn poll_once(connection: &mut Connection) -> Poll<Stop> {
    poll_fn(|context| Poll::Ready(connection.poll(context))).await
}

/// Suspends the only connection, as soon as it is at rest.
async fn suspend(test: &mut TestNode) -> Suspended {
    loop {
        test.node.registry.all()[0].signal_suspend();
        if let Ok(suspended) = tokio::time::timeout(Duration::from_millis(5), test.suspended.recv()).await {
            return suspended.unwrap();
        }
    }
}

#[tokio::test]
async fn a_waiting_connection_is_small() {
    let test = TestNode::start(1).await;
    let (connection, _peer) = test.connection().await;
    assert!(connection.socket.is_at_rest());
    // With what the tracker and tokio add, the task takes 384 bytes, and 512 from 273 on.
    assert!(size_of_val(&connection.run()) <= 272);
}

#[tokio::test]
async fn what_arrives_while_a_connection_is_suspended_is_found_when_it_is_resumed() {
    let mut test = TestNode::start(1).await;
    let mut peer = test.peer().await;
    assert!(peer.ask(&hello()).await.contains("\"status\":200"));
    let register = format!(r#"{{"messageType":"register","channelID":"{CHANNEL}"}}"#);
    assert!(peer.ask(&register).await.contains("\"status\":200"));
    for version in 1..=20 {
        let suspended = suspend(&mut test).await;
        test.running.join_next().await.unwrap().unwrap();
        assert_eq!(put(&test.node, version).await, Receipt::Delivered);
        peer.0.send(Message::Ping(Bytes::new())).await.unwrap();
        test.resume(suspended);
        let text = peer.receive().await.into_text().unwrap();
        assert!(text.contains(&format!("\"version\":{version}")), "{text}");
        assert!(peer.receive().await.is_pong());
        peer.send(&text.replace("notification", "ack")).await;
    }
    peer.0.close(None).await.unwrap();
    assert!(peer.receive().await.is_close());
    test.running.join_next().await.unwrap().unwrap();
    assert_eq!(test.node.registry.open(), 0);
}

#[tokio::test]
async fn a_connection_in_the_middle_of_a_message_is_not_suspended() {
    let test = TestNode::start(1).await;
    let (mut connection, mut peer) = test.connection().await;
    // A masked text frame with the payload "{}".
    let (first, rest) = ([0x81, 0x82, 0, 0], [0, 0, b'{', b'}']);
    peer.0.get_mut().write_all(&first).await.unwrap();
    while connection.socket.is_at_rest() {
        assert!(poll_once(&mut connection).await.is_pending());
        tokio::task::yield_now().await;
    }
    connection.registration.mailbox.signal_suspend();
    assert!(poll_once(&mut connection).await.is_pending());
    peer.0.get_mut().write_all(&rest).await.unwrap();
    let running = connection.run();
    tokio::select! {
        () = running => panic!("the connection has ended"),
        reply = peer.receive() => assert_eq!(reply.into_text().unwrap(), "{}"),
    }
}

#[tokio::test]
async fn a_connection_that_waits_for_an_eviction_is_not_suspended() {
    let mut test = TestNode::start(1).await;
    let (mut older, mut older_peer) = test.connection().await;
    older_peer.send(&hello()).await;
    while older.session.dialect().is_none() {
        assert!(poll_once(&mut older).await.is_pending());
        tokio::task::yield_now().await;
    }
    let (mut newer, mut peer) = test.connection().await;
    peer.send(&hello()).await;
    while newer.held.is_none() {
        assert!(poll_once(&mut newer).await.is_pending());
        tokio::task::yield_now().await;
    }
    newer.registration.mailbox.signal_suspend();
    assert!(poll_once(&mut newer).await.is_pending());
    assert_eq!(hellos_measured(&test.node).0, 1, "the older one");
    let waits = Duration::from_millis(20);
    tokio::time::sleep(waits).await;
    test.running.spawn(older.run());
    test.running.spawn(newer.run());
    assert!(peer.receive().await.into_text().unwrap().contains("\"status\":200"));
    let (count, seconds) = hellos_measured(&test.node);
    assert!(count == 2 && seconds >= waits.as_secs_f64(), "{count} {seconds}");
}

#[tokio::test]
async fn a_hello_that_takes_two_steps_is_measured_once() {
    let mut test = TestNode::start(1).await;
    let mut peer = test.peer().await;
    // A Web Push client that the store does not know gets another UAID.
    let reply = peer.ask(&hello().replace("false", "true").replace(",\"channelIDs\":[]", "")).await;
    assert!(reply.contains("\"status\":200") && !reply.contains(UAID), "{reply}");
    assert_eq!(hellos_measured(&test.node).0, 1);
}

#[tokio::test]
async fn a_connection_goes_on_while_too_many_are_suspended() {
    let mut test = TestNode::start(1).await;
    let mut peers: Vec<Peer> = Vec::new();
    for _ in 0..3 {
        peers.push(test.peer().await);
        peers.last_mut().unwrap().ping().await;
    }
    for mailbox in test.node.registry.all() {
        mailbox.signal_suspend();
    }
    test.running.join_next().await.unwrap().unwrap();
    let suspended = test.suspended.recv().await.unwrap();
    test.resume(suspended);
    for peer in &mut peers {
        peer.0.close(None).await.unwrap();
        assert!(peer.receive().await.is_close());
    }
}
