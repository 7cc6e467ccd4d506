//! What a step costs its caller: over a Redis of its own on this machine, and embedded with and without fsync.
//!
//! A line is the time until all callers have their outcomes, so with 32 callers it is 32 steps; the items per
//! second are steps. All callers are on one thread, so that a line is about the work and not about the scheduling
//! of threads; Redis, and the embedded store's writer, have their own.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run has to stop")]

use beckon_store::{
    Answer, Newcomers, Store,
    embedded::{EmbeddedStore, Options, OsDisk},
    redis::RedisOptions,
};
use beckon_testbed::redis::RedisServer;
use beckon_types::{
    Ack, AddChannel, AddChannelOutcome, ChannelId, ClientId, ConnectionId, Dialect, Draft, Encoding, Hello,
    HelloOutcome, KeyId, Listed, NodeId, Nonce, Payload, Place, Presence, PutMessage, PutMessageOutcome,
    PutVersion, PutVersionOutcome, Spelling, Urgency, Version,
};
use divan::{Bencher, counter::ItemsCount};
use futures_util::future::join_all;
use std::{cell::RefCell, fmt, sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

/// Stored clients, each with one channel. More than one sample of [`ack_versions`] uses.
const CLIENTS: usize = 4096;
const CHANNEL: ChannelId = ChannelId([9; 16]);
/// It is the same for all messages: their sequences differ.
const NONCE: Nonce = Nonce(7);
const VERSION: u64 = 1_700_000_000_000;

/// Bytes of a message's body.
const BODY_LEN: usize = 200;

/// Messages that a hello brings.
const BACKLOG: usize = 10;

const CASES: [Case; 6] = [
    Case { on: On::Redis, callers: 1 },
    Case { on: On::Redis, callers: 32 },
    Case { on: On::Embedded { fsync: false }, callers: 1 },
    Case { on: On::Embedded { fsync: false }, callers: 32 },
    Case { on: On::Embedded { fsync: true }, callers: 1 },
    Case { on: On::Embedded { fsync: true }, callers: 32 },
];

fn main() {
    divan::main();
}

#[derive(Debug, Clone, Copy)]
enum On {
    Redis,
    Embedded { fsync: bool },
}

/// Which store, and how many steps at a time.
#[derive(Debug, Clone, Copy)]
struct Case {
    on: On,
    callers: usize,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on = match self.on {
            On::Redis => "redis",
            On::Embedded { fsync: false } => "embedded",
            On::Embedded { fsync: true } => "embedded, fsync",
        };
        write!(f, "{on}, {}", self.callers)
    }
}

/// A store with [`CLIENTS`] clients of one dialect, and what keeps it alive.
struct Bed {
    callers: usize,
    next: usize,
    store: Arc<dyn Store>,
    runtime: Runtime,
    _redis: Option<RedisServer>,
    _directory: Option<TempDir>,
}

impl Bed {
    fn make(Case { on, callers }: Case, dialect: Dialect) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let (mut redis, mut directory) = (None, None);
        let store: Arc<dyn Store> = match on {
            On::Redis => {
                let server = redis.insert(RedisServer::start());
                let url = server.url();
                let connecting = beckon_store::redis::connect(&url, RedisOptions::default());
                Arc::new(runtime.block_on(connecting).unwrap())
            }
            On::Embedded { fsync } => {
                let directory = directory.insert(tempfile::tempdir().unwrap());
                let options = Options {
                    data_dir: directory.path().to_owned(),
                    uaid_idle: Duration::from_secs(90 * 24 * 3600),
                    newcomers: Newcomers::default(),
                    step_timeout: Duration::from_secs(10),
                    fsync,
                    keys: Vec::new(),
                    uaid_key: None,
                    clock: Arc::new(|| Duration::from_secs(1_700_000_000)),
                    disk: Arc::new(OsDisk),
                };
                Arc::new(EmbeddedStore::open(options).unwrap())
            }
        };
        let bed = Self { callers, next: 0, store, runtime, _redis: redis, _directory: directory };
        let hellos = bed.all((0..CLIENTS).map(|client| bed.store.hello(hello(client, 0, dialect))));
        assert!(hellos.iter().all(|outcome| matches!(outcome, HelloOutcome::Claimed { .. })));
        let added = bed.all((0..CLIENTS).map(|client| bed.store.add_channel(add(client))));
        assert!(added.iter().all(|outcome| matches!(outcome, AddChannelOutcome::Registered { .. })));
        bed
    }

    /// The clients of the next callers, all different.
    fn clients(&mut self) -> impl Iterator<Item = usize> + use<> {
        let first = self.next;
        self.next += self.callers;
        (first..self.next).map(|client| client % CLIENTS)
    }

    /// Waits for the outcomes of all steps, which are under way at the same time.
    fn all<T>(&self, steps: impl Iterator<Item = Answer<T>>) -> Vec<T> {
        let outcomes = self.runtime.block_on(join_all(steps));
        outcomes.into_iter().map(Result::unwrap).collect()
    }

    /// Writes to each of these clients.
    fn put(&self, clients: impl Iterator<Item = usize>) {
        let version = Version::new(VERSION).unwrap();
        let put = |client| PutVersion { client: id(client), channel: CHANNEL, version };
        let outcomes = self.all(clients.map(|client| self.store.put_version(put(client))));
        assert!(outcomes.iter().all(|outcome| matches!(outcome, PutVersionOutcome::Stored { .. })));
    }

    /// Sends a message to each of these clients: where they are.
    fn send(&self, clients: impl Iterator<Item = usize>) -> Vec<Place> {
        let outcomes = self.all(clients.map(|client| self.store.put_message(message(client))));
        let place = |outcome| match outcome {
            PutMessageOutcome::Accepted { sequence, .. } => Place { sequence, nonce: NONCE, topic: None },
            PutMessageOutcome::UaidGone | PutMessageOutcome::ChannelGone | PutMessageOutcome::Full => {
                panic!("accepted expected, not {outcome:?}")
            }
        };
        outcomes.into_iter().map(place).collect()
    }
}

fn id(client: usize) -> ClientId {
    ClientId((client as u128).to_be_bytes())
}

fn presence(connection: u64) -> Presence {
    Presence { node: NodeId(1), connection: ConnectionId(connection) }
}

fn hello(client: usize, connection: u64, dialect: Dialect) -> Hello {
    Hello {
        client: id(client),
        presence: presence(connection),
        named: None,
        otherwise: dialect,
        listed: Some(Listed::Channels(Vec::new())),
        adopt: true,
        room: true,
        backlog_max: BACKLOG,
    }
}

fn add(client: usize) -> AddChannel {
    AddChannel {
        client: id(client),
        presence: presence(0),
        channel: CHANNEL,
        spelling: Spelling::HYPHENATED,
        restricted: None,
        key: KeyId(1),
        channels_max: 200,
    }
}

fn message(client: usize) -> PutMessage {
    PutMessage {
        client: id(client),
        channel: CHANNEL,
        restricted: None,
        key: KeyId(1),
        nonce: NONCE,
        topic: None,
        draft: Draft {
            urgency: Urgency::Normal,
            ttl: Duration::from_secs(24 * 3600),
            payload: Some(Payload { encoding: Encoding::Aes128gcm, body: vec![b'x'; BODY_LEN].into() }),
        },
        messages_max: 100,
        reserve: 8,
    }
}

/// What each notification costs before it is answered.
#[divan::bench(args = CASES, sample_count = 200, sample_size = 16, max_time = 5)]
fn put_version(bencher: Bencher<'_, '_>, case: Case) {
    let mut bed = Bed::make(case, Dialect::SimplePush);
    bencher.counter(ItemsCount::new(case.callers)).bench_local(|| {
        let clients = bed.clients();
        bed.put(clients);
    });
}

/// The acknowledgement of a pending version. In Redis it waits for others, so those that are asked for one after the
/// other take as long as the pause between pipelines.
#[divan::bench(args = CASES, sample_count = 200, sample_size = 16, max_time = 5)]
fn ack_versions(bencher: Bencher<'_, '_>, case: Case) {
    // Every step has to find a version to remove, and the versions of one sample are put before it is measured.
    assert!(case.callers * 16 <= CLIENTS);
    let bed = RefCell::new(Bed::make(case, Dialect::SimplePush));
    bencher
        .counter(ItemsCount::new(case.callers))
        .with_inputs(|| {
            let mut bed = bed.borrow_mut();
            let clients: Vec<usize> = bed.clients().collect();
            bed.put(clients.iter().copied());
            clients
        })
        .bench_local_values(|clients| {
            let bed = bed.borrow();
            let acks = || vec![Ack { channel: CHANNEL, version: Some(VERSION as f64) }];
            bed.all(clients.into_iter().map(|client| bed.store.ack_versions(id(client), acks())));
        });
}

/// A client with one channel connects again.
#[divan::bench(args = CASES, sample_count = 200, sample_size = 16, max_time = 5)]
fn hello_one_channel(bencher: Bencher<'_, '_>, case: Case) {
    let mut bed = Bed::make(case, Dialect::SimplePush);
    let mut connection = 0;
    bencher.counter(ItemsCount::new(case.callers)).bench_local(|| {
        connection += 1;
        let clients = bed.clients();
        bed.all(clients.map(|client| bed.store.hello(hello(client, connection, Dialect::SimplePush))))
    });
}

/// What each message costs before it is answered. A client has up to a few tens of them.
#[divan::bench(args = CASES, sample_count = 200, sample_size = 16, max_time = 5)]
fn put_message(bencher: Bencher<'_, '_>, case: Case) {
    let mut bed = Bed::make(case, Dialect::WebPush);
    bencher.counter(ItemsCount::new(case.callers)).bench_local(|| {
        let clients = bed.clients();
        bed.send(clients);
    });
}

/// The acknowledgement of a message.
#[divan::bench(args = CASES, sample_count = 200, sample_size = 16, max_time = 5)]
fn remove_messages(bencher: Bencher<'_, '_>, case: Case) {
    let bed = RefCell::new(Bed::make(case, Dialect::WebPush));
    bencher
        .counter(ItemsCount::new(case.callers))
        .with_inputs(|| {
            let mut bed = bed.borrow_mut();
            let clients: Vec<usize> = bed.clients().collect();
            let places = bed.send(clients.iter().copied());
            clients.into_iter().zip(places).collect::<Vec<_>>()
        })
        .bench_local_values(|messages| {
            let bed = bed.borrow();
            let remove = |(client, place)| bed.store.remove_messages(id(client), vec![place]);
            bed.all(messages.into_iter().map(remove));
        });
}

/// A client with one channel and [`BACKLOG`] stored messages connects again.
#[divan::bench(args = CASES, sample_count = 200, sample_size = 16, max_time = 5)]
fn hello_backlog(bencher: Bencher<'_, '_>, case: Case) {
    let mut bed = Bed::make(case, Dialect::WebPush);
    for _ in 0..BACKLOG {
        bed.send(0..CLIENTS);
    }
    let mut connection = 0;
    bencher.counter(ItemsCount::new(case.callers)).bench_local(|| {
        connection += 1;
        let clients = bed.clients();
        let hello = |client| bed.store.hello(hello(client, connection, Dialect::WebPush));
        bed.all(clients.map(hello))
    });
}
