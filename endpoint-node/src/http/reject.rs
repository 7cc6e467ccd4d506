//! The one map from what is wrong with a request to an answer.

use super::{
    JSON,
    body::BodyError,
    parameters::Unusable,
    simplepush::{self, ALLOW_VALUE},
};
use crate::delivery::Refused;
use serde::Serialize;
use std::borrow::Cow;
use warp::{
    http::{
        HeaderValue, StatusCode,
        header::{ALLOW, CONTENT_TYPE, RETRY_AFTER},
    },
    reply::Response,
};

/// Seconds after which a request that the store did not take is worth repeating.
const RETRY_AFTER_STORAGE: HeaderValue = HeaderValue::from_static("120");

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

/// The error body of PROTOCOL.md section 5.8.
#[derive(Debug, Serialize)]
struct ErrorBody {
    code: u16,
    errno: Option<u16>,
    error: &'static str,
    message: &'static str,
    more_info: &'static str,
}

/// The answer to a path that there is not.
pub(crate) fn unknown_path() -> Response {
    let body = ErrorBody {
        code: StatusCode::NOT_FOUND.as_u16(),
        errno: None,
        error: "Not Found",
        message: "There is nothing at this path",
        more_info: types::ERRORS_PAGE,
    };
    // A struct of strings and numbers always has a JSON form.
    let mut response = Response::new(serde_json::to_vec(&body).unwrap_or_default().into());
    *response.status_mut() = StatusCode::NOT_FOUND;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}
