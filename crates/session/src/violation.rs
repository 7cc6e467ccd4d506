//! What a user agent did wrong, and what the server could not do, with the consequences of each (PROTOCOL.md sections
//! 1.6 and 1.7).

use crate::api::CloseCode;

/// Members `status` and `error` of an error reply.
pub(crate) type Error = (u16, &'static str);

/// The error of a request that the server could not perform. The socket stays open.
pub(crate) const INTERNAL_ERROR: Error = (500, "Internal Error");

/// The error of a Web Push register with an unusable key. The socket stays open.
pub(crate) const INVALID_KEY: Error = (400, "Invalid Key");

/// What a user agent did wrong. The socket is closed, most often after an error reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Violation {
    /// A message is not UTF-8, not JSON, or not an object.
    NotAnObject,
    /// Web Push: a binary message.
    BinaryMessage,
    /// `messageType` is missing, not a string, or not a type of the dialect.
    UnknownType,
    /// A request that needs a UAID came before hello.
    BeforeHello,
    /// A required member is missing, or a member has the wrong type or is not in UUID syntax.
    IllFormed,
    /// The same in a first hello that names Web Push or no dialect.
    IllFormedHello,
    /// Web Push: a hello after the first.
    SecondHello,
    /// Before hello and in SimplePush: a ping came too soon after the last one.
    EarlyPing,
    /// Web Push: a ping came too soon after the last one.
    EarlyPingWebPush,
    /// SimplePush: a later hello has another UAID.
    AnotherUaid,
    /// The UAID is not in UUID syntax, and the setting `invalid_uaid` refuses that.
    MalformedUaid,
}

impl Violation {
    /// The error of the reply; `None` if there is no reply.
    pub(crate) fn error(self) -> Option<Error> {
        match self {
            Self::NotAnObject | Self::BinaryMessage | Self::EarlyPingWebPush => None,
            Self::UnknownType
            | Self::BeforeHello
            | Self::IllFormed
            | Self::IllFormedHello
            | Self::SecondHello
            | Self::EarlyPing => Some((401, "Invalid Command")),
            Self::AnotherUaid => Some((503, "UAID Already Assigned")),
            Self::MalformedUaid => Some((503, "Invalid UAID")),
        }
    }

    /// Members of the request that the reply does not repeat. Firefox takes any reply to a hello that has a `uaid` for a
    /// success.
    pub(crate) fn omitted_members(self) -> &'static [&'static str] {
        match self {
            Self::IllFormedHello | Self::SecondHello => &["uaid"],
            Self::NotAnObject
            | Self::BinaryMessage
            | Self::UnknownType
            | Self::BeforeHello
            | Self::IllFormed
            | Self::EarlyPing
            | Self::EarlyPingWebPush
            | Self::AnotherUaid
            | Self::MalformedUaid => &[],
        }
    }

    /// The code that the socket is closed with.
    pub(crate) fn close_code(self) -> CloseCode {
        match self {
            Self::NotAnObject => CloseCode::Invalid,
            Self::BinaryMessage => CloseCode::Unsupported,
            Self::EarlyPingWebPush => CloseCode::TooManyPings,
            Self::UnknownType
            | Self::BeforeHello
            | Self::IllFormed
            | Self::IllFormedHello
            | Self::SecondHello
            | Self::EarlyPing
            | Self::AnotherUaid
            | Self::MalformedUaid => CloseCode::Policy,
        }
    }
}
