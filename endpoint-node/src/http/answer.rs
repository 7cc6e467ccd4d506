//! Answers: their bodies, and the headers that every answer of a path has (PROTOCOL.md sections 3, 5.7 and 5.8).

use super::reject::Refusal;
use beckon_node::error_body::ErrorBody;
use bytes::Bytes;
use warp::{
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{
            ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
            ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, CONTENT_TYPE, STRICT_TRANSPORT_SECURITY,
        },
    },
    reply::Response,
};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// How long a browser may remember what it is allowed to send, in seconds.
const PREFLIGHT_AGE: HeaderValue = HeaderValue::from_static("3600");

/// The most headers of an answer of the SimplePush path: those of every answer, and one of its own.
const SIMPLEPUSH_HEADERS_MAX: usize = 8;

/// The most headers of an answer of the Web Push paths: those of every answer, and two of its own.
const WEBPUSH_HEADERS_MAX: usize = 11;

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Response {
    with_room(status, Bytes::new(), WEBPUSH_HEADERS_MAX)
}

/// An answer of the SimplePush path, in JSON.
pub(super) fn json(status: StatusCode, body: impl Into<Bytes>) -> Response {
    let mut response = with_room(status, body.into(), SIMPLEPUSH_HEADERS_MAX);
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

/// A refusal on the SimplePush path, where the body is one JSON string.
pub(super) fn text(refusal: Refusal) -> Response {
    // None of the texts has a character that JSON escapes.
    let mut response = json(refusal.status, format!("\"{}\"", refusal.text));
    response.headers_mut().extend(refusal.header);
    response
}

/// A refusal everywhere else, with the error body of PROTOCOL.md section 5.8.
pub(super) fn error(refusal: Refusal) -> Response {
    let Refusal { status, errno, text, header } = refusal;
    let body = ErrorBody::new(status, errno, &text).to_json();
    let mut response = with_room(status, body, WEBPUSH_HEADERS_MAX);
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response.headers_mut().extend(header);
    response
}

fn with_room(status: StatusCode, body: Bytes, headers_max: usize) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().reserve(headers_max);
    response
}

/// Adds what every answer of the SimplePush path has: CORS (PROTOCOL.md section 3). `methods` are those of the path.
pub(super) fn add_simplepush_headers(headers: &mut HeaderMap, methods: HeaderValue) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
    headers.insert(
        ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("Content-Type, traceparent, tracestate"),
    );
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Retry-After, X-Request-Id"));
    headers.insert(ACCESS_CONTROL_MAX_AGE, PREFLIGHT_AGE);
}

/// Adds what every answer of the Web Push paths has: CORS, and HSTS (PROTOCOL.md section 5.7). `methods`
/// are those of the path.
pub(super) fn add_webpush_headers(headers: &mut HeaderMap, methods: HeaderValue, hsts: Option<&HeaderValue>) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
    headers.insert(
        ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static(
            "Authorization, Content-Encoding, Content-Type, Crypto-Key, Encryption, TTL, Topic, Urgency, Prefer, \
             traceparent, tracestate",
        ),
    );
    headers.insert(
        ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("Location, TTL, Retry-After, WWW-Authenticate, X-Request-Id"),
    );
    headers.insert(ACCESS_CONTROL_MAX_AGE, PREFLIGHT_AGE);
    if let Some(hsts) = hsts {
        headers.insert(STRICT_TRANSPORT_SECURITY, hsts.clone());
    }
}
