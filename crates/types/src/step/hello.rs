//! The step with which a socket claims a UAID.

use super::{channels::Snapshot, messages::Backlog};
use crate::{channel_id::ChannelId, dialect::Dialect, presence::Presence, uaid::Uaid};

/// Look a UAID up, verify the listed channels, claim presence, and read what is pending: one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The UAID that the user agent sent, or that the server generated.
    pub uaid: Uaid,
    /// The socket that says hello.
    pub presence: Presence,
    /// The dialect that the hello itself names (rows 1 and 2 of PROTOCOL.md section 1.9).
    pub named: Option<Dialect>,
    /// The dialect if the hello names none and nothing is stored (rows 4 and 5).
    pub otherwise: Dialect,
    /// The channels that a SimplePush user agent lists; `None` if it sent no list.
    pub listed: Option<Listed>,
    /// Whether an unknown UAID is taken as it is: always in SimplePush with an empty list, in Web Push only
    /// for a UAID that the server generated.
    pub adopt: bool,
    /// Whether this node has room for a SimplePush user agent.
    pub room: bool,
    /// Web Push: how many stored messages the outcome may bring.
    pub backlog_max: usize,
}

/// The list of channels in a SimplePush hello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    /// These, all in UUID syntax and not more than a user agent may have. May be empty.
    Channels(Vec<ChannelId>),
    /// The list has an entry that cannot be registered, so not all of it can be.
    Impossible,
}

/// What came of a [`Hello`]. Whenever the outcome is not [`HelloOutcome::Claimed`] or
/// [`HelloOutcome::Deleted`], nothing has changed in the store.
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
    /// The UAID is unknown, or it is stored for the other dialect: the user agent needs a new one.
    Unknown {
        /// The dialect to go on in.
        dialect: Dialect,
    },
    /// SimplePush: a listed channel is not registered, so the UAID was deleted with all its channels. The user
    /// agent needs a new one.
    Deleted {
        /// The socket that owned the deleted UAID. It has to be closed.
        former: Option<Presence>,
    },
    /// SimplePush, but the hello has no list of channels: its sender is to blame.
    ListMissing,
    /// SimplePush, and [`Hello::room`] was false.
    NoRoom,
}
