//! A large database is opened without being read, and the sweep visits many clients at a bounded rate.
//!
//! The databases are small unless variables say otherwise: docs/reliability.md has the commands and what they showed.

use super::{open_again, options};
use crate::SetClock;
use beckon_store::{
    Store,
    embedded::{Disk, DiskFile, EmbeddedStore, Options, OsDisk},
};
use beckon_store_conformance::{message_steps::*, steps::*};
use beckon_types::{
    Channel, ChannelRecord, ClientId, ClientRecord, Dialect, Draft, KeyId, Message, Nonce, Place, Sequence,
    Spelling, Urgency,
};
use futures_util::stream::{self, StreamExt as _};
use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Names the size of the database that is opened, if it is not [`SIZE_MB`].
const SIZE: &str = "BECKON_TEST_STORE_MB";
const SIZE_MB: u64 = 64;

/// Names the number of clients that the sweep visits, if it is not [`CLIENTS`].
const COUNT: &str = "BECKON_TEST_CLIENTS";
const CLIENTS: u64 = 3000;

/// Fewest and most clients in a part of a sweep.
const PART_MIN: u64 = 100;
const PART_MAX: u64 = 5000;

/// Steps under way while the database is filled.
const STEPS_MAX: usize = 256;

/// Messages of a client, and bytes of each.
const MESSAGES: u64 = 100;
const BODY_LEN: usize = 4000;

/// No more is read when a database is opened: its log, and the state of its allocator.
const READ_MAX: u64 = 24 * 1024 * 1024;

/// The value of a variable, or this one.
fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var_os(variable).map_or(otherwise, |value| value.to_str().unwrap().parse().unwrap())
}

/// The disk of the operating system, which counts what is read and can take the process away.
#[derive(Debug, Clone)]
struct WatchedDisk(Arc<Watched>);

#[derive(Debug)]
struct Watched {
    read: AtomicU64,
    /// Writes to the database after which nothing is written any more, to any file.
    life: AtomicI64,
}

#[derive(Debug)]
struct WatchedFile {
    file: Arc<dyn DiskFile>,
    is_database: bool,
    watched: Arc<Watched>,
}

impl Default for WatchedDisk {
    fn default() -> Self {
        Self(Arc::new(Watched { read: AtomicU64::new(0), life: AtomicI64::new(i64::MAX) }))
    }
}

impl WatchedDisk {
    /// Kills the process after so many more writes to the database.
    fn kill_after(&self, writes: i64) {
        self.0.life.store(writes, Ordering::SeqCst);
    }
}

impl Disk for WatchedDisk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let is_database = path.ends_with("store.redb");
        Ok(Arc::new(WatchedFile { file: OsDisk.open(path)?, is_database, watched: self.0.clone() }))
    }
}

impl WatchedFile {
    fn ensure_alive(&self) -> io::Result<()> {
        let spent = i64::from(self.is_database);
        match self.watched.life.fetch_sub(spent, Ordering::SeqCst) {
            1.. => Ok(()),
            _ => Err(io::Error::other("the process was killed")),
        }
    }
}

impl DiskFile for WatchedFile {
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.watched.read.fetch_add(out.len() as u64, Ordering::SeqCst);
        self.file.read(offset, out)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.ensure_alive()?;
        self.file.write(offset, bytes)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.ensure_alive()?;
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.ensure_alive()?;
        self.file.sync()
    }
}

/// A client with one channel and so many messages, which was seen just now.
fn client(messages: u64) -> ClientRecord {
    let id = new_channel();
    let channel = Channel { id, spelling: Spelling::HYPHENATED, pending: None };
    let message = |sequence| Message {
        channel: id,
        place: Place { sequence: Sequence(sequence), nonce: Nonce(random()), topic: None },
        key: KeyId(1),
        draft: Draft { urgency: Urgency::Normal, ttl: LONG, payload: Some(payload(vec![7; BODY_LEN])) },
    };
    ClientRecord {
        client: new_client_id(),
        dialect: Dialect::WebPush,
        unseen: Duration::ZERO,
        sequence: Sequence(messages),
        channels: vec![ChannelRecord { channel, key: KeyId(1), restricted: None }],
        messages: (1..=messages).map(message).collect(),
    }
}

/// Adds so many clients with so many messages each, and returns one of them.
async fn fill(store: &EmbeddedStore, clients: u64, messages: u64) -> ClientId {
    let added = stream::iter(0..clients).map(|_| {
        let record = client(messages);
        let id = record.client;
        let adding = store.add_client(record);
        async move { adding.await.map(|added| (id, added)) }
    });
    let mut last = None;
    let mut added = added.buffer_unordered(STEPS_MAX);
    while let Some(added) = added.next().await {
        let (id, is_new) = added.unwrap();
        assert!(is_new);
        last = Some(id);
    }
    last.unwrap()
}

#[expect(clippy::disallowed_methods, reason = "this measures")]
fn now() -> Instant {
    Instant::now()
}

#[tokio::test]
async fn a_large_database_is_opened_without_being_read() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), SetClock::new());
    let on = |disk: &WatchedDisk| Options {
        step_timeout: Duration::from_secs(600),
        disk: Arc::new(disk.clone()),
        ..options(folder.path(), &clock)
    };
    let store = EmbeddedStore::open(on(&WatchedDisk::default())).unwrap();
    let per_client = MESSAGES * BODY_LEN as u64;
    fill(&store, number(SIZE, SIZE_MB) * 1_000_000 / per_client, MESSAGES).await;
    drop(store);
    // 12 MB are less than what makes a checkpoint due. The last one is killed in the middle of the next checkpoint.
    for (ending, writes) in [("closed", i64::MAX), ("killed", 0), ("killed in a checkpoint", 20)] {
        let disk = WatchedDisk::default();
        let store = open_again(|| on(&disk));
        let known = fill(&store, 12_000_000 / per_client, MESSAGES).await;
        disk.kill_after(writes);
        while writes == 20 && store.add_client(client(MESSAGES)).await.is_ok() {}
        drop(store);

        let disk = WatchedDisk::default();
        let start = now();
        let store: Arc<dyn Store> = Arc::new(open_again(|| on(&disk)));
        let (after, read) = (start.elapsed(), disk.0.read.load(Ordering::SeqCst));
        let size = std::fs::metadata(folder.path().join("store.redb")).unwrap().len();
        println!("{ending}: {size} bytes were opened in {after:?}, of which {read} were read");
        assert!(read < READ_MAX, "{ending}: {read} bytes");
        let record = store.read_client(known).await.unwrap().unwrap();
        assert_eq!(record.messages.len() as u64, MESSAGES, "{ending}");
    }
    assert!(std::fs::metadata(folder.path().join("store.redb")).unwrap().len() > 2 * READ_MAX);

    // What a hand-over takes, with as much to write as comes in while the other process gets ready.
    let (disk, lender) = (WatchedDisk::default(), open_again(|| on(&WatchedDisk::default())));
    lender.checkpoint().await.unwrap();
    let known = fill(&lender, 12_000_000 / per_client, MESSAGES).await;
    let start = now();
    let lent = lender.lend().await.unwrap();
    let closed = start.elapsed();
    let borrower = open_again(|| on(&disk));
    assert!(borrower.read_client(known).await.unwrap().is_some());
    let read = disk.0.read.load(Ordering::SeqCst);
    println!(
        "lent: closed in {closed:?}, of use to the next process after {:?}, which read {read}",
        start.elapsed()
    );
    assert!(read < READ_MAX, "lent: {read} bytes");
    lent.give_away();
}

/// Lets a second pass, so often that all clients are visited, and returns what that takes.
async fn round(store: &EmbeddedStore, clock: &SetClock, clients: u64, what: &str) -> String {
    let part = clients.div_ceil(4 * 3600).clamp(PART_MIN, PART_MAX);
    let (parts, mut longest, start) = (clients.div_ceil(part) + 1, Duration::ZERO, now());
    for _ in 0..parts {
        clock.advance(Duration::from_secs(1));
        let begin = now();
        store.nodes().await.unwrap();
        longest = longest.max(begin.elapsed());
    }
    let whole = start.elapsed();
    format!("{what}: {parts} parts of {part} clients, {whole:?} in all, {longest:?} for the longest")
}

#[tokio::test]
async fn the_sweep_visits_all_clients_within_four_hours() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), SetClock::new());
    let idle = Duration::from_secs(24 * 3600);
    let patient =
        Options { uaid_idle: idle, step_timeout: Duration::from_secs(600), ..options(folder.path(), &clock) };
    let store = EmbeddedStore::open(patient).unwrap();
    let clients = number(COUNT, CLIENTS);
    fill(&store, clients, 0).await;
    println!("{}", round(&store, &clock, clients, "nothing has expired").await);
    assert_eq!(store.figures().clients, clients);
    // In steps that are not a jump of the clock.
    for _ in 0..3 {
        clock.advance(idle / 2 - Duration::from_secs(3600));
        store.nodes().await.unwrap();
    }
    println!("{}", round(&store, &clock, clients, "everything has expired").await);
    // A round ends a little behind the place where it began. So the first one has visited some clients twice, and the second one,
    // which begins behind them, has left them for the next.
    let left = store.figures().clients;
    assert!(left <= 2 * PART_MAX, "{left} clients are left");
    for _ in 0..=left.div_ceil(PART_MIN) {
        clock.advance(Duration::from_secs(1));
        store.nodes().await.unwrap();
    }
    assert_eq!(store.figures().clients, 0);
}
