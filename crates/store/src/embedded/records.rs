//! The steps that carry clients from one store to another.

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
use beckon_types::{ClientId, ClientPage, ClientRecord, Cursor, Message};
use redb::ReadableTable as _;
use std::{ops::Bound, time::Duration};

/// Clients in a page.
const PAGE_LEN: usize = 1000;

impl Batch<'_, '_> {
    /// See [`crate::Store::list_clients`]. The cursor is the last client of the page before.
    pub(super) fn list_clients(&self, from: Option<Cursor>) -> Result<ClientPage, StoreError> {
        let after = from.map(|Cursor(last)| last.to_be_bytes());
        let after = after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let range = self.clients.range::<&[u8; 16]>((after, Bound::Unbounded)).map_err(failed)?;
        let mut clients = Vec::new();
        for entry in range.take(PAGE_LEN) {
            clients.push(ClientId(*entry.map_err(failed)?.0.value()));
        }
        let is_full = clients.len() == PAGE_LEN;
        let last = clients.last().filter(|_| is_full);
        Ok(ClientPage { next: last.map(|client| Cursor(u128::from_be_bytes(client.0))), clients })
    }

    /// See [`crate::Store::read_client`].
    pub(super) fn read_client(&mut self, client: ClientId) -> Result<Option<ClientRecord>, StoreError> {
        let Some(record) = self.load(client)? else { return Ok(None) };
        let messages = self.backlog(client, &record, None, usize::MAX)?.messages;
        let Record { dialect, is_known: _, last_seen, sequence, messages: _, channels } = record;
        let unseen = match self.memory.seats.contains_key(&client) {
            true => Duration::ZERO,
            false => self.now.earliest.saturating_sub(Duration::from_secs(last_seen)),
        };
        Ok(Some(ClientRecord { client, dialect, unseen, sequence, channels, messages }))
    }

    /// See [`crate::Store::add_client`].
    pub(super) fn add_client(&mut self, record: &ClientRecord) -> Result<bool, StoreError> {
        let ClientRecord { client, dialect, unseen, sequence, channels, messages } = record;
        if self.memory.seats.contains_key(client) || self.load(*client)?.is_some() {
            return Ok(false);
        }
        let position = |message: &Message| {
            let registered = channels.iter().position(|channel| channel.channel.id == message.channel);
            registered.and_then(|position| u32::try_from(position).ok())
        };
        let mut stored = Vec::with_capacity(messages.len());
        for message in messages {
            stored.push(Stored {
                place: message.place,
                expires: millis(self.now.latest.saturating_add(message.draft.ttl)),
                channel: position(message)
                    .ok_or(Unreadable("message of a channel that is not registered"))?,
                is_reserved: false,
            });
        }
        stored.sort_by_key(|stored| stored.place.sequence);
        for Message { channel, place, key, draft } in messages {
            let (at, bytes) = (message_key(*client, place.sequence), message::encode(*channel, *key, draft));
            self.changes.grown += tables::set(&mut self.messages, &at, &bytes).map_err(failed)?;
            self.changes.set(Table::Messages, &at, &bytes);
        }
        let record = Record {
            dialect: *dialect,
            is_known: true,
            last_seen: self.now.latest.saturating_sub(*unseen).as_secs(),
            sequence: *sequence,
            messages: stored,
            channels: channels.clone(),
        };
        self.save(*client, record);
        Ok(true)
    }
}
