//! The ends of connections: by whom, and why.

use beckon_session::{CloseCode, Input, Outcome};
use beckon_types::HelloOutcome;
use prometheus_client::encoding::EncodeLabelSet;

/// What a session was told just before it closed its socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Because {
    /// A message, or what the store has made of a hello.
    Message,
    Timer,
    Evicted,
    NotOwner,
    ClaimLost,
    StoreFailed,
    Blocked,
    /// The store was read.
    Snapshot,
    /// Anything else; the close code says the rest.
    Other,
}

impl From<&Input<'_>> for Because {
    fn from(input: &Input<'_>) -> Self {
        match input {
            Input::Text(_) | Input::Binary(_) => Self::Message,
            Input::Timer => Self::Timer,
            Input::Evicted => Self::Evicted,
            Input::Store(Outcome::NotOwner) => Self::NotOwner,
            Input::Store(Outcome::ClaimLost) => Self::ClaimLost,
            Input::Store(Outcome::Failed) => Self::StoreFailed,
            Input::Store(Outcome::Hello(HelloOutcome::Blocked)) => Self::Blocked,
            Input::Store(Outcome::Hello(_)) => Self::Message,
            Input::Store(Outcome::Snapshot(_)) => Self::Snapshot,
            Input::Store(_)
            | Input::Control
            | Input::Notification { .. }
            | Input::Broadcasts
            | Input::Drain
            | Input::Verify
            | Input::Broken(_)
            | Input::Disconnected => Self::Other,
        }
    }
}

/// How the end of a connection began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The server has sent a Close frame.
    Closed(Because, CloseCode),
    /// The peer took nothing for too long.
    Stalled,
    /// It held the most when the node held too much for its peers.
    Overdrawn,
    /// The peer has sent a Close frame.
    ByPeer,
    /// The stream has ended without a Close frame.
    Lost,
}

/// By whom a connection was ended, and why.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct EndLabels {
    by: &'static str,
    reason: &'static str,
}

impl EndLabels {
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let reasons = [
            "keepalive",
            "draining",
            "replaced",
            "hello_timeout",
            "refused",
            "redirected",
            "store",
            "blocked",
            "claim_lost",
            "registration_lost",
            "not_admitted",
            "internal",
            "malformed",
            "protocol",
            "slow_message",
            "too_big",
            "too_many_pings",
            "stalled",
            "overdrawn",
        ];
        let by_others = [Self { by: "peer", reason: "closed" }, Self { by: "network", reason: "lost" }];
        by_others.into_iter().chain(reasons.map(|reason| Self { by: "server", reason }))
    }
}

impl From<End> for EndLabels {
    fn from(end: End) -> Self {
        let reason = match end {
            End::ByPeer => return Self { by: "peer", reason: "closed" },
            End::Lost => return Self { by: "network", reason: "lost" },
            End::Stalled => "stalled",
            End::Overdrawn => "overdrawn",
            End::Closed(because, code) => reason(because, code),
        };
        Self { by: "server", reason }
    }
}

fn reason(because: Because, code: CloseCode) -> &'static str {
    match (because, code) {
        (_, CloseCode::GoingAway) => "draining",
        (_, CloseCode::Protocol) => "protocol",
        (_, CloseCode::Unsupported | CloseCode::Invalid) => "malformed",
        (_, CloseCode::TooBig) => "too_big",
        (_, CloseCode::TooManyPings) => "too_many_pings",
        (Because::Evicted | Because::NotOwner, _) => "replaced",
        (Because::ClaimLost, _) => "claim_lost",
        (Because::StoreFailed, _) => "store",
        (Because::Blocked, _) => "blocked",
        (Because::Timer, CloseCode::Error) => "keepalive",
        (Because::Timer, _) => "hello_timeout",
        (_, CloseCode::Normal) => "redirected",
        (Because::Message, CloseCode::Error) => "not_admitted",
        (Because::Snapshot, CloseCode::Error) => "registration_lost",
        (Because::Other, CloseCode::Error) => "internal",
        (Because::Message, CloseCode::Policy) => "refused",
        (Because::Snapshot | Because::Other, CloseCode::Policy) => "slow_message",
    }
}
