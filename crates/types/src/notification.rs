//! What can be handed to the session of a connected client.

use crate::{message::Message, payload::Payload, sequence::Sequence, update::Update};

/// What can be handed to the session of a connected client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notification {
    /// A SimplePush write.
    Update(Update),
    /// A Web Push message.
    Message(Message),
    /// Something was stored for this client and could not be handed over: the session re-reads the store.
    Missed,
}

impl Notification {
    /// The position of the write that it tells of, if it tells of one.
    pub fn sequence(&self) -> Option<Sequence> {
        match self {
            Self::Update(update) => Some(update.sequence),
            Self::Message(message) => Some(message.place.sequence),
            Self::Missed => None,
        }
    }

    /// The number of bytes in it that came from the application server.
    pub fn weight(&self) -> usize {
        match self {
            Self::Update(update) => update.data.as_deref().map_or(0, str::len),
            Self::Message(message) => message.draft.payload.as_ref().map_or(0, Payload::weight),
            Self::Missed => 0,
        }
    }
}
