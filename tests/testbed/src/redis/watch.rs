//! Other primaries than before, also when nobody has ordered it, and what may be lost with that.
//!
//! A thread asks every server for its role, and every Sentinel for the primary. It does not wait for one longer than [`ANSWER`],
//! so it sees what happens to the others while one is paused.

use crate::{POLL, now};
use redis::{Client, Connection, FromRedisValue, RedisResult, Value};
use std::{
    net::{SocketAddr, ToSocketAddrs as _},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// A server that takes longer is asked again later.
const ANSWER: Duration = Duration::from_millis(200);

/// What happens when another server becomes the primary of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takeover {
    /// A replica calls itself primary. So long ago it still followed the former one, which may go on.
    Begins {
        /// Where it listens.
        server: SocketAddr,
        /// How long ago.
        followed: Duration,
    },
    /// It is a replica again, and never was the primary.
    WasNone {
        /// Where it listens.
        server: SocketAddr,
    },
    /// It is the primary: more than half of the Sentinels name it, or the former one is a replica or has ended.
    Done {
        /// Where it listens.
        server: SocketAddr,
        /// What the former one accepted since then may be lost. So long ago this one still followed it, or was primary itself.
        followed: Duration,
        /// What the former one accepted until then may be lost. So long ago it could still accept.
        accepted: Duration,
    },
}

/// Watches until it is dropped.
#[derive(Debug)]
pub struct Watch {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// A server that is watched.
pub(super) struct Watched {
    /// Where it listens.
    address: SocketAddr,
    /// Where Sentinels say that it is.
    named: SocketAddr,
    server: Asked,
    role: Role,
    /// When it last had what the primary had: it followed that, or was it.
    followed: Instant,
    /// When it last answered as primary, or may have been one.
    accepted: Instant,
    /// It calls itself primary, and is not the primary yet.
    takes_over: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Primary,
    /// It gets what the primary writes.
    Follower,
    /// It does not yet.
    Replica,
    /// Nothing listens there.
    Ended,
    Unknown,
}

/// A server that is asked over one connection as long as that lasts.
struct Asked {
    client: Client,
    connection: Option<Connection>,
}

/// What is watched.
#[derive(Default)]
pub(super) struct Scene {
    shards: Vec<Shard>,
    /// Empty: the servers choose among themselves.
    sentinels: Vec<Asked>,
    /// The name by which the Sentinels know the primary.
    name: &'static str,
}

/// The servers of a shard.
struct Shard {
    servers: Vec<Watched>,
    /// The place of the primary. `None` until it is found.
    primary: Option<usize>,
}

impl Watch {
    pub(super) fn start(mut scene: Scene, mut report: impl FnMut(Takeover) + Send + 'static) -> Self {
        // From now on nothing is missed.
        scene.look(&mut report);
        let is_over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                scene.look(&mut report);
                thread::sleep(POLL);
            }
        });
        Self { is_over, thread: Some(thread) }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic has been printed.
            drop(thread.join());
        }
    }
}

impl Scene {
    /// Shards, and Sentinels that know the primary of the only one by a name.
    pub(super) fn new(
        shards: impl Iterator<Item = Vec<Watched>>,
        sentinels: impl Iterator<Item = String>,
        name: &'static str,
    ) -> Self {
        let shards = shards.map(|servers| Shard { servers, primary: None }).collect();
        Self { shards, sentinels: sentinels.map(|url| Asked::new(&url)).collect(), name }
    }

    fn look(&mut self, report: &mut dyn FnMut(Takeover)) {
        let votes: Vec<_> =
            self.sentinels.iter_mut().filter_map(|sentinel| sentinel.names(self.name)).collect();
        for shard in &mut self.shards {
            shard.servers.iter_mut().for_each(|server| server.look(report));
            let named = |server: &Watched| {
                2 * votes.iter().filter(|vote| **vote == server.named).count() > self.sentinels.len()
            };
            let found = if self.sentinels.is_empty() {
                shard.only_primary()
            } else {
                shard.servers.iter().position(named)
            };
            shard.follow(found, report);
        }
    }
}

impl Shard {
    /// The server that alone calls itself primary.
    fn only_primary(&self) -> Option<usize> {
        let is_primary = |server: &Watched| server.role == Role::Primary;
        let may_be = |server: &&Watched| matches!(server.role, Role::Primary | Role::Unknown);
        let only = self.servers.iter().filter(may_be).count() == 1;
        self.servers.iter().position(is_primary).filter(|_| only)
    }

    /// Notes who is the primary, if that is known.
    fn follow(&mut self, found: Option<usize>, report: &mut dyn FnMut(Takeover)) {
        let Some(found) = found else { return };
        let Some(former) = self.primary.replace(found) else { return };
        let now = now();
        if former == found {
            self.servers[found].followed = now;
            return;
        }
        let has_ended = self.servers[former].role == Role::Ended;
        let accepted = if has_ended { now - self.servers[former].accepted } else { Duration::ZERO };
        let server = &mut self.servers[found];
        server.takes_over = false;
        report(Takeover::Done { server: server.address, followed: now - server.followed, accepted });
        server.followed = now;
    }
}

impl Watched {
    pub(super) fn new(address: SocketAddr, named: SocketAddr, url: &str) -> Self {
        let (role, now) = (Role::Unknown, now());
        let server = Asked::new(url);
        Self { address, named, server, role, followed: now, accepted: now, takes_over: false }
    }

    fn look(&mut self, report: &mut dyn FnMut(Takeover)) {
        let before = self.role;
        self.role = self.server.role();
        let now = now();
        match self.role {
            Role::Primary if matches!(before, Role::Follower | Role::Replica) => {
                self.takes_over = true;
                report(Takeover::Begins { server: self.address, followed: now - self.followed });
            }
            Role::Follower | Role::Replica if self.takes_over => {
                self.takes_over = false;
                report(Takeover::WasNone { server: self.address });
            }
            Role::Primary | Role::Follower | Role::Replica | Role::Ended | Role::Unknown => {}
        }
        if self.role == Role::Follower {
            self.followed = now;
        }
        // A server that is silent may answer others.
        if matches!(self.role, Role::Primary | Role::Unknown) {
            self.accepted = now;
        }
    }
}

impl Asked {
    fn new(url: &str) -> Self {
        let client = Client::open(url).unwrap_or_else(|error| panic!("{url}: {error}"));
        Self { client, connection: None }
    }

    fn ask<T: FromRedisValue>(&mut self, command: &redis::Cmd) -> RedisResult<T> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            None => {
                let connection = self.client.get_connection_with_timeout(ANSWER)?;
                connection.set_read_timeout(Some(ANSWER))?;
                self.connection.insert(connection)
            }
        };
        command.query(connection).inspect_err(|_| self.connection = None)
    }

    /// The role of a server. One that refuses the password or is silent may be anything.
    fn role(&mut self) -> Role {
        let answer = self.ask::<Vec<Value>>(&redis::cmd("ROLE"));
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) if error.is_connection_refusal() => return Role::Ended,
            Err(_) => return Role::Unknown,
        };
        let word =
            |at: usize| answer.get(at).and_then(|word| redis::from_redis_value::<String>(word.clone()).ok());
        match (word(0).as_deref(), word(3).as_deref()) {
            (Some("master"), _) => Role::Primary,
            (Some("slave"), Some("connected")) => Role::Follower,
            (Some("slave"), _) => Role::Replica,
            _ => Role::Unknown,
        }
    }

    /// The primary that a Sentinel names.
    fn names(&mut self, name: &str) -> Option<SocketAddr> {
        let question = redis::cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(name).take();
        let (host, port): (String, u16) = self.ask(&question).ok()?;
        (host.as_str(), port).to_socket_addrs().ok()?.find(SocketAddr::is_ipv4)
    }
}
