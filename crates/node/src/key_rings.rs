//! Whether the nodes of a cluster have the same token keys.
//!
//! Each node announces the fingerprints of its keys. A node that lacks a key of another one cannot tell an endpoint that was
//! made with it from one that never existed. So it must not answer that an endpoint does not exist: senders would forget it.

use beckon_store::NodeEntry;
use beckon_types::{KeyRing, NodeId};
use parking_lot::Mutex;
use std::{
    collections::HashSet,
    sync::atomic::{AtomicBool, Ordering},
};

/// Compares the key ring of this node with those of the others.
#[derive(Debug)]
pub struct KeyRings {
    own: Vec<u64>,
    lacks_keys: AtomicBool,
    /// The nodes whose rings were complained about.
    named: Mutex<HashSet<NodeId>>,
}

impl KeyRings {
    /// The ring of a node without others.
    pub fn alone(keys: &KeyRing) -> Self {
        Self {
            own: keys.fingerprints().collect(),
            lacks_keys: AtomicBool::new(false),
            named: Mutex::default(),
        }
    }

    /// The ring of a node that has not compared it with those of the others. Until it has, it may lack keys.
    pub fn in_cluster(keys: &KeyRing) -> Self {
        let alone = Self::alone(keys);
        alone.lacks_keys.store(true, Ordering::Relaxed);
        alone
    }

    /// The fingerprints of this node's keys, that of the key which seals first.
    pub fn own(&self) -> &[u64] {
        &self.own
    }

    /// Whether another node may have a key that this one lacks.
    pub fn lacks_keys(&self) -> bool {
        self.lacks_keys.load(Ordering::Relaxed)
    }

    /// Compares the ring with those in the directory. Complains once about each node that makes endpoints which this one
    /// cannot open, or the other way round.
    pub fn compare(&self, directory: &[NodeEntry]) {
        let lacks = |entry: &NodeEntry| entry.keys.iter().any(|key| !self.own.contains(key));
        self.lacks_keys.store(directory.iter().any(lacks), Ordering::Relaxed);
        let mut named = self.named.lock();
        named.retain(|node| directory.iter().any(|entry| entry.node == *node));
        for entry in directory {
            let reason = if entry.keys.first().is_some_and(|key| !self.own.contains(key)) {
                "it makes endpoints that this node cannot open"
            } else if self.own.first().is_some_and(|key| !entry.keys.contains(key)) {
                "it cannot open the endpoints that this node makes"
            } else {
                named.remove(&entry.node);
                continue;
            };
            if named.insert(entry.node) {
                tracing::error!(
                    node.id = %entry.node,
                    node.name = entry.name,
                    reason,
                    "another node has other token_keys; give all nodes the same list, and add a new key at its end first"
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(keys: &[u8]) -> KeyRing {
        let keys: Vec<String> = keys.iter().map(|key| KeyRing::key_text(&[*key; 32])).collect();
        KeyRing::parse(&keys.join(",")).unwrap()
    }

    fn node(number: u64, keys: &[u8]) -> NodeEntry {
        NodeEntry {
            node: NodeId(number),
            name: String::new(),
            grpc_address: String::new(),
            workers: 1,
            ws_url: None,
            room: false,
            keys: ring(keys).fingerprints().collect(),
        }
    }

    #[test]
    fn a_node_lacks_keys_until_it_has_compared_its_ring_with_all_others() {
        let rings = KeyRings::in_cluster(&ring(&[1, 2]));
        assert!(rings.lacks_keys(), "it does not know yet");
        rings.compare(&[node(1, &[1, 2]), node(2, &[2, 1]), node(3, &[1])]);
        assert!(!rings.lacks_keys());
        rings.compare(&[node(1, &[1, 2]), node(2, &[1, 2, 3])]);
        assert!(rings.lacks_keys());
        rings.compare(&[node(1, &[1, 2])]);
        assert!(!rings.lacks_keys());
        assert!(!KeyRings::alone(&ring(&[1])).lacks_keys());
    }

    #[test]
    fn each_node_that_seals_with_a_key_which_another_lacks_is_named_once() {
        let rings = KeyRings::in_cluster(&ring(&[1, 2]));
        let named = |directory: &[NodeEntry]| {
            rings.compare(directory);
            let mut named: Vec<u64> = rings.named.lock().iter().map(|node| node.0).collect();
            named.sort_unstable();
            named
        };
        assert!(named(&[node(1, &[2, 1]), node(2, &[1, 3])]).is_empty(), "no endpoint is lost");
        assert_eq!(named(&[node(1, &[3, 1]), node(2, &[2])]), [1_u64, 2]);
        assert!(named(&[node(1, &[1, 2])]).is_empty());
    }
}
