//! How a stored message is written in the database, version 1: what it carries. Where it is, and when it expires, is
//! in the record of its client ([`super::record`]).
//!
//! ```text
//! key       UAID, 16 bytes | sequence, 8 bytes
//! message   version 0x01 | key id | urgency | channel, 16 bytes | kind | two headers, if the kind is 2 | body
//!           kind 0: there is no body; 1: aes128gcm; 2: aesgcm
//! header    length, 8 bytes | text
//! ```
//!
//! Numbers are big-endian, so that the messages of one client are beside each other and the oldest is first.

use super::record::{Unreadable, take};
use beckon_types::{ChannelId, Encoding, KeyId, Payload, PutMessage, Sequence, Uaid, Urgency};

/// The version of the format that this file writes and reads.
const VERSION: u8 = 1;

/// Bytes of a key.
pub(super) const KEY_LEN: usize = 24;

/// What a message carries.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Carried {
    /// The key that seals its id.
    pub(super) key: KeyId,
    /// How soon it matters.
    pub(super) urgency: Urgency,
    /// The channel sent to.
    pub(super) channel: ChannelId,
    /// What was sent.
    pub(super) payload: Option<Payload>,
}

/// Where a message is in its table.
pub(super) fn key(uaid: Uaid, sequence: Sequence) -> [u8; KEY_LEN] {
    let mut key = [0; KEY_LEN];
    key[..16].copy_from_slice(&uaid.0);
    key[16..].copy_from_slice(&sequence.0.to_be_bytes());
    key
}

/// Writes what a message carries.
pub(super) fn encode(put: &PutMessage) -> Vec<u8> {
    let body = put.draft.payload.as_ref().map_or(&[][..], |payload| &payload.body);
    let mut out = Vec::with_capacity(64 + body.len());
    out.extend([VERSION, put.key.0, put.draft.urgency.number()]);
    out.extend(put.channel.0);
    match put.draft.payload.as_ref().map(|payload| &payload.encoding) {
        None => out.push(0),
        Some(Encoding::Aes128gcm) => out.push(1),
        Some(Encoding::Aesgcm { encryption, crypto_key }) => {
            out.push(2);
            for header in [encryption, crypto_key] {
                out.extend((header.len() as u64).to_be_bytes());
                out.extend(header.as_bytes());
            }
        }
    }
    out.extend(body);
    out
}

/// Reads what a message carries.
pub(super) fn decode(bytes: &[u8]) -> Result<Carried, Unreadable> {
    let mut rest = bytes;
    let [version, key, urgency] = take(&mut rest)?;
    if version != VERSION {
        return Err(Unreadable("message of another version"));
    }
    let urgency = Urgency::from_number(urgency).ok_or(Unreadable("unknown urgency"))?;
    let channel = ChannelId(take(&mut rest)?);
    let encoding = match take(&mut rest)? {
        [0] => None,
        [1] => Some(Encoding::Aes128gcm),
        [2] => {
            let (encryption, crypto_key) = (header(&mut rest)?, header(&mut rest)?);
            Some(Encoding::Aesgcm { encryption, crypto_key })
        }
        [_] => return Err(Unreadable("unknown kind of a message")),
    };
    let payload = encoding.map(|encoding| Payload { encoding, body: rest.to_vec().into() });
    Ok(Carried { key: KeyId(key), urgency, channel, payload })
}

/// Takes a header.
fn header(rest: &mut &[u8]) -> Result<Box<str>, Unreadable> {
    let len = usize::try_from(u64::from_be_bytes(take(rest)?));
    let split = len.ok().and_then(|len| rest.split_at_checked(len));
    let (text, after) = split.ok_or(Unreadable("message is too short"))?;
    *rest = after;
    Ok(str::from_utf8(text).map_err(|_| Unreadable("header is not text"))?.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use beckon_types::Draft;
    use proptest::prelude::*;
    use std::time::Duration;

    /// Messages as version 1 wrote them. This file is never edited, so that they stay readable.
    const FIXTURE: &str = include_str!("../../tests/fixtures/message-v1.embedded");

    #[test]
    fn messages_of_version_1_stay_readable() {
        let mut seen = 0;
        for line in FIXTURE.lines().filter(|line| !line.starts_with('#')) {
            let (hex, expected) = line.split_once(' ').unwrap();
            let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
            let bytes: Vec<_> = (0..hex.len()).step_by(2).map(byte).collect();
            assert_eq!(format!("{:?}", decode(&bytes).unwrap()), expected);
            seen += 1;
        }
        assert_eq!(seen, 3, "all lines of the fixture");
    }

    #[test]
    fn what_is_not_as_it_was_written_is_unreadable() {
        let unreadable = |bytes: &[u8]| decode(bytes).unwrap_err().0;
        let message = |start: [u8; 3], rest: &[u8]| [&start[..], &[0; 16], rest].concat();
        assert_eq!(unreadable(&[]), "record is too short");
        assert_eq!(unreadable(&message([2, 1, 0], &[0])), "message of another version");
        assert_eq!(unreadable(&message([1, 1, 9], &[0])), "unknown urgency");
        assert_eq!(unreadable(&message([1, 1, 0], &[3])), "unknown kind of a message");
        assert_eq!(
            unreadable(&message([1, 1, 0], &[2, 0, 0, 0, 0, 0, 0, 0, 9, b'x'])),
            "message is too short"
        );
        assert_eq!(unreadable(&message([1, 1, 0], &[2, 0, 0, 0, 0, 0, 0, 0, 1, 0xff])), "header is not text");
    }

    #[test]
    fn keys_have_the_order_of_the_sequences() {
        let keys = [0, 1, 255, 256, u64::MAX].map(|sequence| key(Uaid([7; 16]), Sequence(sequence)));
        assert!(keys.is_sorted());
    }

    fn payloads() -> impl Strategy<Value = Option<Payload>> {
        let aesgcm = ("[ -~]{0,20}", "[ -~]{0,20}").prop_map(|(encryption, crypto_key)| Encoding::Aesgcm {
            encryption: encryption.into(),
            crypto_key: crypto_key.into(),
        });
        let payload = (prop_oneof![Just(Encoding::Aes128gcm), aesgcm], any::<Vec<u8>>());
        proptest::option::of(payload.prop_map(|(encoding, body)| Payload { encoding, body: body.into() }))
    }

    proptest! {
        #[test]
        fn a_message_survives(key: u8, number in 0..4_u8, channel: [u8; 16], payload in payloads()) {
            let (key, channel) = (KeyId(key), ChannelId(channel));
            let urgency = Urgency::from_number(number).unwrap();
            let put = PutMessage {
                uaid: Uaid([7; 16]),
                channel,
                restricted: None,
                key,
                topic: None,
                draft: Draft { urgency, ttl: Duration::from_secs(1), payload: payload.clone() },
                messages_max: 1,
            };
            prop_assert_eq!(decode(&encode(&put)), Ok(Carried { key, urgency, channel, payload }));
        }

        #[test]
        fn garbage_is_read_without_a_panic(mut bytes: Vec<u8>) {
            let _ = decode(&bytes);
            bytes.splice(0..0, [VERSION, 1, 1]);
            let _ = decode(&bytes);
        }
    }
}
