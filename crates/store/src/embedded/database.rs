//! Opening the database of a data directory.

use super::{
    data_dir::DataDir,
    disk::{Backend, Disk},
    open_error::{DATABASE, OpenError},
    tables::{BROADCASTS, CLIENTS, EPOCH, FORMAT, MESSAGES, NUMBERS},
};
use redb::ReadableTable as _;
use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

/// The version of the tables. A database with a higher one was made by a newer server.
const FORMAT_VERSION: u64 = 1;

/// Bytes of the database that are kept in memory.
const CACHE_BYTES: usize = 64 * 1024 * 1024;

/// An open database.
#[derive(Debug)]
pub(super) struct Database {
    pub(super) redb: redb::Database,
    /// The random number that was drawn when the database was made.
    pub(super) epoch: u64,
}

/// What it takes to open the database of a data directory, again if need be.
#[derive(Debug)]
pub(super) struct Opener {
    pub(super) data_dir: DataDir,
    pub(super) disk: Arc<dyn Disk>,
    /// Whether commits wait for the disk.
    pub(super) fsync: bool,
}

impl Opener {
    /// Opens the database, or makes it. Blocks, after a crash for as long as reading all of it takes.
    pub(super) fn open(&self) -> Result<Database, OpenError> {
        let data_dir = self.data_dir.path();
        // redb panics on some damaged files.
        match catch_unwind(AssertUnwindSafe(|| self.attempt())) {
            Ok(Ok(Some(database))) => Ok(database),
            Ok(Ok(None)) => Err(OpenError::Newer(data_dir.to_owned())),
            Ok(Err(error)) => Err(OpenError::database(data_dir, error)),
            Err(_) => {
                let reason = "reading it has failed unexpectedly".to_owned();
                Err(OpenError::Damaged { data_dir: data_dir.to_owned(), reason })
            }
        }
    }

    /// `None` if the database was made by a newer server.
    fn attempt(&self) -> Result<Option<Database>, redb::Error> {
        let file = self.disk.open(&self.data_dir.path().join(DATABASE))?;
        let mut builder = redb::Database::builder();
        builder.set_cache_size(CACHE_BYTES);
        builder.set_repair_callback(|repair| {
            let percent = repair.progress() * 100.0;
            tracing::info!(percent, "repairing the database, which was not closed");
        });
        let redb = builder.create_with_backend(Backend { file, fsync: self.fsync })?;
        let transaction = redb.begin_write()?;
        transaction.open_table(CLIENTS)?;
        transaction.open_table(MESSAGES)?;
        transaction.open_table(BROADCASTS)?;
        let mut numbers = transaction.open_table(NUMBERS)?;
        let format = numbers.get(FORMAT)?.map_or(FORMAT_VERSION, |number| number.value());
        if format > FORMAT_VERSION {
            return Ok(None);
        }
        let known = numbers.get(EPOCH)?.map(|number| number.value());
        let epoch = match known {
            Some(epoch) => epoch,
            None => {
                let epoch = getrandom::u64().map_err(io::Error::other)?;
                numbers.insert(FORMAT, FORMAT_VERSION)?;
                numbers.insert(EPOCH, epoch)?;
                epoch
            }
        };
        drop(numbers);
        transaction.commit()?;
        Ok(Some(Database { redb, epoch }))
    }
}
