//! The atomic steps that nodes ask of the store, and their outcomes (DESIGN.md section 4).
//!
//! They are words of the domain because two crates that may not know each other share them: the session asks
//! for a step, the store performs it, and the node carries one to the other.

use crate::{
    channel_id::ChannelId, dialect::Dialect, notification::Sequence, presence::Presence, token::KeyId,
    uaid::Uaid, uuid_text::Spelling, version::Version,
};

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
        /// The UAID's channels and what is pending on them.
        snapshot: Snapshot,
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
