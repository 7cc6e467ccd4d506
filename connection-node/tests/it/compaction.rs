//! Memory is given back when many clients have left.

use crate::{
    node::TestNode,
    wire::{PING, PONG, Wire},
};
use tokio::task::JoinSet;

#[tokio::test]
async fn the_connections_that_stay_are_moved_when_half_have_left() {
    const ALL: usize = 1_100;
    const STAY: usize = 100;
    beckon_ops::process::raise_open_files_max();
    let node = TestNode::start(&[]).await;
    let mut connecting = JoinSet::new();
    for _ in 0..ALL {
        connecting.spawn(Wire::upgraded(node.address));
    }
    let mut wires = connecting.join_all().await;
    assert_eq!(node.metric("beckon_connections_moved_total").await, 0);
    wires.truncate(STAY);
    node.until("beckon_connections_moved_total", |moved| moved >= STAY as u64).await;
    for wire in &mut wires {
        wire.send(PING, b"p").await;
        assert_eq!(wire.next().await, Some((PONG, b"p".to_vec())));
    }
    drop(wires);
    node.stop().await;
}
