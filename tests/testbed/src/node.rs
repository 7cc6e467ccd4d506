//! One running program of a fleet.

use crate::{
    PATIENCE,
    plan::{ADMIN_TOKEN, Addresses, Planned},
    ports::Port,
    process::{Ended, Process},
    programs::{Program, Programs},
    wait_until,
};
use rustix::process::Signal;
use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::ExitStatus,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// A program with its settings, running or not. Killed when dropped.
#[derive(Debug)]
pub struct Node {
    process: Mutex<Option<Process>>,
    program: Program,
    path: Mutex<PathBuf>,
    name: String,
    addresses: Addresses,
    settings: Mutex<BTreeMap<String, String>>,
    log: PathBuf,
    _ports: Vec<Port>,
}

impl Node {
    /// A program that does not run yet and will append what it writes to `log`.
    pub(crate) fn new(build: &Programs, planned: Planned, log: PathBuf) -> Self {
        let Planned { program, name, addresses, settings, ports } = planned;
        Self {
            process: Mutex::default(),
            program,
            path: Mutex::new(build.path(program)),
            name,
            addresses,
            settings: Mutex::new(settings),
            log,
            _ports: ports,
        }
    }

    /// Which program it is.
    pub fn program(&self) -> Program {
        self.program
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
    /// If it accepts none.
    pub fn ws_url(&self) -> String {
        let scheme = if self.has_tls() { "wss" } else { "ws" };
        format!("{scheme}://{}/", self.addresses.ws.expect("a program that holds WebSockets"))
    }

    /// The URL for application servers, without a slash at the end.
    ///
    /// # Panics
    /// If it accepts none.
    pub fn http_url(&self) -> String {
        let scheme = if self.has_tls() { "https" } else { "http" };
        format!("{scheme}://{}", self.addresses.http.expect("a program that takes PUTs"))
    }

    fn has_tls(&self) -> bool {
        lock(&self.settings).contains_key("BECKON_TLS_CERT")
    }

    /// Changes a setting for the next start.
    pub fn set(&self, variable: &str, value: impl Into<String>) {
        lock(&self.settings).insert(variable.to_owned(), value.into());
    }

    /// Takes a setting away for the next start.
    pub fn unset(&self, variable: &str) {
        lock(&self.settings).remove(variable);
    }

    /// The next start is that of another build.
    pub fn install(&self, build: &Programs) {
        *lock(&self.path) = build.path(self.program);
    }

    /// Starts it without waiting until it is ready.
    pub fn launch(&self) {
        let mut settings = lock(&self.settings).clone();
        settings.insert("RUST_BACKTRACE".to_owned(), "1".to_owned());
        let settings: Vec<_> = settings.into_iter().collect();
        *lock(&self.process) = Some(Process::start(&lock(&self.path), &[""; 0], &settings, &self.log));
    }

    /// Starts it once more while it runs, without waiting, and returns the process that has run until now. From now on this is
    /// the new one.
    pub fn launch_successor(&self) -> Process {
        let former = lock(&self.process).take().expect("it runs");
        self.launch();
        former
    }

    /// Goes on with a process that [`Self::launch_successor`] has returned. The present one is killed.
    pub fn replace(&self, process: Process) {
        *lock(&self.process) = Some(process);
    }

    /// Starts it and waits until it is ready.
    pub fn start(&self) {
        self.launch();
        self.wait_until_ready();
    }

    /// Waits until it says that it accepts traffic.
    ///
    /// # Panics
    /// If it ends instead, or is not ready within [`PATIENCE`].
    pub fn wait_until_ready(&self) {
        wait_until(&format!("{} is ready", self.name), || {
            if let Err(ended) = self.check() {
                panic!("{ended}");
            }
            self.is_ready().then_some(())
        });
    }

    /// Whether it says that it accepts traffic.
    pub fn is_ready(&self) -> bool {
        http_status(self.addresses.admin, "/__lbheartbeat__") == Some(200)
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

    /// How it has ended; `None` while it runs.
    pub fn ended(&self) -> Option<ExitStatus> {
        self.with_process(Process::ended)
    }

    /// Fails if it has ended.
    ///
    /// # Errors
    /// It has ended.
    pub fn check(&self) -> Result<(), Ended> {
        self.with_process(Process::check)
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        self.with_process(|process| process.signal(signal));
    }

    /// Stops the process where it is (SIGSTOP): its sockets stay open, and it does nothing.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Continues a paused process.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Waits until it is stopped where it is ([`Process::wait_until_stopped`]).
    pub fn wait_until_stopped(&self) {
        self.with_process(|process| process.wait_until_stopped());
    }

    /// The id of its process.
    pub fn pid(&self) -> u32 {
        self.with_process(|process| process.pid())
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
    http(address, "GET", path).map(|(status, _)| status)
}

/// The status and the body of the answer to an operator's request without a body; `None` if there is no answer.
pub fn http(address: SocketAddr, method: &str, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n");
    write!(stream, "{head}Connection: close\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8(answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    // HTTP/1.1 200 OK
    Some((head.get(9..12)?.parse().ok()?, body.to_owned()))
}
