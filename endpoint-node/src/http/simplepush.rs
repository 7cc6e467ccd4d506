//! `PUT /update/<token>`: an application server writes a version (PROTOCOL.md section 3).

use super::{
    Endpoint, JSON,
    body::{self, BODY_LEN_MAX},
    parameters::{self, BodyKind},
    reject::{self, Rejection},
};
use crate::delivery::Accepted;
use beckon_types::{Dialect, Version};
use bytes::{Buf, Bytes};
use futures_util::Stream;
use warp::{
    http::{
        HeaderMap, HeaderValue, Method, StatusCode,
        header::{
            ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
            ACCESS_CONTROL_MAX_AGE, CONTENT_TYPE,
        },
    },
    reply::Response,
};

/// The methods of this path, for `Allow` and for browsers.
pub(super) const ALLOW_VALUE: HeaderValue = HeaderValue::from_static("PUT, OPTIONS");

/// Headers of an answer at most: content type, CORS, and one of `Allow` and `Retry-After`.
const HEADERS: usize = 6;

/// What a request for this path is made of.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) method: Method,
    pub(super) query: String,
    pub(super) body_kind: BodyKind,
    /// `Content-Length`, if the client knows it.
    pub(super) body_len: Option<u64>,
}

/// Answers one request.
pub(super) async fn respond<S, B, E>(endpoint: &Endpoint, path: &str, head: Head, body: S) -> Response
where
    S: Stream<Item = Result<B, E>>,
    B: Buf,
{
    let response = if head.method == Method::OPTIONS {
        let mut response = Response::default();
        add_cors(response.headers_mut());
        response
    } else {
        match put(endpoint, path, head, body).await {
            Ok(Accepted::HandedOver) => answer(StatusCode::OK, "{}"),
            Ok(Accepted::Kept) => answer(StatusCode::ACCEPTED, "{}"),
            Err(rejection) => reject::simplepush(&rejection, endpoint.settings.sp_max_data),
        }
    };
    endpoint.metrics.count_request(Dialect::SimplePush, response.status());
    response
}

/// Rows 2 to 10 of the table, in its order: each step can only fail with its own row.
async fn put<S, B, E>(endpoint: &Endpoint, path: &str, head: Head, body: S) -> Result<Accepted, Rejection>
where
    S: Stream<Item = Result<B, E>>,
    B: Buf,
{
    if head.method != Method::PUT {
        return Err(Rejection::Method);
    }
    let settings = &endpoint.settings;
    let body = body::read(body, head.body_len, BODY_LEN_MAX, settings.body_timeout).await;
    let body = body.map_err(Rejection::Body)?;
    let parameters = parameters::read(head.body_kind, &body, &head.query, settings.sp_max_data)
        .await
        .map_err(Rejection::Parameters)?;
    let version = match parameters.version {
        Some(version) => version,
        // A clock beyond the year 292 277 000 000 is the only one to exceed the largest version.
        None => Version::new(endpoint.clock.unix_seconds())
            .map_err(|_| Rejection::Parameters(parameters::Unusable::Invalid))?,
    };
    endpoint.delivery.put(path, version, parameters.data).await.map_err(Rejection::Delivery)
}

/// A JSON answer with the headers that all answers of this path have.
pub(super) fn answer(status: StatusCode, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(body.into().into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.reserve(HEADERS);
    headers.insert(CONTENT_TYPE, JSON);
    add_cors(headers);
    response
}

fn add_cors(headers: &mut HeaderMap) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, ALLOW_VALUE);
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("Content-Type"));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("3600"));
}
