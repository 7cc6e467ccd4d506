//! Cases about the directory of nodes, the epoch, health checks and closing.

use crate::{cases::cases, steps::*};
use beckon_store::NodeEntry;
use beckon_types::NodeId;

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
