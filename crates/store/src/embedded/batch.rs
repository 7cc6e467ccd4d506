//! What all steps work on: the records and messages of one transaction, and what is in memory only.
//!
//! A record is in the database as soon as there is a channel to keep.

use super::{
    changes::{Changes, Table},
    directory::Directory,
    record::{Record, Stored},
    seats::{Seat, Seats},
    tables::{self, CLIENTS, Clients, MESSAGES, Messages, message_key},
    time::{Moment, Watch},
};
use crate::{
    Cause, StoreError,
    newcomers::{NEWCOMER_IDLE_PARTS, Newcomers},
};
use beckon_types::{ClientId, NotOwner, Presence, Sequence};
use redb::{ReadableTable as _, WriteTransaction};
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

/// After how long without a connection a record expires.
#[derive(Debug)]
pub(super) struct Idle {
    /// That of a client that has come back, or was written to.
    pub(super) known: Duration,
    /// That of any other.
    pub(super) newcomers: Newcomers,
    /// Whether the store is so full that it is a part of that.
    pub(super) is_high: Arc<AtomicBool>,
}

impl Idle {
    fn of(&self, record: &Record) -> Duration {
        if record.is_known {
            return self.known;
        }
        let parts = if self.is_high.load(Ordering::Relaxed) { NEWCOMER_IDLE_PARTS } else { 1 };
        (self.newcomers.idle / parts).min(self.known)
    }
}

/// A record says to within this part of its idle time when its client was last seen, so that a hello does not have to
/// write. The uncertainty is added to the time: a client never expires too early.
const LAST_SEEN_PARTS: u32 = 64;

/// Where the sweep is.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    /// When the next part is due, by the steady time.
    pub(super) next: Duration,
    /// The last client that was visited; `None` if the next part starts at the first client.
    pub(super) last: Option<ClientId>,
    /// The size of the largest part since the first client.
    pub(super) records: u64,
}

/// How many there are, as of the last part of the sweep.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) clients: AtomicU64,
    pub(super) messages: AtomicU64,
    /// Bytes of both, and of their keys.
    pub(super) content: AtomicU64,
}

/// What is in memory only.
#[derive(Debug)]
pub(super) struct Memory {
    /// The connected clients.
    pub(super) seats: Seats,
    /// The nodes.
    pub(super) directory: Directory,
    /// The random number of this database.
    pub(super) epoch: u64,
    /// How many records and messages there are.
    pub(super) counts: Arc<Counts>,
    pub(super) sweep: Sweep,
    idle: Idle,
    watch: Watch,
}

impl Memory {
    /// No client is connected yet.
    pub(super) fn new(epoch: u64, idle: Idle) -> Self {
        let (seats, directory) = (Seats::default(), Directory::default());
        let (sweep, watch) = (Sweep::default(), Watch::default());
        Self { seats, directory, epoch, counts: Arc::default(), sweep, idle, watch }
    }

    /// The moment at which the clock shows this time.
    pub(super) fn look(&mut self, clock: Duration) -> Moment {
        self.watch.look(clock)
    }

    /// The batch was committed.
    pub(super) fn keep(&mut self) {
        self.seats.keep();
        self.directory.keep();
    }

    /// The batch has failed, and has changed nothing.
    pub(super) fn take_back(&mut self) {
        self.seats.take_back();
        self.directory.take_back();
    }
}

/// What the steps of one batch work on.
pub(super) struct Batch<'txn, 'm> {
    pub(super) transaction: &'txn WriteTransaction,
    /// The records as they were before the batch.
    pub(super) clients: Clients<'txn>,
    /// What the batch makes of them; `None` is removed. Written at its end, so that many steps on one client write
    /// its record once.
    written: HashMap<ClientId, Option<Record>>,
    /// What the messages carry, as the batch has made it so far: a record and its messages are changed together.
    pub(super) messages: Messages<'txn>,
    /// What the batch changes, for the log.
    pub(super) changes: Changes,
    /// How many messages the batch has removed.
    pub(super) removed: usize,
    pub(super) memory: &'m mut Memory,
    /// The time of the batch.
    pub(super) now: Moment,
    /// Whether there is something to commit.
    pub(super) is_changed: bool,
    /// The error with which the database failed in the middle of a step, half of which may be in the transaction.
    broken: Option<StoreError>,
}

impl<'txn, 'm> Batch<'txn, 'm> {
    /// A batch that has not changed anything yet.
    pub(super) fn new(
        transaction: &'txn WriteTransaction,
        memory: &'m mut Memory,
        now: Moment,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            transaction,
            clients: transaction.open_table(CLIENTS).map_err(failed)?,
            written: HashMap::new(),
            messages: transaction.open_table(MESSAGES).map_err(failed)?,
            changes: Changes::default(),
            removed: 0,
            memory,
            now,
            is_changed: false,
            broken: None,
        })
    }

    /// Notes why a step failed: if it was the database, nothing of the batch may be committed.
    pub(super) fn note(&mut self, error: Option<&StoreError>) {
        match error {
            Some(error @ StoreError::Unavailable { .. }) => self.broken = Some(error.clone()),
            // It was found before anything was changed.
            Some(StoreError::Unreadable(_)) | None => {}
        }
    }

    /// Writes what has changed into the transaction, and returns it if there is something to commit.
    pub(super) fn finish(mut self) -> Result<Option<Changes>, StoreError> {
        if let Some(error) = self.broken {
            return Err(error);
        }
        #[cfg(feature = "next-format")]
        for client in self.written.keys() {
            let (mut next, value) =
                (self.transaction.open_table(tables::NEXT).map_err(failed)?, b"of the next version");
            next.insert(&client.0[..], &value[..]).map_err(failed)?;
            self.changes.set(Table::Next, &client.0, value);
        }
        for (client, record) in self.written {
            match record {
                Some(record) => {
                    let record = record.encode();
                    self.changes.set(Table::Clients, &client.0, &record);
                    self.changes.grown +=
                        tables::set(&mut self.clients, &client.0, &record).map_err(failed)?;
                }
                None => {
                    self.changes.remove(Table::Clients, &client.0);
                    self.changes.grown += tables::remove(&mut self.clients, &client.0).map_err(failed)?;
                }
            }
        }
        Ok(self.is_changed.then_some(self.changes))
    }

    /// The seat of a client, if this socket has it.
    pub(super) fn seat(&self, client: ClientId, presence: Presence) -> Result<Seat, NotOwner> {
        self.memory.seats.get(&client).filter(|seat| seat.presence == presence).copied().ok_or(NotOwner)
    }

    /// Reads a record. One that has expired is removed, so that it is not seen again even after a new hello.
    pub(super) fn load(&mut self, client: ClientId) -> Result<Option<Record>, StoreError> {
        if let Some(record) = self.written.get(&client) {
            return Ok(record.clone());
        }
        let record = match self.clients.get(&client.0).map_err(failed)? {
            None => return Ok(None),
            Some(bytes) => Record::decode(bytes.value())?,
        };
        let idle = self.memory.idle.of(&record);
        let uncertainty = 2 * (idle / LAST_SEEN_PARTS) + Duration::from_secs(1);
        let unseen = self.now.earliest.saturating_sub(Duration::from_secs(record.last_seen));
        if !record.is_blocked && unseen > idle + uncertainty && !self.memory.seats.contains_key(&client) {
            self.remove(client, &record)?;
            return Ok(None);
        }
        Ok(Some(record))
    }

    /// Notes that a client is seen now, unless the record says so closely enough. Messages that have expired are
    /// removed on the way.
    pub(super) fn renew(&mut self, client: ClientId, record: Option<Record>) -> Result<(), StoreError> {
        let Some(mut record) = record else { return Ok(()) };
        let mut is_changed = self.remove_expired(client, &mut record)?;
        // The time that is written never goes back.
        let unseen = self.now.latest.saturating_sub(Duration::from_secs(record.last_seen));
        if unseen > self.memory.idle.of(&record) / LAST_SEEN_PARTS {
            record.last_seen = self.now.latest.as_secs();
            is_changed = true;
        }
        if is_changed {
            self.save(client, record);
        }
        Ok(())
    }

    /// The sequence of the next write to a client: at least the time, so that a database that was restored does not use a
    /// sequence again.
    pub(super) fn next_sequence(&self, record: &Record) -> Sequence {
        Sequence((record.sequence.0 + 1).max(millis(self.now.steady)))
    }

    /// Keeps a record.
    pub(super) fn save(&mut self, client: ClientId, record: Record) {
        self.is_changed = true;
        self.written.insert(client, Some(record));
    }

    /// Removes a record that has been loaded, and its messages.
    pub(super) fn remove(&mut self, client: ClientId, record: &Record) -> Result<(), StoreError> {
        self.remove_carried(client, record.messages.iter().map(|message| message.place.sequence))?;
        self.is_changed = true;
        self.written.insert(client, None);
        Ok(())
    }

    /// Whether a message has not expired.
    pub(super) fn is_good(&self, stored: &Stored) -> bool {
        millis(self.now.earliest) < stored.expires
    }

    /// Takes the messages that have expired out of a record. True if there were any: the record has to be saved.
    pub(super) fn remove_expired(
        &mut self,
        client: ClientId,
        record: &mut Record,
    ) -> Result<bool, StoreError> {
        let expired = record.take_messages(|message| !self.is_good(message));
        let is_changed = !expired.is_empty();
        self.remove_carried(client, expired)?;
        Ok(is_changed)
    }

    /// Removes what messages carry that have been taken out of a record. The record has to be saved, or removed.
    pub(super) fn remove_carried(
        &mut self,
        client: ClientId,
        messages: impl IntoIterator<Item = Sequence>,
    ) -> Result<(), StoreError> {
        for sequence in messages {
            let key = message_key(client, sequence);
            self.changes.grown += tables::remove(&mut self.messages, &key).map_err(failed)?;
            self.changes.remove(Table::Messages, &key);
            self.removed += 1;
        }
        Ok(())
    }
}

/// Whole milliseconds, or the highest number, which is half a billion years.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The error for a database that failed. [`Cause::Damaged`] is about the pages that a step needs; any other cause is
/// about the whole database, which has to be opened again.
#[expect(clippy::wildcard_enum_match_arm, reason = "redb has many errors, and may have more")]
pub(super) fn failed(error: impl Into<redb::Error>) -> StoreError {
    let error = error.into();
    let cause = match &error {
        redb::Error::Corrupted(_) | redb::Error::TransactionPoisoned => Cause::Damaged,
        redb::Error::Io(error) if is_full(error) => Cause::Full,
        _ => Cause::Disk,
    };
    StoreError::unavailable(cause, format!("database: {error}"))
}

/// Whether the disk, or what the process may use of it, is full.
fn is_full(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge)
}
