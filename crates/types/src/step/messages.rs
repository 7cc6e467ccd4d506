//! The steps on Web Push messages.

use crate::{
    channel_id::ChannelId,
    client_id::ClientId,
    draft::Draft,
    key_ring::KeyId,
    message::Message,
    place::{Nonce, Position},
    presence::Presence,
    sequence::Sequence,
    topic::TopicTag,
    vapid_key::KeyHash,
};

/// Checks whether a Web Push channel is registered, and writes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FindChannel {
    /// The client.
    pub client: ClientId,
    /// The channel.
    pub channel: ChannelId,
    /// The key that the endpoint is restricted to, as in [`PutMessage::restricted`].
    pub restricted: Option<KeyHash>,
}

/// The outcome of a [`FindChannel`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FindChannelOutcome {
    /// A message to it would be accepted.
    Registered,
    /// The UAID is not stored.
    UaidGone,
    /// The channel is not registered, or another register has superseded the endpoint.
    ChannelGone,
}

/// Stores a Web Push message, and reads which socket owns the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutMessage {
    /// The client.
    pub client: ClientId,
    /// The channel.
    pub channel: ChannelId,
    /// The key that the endpoint is restricted to. If the latest register named another key, the endpoint is
    /// superseded.
    pub restricted: Option<KeyHash>,
    /// The key that seals the message's id.
    pub key: KeyId,
    /// The name of the message, which no other message has.
    pub nonce: Nonce,
    /// The topic, if it has one: the message replaces the stored one of the same topic.
    pub topic: Option<TopicTag>,
    /// What the application server says; with a TTL of zero, the message is not stored.
    pub draft: Draft,
    /// Most stored messages that the client may have, besides those in the reserves of its channels.
    pub messages_max: u32,
    /// Messages that its channel may have in reserve: they are stored although the client has `messages_max`.
    pub reserve: u32,
}

/// The outcome of a [`PutMessage`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutMessageOutcome {
    /// The message is stored, unless its TTL is zero.
    Accepted {
        /// The position of this write.
        sequence: Sequence,
        /// The position of the write before it to the same client, or 0: none is between the two. Of a message that was put
        /// twice it is the highest that it can be.
        previous: Sequence,
        /// The socket that owns the UAID, if one does. Its node may be dead.
        presence: Option<Presence>,
    },
    /// The UAID is not stored.
    UaidGone,
    /// The channel is not registered, or another register has superseded the endpoint.
    ChannelGone,
    /// The client has `messages_max` stored messages, the channel has used its reserve, and this would be a further one.
    Full,
}

/// Reads the next of a client's stored messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetch {
    /// The client.
    pub client: ClientId,
    /// The socket that asks.
    pub presence: Presence,
    /// Only messages behind this position; `None` starts at the beginning.
    pub after: Option<Position>,
    /// Most messages in the outcome.
    pub max: usize,
}

/// Some of a client's stored messages, in the order of their [`Position`]s.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Backlog {
    /// The messages. None has expired.
    pub messages: Vec<Message>,
    /// Whether there may be more messages behind these. False if there are none here.
    pub more: bool,
}
