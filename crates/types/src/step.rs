//! The atomic steps that nodes ask of the store, and their outcomes.
//!
//! They are words of the domain because two crates that may not know each other share them: the session asks
//! for a step, the store performs it, and the node carries one to the other.

use crate::{
    channel_id::ChannelId,
    dialect::Dialect,
    key_ring::KeyId,
    message::{Message, Payload, Position},
    notification::Sequence,
    presence::Presence,
    topic::TopicTag,
    uaid::Uaid,
    urgency::Urgency,
    uuid_text::Spelling,
    vapid_key::KeyHash,
    version::Version,
};
use std::time::Duration;

/// Look a UAID up, verify the listed channels, claim presence, and read what is pending: one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The UAID that the user agent sent, or that the server generated.
    pub uaid: Uaid,
    /// The socket that says hello.
    pub presence: Presence,
    /// The dialect that the hello itself names (rows 1 and 2 of PROTOCOL.md section 1.9).
    pub named: Option<Dialect>,
    /// The dialect if the hello names none and nothing is stored (rows 4 and 5).
    pub otherwise: Dialect,
    /// The channels that a SimplePush user agent lists; `None` if it sent no list.
    pub listed: Option<Listed>,
    /// Whether an unknown UAID is taken as it is: always in SimplePush with an empty list, in Web Push only
    /// for a UAID that the server generated.
    pub adopt: bool,
    /// Whether this node has room for a SimplePush user agent.
    pub room: bool,
    /// Web Push: how many stored messages the outcome may bring.
    pub backlog_max: usize,
}

/// The list of channels in a SimplePush hello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    /// These, all in UUID syntax and not more than a user agent may have. May be empty.
    Channels(Vec<ChannelId>),
    /// The list has an entry that cannot be registered, so not all of it can be.
    Impossible,
}

/// What came of a [`Hello`]. Whenever the outcome is not [`HelloOutcome::Claimed`] or
/// [`HelloOutcome::Deleted`], nothing has changed in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HelloOutcome {
    /// The socket owns the UAID.
    Claimed {
        /// The dialect of the UAID.
        dialect: Dialect,
        /// The socket that owned the UAID before, if it was not released. It has to be closed.
        former: Option<Presence>,
        /// The UAID's channels and, in SimplePush, what is pending on them.
        snapshot: Snapshot,
        /// Web Push: the first of the stored messages. Empty in SimplePush.
        backlog: Backlog,
    },
    /// The UAID is unknown, or it is stored for the other dialect: the user agent needs a new one.
    Unknown {
        /// The dialect to go on in.
        dialect: Dialect,
    },
    /// SimplePush: a listed channel is not registered, so the UAID was deleted with all its channels. The user
    /// agent needs a new one.
    Deleted {
        /// The socket that owned the deleted UAID. It has to be closed.
        former: Option<Presence>,
    },
    /// SimplePush, but the hello has no list of channels: its sender is to blame.
    ListMissing,
    /// SimplePush, and [`Hello::room`] was false.
    NoRoom,
}

/// Everything stored about a client's channels at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// The last write that the snapshot includes.
    pub sequence: Sequence,
    /// All channels, in no particular order.
    pub channels: Vec<Channel>,
}

/// One registered channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Channel {
    /// The channel.
    pub id: ChannelId,
    /// How the latest register spelled it.
    pub spelling: Spelling,
    /// SimplePush: the version that is accepted and not acknowledged.
    pub pending: Option<Version>,
}

/// A step of a socket that the store refused, because the socket does not own the UAID (any more): a newer
/// hello has claimed it, or its record is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotOwner;

/// Add a channel, or spell it anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddChannel {
    /// The client.
    pub uaid: Uaid,
    /// The socket that asks.
    pub presence: Presence,
    /// The channel.
    pub channel: ChannelId,
    /// How this register spells it.
    pub spelling: Spelling,
    /// Web Push: the application server's key to which this register restricts the channel.
    pub restricted: Option<KeyHash>,
    /// The key for a new channel's token: the newest of the ring.
    pub key: KeyId,
    /// How many channels the client may have.
    pub channels_max: u32,
}

/// What came of an [`AddChannel`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddChannelOutcome {
    /// The channel is registered; if it was before, what is pending on it is untouched.
    Registered {
        /// The key that makes this channel's token: that of its first register.
        key: KeyId,
        /// The last write to the client before this step.
        sequence: Sequence,
    },
    /// The client has `channels_max` channels and this is not one of them.
    Full,
    /// The socket does not own the UAID.
    NotOwner(NotOwner),
}

/// Store a version as what is pending on a channel, in place of what was, and read who has the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PutVersion {
    /// The client.
    pub uaid: Uaid,
    /// The channel.
    pub channel: ChannelId,
    /// The version.
    pub version: Version,
}

/// What came of a [`PutVersion`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutOutcome {
    /// The version is pending.
    Stored {
        /// The position of this write.
        sequence: Sequence,
        /// The socket that owns the UAID, if one does. Its node may be dead.
        presence: Option<Presence>,
    },
    /// The UAID is not stored, or the channel is not registered to it.
    Gone,
}

/// The acknowledgement of one channel's pending version.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ack {
    /// The channel.
    pub channel: ChannelId,
    /// What is acknowledged: the pending version if it equals this one as an IEEE double, or whatever is
    /// pending (`None`).
    pub version: Option<f64>,
}

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
    /// How soon it matters.
    pub urgency: Urgency,
    /// How long it is stored; zero: not at all.
    pub ttl: Duration,
    /// What was sent; `None` for an empty body.
    pub payload: Option<Payload>,
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

/// There are as many broadcasts as there may be ([`crate::broadcast::BROADCASTS_MAX`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there are as many broadcasts as there may be")]
pub struct TooManyBroadcasts;
