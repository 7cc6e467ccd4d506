//! The steps on channels.

use crate::{
    channel_id::ChannelId, key_ring::KeyId, presence::Presence, sequence::Sequence, spelling::Spelling,
    uaid::Uaid, vapid_key::KeyHash, version::Version,
};

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
