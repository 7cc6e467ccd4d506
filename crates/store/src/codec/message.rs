//! How a stored message is written, version 1: what it carries. Its place, and when it expires, are elsewhere.
//!
//! ```text
//! version 0x01 | channel id, 16 bytes | key id | urgency | encoding | two headers, if the encoding is 2 | body
//!   encoding 0: no payload, and so no body; 1: aes128gcm; 2: aesgcm
//! header: its length, 4 bytes | its text
//! ```
//!
//! The scripts of the store in Redis read the version and the channel.

use super::{Unreadable, put_text, take, take_text};
use beckon_types::{ChannelId, Draft, Encoding, KeyId, Message, Payload, Place, Urgency};
use bytes::Bytes;
use std::time::Duration;

/// The version of the format that this file writes and reads.
const VERSION: u8 = 1;

/// Bytes in front of headers and body.
const FIXED_LEN: usize = 1 + 16 + 3;

/// The bytes of a message.
pub(crate) fn encode(channel: ChannelId, key: KeyId, draft: &Draft) -> Vec<u8> {
    let payload = draft.payload.as_ref();
    let weight = payload.map_or(0, Payload::weight);
    let mut out = Vec::with_capacity(FIXED_LEN + 8 + weight);
    out.push(VERSION);
    out.extend(channel.0);
    out.extend([key.0, draft.urgency.number()]);
    match payload.map(|payload| &payload.encoding) {
        None => out.push(0),
        Some(Encoding::Aes128gcm) => out.push(1),
        Some(Encoding::Aesgcm { encryption, crypto_key }) => {
            out.push(2);
            put_text(encryption, &mut out);
            put_text(crypto_key, &mut out);
        }
    }
    out.extend_from_slice(payload.map_or(&[], |payload| &payload.body));
    out
}

/// Reads a message. `ttl` is what is left of its time to live.
pub(crate) fn decode(bytes: &Bytes, place: Place, ttl: Duration) -> Result<Message, Unreadable> {
    let mut rest = &bytes[..];
    if take(&mut rest)? != [VERSION] {
        return Err(Unreadable("message of another version"));
    }
    let channel = ChannelId(take(&mut rest)?);
    let [key, urgency, encoding] = take(&mut rest)?;
    let urgency = Urgency::from_number(urgency).ok_or(Unreadable("unknown urgency"))?;
    let encoding = match encoding {
        0 => None,
        1 => Some(Encoding::Aes128gcm),
        2 => {
            let (encryption, crypto_key) = (take_text(&mut rest)?.into(), take_text(&mut rest)?.into());
            Some(Encoding::Aesgcm { encryption, crypto_key })
        }
        _ => return Err(Unreadable("unknown encoding")),
    };
    if encoding.is_some() == rest.is_empty() {
        return Err(Unreadable("message has a body and no encoding, or the reverse"));
    }
    // A part of the bytes, not a copy.
    let body = bytes.slice(bytes.len() - rest.len()..);
    let payload = encoding.map(|encoding| Payload { encoding, body });
    Ok(Message { channel, place, key: KeyId(key), draft: Draft { urgency, ttl, payload } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::tests::fixture;
    use beckon_types::{Nonce, Sequence};
    use proptest::{option, prelude::*};

    const PLACE: Place = Place { sequence: Sequence(7), nonce: Nonce(8), topic: None };
    const TTL: Duration = Duration::from_secs(60);

    /// Messages as version 1 writes them.
    const FIXTURE: &str = include_str!("../../tests/fixtures/message-v1");

    fn read(bytes: &[u8]) -> Result<Message, Unreadable> {
        decode(&Bytes::copy_from_slice(bytes), PLACE, TTL)
    }

    fn written(Message { channel, key, draft, .. }: &Message) -> Vec<u8> {
        encode(*channel, *key, draft)
    }

    #[test]
    fn messages_of_version_1_are_read_and_written() {
        let messages = fixture(FIXTURE);
        assert_eq!(messages.len(), 4, "all lines of the fixture");
        for ([bytes], expected) in messages {
            let message = read(&bytes).unwrap();
            let Message { channel, key, draft: Draft { urgency, payload, .. }, .. } = &message;
            assert_eq!(format!("{channel:?} {key:?} {urgency:?} {payload:?}"), expected);
            assert_eq!(written(&message), bytes);
        }
    }

    #[test]
    fn any_other_format_is_unreadable() {
        let message = |version: u8, rest: &[u8]| [&[version][..], &[0; 16], rest].concat();
        for (bytes, reason) in [
            (vec![], "too short"),
            (message(2, &[0, 0, 0]), "message of another version"),
            (message(1, &[0, 0]), "too short"),
            (message(1, &[0, 4, 0]), "unknown urgency"),
            (message(1, &[0, 0, 3]), "unknown encoding"),
            (message(1, &[0, 0, 0, b'x']), "message has a body and no encoding, or the reverse"),
            (message(1, &[0, 0, 1]), "message has a body and no encoding, or the reverse"),
            (message(1, &[0, 0, 2, 0, 0, 0, 9, b'x']), "too short"),
            (message(1, &[0, 0, 2, 0, 0, 0, 1, 0xff]), "text is not UTF-8"),
        ] {
            assert_eq!(read(&bytes), Err(Unreadable(reason)), "{bytes:?}");
        }
    }

    fn encodings() -> impl Strategy<Value = Encoding> {
        let headers = ("[ -~]{0,40}", "[ -~]{0,40}");
        prop_oneof![
            Just(Encoding::Aes128gcm),
            headers.prop_map(|(encryption, crypto_key)| Encoding::Aesgcm {
                encryption: encryption.into(),
                crypto_key: crypto_key.into(),
            })
        ]
    }

    proptest! {
        #[test]
        fn a_message_survives(
            channel: [u8; 16],
            key: u8,
            urgency in 0..4_u8,
            payload in option::of((encodings(), proptest::collection::vec(any::<u8>(), 1..300))),
        ) {
            let payload = payload.map(|(encoding, body)| Payload { encoding, body: body.into() });
            let draft = Draft { urgency: Urgency::from_number(urgency).unwrap(), ttl: TTL, payload };
            let message = Message { channel: ChannelId(channel), place: PLACE, key: KeyId(key), draft };
            prop_assert_eq!(read(&written(&message)), Ok(message));
        }

        #[test]
        fn garbage_is_read_without_a_panic(mut bytes: Vec<u8>, is_plausible: bool) {
            if is_plausible && bytes.len() > FIXED_LEN + 4 {
                (bytes[0], bytes[18], bytes[19]) = (VERSION, bytes[18] % 4, bytes[19] % 3);
                bytes[FIXED_LEN..FIXED_LEN + 3].fill(0);
            }
            let _ = read(&bytes);
        }
    }
}
