//! The steps on SimplePush versions.

use crate::{
    channel_id::ChannelId, client_id::ClientId, presence::Presence, sequence::Sequence, version::Version,
};

/// Stores a version as pending on a channel, in place of the one that was, and reads which socket owns the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PutVersion {
    /// The client.
    pub client: ClientId,
    /// The channel.
    pub channel: ChannelId,
    /// The version.
    pub version: Version,
}

/// The outcome of a [`PutVersion`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutVersionOutcome {
    /// The version is pending.
    Stored {
        /// The position of this write.
        sequence: Sequence,
        /// The position of the write before it to the same client, or 0: none is between the two.
        previous: Sequence,
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
    /// The version that is acknowledged, if the pending one equals it as an IEEE double; `None` acknowledges any
    /// pending version.
    pub version: Option<f64>,
}
