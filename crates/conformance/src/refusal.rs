//! What every refused request to a Web Push path has in common, and what makes one.

use http::Response;
use serde_json::{Value, json};

/// A header of a response.
pub fn header<'a>(response: &'a Response<bytes::Bytes>, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

/// The error body of PROTOCOL.md section 5.8, and the headers that go with the status.
#[track_caller]
pub fn expect_refusal(response: &Response<bytes::Bytes>, status: u16, errno: Option<u32>) {
    assert_eq!(response.status().as_u16(), status, "{response:?}");
    assert_eq!(header(response, "content-type"), Some("application/json"), "{response:?}");
    let body: Value = serde_json::from_slice(response.body()).unwrap_or_else(|error| {
        panic!("{error} in {response:?}");
    });
    let text = |name: &str| match body[name].as_str() {
        Some(text) if !text.is_empty() => text.to_owned(),
        Some(_) | None => panic!("no {name} in {body}"),
    };
    let expected = json!({
        "code": status,
        "errno": errno,
        "error": response.status().canonical_reason(),
        "message": text("message"),
        "more_info": text("more_info"),
    });
    assert_eq!(body, expected);
    assert!(text("more_info").starts_with("http"), "{body}");
    let with_status = |name: &str, wanted: u16| {
        assert_eq!(header(response, name).is_some(), status == wanted, "{name} of {response:?}");
    };
    with_status("www-authenticate", 401);
    with_status("allow", 405);
    if status == 401 {
        assert!(header(response, "www-authenticate").is_some_and(|value| value.starts_with("vapid")));
    }
}

/// Pages of any origin may send, and may see the answer (PROTOCOL.md section 5.7).
#[track_caller]
pub fn expect_cors(response: &Response<bytes::Bytes>, methods: &str) {
    for (name, value) in [
        ("access-control-allow-origin", "*"),
        ("access-control-allow-methods", methods),
        (
            "access-control-allow-headers",
            "Authorization, Content-Encoding, Content-Type, Crypto-Key, Encryption, TTL, Topic, Urgency, Prefer, \
             traceparent, tracestate",
        ),
        ("access-control-expose-headers", "Location, TTL, Retry-After, WWW-Authenticate, X-Request-Id"),
        ("access-control-max-age", "3600"),
    ] {
        assert_eq!(header(response, name), Some(value), "{name} of {response:?}");
    }
}

/// The token at the end of a URL, and tokens that are none.
pub fn tokens_of(endpoint: &str) -> (&str, Vec<String>) {
    let (_, token) = endpoint.rsplit_once('/').unwrap();
    let altered = |position: usize| {
        let letter = if token.as_bytes()[position] == b'A' { "B" } else { "A" };
        format!("{}{letter}{}", &token[..position], &token[position + 1..])
    };
    let changed = vec![
        altered(0),
        altered(token.len() / 2),
        token[..token.len() - 1].to_owned(),
        format!("{token}A"),
        "x".to_owned(),
        "%00".to_owned(),
        "A".repeat(4000),
    ];
    (token, changed)
}
