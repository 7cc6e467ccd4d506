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
use beckon_types::{
    ClientId, ClientPage, ClientRecord, Cursor, Dialect, FoundClient, Message, Revoke, Revoked, Sequence,
};
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
        if self.load(client)?.is_none() {
            return Ok(None);
        }
        Ok(match self.find_client(client)? {
            FoundClient::Unknown | FoundClient::Blocked => None,
            FoundClient::Stored { record, presence: _ } => Some(*record),
        })
    }

    /// See [`crate::Store::find_client`]. A client that is connected and has registered nothing has no record.
    pub(super) fn find_client(&mut self, client: ClientId) -> Result<FoundClient, StoreError> {
        let Some(record) = self.load(client)? else {
            let Some(seat) = self.memory.seats.get(&client) else { return Ok(FoundClient::Unknown) };
            let record = ClientRecord {
                client,
                dialect: seat.dialect,
                unseen: Duration::ZERO,
                sequence: Sequence::default(),
                channels: Vec::new(),
                messages: Vec::new(),
            };
            return Ok(FoundClient::Stored { record: Box::new(record), presence: Some(seat.presence) });
        };
        if record.is_blocked {
            return Ok(FoundClient::Blocked);
        }
        let messages = self.backlog(client, &record, None, usize::MAX)?.messages;
        let Record { dialect, is_known: _, is_blocked: _, last_seen, sequence, messages: _, channels } =
            record;
        let presence = self.memory.seats.get(&client).map(|seat| seat.presence);
        let unseen = match presence {
            Some(_) => Duration::ZERO,
            None => self.now.earliest.saturating_sub(Duration::from_secs(last_seen)),
        };
        let record = Box::new(ClientRecord { client, dialect, unseen, sequence, channels, messages });
        Ok(FoundClient::Stored { record, presence })
    }

    /// See [`crate::Store::revoke`].
    pub(super) fn revoke(&mut self, revoke: Revoke) -> Result<Revoked, StoreError> {
        let (Revoke::Forget(client) | Revoke::Block(client) | Revoke::Unblock(client)) = revoke;
        let record = self.load(client)?;
        let is_blocked = record.as_ref().is_some_and(|record| record.is_blocked);
        let seat = self.memory.seats.get(&client).copied();
        let former = seat.map(|seat| seat.presence);
        let is_there = record.is_some() || former.is_some();
        let changed = match revoke {
            Revoke::Unblock(_) => is_blocked,
            Revoke::Block(_) => !is_blocked,
            Revoke::Forget(_) => is_there && !is_blocked,
        };
        if !changed {
            return Ok(Revoked { changed, former: None });
        }
        if let Some(record) = &record {
            self.remove(client, record)?;
        }
        self.memory.seats.remove(&client);
        if let Revoke::Block(_) = revoke {
            let before = record.as_ref().map(|record| (record.dialect, record.sequence));
            let dialect = seat.map(|seat| seat.dialect).or(before.map(|(dialect, _)| dialect));
            self.save(
                client,
                Record {
                    dialect: dialect.unwrap_or(Dialect::SimplePush),
                    is_known: true,
                    is_blocked: true,
                    last_seen: self.now.latest.as_secs(),
                    sequence: before.map(|(_, sequence)| sequence).unwrap_or_default(),
                    messages: Vec::new(),
                    channels: Vec::new(),
                },
            );
        }
        Ok(Revoked { changed, former })
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
            is_blocked: false,
            last_seen: self.now.latest.saturating_sub(*unseen).as_secs(),
            sequence: *sequence,
            messages: stored,
            channels: channels.clone(),
        };
        self.save(*client, record);
        Ok(true)
    }
}
