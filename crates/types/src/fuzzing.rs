//! Fuzz targets for texts that peers send: identifiers, numbers, keys, URLs, and what a key ring has sealed.

use crate::{
    BroadcastId, BroadcastVersion, ChannelId, ENDPOINT_LEN_MAX, Endpoint, EndpointUrl, KeyRing, MessageId,
    NodeId, TopicTag, UPDATE_PATH, Uaid, Urgency, VapidKey, Version, endpoint, message_id,
};
use std::sync::LazyLock;

/// A ring with two keys.
static RING: LazyLock<KeyRing> = LazyLock::new(|| ring(&[[7; 32], [9; 32]]));

/// A ring whose keys open nothing that [`RING`] has sealed.
static OTHER: LazyLock<KeyRing> = LazyLock::new(|| ring(&[[8; 32]]));

/// The beginnings of paths and of message ids.
const BEGINNINGS: [&str; 7] = [UPDATE_PATH, "/wpush/v1/", "/wpush/v2/", "/wpush/", "/m/", "m1.", ""];

/// The longest content that is sealed.
const CONTENT_LEN_MAX: usize = 72;

fn ring(keys: &[[u8; 32]]) -> KeyRing {
    let list: Vec<String> = keys.iter().map(KeyRing::key_text).collect();
    KeyRing::parse(&list.join(",")).expect("the keys are well formed")
}

/// A text. Whatever reads it, reads the same again when it is written down.
pub fn identifiers(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    if let Ok((uaid, spelling)) = Uaid::parse(text) {
        assert_eq!(uaid.to_text(spelling), text);
    }
    if let Ok((channel, spelling)) = ChannelId::parse(text) {
        assert_eq!(channel.to_text(spelling), text);
    }
    if let Some(node) = NodeId::parse(text) {
        assert!(node.to_string().eq_ignore_ascii_case(text));
    }
    if let Ok(version) = Version::parse(text) {
        assert_eq!(
            version.number().to_string(),
            Some(text.trim_start_matches('0')).filter(|rest| !rest.is_empty()).unwrap_or("0")
        );
        assert!(version.equals_double(version.number() as f64));
    }
    if let Ok(key) = VapidKey::parse(text) {
        assert_eq!(
            VapidKey::parse_unchecked(text),
            Ok(key),
            "the same bytes with and without the check of the curve"
        );
    }
    if let Ok(ring) = KeyRing::parse(text) {
        let again = KeyRing::parse(&ring.secret_text()).expect("the list as it is written");
        assert_eq!((again.fingerprints(), again.newest()), (ring.fingerprints(), ring.newest()));
    }
    if let Ok(url) = text.parse::<EndpointUrl>() {
        assert!(url.as_str().len() < ENDPOINT_LEN_MAX);
        assert_eq!(url.as_str().parse::<EndpointUrl>().as_ref(), Ok(&url));
        let origin = url.origin();
        assert_eq!(origin.parse::<EndpointUrl>().map(|again| again.origin()), Ok(origin), "{url}");
        assert!(!url.host().is_empty() && url.as_str().contains(url.host()));
    }
    if let Ok(id) = BroadcastId::parse(text) {
        assert_eq!(id.as_str(), text);
    }
    if let Ok(version) = BroadcastVersion::parse(text) {
        assert_eq!(version.as_str(), text);
    }
    let topic = |text: &str| TopicTag::parse(ChannelId([1; 16]), text);
    if let Ok(tag) = topic(text) {
        assert_eq!(topic(&format!("{text}==")), Ok(tag), "padding is ignored");
    }
    if let Some(urgency) = Urgency::parse(text) {
        assert_eq!(urgency.name(), text);
        assert_eq!(Urgency::from_number(urgency.number()), Some(urgency));
    }
}

/// A path or a message id. The first four bytes choose its beginning, the kind of text, the ring that seals it, and a character
/// that is altered; the rest is the content. And the data as they are, as a text that was not sealed.
///
/// What another ring has sealed, or was altered, is not accepted.
pub fn tokens(data: &[u8]) {
    if let Ok(text) = str::from_utf8(data) {
        check(text);
    }
    let Some(([beginning, purpose, ring, altered], content)) = data.split_first_chunk() else { return };
    let content = &content[..content.len().min(CONTENT_LEN_MAX)];
    let beginning = BEGINNINGS[usize::from(*beginning) % BEGINNINGS.len()];
    let purpose = [endpoint::PURPOSE, message_id::PURPOSE, b""][usize::from(*purpose) % 3];
    let is_ours = ring % 4 > 0;
    let ring: &KeyRing = if is_ours { &RING } else { &OTHER };
    let token = ring.seal(ring.newest(), purpose, content);
    let text = [beginning, &token].concat();
    let is_accepted = check(&text);
    assert!(is_ours || !is_accepted, "sealed with a key that is not in the ring");

    let position = usize::from(*altered) % token.len();
    let letter = if token.as_bytes()[position] == b'A' { "B" } else { "A" };
    let mut token = token;
    token.replace_range(position..=position, letter);
    assert!(!check(&[beginning, &token].concat()), "altered at {position}");
}

/// Whether a text is an endpoint or a message id. If so, it is one again when it is written.
fn check(text: &str) -> bool {
    let endpoint = Endpoint::from_path(&RING, text);
    if let Ok(endpoint) = endpoint {
        let path = endpoint.path(&RING, RING.newest());
        assert!(path.len() < 130, "{path}");
        assert_eq!(Endpoint::from_path(&RING, &path), Ok(endpoint));
    }
    let id = MessageId::open(&RING, text);
    if let Ok(id) = id {
        assert_eq!(MessageId::open(&RING, &id.seal(&RING, RING.newest())), Ok(id));
    }
    assert!(endpoint.is_err() || id.is_err(), "an endpoint is not a message id");
    endpoint.is_ok() || id.is_ok()
}

#[cfg(test)]
mod tests {
    use beckon_replay::replay;

    #[test]
    fn kept_identifiers() {
        replay("identifiers", super::identifiers);
    }

    #[test]
    fn kept_tokens() {
        replay("tokens", super::tokens);
    }
}
