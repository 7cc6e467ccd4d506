//! What serves: Redis, connection-nodes and endpoint-nodes, or one standalone server.

use crate::{machine, settings::Settings};
use beckon_loadgen::measure::Usage;
use beckon_ops::exit::Failure;
use beckon_testbed::{
    certificates::Certificates,
    fleet::Fleet,
    node::Node,
    plan::Plan,
    programs::{Missing, Programs},
    redis::{RedisCluster, RedisServer},
};
use std::{net::SocketAddr, path::Path};

/// The programs that are measured: those in the folder that the settings name, or those beside this program.
///
/// # Errors
/// One is missing.
pub fn programs(settings: &Settings) -> Result<Programs, Failure> {
    match &settings.programs {
        Some(folder) => programs_in(folder),
        None => Programs::beside_this().map_err(usage),
    }
}

/// The programs in a folder.
///
/// # Errors
/// One is missing.
pub fn programs_in(folder: &Path) -> Result<Programs, Failure> {
    Programs::in_folder(folder).map_err(usage)
}

fn usage(missing: Missing) -> Failure {
    Failure::usage(missing.to_string())
}

/// A running cluster. Its processes end with it.
#[derive(Debug)]
pub struct Cluster {
    fleet: Fleet,
    /// Its store, if that is a Redis Cluster.
    redis_cluster: Option<RedisCluster>,
    /// Those of its public ports.
    certificates: Option<Certificates>,
}

/// What the Redis servers of a cluster have done since they started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RedisWork {
    /// Times that one has read from a connection. What it reads at once is a pipeline, or several.
    pub reads: u64,
    /// Steps.
    pub steps: u64,
    /// Time inside steps, microseconds.
    pub steps_us: u64,
}

impl Cluster {
    /// Starts everything, with room for all clients on every node, and waits until it is ready.
    ///
    /// # Panics
    /// If a program does not start.
    pub fn start(programs: &Programs, plan: Plan) -> Self {
        Self::start_on(programs, plan, None)
    }

    /// The same with a Redis Cluster of so many masters as the store.
    ///
    /// # Panics
    /// If a program does not start.
    pub fn start_on_redis_cluster(programs: &Programs, plan: Plan, masters: usize) -> Self {
        let redis_cluster = RedisCluster::start(masters);
        let cluster = Self::start_on(programs, plan.store(redis_cluster.url()), None);
        Self { redis_cluster: Some(redis_cluster), ..cluster }
    }

    /// The same with TLS on the public ports.
    ///
    /// # Panics
    /// If a program does not start.
    pub fn start_with_tls(programs: &Programs, plan: Plan) -> Self {
        Self::start_on(programs, plan, Some(Certificates::make()))
    }

    fn start_on(programs: &Programs, plan: Plan, certificates: Option<Certificates>) -> Self {
        let plan = match &certificates {
            None => plan,
            Some(certificates) => plan.tls(certificates),
        };
        let plan = plan
            .build(programs.clone())
            .all("BECKON_LOG", "warn")
            .sockets("BECKON_MAX_CONNECTIONS", &machine::clients_max().to_string())
            .sockets("BECKON_REDIRECT_THRESHOLD", "1");
        Self { fleet: plan.start(), redis_cluster: None, certificates }
    }

    /// The certificates of its public ports, if they have TLS.
    pub fn certificates(&self) -> Option<&Certificates> {
        self.certificates.as_ref()
    }

    /// Fails if one of the processes has ended.
    ///
    /// # Errors
    /// One has ended.
    pub fn check(&mut self) -> Result<(), Failure> {
        self.fleet.check().map_err(Failure::unavailable)
    }

    /// Ends every server by SIGTERM, and waits for its end.
    ///
    /// # Errors
    /// One fails.
    pub fn stop(self) -> Result<(), Failure> {
        for node in self.fleet.nodes() {
            let status = node.terminate();
            if !status.success() {
                return Err(Failure::unavailable(format!("{} ends with {status}", node.name())));
            }
        }
        Ok(())
    }

    /// The servers.
    pub fn nodes(&self) -> &[Node] {
        self.fleet.nodes()
    }

    /// Where WebSockets are accepted.
    pub fn ws(&self) -> Vec<SocketAddr> {
        self.fleet.nodes().iter().filter_map(|node| node.addresses().ws).collect()
    }

    /// Where notifications are accepted.
    pub fn http(&self) -> Vec<SocketAddr> {
        self.fleet.nodes().iter().filter_map(|node| node.addresses().http).collect()
    }

    /// Bytes that Redis has allocated; 0 without Redis.
    pub fn redis_memory(&self) -> u64 {
        self.redis().map(|redis| redis.info("used_memory").parse().unwrap_or(0)).sum()
    }

    /// Connections that Redis has, with that of whoever asks; 0 without Redis.
    pub fn redis_connections(&self) -> u64 {
        self.redis().map(|redis| redis.info("connected_clients").parse().unwrap_or(0)).sum()
    }

    /// What Redis has done; nothing without Redis.
    pub fn redis_work(&self) -> RedisWork {
        self.redis().fold(RedisWork::default(), |sum, redis| {
            let steps = redis.info("cmdstat_evalsha");
            let of_steps = |name: &str| {
                let found = steps.split(',').find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
                found.and_then(|number| number.parse().ok()).unwrap_or(0)
            };
            RedisWork {
                reads: sum.reads + redis.info("total_reads_processed").parse().unwrap_or(0),
                steps: sum.steps + of_steps("calls"),
                steps_us: sum.steps_us + of_steps("usec"),
            }
        })
    }

    /// The URL of the Redis that was started with it; `None` without one.
    pub fn store(&self) -> Option<String> {
        self.fleet.redis().map(|redis| redis.url())
    }

    /// A folder for what belongs to this cluster.
    pub fn folder(&self) -> &Path {
        self.fleet.folder()
    }

    /// Names and numbers of the processes.
    pub fn pids(&self) -> impl Iterator<Item = (&'static str, u32)> {
        let nodes = self.fleet.nodes().iter().map(|node: &Node| (node.program().name(), node.pid()));
        nodes.chain(self.redis().map(|redis| ("redis", redis.pid())))
    }

    /// Its Redis servers.
    fn redis(&self) -> impl Iterator<Item = &RedisServer> {
        let masters = self
            .redis_cluster
            .iter()
            .flat_map(|masters| (0..masters.shards()).map(|master| masters.server(master)));
        self.fleet.redis().into_iter().chain(masters)
    }

    /// What the processes of a name use together.
    pub fn usage(&self, name: &str) -> Usage {
        let mut sum = Usage::default();
        let pids = self.pids().filter(|(process, _)| *process == name);
        pids.filter_map(|(_, pid)| Usage::of(pid)).for_each(|usage| sum.add(&usage));
        sum
    }
}
