//! The log: what batches have changed since the last checkpoint of the database, in the file `store.log`.
//!
//! A batch is accepted when its *entry* is on the disk. The database has it in memory only until the next checkpoint,
//! after which the log starts again at its beginning.
//!
//! ```text
//! file    a block with the id of the database, then entries, each of which begins at the next block
//! entry   checksum, 16 bytes | number, 8 bytes | length of the changes, 4 bytes | the changes
//! ```
//!
//! Numbers are big-endian; blocks have [`BLOCK_LEN`] bytes, so an entry that was accepted shares no block with anything
//! that is written later. The number of an entry is one more than that of the entry before it: so what is left of
//! older entries behind the last one is not taken for a continuation. The checksum is the beginning of a SHA-256 of the
//! database's id and the rest of the entry: what application servers send cannot make a torn entry look whole.

use super::disk::DiskFile;
use sha2::{Digest as _, Sha256};
use std::{io, sync::Arc};

/// Entries begin at multiples of this.
pub(super) const BLOCK_LEN: usize = 4096;

/// Bytes of a checksum.
const CHECKSUM_LEN: usize = 16;

/// Bytes in front of the changes.
const HEAD_LEN: usize = CHECKSUM_LEN + 8 + 4;

/// The beginning of the file.
const MAGIC: &[u8; 16] = b"beckon log 1\0\0\0\0";

/// The log of one database.
#[derive(Debug)]
pub(super) struct Log {
    file: Arc<dyn DiskFile>,
    /// The id of the database.
    id: u64,
    /// The number of the last entry.
    last: u64,
    /// The number of the entry in front of `end`, once one has been read.
    read: Option<u64>,
    /// Where the next entry begins.
    end: u64,
    /// The entry that is being written. Its memory is used again.
    entry: Vec<u8>,
}

impl Log {
    /// Makes the log of a new database.
    pub(super) fn make(file: Arc<dyn DiskFile>, id: u64) -> io::Result<Self> {
        file.write(0, &first_block(id)[..])?;
        file.sync()?;
        Ok(Self::new(file, id, 0))
    }

    /// Opens the log of a database whose last checkpoint has all entries up to `last`; `None` if the file is not the log
    /// of this database.
    pub(super) fn open(file: Arc<dyn DiskFile>, id: u64, last: u64) -> io::Result<Option<Self>> {
        let mut block = [0; BLOCK_LEN];
        match file.read(0, &mut block) {
            Ok(()) if block == first_block(id) => Ok(Some(Self::new(file, id, last))),
            Ok(()) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn new(file: Arc<dyn DiskFile>, id: u64, last: u64) -> Self {
        Self { file, id, last, read: None, end: BLOCK_LEN as u64, entry: Vec::new() }
    }

    /// The number of the last entry.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Bytes of the file that are in use.
    pub(super) fn len(&self) -> u64 {
        self.end
    }

    /// The file.
    pub(super) fn file(&self) -> &Arc<dyn DiskFile> {
        &self.file
    }

    /// Reads the changes of the entry behind the last one, which is the last one from now on. `None` if there is no
    /// further one.
    ///
    /// Entries up to the one of the checkpoint are passed over: the log is started again after a checkpoint, and a crash
    /// may have come between.
    pub(super) fn read_next(&mut self) -> io::Result<Option<Vec<u8>>> {
        while let Some((number, changes)) = self.entry_at_end()? {
            match self.read {
                Some(before) if number != before + 1 => break,
                Some(_) => {}
                None if number > self.last + 1 => {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "the log is newer than the database",
                    ));
                }
                None => {}
            }
            self.read = Some(number);
            self.end += blocks_len(HEAD_LEN + changes.len());
            if number > self.last {
                self.last = number;
                return Ok(Some(changes));
            }
        }
        Ok(None)
    }

    /// Reads the entry at the end; `None` if it is not whole.
    fn entry_at_end(&self) -> io::Result<Option<(u64, Vec<u8>)>> {
        let size = self.file.size()?;
        if size < self.end + HEAD_LEN as u64 {
            return Ok(None);
        }
        let mut head = [0; HEAD_LEN];
        self.file.read(self.end, &mut head)?;
        let mut number = [0; 8];
        number.copy_from_slice(&head[CHECKSUM_LEN..][..8]);
        let mut len = [0; 4];
        len.copy_from_slice(&head[CHECKSUM_LEN + 8..]);
        let len = u32::from_be_bytes(len) as usize;
        if size < self.end + (HEAD_LEN + len) as u64 {
            return Ok(None);
        }
        let mut changes = vec![0; len];
        self.file.read(self.end + HEAD_LEN as u64, &mut changes)?;
        let is_whole = checksum(self.id, &head[CHECKSUM_LEN..], &changes) == head[..CHECKSUM_LEN];
        Ok(is_whole.then_some((u64::from_be_bytes(number), changes)))
    }

    /// Writes the changes of a batch. They are on the disk after the next sync of the file.
    pub(super) fn append(&mut self, changes: &[u8]) -> io::Result<()> {
        let number = self.last + 1;
        let len = u32::try_from(changes.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        self.entry.clear();
        self.entry.extend([0; CHECKSUM_LEN]);
        self.entry.extend(number.to_be_bytes());
        self.entry.extend(len.to_be_bytes());
        let checksum = checksum(self.id, &self.entry[CHECKSUM_LEN..], changes);
        self.entry[..CHECKSUM_LEN].copy_from_slice(&checksum);
        self.entry.extend(changes);
        self.file.write(self.end, &self.entry)?;
        self.end += blocks_len(self.entry.len());
        self.last = number;
        Ok(())
    }

    /// Starts again at the beginning: all entries are in a checkpoint.
    pub(super) fn restart(&mut self) {
        self.end = BLOCK_LEN as u64;
    }
}

fn first_block(id: u64) -> [u8; BLOCK_LEN] {
    let mut block = [0; BLOCK_LEN];
    block[..MAGIC.len()].copy_from_slice(MAGIC);
    block[MAGIC.len()..][..8].copy_from_slice(&id.to_be_bytes());
    block
}

/// So many bytes, and what is left of the last block.
fn blocks_len(len: usize) -> u64 {
    len.next_multiple_of(BLOCK_LEN) as u64
}

fn checksum(id: u64, head: &[u8], changes: &[u8]) -> [u8; CHECKSUM_LEN] {
    let digest =
        Sha256::new().chain_update(id.to_be_bytes()).chain_update(head).chain_update(changes).finalize();
    let mut checksum = [0; CHECKSUM_LEN];
    checksum.copy_from_slice(&digest[..CHECKSUM_LEN]);
    checksum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::{Disk as _, OsDisk};

    fn entries(file: &Arc<dyn DiskFile>, last: u64) -> Vec<(u64, Vec<u8>)> {
        let mut log = Log::open(file.clone(), 7, last).unwrap().unwrap();
        let mut found = Vec::new();
        while let Some(changes) = log.read_next().unwrap() {
            found.push((log.last(), changes));
        }
        found
    }

    #[test]
    fn entries_are_read_up_to_the_last_whole_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = OsDisk.open(&folder.path().join("log")).unwrap();
        let mut log = Log::make(file.clone(), 7).unwrap();
        assert_eq!(entries(&file, 0), []);
        for changes in [&b"one"[..], b"", &[3; 2 * BLOCK_LEN]] {
            log.append(changes).unwrap();
        }
        let all = [(1, b"one".to_vec()), (2, vec![]), (3, vec![3; 2 * BLOCK_LEN])];
        assert_eq!(entries(&file, 0), all);
        assert_eq!(entries(&file, 2), all[2..], "two are in the checkpoint");
        assert_eq!(entries(&file, 3), []);
        assert!(Log::open(file.clone(), 8, 0).unwrap().is_none(), "of another database");
        // A bit of the last one.
        file.write(log.len() - 1, &[1]).unwrap();
        assert_eq!(entries(&file, 0), all, "behind its end");
        file.write(log.len() - BLOCK_LEN as u64, &[0]).unwrap();
        assert_eq!(entries(&file, 0), all[..2]);
    }

    #[test]
    fn what_is_left_of_older_entries_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = OsDisk.open(&folder.path().join("log")).unwrap();
        let mut log = Log::make(file.clone(), 7).unwrap();
        for _ in 0..3 {
            log.append(b"old").unwrap();
        }
        log.restart();
        assert_eq!(entries(&file, 3), [], "a crash after the checkpoint");
        log.append(b"new").unwrap();
        assert_eq!(entries(&file, 3), [(4, b"new".to_vec())]);
        let mut older = Log::open(file, 7, 2).unwrap().unwrap();
        assert!(older.read_next().is_err(), "the database lacks the third entry");
    }
}
