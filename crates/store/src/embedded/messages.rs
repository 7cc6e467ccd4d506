//! The steps on Web Push messages. They decide on the record of the client, which lists its messages. What a message
//! carries is written once, and read only to be sent.

use super::{
    batch::{Batch, failed, millis},
    changes::Table,
    record::{Record, Stored},
    tables::{self, message_key},
};
use crate::{
    StoreError,
    codec::{Unreadable, message},
};
use beckon_types::{
    Backlog, ClientId, Dialect, Fetch, FindChannel, FindChannelOutcome, Message, NotOwner, Place, Position,
    PutMessage, PutMessageOutcome, Restriction,
};
use bytes::Bytes;
use redb::ReadableTable as _;
use std::time::Duration;

impl Batch<'_, '_> {
    /// See [`crate::Store::put_message`].
    pub(super) fn put_message(&mut self, put: &PutMessage) -> Result<PutMessageOutcome, StoreError> {
        let presence = self.memory.seats.get(&put.client).map(|seat| seat.presence);
        let Some(mut record) = self.load(put.client)? else {
            // A connected client without channels is known, although it has no record.
            let known = presence.is_some();
            return Ok(if known { PutMessageOutcome::ChannelGone } else { PutMessageOutcome::UaidGone });
        };
        let channel = record.position(put.channel).filter(|_| record.dialect == Dialect::WebPush);
        let Some(channel) = channel else { return Ok(PutMessageOutcome::ChannelGone) };
        // Positions are below the number of channels, which is a `u32` in `AddChannel::channels_max`.
        let channel_index = u32::try_from(channel).unwrap_or(u32::MAX);
        if record.channels[channel].restricted != put.restricted.map(Restriction::from) {
            return Ok(PutMessageOutcome::ChannelGone);
        }
        let mut taken = record.take_messages(|message| !self.is_good(message));
        let expired = taken.len();
        let has_topic = |message: &&Stored| put.topic.is_some() && message.place.topic == put.topic;
        let was_reserved = record.messages.iter().find(has_topic).is_some_and(|message| message.is_reserved);
        if put.topic.is_some() {
            taken.extend(record.take_messages(|message| message.place.topic == put.topic));
        }
        let (stores, replaces) = (!put.draft.ttl.is_zero(), taken.len() > expired);
        // A message that replaces another takes its place, in the reserve or not.
        let is_full = record.messages.len() >= put.messages_max as usize;
        let is_reserved = is_full && (was_reserved || !replaces);
        if stores && is_full && !replaces {
            let is_beside = |stored: &&Stored| stored.is_reserved && stored.channel == channel_index;
            if record.messages.iter().filter(is_beside).count() >= put.reserve as usize {
                return Ok(PutMessageOutcome::Full);
            }
        }
        self.remove_carried(put.client, taken)?;
        let (previous, sequence) = (record.sequence, self.next_sequence(&record));
        // Even if nothing is stored: the sequence is part of the message id, which must not be used twice.
        record.sequence = sequence;
        record.is_known = true;
        if stores {
            let (key, message) =
                (message_key(put.client, sequence), message::encode(put.channel, put.key, &put.draft));
            self.changes.grown += tables::set(&mut self.messages, &key, &message).map_err(failed)?;
            self.changes.set(Table::Messages, &key, &message);
            record.messages.push(Stored {
                place: Place { sequence, nonce: put.nonce, topic: put.topic },
                expires: millis(self.now.latest.saturating_add(put.draft.ttl)),
                channel: channel_index,
                is_reserved,
            });
        }
        self.save(put.client, record);
        Ok(PutMessageOutcome::Accepted { sequence, previous, presence })
    }

    /// See [`crate::Store::find_channel`].
    pub(super) fn find_channel(&mut self, find: &FindChannel) -> Result<FindChannelOutcome, StoreError> {
        let is_connected = self.memory.seats.contains_key(&find.client);
        let Some(record) = self.load(find.client)? else {
            let gone = FindChannelOutcome::UaidGone;
            return Ok(if is_connected { FindChannelOutcome::ChannelGone } else { gone });
        };
        let position = record.position(find.channel).filter(|_| record.dialect == Dialect::WebPush);
        let channel = position.map(|position| &record.channels[position]);
        let restricted = find.restricted.map(Restriction::from);
        let is_registered = channel.is_some_and(|channel| channel.restricted == restricted);
        Ok(if is_registered { FindChannelOutcome::Registered } else { FindChannelOutcome::ChannelGone })
    }

    /// See [`crate::Store::fetch`].
    pub(super) fn fetch(&mut self, fetch: &Fetch) -> Result<Result<Backlog, NotOwner>, StoreError> {
        if let Err(not_owner) = self.seat(fetch.client, fetch.presence) {
            return Ok(Err(not_owner));
        }
        let Some(record) = self.load(fetch.client)? else { return Ok(Ok(Backlog::default())) };
        let backlog = self.backlog(fetch.client, &record, fetch.after, fetch.max)?;
        self.renew(fetch.client, Some(record))?;
        Ok(Ok(backlog))
    }

    /// See [`crate::Store::remove_messages`].
    pub(super) fn remove_messages(&mut self, client: ClientId, places: &[Place]) -> Result<(), StoreError> {
        let Some(mut record) = self.load(client)? else { return Ok(()) };
        let taken = record.take_messages(|message| places.contains(&message.place));
        if !taken.is_empty() {
            self.remove_carried(client, taken)?;
            self.save(client, record);
        }
        Ok(())
    }

    /// Reads no more than `max` messages of a record, behind a position.
    pub(super) fn backlog(
        &self,
        client: ClientId,
        record: &Record,
        after: Option<Position>,
        max: usize,
    ) -> Result<Backlog, StoreError> {
        let behind = |stored: &&Stored| after.is_none_or(|after| stored.place.position() > after);
        let mut listed: Vec<_> =
            record.messages.iter().filter(behind).filter(|stored| self.is_good(stored)).collect();
        listed.sort_by_key(|stored| stored.place.position());
        let first = listed.iter().take(max);
        let messages = first.map(|stored| self.message(client, stored)).collect::<Result<Vec<_>, _>>()?;
        let more = !messages.is_empty() && listed.len() > messages.len();
        Ok(Backlog { messages, more })
    }

    /// Reads a message that has not expired.
    fn message(&self, client: ClientId, stored: &Stored) -> Result<Message, StoreError> {
        let bytes = self.messages.get(&message_key(client, stored.place.sequence)).map_err(failed)?;
        let bytes = bytes.ok_or(Unreadable("message is missing"))?;
        let left = Duration::from_millis(stored.expires.saturating_sub(millis(self.now.earliest)));
        Ok(message::decode(&Bytes::copy_from_slice(bytes.value()), stored.place, left)?)
    }
}
