//! Steps of the store and their outcomes.

use super::close_code::CloseCode;
use beckon_types::{
    Ack, AddChannel, AddChannelOutcome, Backlog, ChannelId, Claim, ClientId, Fetch, Hello, HelloOutcome,
    KeyId, NotOwner, Place, Presence, Sequence, Snapshot,
};

/// One atomic operation of the store; each variant is the method of the trait `Store` with the same name.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Claim a UAID.
    Hello(Hello),
    /// Register a channel.
    AddChannel(AddChannel),
    /// Unregister a channel.
    RemoveChannel(ClientId, Presence, ChannelId),
    /// Remove the versions that a SimplePush user agent has acknowledged.
    AckVersions(ClientId, Vec<Ack>),
    /// Remove the messages that a Web Push user agent has acknowledged.
    RemoveMessages(ClientId, Vec<Place>),
    /// Read the next stored messages and renew the record.
    Fetch(Fetch),
    /// Read all channels with their pending versions and renew the record.
    Snapshot(ClientId, Presence),
    /// Make sure that this socket still owns the UAID, and that the record does not expire.
    Verify(ClientId, Presence),
    /// Give up the UAID, or give it back to the socket that owned it before.
    Release(ClientId, Presence, Option<Presence>),
    /// Make another socket read again what is stored for its client.
    NoteMissed(Presence),
}

/// What the store answered to a [`Step`].
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// To [`Step::Hello`].
    Hello(HelloOutcome),
    /// To [`Step::AddChannel`]: the channel is registered.
    Registered {
        /// The key that seals the channel's token.
        key: KeyId,
        /// The last write to the client before this step.
        sequence: Sequence,
    },
    /// To [`Step::AddChannel`]: the client has as many channels as it may have.
    Full,
    /// To [`Step::Fetch`].
    Backlog(Backlog),
    /// To [`Step::Snapshot`].
    Snapshot(Snapshot),
    /// To [`Step::Verify`]: the socket owns the UAID.
    Verified {
        /// The last write to the client.
        last: Sequence,
        /// How many channels are registered, or more.
        channels: usize,
    },
    /// To any other step: it was performed.
    Done,
    /// To [`Step::Verify`]: no socket owns the UAID, so the user agent has to say hello again.
    ClaimLost,
    /// The step was refused, because this socket does not own the UAID.
    NotOwner,
    /// To [`Step::Verify`]: not now, because the store has enough to do.
    Postponed,
    /// The store failed. The step may have been performed.
    Failed,
}

impl Outcome {
    /// With which code to close a socket that does not own its UAID any more; `None` if the outcome does not say so.
    pub(crate) fn disowns(&self) -> Option<CloseCode> {
        if matches!(self, Self::NotOwner) {
            return Some(CloseCode::Normal);
        }
        matches!(self, Self::ClaimLost).then_some(CloseCode::Error)
    }
}

impl From<HelloOutcome> for Outcome {
    fn from(outcome: HelloOutcome) -> Self {
        Self::Hello(outcome)
    }
}

impl From<AddChannelOutcome> for Outcome {
    fn from(outcome: AddChannelOutcome) -> Self {
        match outcome {
            AddChannelOutcome::Registered { key, sequence } => Self::Registered { key, sequence },
            AddChannelOutcome::Full => Self::Full,
            AddChannelOutcome::NotOwner(NotOwner) => Self::NotOwner,
        }
    }
}

impl From<Backlog> for Outcome {
    fn from(backlog: Backlog) -> Self {
        Self::Backlog(backlog)
    }
}

impl From<Snapshot> for Outcome {
    fn from(snapshot: Snapshot) -> Self {
        Self::Snapshot(snapshot)
    }
}

impl From<Claim> for Outcome {
    fn from(claim: Claim) -> Self {
        match claim {
            Claim::Owned { last, channels } => Self::Verified { last, channels },
            Claim::Taken => Self::NotOwner,
            Claim::Lost => Self::ClaimLost,
            Claim::Postponed => Self::Postponed,
        }
    }
}

impl From<()> for Outcome {
    fn from((): ()) -> Self {
        Self::Done
    }
}

impl<T: Into<Self>> From<Result<T, NotOwner>> for Outcome {
    fn from(result: Result<T, NotOwner>) -> Self {
        result.map_or(Self::NotOwner, Into::into)
    }
}
