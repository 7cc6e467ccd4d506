//! Fuzz targets for bodies and headers, with the crate `form_urlencoded` as a second opinion.

use super::{
    authorization, encryption, message_headers as headers,
    parameters::{self, BodyKind, Parameters, Unusable},
};
use beckon_types::{ChannelId, Encoding, TopicTag, Version};
use bytes::Bytes;
use futures_util::FutureExt as _;
use std::time::Duration;
use warp::http::{HeaderMap, HeaderName, HeaderValue, header::AUTHORIZATION};

/// The longest data of a notification.
const DATA_LEN_MAX: usize = 1000;

/// The longest time to live.
const TTL_MAX: Duration = Duration::from_secs(1000);

/// Most fields of a request.
const FIELDS_MAX: usize = 64;

fn read(kind: BodyKind, body: &[u8], query: &str) -> Result<Parameters, Unusable> {
    let body = Bytes::copy_from_slice(body);
    let read = parameters::read(kind, &body, query, DATA_LEN_MAX).now_or_never();
    let read = read.expect("the body is complete");
    if let Ok(Parameters { data: Some(data), .. }) = &read {
        assert!((1..=DATA_LEN_MAX).contains(&data.len()));
    }
    read
}

/// A form: the first line is the query, and the rest the body. The parameters are those that `form_urlencoded` finds, unless
/// they are not UTF-8, which that crate replaces.
pub fn forms(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (query, body) = (&data[..end], data.get(end + 1..).unwrap_or_default());
    let Ok(query) = str::from_utf8(query) else { return };
    let ours = read(BodyKind::Form, body, query);
    let first = |name: &str| {
        let mut pairs = form_urlencoded::parse(body).chain(form_urlencoded::parse(query.as_bytes()));
        pairs.find(|(other, _)| other == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
    };
    let (version, value) = (first("version"), first("data"));
    if version.contains('\u{fffd}') || value.contains('\u{fffd}') {
        return;
    }
    let version = if version.is_empty() { Ok(None) } else { Version::parse(&version).map(Some) };
    let theirs = match version {
        Err(_) => Err(Unusable::Invalid),
        Ok(_) if value.len() > DATA_LEN_MAX => Err(Unusable::DataTooLong),
        Ok(version) => {
            Ok(Parameters { version, data: Some(value).filter(|value| !value.is_empty()).map(Into::into) })
        }
    };
    assert_eq!(ours, theirs);
}

/// A form in parts: the first line is its content type, and the rest the body. Its parameters are read again from a form.
pub fn multipart(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (content_type, body) = (&data[..end], data.get(end + 1..).unwrap_or_default());
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_bytes(content_type) {
        headers.insert(warp::http::header::CONTENT_TYPE, value);
    }
    let kind = BodyKind::of(&headers);
    let Ok(parameters) = read(kind, body, "") else { return };
    let mut form = form_urlencoded::Serializer::new(String::new());
    if let Some(version) = parameters.version {
        form.append_pair("version", &version.number().to_string());
    }
    if let Some(data) = &parameters.data {
        form.append_pair("data", data);
    }
    assert_eq!(read(BodyKind::Form, form.finish().as_bytes(), ""), Ok(parameters));
}

/// The headers of a Web Push message: lines of a name, a colon and a value.
pub fn message_headers(data: &[u8]) {
    let mut fields = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n').take(FIELDS_MAX) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            fields.append(name, value);
        }
    }
    let value = |name: HeaderName| headers::value(&fields, &name);
    let authorization = value(AUTHORIZATION).unwrap_or_default();
    let crypto_key = value(encryption::CRYPTO_KEY).unwrap_or_default();
    if let Ok(credential) = authorization::credential(&authorization, &crypto_key) {
        let again = format!("vapid k={}, t={}", credential.key, credential.token);
        let is_plain = |text: &str| !text.contains([',', '"', ' ']);
        if is_plain(credential.key) && is_plain(credential.token) {
            let again =
                authorization::credential(&again, "").expect("the parameters of a credential are one");
            assert_eq!((again.token, again.key), (credential.token, credential.key));
        }
    }
    if let Ok(Encoding::Aesgcm { encryption, crypto_key }) = encryption::encoding(&fields) {
        assert!(encryption.len().max(crypto_key.len()) <= encryption::PARAMETERS_LEN_MAX);
        assert!([&encryption, &crypto_key].iter().all(|header| header.is_ascii() && !header.contains('"')));
        // What is passed on is accepted, and not changed again.
        let mut again = fields.clone();
        for (name, value) in [("encryption", &encryption), ("crypto-key", &crypto_key)] {
            again.insert(name, HeaderValue::from_str(value).expect("it came in a header"));
        }
        assert_eq!(
            encryption::encoding(&again),
            Ok(Encoding::Aesgcm { encryption: encryption.clone(), crypto_key })
        );
    }
    if let Ok(ttl) = headers::ttl(value(headers::TTL).as_deref(), TTL_MAX) {
        assert!(ttl <= TTL_MAX);
    }
    let _ = headers::urgency(value(headers::URGENCY).as_deref());
    if let Some(topic) = value(headers::TOPIC) {
        let _ = TopicTag::parse(ChannelId([1; 16]), &topic);
    }
}
