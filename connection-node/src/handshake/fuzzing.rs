//! Fuzz target for upgrade requests.

use super::{create_response_with_body, join_lists};
use crate::origin::Origin;
use http::{
    HeaderMap, HeaderName, HeaderValue, Request,
    header::{CONNECTION, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE},
};
use tokio_tungstenite::tungstenite::{Error, error::ProtocolError};

/// Most fields of a request.
const FIELDS_MAX: usize = 64;

/// The header of an upgrade request: lines of a name, a colon and a value. It is accepted if the lists of `Connection` and
/// `Upgrade` have what RFC 6455 section 4.2.1 wants, in whichever form, and the key and the version are there.
pub fn upgrade(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n').take(FIELDS_MAX) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            if let Some(origin) = value.to_str().ok().and_then(|text| text.parse::<Origin>().ok()) {
                assert!(!format!("{origin:?}").is_empty());
            }
            headers.append(name, value);
        }
    }
    let has = |headers: &HeaderMap, name: &HeaderName, item: &str| {
        let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
        lines.flat_map(|line| line.split(',')).any(|other| other.trim().eq_ignore_ascii_case(item))
    };
    let is_upgrade = has(&headers, &CONNECTION, "upgrade")
        && has(&headers, &UPGRADE, "websocket")
        && headers.get(SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13")
        && headers.contains_key(SEC_WEBSOCKET_KEY);
    let mut request = Request::new(());
    *request.headers_mut() = headers;
    join_lists(request.headers_mut());
    match create_response_with_body(&request, || ()) {
        Ok(_) => assert!(is_upgrade, "{request:?}"),
        // Not 16 bytes in base64.
        Err(Error::Protocol(ProtocolError::InvalidSecWebSocketKey)) => {}
        Err(error) => assert!(!is_upgrade, "{error} for {request:?}"),
    }
}
