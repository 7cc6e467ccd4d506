//! The suite on the embedded store, and what is special about it: its disk and its clock.

mod large;
mod lending;
mod messages;
mod weather;

use crate::{SetClock, log::Log};
use beckon_store::{
    Cause, Newcomers, Store, StoreError,
    embedded::{EmbeddedStore, OpenError, Options, OsDisk},
};
use beckon_store_conformance::{Fixture, late, steps::*};
use beckon_types::{HelloOutcome, PutVersionOutcome};
use futures_util::future::BoxFuture;
use std::{
    path::Path,
    sync::{Arc, Condvar, Mutex},
    thread,
    time::Duration,
};

const IDLE: Duration = Duration::from_secs(64 * 60);

/// That of clients that never came back.
const NEWCOMER_IDLE: Duration = Duration::from_secs(64 * 10);

fn options(data_dir: &Path, clock: &SetClock) -> Options {
    Options {
        data_dir: data_dir.to_owned(),
        uaid_idle: IDLE,
        newcomers: Newcomers { idle: IDLE, ..Newcomers::default() },
        step_timeout: Duration::from_secs(10),
        fsync: false,
        keys: Vec::new(),
        uaid_key: None,
        clock: clock.clock(),
        disk: Arc::new(OsDisk),
    }
}

pub(crate) fn open(data_dir: &Path, clock: &SetClock) -> EmbeddedStore {
    open_again(|| options(data_dir, clock))
}

/// Opens a directory that may have been closed just now. Programs that other tests start have its lock file open, too, from their
/// fork until they are executed.
fn open_again(options: impl Fn() -> Options) -> EmbeddedStore {
    for _ in 0..500 {
        match EmbeddedStore::open(options()) {
            Err(OpenError::InUse(_)) => thread::sleep(Duration::from_millis(10)),
            opened => return opened.unwrap(),
        }
    }
    panic!("the directory stays in use");
}

fn shared(data_dir: &Path, clock: &SetClock) -> Arc<dyn Store> {
    Arc::new(open(data_dir, clock))
}

/// Copies what a process that is killed now leaves behind.
fn copy_files(from: &Path, to: &Path) {
    for name in ["store.redb", "store.log"] {
        std::fs::copy(from.join(name), to.join(name)).unwrap();
    }
}

async fn fixture() -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    // The suite waits for messages to expire.
    let moving = Options { clock: crate::moving_clock(), ..options(directory.path(), &SetClock::new()) };
    let store = Arc::new(EmbeddedStore::open(moving).unwrap());
    Fixture { store, holds: Box::new(directory) }
}

mod conformance {
    beckon_store_conformance::suite!(super::fixture);
}

#[tokio::test]
async fn after_a_restart_everything_is_stored_and_no_client_is_connected() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), SetClock::new());
    for fsync in [true, false] {
        let options = Options { fsync, ..options(directory.path(), &clock) };
        let store: Arc<dyn Store> = Arc::new(EmbeddedStore::open(options).unwrap());
        let client = connected(&store, 2).await;
        let (sequence, _) = stored(&store, client.id, client.channels[0], 7).await;
        let epoch = store.announce(new_node()).await.unwrap().epoch;
        drop(store);

        let store = shared(directory.path(), &clock);
        let announced = store.announce(new_node()).await.unwrap();
        assert_eq!(announced.epoch, epoch);
        assert_eq!(announced.nodes.len(), 1, "the nodes of the former process are gone");
        let (_, former, snapshot) = claim(&store, simplepush(client.id, new_presence())).await;
        assert_eq!(former, None);
        assert_eq!(snapshot.sequence, sequence);
        assert_eq!(pending(&snapshot), [(client.channels[0], Some(7)), (client.channels[1], None)].into());
    }
}

/// After `kill -9`, the file has what the operating system had received when the put was answered.
#[tokio::test]
async fn an_answered_put_survives_the_end_of_the_process_even_without_fsync() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), SetClock::new());
    let store = shared(directory.path(), &clock);
    let client = connected(&store, 1).await;
    for number in 0..20 {
        stored(&store, client.id, client.channels[0], number).await;
        let copy = tempfile::tempdir().unwrap();
        copy_files(directory.path(), copy.path());
        let left = shared(copy.path(), &clock);
        let (_, _, snapshot) = claim(&left, simplepush(client.id, new_presence())).await;
        assert_eq!(pending(&snapshot), [(client.channels[0], Some(number))].into());
    }
}

#[tokio::test]
async fn a_data_directory_is_for_one_process() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), SetClock::new());
    let store = open(directory.path(), &clock);
    for fsync in [true, false] {
        let error = EmbeddedStore::open(Options { fsync, ..options(directory.path(), &clock) }).unwrap_err();
        assert!(matches!(error, OpenError::InUse(_)), "{error:?}");
        assert!(error.to_string().contains(&directory.path().display().to_string()), "{error}");
    }
    store.close().await.unwrap();
    open(directory.path(), &clock);
}

#[tokio::test]
async fn a_closed_store_is_unavailable() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), &SetClock::new());
    let ended = store.ended();
    let soon = tokio::time::timeout(Duration::from_millis(50), store.ended()).await;
    assert!(soon.is_err(), "an open store has not ended");
    store.close().await.unwrap();
    store.close().await.unwrap();
    ended.await;
    store.ended().await;
    assert!(matches!(store.check().await, Err(StoreError::Unavailable { .. })));
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = EmbeddedStore::open(options(&file.join("data"), &SetClock::new())).unwrap_err();
    assert!(matches!(error, OpenError::Directory { .. }), "{error:?}");
    assert!(error.to_string().contains("file/data"), "{error}");
}

#[tokio::test]
async fn a_client_that_is_not_seen_expires_for_good() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), SetClock::new());
    let store = shared(directory.path(), &clock);
    let client = offline(&store, 1).await;
    clock.advance(IDLE - Duration::from_secs(1));
    stored(&store, client.id, client.channels[0], 1).await;
    clock.advance(IDLE / 32 + Duration::from_secs(4));
    assert_eq!(put(&store, client.id, client.channels[0], 2).await, PutVersionOutcome::Gone);
    let (_, _, snapshot) = claim(&store, simplepush(client.id, new_presence())).await;
    assert_eq!(snapshot, Default::default());
}

#[tokio::test]
async fn a_client_that_never_came_back_expires_sooner() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), SetClock::new());
    let newcomers = Newcomers { idle: NEWCOMER_IDLE, ..Newcomers::default() };
    let few = Options { newcomers, ..options(directory.path(), &clock) };
    let store: Arc<dyn Store> = Arc::new(EmbeddedStore::open(few).unwrap());
    let [newcomer, written_to, returned] =
        [offline(&store, 1).await, offline(&store, 1).await, offline(&store, 1).await];
    clock.advance(NEWCOMER_IDLE - Duration::from_secs(1));
    stored(&store, written_to.id, written_to.channels[0], 1).await;
    claim(&store, simplepush(returned.id, returned.presence)).await;
    release(&store, returned.id, returned.presence).await;
    clock.advance(NEWCOMER_IDLE / 32 + Duration::from_secs(4));
    assert_eq!(put(&store, newcomer.id, newcomer.channels[0], 2).await, PutVersionOutcome::Gone);
    clock.advance(NEWCOMER_IDLE * 2);
    stored(&store, written_to.id, written_to.channels[0], 2).await;
    stored(&store, returned.id, returned.channels[0], 2).await;
    let fullness = store.fullness().await.unwrap().unwrap();
    assert!((0.0..0.8).contains(&fullness), "{fullness}");
    std::fs::remove_dir_all(directory.path()).unwrap();
    let error = store.fullness().await.expect_err("the disk does not say how much room it has");
    assert_eq!(error.cause(), Cause::Disk, "{error}");
}

#[tokio::test]
async fn hello_release_and_snapshot_renew_the_time_until_a_record_expires() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), SetClock::new());
    let store = shared(directory.path(), &clock);
    let client = offline(&store, 1).await;
    let step = IDLE - Duration::from_secs(60);
    clock.advance(step);
    claim(&store, simplepush(client.id, client.presence)).await;
    clock.advance(step);
    snapshot(&store, &client).await;
    clock.advance(step);
    release(&store, client.id, client.presence).await;
    clock.advance(step);
    stored(&store, client.id, client.channels[0], 1).await;
}

#[tokio::test]
async fn a_connected_client_never_expires_and_is_still_seen_after_a_crash() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), SetClock::new());
    let store = shared(directory.path(), &clock);
    let client = connected(&store, 1).await;
    clock.advance(IDLE * 10);
    stored(&store, client.id, client.channels[0], 1).await;
    // Any step makes the sweep run, which notes that the client is seen. No release is written.
    drop(store);
    clock.advance(IDLE / 2);
    let store = shared(directory.path(), &clock);
    stored(&store, client.id, client.channels[0], 1).await;
}

#[tokio::test]
async fn expired_records_are_swept_from_the_disk() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), SetClock::new());
    let store = shared(directory.path(), &clock);
    let client = offline(&store, 1).await;
    clock.advance(IDLE * 2);
    store.nodes().await.unwrap();
    drop(store);
    // The clock goes back: what is still on the disk would not be expired.
    let store = shared(directory.path(), &SetClock::new());
    assert_eq!(put(&store, client.id, client.channels[0], 1).await, PutVersionOutcome::Gone);
}

#[tokio::test]
async fn a_lease_lapses() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), SetClock::new());
    let store = shared(directory.path(), &clock);
    let (node, other) = (new_node(), new_node());
    store.announce(node.clone()).await.unwrap();
    clock.advance(beckon_store::LEASE - Duration::from_secs(1));
    assert_eq!(store.nodes().await.unwrap(), std::slice::from_ref(&node));
    assert!(!store.announce(node.clone()).await.unwrap().lapsed);
    clock.advance(beckon_store::LEASE);
    assert_eq!(store.nodes().await.unwrap(), []);
    assert_eq!(store.announce(other.clone()).await.unwrap().nodes, [other]);
    assert!(store.announce(node).await.unwrap().lapsed);
}

#[tokio::test]
async fn an_unreadable_record_is_reported_and_kept() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), SetClock::new());
    let store = shared(directory.path(), &clock);
    let client = offline(&store, 1).await;
    drop(store);
    let bytes = std::fs::read(directory.path().join("store.redb")).unwrap();
    let clients: redb::TableDefinition<'_, &[u8; 16], &[u8]> = redb::TableDefinition::new("clients");
    let newer: &[u8] = &[2, 1, 0];
    {
        let database = redb::Database::open(directory.path().join("store.redb")).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(clients).unwrap().insert(&client.id.0, newer).unwrap();
        transaction.commit().unwrap();
    }
    assert_ne!(std::fs::read(directory.path().join("store.redb")).unwrap(), bytes);
    let store = shared(directory.path(), &clock);
    let unreadable = |error: &StoreError| matches!(error, StoreError::Unreadable(_));
    let put =
        beckon_types::PutVersion { client: client.id, channel: client.channels[0], version: version(1) };
    assert!(unreadable(&store.hello(simplepush(client.id, new_presence())).await.unwrap_err()));
    assert!(unreadable(&store.put_version(put).await.unwrap_err()));
    let ack = beckon_types::Ack { channel: client.channels[0], version: None };
    assert!(unreadable(&store.ack_versions(client.id, vec![ack]).await.unwrap_err()));
    clock.advance(IDLE * 2);
    store.nodes().await.unwrap();
    drop(store);
    let database = redb::Database::open(directory.path().join("store.redb")).unwrap();
    let kept = redb::ReadableDatabase::begin_read(&database).unwrap().open_table(clients).unwrap();
    assert_eq!(kept.get(&client.id.0).unwrap().unwrap().value(), newer);
}

/// The last commit was not a checkpoint, as after `beckon compact` was killed: all of the file has to be read.
#[tokio::test]
async fn a_repair_of_the_whole_file_says_how_far_it_is() {
    let (directory, copy, clock) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), SetClock::new());
    let store = shared(directory.path(), &clock);
    let client = offline(&store, 1).await;
    drop(store);
    let database = redb::Database::open(directory.path().join("store.redb")).unwrap();
    let other: redb::TableDefinition<'_, u64, u64> = redb::TableDefinition::new("other");
    let transaction = database.begin_write().unwrap();
    transaction.open_table(other).unwrap().insert(1, 1).unwrap();
    transaction.commit().unwrap();
    copy_files(directory.path(), copy.path());
    drop(database);
    let log = Log::default();
    let store = log.of(|| EmbeddedStore::open(options(copy.path(), &clock)).unwrap());
    assert!(
        log.text().contains("repairing the database") && log.text().contains("percent="),
        "{}",
        log.text()
    );
    claim(&(Arc::new(store) as Arc<dyn Store>), simplepush(client.id, client.presence)).await;
    // Not if it was closed in good order.
    let log = Log::default();
    log.of(|| EmbeddedStore::open(options(directory.path(), &clock)).unwrap());
    assert!(!log.text().contains("repairing"), "{}", log.text());
}

#[test]
fn a_database_of_a_newer_version_is_refused_and_stays_as_it_is() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), SetClock::new());
    drop(EmbeddedStore::open(options(directory.path(), &clock)).unwrap());
    let numbers: redb::TableDefinition<'_, &str, u64> = redb::TableDefinition::new("numbers");
    let set_format = |format: u64| {
        let database = redb::Database::open(directory.path().join("store.redb")).unwrap();
        let transaction = database.begin_write().unwrap();
        let former =
            transaction.open_table(numbers).unwrap().insert("format", format).unwrap().map(|old| old.value());
        transaction.commit().unwrap();
        former
    };
    let this = set_format(1000).unwrap();
    for _ in 0..2 {
        let error = EmbeddedStore::open(options(directory.path(), &clock)).unwrap_err();
        assert!(matches!(error, OpenError::Newer(_)), "{error}");
        assert!(error.to_string().contains("start that version"), "{error}");
    }
    assert_eq!(set_format(this), Some(1000));
    drop(EmbeddedStore::open(options(directory.path(), &clock)).unwrap());
}

#[tokio::test]
async fn concurrent_puts_share_commits_and_are_all_kept() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), SetClock::new());
    let synced = Options { fsync: true, ..options(directory.path(), &clock) };
    let store: Arc<dyn Store> = Arc::new(EmbeddedStore::open(synced).unwrap());
    let client = connected(&store, 1).await;
    let puts = (0..500).map(|number| stored(&store, client.id, client.channels[0], number));
    futures_util::future::join_all(puts).await;
    drop(store);
    let store = shared(directory.path(), &clock);
    let HelloOutcome::Claimed { snapshot, .. } = say(&store, simplepush(client.id, new_presence())).await
    else {
        panic!("claimed expected")
    };
    assert_eq!(snapshot.sequence.0, 1_700_000_000_000 + 499);
}

/// A store whose thread stands still, as while it waits for a disk: it waits for its clock.
#[derive(Debug, Clone, Default)]
struct Halt(Arc<(Mutex<bool>, Condvar)>);

impl Halt {
    fn wait(&self) {
        let (is_halted, changed) = &*self.0;
        drop(changed.wait_while(is_halted.lock().unwrap(), |is_halted| *is_halted).unwrap());
    }

    fn set(&self, is_halted: bool) {
        *self.0.0.lock().unwrap() = is_halted;
        self.0.1.notify_all();
    }
}

impl late::Way for Halt {
    fn hold_up(&self) {
        self.set(true);
    }

    fn let_go(&self) -> BoxFuture<'_, ()> {
        self.set(false);
        Box::pin(std::future::ready(()))
    }
}

#[tokio::test]
async fn a_step_that_was_given_up_while_the_disk_was_slow_changes_nothing() {
    let (directory, clock, halt) = (tempfile::tempdir().unwrap(), SetClock::new(), Halt::default());
    let (read, waits) = (clock.clock(), halt.clone());
    let halting = Arc::new(move || {
        waits.wait();
        read()
    });
    let step_timeout = Duration::from_millis(300);
    let options = Options { step_timeout, clock: halting, ..options(directory.path(), &clock) };
    let store: Arc<dyn Store> = Arc::new(EmbeddedStore::open(options).unwrap());
    late::a_step_that_was_given_up_changes_nothing(&store, &store, &halt).await;
}
