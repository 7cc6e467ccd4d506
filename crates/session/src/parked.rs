//! A session at rest as data: all that another process needs to continue it.
//!
//! The encoding is that of Protocol Buffers: a reader skips fields that it does not know, and fields that the writer did not
//! know have their default. So a field may be added whenever its default means what was so before. A tag is never used again
//! for something else.
//!
//! Times are [`Moment`]s of a clock that both processes share.
//!
//! [`Moment`]: beckon_types::Moment

use beckon_types::{ChannelId, Spelling};
use prost::{Message, Oneof};

/// What was read is not a session that this version could have written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a session whose {0} cannot be read")]
pub struct Damaged(pub(crate) &'static str);

impl Damaged {
    /// The id of its connection cannot be one.
    pub const CONNECTION: Self = Self("connection id");
}

/// A session without a store step under way or waiting ([`crate::Session::park`]).
#[derive(Clone, PartialEq, Message)]
pub struct Parked {
    /// When something was last heard from the socket, or if `is_asked`, when the Ping frame was sent that is not answered yet.
    #[prost(uint64, tag = "1")]
    pub(crate) silent_since: u64,
    #[prost(bool, tag = "2")]
    pub(crate) is_asked: bool,
    /// When the budget of requests is full again.
    #[prost(uint64, tag = "3")]
    pub(crate) full_at: u64,
    /// When the last ping came in, plus one; 0 for never.
    #[prost(uint64, tag = "4")]
    pub(crate) pinged: u64,
    #[prost(oneof = "ParkedPeer", tags = "5, 6, 7")]
    pub(crate) peer: Option<ParkedPeer>,
}

/// Who is at the other end.
#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum ParkedPeer {
    /// A user agent that has not said hello since its socket was upgraded at this time.
    #[prost(uint64, tag = "5")]
    Stranger(u64),
    #[prost(message, tag = "6")]
    SimplePush(ParkedSimplePush),
    #[prost(message, tag = "7")]
    WebPush(ParkedWebPush),
}

/// What clients of both dialects have.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ParkedClient {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) uaid: Vec<u8>,
    #[prost(bool, tag = "2")]
    pub(crate) hyphens: bool,
    #[prost(uint32, tag = "3")]
    pub(crate) upper: u32,
    #[prost(message, repeated, tag = "4")]
    pub(crate) channels: Vec<ParkedChannel>,
    /// When to verify the claim.
    #[prost(uint64, tag = "5")]
    pub(crate) verify_at: u64,
    #[prost(uint64, tag = "6")]
    pub(crate) seen: u64,
    #[prost(bool, tag = "7")]
    pub(crate) may_lack_channels: bool,
    /// When to re-read the store because a step failed.
    #[prost(uint64, optional, tag = "8")]
    pub(crate) reread: Option<u64>,
    #[prost(message, optional, tag = "9")]
    pub(crate) ahead: Option<ParkedAhead>,
}

/// Writes that have come although one before them has not.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct ParkedAhead {
    /// The write before the first of them.
    #[prost(uint64, tag = "1")]
    pub(crate) after: u64,
    /// The last of them.
    #[prost(uint64, tag = "2")]
    pub(crate) upto: u64,
    /// When to verify the claim because of the gap.
    #[prost(uint64, optional, tag = "3")]
    pub(crate) due: Option<u64>,
}

/// A channel in the table of a client.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ParkedChannel {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) id: Vec<u8>,
    #[prost(bool, tag = "2")]
    pub(crate) hyphens: bool,
    #[prost(uint32, tag = "3")]
    pub(crate) upper: u32,
    /// All writes up to this one were sent or are superseded, or belong to a former registration.
    #[prost(uint64, tag = "4")]
    pub(crate) sequence: u64,
    /// SimplePush: what was sent last.
    #[prost(message, optional, tag = "5")]
    pub(crate) sent: Option<ParkedVersion>,
}

/// A version that was sent.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct ParkedVersion {
    #[prost(uint64, tag = "1")]
    pub(crate) version: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) at: u64,
    #[prost(bool, tag = "3")]
    pub(crate) is_acknowledged: bool,
}

/// A SimplePush client.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ParkedSimplePush {
    #[prost(message, required, tag = "1")]
    pub(crate) client: ParkedClient,
    #[prost(bool, tag = "2")]
    pub(crate) may_have_unregistered: bool,
    #[prost(bool, tag = "3")]
    pub(crate) may_have_others: bool,
}

/// A Web Push client.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ParkedWebPush {
    #[prost(message, required, tag = "1")]
    pub(crate) client: ParkedClient,
    #[prost(uint32, tag = "2")]
    pub(crate) urgency_min: u32,
    /// Messages that were sent and are not acknowledged, oldest transmission first.
    #[prost(message, repeated, tag = "3")]
    pub(crate) sent: Vec<ParkedMessage>,
    /// How to continue reading the backlog.
    #[prost(message, optional, tag = "4")]
    pub(crate) next: Option<ParkedNext>,
    /// Acknowledged messages that the store failed to remove.
    #[prost(message, repeated, tag = "5")]
    pub(crate) unremoved: Vec<ParkedPlace>,
    #[prost(uint64, optional, tag = "6")]
    pub(crate) remove_again: Option<u64>,
    #[prost(message, repeated, tag = "7")]
    pub(crate) subscriptions: Vec<ParkedSubscription>,
}

/// A message that was sent.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ParkedMessage {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) channel: Vec<u8>,
    #[prost(uint64, tag = "2")]
    pub(crate) sequence: u64,
    #[prost(uint64, tag = "3")]
    pub(crate) expires: u64,
    #[prost(uint32, tag = "4")]
    pub(crate) at: u32,
    #[prost(bool, tag = "5")]
    pub(crate) is_in_batch: bool,
}

/// Where the backlog continues.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct ParkedNext {
    /// The sequence of the last message that was read; `None`: from the beginning.
    #[prost(uint64, optional, tag = "1")]
    pub(crate) after: Option<u64>,
    #[prost(bool, tag = "2")]
    pub(crate) without_topic: bool,
    #[prost(bool, tag = "3")]
    pub(crate) waits_for_batch: bool,
}

/// The place of a message.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ParkedPlace {
    #[prost(uint64, tag = "1")]
    pub(crate) sequence: u64,
    #[prost(fixed64, tag = "2")]
    pub(crate) nonce: u64,
    #[prost(bytes = "vec", optional, tag = "3")]
    pub(crate) topic: Option<Vec<u8>>,
}

/// A subscription to a broadcast, and the version that the subscriber knows.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ParkedSubscription {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(string, tag = "2")]
    pub(crate) version: String,
}

impl ParkedChannel {
    /// A channel of which no version was sent.
    pub(crate) fn new(id: ChannelId, spelling: Spelling, sequence: u64) -> Self {
        let Spelling { hyphens, upper } = spelling;
        Self { id: id.0.to_vec(), hyphens, upper, sequence, sent: None }
    }

    /// The channel and how it is spelled.
    pub(crate) fn name(&self) -> Result<(ChannelId, Spelling), Damaged> {
        Ok((channel_id(&self.id)?, Spelling { hyphens: self.hyphens, upper: self.upper }))
    }
}

/// A channel from its bytes.
pub(crate) fn channel_id(bytes: &[u8]) -> Result<ChannelId, Damaged> {
    bytes.try_into().map(ChannelId).map_err(|_| Damaged("channel"))
}
