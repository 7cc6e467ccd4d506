//! Fuzz targets for what is in a data directory, and for backups.

use super::{
    backup::read_backup,
    changes::{Changes, change},
    disk::DiskFile,
    log::{BLOCK_LEN, Log},
    record::Record,
};
use sha2::{Digest as _, Sha256};
use std::{
    io,
    sync::{Arc, Mutex, MutexGuard},
};

/// The id of the database whose log is read.
const ID: u64 = 7;

/// Most entries of a log.
const ENTRIES_MAX: usize = 16;

pub(crate) fn record(data: &[u8]) {
    if let Ok(record) = Record::decode(data) {
        assert_eq!(Record::decode(&record.encode()), Ok(record));
    }
}

/// The changes of one batch, as an entry of the log or a part of a backup has them: read one by one, and written again as they
/// were.
pub fn changes(data: &[u8]) {
    let (mut rest, mut written) = (data, Changes::default());
    while !rest.is_empty() {
        // Tables of a later version are read over.
        let Ok((Some(table), key, value)) = change(&mut rest) else { break };
        match value {
            Some(value) => written.set(table, key, value),
            None => written.remove(table, key),
        }
        let read = data.len() - rest.len();
        assert_eq!(written.bytes(), &data[..read]);
    }
}

/// A log that was damaged. The first byte is the number of entries; each has as many bytes as the next two bytes say. What
/// follows is damage: an offset in four bytes, and a byte that is added there; or, if the byte is 0, an end of the file there.
///
/// What is read of the log is a beginning of what was written, unchanged.
pub fn log(data: &[u8]) {
    let Some((&entries, mut rest)) = data.split_first() else { return };
    let file = Arc::new(Memory::default());
    let mut log = Log::make(file.clone(), ID).expect("memory does not fail");
    let mut written = Vec::new();
    for index in 0..usize::from(entries) % ENTRIES_MAX {
        let Some((len, after)) = rest.split_first_chunk() else { break };
        let changes = vec![index as u8; usize::from(u16::from_be_bytes(*len)) % (3 * BLOCK_LEN)];
        log.append(&changes).expect("memory does not fail");
        written.push(changes);
        rest = after;
    }
    while let Some(([offset @ .., change], after)) = rest.split_first_chunk::<5>() {
        let mut bytes = file.bytes();
        let offset = u32::from_be_bytes(*offset) as usize % bytes.len().max(1);
        match (change, bytes.get_mut(offset)) {
            (0, _) => bytes.truncate(offset),
            (change, Some(byte)) => *byte = byte.wrapping_add(*change),
            (_, None) => {}
        }
        rest = after;
    }
    let Ok(Some(mut again)) = Log::open(file, ID, 0) else { return };
    for expected in written {
        match again.read_next() {
            Ok(Some(changes)) => assert_eq!(changes, expected),
            Ok(None) | Err(_) => return,
        }
    }
    assert!(!matches!(again.read_next(), Ok(Some(_))), "more than was written");
}

/// A backup: as it is, and with a checksum that is right, so that what is in front of it is read. Its parts are not longer than
/// the backup, and only a whole one is accepted.
pub fn backup(data: &[u8]) {
    let read = |bytes: &[u8]| {
        let mut parts_len = 0;
        let keys = read_backup(bytes, |part| {
            parts_len += part.len();
            changes(part);
            Ok(())
        });
        assert!(parts_len <= bytes.len());
        keys.is_ok()
    };
    let is_whole = read(data);
    let sealed = [data, &Sha256::digest(data)].concat();
    let is_accepted = read(&sealed);
    assert!(!is_accepted || !is_whole, "the checksum is at the end of a backup, and not in it");
    if is_accepted {
        let mut altered = sealed;
        altered[data.len() / 2] ^= 1;
        assert!(!read(&altered), "altered in the middle");
    }
}

/// A file in memory.
#[derive(Debug, Default)]
struct Memory(Mutex<Vec<u8>>);

impl Memory {
    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().expect("no holder panics")
    }
}

impl DiskFile for Memory {
    fn size(&self) -> io::Result<u64> {
        Ok(self.bytes().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let bytes = self.bytes();
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let part = bytes.get(start..).and_then(|rest| rest.get(..out.len()));
        out.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write(&self, offset: u64, new: &[u8]) -> io::Result<()> {
        let mut bytes = self.bytes();
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let end = start + new.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[start..end].copy_from_slice(new);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.bytes().resize(usize::try_from(len).map_err(io::Error::other)?, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
