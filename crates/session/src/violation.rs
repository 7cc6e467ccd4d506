//! What a user agent did wrong, or what the server could not do, and the error reply for it (PROTOCOL.md
//! section 1.6).

/// What a user agent did wrong. The error reply is followed by a close with 1008.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Violation {
    /// `messageType` is missing, not a string, or none of those of the dialect.
    UnknownType,
    /// A command that needs a UAID came before hello.
    BeforeHello,
    /// A required member is missing, or a member has the wrong type or is not in UUID syntax.
    IllFormed,
    /// A ping came too soon after the one before.
    PingTooEarly,
    /// Web Push: a hello after the first.
    SecondHello,
    /// SimplePush: a second hello has another UAID.
    AnotherUaid,
    /// The UAID is not in UUID syntax, and the setting `invalid_uaid` refuses that.
    MalformedUaid,
}

impl Violation {
    /// Members `status` and `error` of the reply.
    pub(crate) fn reply(self) -> (u16, &'static str) {
        match self {
            Self::UnknownType
            | Self::BeforeHello
            | Self::IllFormed
            | Self::PingTooEarly
            | Self::SecondHello => (401, "Invalid Command"),
            Self::AnotherUaid => (503, "UAID Already Assigned"),
            Self::MalformedUaid => (503, "Invalid UAID"),
        }
    }
}

/// Members `status` and `error` of the reply to a request that the server could not perform. The socket stays
/// open.
pub(crate) const INTERNAL_ERROR: (u16, &str) = (500, "Internal Error");

/// Members `status` and `error` of the reply to a Web Push register with an unusable key. The socket stays open.
pub(crate) const INVALID_KEY: (u16, &str) = (400, "Invalid Key");
