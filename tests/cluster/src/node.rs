//! One running program of a fleet.

use crate::{PATIENCE, POLL, process::Process, programs::Program};
use rustix::process::Signal;
use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::ExitStatus,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
};

/// Where a program listens.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// WebSockets.
    pub ws: Option<SocketAddr>,
    /// Application servers.
    pub http: Option<SocketAddr>,
    /// Other nodes.
    pub grpc: Option<SocketAddr>,
    /// Health and metrics.
    pub admin: SocketAddr,
}

/// A program with its settings, running or not. Killed when dropped.
#[derive(Debug)]
pub struct Node {
    program: Program,
    name: String,
    addresses: Addresses,
    log: PathBuf,
    settings: Mutex<BTreeMap<String, String>>,
    process: Mutex<Option<Process>>,
}

impl Node {
    /// A program that does not run yet and will append what it writes to `log`.
    pub fn new(
        program: Program,
        name: String,
        addresses: Addresses,
        settings: BTreeMap<String, String>,
        log: PathBuf,
    ) -> Self {
        Self { program, name, addresses, log, settings: Mutex::new(settings), process: Mutex::default() }
    }

    /// What the plan calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// The URL for clients.
    ///
    /// # Panics
    /// If it takes none.
    pub fn ws_url(&self) -> String {
        format!("ws://{}/", self.addresses.ws.expect("a program that takes WebSockets"))
    }

    /// Changes a setting for the next start.
    pub fn set(&self, variable: &str, value: impl Into<String>) {
        lock(&self.settings).insert(variable.to_owned(), value.into());
    }

    /// Starts it without waiting until it is ready.
    pub fn launch(&self) {
        let settings: Vec<_> = lock(&self.settings).clone().into_iter().collect();
        *lock(&self.process) = Some(Process::start(&self.program.path(), &[], &settings, &self.log));
    }

    /// Starts it and waits until it is ready.
    pub fn start(&self) {
        self.launch();
        self.wait_until_ready();
    }

    /// Waits until it says that it takes traffic.
    ///
    /// # Panics
    /// If it ends instead, or not within [`PATIENCE`].
    pub fn wait_until_ready(&self) {
        for _ in 0..PATIENCE.as_millis() / POLL.as_millis() {
            if http_status(self.addresses.admin, "/__lbheartbeat__") == Some(200) {
                return;
            }
            if let Some(status) = self.with_process(Process::ended) {
                panic!("{} ended with {status}:\n{}", self.name, self.log());
            }
            thread::sleep(POLL);
        }
        panic!("{} is not ready:\n{}", self.name, self.log());
    }

    /// Kills it as a crash would, and waits until it is gone.
    pub fn kill(&self) {
        self.with_process(Process::kill);
    }

    /// Sends SIGTERM and waits for its end.
    pub fn terminate(&self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Waits for its end.
    pub fn wait(&self) -> ExitStatus {
        self.with_process(Process::wait)
    }

    /// Whether it has ended, and how.
    pub fn ended(&self) -> Option<ExitStatus> {
        self.with_process(Process::ended)
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        self.with_process(|process| process.signal(signal));
    }

    /// What it has written, in all its runs.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn with_process<T>(&self, work: impl FnOnce(&mut Process) -> T) -> T {
        work(lock(&self.process).as_mut().expect("it was started"))
    }
}

/// A panic of one test must not hide what the others find.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The status of a GET; `None` if there is no answer.
pub fn http_status(address: SocketAddr, path: &str) -> Option<u16> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    // HTTP/1.1 200 OK
    std::str::from_utf8(answer.get(9..12)?).ok()?.parse().ok()
}
