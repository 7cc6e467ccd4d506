//! The steps that carry clients from one store to another.

use crate::{
    client_id::ClientId, dialect::Dialect, key_ring::KeyId, message::Message, sequence::Sequence,
    step::channels::Channel, vapid_key::Restriction,
};
use std::time::Duration;

/// Everything that a store keeps for one client, except for the socket that owns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientRecord {
    /// The client.
    pub client: ClientId,
    /// Its dialect.
    pub dialect: Dialect,
    /// How long ago it was last seen, as far as its store knows; zero if it is connected.
    pub unseen: Duration,
    /// The last write.
    pub sequence: Sequence,
    /// Its channels, in no particular order.
    pub channels: Vec<ChannelRecord>,
    /// Its stored messages that have not expired, in the order of their positions, each with what is left of its TTL and a
    /// channel that is among `channels`.
    pub messages: Vec<Message>,
}

/// Everything that a store keeps for one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelRecord {
    /// The channel, and what is pending on it.
    pub channel: Channel,
    /// The key that seals its token.
    pub key: KeyId,
    /// The application server's key, if only one may send to it.
    pub restricted: Option<Restriction>,
}

/// Some of the clients of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientPage {
    /// The clients.
    pub clients: Vec<ClientId>,
    /// Where the next page begins; `None` if there is no other.
    pub next: Option<Cursor>,
}

/// Where a page of clients begins. It means something only to the store that returned it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor(pub u128);
