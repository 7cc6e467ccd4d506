//! A Redis Cluster.

use super::{
    links::Links,
    server::{Options, RedisServer, user_part},
    watch::{Scene, Watched},
};
use crate::{forwarder::Forwarder, wait_until};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

/// Hash slots of a Redis Cluster.
const SLOTS: usize = 16384;

/// What a cluster is started with.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// Shards; 3 or more are usual.
    pub shards: usize,
    /// Replicas of each shard.
    pub replicas: usize,
    /// Whether programs may reach it over forwarders ([`RedisCluster::links`]). The servers then name no host but
    /// their forwarders' port (`cluster-preferred-endpoint-type unknown-endpoint`): a program stays with the address
    /// that it was given, so each can have links of its own.
    pub forwarded: bool,
    /// What each server is started with. Without TLS.
    pub server: Options,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self { shards: 3, replicas: 0, forwarded: false, server: Options::default() }
    }
}

/// A Redis Cluster, killed when dropped.
#[derive(Debug)]
pub struct RedisCluster {
    options: ClusterOptions,
    /// The first primaries of all shards, then the replicas of the first shard, of the second, and so on.
    nodes: Vec<RedisServer>,
    /// From replicas to each server, if the cluster is forwarded.
    replication: Vec<Forwarder>,
    /// Links that were given out.
    links: u8,
}

impl RedisCluster {
    /// Starts a cluster of so many primaries without replicas, and waits until all of them agree.
    pub fn start(shards: usize) -> Self {
        Self::start_with(shards, Options::default())
    }

    /// Starts a cluster of so many primaries without replicas, whose servers have these options. Without TLS.
    pub fn start_with(shards: usize, server: Options) -> Self {
        Self::start_as(ClusterOptions { shards, server, ..ClusterOptions::default() })
    }

    /// Starts a cluster and waits until all servers agree and all replicas have everything.
    pub fn start_as(options: ClusterOptions) -> Self {
        let count = options.shards * (1 + options.replicas);
        let start = |_| RedisServer::start_in_cluster(options.server.clone(), options.forwarded);
        let nodes: Vec<_> = (0..count).map(start).collect();
        let replication = nodes.iter().filter_map(RedisServer::forwarder).collect();
        let cluster = Self { options, nodes, replication, links: 0 };
        cluster.join();
        cluster
    }

    /// Makes a cluster of servers that do not know each other.
    fn join(&self) {
        let shards = self.options.shards;
        for (index, node) in self.nodes[..shards].iter().enumerate() {
            let (first, end) = self.slots_of(index);
            node.command(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &(end - 1).to_string()]);
            node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()]);
        }
        for node in &self.nodes[1..] {
            let (port, bus) = (node.port().to_string(), node.bus_port().to_string());
            self.nodes[0].command(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
        }
        self.wait_until_all_agree();
        for shard in 0..shards {
            let id = self.nodes[shard].cluster_id();
            for replica in &self.shard(shard)[1..] {
                replica.command(&["CLUSTER", "REPLICATE", &id]);
                replica.wait_until_replicated();
            }
        }
    }

    /// Waits until every server lists the replicas of each shard, which takes some seconds.
    pub fn wait_until_replicas_are_listed(&self) {
        use redis::Value::Array;
        /// A range begins with its first and its last slot.
        const SLOTS_LEN: usize = 2;
        let servers = SLOTS_LEN + 1 + self.options.replicas;
        let is_whole = |range: &redis::Value| matches!(range, Array(parts) if parts.len() == servers);
        let lists_all = |node: &RedisServer| {
            let Array(ranges) = node.command(&["CLUSTER", "SLOTS"]) else { return false };
            ranges.len() == self.options.shards && ranges.iter().all(is_whole)
        };
        wait_until("all nodes list all replicas", || self.nodes.iter().all(lists_all).then_some(()));
    }

    /// The URL for `BECKON_STORE`, with the password, naming the first primary of each shard.
    pub fn url(&self) -> String {
        self.url_with(self.nodes[..self.options.shards].iter().map(RedisServer::address))
    }

    fn url_with(&self, addresses: impl Iterator<Item = SocketAddr>) -> String {
        let hosts: Vec<_> = addresses.map(|address| address.to_string()).collect();
        format!("redis-cluster://{}{}", user_part(&self.options.server), hosts.join(","))
    }

    /// New links to all servers, for a program that is to have its own.
    ///
    /// # Panics
    /// If the cluster is not [`ClusterOptions::forwarded`].
    pub fn links(&mut self) -> Links {
        self.links += 1;
        let ip = IpAddr::V4(Ipv4Addr::new(127, 0, 1, self.links));
        let shards: Vec<Vec<_>> = (0..self.options.shards)
            .map(|shard| self.shard(shard).into_iter().map(|node| Arc::new(node.forwarder_at(ip))).collect())
            .collect();
        let url = self.url_with(shards.iter().map(|shard: &Vec<Arc<Forwarder>>| shard[0].address()));
        Links::new(url, shards)
    }

    /// The servers, to pause, kill or restart them: first a primary of each shard, then the replicas. A restarted one
    /// knows its place in the cluster.
    pub fn nodes(&mut self) -> &mut [RedisServer] {
        &mut self.nodes
    }

    /// One of [`Self::nodes`].
    pub fn server(&self, node: usize) -> &RedisServer {
        &self.nodes[node]
    }

    /// The link over which other servers replicate from this one (its index in [`Self::nodes`]), in a cluster that is
    /// [`ClusterOptions::forwarded`].
    pub fn replication(&self, node: usize) -> &Forwarder {
        &self.replication[node]
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.options.shards
    }

    /// Indices of the servers of a shard in [`Self::nodes`].
    fn indices(&self, shard: usize) -> impl Iterator<Item = usize> + use<> {
        let ClusterOptions { shards, replicas, .. } = self.options;
        std::iter::once(shard).chain((0..replicas).map(move |replica| shards + shard * replicas + replica))
    }

    /// The servers of a shard.
    pub fn shard(&self, shard: usize) -> Vec<&RedisServer> {
        self.indices(shard).map(|index| &self.nodes[index]).collect()
    }

    /// The shard of a key.
    pub fn shard_of_key(&self, key: &str) -> usize {
        let slot = redis::from_redis_value(self.nodes[0].command(&["CLUSTER", "KEYSLOT", key]));
        let slot: usize = slot.unwrap_or_else(|error| panic!("CLUSTER KEYSLOT: {error}"));
        (0..self.options.shards).rfind(|shard| self.slots_of(*shard).0 <= slot).expect("a slot")
    }

    /// The first slot of a shard, and the first one after it.
    fn slots_of(&self, shard: usize) -> (usize, usize) {
        let shards = self.options.shards;
        (SLOTS * shard / shards, SLOTS * (shard + 1) / shards)
    }

    /// Waits until one running server of a shard, and no other, takes itself for its primary, and returns its index in
    /// [`Self::nodes`].
    pub fn primary(&self, shard: usize) -> usize {
        wait_until(&format!("shard {shard} has one primary"), || {
            let is_primary =
                |index: &usize| self.nodes[*index].is_running() && self.nodes[*index].is_primary();
            let primaries: Vec<_> = self.indices(shard).filter(is_primary).collect();
            (primaries.len() == 1).then(|| primaries[0])
        })
    }

    /// Promotes a replica of a shard and waits until all servers that run agree. Nothing is lost.
    ///
    /// # Panics
    /// If the shard has no replica that runs.
    pub fn fail_over(&self, shard: usize) {
        let former = self.primary(shard);
        let replica = self.indices(shard).find(|index| *index != former && self.nodes[*index].is_running());
        let replica = &self.nodes[replica.expect("a replica that runs")];
        replica.command(&["CLUSTER", "FAILOVER"]);
        wait_until("a replica is promoted", || replica.is_primary().then_some(()));
        self.primary(shard);
        self.wait_until_all_agree();
    }

    /// Promotes a replica of a shard without the consent of its primary, which follows it as soon as it hears of that. No connection
    /// of a client ends.
    ///
    /// # Panics
    /// If the shard has no replica.
    pub fn take_over(&self, shard: usize) {
        let former = self.primary(shard);
        let replica = self.indices(shard).find(|index| *index != former).expect("a replica");
        self.nodes[replica].command(&["CLUSTER", "FAILOVER", "TAKEOVER"]);
        wait_until("the former primary follows", || (!self.nodes[former].is_primary()).then_some(()));
        self.wait_until_all_agree();
    }

    /// Promotes a replica of a shard, of which the former primary hears nothing for a minute: as if only the links between the
    /// servers were cut, and an operator had ordered it. The former goes on as primary. Returns the index of the new one in
    /// [`Self::nodes`].
    ///
    /// # Panics
    /// If the shard has no replica.
    pub fn fail_over_unnoticed(&self, shard: usize) -> usize {
        let former = self.primary(shard);
        let replica = self.indices(shard).find(|index| *index != former).expect("a replica");
        let id = self.nodes[former].cluster_id();
        self.nodes[former].command(&["CLUSTER", "FORGET", &self.nodes[replica].cluster_id()]);
        for (index, node) in self.nodes.iter().enumerate() {
            if index != former && index != replica {
                node.command(&["CLUSTER", "FORGET", &id]);
            }
        }
        self.nodes[replica].command(&["CLUSTER", "FAILOVER", "TAKEOVER"]);
        wait_until("a replica is promoted", || self.nodes[replica].is_primary().then_some(()));
        replica
    }

    /// Kills the primary of a shard, waits until a replica has taken its place, and returns the index of the former in
    /// [`Self::nodes`], to restart it. What was not replicated is lost.
    pub fn fail_over_by_kill(&mut self, shard: usize) -> usize {
        let former = self.kill_primary(shard);
        self.wait_until_replaced(shard);
        former
    }

    /// Kills the primary of a shard and returns its index in [`Self::nodes`].
    pub(super) fn kill_primary(&mut self, shard: usize) -> usize {
        let former = self.primary(shard);
        self.nodes[former].kill();
        former
    }

    /// Waits until a shard has a primary and all servers agree.
    pub(super) fn wait_until_replaced(&self, shard: usize) {
        self.primary(shard);
        self.wait_until_all_agree();
    }

    /// What [`Watch`](super::Watch) looks at.
    pub(super) fn scene(&self) -> Scene {
        let watched = |server: &RedisServer| Watched::new(server.address(), server.address(), &server.url());
        let shard = |shard| self.shard(shard).into_iter().map(watched).collect();
        Scene::new((0..self.shards()).map(shard), std::iter::empty(), "")
    }

    /// Restarts a shard without what it knew.
    pub fn lose_data(&mut self, shard: usize) {
        let indices: Vec<_> = self.indices(shard).collect();
        indices.iter().for_each(|index| self.nodes[*index].kill());
        indices.iter().for_each(|index| self.nodes[*index].lose_data());
        self.wait_until_all_agree();
    }

    /// Waits until every server that runs knows all others and who has every slot.
    pub fn wait_until_all_agree(&self) {
        let agrees = |node: &RedisServer| match node.try_command(&["CLUSTER", "INFO"]) {
            Ok(redis::Value::BulkString(text)) => {
                let text = String::from_utf8_lossy(&text);
                let known = format!("cluster_known_nodes:{}\r", self.nodes.len());
                text.contains("cluster_state:ok") && text.contains(&known)
            }
            Ok(_) | Err(_) => false,
        };
        wait_until("the nodes of the Redis Cluster agree", || {
            self.nodes.iter().filter(|node| node.is_running()).all(agrees).then_some(())
        });
    }
}
