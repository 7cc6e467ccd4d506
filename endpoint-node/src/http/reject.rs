//! The one map from what is wrong with a request to an answer.

use super::{
    JSON,
    authorization::NoCredential,
    body::BodyError,
    encryption::InvalidEncryption,
    message_headers::InvalidTtl,
    parameters::Unusable,
    simplepush::{self, ALLOW_VALUE},
};
use crate::{
    delivery::{Refused, Unaccepted},
    vapid::InvalidVapid,
};
use serde::Serialize;
use std::borrow::Cow;
use warp::{
    http::{
        HeaderValue, StatusCode,
        header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
    },
    reply::Response,
};

/// Seconds after which a request that the store did not take is worth repeating.
const RETRY_AFTER_STORAGE: HeaderValue = HeaderValue::from_static("120");

/// Seconds after which a client may have acknowledged some of too many messages.
const RETRY_AFTER_FULL: HeaderValue = HeaderValue::from_static("3600");

/// For how long an application server may take an endpoint for gone without asking again.
const GONE: HeaderValue = HeaderValue::from_static("max-age=86400");

/// How an application server can say who it is.
const CHALLENGE: HeaderValue = HeaderValue::from_static("vapid");

/// Why a SimplePush request is not accepted: the rows of PROTOCOL.md section 3, in their order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// Row 2.
    Method,
    /// Row 3, and bodies that do not arrive.
    Body(BodyError),
    /// Rows 4 and 5.
    Parameters(Unusable),
    /// Rows 6, 7 and 8.
    Delivery(Refused),
}

/// Why a message is not accepted, the rows of PROTOCOL.md section 5.2 in their order, or why one is not cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MessageRejection {
    /// Row 1.
    Method,
    /// Rows 2 and 3.
    Endpoint,
    /// Row 4: nobody says who sends this.
    Credential(NoCredential),
    /// Row 4: nobody's word can be taken for it.
    Vapid(InvalidVapid),
    /// Row 4: it is another one than the endpoint is for.
    ForeignKey,
    /// Row 5.
    UaidGone,
    /// Row 6.
    ChannelGone,
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
    /// The client has as many stored messages as it may have (section 4.9).
    Full,
    /// Row 12.
    Storage,
    /// The id of the message to cancel is none of ours (section 5.6).
    MessageId,
}

impl From<Unaccepted> for MessageRejection {
    fn from(unaccepted: Unaccepted) -> Self {
        match unaccepted {
            Unaccepted::UaidGone => Self::UaidGone,
            Unaccepted::ChannelGone => Self::ChannelGone,
            Unaccepted::Full => Self::Full,
            Unaccepted::Storage(_) => Self::Storage,
        }
    }
}

/// The answer to a SimplePush request that is not accepted. `data_len_max` is what the operator allows.
pub(crate) fn simplepush(rejection: &Rejection, data_len_max: usize) -> Response {
    let (status, text) = status_and_text(rejection, data_len_max);
    // None of the texts has a character that JSON escapes.
    let mut response = simplepush::answer(status, format!("\"{text}\""));
    match rejection {
        Rejection::Method => {
            response.headers_mut().insert(ALLOW, ALLOW_VALUE);
        }
        Rejection::Delivery(Refused::Storage(_)) => {
            response.headers_mut().insert(RETRY_AFTER, RETRY_AFTER_STORAGE);
        }
        Rejection::Body(_)
        | Rejection::Parameters(_)
        | Rejection::Delivery(Refused::InvalidToken | Refused::Gone) => {}
    }
    response
}

fn status_and_text(rejection: &Rejection, data_len_max: usize) -> (StatusCode, Cow<'static, str>) {
    match rejection {
        Rejection::Method => (StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed".into()),
        Rejection::Body(BodyError::TooLarge) | Rejection::Parameters(Unusable::DataTooLong) => {
            (StatusCode::PAYLOAD_TOO_LARGE, format!("Data exceeds max length of {data_len_max} bytes").into())
        }
        Rejection::Body(BodyError::TooSlow) => (StatusCode::REQUEST_TIMEOUT, "Request Timeout".into()),
        Rejection::Body(BodyError::Broken) => (StatusCode::BAD_REQUEST, "Bad Request".into()),
        Rejection::Parameters(Unusable::Invalid) => (StatusCode::BAD_REQUEST, "Invalid Version".into()),
        Rejection::Delivery(Refused::InvalidToken) => (StatusCode::NOT_FOUND, "Invalid Token".into()),
        Rejection::Delivery(Refused::Gone) => (StatusCode::GONE, "Channel Not Registered".into()),
        Rejection::Delivery(Refused::Storage(_)) => {
            (StatusCode::SERVICE_UNAVAILABLE, "Could not update channel version".into())
        }
    }
}

/// The answer to a message that is not accepted, or not cancelled. `allow` are the methods of the path.
pub(crate) fn message(rejection: &MessageRejection, allow: HeaderValue) -> Response {
    let (status, errno) = status_and_errno(rejection);
    let mut response = error(status, errno, &text(rejection));
    let header = match rejection {
        MessageRejection::Method => Some((ALLOW, allow)),
        MessageRejection::Credential(_) | MessageRejection::Vapid(_) | MessageRejection::ForeignKey => {
            Some((WWW_AUTHENTICATE, CHALLENGE))
        }
        MessageRejection::UaidGone | MessageRejection::ChannelGone => Some((CACHE_CONTROL, GONE)),
        MessageRejection::Full => Some((RETRY_AFTER, RETRY_AFTER_FULL)),
        MessageRejection::Storage => Some((RETRY_AFTER, RETRY_AFTER_STORAGE)),
        MessageRejection::Endpoint
        | MessageRejection::Body(_)
        | MessageRejection::Ttl(_)
        | MessageRejection::Topic
        | MessageRejection::Urgency
        | MessageRejection::Encryption(_)
        | MessageRejection::MessageId => None,
    };
    if let Some((name, value)) = header {
        response.headers_mut().insert(name, value);
    }
    response
}

/// The numbers of PROTOCOL.md section 5.8.
fn status_and_errno(rejection: &MessageRejection) -> (StatusCode, Option<u16>) {
    match rejection {
        MessageRejection::Method => (StatusCode::METHOD_NOT_ALLOWED, None),
        MessageRejection::Endpoint => (StatusCode::NOT_FOUND, Some(102)),
        MessageRejection::Credential(_) | MessageRejection::Vapid(_) | MessageRejection::ForeignKey => {
            (StatusCode::UNAUTHORIZED, Some(109))
        }
        MessageRejection::UaidGone => (StatusCode::GONE, Some(103)),
        MessageRejection::ChannelGone => (StatusCode::GONE, Some(106)),
        MessageRejection::Body(BodyError::TooLarge) => (StatusCode::PAYLOAD_TOO_LARGE, Some(104)),
        MessageRejection::Body(BodyError::TooSlow) => (StatusCode::REQUEST_TIMEOUT, None),
        MessageRejection::Body(BodyError::Broken) => (StatusCode::BAD_REQUEST, None),
        MessageRejection::Ttl(InvalidTtl::Missing) => (StatusCode::BAD_REQUEST, Some(111)),
        MessageRejection::Ttl(InvalidTtl::NotANumber) => (StatusCode::BAD_REQUEST, Some(112)),
        MessageRejection::Ttl(InvalidTtl::Negative) => (StatusCode::BAD_REQUEST, Some(114)),
        MessageRejection::Topic => (StatusCode::BAD_REQUEST, Some(113)),
        MessageRejection::Urgency => (StatusCode::BAD_REQUEST, None),
        MessageRejection::Encryption(_) => (StatusCode::BAD_REQUEST, Some(110)),
        MessageRejection::Full => (StatusCode::TOO_MANY_REQUESTS, None),
        MessageRejection::Storage => (StatusCode::SERVICE_UNAVAILABLE, Some(201)),
        MessageRejection::MessageId => (StatusCode::BAD_REQUEST, None),
    }
}

/// What a developer reads.
fn text(rejection: &MessageRejection) -> Cow<'static, str> {
    match rejection {
        MessageRejection::Method => "This URL does not take requests with this method".into(),
        MessageRejection::Endpoint => "There is no such endpoint".into(),
        MessageRejection::Credential(error) => error.to_string().into(),
        MessageRejection::Vapid(error) => error.to_string().into(),
        MessageRejection::ForeignKey => "The endpoint is restricted to another VAPID key".into(),
        MessageRejection::UaidGone => "The user agent is gone".into(),
        MessageRejection::ChannelGone => "The subscription is not registered, or not any more".into(),
        MessageRejection::Body(BodyError::TooLarge) => "The body is too large".into(),
        MessageRejection::Body(BodyError::TooSlow) => "The body did not arrive in time".into(),
        MessageRejection::Body(BodyError::Broken) => "The body is not complete".into(),
        MessageRejection::Ttl(InvalidTtl::Missing) => "The TTL header is missing".into(),
        MessageRejection::Ttl(InvalidTtl::NotANumber) => "The TTL is not a number of seconds".into(),
        MessageRejection::Ttl(InvalidTtl::Negative) => "The TTL is negative".into(),
        MessageRejection::Topic => "The topic is not 1 to 32 characters of base64url".into(),
        MessageRejection::Urgency => "The urgency is given more than once".into(),
        MessageRejection::Encryption(error) => error.to_string().into(),
        MessageRejection::Full => "Too many messages wait for the user agent".into(),
        MessageRejection::Storage => "The message store cannot be reached".into(),
        MessageRejection::MessageId => "This is not the id of a message".into(),
    }
}

/// The error body of PROTOCOL.md section 5.8.
#[derive(Debug, Serialize)]
struct ErrorBody<'a> {
    code: u16,
    errno: Option<u16>,
    error: &'a str,
    message: &'a str,
    more_info: &'a str,
}

/// The answer to a path that there is not.
pub(crate) fn unknown_path() -> Response {
    error(StatusCode::NOT_FOUND, None, "There is nothing at this path")
}

fn error(status: StatusCode, errno: Option<u16>, message: &str) -> Response {
    let body = ErrorBody {
        code: status.as_u16(),
        errno,
        error: status.canonical_reason().unwrap_or_default(),
        message,
        more_info: beckon_types::ERRORS_PAGE,
    };
    // A struct of strings and numbers always has a JSON form.
    let mut response = Response::new(serde_json::to_vec(&body).unwrap_or_default().into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}
