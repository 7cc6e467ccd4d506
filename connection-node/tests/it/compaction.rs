//! Connections that move to another place in memory.

use crate::{
    node::{TestNode, until},
    sockets::{put, registered},
    wire::{CLOSE, HELLO, PING, PONG, TEXT, Wire, frame},
};
use beckon_proto::delivery::Receipt;
use std::time::Duration;
use tokio::{io::AsyncWriteExt as _, task::JoinSet};

/// Asks all connections to move, and waits until so many have.
async fn move_all(node: &TestNode, count: u64) {
    let moved = node.node.metrics.connections_moved.get();
    node.node.registry.all().iter().for_each(|mailbox| mailbox.move_out());
    until(|| node.node.metrics.connections_moved.get() >= moved + count).await;
}

#[tokio::test]
async fn a_connection_that_has_moved_goes_on() {
    let node = TestNode::start(&[]).await;
    let mut wire = registered(&node).await;
    for version in 1..=3 {
        move_all(&node, 1).await;
        wire.send(PING, b"p").await;
        assert_eq!(wire.next().await, Some((PONG, b"p".to_vec())));
        assert_eq!(put(&node, version).await, Some(Receipt::Delivered));
        let text = wire.text().await;
        assert!(text.contains(&format!("\"version\":{version}")), "{text}");
        let ack = text.replace("notification", "ack");
        wire.send(TEXT, ack.as_bytes()).await;
    }
    move_all(&node, 1).await;
    wire.send(CLOSE, &1000_u16.to_be_bytes()).await;
    assert_eq!(wire.close_code().await, 1000);
    until(|| node.node.registry.open() == 0).await;
    node.stop().await;
}

#[tokio::test]
async fn nothing_is_lost_while_connections_move() {
    const VERSIONS: u64 = 300;
    let node = TestNode::start(&[]).await;
    let mut wire = registered(&node).await;
    let mailbox = node.node.registry.all().remove(0);
    let receive = async {
        let mut last = 0;
        while last < VERSIONS {
            let text = wire.text().await;
            let updates: serde_json::Value = serde_json::from_str(&text).unwrap();
            let version = updates["updates"][0]["version"].as_u64().unwrap();
            assert!(version > last, "{version} after {last}");
            last = version;
            wire.send(TEXT, text.replace("notification", "ack").as_bytes()).await;
        }
    };
    let send = async {
        for version in 1..=VERSIONS {
            mailbox.move_out();
            assert_eq!(put(&node, version).await, Some(Receipt::Delivered));
        }
    };
    tokio::join!(receive, send);
    assert!(node.node.metrics.connections_moved.get() > 0);
    node.stop().await;
}

#[tokio::test]
async fn a_connection_in_the_midst_of_a_message_stays() {
    let node = TestNode::start(&[]).await;
    let mut wire = Wire::upgraded(node.address).await;
    let bytes = frame(TEXT, HELLO.as_bytes());
    let (first, rest) = bytes.split_at(10);
    wire.0.write_all(first).await.unwrap();
    // This one is there after it, and has been read.
    let mut other = registered(&node).await;
    move_all(&node, 1).await;
    wire.0.write_all(rest).await.unwrap();
    assert!(wire.text().await.contains("\"status\":200"));
    other.send(PING, b"p").await;
    assert_eq!(other.next().await, Some((PONG, b"p".to_vec())));
    node.stop().await;
}

#[tokio::test]
async fn those_who_stay_move_when_half_have_left() {
    const ALL: usize = 1_100;
    const STAY: usize = 100;
    beckon_ops::process::raise_open_files_max();
    let node = TestNode::start(&[]).await;
    let mut connecting = JoinSet::new();
    for _ in 0..ALL {
        let address = node.address;
        connecting.spawn(async move { Wire::greeted(address).await });
    }
    let mut wires = connecting.join_all().await;
    // So that all have been counted, however often that is.
    tokio::time::sleep(beckon_connection_node::compaction::LOOK_INTERVAL + Duration::from_millis(500)).await;
    assert_eq!(node.node.metrics.connections_moved.get(), 0);
    wires.truncate(STAY);
    until(|| node.node.metrics.connections_moved.get() >= STAY as u64).await;
    for wire in &mut wires {
        wire.send(PING, b"p").await;
        assert_eq!(wire.next().await, Some((PONG, b"p".to_vec())));
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_move_while_the_node_stops_are_closed() {
    let node = TestNode::start(&[("BECKON_DRAIN_TIME", "1s")]).await;
    let mut wires = Vec::new();
    for _ in 0..100 {
        wires.push(Wire::greeted(node.address).await);
    }
    let shared = node.node.clone();
    let mut moving = JoinSet::new();
    moving.spawn(async move {
        while shared.registry.open() > 0 {
            shared.registry.all().iter().for_each(|mailbox| mailbox.move_out());
            tokio::task::yield_now().await;
        }
        shared.metrics.connections_moved.get()
    });
    until(|| node.node.metrics.connections_moved.get() > 0).await;
    let mut closing = JoinSet::new();
    for mut wire in wires {
        closing.spawn(async move { wire.close_code().await });
    }
    node.stop().await;
    let codes = closing.join_all().await;
    assert!(codes.iter().all(|code| *code == 1001), "{codes:?}");
    assert!(moving.join_all().await.iter().all(|moved| *moved > 100));
}
