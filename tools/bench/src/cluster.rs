//! What serves: Redis, connection-nodes and endpoint-nodes, or one standalone server.

use crate::{machine, ports::Ports, process::Process, programs::Programs, redis::Redis};
use beckon_loadgen::measure::Usage;
use beckon_ops::exit::Failure;
use std::{
    net::{SocketAddr, TcpStream},
    path::Path,
    thread,
    time::Duration,
};
use tempfile::TempDir;

/// How long a program may take until it listens.
const START_LIMIT: Duration = Duration::from_secs(30);

/// How often it is looked whether it does.
const POLL: Duration = Duration::from_millis(20);

/// What a cluster is made of.
#[derive(Debug, Clone)]
pub struct Shape {
    /// How many hold WebSockets.
    pub connection_nodes: usize,
    /// How many take notifications. 0: one standalone server takes the place of all, Redis included.
    pub endpoint_nodes: usize,
    /// Threads of each node. `None`: one for each core.
    pub threads: Option<usize>,
    /// Further settings of the nodes, by the names of their variables.
    pub settings: Vec<(&'static str, String)>,
}

impl Shape {
    /// Nodes over Redis.
    pub fn of(connection_nodes: usize, endpoint_nodes: usize) -> Self {
        Self { connection_nodes, endpoint_nodes, threads: None, settings: Vec::new() }
    }

    /// One process over the embedded store.
    pub fn standalone(fsync: bool) -> Self {
        Self::of(1, 0).with("BECKON_FSYNC", fsync)
    }

    /// Each node with so many threads.
    #[must_use]
    pub fn threads(mut self, count: usize) -> Self {
        self.threads = Some(count);
        self
    }

    /// With a setting.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.settings.push((name, value.to_string()));
        self
    }
}

/// A running cluster. Its processes end with it.
#[derive(Debug)]
pub struct Cluster {
    /// The clients of Redis before Redis itself, which would only make them complain.
    nodes: Vec<(&'static str, Process)>,
    redis: Option<Redis>,
    ws: Vec<SocketAddr>,
    http: Vec<SocketAddr>,
    folder: TempDir,
}

impl Cluster {
    /// Starts everything and waits until it listens.
    ///
    /// # Errors
    /// Something does not start.
    pub fn start(programs: &Programs, shape: &Shape) -> Result<Self, Failure> {
        let folder = TempDir::with_prefix("bench-").map_err(Failure::unavailable)?;
        let mut ports = Ports::default();
        let mut cluster = Self { nodes: Vec::new(), redis: None, ws: Vec::new(), http: Vec::new(), folder };
        let mut common = vec![
            ("BECKON_LOG".to_owned(), "warn".to_owned()),
            // Everybody has a place; nobody is to be sent elsewhere.
            ("BECKON_MAX_CONNECTIONS".to_owned(), machine::clients_max().to_string()),
            ("BECKON_REDIRECT_THRESHOLD".to_owned(), "1".to_owned()),
        ];
        if let Some(threads) = shape.threads {
            common.push(("TOKIO_WORKER_THREADS".to_owned(), threads.to_string()));
        }
        let chosen = shape.settings.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        common.extend(chosen);
        if shape.endpoint_nodes == 0 {
            cluster.start_standalone(programs, &mut ports, &common)?;
        } else {
            cluster.start_nodes(programs, shape, &mut ports, common)?;
        }
        Ok(cluster)
    }

    fn start_standalone(
        &mut self,
        programs: &Programs,
        ports: &mut Ports,
        common: &[(String, String)],
    ) -> Result<(), Failure> {
        let (ws, http) = (ports.free()?, ports.free()?);
        let addresses = [("WS", ws), ("HTTP", http), ("ADMIN", ports.free()?)];
        self.start_node("beckon", programs, common, &addresses)?;
        self.ws.push(ws);
        self.http.push(http);
        self.wait_for(&[ws, http])
    }

    fn start_nodes(
        &mut self,
        programs: &Programs,
        shape: &Shape,
        ports: &mut Ports,
        mut common: Vec<(String, String)>,
    ) -> Result<(), Failure> {
        let store = ports.free()?;
        self.redis = Some(Redis::start(store, self.folder.path())?);
        self.wait_for(&[store])?;
        for _ in 0..shape.endpoint_nodes {
            self.http.push(ports.free()?);
        }
        common.extend([
            ("BECKON_STORE".to_owned(), format!("redis://{store}")),
            ("BECKON_ENDPOINT_URL".to_owned(), format!("http://{}", self.http[0])),
            ("BECKON_TOKEN_KEYS".to_owned(), programs.token_key()?),
        ]);
        for _ in 0..shape.connection_nodes {
            let ws = ports.free()?;
            let addresses = [("WS", ws), ("GRPC", ports.free()?), ("ADMIN", ports.free()?)];
            self.start_node("connection-node", programs, &common, &addresses)?;
            self.ws.push(ws);
        }
        for http in self.http.clone() {
            let addresses = [("HTTP", http), ("ADMIN", ports.free()?)];
            self.start_node("endpoint-node", programs, &common, &addresses)?;
        }
        let all: Vec<SocketAddr> = self.ws.iter().chain(&self.http).copied().collect();
        self.wait_for(&all)
    }

    fn start_node(
        &mut self,
        name: &'static str,
        programs: &Programs,
        common: &[(String, String)],
        addresses: &[(&str, SocketAddr)],
    ) -> Result<(), Failure> {
        let listen =
            addresses.iter().map(|(part, address)| (format!("BECKON_{part}_LISTEN"), address.to_string()));
        let settings: Vec<_> = common.iter().cloned().chain(listen).collect();
        let title = format!("{name}-{}", self.nodes.len());
        let process = Process::start(&programs.path(name), &[], &settings, self.folder.path(), &title)?;
        self.nodes.push((name, process));
        Ok(())
    }

    fn wait_for(&mut self, addresses: &[SocketAddr]) -> Result<(), Failure> {
        for address in addresses {
            let mut tries = START_LIMIT.as_millis() / POLL.as_millis();
            while TcpStream::connect(address).is_err() {
                self.check()?;
                if tries == 0 {
                    return Err(Failure::unavailable(format!("nobody listens on {address}")));
                }
                tries -= 1;
                thread::sleep(POLL);
            }
        }
        Ok(())
    }

    /// An error if one of the processes has ended.
    ///
    /// # Errors
    /// One has.
    pub fn check(&mut self) -> Result<(), Failure> {
        let nodes = self.nodes.iter_mut().map(|(_, process)| process);
        nodes.chain(self.redis.as_mut().map(Redis::process)).try_for_each(Process::check)
    }

    /// Where WebSockets are accepted.
    pub fn ws(&self) -> &[SocketAddr] {
        &self.ws
    }

    /// Where notifications are.
    pub fn http(&self) -> &[SocketAddr] {
        &self.http
    }

    /// The store, if it is a process of its own.
    pub fn redis(&self) -> Option<&Redis> {
        self.redis.as_ref()
    }

    /// A folder for what belongs to this cluster.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Names and numbers of the processes.
    pub fn pids(&self) -> impl Iterator<Item = (&'static str, u32)> {
        let nodes = self.nodes.iter().map(|(name, process)| (*name, process.pid()));
        nodes.chain(self.redis.iter().map(|redis| ("redis", redis.pid())))
    }

    /// What the processes of a name use together.
    pub fn usage(&self, name: &str) -> Usage {
        let mut sum = Usage::default();
        let pids = self.pids().filter(|(process, _)| *process == name);
        pids.filter_map(|(_, pid)| Usage::of(pid)).for_each(|usage| sum.add(&usage));
        sum
    }
}
