//! The store in this process: one file in a data directory, for one node.
//!
//! * `data_dir`: the directory; `disk`: its files;
//! * `database`: the database and its log; `open_error`: why they cannot be opened; `keys`: whose endpoints it has;
//!   `tables`: what is in the database;
//!   `log`, `changes`: what is in the log; `background_sync`: the log without fsync;
//! * `record`: how a client is written;
//! * `batch`: the records and messages of one transaction, and what is in memory only; `seats`: which client is
//!   connected; `directory`: the nodes;
//! * `time`: a clock that can jump; `sweep`: removes what has expired;
//! * `backup`: all of it as a stream;
//! * `clients`, `messages`, `broadcasts`, `records`: the steps;
//! * `writer`: the thread that uses the database, and group commit; `keeper`: opens the database again after an error;
//!   `step`: a step in the queue; `lending`: while another process may have the directory.
//!
//! Which clients are connected is in memory only: their sockets end with the process.

mod background_sync;
mod backup;
mod batch;
mod broadcasts;
mod changes;
mod clients;
mod data_dir;
mod database;
mod directory;
mod disk;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod keeper;
mod keys;
mod lending;
mod log;
mod messages;
mod open_error;
mod record;
mod records;
mod seats;
mod step;
mod sweep;
mod tables;
mod time;
mod writer;

pub use backup::{Backup, RestoreError, Summary, read_backup, restore};
pub use disk::{Disk, DiskFile, OsDisk};
pub use open_error::OpenError;
pub use writer::{Clock, Lent};

use crate::{Announced, Answer, Cause, Disturbances, Missed, Newcomers, NodeEntry, Store, StoreError};
use batch::{Batch, Counts, Idle, Memory};
use beckon_types::{
    Ack, AddChannel, AddChannelOutcome, Backlog, BroadcastId, BroadcastVersion, Broadcasts, ChannelId, Claim,
    ClientId, ClientPage, ClientRecord, Cursor, Fetch, FindChannel, FindChannelOutcome, FoundClient, Hello,
    HelloOutcome, NodeId, NotOwner, Place, Presence, PutMessage, PutMessageOutcome, PutVersion,
    PutVersionOutcome, Revoke, Revoked, Snapshot, TooManyBroadcasts,
};
use data_dir::DataDir;
use database::Opener;
use futures_util::future::BoxFuture;
use keeper::Keeper;
use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};
use step::Forsaken;
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
};
use writer::{Order, QUEUE_LEN_MAX, Writer};

/// How an embedded store is opened.
#[derive(Clone)]
pub struct Options {
    /// The data directory. It is made, for its owner only, if it does not exist.
    pub data_dir: PathBuf,
    /// The record of a client that was not seen for so long expires (PROTOCOL.md section 1.10), or up to 1/32 and a
    /// second later. A connected client does not expire.
    pub uaid_idle: Duration,
    /// Those that never came back.
    pub newcomers: Newcomers,
    /// A step that takes longer fails with [`StoreError::Unavailable`].
    pub step_timeout: Duration,
    /// Whether an answer waits until what was written is on the disk (fsync), so that it survives a power failure. If
    /// not, it survives the end of the process, and a power failure can lose what was written in the last two seconds.
    pub fsync: bool,
    /// The fingerprints of the token keys ([`beckon_types::KeyRing::fingerprints`]). A database that was used with none
    /// of them is refused; none are checked if there are none.
    pub keys: Vec<u64>,
    /// The fingerprint of the key that makes client ids ([`beckon_types::UaidKey::fingerprint`]). A database that was used
    /// with another one is refused; `None` in a process that does not have the key.
    pub uaid_key: Option<u64>,
    /// The clock.
    pub clock: Clock,
    /// Where the files of the data directory are: [`OsDisk`], except in tests.
    pub disk: Arc<dyn Disk>,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            data_dir,
            uaid_idle,
            newcomers,
            step_timeout,
            fsync,
            keys: _,
            uaid_key: _,
            clock: _,
            disk,
        } = self;
        f.debug_struct("Options")
            .field("data_dir", data_dir)
            .field("uaid_idle", uaid_idle)
            .field("newcomers", newcomers)
            .field("step_timeout", step_timeout)
            .field("fsync", fsync)
            .field("disk", disk)
            .finish_non_exhaustive()
    }
}

/// How large an embedded store is. The counts are a second old at most while there are steps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Records of clients.
    pub clients: u64,
    /// Stored messages, also those that have expired and were not swept yet.
    pub messages: u64,
    /// Bytes of the file of the database, including its free pages.
    pub database_bytes: u64,
    /// Bytes of the records and the messages in it. The rest are free pages, which are used before the file grows, and what
    /// the database needs for itself.
    pub content_bytes: u64,
    /// Bytes of the file of the log.
    pub log_bytes: u64,
}

/// Makes the file of the database in a data directory as small as it can be, and returns its bytes before and after. No
/// process may use the directory. Blocks.
///
/// # Errors
/// Those of [`EmbeddedStore::open`].
pub fn compact(data_dir: &Path) -> Result<(u64, u64), OpenError> {
    let path = data_dir.join(open_error::DATABASE);
    let size = || std::fs::metadata(&path).map(|metadata| metadata.len());
    let before = size().map_err(|error| OpenError::directory(data_dir, error))?;
    let opener = Opener {
        data_dir: DataDir::open(data_dir)?,
        disk: Arc::new(OsDisk),
        fsync: true,
        keys: Vec::new(),
        uaid_key: None,
    };
    let mut database = opener.open()?;
    database.compact().map_err(|error| OpenError::database(data_dir, error))?;
    drop(database);
    Ok((before, size().map_err(|error| OpenError::directory(data_dir, error))?))
}

/// The store in this process.
pub struct EmbeddedStore {
    queue: mpsc::Sender<Order>,
    step_timeout: Duration,
    data_dir: PathBuf,
    counts: Arc<Counts>,
    /// How full it is when newcomers are forgotten sooner.
    memory_high: f64,
    /// Whether it was so full when it was asked last.
    is_high: Arc<AtomicBool>,
    writer: Option<JoinHandle<()>>,
}

impl EmbeddedStore {
    /// Opens the database of a data directory, or makes it. Blocks, after a crash for as long as it takes to make again
    /// what was changed since the last checkpoint.
    ///
    /// # Errors
    ///
    /// [`OpenError::InUse`] and [`OpenError::Disk`] may pass; the others need the operator.
    pub fn open(options: Options) -> Result<Self, OpenError> {
        let Options { data_dir, uaid_idle, newcomers, step_timeout, fsync, keys, uaid_key, clock, disk } =
            options;
        let mut opener = Opener { data_dir: DataDir::open(&data_dir)?, disk, fsync, keys, uaid_key };
        let database = opener.open()?;
        // When it is opened again after an error, other keys may have been added.
        opener.keys.clear();
        let is_high = Arc::new(AtomicBool::new(false));
        let idle = Idle { known: uaid_idle, newcomers, is_high: is_high.clone() };
        let memory = Memory::new(database.epoch, idle);
        let counts = memory.counts.clone();
        let (queue, orders) = mpsc::channel(QUEUE_LEN_MAX);
        let writer = Writer { keeper: Keeper::new(opener, database), memory, clock };
        let writer = std::thread::Builder::new()
            .name("store".into())
            .spawn(move || writer.run(orders))
            .map_err(|error| OpenError::Disk { data_dir: data_dir.clone(), error })?;
        let memory_high = newcomers.memory_high;
        Ok(Self { queue, step_timeout, data_dir, counts, memory_high, is_high, writer: Some(writer) })
    }

    /// Notes that the database is also used with these token keys from now on, by their fingerprints. Those in use before
    /// stay known until it is opened again.
    ///
    /// # Errors
    /// The database does not work.
    pub fn know_keys(&self, fingerprints: Vec<u64>) -> Answer<()> {
        self.submit(move |batch| batch.know_keys(&fingerprints))
    }

    /// Begins a backup of everything that has been accepted.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn backup(&self) -> Result<Backup, StoreError> {
        let (caller, backup) = oneshot::channel();
        self.queue.send(Order::Backup(caller)).await.map_err(|_| closed())?;
        backup.await.map_err(|_| closed())?
    }

    /// How large the store is.
    pub fn figures(&self) -> Figures {
        let size = |name| std::fs::metadata(self.data_dir.join(name)).map_or(0, |metadata| metadata.len());
        Figures {
            clients: self.counts.clients.load(Ordering::Relaxed),
            messages: self.counts.messages.load(Ordering::Relaxed),
            database_bytes: size(open_error::DATABASE),
            content_bytes: self.counts.content.load(Ordering::Relaxed),
            log_bytes: size(open_error::LOG),
        }
    }

    /// Passes a step to the writer, and waits until it is committed. A step whose caller gives up before it is
    /// performed is skipped.
    fn submit<T: Send + 'static>(
        &self,
        step: impl Fn(&mut Batch<'_, '_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Answer<T> {
        self.submit_even_if(Forsaken::Skipped, step)
    }

    fn submit_even_if<T: Send + 'static>(
        &self,
        forsaken: Forsaken,
        step: impl Fn(&mut Batch<'_, '_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Answer<T> {
        let (queue, limit) = (self.queue.clone(), self.step_timeout);
        Box::pin(async move {
            let (step, outcome) = step::ask(forsaken, step);
            let answer = async {
                queue.send(Order::Step(step)).await.map_err(|_| closed())?;
                outcome.await.map_err(|_| closed())?
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

    fn release(&self, client: ClientId, presence: Presence, former: Option<Presence>) -> Answer<()> {
        // A socket that has ended stays ended, whether or not something waits for this.
        self.submit_even_if(Forsaken::Performed, move |batch| batch.release(client, presence, former))
    }

    fn snapshot(&self, client: ClientId, presence: Presence) -> Answer<Result<Snapshot, NotOwner>> {
        self.submit(move |batch| batch.snapshot(client, presence))
    }

    fn verify(&self, client: ClientId, presence: Presence) -> Answer<Claim> {
        self.submit(move |batch| batch.verify(client, presence))
    }

    fn add_channel(&self, add: AddChannel) -> Answer<AddChannelOutcome> {
        self.submit(move |batch| batch.add_channel(&add))
    }

    fn remove_channel(
        &self,
        client: ClientId,
        presence: Presence,
        channel: ChannelId,
    ) -> Answer<Result<(), NotOwner>> {
        self.submit(move |batch| batch.remove_channel(client, presence, channel))
    }

    fn put_version(&self, put: PutVersion) -> Answer<PutVersionOutcome> {
        self.submit(move |batch| batch.put_version(&put))
    }

    fn ack_versions(&self, client: ClientId, acks: Vec<Ack>) -> Answer<()> {
        self.submit(move |batch| batch.ack_versions(client, &acks))
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

    fn remove_messages(&self, client: ClientId, places: Vec<Place>) -> Answer<()> {
        self.submit(move |batch| batch.remove_messages(client, &places))
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

    fn list_clients(&self, from: Option<Cursor>) -> Answer<ClientPage> {
        self.submit(move |batch| batch.list_clients(from))
    }

    fn read_client(&self, client: ClientId) -> Answer<Option<ClientRecord>> {
        self.submit(move |batch| batch.read_client(client))
    }

    fn add_client(&self, record: ClientRecord) -> Answer<bool> {
        self.submit(move |batch| batch.add_client(&record))
    }

    fn find_client(&self, client: ClientId) -> Answer<FoundClient> {
        self.submit(move |batch| batch.find_client(client))
    }

    fn revoke(&self, revoke: Revoke) -> Answer<Revoked> {
        self.submit(move |batch| batch.revoke(revoke))
    }

    fn announce(&self, entry: NodeEntry) -> Answer<Announced> {
        self.submit(move |batch| {
            let lapsed = batch.memory.directory.announce(batch.now.steady, entry.clone());
            let nodes = batch.memory.directory.nodes(batch.now.steady);
            Ok(Announced { nodes, epoch: batch.memory.epoch, lapsed })
        })
    }

    fn retire(&self, node: NodeId) -> Answer<()> {
        self.submit(move |batch| {
            batch.memory.directory.retire(node);
            Ok(())
        })
    }

    fn note_missed(&self, presence: Presence) -> Answer<()> {
        self.submit(move |batch| {
            batch.memory.directory.note_missed(presence);
            Ok(())
        })
    }

    fn take_missed(&self, node: NodeId) -> Answer<Missed> {
        self.submit(move |batch| Ok(batch.memory.directory.take_missed(node)))
    }

    fn nodes(&self) -> Answer<Vec<NodeEntry>> {
        self.submit(|batch| Ok(batch.memory.directory.nodes(batch.now.steady)))
    }

    fn check(&self) -> Answer<()> {
        // A commit although nothing else changes, to see whether the disk accepts it.
        self.submit(|batch| {
            batch.is_changed = true;
            Ok(())
        })
    }

    fn fullness(&self) -> Answer<Option<f64>> {
        let Figures { database_bytes, log_bytes, .. } = self.figures();
        let (data_dir, high, is_high) = (self.data_dir.clone(), self.memory_high, self.is_high.clone());
        Box::pin(async move {
            let asked = tokio::task::spawn_blocking(move || rustix::fs::statvfs(&data_dir)).await;
            let asked = asked.map_err(io::Error::other).and_then(|asked| Ok(asked?));
            let disk = asked.map_err(|error| StoreError::unavailable(Cause::Disk, error.to_string()))?;
            let used = (database_bytes + log_bytes) as f64;
            let fullness = used / (used + (disk.f_bavail * disk.f_frsize) as f64).max(1.0);
            is_high.store(fullness >= high, Ordering::Relaxed);
            Ok(Some(fullness))
        })
    }

    fn hurry(&self) {}

    fn disturbances(&self) -> Disturbances {
        // The sockets end with the process.
        Disturbances::default()
    }

    fn reach(&self) -> Answer<()> {
        self.check()
    }

    /// A step is a message to the thread of the database, from whichever thread.
    fn on_runtime(self: Arc<Self>, _runtime: &Handle) -> Arc<dyn Store> {
        self
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

    fn ended(&self) -> BoxFuture<'static, ()> {
        let queue = self.queue.clone();
        // The writer owns the other end.
        Box::pin(async move { queue.closed().await })
    }
}

impl Drop for EmbeddedStore {
    /// Waits for the writer, so that the directory can be opened again afterwards.
    fn drop(&mut self) {
        // If the queue is full there is no room for this order, and the writer ends when it has emptied the queue and
        // the last sender is gone, which may be after this. So do not wait for it then.
        let sent = self.queue.try_send(Order::Close(None));
        let is_closing = !matches!(sent, Err(mpsc::error::TrySendError::Full(_)));
        if let Some(writer) = self.writer.take().filter(|_| is_closing) {
            let _ = writer.join();
        }
    }
}

impl fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedStore").field("step_timeout", &self.step_timeout).finish_non_exhaustive()
    }
}

/// The error for a writer that has ended.
fn closed() -> StoreError {
    StoreError::unavailable(Cause::Closed, "the store is closed")
}
