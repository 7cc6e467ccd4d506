//! A TCP connection between two programs that fails on command.
//!
//! ```no_run
//! # let server = std::net::SocketAddr::from(([127, 0, 0, 1], 6379));
//! use beckon_testbed::forwarder::Forwarder;
//!
//! let link = Forwarder::to(server);
//! let address = link.address();   // where the client has to connect
//! link.stall();                   // the sockets stay open, and nothing gets through
//! link.heal();                    // what was held back arrives now
//! link.cut();                     // connections are reset, and new ones too
//! link.point_to(server);          // new connections go to another server
//! link.heal();
//! ```
//!
//! Forwarders run on a thread of their own, so that a test may block. Each function returns when the change is in
//! force.

mod connection;

pub use self::connection::Way;

use self::connection::{Flow, Rules};
use crate::ports::Port;
use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
        mpsc as std_mpsc,
    },
    thread,
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{self, Handle},
    sync::{mpsc, watch},
    task::JoinSet,
};

/// How many changes can wait to be put in force. Each waits for the one before, so one would do.
const CHANGES_MAX: usize = 8;

/// Forwards TCP connections to one address, until the test changes that. Ends when dropped, with all its connections.
#[derive(Debug)]
pub struct Forwarder {
    address: SocketAddr,
    /// Owned here too, so that a forwarder that is stopped keeps it.
    _port: Arc<Port>,
    changes: mpsc::Sender<(Change, std_mpsc::SyncSender<()>)>,
    answers_to_lose: Arc<AtomicU64>,
}

/// What becomes of a new connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Newcomers {
    Forwarded,
    /// Nothing listens: connecting fails at once.
    Refused,
    /// Accepted, and never answered.
    Ignored,
    /// Accepted, and reset.
    Reset,
}

/// What a caller asks for.
#[derive(Debug)]
enum Change {
    Newcomers(Newcomers),
    Flow(Vec<Way>, fn(&mut Flow)),
    Pace(Duration, Option<u64>),
    Target(SocketAddr),
    Rename(String, String),
    Reset,
}

impl Forwarder {
    /// Forwards from a free port of 127.0.0.1 to `target`.
    pub fn to(target: SocketAddr) -> Self {
        let port = Arc::new(Port::free());
        Self::between(port.address().ip(), port, target)
    }

    /// Forwards from this local address and port to `target`. Several may share a port, each at an address of its own.
    pub fn between(ip: IpAddr, port: Arc<Port>, target: SocketAddr) -> Self {
        let address = SocketAddr::new(ip, port.number());
        let (changes, receiver) = mpsc::channel(CHANGES_MAX);
        let (started, is_started) = std_mpsc::sync_channel(1);
        let answers_to_lose = Arc::new(AtomicU64::new(0));
        let (owned, lost) = (Arc::clone(&port), Arc::clone(&answers_to_lose));
        runtime().spawn(async move {
            let mut forwarding = Forwarding::new(address, target, lost);
            forwarding.listen().await;
            // The caller waits, so it is there.
            let _ = started.send(());
            forwarding.run(receiver).await;
            drop(owned);
        });
        is_started.recv().unwrap_or_else(|_| panic!("{address} cannot be listened on"));
        Self { address, _port: port, changes, answers_to_lose }
    }

    /// [`Self::to`], with a text in answers replaced by another of the same length, as long as answers come in one piece.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn renaming(target: SocketAddr, from: String, to: String) -> Self {
        assert_eq!(from.len(), to.len(), "{from} is not as long as {to}");
        let forwarder = Self::to(target);
        forwarder.change(Change::Rename(from, to));
        forwarder
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Resets all connections, and every new one.
    pub fn cut(&self) {
        self.change(Change::Newcomers(Newcomers::Reset));
        self.change(Change::Reset);
    }

    /// Resets all connections once. New ones are dealt with as before.
    pub fn reset(&self) {
        self.change(Change::Reset);
    }

    /// Stops listening: new connections are refused. Those that exist go on.
    pub fn refuse(&self) {
        self.change(Change::Newcomers(Newcomers::Refused));
    }

    /// Accepts new connections and answers nothing on them, as a host that hangs. Those that exist go on.
    pub fn ignore(&self) {
        self.change(Change::Newcomers(Newcomers::Ignored));
    }

    /// Resets all connections and ignores every new one.
    pub fn silence(&self) {
        self.ignore();
        self.reset();
    }

    /// Keeps all connections and moves no byte, also on new connections.
    pub fn stall(&self) {
        self.change(Change::Flow(vec![Way::ToServer, Way::ToClient], |flow| flow.is_stalled = true));
    }

    /// [`Self::stall`] in one direction only.
    pub fn stall_way(&self, way: Way) {
        self.change(Change::Flow(vec![way], |flow| flow.is_stalled = true));
    }

    /// Delays all bytes by this time in each direction.
    pub fn delay(&self, delay: Duration) {
        self.change(Change::Pace(delay, None));
    }

    /// Moves no more than so many bytes per second on a connection in each direction.
    pub fn throttle(&self, bytes_per_second: u64) {
        self.change(Change::Pace(Duration::ZERO, Some(bytes_per_second)));
    }

    /// Discards the next bytes that the server sends, and resets that connection: the request has been performed, and
    /// its answer is lost.
    pub fn lose_answer(&self) {
        self.answers_to_lose.fetch_add(1, Ordering::SeqCst);
    }

    /// Whether every answer of [`Self::lose_answer`] has been lost.
    pub fn has_lost_answer(&self) -> bool {
        self.answers_to_lose.load(Ordering::SeqCst) == 0
    }

    /// Sends new connections to another server. Those that exist stay where they are, as at a change of a DNS name or
    /// of a virtual address.
    pub fn point_to(&self, target: SocketAddr) {
        self.change(Change::Target(target));
    }

    /// Forwards everything again. What was held back arrives now; connections that were ignored stay so until
    /// their client gives up. The target stays.
    pub fn heal(&self) {
        self.change(Change::Flow(vec![Way::ToServer, Way::ToClient], |flow| *flow = Flow::default()));
        self.change(Change::Newcomers(Newcomers::Forwarded));
    }

    fn change(&self, change: Change) {
        let (sender, in_force) = std_mpsc::sync_channel(1);
        self.changes.try_send((change, sender)).expect("a forwarder that runs");
        in_force.recv().expect("a forwarder that runs");
    }
}

/// The state of a forwarder, on the thread of forwarders.
struct Forwarding {
    address: SocketAddr,
    target: SocketAddr,
    newcomers: Newcomers,
    rules: watch::Sender<Rules>,
    answers_to_lose: Arc<AtomicU64>,
    listener: Option<TcpListener>,
    connections: JoinSet<()>,
    /// Open, and never read.
    ignored: Vec<TcpStream>,
}

impl Forwarding {
    fn new(address: SocketAddr, target: SocketAddr, answers_to_lose: Arc<AtomicU64>) -> Self {
        Self {
            address,
            target,
            newcomers: Newcomers::Forwarded,
            rules: watch::Sender::new(Rules::default()),
            answers_to_lose,
            listener: None,
            connections: JoinSet::new(),
            ignored: Vec::new(),
        }
    }

    async fn listen(&mut self) {
        let listener = TcpListener::bind(self.address).await;
        self.listener =
            Some(listener.unwrap_or_else(|error| panic!("{} cannot be listened on: {error}", self.address)));
    }

    /// Works until the forwarder is dropped.
    async fn run(mut self, mut changes: mpsc::Receiver<(Change, std_mpsc::SyncSender<()>)>) {
        loop {
            tokio::select! {
                change = changes.recv() => match change {
                    Some((change, in_force)) => {
                        self.apply(change).await;
                        // The caller waits, so it is there.
                        let _ = in_force.send(());
                    }
                    None => return,
                },
                newcomer = accept(self.listener.as_ref()) => self.admit(newcomer),
                Some(_) = self.connections.join_next() => {}
            }
        }
    }

    fn admit(&mut self, newcomer: TcpStream) {
        match self.newcomers {
            Newcomers::Forwarded => {
                let (rules, answers_to_lose) = (self.rules.subscribe(), Arc::clone(&self.answers_to_lose));
                self.connections.spawn(connection::forward(newcomer, self.target, rules, answers_to_lose));
            }
            Newcomers::Ignored => self.ignored.push(newcomer),
            // Accepted before the listener was closed.
            Newcomers::Reset | Newcomers::Refused => connection::reset(newcomer),
        }
    }

    async fn apply(&mut self, change: Change) {
        match change {
            Change::Newcomers(newcomers) => {
                self.newcomers = newcomers;
                match newcomers {
                    Newcomers::Refused => self.listener = None,
                    Newcomers::Forwarded | Newcomers::Ignored | Newcomers::Reset => {
                        if self.listener.is_none() {
                            self.listen().await;
                        }
                    }
                }
            }
            Change::Flow(ways, set) => self.rules.send_modify(|rules| {
                ways.into_iter().for_each(|way| set(rules.flow_mut(way)));
            }),
            Change::Pace(delay, bytes_per_second) => self.rules.send_modify(|rules| {
                for way in [Way::ToServer, Way::ToClient] {
                    let flow = rules.flow_mut(way);
                    (flow.delay, flow.bytes_per_second) = (delay, bytes_per_second);
                }
            }),
            Change::Target(target) => self.target = target,
            Change::Rename(from, to) => self.rules.send_modify(|rules| rules.renamed = Some((from, to))),
            Change::Reset => {
                self.ignored.drain(..).for_each(connection::reset);
                self.rules.send_modify(|rules| rules.resets += 1);
                while self.connections.join_next().await.is_some() {}
            }
        }
    }
}

/// The next connection; none while nothing listens.
async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    loop {
        let Some(listener) = listener else { return std::future::pending().await };
        // An error is about one connection that was lost before it was accepted.
        if let Ok((newcomer, _)) = listener.accept().await {
            return newcomer;
        }
    }
}

/// The runtime of all forwarders, on a thread that lives as long as the process.
fn runtime() -> &'static Handle {
    static HANDLE: OnceLock<Handle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let handle = runtime.handle().clone();
        thread::Builder::new()
            .name("forwarders".to_owned())
            .spawn(move || runtime.block_on(std::future::pending::<()>()))
            .expect("a thread");
        handle
    })
}
