//! Opening the database of a data directory.

use super::{
    tables::{BROADCASTS, CLIENTS, EPOCH, FORMAT, MESSAGES, NUMBERS},
    unsynced::UnsyncedFile,
};
use redb::{ReadableTable as _, backends::FileBackend};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The file in the data directory.
const FILE_NAME: &str = "store.redb";

/// The version of the tables. A database with a higher one was made by a newer server.
const FORMAT_VERSION: u64 = 1;

/// Bytes of the database that are kept in memory.
const CACHE_BYTES: usize = 64 * 1024 * 1024;

/// An embedded store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has the data directory. Trying again can help.
    #[error("data directory {} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// The directory cannot be made, or its files cannot be opened.
    #[error("data directory {}: {error}", data_dir.display())]
    Directory {
        /// The data directory.
        data_dir: PathBuf,
        /// The error of the operating system.
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

/// An open database.
#[derive(Debug)]
pub(super) struct Database {
    pub(super) redb: redb::Database,
    /// The random number that was drawn when the database was made.
    pub(super) epoch: u64,
}

impl Database {
    /// Opens the database of a data directory, or makes both. Blocks, after a crash for as long as reading all of the
    /// database takes. Without `fsync`, commits do not wait for the disk.
    pub(super) fn open(data_dir: &Path, fsync: bool) -> Result<Self, OpenError> {
        match open(data_dir, fsync) {
            Ok(Some(database)) => Ok(database),
            Ok(None) => Err(OpenError::Newer(data_dir.to_owned())),
            Err(error) => Err(open_error(data_dir.to_owned(), error)),
        }
    }
}

/// Opens or makes the database. `None` if it was made by a newer server.
fn open(data_dir: &Path, fsync: bool) -> Result<Option<Database>, redb::Error> {
    make_directory(data_dir)?;
    let path = data_dir.join(FILE_NAME);
    let mut builder = redb::Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    let redb = if fsync {
        builder.create(path)?
    } else {
        let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        builder.create_with_backend(UnsyncedFile(FileBackend::new(file)?))?
    };
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

/// Makes the data directory for its owner only: what is in it is enough to act as any client.
fn make_directory(data_dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(data_dir)
}

/// Sorts errors by who can do something about them.
#[expect(clippy::wildcard_enum_match_arm, reason = "redb has many errors, and may have more")]
fn open_error(data_dir: PathBuf, error: redb::Error) -> OpenError {
    match error {
        redb::Error::DatabaseAlreadyOpen => OpenError::InUse(data_dir),
        redb::Error::Io(error) => OpenError::Directory { data_dir, error },
        error => OpenError::Database { data_dir, reason: error.to_string() },
    }
}
