//! The data directory and its lock, while it is lent to another process and when the store closes.

use super::{open, options};
use crate::SetClock;
use beckon_store::{
    Store as _, StoreError,
    embedded::{Disk, DiskFile, EmbeddedStore, Options, OsDisk},
};
use std::{
    fs::{File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

/// A disk that notices what is written while another process could have locked the directory.
#[derive(Debug, Clone, Default)]
struct GuardedDisk {
    writes: Arc<AtomicU64>,
    is_violated: Arc<AtomicBool>,
}

#[derive(Debug)]
struct GuardedFile {
    file: Arc<dyn DiskFile>,
    lock: PathBuf,
    disk: GuardedDisk,
}

impl Disk for GuardedDisk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let lock = path.with_file_name("lock");
        Ok(Arc::new(GuardedFile { file: OsDisk.open(path)?, lock, disk: self.clone() }))
    }
}

impl GuardedFile {
    fn changes(&self) {
        self.disk.writes.fetch_add(1, Ordering::SeqCst);
        let is_locked = matches!(File::open(&self.lock).unwrap().try_lock(), Err(TryLockError::WouldBlock));
        if !is_locked {
            self.disk.is_violated.store(true, Ordering::SeqCst);
        }
    }
}

impl DiskFile for GuardedFile {
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.changes();
        self.file.write(offset, bytes)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.changes();
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
}

/// Whoever waits for the lock opens the database as soon as it has it.
#[tokio::test]
async fn nothing_is_written_once_another_process_may_have_the_directory() {
    let (directory, disk) = (tempfile::tempdir().unwrap(), GuardedDisk::default());
    let options = Options { disk: Arc::new(disk.clone()), ..options(directory.path(), &SetClock::new()) };
    let store = EmbeddedStore::open(options).unwrap();
    store.check().await.unwrap();
    let lent = store.lend().await.unwrap();
    let before = disk.writes.load(Ordering::SeqCst);
    open(directory.path(), &SetClock::new()).close().await.unwrap();
    lent.reclaim().await;
    store.check().await.unwrap();
    let after = disk.writes.load(Ordering::SeqCst);
    store.close().await.unwrap();
    assert!(before > 0 && disk.writes.load(Ordering::SeqCst) > after, "closing a database writes to it");
    assert!(!disk.is_violated.load(Ordering::SeqCst));
}

#[tokio::test]
async fn steps_wait_until_it_is_known_who_has_the_directory() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), &SetClock::new());
    let lent = store.lend().await.unwrap();
    let mut waiting = store.check();
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut waiting).await.is_err());
    lent.reclaim().await;
    waiting.await.unwrap();
    // One that is lost comes back as well.
    drop(store.lend().await.unwrap());
    store.check().await.unwrap();
    // And one that its caller did not wait for.
    let _ = tokio::time::timeout(Duration::ZERO, store.lend()).await;
    store.check().await.unwrap();
    let lent = store.lend().await.unwrap();
    let waiting = store.check();
    lent.give_away();
    assert!(matches!(waiting.await, Err(StoreError::Unavailable { .. })));
    open(directory.path(), &SetClock::new()).check().await.unwrap();
}

/// A backup reads for as long as its receiver takes. It must not be a mixture of what two processes have written.
#[tokio::test]
async fn a_backup_under_way_fails_when_the_directory_is_lent() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), &SetClock::new());
    store.check().await.unwrap();
    let backup = store.backup().await.unwrap();
    let lent = store.lend().await.unwrap();
    assert!(backup.write_to("", io::sink()).is_err());
    lent.reclaim().await;
    assert!(backup.write_to("", io::sink()).is_err());
    store.backup().await.unwrap().write_to("", io::sink()).unwrap();
}
