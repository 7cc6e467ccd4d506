//! Cases about the directory of nodes, the epoch, health checks and closing.

use crate::{cases::cases, steps::*};
use beckon_store::{MISSED_MAX, Missed, NodeEntry};
use beckon_types::{ConnectionId, NodeId, Presence};
use futures_util::future::join_all;

/// The entries of one node. Other nodes may be in the directory.
fn of(node: NodeId, entries: Vec<NodeEntry>) -> Vec<NodeEntry> {
    entries.into_iter().filter(|entry| entry.node == node).collect()
}

cases! { $ directory directory_cases:

/// Announces a node and reads the directory, which includes the announcing node.
async fn an_announced_node_is_listed(store) {
    let first = new_node();
    let second = NodeEntry { ws_url: None, room: false, name: "näme\n".into(), ..new_node() };
    for entry in [&first, &second] {
        let announced = store.announce(entry.clone()).await.expect("announce");
        assert_eq!(of(entry.node, announced.nodes), std::slice::from_ref(entry));
    }
    let nodes = store.nodes().await.expect("nodes");
    assert_eq!(of(first.node, nodes.clone()), [first]);
    assert_eq!(of(second.node, nodes), [second]);
}

/// A later announcement replaces the entry.
async fn the_latest_announcement_is_listed(store) {
    let node = new_node();
    store.announce(node.clone()).await.expect("announce");
    let full = NodeEntry { room: false, ..node };
    let announced = store.announce(full.clone()).await.expect("announce");
    assert_eq!(of(full.node, announced.nodes), std::slice::from_ref(&full));
    assert_eq!(of(full.node, store.nodes().await.expect("nodes")), [full]);
}

/// The lease has lapsed at the first announcement, and not at the next one.
async fn a_lease_is_missing_at_the_first_announcement_only(store) {
    let node = new_node();
    assert!(store.announce(node.clone()).await.expect("announce").lapsed);
    assert!(!store.announce(node.clone()).await.expect("announce").lapsed);
    assert!(store.announce(new_node()).await.expect("announce").lapsed);
    assert!(!store.announce(node).await.expect("announce").lapsed);
}

/// Ends the lease of a node at once.
async fn a_retired_node_is_not_listed(store) {
    let (node, other) = (new_node(), new_node());
    store.announce(node.clone()).await.expect("announce");
    store.announce(other.clone()).await.expect("announce");
    store.retire(node.node).await.expect("retire");
    store.retire(NodeId(random())).await.expect("retire of an unknown node");
    let nodes = store.nodes().await.expect("nodes");
    assert_eq!(of(node.node, nodes.clone()), []);
    assert_eq!(of(other.node, nodes), [other]);
    assert!(store.announce(node).await.expect("announce").lapsed);
}

/// What was noted for the sockets of a node is taken once, by that node.
async fn what_was_missed_is_taken_once_by_its_node(store) {
    let (one, other) = (new_presence(), new_presence());
    let second = Presence { connection: new_presence().connection, ..one };
    for presence in [one, second, one, other] {
        store.note_missed(presence).await.expect("note_missed");
    }
    let mut expected = vec![one.connection, second.connection];
    expected.sort_unstable();
    let Missed::These(mut taken) = store.take_missed(one.node).await.expect("take_missed") else {
        panic!("there is room for two");
    };
    taken.sort_unstable();
    assert_eq!(taken, expected);
    assert_eq!(store.take_missed(one.node).await, Ok(Missed::These(Vec::new())));
    assert_eq!(store.take_missed(other.node).await, Ok(Missed::These(vec![other.connection])));
}

/// When more sockets have missed something than are noted one by one, any of the node's may have.
async fn of_too_many_sockets_any_may_have_missed_something(store) {
    let node = new_presence().node;
    let socket = |connection: usize| Presence { node, connection: ConnectionId(connection as u64) };
    for connections in (0..=MISSED_MAX).collect::<Vec<_>>().chunks(1000) {
        let noted = connections.iter().map(|connection| store.note_missed(socket(*connection)));
        assert!(join_all(noted).await.iter().all(Result::is_ok));
    }
    assert_eq!(store.take_missed(node).await, Ok(Missed::Any));
    assert_eq!(store.take_missed(node).await, Ok(Missed::These(Vec::new())));
}

/// The epoch is the same for all announcements.
async fn the_epoch_stays(store) {
    let first = store.announce(new_node()).await.expect("announce").epoch;
    for _ in 0..3 {
        assert_eq!(store.announce(new_node()).await.expect("announce").epoch, first);
    }
}

/// Checks that the store can be written to.
async fn a_healthy_store_passes_the_check(store) {
    assert_eq!(store.check().await, Ok(()));
}

}
