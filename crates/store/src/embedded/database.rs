//! The database and its log: opening them, and how a batch gets into both.
//!
//! A batch is accepted when the log has it on the disk ([`super::log`]). The database has it in memory, until a
//! *checkpoint* writes everything that has changed since the last one, in two phases and with the state of its
//! allocator. So the file is in order whenever the power fails, and is opened without reading all of it
//! (`docs/adr/0021-log-and-checkpoints.md`).

use super::{
    background_sync::BackgroundSync,
    batch::failed,
    changes::{self, ApplyError, Changes},
    data_dir::DataDir,
    disk::{Backend, Disk, DiskFile},
    keys,
    log::Log,
    open_error::{DATABASE, LOG, OpenError},
    tables::{BROADCASTS, CLIENTS, CONTENT, EPOCH, FORMAT, HAS_LOG, LOGGED, MESSAGES, NUMBERS},
};
use crate::StoreError;
use redb::{Durability, ReadableTable as _, WriteTransaction};
use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

/// The version of the tables. A database with a higher one was made by a newer server.
const FORMAT_VERSION: u64 = 1;

/// Bytes of the database that are kept in memory. Half of them can be changes since the last checkpoint; further ones
/// are written to the file early.
const CACHE_BYTES: usize = 64 * 1024 * 1024;

/// A checkpoint is due when the log is longer, in bytes.
const LOG_LEN_MAX: u64 = 16 * 1024 * 1024;

/// What it takes to open the database of a data directory, again if need be.
#[derive(Debug)]
pub(super) struct Opener {
    pub(super) data_dir: DataDir,
    pub(super) disk: Arc<dyn Disk>,
    /// Whether batches wait for the disk.
    pub(super) fsync: bool,
    /// The fingerprints of the token keys; none if the keys are not known.
    pub(super) keys: Vec<u64>,
    /// The fingerprint of the key that makes client ids, if it is known.
    pub(super) uaid_key: Option<u64>,
}

/// An open database.
#[derive(Debug)]
pub(super) struct Database {
    redb: redb::Database,
    log: Log,
    /// Syncs the log if batches do not.
    background: Option<BackgroundSync>,
    /// The random number that was drawn when the database was made.
    pub(super) epoch: u64,
    /// Bytes of all keys and values of clients and messages.
    pub(super) content: u64,
}

/// Why a database could not be opened.
enum Obstacle {
    Newer,
    OtherKeys,
    OtherUaidKey,
    Damaged(String),
    Error(redb::Error),
}

impl<E: Into<redb::Error>> From<E> for Obstacle {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

impl Opener {
    /// Opens the database, or makes it. Blocks, for as long as it takes to make the changes of the log again.
    pub(super) fn open(&self) -> Result<Database, OpenError> {
        let data_dir = self.data_dir.path();
        // redb panics on some damaged files.
        match catch_unwind(AssertUnwindSafe(|| self.attempt())) {
            Ok(Ok(database)) => Ok(database),
            Ok(Err(Obstacle::Newer)) => Err(OpenError::Newer(data_dir.to_owned())),
            Ok(Err(Obstacle::OtherKeys)) => Err(OpenError::OtherKeys(data_dir.to_owned())),
            Ok(Err(Obstacle::OtherUaidKey)) => Err(OpenError::OtherUaidKey(data_dir.to_owned())),
            Ok(Err(Obstacle::Damaged(reason))) => Err(OpenError::damaged(data_dir, reason)),
            Ok(Err(Obstacle::Error(error))) => Err(OpenError::database(data_dir, error)),
            Err(_) => Err(OpenError::damaged(data_dir, "reading it has failed unexpectedly")),
        }
    }

    fn attempt(&self) -> Result<Database, Obstacle> {
        let file = self.disk.open(&self.data_dir.path().join(DATABASE))?;
        let log_file = self.disk.open(&self.data_dir.path().join(LOG))?;
        let redb = redb_builder().create_with_backend(Backend(file))?;
        let transaction = redb.begin_write()?;
        let numbers = Numbers::read(&transaction)?;
        let mut log = numbers.log(log_file.clone())?;
        let mut content = numbers.content;
        while let Some(changes) = log.read_next()? {
            let grown = changes::apply(&changes, &transaction).map_err(|error| match error {
                ApplyError::Database(error) => Obstacle::Error(error),
                ApplyError::Unreadable(reason) => Obstacle::Damaged(format!("{LOG}: {reason}")),
            })?;
            content = content.saturating_add_signed(grown);
        }
        // The log may have keys that came later.
        if !keys::belong(&transaction, &self.keys)? {
            return Err(Obstacle::OtherKeys);
        }
        if !keys::is_uaid_key(&transaction, self.uaid_key)? {
            return Err(Obstacle::OtherUaidKey);
        }
        note_state(&transaction, &log, content)?;
        commit_for_good(transaction)?;
        log.restart();
        if !numbers.has_log {
            let transaction = redb.begin_write()?;
            transaction.open_table(NUMBERS)?.insert(HAS_LOG, 1)?;
            commit_for_good(transaction)?;
        }
        let background = if self.fsync { None } else { Some(BackgroundSync::start(log_file)?) };
        Ok(Database { redb, log, background, epoch: numbers.epoch, content })
    }
}

/// How every database is opened.
pub(super) fn redb_builder() -> redb::Builder {
    let mut builder = redb::Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    builder.set_repair_callback(|repair| {
        let percent = repair.progress() * 100.0;
        tracing::info!(percent, "repairing the database, all of which has to be read");
    });
    builder
}

/// What the database says about itself.
struct Numbers {
    epoch: u64,
    content: u64,
    logged: u64,
    has_log: bool,
}

impl Numbers {
    /// Reads them. In a new database they are made, as are all tables.
    fn read(transaction: &WriteTransaction) -> Result<Self, Obstacle> {
        transaction.open_table(CLIENTS)?;
        transaction.open_table(MESSAGES)?;
        transaction.open_table(BROADCASTS)?;
        let mut numbers = transaction.open_table(NUMBERS)?;
        let number = |name| numbers.get(name).map(|number| number.map(|number| number.value()));
        let (format, epoch, logged) = (number(FORMAT)?, number(EPOCH)?, number(LOGGED)?.unwrap_or(0));
        let (has_log, content) = (number(HAS_LOG)?.is_some(), number(CONTENT)?.unwrap_or(0));
        if format.is_some_and(|format| format > FORMAT_VERSION) {
            return Err(Obstacle::Newer);
        }
        let epoch = match epoch {
            Some(epoch) => epoch,
            None => {
                let epoch = getrandom::u64().map_err(io::Error::other)?;
                numbers.insert(FORMAT, FORMAT_VERSION)?;
                numbers.insert(EPOCH, epoch)?;
                epoch
            }
        };
        Ok(Self { epoch, content, logged, has_log })
    }

    /// The log of this database.
    fn log(&self, file: Arc<dyn DiskFile>) -> Result<Log, Obstacle> {
        match Log::open(file.clone(), self.epoch, self.logged)? {
            Some(log) => Ok(log),
            None if self.has_log => Err(Obstacle::Damaged(format!(
                "{LOG}, which belongs to it, is missing or of another database"
            ))),
            None => Ok(Log::make(file, self.epoch)?),
        }
    }
}

impl Database {
    /// Begins a batch.
    pub(super) fn begin(&self) -> Result<WriteTransaction, StoreError> {
        let mut transaction = self.redb.begin_write().map_err(failed)?;
        // The log makes it durable.
        transaction.set_durability(Durability::None).map_err(failed)?;
        Ok(transaction)
    }

    /// Commits a batch that has made these changes. If this fails, whether they will be there when the database is
    /// opened again is unknown.
    pub(super) fn commit(
        &mut self,
        transaction: WriteTransaction,
        changes: &Changes,
    ) -> Result<(), StoreError> {
        self.log.append(changes.bytes()).map_err(failed)?;
        match &self.background {
            None => self.log.file().sync().map_err(failed)?,
            Some(background) => background.has_written().map_err(failed)?,
        }
        let content = self.content.saturating_add_signed(changes.grown);
        note_state(&transaction, &self.log, content).map_err(failed)?;
        transaction.commit().map_err(failed)?;
        self.content = content;
        Ok(())
    }

    /// The database, as it is in memory.
    pub(super) fn redb(&self) -> &redb::Database {
        &self.redb
    }

    /// Moves what is in the file to its beginning, and cuts the rest off. Blocks, and has to be repaired if it is cut
    /// short.
    pub(super) fn compact(&mut self) -> Result<(), redb::Error> {
        self.redb.compact()?;
        Ok(())
    }

    /// Whether it is time for a checkpoint.
    pub(super) fn is_checkpoint_due(&self) -> bool {
        self.log.len() > LOG_LEN_MAX
    }

    /// Writes to the file what has changed since the last checkpoint, and starts the log again.
    pub(super) fn checkpoint(&mut self) -> Result<(), StoreError> {
        let transaction = self.redb.begin_write().map_err(failed)?;
        commit_for_good(transaction).map_err(failed)?;
        self.log.restart();
        Ok(())
    }
}

/// Notes which entries of the log a transaction includes, and how many bytes it has.
fn note_state(transaction: &WriteTransaction, log: &Log, content: u64) -> Result<(), redb::Error> {
    let mut numbers = transaction.open_table(NUMBERS)?;
    numbers.insert(LOGGED, log.last())?;
    numbers.insert(CONTENT, content)?;
    Ok(())
}

/// Commits to the disk in two phases, with the state of the allocator, so that nothing has to be repaired after a crash.
pub(super) fn commit_for_good(mut transaction: WriteTransaction) -> Result<(), redb::CommitError> {
    transaction.set_quick_repair(true);
    transaction.commit()
}
