//! The one map from what is wrong with a request to an answer, as data: `answer` makes the answer of it.

use super::{
    authorization::NoCredential, encryption::InvalidEncryption, message_headers::InvalidTtl,
    parameters::Unusable, rates::TooOften,
};
use crate::{
    dispatch::{MessageRefused, StoreFailed, VersionRefused},
    vapid::InvalidVapid,
};
use beckon_listener::{body::BodyError, gate::seconds};
use std::borrow::Cow;
use warp::http::{
    HeaderName, HeaderValue, StatusCode,
    header::{ALLOW, CACHE_CONTROL, RETRY_AFTER, WWW_AUTHENTICATE},
};

/// `Retry-After`, in seconds, when the store failed.
const RETRY_AFTER_STORAGE: HeaderValue = HeaderValue::from_static("120");

/// `Retry-After`, in seconds, when a client has too many stored messages.
const RETRY_AFTER_FULL: HeaderValue = HeaderValue::from_static("3600");

/// How long a 410 may be cached.
const GONE: HeaderValue = HeaderValue::from_static("max-age=86400");

/// How an application server can identify itself.
const CHALLENGE: HeaderValue = HeaderValue::from_static("vapid");

/// What a refused request is answered with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    /// The number of PROTOCOL.md section 5.8, if there is one. SimplePush has none.
    pub(crate) errno: Option<u16>,
    /// For the developer of the application server.
    pub(crate) text: Cow<'static, str>,
    /// What goes with this status.
    pub(crate) header: Option<(HeaderName, HeaderValue)>,
}

/// Why a SimplePush request is not accepted: the rows of PROTOCOL.md section 3, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VersionRejection {
    /// Row 2.
    Method,
    /// Row 3, and bodies that do not arrive.
    Body(BodyError),
    /// Rows 4 and 5.
    Parameters(Unusable),
    /// Row 6.
    Token,
    /// Too many notifications to the channel (section 5.7).
    TooOften(TooOften),
    /// Rows 7 and 8.
    Refused(VersionRefused),
}

/// Why a message is not accepted: the rows of PROTOCOL.md section 5.2, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MessageRejection {
    /// Row 1.
    Method,
    /// Rows 2 and 3.
    Endpoint,
    /// Row 4: there is no credential to verify.
    Credential(NoCredential),
    /// Row 4: the credential is not valid.
    Vapid(InvalidVapid),
    /// Too many messages to the channel, or of the application server (section 5.7).
    TooOften(TooOften),
    /// Row 4: the credential is valid, and of another key than the endpoint's.
    ForeignKey,
    /// Rows 5, 6 and 12, and the limit of section 4.9.
    Refused(MessageRefused),
    /// The store is so full that it takes no messages of this urgency (section 4.9).
    NoRoom,
    /// Row 7, and bodies that do not arrive.
    Body(BodyError),
    /// Row 8.
    Ttl(InvalidTtl),
    /// Row 9.
    Topic,
    /// Row 10.
    Urgency,
    /// Row 11.
    Encryption(InvalidEncryption),
}

/// Why a message is not cancelled (PROTOCOL.md section 5.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CancelRejection {
    /// Only DELETE cancels.
    Method,
    /// This cluster did not make the id.
    MessageId,
    /// The store failed.
    Storage,
}

impl From<StoreFailed> for CancelRejection {
    fn from(StoreFailed: StoreFailed) -> Self {
        Self::Storage
    }
}

impl Refusal {
    /// A path that does not exist.
    pub(crate) fn unknown_path() -> Self {
        Self::new(StatusCode::NOT_FOUND, None, "There is nothing at this path")
    }

    fn new(status: StatusCode, errno: Option<u16>, text: impl Into<Cow<'static, str>>) -> Self {
        Self { status, errno, text: text.into(), header: None }
    }

    fn with(self, name: HeaderName, value: HeaderValue) -> Self {
        Self { header: Some((name, value)), ..self }
    }

    /// A method that the path does not take; `allow` are those that it takes.
    fn method(text: &'static str, allow: HeaderValue) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, None, text).with(ALLOW, allow)
    }

    /// A store that failed.
    fn storage(errno: Option<u16>, text: &'static str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, errno, text).with(RETRY_AFTER, RETRY_AFTER_STORAGE)
    }
}

const MESSAGE_METHOD: &str = "This URL does not take requests with this method";
const MESSAGE_STORAGE: &str = "The message store cannot be reached";

impl VersionRejection {
    /// The answer. `data_len_max` is what the operator allows; `allow` are the methods of the path.
    pub(crate) fn refusal(self, data_len_max: usize, allow: HeaderValue) -> Refusal {
        let refuse = |status, text: &'static str| Refusal::new(status, None, text);
        match self {
            Self::Method => Refusal::method("Method Not Allowed", allow),
            Self::Body(BodyError::TooLarge) | Self::Parameters(Unusable::DataTooLong) => {
                let text = format!("Data exceeds max length of {data_len_max} bytes");
                Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, None, text)
            }
            Self::Body(BodyError::TooSlow) => refuse(StatusCode::REQUEST_TIMEOUT, "Request Timeout"),
            Self::Body(BodyError::Broken) => refuse(StatusCode::BAD_REQUEST, "Bad Request"),
            Self::Parameters(Unusable::Invalid) => refuse(StatusCode::BAD_REQUEST, "Invalid Version"),
            Self::TooOften(TooOften(wait)) => {
                refuse(StatusCode::TOO_MANY_REQUESTS, "Too Many Requests").with(RETRY_AFTER, seconds(wait))
            }
            Self::Token => refuse(StatusCode::NOT_FOUND, "Invalid Token"),
            Self::Refused(VersionRefused::Gone) => refuse(StatusCode::GONE, "Channel Not Registered"),
            Self::Refused(VersionRefused::Storage) => {
                Refusal::storage(None, "Could not update channel version")
            }
        }
    }
}

impl MessageRejection {
    /// The answer, with the numbers of PROTOCOL.md section 5.8. `allow` are the methods of the path.
    pub(crate) fn refusal(self, allow: HeaderValue) -> Refusal {
        let bad = |errno, text: &'static str| Refusal::new(StatusCode::BAD_REQUEST, errno, text);
        let unauthorized = |text: Cow<'static, str>| {
            Refusal::new(StatusCode::UNAUTHORIZED, Some(109), text).with(WWW_AUTHENTICATE, CHALLENGE)
        };
        let gone = |errno, text: &'static str| {
            Refusal::new(StatusCode::GONE, Some(errno), text).with(CACHE_CONTROL, GONE)
        };
        match self {
            Self::Method => Refusal::method(MESSAGE_METHOD, allow),
            Self::Endpoint => Refusal::new(StatusCode::NOT_FOUND, Some(102), "There is no such endpoint"),
            Self::Credential(error) => unauthorized(error.to_string().into()),
            Self::Vapid(error) => unauthorized(error.to_string().into()),
            Self::TooOften(TooOften(wait)) => {
                let text = "Too many messages in a short time";
                Refusal::new(StatusCode::TOO_MANY_REQUESTS, None, text).with(RETRY_AFTER, seconds(wait))
            }
            Self::ForeignKey => unauthorized("The endpoint is restricted to another VAPID key".into()),
            Self::Refused(MessageRefused::UaidGone) => gone(103, "The user agent is gone"),
            Self::Refused(MessageRefused::ChannelGone) => {
                gone(106, "The subscription is not registered, or no longer")
            }
            Self::Refused(MessageRefused::Full) => {
                let text = "Too many messages are stored for the user agent";
                Refusal::new(StatusCode::TOO_MANY_REQUESTS, None, text).with(RETRY_AFTER, RETRY_AFTER_FULL)
            }
            Self::Refused(MessageRefused::Storage) => Refusal::storage(Some(201), MESSAGE_STORAGE),
            Self::NoRoom => {
                Refusal::storage(Some(201), "The message store is too full for messages of this urgency")
            }
            Self::Body(BodyError::TooLarge) => {
                Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, Some(104), "The body is too large")
            }
            Self::Body(BodyError::TooSlow) => {
                Refusal::new(StatusCode::REQUEST_TIMEOUT, None, "The body did not arrive in time")
            }
            Self::Body(BodyError::Broken) => bad(None, "The body is not complete"),
            Self::Ttl(InvalidTtl::Missing) => bad(Some(111), "The TTL header is missing"),
            Self::Ttl(InvalidTtl::NotANumber) => bad(Some(112), "The TTL is not a number of seconds"),
            Self::Ttl(InvalidTtl::Negative) => bad(Some(114), "The TTL is negative"),
            Self::Topic => bad(Some(113), "The topic is not 1 to 32 characters of base64url"),
            Self::Urgency => bad(None, "The urgency is given more than once"),
            Self::Encryption(error) => Refusal::new(StatusCode::BAD_REQUEST, Some(110), error.to_string()),
        }
    }
}

impl CancelRejection {
    /// The answer. `allow` are the methods of the path.
    pub(crate) fn refusal(self, allow: HeaderValue) -> Refusal {
        match self {
            Self::Method => Refusal::method(MESSAGE_METHOD, allow),
            Self::MessageId => Refusal::new(StatusCode::BAD_REQUEST, None, "This is not the id of a message"),
            Self::Storage => Refusal::storage(Some(201), MESSAGE_STORAGE),
        }
    }
}
