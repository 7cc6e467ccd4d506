//! Backups: everything that is in a database at one moment, as a stream.
//!
//! ```text
//! backup  "beckon backup 1\n" | length of the keys, 4 bytes | the keys: a line for each file of them, its name and its text
//!         | parts: their length, 4 bytes, and changes ([`super::changes`]) | 0, 4 bytes | SHA-256 of all before, 32 bytes
//! ```
//!
//! Numbers are big-endian. The changes are those that make the database out of an empty one.

use super::{
    changes::{self, ApplyError, Changes, Table},
    data_dir::DataDir,
    database::{Database, commit_for_good, redb_builder},
    disk::{Backend, Disk as _, OsDisk},
    log::Log,
    open_error::{DATABASE, LOG, OpenError},
    tables::{BROADCASTS, CLIENTS, EPOCH, MESSAGES, NUMBERS},
};
use redb::{Durability, ReadTransaction, ReadableDatabase as _, ReadableTable as _};
use sha2::{Digest as _, Sha256};
use std::{
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

/// The beginning of a backup.
const MAGIC: &[u8; 16] = b"beckon backup 1\n";

/// A part ends with the change with which it has so many bytes.
const PART_LEN: usize = 256 * 1024;

/// The longest part that is read: one change more than [`PART_LEN`], and a record has less than 16 MB.
const PART_LEN_MAX: usize = 32 * 1024 * 1024;

/// The longest keys that are read.
const KEYS_LEN_MAX: usize = 4096;

/// Parts that are in one transaction while a backup is restored.
const PARTS_AT_ONCE: usize = 8;

/// What a database had at one moment. It stays what it was while the database changes.
pub struct Backup(ReadTransaction);

/// What a backup has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Clients.
    pub clients: u64,
    /// Stored messages.
    pub messages: u64,
}

/// Why a backup was not restored. There is no new database.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] OpenError),
    /// There is a database already.
    #[error("{} is there already; move it and {LOG} away first", .0.display())]
    Occupied(PathBuf),
    /// It is not a backup, or not a whole one.
    #[error("not a whole backup: {0}")]
    Backup(String),
    /// The files could not be written.
    #[error("data directory: {0}")]
    Disk(redb::Error),
}

impl Backup {
    pub(super) fn new(transaction: ReadTransaction) -> Self {
        Self(transaction)
    }

    /// Writes the backup, with the keys if it is to have them. `out` should have a buffer.
    ///
    /// # Errors
    /// Those of `out` and of the database.
    pub fn write_to(&self, keys: &str, out: impl Write) -> io::Result<Summary> {
        let mut out = Hashing { inner: out, hash: Sha256::new() };
        out.write_all(MAGIC)?;
        write_part(&mut out, keys.as_bytes())?;
        let mut changes = Changes::default();
        let mut summary = Summary::default();
        let mut flush = |changes: &mut Changes, least: usize| -> io::Result<()> {
            if changes.bytes().len() >= least {
                write_part(&mut out, changes.bytes())?;
                *changes = Changes::default();
            }
            Ok(())
        };
        for entry in self.0.open_table(NUMBERS).map_err(io::Error::other)?.iter().map_err(io::Error::other)? {
            let (name, number) = entry.map_err(io::Error::other)?;
            changes.set(Table::Numbers, name.value().as_bytes(), &number.value().to_be_bytes());
        }
        for entry in
            self.0.open_table(BROADCASTS).map_err(io::Error::other)?.iter().map_err(io::Error::other)?
        {
            let (id, version) = entry.map_err(io::Error::other)?;
            changes.set(Table::Broadcasts, id.value().as_bytes(), version.value().as_bytes());
        }
        for entry in self.0.open_table(CLIENTS).map_err(io::Error::other)?.iter().map_err(io::Error::other)? {
            let (key, record) = entry.map_err(io::Error::other)?;
            changes.set(Table::Clients, key.value(), record.value());
            summary.clients += 1;
            flush(&mut changes, PART_LEN)?;
        }
        for entry in
            self.0.open_table(MESSAGES).map_err(io::Error::other)?.iter().map_err(io::Error::other)?
        {
            let (key, message) = entry.map_err(io::Error::other)?;
            changes.set(Table::Messages, key.value(), message.value());
            summary.messages += 1;
            flush(&mut changes, PART_LEN)?;
        }
        flush(&mut changes, 1)?;
        write_part(&mut out, &[])?;
        let Hashing { mut inner, hash } = out;
        inner.write_all(&hash.finalize())?;
        inner.flush()?;
        Ok(summary)
    }
}

impl std::fmt::Debug for Backup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backup").finish_non_exhaustive()
    }
}

/// Reads a backup, and passes on each of its parts. Returns the keys; they and the parts are those of a whole backup
/// only if this succeeds.
///
/// # Errors
/// It is not a whole backup, or `part` has failed.
pub fn read_backup(
    source: impl Read,
    mut part: impl FnMut(&[u8]) -> Result<(), RestoreError>,
) -> Result<String, RestoreError> {
    let broken = |error: io::Error| RestoreError::Backup(error.to_string());
    let mut source = Hashing { inner: source, hash: Sha256::new() };
    let mut magic = [0; MAGIC.len()];
    source.read_exact(&mut magic).map_err(broken)?;
    if magic != *MAGIC {
        return Err(RestoreError::Backup("it does not begin as one".into()));
    }
    let keys = read_part(&mut source, KEYS_LEN_MAX)?;
    loop {
        let changes = read_part(&mut source, PART_LEN_MAX)?;
        if changes.is_empty() {
            break;
        }
        part(&changes)?;
    }
    let expected = source.hash.finalize();
    let mut hash = [0; 32];
    source.inner.read_exact(&mut hash).map_err(broken)?;
    if hash[..] != expected[..] {
        return Err(RestoreError::Backup("its checksum is wrong".into()));
    }
    if source.inner.read(&mut [0]).map_err(broken)? > 0 {
        return Err(RestoreError::Backup("there is more behind its end".into()));
    }
    String::from_utf8(keys).map_err(|_| RestoreError::Backup("its keys are not text".into()))
}

/// Makes the database of a backup in a data directory that has none, if `keep` keeps the keys of the backup: a database is of no use
/// without them.
///
/// # Errors
/// There is no database. The inner error is that of `keep`.
pub fn restore<E>(
    data_dir: &Path,
    source: impl Read,
    keep: impl FnOnce(&str) -> Result<(), E>,
) -> Result<Result<(), E>, RestoreError> {
    let data_dir = DataDir::open(data_dir)?;
    let path = |name: &str| data_dir.path().join(name);
    let (database, draft) = (path(DATABASE), path("store.redb.new"));
    if database.exists() {
        return Err(RestoreError::Occupied(database));
    }
    let written = write_draft(&draft, &path(LOG), source);
    let kept = written.map(|keys| keep(&keys));
    if !matches!(kept, Ok(Ok(()))) {
        let _ = fs::remove_file(&draft);
        if kept.is_ok() {
            // It belongs to the draft.
            let _ = fs::remove_file(path(LOG));
        }
        return kept;
    }
    let renamed = fs::rename(&draft, &database)
        .and_then(|()| fs::File::open(data_dir.path()))
        .and_then(|directory| directory.sync_all());
    renamed.map_err(|error| RestoreError::Disk(error.into()))?;
    Ok(Ok(()))
}

fn write_draft(draft: &Path, log: &Path, source: impl Read) -> Result<String, RestoreError> {
    let failed = |error: redb::Error| RestoreError::Disk(error);
    let file = OsDisk.open(draft).and_then(|file| file.set_len(0).map(|()| file));
    let file = file.map_err(|error| failed(error.into()))?;
    let redb = redb_builder().create_with_backend(Backend(file)).map_err(|error| failed(error.into()))?;
    let begin = || -> Result<redb::WriteTransaction, RestoreError> {
        let mut transaction = redb.begin_write().map_err(|error| failed(error.into()))?;
        transaction.set_durability(Durability::None).map_err(|error| failed(error.into()))?;
        Ok(transaction)
    };
    let commit =
        |transaction: redb::WriteTransaction| transaction.commit().map_err(|error| failed(error.into()));
    let mut transaction = None;
    let mut parts = 0;
    let keys = read_backup(source, |changes| {
        let current = match transaction.take() {
            // The next one can only begin when this one has ended.
            Some(full) if parts % PARTS_AT_ONCE == 0 => {
                commit(full)?;
                begin()?
            }
            Some(current) => current,
            None => begin()?,
        };
        parts += 1;
        let applied = changes::apply(changes, transaction.insert(current));
        // How many bytes there are is one of the numbers.
        applied.map(drop).map_err(|error| match error {
            ApplyError::Database(error) => failed(error),
            ApplyError::Unreadable(reason) => RestoreError::Backup(reason.to_string()),
        })
    })?;
    let Some(transaction) = transaction else { return Err(RestoreError::Backup("it is empty".into())) };
    let numbers = transaction.open_table(NUMBERS).map_err(|error| failed(error.into()))?;
    let epoch = numbers.get(EPOCH).map_err(|error| failed(error.into()))?.map(|number| number.value());
    drop(numbers);
    let Some(epoch) = epoch else { return Err(RestoreError::Backup("it has no epoch".into())) };
    commit(transaction)?;
    let transaction = redb.begin_write().map_err(|error| failed(error.into()))?;
    commit_for_good(transaction).map_err(|error| failed(error.into()))?;
    drop(redb);
    let log = OsDisk.open(log).and_then(|file| Log::make(file, epoch));
    log.map_err(|error| failed(error.into()))?;
    Ok(keys)
}

impl Database {
    /// What it has now.
    pub(super) fn backup(&self) -> Result<Backup, redb::TransactionError> {
        Ok(Backup::new(self.redb().begin_read()?))
    }
}

fn write_part(out: &mut impl Write, part: &[u8]) -> io::Result<()> {
    let len = u32::try_from(part.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
    out.write_all(&len.to_be_bytes())?;
    out.write_all(part)
}

fn read_part(source: &mut impl Read, len_max: usize) -> Result<Vec<u8>, RestoreError> {
    let broken = |error: io::Error| RestoreError::Backup(error.to_string());
    let mut len = [0; 4];
    source.read_exact(&mut len).map_err(broken)?;
    let len = u32::from_be_bytes(len) as usize;
    if len > len_max {
        return Err(RestoreError::Backup("a part of it is too long".into()));
    }
    let mut part = vec![0; len];
    source.read_exact(&mut part).map_err(broken)?;
    Ok(part)
}

/// Hashes what goes through.
struct Hashing<T> {
    inner: T,
    hash: Sha256,
}

impl<T: Write> Write for Hashing<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<T: Read> Read for Hashing<T> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(out)?;
        self.hash.update(&out[..read]);
        Ok(read)
    }
}
