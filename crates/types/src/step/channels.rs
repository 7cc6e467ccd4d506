//! The steps on channels.

use crate::{
    channel_id::ChannelId, client_id::ClientId, key_ring::KeyId, presence::Presence, sequence::Sequence,
    spelling::Spelling, vapid_key::KeyHash, version::Version,
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
    /// SimplePush: the version that was accepted and is not acknowledged yet.
    pub pending: Option<Version>,
}

/// The store refused a step because the socket does not own the UAID: a newer hello has claimed it, or its record is
/// gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotOwner;

/// Registers a channel, or changes its spelling and restriction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddChannel {
    /// The client.
    pub client: ClientId,
    /// The socket that asks.
    pub presence: Presence,
    /// The channel.
    pub channel: ChannelId,
    /// How this register spells it.
    pub spelling: Spelling,
    /// Web Push: the application server's key to which this register restricts the channel.
    pub restricted: Option<KeyHash>,
    /// The key that seals the token of a new channel: the newest of the ring.
    pub key: KeyId,
    /// Most channels that the client may have.
    pub channels_max: u32,
}

/// The outcome of an [`AddChannel`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddChannelOutcome {
    /// The channel is registered. If it was registered before, what is pending on it has not changed.
    Registered {
        /// The key that seals the token of this channel: that of its first register.
        key: KeyId,
        /// The last write to the client before this step.
        sequence: Sequence,
    },
    /// The client has `channels_max` channels, and this is not one of them.
    Full,
    /// The socket does not own the UAID.
    NotOwner(NotOwner),
}
