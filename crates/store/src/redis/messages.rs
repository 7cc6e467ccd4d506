//! Messages in Redis, version 1: each in a key of its own that expires by itself, beside its field in the client's
//! record (`record`).
//!
//! ```text
//! version 0x01 | channel id, 16 bytes | key id | urgency | encoding | body
//!   encoding 0: no payload, and no body; 1: aes128gcm;
//!   2: aesgcm, and before the body the two headers, each as its length, 4 bytes, and its text
//! ```
//!
//! The scripts in `scripts/` read the version and the channel.

use super::{SCRIPTS, Unreadable, keys, record, unexpected};
use crate::StoreError;
use beckon_types::{
    Backlog, ChannelId, Draft, Encoding, KeyId, Message, Payload, Place, Position, PutMessage,
    PutMessageOutcome, TopicTag, Urgency,
};
use bytes::{Buf as _, Bytes};
use redis::{Cmd, Value};
use std::time::Duration;

/// The version of the format that this file writes and reads.
const VERSION: u8 = 1;

/// Bytes in front of headers and body.
const FIXED_LEN: usize = 1 + 16 + 3;

/// Parts of an answer for each message: topic, sequence, what is left of its time to live, and the message.
const PARTS: usize = 4;

/// What scripts add to the sequence of a message without a topic to make its position a single number. No sequence
/// is as large, and a Lua number holds their sum.
const WITHOUT_TOPIC: u64 = 1 << 52;

/// The longest time to live, a thousand years: Redis refuses more than fits beside the date.
const TTL_MS_MAX: u64 = 1000 * 365 * 24 * 60 * 60 * 1000;

/// The call of the script that stores a message. Times to live have a resolution of 1 ms.
pub(super) fn put_call(put: &PutMessage) -> Cmd {
    let message = encode(put);
    let ttl_ms = u64::try_from(put.draft.ttl.as_millis()).unwrap_or(u64::MAX).min(TTL_MS_MAX);
    let mut call = SCRIPTS.put_message.call(&[&keys::client(put.uaid)], 6, 96 + message.len());
    call.arg(&put.channel.0[..])
        .arg(record::restriction(put.restricted.as_ref()))
        .arg(record::topic_field(put.topic))
        // A key is there until its time is over, the last millisecond included. So it gets one less, and a message
        // that would be gone at once is not stored.
        .arg(ttl_ms.saturating_sub(1))
        .arg(put.messages_max)
        .arg(message);
    call
}

/// Reads the answer of that script.
pub(super) fn put_outcome(answer: Value) -> Result<PutMessageOutcome, StoreError> {
    match answer {
        Value::Int(0) => Ok(PutMessageOutcome::UaidGone),
        Value::Int(1) => Ok(PutMessageOutcome::ChannelGone),
        Value::Int(2) => Ok(PutMessageOutcome::Full),
        Value::BulkString(bytes) => {
            let record::Head { sequence, presence, .. } = record::head(&bytes)?;
            Ok(PutMessageOutcome::Accepted { sequence, presence })
        }
        other => Err(unexpected(&other)),
    }
}

/// A position as scripts count it; -1 is before the first.
pub(super) fn position(after: Option<Position>) -> i64 {
    after.map_or(-1, |Position { without_topic, sequence }| {
        let group = if without_topic { WITHOUT_TOPIC } else { 0 };
        (group + sequence.0.min(WITHOUT_TOPIC - 1)) as i64
    })
}

/// Reads the messages that a script hands out.
pub(super) fn backlog(parts: Vec<Value>) -> Result<Backlog, StoreError> {
    let mut parts = parts.into_iter();
    let Some(Value::Int(more)) = parts.next() else {
        return Err(Unreadable("answer without messages").into());
    };
    let mut messages = Vec::with_capacity(parts.len() / PARTS);
    while let Some(topic) = parts.next() {
        let (Value::BulkString(topic), Some(Value::BulkString(sequence)), Some(Value::Int(left_ms))) =
            (topic, parts.next(), parts.next())
        else {
            return Err(Unreadable("answer with half a message").into());
        };
        let Some(Value::BulkString(bytes)) = parts.next() else {
            return Err(Unreadable("answer with half a message").into());
        };
        let place = Place { sequence: record::sequence(&sequence)?, topic: tag(&topic)? };
        let ttl = Duration::from_millis(u64::try_from(left_ms).unwrap_or(0));
        messages.push(decode(bytes.into(), place, ttl)?);
    }
    Ok(Backlog { messages, more: more == 1 })
}

fn tag(bytes: &[u8]) -> Result<Option<TopicTag>, Unreadable> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let tag = bytes.try_into().map_err(|_| Unreadable("topic of another length"))?;
    Ok(Some(TopicTag(tag)))
}

/// The bytes of a message.
fn encode(put: &PutMessage) -> Vec<u8> {
    let body = put.draft.payload.as_ref().map_or(&[][..], |payload| &payload.body);
    let mut bytes = Vec::with_capacity(FIXED_LEN + body.len());
    bytes.push(VERSION);
    bytes.extend_from_slice(&put.channel.0);
    bytes.extend_from_slice(&[put.key.0, put.draft.urgency.number()]);
    match put.draft.payload.as_ref().map(|payload| &payload.encoding) {
        None => bytes.push(0),
        Some(Encoding::Aes128gcm) => bytes.push(1),
        Some(Encoding::Aesgcm { encryption, crypto_key }) => {
            bytes.push(2);
            for header in [encryption, crypto_key] {
                bytes.extend_from_slice(&(header.len() as u32).to_be_bytes());
                bytes.extend_from_slice(header.as_bytes());
            }
        }
    }
    bytes.extend_from_slice(body);
    bytes
}

/// Reads a message.
fn decode(mut bytes: Bytes, place: Place, ttl: Duration) -> Result<Message, Unreadable> {
    if bytes.first() != Some(&VERSION) {
        return Err(Unreadable("message of another version"));
    }
    if bytes.len() < FIXED_LEN {
        return Err(Unreadable("message is too short"));
    }
    bytes.advance(1);
    let mut channel = [0; 16];
    bytes.copy_to_slice(&mut channel);
    let key = KeyId(bytes.get_u8());
    let urgency = Urgency::from_number(bytes.get_u8()).ok_or(Unreadable("unknown urgency"))?;
    let encoding = match bytes.get_u8() {
        0 => None,
        1 => Some(Encoding::Aes128gcm),
        2 => Some(Encoding::Aesgcm { encryption: header(&mut bytes)?, crypto_key: header(&mut bytes)? }),
        _ => return Err(Unreadable("unknown encoding")),
    };
    if encoding.is_some() == bytes.is_empty() {
        return Err(Unreadable("message has a body and no encoding, or the reverse"));
    }
    let payload = encoding.map(|encoding| Payload { encoding, body: bytes });
    Ok(Message { channel: ChannelId(channel), place, key, draft: Draft { urgency, ttl, payload } })
}

/// Takes a header off the front.
fn header(bytes: &mut Bytes) -> Result<Box<str>, Unreadable> {
    const SHORT: Unreadable = Unreadable("message is too short");
    let len = bytes.try_get_u32().map_err(|_| SHORT)? as usize;
    if bytes.len() < len {
        return Err(SHORT);
    }
    let text = bytes.split_to(len);
    std::str::from_utf8(&text).map(Box::from).map_err(|_| Unreadable("header is not text"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use beckon_types::{Sequence, Uaid};
    use proptest::{option, prelude::*, sample::select};

    const PLACE: Place = Place { sequence: Sequence(7), topic: None };
    const TTL: Duration = Duration::from_secs(60);

    /// Messages as version 1 wrote them. This file is never edited, so that they stay readable.
    const FIXTURE: &str = include_str!("../../tests/fixtures/message-v1.redis");

    fn encoding() -> impl Strategy<Value = Encoding> {
        let headers = ("[ -~]{0,40}", "[ -~]{0,40}");
        prop_oneof![
            Just(Encoding::Aes128gcm),
            headers.prop_map(|(encryption, crypto_key)| Encoding::Aesgcm {
                encryption: encryption.into(),
                crypto_key: crypto_key.into(),
            })
        ]
    }

    fn put(channel: [u8; 16], key: u8, urgency: Urgency, payload: Option<(Encoding, Vec<u8>)>) -> PutMessage {
        PutMessage {
            uaid: Uaid([1; 16]),
            channel: ChannelId(channel),
            restricted: None,
            key: KeyId(key),
            topic: None,
            draft: Draft {
                urgency,
                ttl: TTL,
                payload: payload.map(|(encoding, body)| Payload { encoding, body: body.into() }),
            },
            messages_max: 100,
        }
    }

    #[test]
    fn messages_of_version_1_stay_readable() {
        let mut seen = 0;
        for line in FIXTURE.lines().filter(|line| !line.starts_with('#')) {
            let (hex, expected) = line.split_once(' ').unwrap();
            let bytes: Vec<u8> = (0..hex.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
                .collect();
            let Message { channel, key, draft: Draft { urgency, payload, .. }, .. } =
                decode(bytes.into(), PLACE, TTL).unwrap();
            assert_eq!(format!("{channel:?} {key:?} {urgency:?} {payload:?}"), expected);
            seen += 1;
        }
        assert_eq!(seen, 4, "all lines of the fixture");
    }

    #[test]
    fn a_message_of_another_version_is_unreadable() {
        let mut bytes = encode(&put([1; 16], 2, Urgency::Normal, None));
        bytes[0] = 2;
        assert_eq!(decode(bytes.into(), PLACE, TTL), Err(Unreadable("message of another version")));
    }

    #[test]
    fn positions_are_numbers_in_the_same_order() {
        let position_of = |without_topic, sequence| {
            position(Some(Position { without_topic, sequence: Sequence(sequence) }))
        };
        let numbers = [
            position(None),
            position_of(false, 0),
            position_of(false, 1),
            position_of(false, u64::MAX),
            position_of(true, 0),
            position_of(true, 1),
            position_of(true, u64::MAX),
        ];
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
    }

    proptest! {
        #[test]
        fn a_message_survives(
            channel: [u8; 16],
            key: u8,
            urgency in select(vec![Urgency::VeryLow, Urgency::Low, Urgency::Normal, Urgency::High]),
            payload in option::of((encoding(), proptest::collection::vec(any::<u8>(), 1..300))),
        ) {
            let put = put(channel, key, urgency, payload);
            let PutMessage { channel, key, draft, .. } = put.clone();
            let expected = Message { channel, place: PLACE, key, draft };
            prop_assert_eq!(decode(encode(&put).into(), PLACE, TTL), Ok(expected));
        }

        #[test]
        fn garbage_is_read_without_a_panic(mut bytes: Vec<u8>, plausible: bool, sequence: Vec<u8>, left: i64) {
            if plausible && bytes.len() > FIXED_LEN + 4 {
                (bytes[0], bytes[18], bytes[19]) = (VERSION, bytes[18] % 4, bytes[19] % 3);
                bytes[FIXED_LEN..FIXED_LEN + 3].fill(0);
            }
            let _ = decode(bytes.clone().into(), PLACE, TTL);
            let bulk = Value::BulkString;
            let _ = backlog(vec![Value::Int(left), bulk(bytes.clone()), bulk(sequence), Value::Int(left), bulk(bytes)]);
        }
    }
}
