//! How a node stops, and what makes it stop by itself.

use crate::{
    node::TestNode,
    wire::{CLOSE, UPGRADE, Wire},
};
use std::time::Duration;
use tokio::{io::AsyncReadExt as _, task::JoinSet, time::timeout};

#[tokio::test]
async fn a_drain_closes_all_sockets_and_refuses_new_ones() {
    let node = TestNode::start(&[("BECKON_DRAIN_RATE", "50")]).await;
    let mut wires = Vec::new();
    for _ in 0..50 {
        wires.push(Wire::greeted(node.address).await);
    }
    let address = node.address;
    let mut stopping = JoinSet::new();
    stopping.spawn(node.stop());
    for wire in &mut wires {
        assert_eq!(wire.close_code().await, 1001);
    }
    let refused = Wire::open(address, UPGRADE.as_bytes()).await.head().await;
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("retry-after: 5"), "{refused}");
    for mut wire in wires {
        wire.send(CLOSE, &1001_u16.to_be_bytes()).await;
        let mut rest = Vec::new();
        wire.0.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"");
    }
    let stopped = timeout(Duration::from_secs(20), stopping.join_next()).await;
    stopped.expect("in time").unwrap().unwrap();
}

#[tokio::test]
async fn a_drain_does_not_wait_for_connections_that_are_not_upgraded() {
    let node = TestNode::start(&[]).await;
    let mut silent = Wire::open(node.address, b"").await;
    let mut halfway = Wire::open(node.address, b"GET / HTTP/1.1\r\nHost: h\r\n").await;
    // A node accepts in order, so both are under way when the third one is answered.
    Wire::greeted(node.address).await;
    node.until("beckon_connections", |open| open == 0).await;
    node.stop().await;
    for wire in [&mut silent, &mut halfway] {
        let mut rest = Vec::new();
        let ended = timeout(Duration::from_secs(5), wire.0.read_to_end(&mut rest)).await;
        assert_eq!(ended.expect("it was dropped").unwrap(), 0);
    }
}

/// The writer of the embedded store is a thread. Closing the store is a way to end it for real.
#[tokio::test]
async fn a_node_whose_store_has_ended_stops_with_exit_code_70() {
    let node = TestNode::start(&[]).await;
    let mut wire = Wire::greeted(node.address).await;
    node.store.close().await.unwrap();
    assert_eq!(wire.close_code().await, 1001);
    drop(wire);
    let failure = node.ended().await.expect_err("the node needs its store");
    assert_eq!((failure.code, &*failure.message), (70, "the task `store` has ended"));
}
