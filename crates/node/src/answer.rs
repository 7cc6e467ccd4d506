//! Answers of the health paths and of the admin listener.

use hyper::{
    Response, StatusCode,
    body::Bytes,
    header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
};
use serde::Serialize;

/// An answer in JSON that caches must not store.
pub fn json(code: StatusCode, body: &impl Serialize) -> Response<Bytes> {
    // Structs of strings and numbers always have a JSON form.
    let body = serde_json::to_vec(body).unwrap_or_default();
    respond(code, Some("application/json"), body.into())
}

/// An answer without a body that caches must not store.
pub fn empty(code: StatusCode) -> Response<Bytes> {
    respond(code, None, Bytes::new())
}

/// An answer that caches must not store.
pub fn respond(code: StatusCode, content_type: Option<&'static str>, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(content_type) = content_type {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    response
}
