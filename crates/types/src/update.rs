//! A SimplePush write on its way to a socket.

use crate::{channel_id::ChannelId, sequence::Sequence, version::Version};
use std::sync::Arc;

/// One SimplePush write, handed to the node that holds the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// The channel written to.
    pub channel: ChannelId,
    /// The version written.
    pub version: Version,
    /// The position of the write.
    pub sequence: Sequence,
    /// What the application server sent along, not empty. It is never stored: if this delivery fails, it is lost.
    pub data: Option<Arc<str>>,
}
