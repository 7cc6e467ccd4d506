//! The store in this process: one file in a data directory, for one node.
//!
//! * `writer`: the thread that has the database, and group commit;
//! * `clients`: the steps on clients; `record`: how a client is written;
//! * `messages`: the steps on messages; `message`: how one is written;
//! * `broadcasts`: the broadcasts;
//! * `directory`: the nodes of this process; `file`: the file without fsync.
//!
//! Who is connected is in memory only: with the process its sockets end too.

mod broadcasts;
mod clients;
mod directory;
mod file;
mod message;
mod messages;
mod record;
mod writer;

use crate::{Announced, Answer, Cause, NodeEntry, Store, StoreError};
use beckon_types::{
    Ack, AddChannel, AddChannelOutcome, Backlog, BroadcastId, BroadcastVersion, Broadcasts, ChannelId, Fetch,
    FindChannel, FindChannelOutcome, Hello, HelloOutcome, NodeId, NotOwner, Place, Presence, PutMessage,
    PutMessageOutcome, PutVersion, PutVersionOutcome, Snapshot, TooManyBroadcasts, Uaid,
};
use clients::{Batch, Memory};
use file::UnsyncedFile;
use redb::{Database, ReadableTable as _, backends::FileBackend};
use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};
use tokio::sync::{mpsc, oneshot};
use writer::{BROADCASTS, CLIENTS, MESSAGES, NUMBERS, Order, QUEUE_LEN_MAX, Writer};

/// The file in the data directory.
const FILE_NAME: &str = "store.redb";

/// The version of the tables. A database with a higher one was made by a newer server.
///
/// It did not change with Web Push: a server without it leaves alone the tables that it does not know, and the records
/// that have something in them (version 2), and goes on with the others.
const FORMAT: u64 = 1;

/// Pages of the database in memory.
const CACHE_BYTES: usize = 64 * 1024 * 1024;

/// Tells the time since the Unix epoch.
pub type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// How an embedded store is opened.
#[derive(Clone)]
pub struct Options {
    /// The data directory. Made if it is not there, for its owner only.
    pub data_dir: PathBuf,
    /// The record of a client that was not seen for so long expires (PROTOCOL.md section 1.10), at most 1/32
    /// and a second later. A connected client does not expire.
    pub uaid_idle: Duration,
    /// A step that takes longer fails with [`StoreError::Unavailable`].
    pub step_timeout: Duration,
    /// Whether an answer waits until the disk has what was written (fsync), so that it survives a power
    /// failure. Without, it survives the death of the process, as it does with.
    pub fsync: bool,
    /// The clock.
    pub clock: Clock,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { data_dir, uaid_idle, step_timeout, fsync, clock: _ } = self;
        f.debug_struct("Options")
            .field("data_dir", data_dir)
            .field("uaid_idle", uaid_idle)
            .field("step_timeout", step_timeout)
            .field("fsync", fsync)
            .finish_non_exhaustive()
    }
}

/// An embedded store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has the data directory. Trying again can help.
    #[error("data directory {} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// The directory cannot be made or its files cannot be opened.
    #[error("data directory {}: {error}", data_dir.display())]
    Directory {
        /// The data directory.
        data_dir: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The database was made by a newer server.
    #[error("data directory {} was written by a newer version of this server", .0.display())]
    Newer(PathBuf),
    /// The database is damaged, or the disk fails.
    #[error("database in {}: {reason}", data_dir.display())]
    Database {
        /// The data directory.
        data_dir: PathBuf,
        /// What redb says.
        reason: String,
    },
}

/// The store in this process.
pub struct EmbeddedStore {
    queue: mpsc::Sender<Order>,
    step_timeout: Duration,
    writer: Option<JoinHandle<()>>,
}

impl EmbeddedStore {
    /// Opens the database of a data directory, or makes it. Blocks, after a crash for as long as it takes to
    /// read all records.
    pub fn open(options: Options) -> Result<Self, OpenError> {
        let Options { data_dir, uaid_idle, step_timeout, fsync, clock } = options;
        let opened = open_database(&data_dir, fsync).map_err(|error| blame(data_dir.clone(), error))?;
        let Some((database, epoch)) = opened else { return Err(OpenError::Newer(data_dir)) };
        let (queue, orders) = mpsc::channel(QUEUE_LEN_MAX);
        let writer = Writer { database, memory: Memory::new(epoch, uaid_idle), clock };
        let writer = std::thread::Builder::new()
            .name("store".into())
            .spawn(move || writer.run(orders))
            .map_err(|error| OpenError::Directory { data_dir, error })?;
        Ok(Self { queue, step_timeout, writer: Some(writer) })
    }

    /// Has the writer perform a step, and waits until it is committed.
    fn submit<T: Send + 'static>(
        &self,
        step: impl FnOnce(&mut Batch<'_, '_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Answer<T> {
        let (queue, limit) = (self.queue.clone(), self.step_timeout);
        Box::pin(async move {
            let (sender, receiver) = oneshot::channel();
            let step = Order::Step(Box::new(move |batch| {
                let outcome = step(batch);
                batch.note(outcome.as_ref().err());
                Box::new(move |committed| {
                    // A caller that does not wait any more does not want to know.
                    let _ = sender.send(committed.and(outcome));
                })
            }));
            let answer = async {
                queue.send(step).await.map_err(|_| closed())?;
                receiver.await.map_err(|_| closed())?
            };
            let elapsed = |_| StoreError::unavailable(Cause::Timeout, format!("no answer within {limit:?}"));
            tokio::time::timeout(limit, answer).await.map_err(elapsed)?
        })
    }
}

impl Store for EmbeddedStore {
    fn hello(&self, hello: Hello) -> Answer<HelloOutcome> {
        self.submit(move |batch| batch.hello(&hello))
    }

    fn release(&self, uaid: Uaid, presence: Presence) -> Answer<()> {
        self.submit(move |batch| batch.release(uaid, presence))
    }

    fn snapshot(&self, uaid: Uaid, presence: Presence) -> Answer<Result<Snapshot, NotOwner>> {
        self.submit(move |batch| batch.snapshot(uaid, presence))
    }

    fn add_channel(&self, add: AddChannel) -> Answer<AddChannelOutcome> {
        self.submit(move |batch| batch.add_channel(&add))
    }

    fn remove_channel(
        &self,
        uaid: Uaid,
        presence: Presence,
        channel: ChannelId,
    ) -> Answer<Result<(), NotOwner>> {
        self.submit(move |batch| batch.remove_channel(uaid, presence, channel))
    }

    fn put_version(&self, put: PutVersion) -> Answer<PutVersionOutcome> {
        self.submit(move |batch| batch.put_version(&put))
    }

    fn ack_versions(&self, uaid: Uaid, acks: Vec<Ack>) -> Answer<()> {
        self.submit(move |batch| batch.ack_versions(uaid, &acks))
    }

    fn put_message(&self, put: PutMessage) -> Answer<PutMessageOutcome> {
        self.submit(move |batch| batch.put_message(&put))
    }

    fn find_channel(&self, find: FindChannel) -> Answer<FindChannelOutcome> {
        self.submit(move |batch| batch.find_channel(&find))
    }

    fn fetch(&self, fetch: Fetch) -> Answer<Result<Backlog, NotOwner>> {
        self.submit(move |batch| batch.fetch(&fetch))
    }

    fn remove_messages(&self, uaid: Uaid, places: Vec<Place>) -> Answer<()> {
        self.submit(move |batch| batch.remove_messages(uaid, &places))
    }

    fn set_broadcast(
        &self,
        id: BroadcastId,
        version: BroadcastVersion,
    ) -> Answer<Result<(), TooManyBroadcasts>> {
        self.submit(move |batch| batch.set_broadcast(&id, &version))
    }

    fn remove_broadcast(&self, id: BroadcastId) -> Answer<bool> {
        self.submit(move |batch| batch.remove_broadcast(&id))
    }

    fn broadcasts(&self, known: u64) -> Answer<Option<Broadcasts>> {
        self.submit(move |batch| batch.broadcasts(known))
    }

    fn announce(&self, entry: NodeEntry) -> Answer<Announced> {
        self.submit(move |batch| {
            let lapsed = batch.memory.directory.announce(batch.now, entry);
            let nodes = batch.memory.directory.nodes(batch.now);
            Ok(Announced { nodes, epoch: batch.memory.epoch, lapsed })
        })
    }

    fn retire(&self, node: NodeId) -> Answer<()> {
        self.submit(move |batch| {
            batch.memory.directory.retire(node);
            Ok(())
        })
    }

    fn nodes(&self) -> Answer<Vec<NodeEntry>> {
        self.submit(|batch| Ok(batch.memory.directory.nodes(batch.now)))
    }

    fn check(&self) -> Answer<()> {
        // A commit, although nothing else changes: that the disk takes it is the question.
        self.submit(|batch| {
            batch.changed = true;
            Ok(())
        })
    }

    fn close(&self) -> Answer<()> {
        let queue = self.queue.clone();
        Box::pin(async move {
            let (sender, receiver) = oneshot::channel();
            if queue.send(Order::Close(Some(sender))).await.is_ok() {
                let _ = receiver.await;
            }
            Ok(())
        })
    }
}

impl Drop for EmbeddedStore {
    /// Waits for the writer, so that the directory can be opened again afterwards.
    fn drop(&mut self) {
        // With a full queue the writer is awake and looks at the queue again; it ends when the last answer
        // that nobody awaits is dropped, and nobody waits for it here.
        let told = self.queue.try_send(Order::Close(None));
        let waits = !matches!(told, Err(mpsc::error::TrySendError::Full(_)));
        if let Some(writer) = self.writer.take().filter(|_| waits) {
            let _ = writer.join();
        }
    }
}

impl fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedStore").field("step_timeout", &self.step_timeout).finish_non_exhaustive()
    }
}

/// The writer has ended, or gave up the batch because the database failed.
fn closed() -> StoreError {
    StoreError::unavailable(Cause::Closed, "the store is closed or its database has failed")
}

/// Opens or makes the database, and reads its epoch. Nothing if it was made by a newer server.
fn open_database(data_dir: &Path, fsync: bool) -> Result<Option<(Database, u64)>, redb::Error> {
    make_directory(data_dir)?;
    let path = data_dir.join(FILE_NAME);
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    let database = if fsync {
        builder.create(path)?
    } else {
        let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        builder.create_with_backend(UnsyncedFile(FileBackend::new(file)?))?
    };
    let transaction = database.begin_write()?;
    transaction.open_table(CLIENTS)?;
    transaction.open_table(MESSAGES)?;
    transaction.open_table(BROADCASTS)?;
    let mut numbers = transaction.open_table(NUMBERS)?;
    let format = numbers.get("format")?.map_or(FORMAT, |number| number.value());
    if format > FORMAT {
        return Ok(None);
    }
    let known = numbers.get("epoch")?.map(|number| number.value());
    let epoch = match known {
        Some(epoch) => epoch,
        None => {
            let epoch = getrandom::u64().map_err(io::Error::other)?;
            numbers.insert("format", FORMAT)?;
            numbers.insert("epoch", epoch)?;
            epoch
        }
    };
    drop(numbers);
    transaction.commit()?;
    Ok(Some((database, epoch)))
}

/// Makes the data directory: what is in it lets others act as the clients.
fn make_directory(data_dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(data_dir)
}

/// Says who can do something about it.
#[expect(clippy::wildcard_enum_match_arm, reason = "redb has many errors, and may have more")]
fn blame(data_dir: PathBuf, error: redb::Error) -> OpenError {
    match error {
        redb::Error::DatabaseAlreadyOpen => OpenError::InUse(data_dir),
        redb::Error::Io(error) => OpenError::Directory { data_dir, error },
        error => OpenError::Database { data_dir, reason: error.to_string() },
    }
}
