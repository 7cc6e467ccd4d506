//! Fields that have no value in the domain, and the one that several messages share.

use beckon_types::{ChannelId, TOPIC_TAG_LEN};
use bytes::Bytes;

/// A message from another node has a field that has no value in the domain. The sender is faulty or newer than this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// `Update.channel_id` or `Message.channel_id` is not 16 bytes.
    #[error("channel_id has {0} bytes instead of 16")]
    ChannelId(usize),
    /// `Update.version` is above 2^63-1.
    #[error("version {0} is above 9223372036854775807")]
    Version(u64),
    /// `Parcel.notification` is absent, or of a kind that this node does not know.
    #[error("notification is absent or of an unknown kind")]
    Notification,
    /// `Message.topic` is not 12 bytes.
    #[error("topic has {0} bytes instead of {TOPIC_TAG_LEN}")]
    Topic(usize),
    /// `Message.key` is above 255.
    #[error("key {0} is above 255")]
    Key(u32),
    /// `Message.urgency` is unspecified, or one that this node does not know.
    #[error("urgency {0} is unknown")]
    Urgency(i32),
    /// `Payload.body` is empty: without a body there is no payload.
    #[error("the payload has no body")]
    Body,
    /// `Payload.encoding` is absent, or of a kind that this node does not know.
    #[error("encoding is absent or of an unknown kind")]
    Encoding,
    /// `Receipt.outcome` is unspecified, or one that this node does not know.
    #[error("outcome {0} is unknown")]
    Outcome(i32),
}

/// Reads a `channel_id`.
pub(super) fn channel(bytes: &Bytes) -> Result<ChannelId, Malformed> {
    let channel = <[u8; 16]>::try_from(bytes.as_ref()).map_err(|_| Malformed::ChannelId(bytes.len()))?;
    Ok(ChannelId(channel))
}
