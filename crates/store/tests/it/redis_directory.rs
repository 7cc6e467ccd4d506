//! The directory of a large cluster: what an announcement costs, and that copies which are kept up to date by changes are
//! right.

use crate::redis::open;
use beckon_store::{Announced, NodeEntry, Store, redis::RedisOptions};
use beckon_store_conformance::steps::new_node;
use beckon_testbed::redis::{Options, RedisServer};
use beckon_types::NodeId;
use std::{collections::BTreeMap, sync::Arc};

/// Nodes of a cluster for 100 million devices, half of which have connections.
const NODES: usize = 1000;

/// More than the store keeps changes.
const MANY_CHANGES: usize = 1100;

/// Moves the end of each lease into the past.
const LAPSE: &str = "for _, node in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
    redis.call('ZINCRBY', KEYS[1], -10000, node)
    end";

async fn stores(server: &RedisServer, count: usize) -> Vec<Arc<dyn Store>> {
    let mut stores = Vec::new();
    for _ in 0..count {
        stores.push(open(server, RedisOptions::default()).await);
    }
    stores
}

fn by_node(entries: Vec<NodeEntry>) -> BTreeMap<NodeId, NodeEntry> {
    entries.into_iter().map(|entry| (entry.node, entry)).collect()
}

async fn announce(store: &Arc<dyn Store>, entry: &NodeEntry) -> Announced {
    store.announce(entry.clone()).await.unwrap()
}

/// Seconds of a processor that Redis has had.
fn processor_time(server: &RedisServer) -> f64 {
    let time = |name: &str| server.info(name).parse::<f64>().unwrap();
    time("used_cpu_user") + time("used_cpu_sys")
}

/// Bytes that Redis has sent, and hashes that it has read as a whole.
fn spent(server: &RedisServer) -> (u64, u64) {
    let calls = server.info("cmdstat_hgetall");
    let calls = calls.strip_prefix("calls=").and_then(|calls| calls.split(',').next());
    (server.info("total_net_output_bytes").parse().unwrap(), calls.unwrap().parse().unwrap())
}

#[tokio::test]
async fn an_announcement_costs_no_more_in_a_large_cluster() {
    const READERS: usize = 5;
    const ROUNDS: u64 = 100;
    /// Bytes that an announcement may cost, with what else is sent meanwhile: the answers to `INFO` and `TIME`.
    const BYTES_MAX: u64 = 1000;
    let server = RedisServer::start();
    let stores = stores(&server, READERS).await;
    for _ in 0..NODES {
        announce(&stores[0], &new_node()).await;
    }
    let readers: Vec<NodeEntry> = stores.iter().map(|_| new_node()).collect();
    let whole = spent(&server);
    for _ in 0..2 {
        for (store, reader) in stores.iter().zip(&readers) {
            assert!(announce(store, reader).await.nodes.len() >= NODES);
        }
    }
    let quiet = spent(&server);
    assert!(
        quiet.0 - whole.0 > (READERS as u64 - 1) * 50 * NODES as u64,
        "each copy was read as a whole once"
    );
    assert!(quiet.1 - whole.1 < READERS as u64 + 1, "and no more than once");
    let had = processor_time(&server);
    for _ in 0..ROUNDS {
        for (store, reader) in stores.iter().zip(&readers) {
            announce(store, reader).await;
        }
    }
    let busy = spent(&server);
    let announcements = ROUNDS * READERS as u64;
    let micros = (processor_time(&server) - had) * 1e6 / announcements as f64;
    println!("beside {NODES} nodes: {micros:.0} µs of Redis for each announcement");
    let bytes = (busy.0 - quiet.0) / announcements;
    assert!(bytes <= BYTES_MAX, "{bytes} bytes for each announcement");
    assert_eq!(busy.1, quiet.1, "no copy was read as a whole again");
    // A node joins: each other node reads one entry.
    let newcomer = new_node();
    announce(&stores[0], &newcomer).await;
    for (store, reader) in stores.iter().zip(&readers) {
        assert!(announce(store, reader).await.nodes.contains(&newcomer));
    }
    assert_eq!(spent(&server).1, quiet.1, "no copy was read as a whole for a change");
}

#[tokio::test]
async fn copies_that_are_kept_by_changes_are_the_same_as_the_directory() {
    let server = RedisServer::start();
    let stores = stores(&server, 3).await;
    let mut nodes: Vec<NodeEntry> = (0..8).map(|_| new_node()).collect();
    let mut listed = BTreeMap::new();
    for turn in 0..400_usize {
        let store = &stores[turn * 7 % 11 % stores.len()];
        let node = &mut nodes[turn * 5 % 13 % 8];
        if turn % 3 == 2 {
            store.retire(node.node).await.unwrap();
            listed.remove(&node.node);
            continue;
        }
        node.room = turn % 4 < 2;
        listed.insert(node.node, node.clone());
        assert_eq!(by_node(announce(store, node).await.nodes), listed, "turn {turn}");
    }
    assert_eq!(by_node(stores[0].nodes().await.unwrap()), listed);
}

/// A copy is behind by more changes than are kept.
#[tokio::test]
async fn a_copy_that_is_far_behind_is_read_as_a_whole() {
    let server = RedisServer::start();
    let stores = stores(&server, 2).await;
    let (reader, stays) = (new_node(), new_node());
    announce(&stores[0], &reader).await;
    let gone = new_node();
    announce(&stores[1], &gone).await;
    announce(&stores[0], &reader).await;
    stores[1].retire(gone.node).await.unwrap();
    announce(&stores[1], &stays).await;
    for _ in 0..MANY_CHANGES {
        announce(&stores[1], &new_node()).await;
    }
    let nodes = by_node(announce(&stores[0], &reader).await.nodes);
    assert!(nodes.contains_key(&stays.node) && !nodes.contains_key(&gone.node));
    assert_eq!(nodes.len(), MANY_CHANGES + 2);
}

/// All leases lapse at once: the next announcement removes all other nodes, and every copy learns of it.
#[tokio::test]
async fn nodes_whose_leases_have_lapsed_leave_every_copy() {
    let server = RedisServer::start();
    let stores = stores(&server, 2).await;
    let readers = [new_node(), new_node()];
    for _ in 0..NODES {
        announce(&stores[0], &new_node()).await;
    }
    announce(&stores[1], &readers[1]).await;
    server.command(&["EVAL", LAPSE, "1", "{beckon}leases"]);
    for (store, reader) in stores.iter().zip(&readers) {
        announce(store, reader).await;
    }
    let announced = announce(&stores[0], &readers[0]).await;
    assert!(!announced.lapsed);
    assert_eq!(by_node(announced.nodes), by_node(readers.to_vec()));
}

/// The store loses its last changes. No copy keeps what it has learnt from them, and none lacks what came in their place.
#[tokio::test]
async fn a_copy_forgets_the_changes_that_the_store_has_lost() {
    let mut server = RedisServer::start_with(Options { appendonly: true, ..Options::default() });
    let stores = stores(&server, 2).await;
    let readers = [new_node(), new_node()];
    for (store, reader) in stores.iter().zip(&readers) {
        announce(store, reader).await;
    }
    let snapshot = server.snapshot();
    let lost = new_node();
    announce(&stores[0], &lost).await;
    announce(&stores[1], &readers[1]).await;
    server.restore(&snapshot);
    let newcomer = new_node();
    let mut last = Vec::new();
    for (store, entry) in [(0, &newcomer), (1, &readers[1]), (0, &readers[0]), (1, &readers[1])] {
        let answered = async {
            loop {
                match stores[store].announce(entry.clone()).await {
                    Ok(announced) => return announced.nodes,
                    Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
                }
            }
        };
        last.push(answered.await);
    }
    for nodes in &last[2..] {
        let nodes = by_node(nodes.clone());
        assert!(nodes.contains_key(&newcomer.node) && !nodes.contains_key(&lost.node), "{nodes:?}");
    }
}
