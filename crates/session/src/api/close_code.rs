//! Why a socket is closed.

/// Why a socket is closed, as RFC 6455 section 7.4 and PROTOCOL.md section 1.7 number it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseCode {
    /// 1000: replaced by a newer connection of the same UAID, or sent to another node.
    Normal,
    /// 1001: the node is shutting down.
    GoingAway,
    /// 1002: the peer broke the WebSocket protocol.
    Protocol,
    /// 1003: a binary message in Web Push.
    Unsupported,
    /// 1007: a message is not UTF-8, not JSON, or not an object.
    Invalid,
    /// 1008: after an error reply that ends the conversation, and after the hello timeout.
    Policy,
    /// 1009: a message is too large.
    TooBig,
    /// 1011: internal failure, keep-alive timeout, or a failure of the store during hello.
    Error,
    /// 4774, Web Push only: pings are too frequent.
    TooManyPings,
}

impl CloseCode {
    /// The number on the wire.
    pub fn number(self) -> u16 {
        match self {
            Self::Normal => 1000,
            Self::GoingAway => 1001,
            Self::Protocol => 1002,
            Self::Unsupported => 1003,
            Self::Invalid => 1007,
            Self::Policy => 1008,
            Self::TooBig => 1009,
            Self::Error => 1011,
            Self::TooManyPings => 4774,
        }
    }
}
