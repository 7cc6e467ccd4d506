//! What is on its way from an application server to a socket.

use crate::{
    channel_id::ChannelId,
    message::{Message, Payload},
    version::Version,
};
use std::sync::Arc;

/// The position of a write among all writes to one client's record, given by the store. It only grows while
/// the record lives, so a receiver that keeps the highest one it has seen of a channel never sends an older
/// write after a newer one, whatever way the two took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Sequence(pub u64);

/// One SimplePush write, handed to the node that holds the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// The channel written to.
    pub channel: ChannelId,
    /// The version written.
    pub version: Version,
    /// The position of the write.
    pub sequence: Sequence,
    /// What the application server sent along; never stored, so lost unless this delivery succeeds. Not empty.
    pub data: Option<Arc<str>>,
}

/// What can be handed to the session of a connected client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notification {
    /// A SimplePush write.
    Update(Update),
    /// A Web Push message.
    Message(Message),
    /// Something was stored for this client and could not be handed over: look into the store.
    Missed,
}

impl Notification {
    /// Bytes that the application server has sent along.
    pub fn weight(&self) -> usize {
        match self {
            Self::Update(update) => update.data.as_deref().map_or(0, str::len),
            Self::Message(message) => message.payload.as_ref().map_or(0, Payload::weight),
            Self::Missed => 0,
        }
    }
}
