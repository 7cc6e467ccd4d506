//! The step with which a socket claims a UAID.

use super::{channels::Snapshot, messages::Backlog};
use crate::{channel_id::ChannelId, client_id::ClientId, dialect::Dialect, presence::Presence};

/// Looks a UAID up, verifies the listed channels, claims presence, and reads what is pending, in one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The UAID that the user agent sent, or that the server generated.
    pub client: ClientId,
    /// The socket that says hello.
    pub presence: Presence,
    /// The dialect that the hello itself names (rows 1 and 2 of PROTOCOL.md section 1.9).
    pub named: Option<Dialect>,
    /// The dialect if the hello names none and nothing is stored (rows 4 and 5).
    pub otherwise: Dialect,
    /// The channels that a SimplePush user agent lists; `None` if it sent no list.
    pub listed: Option<Listed>,
    /// Whether an unknown UAID is adopted: in SimplePush always if the list is empty, in Web Push only if the server
    /// generated the UAID.
    pub adopt: bool,
    /// Whether this node has room for a SimplePush user agent.
    pub room: bool,
    /// Web Push: most stored messages in the outcome.
    pub backlog_max: usize,
}

/// The list of channels in a SimplePush hello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    /// All entries are channelIDs, and there are no more than a user agent may have. May be empty.
    Channels(Vec<ChannelId>),
    /// An entry is not a channelID, or there are too many: a user agent cannot have registered all of them.
    Impossible,
}

/// The outcome of a [`Hello`]. Only [`HelloOutcome::Claimed`] and [`HelloOutcome::Deleted`] change the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HelloOutcome {
    /// The socket owns the UAID.
    Claimed {
        /// The dialect of the UAID.
        dialect: Dialect,
        /// The socket that owned the UAID before, if it was not released. It has to be closed.
        former: Option<Presence>,
        /// The UAID's channels and, in SimplePush, what is pending on them.
        snapshot: Snapshot,
        /// Web Push: the first of the stored messages. Empty in SimplePush.
        backlog: Backlog,
    },
    /// The UAID is unknown, or stored for the other dialect. The user agent needs a new one.
    Unknown {
        /// The dialect of the conversation from here on.
        dialect: Dialect,
    },
    /// SimplePush: a listed channel is not registered, so the UAID was deleted with all its channels. The user agent
    /// needs a new one.
    Deleted {
        /// The socket that owned the deleted UAID. It has to be closed.
        former: Option<Presence>,
    },
    /// SimplePush, but the hello has no list of channels: the user agent is at fault.
    ListMissing,
    /// SimplePush, and [`Hello::room`] was false.
    NoRoom,
    /// An operator has blocked the client.
    Blocked,
}
