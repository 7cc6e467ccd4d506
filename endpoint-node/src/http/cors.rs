//! What browsers and TLS clients are told with every answer of the Web Push paths (PROTOCOL.md section 5.7).

use beckon_types::EndpointUrl;
use warp::http::{
    HeaderMap, HeaderValue,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, STRICT_TRANSPORT_SECURITY,
    },
};

/// Headers of an answer at most: those of [`add`], and up to four of its own.
const HEADERS: usize = 10;

/// Adds them; `methods` are those of the path.
pub(super) fn add(headers: &mut HeaderMap, methods: HeaderValue, url: &EndpointUrl) {
    headers.reserve(HEADERS);
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
    headers.insert(
        ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static(
            "Authorization, Content-Encoding, Content-Type, Crypto-Key, Encryption, TTL, Topic, Urgency, Prefer",
        ),
    );
    headers.insert(
        ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("Location, TTL, Retry-After, WWW-Authenticate"),
    );
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("3600"));
    if url.is_https() {
        headers.insert(
            STRICT_TRANSPORT_SECURITY,
            HeaderValue::from_static("max-age=31536000; includeSubDomains"),
        );
    }
}
