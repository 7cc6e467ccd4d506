//! Where a stored message is among all messages to one client.

use crate::{sequence::Sequence, topic::TopicTag};

/// The name of a message among all messages to one client, whatever the store forgets: drawn at random by the node that
/// accepts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Nonce(pub u64);

/// Identifies a message among all messages to one client: the position of its write, its nonce, and the topic under which
/// a later message replaces it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    /// The position of its write among all writes to the client's record.
    pub sequence: Sequence,
    /// Its nonce. A store that has lost its last writes may use a sequence again, and then this differs.
    pub nonce: Nonce,
    /// Its topic, if it has one.
    pub topic: Option<TopicTag>,
}

impl Place {
    /// Its position in a backlog: messages with a topic first, oldest first in each group (PROTOCOL.md section 4.9).
    pub fn position(self) -> Position {
        Position { without_topic: self.topic.is_none(), sequence: self.sequence }
    }
}

/// A position in a client's backlog. Later ones are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The group: messages with a topic come first.
    pub without_topic: bool,
    /// The order within the group.
    pub sequence: Sequence,
}
