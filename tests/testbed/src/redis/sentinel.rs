//! A Redis server with replicas, and Sentinels that choose the primary.

use super::{
    links::Links,
    server::{Options, RedisServer, program, user_part},
    watch::{Scene, Watched},
};
use crate::{folder, forwarder::Forwarder, ports::Port, process::Process, wait_until};
use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, ToSocketAddrs as _},
    sync::Arc,
    time::Duration,
};
use tempfile::TempDir;

/// The name by which the Sentinels know the primary.
const NAME: &str = "beckon";

/// Orders a fail-over.
const FAILOVER: [&str; 3] = ["SENTINEL", "FAILOVER", NAME];

/// Sentinels. Two have to agree.
const SENTINELS: usize = 3;

/// Milliseconds without an answer until a Sentinel takes the primary for down.
const DOWN_AFTER_MS: u32 = 2000;

/// One primary, its replicas, and three Sentinels, killed when dropped.
#[derive(Debug)]
pub struct RedisSentinel {
    sentinels: Vec<Sentinel>,
    servers: Vec<RedisServer>,
    /// To each server: the Sentinels and the replicas use them.
    links: Vec<Arc<Forwarder>>,
    /// How many programs have links.
    programs: u8,
}

/// One Sentinel.
#[derive(Debug)]
struct Sentinel {
    process: Process,
    port: Port,
    _folder: TempDir,
}

impl RedisSentinel {
    /// Starts a primary with so many replicas, and Sentinels that watch it, and waits until they know everything.
    pub fn start(replicas: usize, options: &Options) -> Self {
        let servers: Vec<_> = (0..=replicas).map(|_| RedisServer::start_announced(options.clone())).collect();
        let links: Vec<_> = servers.iter().filter_map(RedisServer::forwarder).map(Arc::new).collect();
        let primary = links[0].address();
        servers[1..].iter().for_each(|replica| replica.become_replica_of(primary));
        let sentinels = (0..SENTINELS).map(|_| Sentinel::start(primary, options)).collect();
        let watched = Self { sentinels, servers, links, programs: 0 };
        watched.wait_until_known();
        watched
    }

    /// The URL for `BECKON_STORE`, with the password, naming all Sentinels.
    pub fn url(&self) -> String {
        self.url_with(self.sentinels.iter().map(|sentinel| sentinel.port.address()))
    }

    fn url_with(&self, sentinels: impl Iterator<Item = SocketAddr>) -> String {
        let hosts: Vec<_> = sentinels.map(|address| address.to_string()).collect();
        format!("redis-sentinel://{}{}/{NAME}", user_part(&self.servers[0].options), hosts.join(","))
    }

    /// New links to all servers, for a program that is to have its own: they are at another local address, which the Sentinels
    /// name to this program.
    ///
    /// # Panics
    /// If more than eight programs have links.
    pub fn links(&mut self) -> Links {
        self.programs += 1;
        assert!(self.programs <= 8, "the addresses of all programs have to be as long as 127.0.0.1");
        let ip = Ipv4Addr::new(127, 0, 0, 1 + self.programs);
        let servers = self.servers.iter().map(|server| Arc::new(server.forwarder_at(ip.into()))).collect();
        let renaming = |sentinel: &Sentinel| {
            let address = sentinel.port.address();
            Arc::new(Forwarder::renaming(address, Ipv4Addr::LOCALHOST.to_string(), ip.to_string()))
        };
        let sentinels: Vec<_> = self.sentinels.iter().map(renaming).collect();
        let url = self.url_with(sentinels.iter().map(|sentinel| sentinel.address()));
        Links::new(url, vec![servers]).with_sentinels(sentinels)
    }

    /// Has one Sentinel name the primary by a host name, `localhost`, from now on.
    pub fn name_by_host(&self, sentinel: usize) {
        let sentinel = &self.sentinels[sentinel];
        let port = sentinel.primary().port().to_string();
        for words in [
            &["SENTINEL", "CONFIG", "SET", "resolve-hostnames", "yes"][..],
            &["SENTINEL", "CONFIG", "SET", "announce-hostnames", "yes"],
            &["SENTINEL", "REMOVE", NAME],
            &["SENTINEL", "MONITOR", NAME, "localhost", &port, "2"],
            &["SENTINEL", "SET", NAME, "down-after-milliseconds", &DOWN_AFTER_MS.to_string()],
            &["SENTINEL", "SET", NAME, "failover-timeout", "10000"],
        ] {
            sentinel.try_command(words).unwrap_or_else(|error| panic!("{words:?}: {error}"));
        }
        self.wait_until_known();
    }

    /// Stops the Sentinels but this many where they are: nothing is answered.
    pub fn pause_sentinels_but(&self, running: usize) {
        self.sentinels[running..].iter().for_each(|sentinel| sentinel.process.pause());
    }

    /// Continues the Sentinels.
    pub fn resume_sentinels(&self) {
        self.sentinels.iter().for_each(|sentinel| sentinel.process.resume());
    }

    /// How many commands the first Sentinel has processed.
    pub fn questions(&self) -> u64 {
        let stats = self.sentinels[0].try_command(&["INFO", "stats"]);
        let stats = stats.and_then(|stats| Ok(redis::from_redis_value::<String>(stats)?));
        let stats = stats.unwrap_or_else(|error| panic!("a Sentinel: {error}"));
        let number = stats.lines().find_map(|line| line.strip_prefix("total_commands_processed:"));
        number.and_then(|number| number.trim().parse().ok()).expect("a number")
    }

    /// The servers, to pause, kill or restart them.
    pub fn servers(&mut self) -> &mut [RedisServer] {
        &mut self.servers
    }

    /// One of [`Self::servers`].
    pub fn server(&self, index: usize) -> &RedisServer {
        &self.servers[index]
    }

    /// All servers.
    pub(super) fn all(&self) -> Vec<&RedisServer> {
        self.servers.iter().collect()
    }

    /// Restarts all servers without what they knew, before the Sentinels take the primary for down.
    pub fn lose_data(&mut self) {
        let primary = self.primary();
        for (index, server) in self.servers.iter_mut().enumerate() {
            if index != primary {
                server.kill();
            }
        }
        self.servers[primary].lose_data();
        let address = self.links[primary].address();
        for (index, server) in self.servers.iter_mut().enumerate() {
            if index != primary {
                server.lose_data();
                server.become_replica_of(address);
            }
        }
    }

    /// The index of the server that the Sentinels call primary, in [`Self::servers`].
    pub fn primary(&self) -> usize {
        let address = self.sentinels[0].primary();
        let index = self.links.iter().position(|link| link.address() == address);
        index.unwrap_or_else(|| panic!("{address} is none of {:?}", self.links))
    }

    /// Orders a fail-over and waits until every Sentinel names the new primary and it accepts writes. A fail-over that the Sentinels
    /// give up is ordered again.
    pub fn fail_over(&self) {
        let former = self.primary();
        self.order_fail_over();
        wait_until("the Sentinels name another primary", || {
            let replaced = self.replaced(former);
            if replaced.is_none() && self.primary() == former {
                // It says that one is in progress, or begins one.
                self.sentinels[0].try_command(&FAILOVER).ok();
            }
            replaced
        });
    }

    /// Orders a fail-over by the first Sentinel.
    pub fn order_fail_over(&self) {
        wait_until("a Sentinel starts the fail-over", || self.sentinels[0].try_command(&FAILOVER).ok());
    }

    /// Kills the primary, waits until a replica has taken its place, and returns the index of the former in
    /// [`Self::servers`], to restart it. What was not replicated is lost.
    pub fn fail_over_by_kill(&mut self) -> usize {
        let former = self.kill_primary();
        self.wait_until_primary_is_not(former);
        former
    }

    /// Kills the primary and returns its index in [`Self::servers`].
    pub(super) fn kill_primary(&mut self) -> usize {
        let former = self.primary();
        self.servers[former].kill();
        former
    }

    /// What [`Watch`](super::Watch) looks at.
    pub(super) fn scene(&self) -> Scene {
        let watched = |(server, link): (&RedisServer, &Arc<Forwarder>)| {
            Watched::new(server.address(), link.address(), &server.url())
        };
        let servers = self.servers.iter().zip(&self.links).map(watched).collect();
        let url = |sentinel: &Sentinel| format!("redis://{}", sentinel.port.address());
        Scene::new(std::iter::once(servers), self.sentinels.iter().map(url), NAME)
    }

    /// Waits until every Sentinel names another primary, which accepts writes.
    pub(super) fn wait_until_primary_is_not(&self, former: usize) {
        wait_until("the Sentinels name another primary", || self.replaced(former));
    }

    /// Whether every Sentinel names the same other primary, and it accepts writes.
    fn replaced(&self, former: usize) -> Option<()> {
        let named: Vec<_> = self.sentinels.iter().map(Sentinel::primary).collect();
        let index = self.links.iter().position(|link| link.address() == named[0])?;
        let agree = named.iter().all(|address| *address == named[0]);
        (agree && index != former && self.servers[index].is_primary()).then_some(())
    }

    /// Waits until every Sentinel knows the others and every replica.
    fn wait_until_known(&self) {
        let (others, replicas) = (SENTINELS - 1, self.servers.len() - 1);
        for sentinel in &self.sentinels {
            wait_until("the Sentinels know each other and the replicas", || {
                let about = sentinel.try_command(&["SENTINEL", "MASTER", NAME]).ok()?;
                let about: std::collections::HashMap<String, String> = redis::from_redis_value(about).ok()?;
                let is =
                    |name: &str, count: usize| about.get(name).is_some_and(|text| *text == count.to_string());
                (is("num-other-sentinels", others) && is("num-slaves", replicas)).then_some(())
            });
        }
    }
}

impl Sentinel {
    fn start(primary: SocketAddr, options: &Options) -> Self {
        let (port, folder) = (Port::free(), folder::temporary());
        let file = folder.path().join("sentinel.conf");
        let mut text = format!(
            "port {}\nbind 127.0.0.1\ndir .\nsentinel monitor {NAME} {} {} 2\n\
             sentinel down-after-milliseconds {NAME} {DOWN_AFTER_MS}\nsentinel failover-timeout {NAME} 10000\n",
            port.number(),
            primary.ip(),
            primary.port()
        );
        if let Some(password) = &options.password {
            text.push_str(&format!("sentinel auth-pass {NAME} \"{password}\"\n"));
        }
        fs::write(&file, text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let arguments = [file.as_os_str(), "--sentinel".as_ref()];
        let log = folder.path().join("redis-sentinel.log");
        let process = Process::start(&program(), &arguments, &[], &log);
        let mut sentinel = Self { process, port, _folder: folder };
        wait_until("a Sentinel answers", || {
            if let Err(ended) = sentinel.process.check() {
                panic!("{ended}");
            }
            sentinel.try_command(&["PING"]).ok()
        });
        sentinel
    }

    /// Where it sends programs.
    fn primary(&self) -> SocketAddr {
        wait_until("a Sentinel names a primary", || {
            let named = self.try_command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME]).ok()?;
            let (host, port): (String, String) = redis::from_redis_value(named).ok()?;
            format!("{host}:{port}").to_socket_addrs().ok()?.find(SocketAddr::is_ipv4)
        })
    }

    fn try_command(&self, words: &[&str]) -> redis::RedisResult<redis::Value> {
        let client = redis::Client::open(format!("redis://{}", self.port.address()))?;
        let mut connection = client.get_connection_with_timeout(Duration::from_secs(1))?;
        connection.set_read_timeout(Some(Duration::from_secs(5)))?;
        redis::cmd(words[0]).arg(&words[1..]).query(&mut connection)
    }
}
