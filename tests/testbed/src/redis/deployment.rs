//! A store in one of the ways in which Redis is deployed, behind links that can fail.

use super::{
    cluster::{ClusterOptions, RedisCluster},
    links::Links,
    sentinel::RedisSentinel,
    server::{Options, RedisServer},
    watch::{Scene, Takeover, Watch},
};
use crate::{forwarder::Forwarder, process::Throttled, wait_until};
use std::{fmt, str::FromStr, sync::Arc, time::Duration};

/// How Redis is deployed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topology {
    /// One server behind an address that can be pointed at another: a DNS name, a virtual address, a proxy.
    Server,
    /// A primary and a replica that Sentinels watch.
    Sentinel,
    /// A Redis Cluster of three shards.
    Cluster,
}

impl Topology {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Server, Self::Sentinel, Self::Cluster];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Sentinel => "sentinel",
            Self::Cluster => "cluster",
        }
    }
}

impl fmt::Display for Topology {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Topology {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|topology| topology.name() == text);
        found.ok_or_else(|| format!("`{text}` is none of server, sentinel and cluster"))
    }
}

/// Milliseconds without an answer until a Redis Cluster replaces a primary.
const NODE_TIMEOUT_MS: u32 = 5000;

/// What clients have to present at first.
const PASSWORD: &str = "a password";

/// Shards of a Redis Cluster.
const SHARDS: usize = 3;

/// A store with a replica of each primary, killed when dropped.
#[derive(Debug)]
pub struct Deployment {
    servers: Servers,
}

#[derive(Debug)]
enum Servers {
    Server(Box<Pair>),
    Sentinel(RedisSentinel),
    Cluster(RedisCluster),
}

/// A server behind links that can be pointed at its replica.
#[derive(Debug)]
struct Pair {
    current: RedisServer,
    standby: RedisServer,
    links: Vec<Arc<Forwarder>>,
}

impl Pair {
    /// Makes the replica the one that is in use, for new connections.
    fn swap(&mut self) {
        std::mem::swap(&mut self.current, &mut self.standby);
        self.links.iter().for_each(|link| link.point_to(self.current.address()));
    }
}

impl Deployment {
    /// Starts a store that keeps what it knows on the disk.
    pub fn start(topology: Topology) -> Self {
        let password = Some(PASSWORD.to_owned());
        let options = Options { appendonly: true, password, ..Options::default() };
        let servers = match topology {
            Topology::Server => {
                let current = RedisServer::start_with(options);
                let standby = current.start_replica();
                Servers::Server(Box::new(Pair { current, standby, links: Vec::new() }))
            }
            Topology::Sentinel => Servers::Sentinel(RedisSentinel::start(1, &options)),
            Topology::Cluster => {
                let arguments = vec!["--cluster-node-timeout".to_owned(), NODE_TIMEOUT_MS.to_string()];
                let server = Options { arguments, ..options };
                let options = ClusterOptions { shards: SHARDS, replicas: 1, forwarded: true, server };
                Servers::Cluster(RedisCluster::start_as(options))
            }
        };
        Self { servers }
    }

    /// How it is deployed.
    pub fn topology(&self) -> Topology {
        match &self.servers {
            Servers::Server(_) => Topology::Server,
            Servers::Sentinel(_) => Topology::Sentinel,
            Servers::Cluster(_) => Topology::Cluster,
        }
    }

    /// The links of one program to the store.
    pub fn links(&mut self) -> Links {
        match &mut self.servers {
            Servers::Server(pair) => {
                let link = Arc::new(Forwarder::to(pair.current.address()));
                pair.links.push(Arc::clone(&link));
                Links::new(pair.current.url_at(link.address()), vec![vec![link]])
            }
            Servers::Sentinel(sentinel) => sentinel.links(),
            Servers::Cluster(cluster) => cluster.links(),
        }
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        match &self.servers {
            Servers::Server(_) | Servers::Sentinel(_) => 1,
            Servers::Cluster(cluster) => cluster.shards(),
        }
    }

    /// The primary of a shard.
    pub fn primary(&self, shard: usize) -> &RedisServer {
        match &self.servers {
            Servers::Server(pair) => &pair.current,
            Servers::Sentinel(sentinel) => sentinel.server(sentinel.primary()),
            Servers::Cluster(cluster) => cluster.server(cluster.primary(shard)),
        }
    }

    /// The primaries of all shards.
    pub fn primaries(&self) -> impl Iterator<Item = &RedisServer> {
        (0..self.shards()).map(|shard| self.primary(shard))
    }

    /// All servers.
    fn all(&mut self) -> Vec<&mut RedisServer> {
        match &mut self.servers {
            Servers::Server(pair) => vec![&mut pair.current, &mut pair.standby],
            Servers::Sentinel(sentinel) => sentinel.servers().iter_mut().collect(),
            Servers::Cluster(cluster) => cluster.nodes().iter_mut().collect(),
        }
    }

    /// Promotes a replica of every primary and demotes the primary, in order: nothing is lost, except what a former primary accepts
    /// before Sentinels know of the new one. The connections to the former primaries stay open.
    pub fn fail_over(&mut self) {
        match &mut self.servers {
            Servers::Server(pair) => {
                pair.current.give_way_to(&pair.standby);
                pair.swap();
            }
            Servers::Sentinel(sentinel) => sentinel.fail_over(),
            Servers::Cluster(cluster) => (0..cluster.shards()).for_each(|shard| cluster.fail_over(shard)),
        }
    }

    /// Kills the primary of a shard, and starts it again as a replica when another has taken its place. What was
    /// not replicated is lost.
    pub fn fail_over_by_kill(&mut self, shard: usize) {
        let former = self.kill_primary(shard);
        self.replace_killed(shard, former);
    }

    /// Kills the primary of a shard. Returns which it was, for [`Self::replace_killed`].
    pub fn kill_primary(&mut self, shard: usize) -> usize {
        match &mut self.servers {
            Servers::Server(pair) => {
                pair.current.kill();
                0
            }
            Servers::Sentinel(sentinel) => sentinel.kill_primary(),
            Servers::Cluster(cluster) => cluster.kill_primary(shard),
        }
    }

    /// Waits until another has taken the place of a primary that was killed, and starts that as a replica.
    pub fn replace_killed(&mut self, shard: usize, former: usize) {
        match &mut self.servers {
            Servers::Server(pair) => {
                pair.standby.become_primary();
                pair.swap();
                pair.standby.restart();
                pair.standby.become_replica_of(pair.current.address());
            }
            Servers::Sentinel(sentinel) => {
                sentinel.wait_until_primary_is_not(former);
                sentinel.servers()[former].restart();
            }
            Servers::Cluster(cluster) => {
                cluster.wait_until_replaced(shard);
                cluster.nodes()[former].restart();
                cluster.wait_until_all_agree();
            }
        }
    }

    /// Reports when Sentinels or a Redis Cluster have another primary, also when nobody has ordered it. One server has nobody who
    /// could.
    pub fn watch(&self, report: impl FnMut(Takeover) + Send + 'static) -> Watch {
        let scene = match &self.servers {
            Servers::Server(_) => Scene::default(),
            Servers::Sentinel(sentinel) => sentinel.scene(),
            Servers::Cluster(cluster) => cluster.scene(),
        };
        Watch::start(scene, report)
    }

    /// Whether every server runs and each that is not the primary of its shard follows it. Sentinels leave a former primary alone for
    /// about ten seconds, and may promote it again without what came meanwhile.
    pub fn is_replicated(&self) -> bool {
        let follows = |server: &RedisServer| {
            server.try_info("master_link_status").is_ok_and(|status| status.as_deref() == Some("up"))
        };
        let is_whole = |shard: usize| {
            let replicas = self.replicas(shard);
            !replicas.is_empty() && replicas.into_iter().all(follows)
        };
        (0..self.shards()).all(is_whole)
    }

    /// From now on replicas get nothing: a fail-over by kill brings the store back to what it is now.
    pub fn stop_replication(&self) {
        for shard in 0..self.shards() {
            let primary = self.primary(shard);
            let now = primary.replication_offset();
            for replica in self.replicas(shard) {
                wait_until("a replica has everything", || {
                    (replica.replication_offset() >= now).then_some(())
                });
            }
            primary.stop_replication();
        }
    }

    /// The replicas of a shard.
    fn replicas(&self, shard: usize) -> Vec<&RedisServer> {
        let primary = self.primary(shard).port();
        let servers = match &self.servers {
            Servers::Server(pair) => vec![&pair.current, &pair.standby],
            Servers::Sentinel(sentinel) => sentinel.all(),
            Servers::Cluster(cluster) => cluster.shard(shard),
        };
        servers.into_iter().filter(|server| server.is_running() && server.port() != primary).collect()
    }

    /// Each key of all shards with what is left of its life; `None` for those that do not expire.
    pub fn keys(&self) -> Vec<(String, Option<Duration>)> {
        self.primaries().flat_map(RedisServer::keys).collect()
    }

    /// Bytes of memory that the primaries use.
    pub fn used_memory(&self) -> u64 {
        self.primaries().map(|server| server.info("used_memory").parse().unwrap_or(0)).sum()
    }

    /// How many fields a hash has.
    ///
    /// # Panics
    /// The key is not that of a hash.
    pub fn fields(&self, key: &str) -> usize {
        let count = self.primary(self.shard_of_key(key)).command(&["HLEN", key]);
        redis::from_redis_value(count).unwrap_or_else(|error| panic!("HLEN {key}: {error}"))
    }

    /// The fields of a hash, with what is readable of their values.
    ///
    /// # Panics
    /// The key is not that of a hash.
    pub fn fields_of(&self, key: &str) -> Vec<String> {
        let fields = self.primary(self.shard_of_key(key)).command(&["HGETALL", key]);
        let fields: Vec<Vec<u8>> =
            redis::from_redis_value(fields).unwrap_or_else(|error| panic!("HGETALL {key}: {error}"));
        fields.iter().map(|field| field.escape_ascii().to_string()).collect()
    }

    /// The shard of a key.
    pub fn shard_of_key(&self, key: &str) -> usize {
        match &self.servers {
            Servers::Server(_) | Servers::Sentinel(_) => 0,
            Servers::Cluster(cluster) => cluster.shard_of_key(key),
        }
    }

    /// Replaces a shard by one that knows nothing.
    pub fn lose_data(&mut self, shard: usize) {
        match &mut self.servers {
            Servers::Server(pair) => {
                pair.standby.kill();
                pair.current.lose_data();
                // It may have been started as a replica.
                pair.current.become_primary();
                pair.standby.lose_data();
                pair.standby.become_replica_of(pair.current.address());
            }
            Servers::Sentinel(sentinel) => sentinel.lose_data(),
            Servers::Cluster(cluster) => cluster.lose_data(shard),
        }
    }

    /// [`RedisCluster::take_over`].
    ///
    /// # Panics
    /// If it is no Redis Cluster.
    pub fn take_over(&self, shard: usize) {
        match &self.servers {
            Servers::Server(_) | Servers::Sentinel(_) => panic!("only a Redis Cluster knows it"),
            Servers::Cluster(cluster) => cluster.take_over(shard),
        }
    }

    /// Removes everything from a shard that runs on.
    pub fn flush(&self, shard: usize) {
        self.primary(shard).command(&["FLUSHALL"]);
    }

    /// [`RedisServer::pause`] of all servers.
    pub fn pause(&mut self) {
        self.all().into_iter().for_each(|server| server.pause());
    }

    /// [`RedisServer::resume`] of all servers.
    pub fn resume(&mut self) {
        self.all().into_iter().for_each(|server| server.resume());
    }

    /// [`RedisServer::throttle`] of all primaries.
    pub fn throttle(&self, percent: u32) -> Vec<Throttled> {
        self.primaries().map(|server| server.throttle(percent)).collect()
    }

    /// [`RedisServer::fill_up`] of all servers.
    pub fn fill_up(&mut self) {
        self.all().into_iter().for_each(|server| server.fill_up());
    }

    /// [`RedisServer::make_room`] of all servers.
    pub fn make_room(&mut self) {
        self.all().into_iter().for_each(|server| server.make_room());
    }

    /// [`RedisServer::set_password`] of all primaries. Their replicas, and Sentinels, keep the connections they have.
    pub fn set_password(&mut self, password: Option<&str>) {
        for server in self.all().into_iter().filter(|server| server.is_primary()) {
            server.set_password(password);
        }
    }

    /// [`RedisServer::set_password`] of all servers: those that asked for another may be replicas by now, or the other way round.
    pub fn set_password_everywhere(&mut self, password: Option<&str>) {
        self.all().into_iter().for_each(|server| server.set_password(password));
    }

    /// What clients have to present.
    pub fn password(&self) -> String {
        self.primary(0).password().unwrap_or_default().to_owned()
    }

    /// [`RedisServer::drop_clients`] of all primaries.
    pub fn drop_clients(&self) {
        self.primaries().for_each(RedisServer::drop_clients);
    }

    /// How many commands have changed data, by shard.
    fn changes(&self) -> Vec<u64> {
        let changes = |server: &RedisServer| server.info("rdb_changes_since_last_save").parse().unwrap_or(0);
        self.primaries().map(changes).collect()
    }

    /// The shard that `work` changes most. What nodes write by themselves meanwhile is little: `work` has to be a
    /// dozen steps.
    pub async fn shard_of(&self, work: impl AsyncFnOnce()) -> usize {
        let before = self.changes();
        work().await;
        let after = self.changes();
        let growth = |shard: &usize| after[*shard].saturating_sub(before[*shard]);
        (0..self.shards()).max_by_key(growth).expect("a shard")
    }
}
