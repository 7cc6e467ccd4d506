//! Real Redis servers for tests, on free ports of 127.0.0.1, each with its own temporary directory.
//!
//! Test support (feature `conformance`), for this crate and for every other that needs a store:
//!
//! ```no_run
//! let mut redis = beckon_store::harness::RedisServer::start();
//! let url = redis.url();      // redis://127.0.0.1:port
//! redis.pause();              // it keeps its sockets and answers nothing
//! redis.resume();
//! redis.kill();               // SIGKILL
//! redis.restart();            // same port, same files
//! ```
//!
//! [`RedisCluster::start`] makes a Redis Cluster of masters. The servers end when the handle is dropped. The
//! functions block for as long as a server takes to start, some 50 ms; a cluster takes a few seconds. They
//! panic with what to do if that fails: they are for tests.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;

/// How long a server may take until it answers, in steps of [`POLL`].
const START_POLLS_MAX: u32 = 1500;

/// How long a cluster may take until all its nodes agree, in steps of [`POLL`].
const CLUSTER_POLLS_MAX: u32 = 3000;

/// The time between two looks.
const POLL: Duration = Duration::from_millis(10);

/// Starts again with another port if somebody else took the free one meanwhile.
const START_ATTEMPTS: u32 = 5;

/// Hash slots of a Redis Cluster.
const SLOTS: usize = 16384;

/// What a server is started with.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Ask clients for this password.
    pub password: Option<String>,
    /// Write every command to the disk before it is answered (`appendonly yes`, `appendfsync always`), so that
    /// a restarted server knows what it knew. Otherwise it comes back empty.
    pub appendonly: bool,
    /// Serve TLS only, for `rediss`, with a certificate made for `localhost` and 127.0.0.1.
    pub tls: bool,
    /// Further arguments of `redis-server`, such as `["--maxmemory", "2mb"]`.
    pub arguments: Vec<String>,
    /// What starts `redis-server`, such as `["setpriv", "--pdeathsig", "KILL", "--"]` for a server that no
    /// handle drops. It has to become `redis-server`, not a parent of it. Empty: nothing.
    pub launcher: Vec<String>,
}

/// A running `redis-server`, killed when dropped.
#[derive(Debug)]
pub struct RedisServer {
    options: Options,
    cluster: bool,
    ports: Ports,
    directory: TempDir,
    process: Option<Child>,
}

/// The ports of a server: for clients, and for the other nodes of a cluster.
#[derive(Debug, Clone, Copy)]
struct Ports {
    client: u16,
    bus: u16,
}

impl RedisServer {
    /// Starts a server that keeps nothing on the disk.
    pub fn start() -> Self {
        Self::start_with(Options::default())
    }

    /// Starts a server.
    pub fn start_with(options: Options) -> Self {
        Self::start_as(options, false)
    }

    fn start_as(options: Options, cluster: bool) -> Self {
        for _ in 0..START_ATTEMPTS {
            let directory =
                tempfile::tempdir().unwrap_or_else(|error| panic!("temporary directory: {error}"));
            if options.tls {
                make_certificates(directory.path());
            }
            let ports = Ports { client: free_port(), bus: free_port() };
            let mut server = Self { options: options.clone(), cluster, ports, directory, process: None };
            if server.launch() {
                return server;
            }
        }
        panic!("redis-server did not start on {START_ATTEMPTS} free ports");
    }

    /// The port of 127.0.0.1 that clients connect to.
    pub fn port(&self) -> u16 {
        self.ports.client
    }

    /// The URL for [`crate::open()`], with the password.
    pub fn url(&self) -> String {
        let password = user_part(&self.options);
        let scheme = if self.options.tls { "rediss" } else { "redis" };
        format!("{scheme}://{password}127.0.0.1:{}", self.ports.client)
    }

    /// The certificate authority of a server with [`Options::tls`], in PEM.
    pub fn root_certificate(&self) -> Vec<u8> {
        let path = self.directory.path().join("ca.crt");
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Stops the server as a crash does (SIGKILL), and waits until it is gone.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Starts the server again on the same port, killing it first if it runs. It knows what it knew with
    /// [`Options::appendonly`], and nothing without.
    pub fn restart(&mut self) {
        self.kill();
        assert!(self.launch(), "redis-server did not start again on port {}", self.ports.client);
    }

    /// Stops the process where it is (SIGSTOP): its sockets stay, and nothing is answered.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    /// Lets a paused process go on.
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    /// Sends a command with a connection of its own, and returns the answer. Not for servers with TLS.
    pub fn command(&self, words: &[&str]) -> redis::Value {
        self.try_command(words).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    fn try_command(&self, words: &[&str]) -> redis::RedisResult<redis::Value> {
        let client = redis::Client::open(self.url())?;
        let mut connection = client.get_connection_with_timeout(Duration::from_secs(1))?;
        connection.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut command = redis::Cmd::new();
        command.arg(words);
        command.query(&mut connection)
    }

    fn signal(&self, signal: &str) {
        let Some(process) = &self.process else { panic!("redis-server is not running") };
        let status = Command::new("kill").args([signal, &process.id().to_string()]).status();
        assert!(status.is_ok_and(|status| status.success()), "kill {signal} failed");
    }

    /// Starts the process and waits until it answers. False if it ended at once.
    fn launch(&mut self) -> bool {
        let port = self.ports.client.to_string();
        let mut words = self.options.launcher.iter().map(String::as_str).chain(["redis-server"]);
        let mut command = Command::new(words.next().unwrap_or("redis-server"));
        command
            .args(words)
            .args(["--bind", "127.0.0.1", "--save", "", "--daemonize", "no", "--loglevel", "warning"])
            .arg("--dir")
            .arg(self.directory.path());
        if self.options.tls {
            let file = |name: &str| self.directory.path().join(name);
            command.args(["--port", "0", "--tls-port", &port, "--tls-auth-clients", "no"]);
            command
                .arg("--tls-cert-file")
                .arg(file("server.crt"))
                .arg("--tls-key-file")
                .arg(file("server.key"));
            command.arg("--tls-ca-cert-file").arg(file("ca.crt"));
        } else {
            command.args(["--port", &port]);
        }
        if let Some(password) = &self.options.password {
            command.args(["--requirepass", password, "--masterauth", password]);
        }
        if self.options.appendonly {
            command.args(["--appendonly", "yes", "--appendfsync", "always"]);
        }
        if self.cluster {
            command.args(["--cluster-enabled", "yes", "--cluster-port", &self.ports.bus.to_string()]);
        }
        command
            .args(&self.options.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = command.spawn().unwrap_or_else(|error| {
            panic!("redis-server cannot be started ({error}): run `cargo xtask test`, or apt-get install redis-server")
        });
        self.process = Some(process);
        self.wait_until_it_answers()
    }

    fn wait_until_it_answers(&mut self) -> bool {
        for _ in 0..START_POLLS_MAX {
            let ended = self.process.as_mut().is_none_or(|process| !matches!(process.try_wait(), Ok(None)));
            if ended {
                self.kill();
                return false;
            }
            // With TLS the client side is what the test is about: here an open port has to do.
            let ready = if self.options.tls {
                std::net::TcpStream::connect(("127.0.0.1", self.ports.client)).is_ok()
            } else {
                self.try_command(&["PING"]).is_ok()
            };
            if ready {
                return true;
            }
            std::thread::sleep(POLL);
        }
        panic!("redis-server on port {} does not answer", self.ports.client);
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A Redis Cluster of masters without replicas, killed when dropped.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<RedisServer>,
}

impl RedisCluster {
    /// Starts a cluster of so many masters (at least 3 are usual) and waits until all of them agree.
    pub fn start(masters: usize) -> Self {
        Self::start_with(masters, Options::default())
    }

    /// Starts a cluster whose servers have these options. Without TLS.
    pub fn start_with(masters: usize, options: Options) -> Self {
        let nodes: Vec<_> = (0..masters).map(|_| RedisServer::start_as(options.clone(), true)).collect();
        for (index, node) in nodes.iter().enumerate() {
            let (first, end) = (SLOTS * index / masters, SLOTS * (index + 1) / masters);
            node.command(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &(end - 1).to_string()]);
            node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()]);
        }
        for node in &nodes[1..] {
            let Ports { client, bus } = node.ports;
            nodes[0].command(&["CLUSTER", "MEET", "127.0.0.1", &client.to_string(), &bus.to_string()]);
        }
        let cluster = Self { nodes };
        cluster.wait_until_all_agree();
        cluster
    }

    /// The URL for [`crate::open()`], with the password, naming all masters.
    pub fn url(&self) -> String {
        let password = self.nodes.first().map(|node| user_part(&node.options)).unwrap_or_default();
        let hosts: Vec<_> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
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
        for _ in 0..CLUSTER_POLLS_MAX {
            if self.nodes.iter().all(agrees) {
                return;
            }
            std::thread::sleep(POLL);
        }
        panic!("the nodes of the Redis Cluster do not agree");
    }
}

/// The password as it is written in a URL, with an `@` after it.
fn user_part(options: &Options) -> String {
    let Some(password) = &options.password else { return String::new() };
    let encoded: String = password.bytes().map(|byte| format!("%{byte:02X}")).collect();
    format!(":{encoded}@")
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .unwrap_or_else(|error| panic!("no free port: {error}"))
        .port()
}

/// Makes `ca.crt`, `server.crt` and `server.key` with openssl.
fn make_certificates(directory: &Path) {
    let extensions: PathBuf = directory.join("extensions");
    fs::write(&extensions, "subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=critical,CA:FALSE\n")
        .unwrap_or_else(|error| panic!("{}: {error}", extensions.display()));
    const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    for arguments in [
        format!("req -x509 {KEY} -keyout ca.key -out ca.crt -days 2 -subj /CN=ca"),
        format!("req {KEY} -keyout server.key -out server.csr -subj /CN=localhost"),
        "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out server.crt -days 2 -extfile extensions"
            .to_owned(),
    ] {
        let output = Command::new("openssl").args(arguments.split(' ')).current_dir(directory).output();
        let output = output.unwrap_or_else(|error| panic!("openssl cannot be started ({error}): install openssl"));
        assert!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
    }
}
