//! One Redis server.

use super::clock::Clock;
use crate::{
    PATIENCE, POLL, certificates::Certificates, folder, forwarder::Forwarder, ports::Port, process::Process,
    wait_until,
};
use std::{
    fs,
    net::{IpAddr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};
use tempfile::TempDir;

/// Names another server to start than the `redis-server` of the search path: another version, or Valkey.
const PROGRAM: &str = "BECKON_REDIS_SERVER";

/// A server that is well answers within this time.
const ANSWER: Duration = Duration::from_secs(5);

/// Further attempts at a command whose connection ends.
const ATTEMPTS: u32 = 3;

/// The program of a server, or of a Sentinel.
pub(super) fn program() -> PathBuf {
    std::env::var_os(PROGRAM).unwrap_or_else(|| "redis-server".into()).into()
}

/// What a server is started with.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Ask clients for this password.
    pub password: Option<String>,
    /// Write every command to the disk before it is answered (`appendonly yes`, `appendfsync always`), so that
    /// a restarted server knows what it knew. Otherwise it comes back empty.
    pub appendonly: bool,
    /// Serve TLS only, for `rediss`, with a certificate for `localhost` and 127.0.0.1.
    pub tls: bool,
    /// A clock of its own, for [`RedisServer::set_clock`].
    pub own_clock: bool,
    /// Further arguments of `redis-server`, such as `["--maxmemory", "2mb"]`.
    pub arguments: Vec<String>,
}

/// A `redis-server`, killed when dropped.
#[derive(Debug)]
pub struct RedisServer {
    /// Dropped first: its ports and files are free when it is gone.
    process: Option<Process>,
    pub(super) options: Options,
    port: Port,
    /// For the other nodes of a cluster.
    bus: Option<Port>,
    /// The port that is announced to others instead of `port`. A forwarder listens there.
    announced: Option<Arc<Port>>,
    certificates: Option<Certificates>,
    clock: Option<Clock>,
    folder: TempDir,
}

impl RedisServer {
    /// Starts a server that keeps nothing on the disk.
    pub fn start() -> Self {
        Self::start_with(Options::default())
    }

    /// Starts a server.
    pub fn start_with(options: Options) -> Self {
        Self::start_as(options, None, None)
    }

    /// Starts a server that names a port of its forwarder to its replicas and Sentinels.
    pub(super) fn start_announced(options: Options) -> Self {
        Self::start_as(options, None, Some(Arc::new(Port::free())))
    }

    /// Starts a node of a Redis Cluster. If it is to be forwarded, it names a port of its forwarders, and no host.
    pub(super) fn start_in_cluster(options: Options, forwarded: bool) -> Self {
        Self::start_as(options, Some(Port::free()), forwarded.then(|| Arc::new(Port::free())))
    }

    fn start_as(options: Options, bus: Option<Port>, announced: Option<Arc<Port>>) -> Self {
        let certificates = options.tls.then(Certificates::make);
        let (port, folder) = (Port::free(), folder::temporary());
        let clock = options.own_clock.then(|| Clock::new(folder.path()));
        let mut server = Self { process: None, options, port, bus, announced, certificates, clock, folder };
        server.launch();
        server
    }

    /// A forwarder at the port that it announces, if it announces one.
    pub(super) fn forwarder(&self) -> Option<Forwarder> {
        self.announced.is_some().then(|| self.forwarder_at(self.address().ip()))
    }

    /// A forwarder at the port that it announces, at another local address.
    ///
    /// # Panics
    /// If it announces none.
    pub(super) fn forwarder_at(&self, ip: IpAddr) -> Forwarder {
        let port = self.announced.as_ref().expect("a server that announces a port");
        Forwarder::between(ip, Arc::clone(port), self.address())
    }

    /// The port for the other nodes of its cluster.
    pub(super) fn bus_port(&self) -> u16 {
        self.bus.as_ref().expect("a node of a cluster").number()
    }

    /// Its id in its cluster.
    pub(super) fn cluster_id(&self) -> String {
        let id = redis::from_redis_value(self.command(&["CLUSTER", "MYID"]));
        id.unwrap_or_else(|error| panic!("CLUSTER MYID: {error}"))
    }

    /// Whether its process has been started and not killed.
    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// The port of 127.0.0.1 that clients connect to.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The address that clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// The URL for `BECKON_STORE`, with the password.
    pub fn url(&self) -> String {
        self.url_at(self.address())
    }

    /// [`Self::url`] with another address, such as that of a forwarder.
    pub fn url_at(&self, address: SocketAddr) -> String {
        let password = user_part(&self.options);
        let scheme = if self.options.tls { "rediss" } else { "redis" };
        format!("{scheme}://{password}{address}")
    }

    /// The certificate authority of a server with [`Options::tls`], in PEM.
    pub fn root_certificate(&self) -> Vec<u8> {
        let path = self.certificates.as_ref().expect("a server with TLS").authority();
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// The id of the process.
    ///
    /// # Panics
    /// If it does not run, as all functions below.
    pub fn pid(&self) -> u32 {
        self.process().pid()
    }

    /// The process.
    pub fn process_mut(&mut self) -> &mut Process {
        self.process.as_mut().expect("redis-server runs")
    }

    pub(super) fn process(&self) -> &Process {
        self.process.as_ref().expect("redis-server runs")
    }

    /// Sets the clock of a server with [`Options::own_clock`] so many seconds ahead of the system's, or behind.
    ///
    /// # Panics
    /// If it has none.
    pub fn set_clock(&self, ahead: i64) {
        self.clock.as_ref().expect("a server with its own clock").set(ahead);
    }

    /// Stops the server as a crash does (SIGKILL), and waits until it is gone.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts the server again on the same port, killing it first if it runs. It knows what it knew with
    /// [`Options::appendonly`], and nothing without.
    pub fn restart(&mut self) {
        self.kill();
        self.launch();
    }

    /// Where its files are.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Sends a command on a connection of its own, and returns the answer. Not for servers with TLS. It is sent again if the server ends
    /// the connection, as one does that becomes a replica.
    ///
    /// # Panics
    /// If the answer is an error, or none comes within [`PATIENCE`].
    pub fn command(&self, words: &[&str]) -> redis::Value {
        let ended = |error: &redis::RedisError| error.is_connection_dropped() && !error.is_timeout();
        let mut answer = ask(&self.url(), words, PATIENCE);
        for _ in 0..ATTEMPTS {
            if !answer.as_ref().is_err_and(ended) {
                break;
            }
            thread::sleep(POLL);
            answer = ask(&self.url(), words, PATIENCE);
        }
        answer.unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// What clients have to present.
    pub fn password(&self) -> Option<&str> {
        self.options.password.as_deref()
    }

    /// Each key with what is left of its life; `None` for those that do not expire.
    pub fn keys(&self) -> Vec<(String, Option<Duration>)> {
        const SCRIPT: &str = "local keys = {} for i, key in ipairs(redis.call('KEYS', '*')) do \
                              keys[i] = {key, redis.call('PTTL', key)} end return keys";
        let keys = redis::from_redis_value(self.command(&["EVAL", SCRIPT, "0"]));
        let keys: Vec<(String, i64)> = keys.unwrap_or_else(|error| panic!("PTTL: {error}"));
        let lifetime = |left: i64| u64::try_from(left).ok().map(Duration::from_millis);
        keys.into_iter().map(|(key, left)| (key, lifetime(left))).collect()
    }

    /// A value of `INFO`, such as `used_memory`.
    ///
    /// # Panics
    /// If there is no such value.
    pub fn info(&self, name: &str) -> String {
        let value = wait_until("INFO is answered", || self.try_info(name).ok());
        value.unwrap_or_else(|| panic!("INFO has no {name}"))
    }

    /// [`Self::info`] of a server that may close its connections now, as one does that becomes a replica.
    pub(super) fn try_info(&self, name: &str) -> redis::RedisResult<Option<String>> {
        self.try_info_at(self.address(), name)
    }

    /// [`Self::try_info`] of a server at another address that is started with the same options.
    pub(super) fn try_info_at(&self, address: SocketAddr, name: &str) -> redis::RedisResult<Option<String>> {
        let answer = ask(&self.url_at(address), &["INFO", "everything"], ANSWER)?;
        let text: String = redis::from_redis_value(answer)?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        Ok(value.map(|value| value.trim().to_owned()))
    }

    /// [`Self::command`] whose error is for the caller to judge.
    ///
    /// # Errors
    /// The answer is an error, or none comes within 5 s.
    pub fn try_command(&self, words: &[&str]) -> redis::RedisResult<redis::Value> {
        ask(&self.url(), words, ANSWER)
    }

    /// Starts the process and waits until it answers.
    fn launch(&mut self) {
        let log = self.folder.path().join("redis-server.log");
        let settings = self.clock.iter().flat_map(Clock::settings).collect::<Vec<_>>();
        let process = Process::start(&program(), &self.arguments(), &settings, &log);
        self.process = Some(process);
        wait_until(&format!("redis-server answers on {}", self.address()), || {
            if let Err(ended) = self.process_mut().check() {
                panic!("{ended}\nrun `cargo xtask test`, or install redis-server");
            }
            let is_ready = if self.options.tls {
                // The client side of TLS is what such a test is about: here an open port is enough.
                TcpStream::connect(self.address()).is_ok()
            } else {
                self.try_command(&["PING"]).is_ok()
            };
            is_ready.then_some(())
        });
    }

    fn arguments(&self) -> Vec<String> {
        let port = self.port.number().to_string();
        let mut arguments: Vec<String> =
            ["--bind", "127.0.0.1", "--save", "", "--daemonize", "no", "--loglevel", "warning", "--dir", "."]
                .map(str::to_owned)
                .to_vec();
        let mut add = |words: &[&str]| arguments.extend(words.iter().map(|word| (*word).to_owned()));
        match &self.certificates {
            Some(files) => {
                let [certificate, key, authority] = [files.certificate(), files.key(), files.authority()]
                    .map(|path| path.to_string_lossy().into_owned());
                add(&["--port", "0", "--tls-port", &port, "--tls-auth-clients", "no"]);
                add(&[
                    "--tls-cert-file",
                    &certificate,
                    "--tls-key-file",
                    &key,
                    "--tls-ca-cert-file",
                    &authority,
                ]);
            }
            None => add(&["--port", &port]),
        }
        if let Some(password) = &self.options.password {
            add(&["--requirepass", password, "--masterauth", password]);
        }
        if self.options.appendonly {
            add(&["--appendonly", "yes", "--appendfsync", "always"]);
        }
        let announced = self.announced.as_ref().map(|port| port.number().to_string());
        match (&self.bus, &announced) {
            (Some(bus), announced) => {
                add(&["--cluster-enabled", "yes", "--cluster-port", &bus.number().to_string()]);
                if let Some(port) = announced {
                    add(&["--cluster-announce-port", port]);
                    add(&["--cluster-preferred-endpoint-type", "unknown-endpoint"]);
                }
            }
            (None, Some(port)) => {
                add(&["--replica-announce-ip", "127.0.0.1", "--replica-announce-port", port])
            }
            (None, None) => {}
        }
        arguments.extend(self.options.arguments.iter().cloned());
        arguments
    }
}

/// Sends a command on a connection of its own, and waits so long for the answer.
fn ask(url: &str, words: &[&str], limit: Duration) -> redis::RedisResult<redis::Value> {
    let client = redis::Client::open(url)?;
    let mut connection = client.get_connection_with_timeout(limit.min(ANSWER))?;
    connection.set_read_timeout(Some(limit))?;
    let mut command = redis::Cmd::new();
    command.arg(words);
    command.query(&mut connection)
}

/// The password as it is written in a URL, with an `@` after it.
pub(super) fn user_part(options: &Options) -> String {
    let Some(password) = &options.password else { return String::new() };
    let encoded: String = password.bytes().map(|byte| format!("%{byte:02X}")).collect();
    format!(":{encoded}@")
}
