//! A disk in memory that fails as real ones do, and outlives the stores that use it.

use beckon_store::embedded::{Disk, DiskFile};
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

/// The unit in which a disk writes all or nothing.
const SECTOR: usize = 512;

/// What is wrong with the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Writes fail half-way, and files cannot grow.
    Full,
    /// Reads, writes and syncs fail.
    Broken,
    /// Syncs fail, and nothing else.
    SyncFails,
    /// Everything takes so long.
    Slow(Duration),
}

/// A disk. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct FaultyDisk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<PathBuf, File>,
    fault: Option<Fault>,
    /// Fail after so many more writes and syncs, as a process that is killed or a disk that goes away does.
    operations_left: Option<u64>,
}

#[derive(Debug, Default, Clone)]
struct File {
    /// What a reader sees.
    content: Vec<u8>,
    /// What is on the disk for certain.
    synced: Vec<u8>,
    /// What was written since, oldest first.
    unsynced: Vec<Change>,
}

#[derive(Debug, Clone)]
enum Change {
    Write(usize, Vec<u8>),
    SetLen(usize),
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write(offset, bytes) => {
                if content.len() < offset + bytes.len() {
                    content.resize(offset + bytes.len(), 0);
                }
                content[*offset..offset + bytes.len()].copy_from_slice(bytes);
            }
            Self::SetLen(len) => content.resize(*len, 0),
        }
    }
}

impl FaultyDisk {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the disk fail, or work again.
    pub(crate) fn set(&self, fault: Option<Fault>) {
        let mut state = self.lock();
        state.fault = fault;
        state.operations_left = None;
    }

    /// Lets the disk fail for good after so many more writes and syncs.
    pub(crate) fn break_after(&self, operations: u64) {
        self.lock().operations_left = Some(operations);
    }

    /// Cuts the power: of what was not synced, each sector was written or not, as `random` says. The disk works again
    /// afterwards.
    pub(crate) fn cut_power(&self, mut random: impl FnMut() -> bool) {
        let mut state = self.lock();
        state.fault = None;
        state.operations_left = None;
        for file in state.files.values_mut() {
            let mut content = std::mem::take(&mut file.synced);
            for change in file.unsynced.drain(..) {
                match change {
                    Change::SetLen(len) => {
                        if random() {
                            content.resize(len.max(content.len()), 0);
                        }
                    }
                    Change::Write(offset, bytes) => {
                        for (index, sector) in bytes.chunks(SECTOR).enumerate() {
                            if random() {
                                Change::Write(offset + index * SECTOR, sector.to_vec()).apply(&mut content);
                            }
                        }
                    }
                }
            }
            file.content.clone_from(&content);
            file.synced = content;
        }
    }

    /// Changes what is on the disk.
    pub(crate) fn damage(&self, name: &str, damage: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.lock();
        let file = state.files.iter_mut().find(|(path, _)| path.ends_with(name)).unwrap().1;
        damage(&mut file.content);
        file.synced.clone_from(&file.content);
        file.unsynced.clear();
    }
}

impl Disk for FaultyDisk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.lock().files.entry(path.to_owned()).or_default();
        Ok(Arc::new(Handle { disk: self.clone(), path: path.to_owned() }))
    }
}

#[derive(Debug)]
struct Handle {
    disk: FaultyDisk,
    path: PathBuf,
}

/// What an operation does to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Read,
    Write,
    Sync,
}

impl Handle {
    fn work<T>(
        &self,
        operation: Operation,
        work: impl FnOnce(&mut File, Option<Fault>) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut state = self.disk.lock();
        if let Some(Fault::Slow(time)) = state.fault {
            drop(state);
            thread::sleep(time);
            state = self.disk.lock();
        }
        if operation != Operation::Read
            && let Some(left) = &mut state.operations_left
        {
            match left.checked_sub(1) {
                Some(fewer) => *left = fewer,
                None => state.fault = Some(Fault::Broken),
            }
        }
        let fault = state.fault;
        if fault == Some(Fault::Broken) || (fault == Some(Fault::SyncFails) && operation == Operation::Sync) {
            return Err(io::Error::from_raw_os_error(5));
        }
        work(state.files.get_mut(&self.path).unwrap(), fault)
    }
}

impl DiskFile for Handle {
    fn size(&self) -> io::Result<u64> {
        self.work(Operation::Read, |file, _| Ok(file.content.len() as u64))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.work(Operation::Read, |file, _| {
            let start = offset as usize;
            let bytes = file.content.get(start..start + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            out.copy_from_slice(bytes);
            Ok(())
        })
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.work(Operation::Write, |file, fault| {
            let written = if fault == Some(Fault::Full) { bytes.len() / 2 } else { bytes.len() };
            let change = Change::Write(offset as usize, bytes[..written].to_vec());
            change.apply(&mut file.content);
            file.unsynced.push(change);
            if written < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.work(Operation::Write, |file, fault| {
            if fault == Some(Fault::Full) && len as usize > file.content.len() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let change = Change::SetLen(len as usize);
            change.apply(&mut file.content);
            file.unsynced.push(change);
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.work(Operation::Sync, |file, _| {
            file.synced.clone_from(&file.content);
            file.unsynced.clear();
            Ok(())
        })
    }
}
