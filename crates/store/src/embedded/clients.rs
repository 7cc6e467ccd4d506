//! The steps on clients.

use super::{batch::Batch, record::Record, seats::Seat};
use crate::StoreError;
use beckon_types::{
    Ack, AddChannel, AddChannelOutcome, Backlog, Channel, ChannelId, ChannelRecord, Claim, ClientId, Dialect,
    Hello, HelloOutcome, Listed, NotOwner, Presence, PutVersion, PutVersionOutcome, Restriction, Sequence,
    Snapshot,
};

impl Batch<'_, '_> {
    /// See [`crate::Store::hello`].
    pub(super) fn hello(&mut self, hello: &Hello) -> Result<HelloOutcome, StoreError> {
        let record = self.load(hello.client)?;
        if record.as_ref().is_some_and(|record| record.is_blocked) {
            return Ok(HelloOutcome::Blocked);
        }
        let seat = self.memory.seats.get(&hello.client).copied();
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
                    self.remove(hello.client, &record)?;
                }
                self.memory.seats.remove(&hello.client);
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
        let mut record = record;
        if let Some(record) = record.as_mut().filter(|record| !record.is_known) {
            record.is_known = true;
            self.save(hello.client, record.clone());
        }
        let snapshot = record.as_ref().map(Record::snapshot).unwrap_or_default();
        let backlog = match (dialect, &record) {
            (Dialect::WebPush, Some(record)) => {
                self.backlog(hello.client, record, None, hello.backlog_max)?
            }
            (Dialect::WebPush, None) | (Dialect::SimplePush, _) => Backlog::default(),
        };
        self.renew(hello.client, record)?;
        self.memory.seats.insert(hello.client, Seat { presence: hello.presence, dialect });
        Ok(HelloOutcome::Claimed { dialect, former, snapshot, backlog })
    }

    /// See [`crate::Store::release`].
    pub(super) fn release(
        &mut self,
        client: ClientId,
        presence: Presence,
        former: Option<Presence>,
    ) -> Result<(), StoreError> {
        let Ok(seat) = self.seat(client, presence) else { return Ok(()) };
        if let Some(presence) = former {
            self.memory.seats.insert(client, Seat { presence, ..seat });
            return Ok(());
        }
        match self.load(client)? {
            Some(record) if record.channels.is_empty() => self.remove(client, &record)?,
            record => self.renew(client, record)?,
        }
        self.memory.seats.remove(&client);
        Ok(())
    }

    /// See [`crate::Store::snapshot`].
    pub(super) fn snapshot(
        &mut self,
        client: ClientId,
        presence: Presence,
    ) -> Result<Result<Snapshot, NotOwner>, StoreError> {
        if let Err(not_owner) = self.seat(client, presence) {
            return Ok(Err(not_owner));
        }
        let record = self.load(client)?;
        let snapshot = record.as_ref().map(Record::snapshot).unwrap_or_default();
        self.renew(client, record)?;
        Ok(Ok(snapshot))
    }

    /// See [`crate::Store::verify`].
    pub(super) fn verify(&mut self, client: ClientId, presence: Presence) -> Result<Claim, StoreError> {
        if self.seat(client, presence).is_err() {
            let is_taken = self.memory.seats.contains_key(&client);
            return Ok(if is_taken { Claim::Taken } else { Claim::Lost });
        }
        let record = self.load(client)?;
        let last = record.as_ref().map(|record| record.sequence).unwrap_or_default();
        let channels = record.as_ref().map_or(0, |record| record.channels.len());
        self.renew(client, record)?;
        Ok(Claim::Owned { last, channels })
    }

    /// See [`crate::Store::add_channel`].
    pub(super) fn add_channel(&mut self, add: &AddChannel) -> Result<AddChannelOutcome, StoreError> {
        let seat = match self.seat(add.client, add.presence) {
            Ok(seat) => seat,
            Err(not_owner) => return Ok(AddChannelOutcome::NotOwner(not_owner)),
        };
        let mut record = self.load(add.client)?.unwrap_or_else(|| Record {
            dialect: seat.dialect,
            is_known: false,
            is_blocked: false,
            last_seen: self.now.latest.as_secs(),
            sequence: Sequence::default(),
            messages: Vec::new(),
            channels: Vec::new(),
        });
        let sequence = record.sequence;
        let restricted = add.restricted.map(Restriction::from);
        if let Some(registration) = record.channel_mut(add.channel) {
            let key = registration.key;
            if (registration.channel.spelling, registration.restricted) != (add.spelling, restricted) {
                registration.channel.spelling = add.spelling;
                registration.restricted = restricted;
                self.save(add.client, record);
            }
            return Ok(AddChannelOutcome::Registered { key, sequence });
        }
        if record.channels.len() >= add.channels_max as usize {
            return Ok(AddChannelOutcome::Full);
        }
        let channel = Channel { id: add.channel, spelling: add.spelling, pending: None };
        record.channels.push(ChannelRecord { channel, key: add.key, restricted });
        self.save(add.client, record);
        Ok(AddChannelOutcome::Registered { key: add.key, sequence })
    }

    /// See [`crate::Store::remove_channel`]. While the client is connected, its record is kept even without channels,
    /// so that its sequence continues.
    pub(super) fn remove_channel(
        &mut self,
        client: ClientId,
        presence: Presence,
        channel: ChannelId,
    ) -> Result<Result<(), NotOwner>, StoreError> {
        if let Err(not_owner) = self.seat(client, presence) {
            return Ok(Err(not_owner));
        }
        if let Some(mut record) = self.load(client)?
            && let Some(messages) = record.take_channel(channel)
        {
            self.remove_carried(client, messages)?;
            self.save(client, record);
        }
        Ok(Ok(()))
    }

    /// See [`crate::Store::put_version`].
    pub(super) fn put_version(&mut self, put: &PutVersion) -> Result<PutVersionOutcome, StoreError> {
        let Some(mut record) = self.load(put.client)? else { return Ok(PutVersionOutcome::Gone) };
        if record.dialect != Dialect::SimplePush {
            return Ok(PutVersionOutcome::Gone);
        }
        let (previous, sequence) = (record.sequence, self.next_sequence(&record));
        let Some(registration) = record.channel_mut(put.channel) else { return Ok(PutVersionOutcome::Gone) };
        registration.channel.pending = Some(put.version);
        record.sequence = sequence;
        record.is_known = true;
        self.save(put.client, record);
        let presence = self.memory.seats.get(&put.client).map(|seat| seat.presence);
        Ok(PutVersionOutcome::Stored { sequence, previous, presence })
    }

    /// See [`crate::Store::ack_versions`].
    pub(super) fn ack_versions(&mut self, client: ClientId, acks: &[Ack]) -> Result<(), StoreError> {
        let Some(mut record) = self.load(client)? else { return Ok(()) };
        let mut is_changed = false;
        for ack in acks {
            let Some(registration) = record.channel_mut(ack.channel) else { continue };
            let Some(pending) = registration.channel.pending else { continue };
            if ack.version.is_none_or(|number| pending.equals_double(number)) {
                registration.channel.pending = None;
                is_changed = true;
            }
        }
        if is_changed {
            self.save(client, record);
        }
        Ok(())
    }
}

/// Whether a list is possible, and everything in it is registered.
fn all_registered(listed: Option<&Listed>, record: Option<&Record>) -> bool {
    let registered = |id: &ChannelId| {
        record.is_some_and(|record| record.channels.iter().any(|registration| registration.channel.id == *id))
    };
    match listed {
        Some(Listed::Channels(channels)) => channels.iter().all(registered),
        Some(Listed::Impossible) | None => false,
    }
}
