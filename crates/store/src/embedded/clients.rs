//! The steps on clients: decided on a record and a seat, in the transaction of a batch.
//!
//! A *seat* is who has a client. It is in memory only; a record is in the database as soon as there is a
//! channel to keep. The steps on messages are in [`super::messages`], those on broadcasts in [`super::broadcasts`].

use super::{
    directory::Directory,
    message::{KEY_LEN, key},
    record::{KeyPrefix, Record, Registration, Unreadable},
    writer::{CLIENTS, MESSAGES},
};
use crate::{Cause, StoreError};
use beckon_types::{
    Ack, AddChannel, AddChannelOutcome, Backlog, Channel, ChannelId, Dialect, Hello, HelloOutcome, Listed,
    NotOwner, Presence, PutVersion, PutVersionOutcome, Sequence, Snapshot, Uaid,
};
use redb::{ReadableTable as _, Table, TableError, WriteTransaction};
use std::{collections::HashMap, ops::Bound, time::Duration};

/// A record says when its client was seen last to within this part of `uaid_idle`, so that a hello does not
/// have to write. What is unknown is added to the time: a client never expires too early.
const LAST_SEEN_PARTS: u32 = 64;

/// Records that a sweep looks at, at most.
const SWEEP_LEN_MAX: usize = 1000;

/// Messages that a sweep removes, at most, and those of one client. With more the next one is due soon.
const SWEEP_MESSAGES_MAX: usize = 1000;

/// The time between two sweeps, at least.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// The time until the next sweep, at least, after one that found more than it may remove.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);

/// Who has a client.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seat {
    pub(super) presence: Presence,
    dialect: Dialect,
}

/// What is known in memory only.
#[derive(Debug)]
pub(super) struct Memory {
    /// The connected clients.
    pub(super) seats: HashMap<Uaid, Seat>,
    /// The nodes.
    pub(super) directory: Directory,
    /// The random number of this database.
    pub(super) epoch: u64,
    idle: Duration,
    next_sweep: Duration,
    swept: Option<Uaid>,
}

impl Memory {
    /// Nobody is connected yet.
    pub(super) fn new(epoch: u64, idle: Duration) -> Self {
        let (seats, directory) = (HashMap::new(), Directory::default());
        Self { seats, directory, epoch, idle, next_sweep: Duration::ZERO, swept: None }
    }
}

/// What the steps of one batch work on.
pub(super) struct Batch<'txn, 'm> {
    pub(super) transaction: &'txn WriteTransaction,
    /// The records as they were before the batch.
    clients: Table<'txn, &'static [u8; 16], &'static [u8]>,
    /// What the batch makes of them; `None` is removed. Written at its end, so that many steps on one client
    /// write its record once.
    written: HashMap<Uaid, Option<Record>>,
    /// What the messages carry, as the batch has made it so far: a record and its messages are changed together.
    pub(super) messages: Table<'txn, &'static [u8; KEY_LEN], &'static [u8]>,
    /// How many messages the batch has removed.
    removed: usize,
    /// The rest.
    pub(super) memory: &'m mut Memory,
    /// The time of the batch, since the Unix epoch.
    pub(super) now: Duration,
    /// Whether there is something to commit.
    pub(super) changed: bool,
    /// Why the database failed in the middle of a step, which may have left half of it in the transaction.
    broken: Option<StoreError>,
}

impl<'txn, 'm> Batch<'txn, 'm> {
    /// Nothing has changed yet.
    pub(super) fn new(
        transaction: &'txn WriteTransaction,
        memory: &'m mut Memory,
        now: Duration,
    ) -> Result<Self, TableError> {
        let (clients, messages) = (transaction.open_table(CLIENTS)?, transaction.open_table(MESSAGES)?);
        let (written, removed, changed, broken) = (HashMap::new(), 0, false, None);
        Ok(Self { transaction, clients, written, messages, removed, memory, now, changed, broken })
    }

    /// Notes why a step failed: if it was the database, nothing of the batch may be committed.
    pub(super) fn note(&mut self, error: Option<&StoreError>) {
        match error {
            Some(error @ StoreError::Unavailable { .. }) => self.broken = Some(error.clone()),
            // Found before anything was changed.
            Some(StoreError::Unreadable(_)) | None => {}
        }
    }

    /// Writes what has changed into the transaction, and tells whether there is something to commit.
    pub(super) fn finish(mut self) -> Result<bool, StoreError> {
        if let Some(error) = self.broken {
            return Err(error);
        }
        for (uaid, record) in self.written {
            match record {
                Some(record) => drop(self.clients.insert(&uaid.0, &record.encode()[..]).map_err(failed)?),
                None => drop(self.clients.remove(&uaid.0).map_err(failed)?),
            }
        }
        Ok(self.changed)
    }

    /// See [`crate::Store::hello`].
    pub(super) fn hello(&mut self, hello: &Hello) -> Result<HelloOutcome, StoreError> {
        let record = self.load(hello.uaid)?;
        let seat = self.memory.seats.get(&hello.uaid).copied();
        let stored = record.as_ref().map(|record| record.dialect).or(seat.map(|seat| seat.dialect));
        let former = seat.map(|seat| seat.presence);
        let dialect = hello.named.or(stored).unwrap_or(hello.otherwise);
        if dialect == Dialect::SimplePush {
            if hello.listed.is_none() {
                return Ok(HelloOutcome::ListMissing);
            }
            if !hello.room {
                return Ok(HelloOutcome::NoRoom);
            }
        }
        match stored {
            Some(stored) if stored != dialect => return Ok(HelloOutcome::Unknown { dialect }),
            Some(Dialect::SimplePush) if !all_registered(hello.listed.as_ref(), record.as_ref()) => {
                if let Some(record) = record {
                    self.remove(hello.uaid, &record)?;
                }
                self.memory.seats.remove(&hello.uaid);
                return Ok(HelloOutcome::Deleted { former });
            }
            Some(_) => {}
            None => {
                let adopted = dialect == Dialect::WebPush || all_registered(hello.listed.as_ref(), None);
                if !hello.adopt || !adopted {
                    return Ok(HelloOutcome::Unknown { dialect });
                }
            }
        }
        let snapshot = record.as_ref().map(Record::snapshot).unwrap_or_default();
        let backlog = match (dialect, &record) {
            (Dialect::WebPush, Some(record)) => self.backlog(hello.uaid, record, None, hello.backlog_max)?,
            (Dialect::WebPush, None) | (Dialect::SimplePush, _) => Backlog::default(),
        };
        self.renew(hello.uaid, record)?;
        self.memory.seats.insert(hello.uaid, Seat { presence: hello.presence, dialect });
        Ok(HelloOutcome::Claimed { dialect, former, snapshot, backlog })
    }

    /// See [`crate::Store::release`].
    pub(super) fn release(&mut self, uaid: Uaid, presence: Presence) -> Result<(), StoreError> {
        if self.seat(uaid, presence).is_err() {
            return Ok(());
        }
        match self.load(uaid)? {
            Some(record) if record.channels.is_empty() => self.remove(uaid, &record)?,
            record => self.renew(uaid, record)?,
        }
        self.memory.seats.remove(&uaid);
        Ok(())
    }

    /// See [`crate::Store::snapshot`].
    pub(super) fn snapshot(
        &mut self,
        uaid: Uaid,
        presence: Presence,
    ) -> Result<Result<Snapshot, NotOwner>, StoreError> {
        if let Err(not_owner) = self.seat(uaid, presence) {
            return Ok(Err(not_owner));
        }
        let record = self.load(uaid)?;
        let snapshot = record.as_ref().map(Record::snapshot).unwrap_or_default();
        self.renew(uaid, record)?;
        Ok(Ok(snapshot))
    }

    /// See [`crate::Store::add_channel`].
    pub(super) fn add_channel(&mut self, add: &AddChannel) -> Result<AddChannelOutcome, StoreError> {
        let seat = match self.seat(add.uaid, add.presence) {
            Ok(seat) => seat,
            Err(not_owner) => return Ok(AddChannelOutcome::NotOwner(not_owner)),
        };
        let mut record = self.load(add.uaid)?.unwrap_or_else(|| Record {
            dialect: seat.dialect,
            last_seen: self.now.as_secs(),
            sequence: Sequence::default(),
            messages: Vec::new(),
            channels: Vec::new(),
        });
        let sequence = record.sequence;
        let restricted = add.restricted.map(KeyPrefix::from);
        if let Some(registration) = record.channel_mut(add.channel) {
            let key = registration.key;
            if (registration.channel.spelling, registration.restricted) != (add.spelling, restricted) {
                registration.channel.spelling = add.spelling;
                registration.restricted = restricted;
                self.save(add.uaid, record);
            }
            return Ok(AddChannelOutcome::Registered { key, sequence });
        }
        if record.channels.len() >= add.channels_max as usize {
            return Ok(AddChannelOutcome::Full);
        }
        let channel = Channel { id: add.channel, spelling: add.spelling, pending: None };
        record.channels.push(Registration { channel, key: add.key, restricted });
        self.save(add.uaid, record);
        Ok(AddChannelOutcome::Registered { key: add.key, sequence })
    }

    /// See [`crate::Store::remove_channel`]. The record stays while the client is connected, even without
    /// channels: its sequence goes on.
    pub(super) fn remove_channel(
        &mut self,
        uaid: Uaid,
        presence: Presence,
        channel: ChannelId,
    ) -> Result<Result<(), NotOwner>, StoreError> {
        if let Err(not_owner) = self.seat(uaid, presence) {
            return Ok(Err(not_owner));
        }
        if let Some(mut record) = self.load(uaid)?
            && let Some(messages) = record.take_channel(channel)
        {
            self.remove_carried(uaid, messages)?;
            self.save(uaid, record);
        }
        Ok(Ok(()))
    }

    /// See [`crate::Store::put_version`].
    pub(super) fn put_version(&mut self, put: &PutVersion) -> Result<PutVersionOutcome, StoreError> {
        let Some(mut record) = self.load(put.uaid)? else { return Ok(PutVersionOutcome::Gone) };
        let sequence = Sequence(record.sequence.0 + 1);
        let Some(registration) = record.channel_mut(put.channel) else { return Ok(PutVersionOutcome::Gone) };
        registration.channel.pending = Some(put.version);
        record.sequence = sequence;
        self.save(put.uaid, record);
        let presence = self.memory.seats.get(&put.uaid).map(|seat| seat.presence);
        Ok(PutVersionOutcome::Stored { sequence, presence })
    }

    /// See [`crate::Store::ack_versions`].
    pub(super) fn ack_versions(&mut self, uaid: Uaid, acks: &[Ack]) -> Result<(), StoreError> {
        let Some(mut record) = self.load(uaid)? else { return Ok(()) };
        let mut changed = false;
        for ack in acks {
            let Some(registration) = record.channel_mut(ack.channel) else { continue };
            let Some(pending) = registration.channel.pending else { continue };
            if ack.version.is_none_or(|number| pending.equals_double(number)) {
                registration.channel.pending = None;
                changed = true;
            }
        }
        if changed {
            self.save(uaid, record);
        }
        Ok(())
    }

    /// Removes records and messages that have expired, a bounded number at a time, and notes that connected clients
    /// are still seen. Does nothing between the times at which it is due.
    pub(super) fn sweep(&mut self) -> Result<(), StoreError> {
        if self.now < self.memory.next_sweep {
            return Ok(());
        }
        self.memory.next_sweep = self.now + SWEEP_INTERVAL;
        let after = self.memory.swept.map_or(Bound::Unbounded, |uaid| Bound::Excluded(uaid.0));
        let range = self.clients.range::<&[u8; 16]>((after.as_ref(), Bound::Unbounded)).map_err(failed)?;
        let mut uaids = Vec::with_capacity(SWEEP_LEN_MAX);
        for entry in range.take(SWEEP_LEN_MAX) {
            uaids.push(Uaid(*entry.map_err(failed)?.0.value()));
        }
        self.memory.swept = if uaids.len() < SWEEP_LEN_MAX { None } else { uaids.last().copied() };
        let before = self.removed;
        for uaid in uaids {
            match self.load(uaid) {
                Ok(record) if self.memory.seats.contains_key(&uaid) => self.renew(uaid, record)?,
                Ok(Some(mut record)) => {
                    if self.remove_expired(uaid, &mut record)? {
                        self.save(uaid, record);
                    }
                }
                // Loading removes what has expired. A record of a newer version is not ours to remove.
                Ok(None) | Err(StoreError::Unreadable(_)) => {}
                Err(error @ StoreError::Unavailable { .. }) => return Err(error),
            }
            if self.removed - before >= SWEEP_MESSAGES_MAX {
                self.memory.swept = Some(uaid);
                self.memory.next_sweep = self.now + SWEEP_PAUSE;
                break;
            }
        }
        Ok(())
    }

    /// The seat of a client, if this socket has it.
    pub(super) fn seat(&self, uaid: Uaid, presence: Presence) -> Result<Seat, NotOwner> {
        self.memory.seats.get(&uaid).filter(|seat| seat.presence == presence).copied().ok_or(NotOwner)
    }

    /// Reads a record. One that has expired is removed: nobody may see it again, also after a new hello.
    pub(super) fn load(&mut self, uaid: Uaid) -> Result<Option<Record>, StoreError> {
        if let Some(record) = self.written.get(&uaid) {
            return Ok(record.clone());
        }
        let record = match self.clients.get(&uaid.0).map_err(failed)? {
            None => return Ok(None),
            Some(bytes) => Record::decode(bytes.value()).map_err(unreadable)?,
        };
        let idle = self.memory.idle + 2 * (self.memory.idle / LAST_SEEN_PARTS) + Duration::from_secs(1);
        let unseen = self.now.saturating_sub(Duration::from_secs(record.last_seen));
        if unseen > idle && !self.memory.seats.contains_key(&uaid) {
            self.remove(uaid, &record)?;
            return Ok(None);
        }
        Ok(Some(record))
    }

    /// Notes that a client is seen now, if the record does not say about so already. Messages that have expired are
    /// removed on the way.
    pub(super) fn renew(&mut self, uaid: Uaid, record: Option<Record>) -> Result<(), StoreError> {
        let Some(mut record) = record else { return Ok(()) };
        let mut changed = self.remove_expired(uaid, &mut record)?;
        let unseen = self.now.abs_diff(Duration::from_secs(record.last_seen));
        if unseen > self.memory.idle / LAST_SEEN_PARTS {
            record.last_seen = self.now.as_secs();
            changed = true;
        }
        if changed {
            self.save(uaid, record);
        }
        Ok(())
    }

    pub(super) fn save(&mut self, uaid: Uaid, record: Record) {
        self.changed = true;
        self.written.insert(uaid, Some(record));
    }

    /// Removes a record that has been loaded, and its messages.
    fn remove(&mut self, uaid: Uaid, record: &Record) -> Result<(), StoreError> {
        self.remove_carried(uaid, record.messages.iter().map(|message| message.place.sequence))?;
        self.changed = true;
        self.written.insert(uaid, None);
        Ok(())
    }

    /// Removes what the messages carry that have been taken out of a record. That has to be saved, or removed.
    pub(super) fn remove_carried(
        &mut self,
        uaid: Uaid,
        messages: impl IntoIterator<Item = Sequence>,
    ) -> Result<(), StoreError> {
        for sequence in messages {
            self.messages.remove(&key(uaid, sequence)).map_err(failed)?;
            self.removed += 1;
        }
        Ok(())
    }
}

/// Whether a list is possible and has nothing that is not registered.
fn all_registered(listed: Option<&Listed>, record: Option<&Record>) -> bool {
    let registered = |id: &ChannelId| {
        record.is_some_and(|record| record.channels.iter().any(|registration| registration.channel.id == *id))
    };
    match listed {
        Some(Listed::Channels(channels)) => channels.iter().all(registered),
        Some(Listed::Impossible) | None => false,
    }
}

/// A record or a message is not as this version writes them.
pub(super) fn unreadable(unreadable: Unreadable) -> StoreError {
    StoreError::Unreadable(unreadable.to_string())
}

/// The database failed.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub(super) fn failed(error: redb::StorageError) -> StoreError {
    StoreError::unavailable(Cause::Disk, format!("database: {error}"))
}
