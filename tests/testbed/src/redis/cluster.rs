//! A Redis Cluster.

use super::server::{Options, RedisServer, user_part};
use crate::{ports::Port, wait_until};

/// Hash slots of a Redis Cluster.
const SLOTS: usize = 16384;

/// A Redis Cluster of masters without replicas, killed when dropped.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<RedisServer>,
}

impl RedisCluster {
    /// Starts a cluster of so many masters (3 or more are usual) and waits until all of them agree.
    pub fn start(masters: usize) -> Self {
        Self::start_with(masters, Options::default())
    }

    /// Starts a cluster whose servers have these options. Without TLS.
    pub fn start_with(masters: usize, options: Options) -> Self {
        let start = |_| RedisServer::start_as(options.clone(), Some(Port::free()));
        let nodes: Vec<_> = (0..masters).map(start).collect();
        for (index, node) in nodes.iter().enumerate() {
            let (first, end) = (SLOTS * index / masters, SLOTS * (index + 1) / masters);
            node.command(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &(end - 1).to_string()]);
            node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()]);
        }
        for node in &nodes[1..] {
            let bus = node.bus.as_ref().expect("a node of a cluster").number().to_string();
            nodes[0].command(&["CLUSTER", "MEET", "127.0.0.1", &node.port().to_string(), &bus]);
        }
        let cluster = Self { nodes };
        cluster.wait_until_all_agree();
        cluster
    }

    /// The URL for `BECKON_STORE`, with the password, naming all masters.
    pub fn url(&self) -> String {
        let password = self.nodes.first().map(|node| user_part(&node.options)).unwrap_or_default();
        let hosts: Vec<_> = self.nodes.iter().map(|node| node.address().to_string()).collect();
        format!("redis-cluster://{password}{}", hosts.join(","))
    }

    /// The masters, to pause, kill or restart them. A restarted one knows its place in the cluster.
    pub fn nodes(&mut self) -> &mut [RedisServer] {
        &mut self.nodes
    }

    /// Waits until every node knows all others and who has every slot.
    pub fn wait_until_all_agree(&self) {
        let agrees = |node: &RedisServer| match node.try_command(&["CLUSTER", "INFO"]) {
            Ok(redis::Value::BulkString(text)) => {
                let text = String::from_utf8_lossy(&text);
                let known = format!("cluster_known_nodes:{}\r", self.nodes.len());
                text.contains("cluster_state:ok") && text.contains(&known)
            }
            Ok(_) | Err(_) => false,
        };
        wait_until("the nodes of the Redis Cluster agree", || self.nodes.iter().all(agrees).then_some(()));
    }
}
