//! What loads a cluster: one load generator, or many.

use crate::cluster::Cluster;
use beckon_loadgen::{dialect::Dialect, report::Report};
use beckon_ops::exit::Failure;
use beckon_testbed::{
    process::Process,
    programs::{Program, Programs},
};
use std::{
    fmt::Display,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// What a load generator is started with.
#[derive(Debug, Clone)]
pub struct Load {
    arguments: Vec<String>,
}

impl Load {
    /// A load on all nodes of a cluster, whose processes are measured.
    pub fn on(cluster: &Cluster, dialect: Dialect) -> Self {
        let pids: Vec<String> = cluster.pids().map(|(name, pid)| format!("{name}={pid}")).collect();
        Self::from(cluster, dialect, 0).with("pid", pids.join(","))
    }

    /// A load on all nodes of a cluster, of which `first` is the first.
    pub fn from(cluster: &Cluster, dialect: Dialect, first: usize) -> Self {
        let secure = if cluster.certificates().is_some() { "s" } else { "" };
        let mut ws: Vec<String> =
            cluster.ws().iter().map(|address| format!("ws{secure}://{address}/")).collect();
        let first = first % ws.len();
        ws.rotate_left(first);
        let http: Vec<String> =
            cluster.http().iter().map(|address| format!("http{secure}://{address}")).collect();
        let load = Self { arguments: Vec::new() };
        let load = load.with("dialect", dialect.name()).with("ws", ws.join(",")).with("http", http.join(","));
        match cluster.certificates() {
            None => load,
            Some(certificates) => load.with("tls-ca", certificates.authority().display()),
        }
    }

    /// A load on what stands before a cluster: a balancer for WebSockets and one for notifications.
    pub fn through(ws: SocketAddr, http: SocketAddr, dialect: Dialect) -> Self {
        let empty = Self { arguments: Vec::new() };
        empty
            .with("dialect", dialect.name())
            .with("ws", format!("ws://{ws}/"))
            .with("http", format!("http://{http}"))
    }

    /// With a setting of the load generator.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Display) -> Self {
        self.arguments.extend([format!("--{name}"), value.to_string()]);
        self
    }

    /// Starts it. The load generator is that of the same build as this program, whatever is measured, so that both
    /// sides of a comparison get the same load.
    ///
    /// # Errors
    /// It is missing.
    pub fn start(self, folder: &Path, name: &str) -> Result<Loader, Failure> {
        let program = Programs::beside_this().map_err(Failure::usage)?.path(Program::Loadgen);
        if !program.is_file() {
            return Err(Failure::usage(format!("{} does not exist", program.display())));
        }
        let json = folder.join(format!("{name}.json"));
        let arguments = self.with("json", json.display()).arguments;
        let log = folder.join(format!("{name}.log"));
        Ok(Loader { process: Process::start_talking(&program, &arguments, &[], &log), json })
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// It fails.
    pub fn run(self, cluster: &Cluster) -> Result<Report, Failure> {
        self.start(cluster.folder(), "loadgen")?.report()
    }

    /// Runs it to its end, and measures something else twice: when all clients are connected and idle, and when the last
    /// notification has been delivered.
    ///
    /// # Errors
    /// It fails.
    pub fn run_and_measure<T>(
        self,
        cluster: &Cluster,
        measure: impl Fn() -> T,
    ) -> Result<(Report, [T; 2]), Failure> {
        let mut loader = self.with("wait-stdin", true).start(cluster.folder(), "loadgen")?;
        loader.wait_for_word("ready")?;
        let before = measure();
        loader.go_on()?;
        loader.wait_for_word("done")?;
        let after = measure();
        loader.go_on()?;
        Ok((loader.report()?, [before, after]))
    }
}

/// A load generator at work.
#[derive(Debug)]
pub struct Loader {
    process: Process,
    json: PathBuf,
}

impl Loader {
    /// Waits until it writes this word: `ready` when all clients are connected, `done` when the last notification has
    /// been delivered.
    ///
    /// # Errors
    /// It ends first.
    pub fn wait_for_word(&mut self, word: &str) -> Result<(), Failure> {
        self.process.wait_for_line(word).map_err(Failure::unavailable)
    }

    /// Lets it continue after a word.
    ///
    /// # Errors
    /// It has ended.
    pub fn go_on(&mut self) -> Result<(), Failure> {
        self.process.write_line("go").map_err(Failure::unavailable)
    }

    /// The id of its process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It has failed.
    pub fn report(mut self) -> Result<Report, Failure> {
        self.process.finish().map_err(Failure::unavailable)?;
        let text = fs::read_to_string(&self.json).map_err(Failure::unavailable)?;
        serde_json::from_str(&text).map_err(Failure::software)
    }
}
