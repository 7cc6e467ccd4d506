//! Whether the nodes of a cluster have the same token keys.
//!
//! Each node announces the fingerprints of its keys. A node that lacks a key of another one cannot tell an endpoint that was
//! made with it from one that never existed. So it must not answer that an endpoint does not exist: senders would forget it.

use beckon_store::{LEASE, NodeEntry};
use beckon_types::{KeyRing, Moment, NodeId};
use parking_lot::Mutex;
use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};
use tokio::sync::Notify;

/// How long a key of another node is remembered after the directory had it last: much longer than a lease, since the directory is
/// empty when Redis was away.
const KEY_MEMORY: Duration = Duration::from_secs(10 * 60);

/// Compares the key ring of this node with those of the others.
#[derive(Debug)]
pub struct KeyRings {
    own: KeyRing,
    /// Notified when the ring may have got other keys.
    reloaded: Notify,
    /// `None` for a node without others.
    others: Option<Others>,
}

/// What is known of the other nodes.
#[derive(Debug, Default)]
struct Others {
    /// The ring of this node that was compared last, and when. It can have got other keys since, and so can the others.
    compared: Mutex<(Vec<u64>, Moment)>,
    /// The keys of the nodes in the directory, now and until a while ago.
    keys: Mutex<Keys>,
    /// The nodes whose rings were complained about.
    named: Mutex<HashSet<NodeId>>,
}

/// The keys that nodes have announced.
#[derive(Debug, Default)]
struct Keys {
    /// Their fingerprints, and when a node had them last.
    seen: HashMap<u64, Moment>,
    /// When a node that makes endpoints was seen last.
    maker_seen: Option<Moment>,
}

impl Keys {
    fn learn(&mut self, directory: &[NodeEntry], now: Moment) {
        self.seen.extend(directory.iter().flat_map(|entry| &entry.keys).map(|key| (*key, now)));
        if directory.iter().any(|entry| !entry.grpc_address.is_empty()) {
            self.maker_seen = Some(now);
        }
        let is_remembered = |seen: Moment| now.since(seen) < KEY_MEMORY;
        self.seen.retain(|_, seen| is_remembered(*seen));
        self.maker_seen = self.maker_seen.filter(|seen| is_remembered(*seen));
    }

    /// Whether there may be a key that is not in this ring. Without a node that makes endpoints there is no telling.
    fn are_more_than(&self, ring: &[u64]) -> bool {
        self.maker_seen.is_none() || self.seen.keys().any(|key| !ring.contains(key))
    }
}

impl KeyRings {
    /// The ring of a node without others.
    pub fn alone(keys: &KeyRing) -> Self {
        Self { own: keys.clone(), reloaded: Notify::new(), others: None }
    }

    /// The ring of a node that has not compared it with those of the others. Until it has, it may lack keys.
    pub fn in_cluster(keys: &KeyRing) -> Self {
        Self { own: keys.clone(), reloaded: Notify::new(), others: Some(Others::default()) }
    }

    /// The ring may have got other keys. The node should announce them soon: if others knew the old list for long, they would
    /// complain about a second change.
    pub fn reloaded(&self) {
        self.reloaded.notify_one();
    }

    /// Ready when [`KeyRings::reloaded`] was called. For one waiter.
    pub async fn until_reloaded(&self) {
        self.reloaded.notified().await;
    }

    /// The fingerprints of this node's keys, that of the key which seals first.
    pub fn own(&self) -> Vec<u64> {
        self.own.fingerprints()
    }

    /// Whether another node may have a key that this one lacks. So it is unless the ring that this node has now was compared, with
    /// that of a connection-node among others, less than a lease ago.
    pub fn lacks_keys(&self, now: Moment) -> bool {
        self.others.as_ref().is_some_and(|others| {
            let own = self.own();
            let (compared, at) = &*others.compared.lock();
            now.since(*at) > LEASE || *compared != own || others.keys.lock().are_more_than(&own)
        })
    }

    /// Compares the ring with those in the directory. Complains once about each node that makes endpoints which this one
    /// cannot open, or the other way round.
    pub fn compare(&self, directory: &[NodeEntry], now: Moment) {
        let Some(others) = &self.others else { return };
        let own = self.own();
        others.keys.lock().learn(directory, now);
        *others.compared.lock() = (own.clone(), now);
        let mut named = others.named.lock();
        named.retain(|node| directory.iter().any(|entry| entry.node == *node));
        for entry in directory {
            let reason = if entry.keys.first().is_some_and(|key| !own.contains(key)) {
                "it makes endpoints that this node cannot open"
            } else if own.first().is_some_and(|key| !entry.keys.contains(key)) {
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
            grpc_address: "127.0.0.1:8082".to_owned(),
            workers: 1,
            ws_url: None,
            room: false,
            keys: ring(keys).fingerprints(),
        }
    }

    fn endpoint_node(number: u64, keys: &[u8]) -> NodeEntry {
        NodeEntry { grpc_address: String::new(), ..node(number, keys) }
    }

    fn after(time: Duration) -> Moment {
        Moment(0) + time
    }

    #[test]
    fn a_node_lacks_keys_until_it_has_compared_its_ring_with_all_others() {
        let rings = KeyRings::in_cluster(&ring(&[1, 2]));
        let compare = |directory: &[NodeEntry], time| {
            rings.compare(directory, after(time));
            rings.lacks_keys(after(time))
        };
        assert!(rings.lacks_keys(Moment(0)), "it does not know yet");
        assert!(compare(&[endpoint_node(1, &[1, 2])], Duration::ZERO), "no node makes endpoints");
        assert!(!compare(&[node(1, &[1, 2]), node(2, &[2, 1]), node(3, &[1])], Duration::ZERO));
        assert!(compare(&[node(1, &[1, 2]), endpoint_node(2, &[1, 2, 3])], Duration::from_secs(3)));
        let days = after(Duration::from_secs(1_000_000));
        assert!(!KeyRings::alone(&ring(&[1])).lacks_keys(days));
    }

    #[test]
    fn keys_of_nodes_that_have_left_the_directory_are_remembered() {
        let rings = KeyRings::in_cluster(&ring(&[1, 2]));
        let compare = |directory: &[NodeEntry], time| {
            rings.compare(directory, after(time));
            rings.lacks_keys(after(time))
        };
        assert!(compare(&[node(1, &[1, 2]), node(2, &[3])], Duration::ZERO));
        assert!(compare(&[node(1, &[1, 2])], KEY_MEMORY - Duration::from_secs(1)));
        assert!(!compare(&[node(1, &[1, 2])], KEY_MEMORY));
        assert!(!compare(&[], KEY_MEMORY * 2 - Duration::from_secs(1)), "Redis was away");
        assert!(compare(&[], KEY_MEMORY * 2));
    }

    #[test]
    fn a_ring_with_other_keys_has_to_be_compared_again() {
        let own = ring(&[1]);
        let rings = KeyRings::in_cluster(&own);
        rings.compare(&[node(1, &[1])], Moment(0));
        assert!(!rings.lacks_keys(after(LEASE)));
        assert!(
            rings.lacks_keys(after(LEASE + Duration::from_millis(1))),
            "the others may have got another one"
        );
        own.replace(&ring(&[2, 1]));
        assert!(
            rings.lacks_keys(Moment(0)),
            "it does not know whether the others have any that this one has not"
        );
        rings.compare(&[node(1, &[1])], Moment(0));
        assert!(!rings.lacks_keys(after(LEASE)));
        assert_eq!(rings.own(), ring(&[2, 1]).fingerprints());
    }

    #[test]
    fn each_node_that_seals_with_a_key_which_another_lacks_is_named_once() {
        let rings = KeyRings::in_cluster(&ring(&[1, 2]));
        let named = |directory: &[NodeEntry]| {
            rings.compare(directory, Moment(0));
            let named = rings.others.as_ref().unwrap().named.lock();
            let mut named: Vec<u64> = named.iter().map(|node| node.0).collect();
            named.sort_unstable();
            named
        };
        assert!(named(&[node(1, &[2, 1]), node(2, &[1, 3])]).is_empty(), "no endpoint is lost");
        assert_eq!(named(&[node(1, &[3, 1]), node(2, &[2])]), [1_u64, 2]);
        assert!(named(&[node(1, &[1, 2])]).is_empty());
    }
}
