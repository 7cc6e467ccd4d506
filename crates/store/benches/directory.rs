//! What the announcements of a large cluster cost the Redis that has its directory: the table of docs/capacity.md.
//!
//! What is measured is the time of a processor that Redis takes and the bytes that it sends, so the speed of this program does not
//! matter. One announcement is under way at a time, as in a cluster, where they are spread over three seconds.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and stops if it cannot run"
)]

use beckon_store::{ANNOUNCE_INTERVAL, NodeEntry, Store, redis::RedisOptions};
use beckon_testbed::redis::RedisServer;
use beckon_types::NodeId;
use std::sync::Arc;
use tokio::runtime::Builder;

/// Nodes of a cluster for 100 million devices, half of which have connections.
const NODES: usize = 1000;

/// Processes that have a copy of the directory. Each speaks for several nodes, so that there are fewer connections.
const COPIES: usize = 100;

/// Changes between two announcements from one copy: with 1000 nodes, one in 0.3 s.
const CHANGES: usize = 10;

/// How often each node announces itself for one line.
const ROUNDS: usize = 5;

fn main() {
    // `cargo test --benches` only asks whether it can run.
    let rounds = if std::env::args().any(|argument| argument == "--bench") { ROUNDS } else { 1 };
    Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let mut cluster = Cluster::start().await;
        println!(
            "| {NODES} nodes | CPU of Redis for an announcement | bytes from Redis | all of them, every 3 s |"
        );
        println!("| --- | --- | --- | --- |");
        // The first announcement from each copy.
        cluster.measure("the directory is read as a whole", COPIES, usize::MAX).await;
        cluster.measure("nothing changes", rounds * NODES, usize::MAX).await;
        cluster.measure("a node changes every 0.3 s", rounds * NODES, COPIES / CHANGES).await;
    });
}

/// A Redis with a directory, and the nodes in it.
struct Cluster {
    server: RedisServer,
    copies: Vec<Arc<dyn Store>>,
    /// One more, which is not measured.
    other: Arc<dyn Store>,
    nodes: Vec<NodeEntry>,
}

impl Cluster {
    async fn start() -> Self {
        let server = RedisServer::start();
        let mut copies = Vec::new();
        for _ in 0..COPIES {
            let copy = open(&server).await;
            // Connects the link for announcements.
            copy.take_missed(NodeId(0)).await.unwrap();
            copies.push(copy);
        }
        let nodes: Vec<NodeEntry> = (0..NODES).map(node).collect();
        let other = open(&server).await;
        Self { server, copies, other, nodes }
    }

    /// Announces nodes in turn, so many in all, of which one in `change` has changed, and prints what one costs.
    async fn measure(&mut self, what: &str, announcements: usize, change: usize) {
        // All leases begin now.
        for node in &self.nodes {
            self.other.announce(node.clone()).await.unwrap();
        }
        let (cpu, bytes) = self.spent();
        for turn in 0..announcements {
            let node = &mut self.nodes[turn % NODES];
            if turn % change == change - 1 {
                node.room = !node.room;
            }
            let announced = self.copies[turn % COPIES].announce(node.clone()).await.unwrap();
            assert_eq!(announced.nodes.len(), NODES, "a lease has lapsed: this machine is too busy");
        }
        let (cpu_after, bytes_after) = self.spent();
        let each = (cpu_after - cpu) / announcements as f64;
        let share = each * NODES as f64 / ANNOUNCE_INTERVAL.as_secs_f64() * 100.0;
        let bytes = (bytes_after - bytes) / announcements as u64;
        println!("| {what} | {:.0} µs | {bytes} | {share:.1} % of a core |", each * 1e6);
    }

    /// Seconds of a processor that Redis has had, and bytes that it has sent.
    fn spent(&self) -> (f64, u64) {
        let seconds = |name: &str| self.server.info(name).parse::<f64>().unwrap();
        let cpu = seconds("used_cpu_user") + seconds("used_cpu_sys");
        (cpu, self.server.info("total_net_output_bytes").parse().unwrap())
    }
}

async fn open(server: &RedisServer) -> Arc<dyn Store> {
    Arc::new(beckon_store::redis::connect(&server.url(), RedisOptions::default()).await.unwrap())
}

/// An entry with names as they are in a cloud. Half of the nodes have connections.
fn node(number: usize) -> NodeEntry {
    let has_connections = number.is_multiple_of(2);
    let name = format!("node-{number:04}");
    let grpc_address = if has_connections { format!("{name}.push.example:8082") } else { String::new() };
    let keys = vec![1, 2];
    NodeEntry {
        node: NodeId(number as u64 + 1),
        name,
        grpc_address,
        workers: 2,
        ws_url: None,
        room: true,
        keys,
    }
}
