//! The steps on Web Push messages.

use crate::{
    channel_id::ChannelId, draft::Draft, key_ring::KeyId, message::Message, place::Position,
    presence::Presence, sequence::Sequence, topic::TopicTag, uaid::Uaid, vapid_key::KeyHash,
};

/// Ask whether a Web Push channel is registered, and write nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FindChannel {
    /// The client.
    pub uaid: Uaid,
    /// The channel.
    pub channel: ChannelId,
    /// The key that the endpoint is restricted to, as in [`PutMessage::restricted`].
    pub restricted: Option<KeyHash>,
}

/// What came of a [`FindChannel`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FindChannelOutcome {
    /// It would take messages.
    Registered,
    /// The UAID is not stored.
    UaidGone,
    /// The channel is not registered, or another register has superseded the endpoint.
    ChannelGone,
}

/// Store a Web Push message, and read who has the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutMessage {
    /// The client.
    pub uaid: Uaid,
    /// The channel.
    pub channel: ChannelId,
    /// The key that the endpoint is restricted to. An endpoint whose key is not that of the latest register is
    /// superseded.
    pub restricted: Option<KeyHash>,
    /// The key that seals the message's id.
    pub key: KeyId,
    /// The topic, if it has one: it replaces a stored message of the same topic.
    pub topic: Option<TopicTag>,
    /// What the application server says; with a TTL of zero, the message is not stored.
    pub draft: Draft,
    /// How many stored messages the client may have.
    pub messages_max: u32,
}

/// What came of a [`PutMessage`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutMessageOutcome {
    /// The message is stored, or needs not be.
    Accepted {
        /// The position of this write.
        sequence: Sequence,
        /// The socket that owns the UAID, if one does. Its node may be dead.
        presence: Option<Presence>,
    },
    /// The UAID is not stored.
    UaidGone,
    /// The channel is not registered, or another register has superseded the endpoint.
    ChannelGone,
    /// The client has `messages_max` stored messages, and this one would be one more.
    Full,
}

/// Read the next of a client's stored messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetch {
    /// The client.
    pub uaid: Uaid,
    /// The socket that asks.
    pub presence: Presence,
    /// Those behind this position; `None`: from the beginning.
    pub after: Option<Position>,
    /// How many at most.
    pub max: usize,
}

/// Some of a client's stored messages, in the order of their [`Position`]s.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Backlog {
    /// The messages. None has expired.
    pub messages: Vec<Message>,
    /// Whether there may be others behind them. If there are no messages, there are no others either.
    pub more: bool,
}
