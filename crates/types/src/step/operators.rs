//! The steps of operators on one client.

use crate::{client_id::ClientId, presence::Presence, step::records::ClientRecord};

/// What an operator sees of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FoundClient {
    /// It is not stored.
    Unknown,
    /// An operator has blocked it.
    Blocked,
    /// It is stored.
    Stored {
        /// Everything that is stored for it.
        record: Box<ClientRecord>,
        /// The socket that owns it, if there is one. Its node may be dead.
        presence: Option<Presence>,
    },
}

/// What an operator takes from a client, or gives back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revoke {
    /// Everything that is stored for it.
    Forget(ClientId),
    /// The same, and it cannot say hello any more.
    Block(ClientId),
    /// Lets it say hello again, as a new client.
    Unblock(ClientId),
}

/// What became of a [`Revoke`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revoked {
    /// Whether there was something to do: a client to forget or to block, or one that was blocked.
    pub changed: bool,
    /// The socket that owned the client. It has to be closed.
    pub former: Option<Presence>,
}
