//! How a client's stored messages are written in Redis, version 1: three keys beside its record.
//!
//! ```text
//! m{…}, a hash of messages   field: `0` with a topic or `1` without | sequence, 13 digits | nonce, 8 bytes
//!                                   | tag of the topic, 12 bytes, if it has one
//!                            value: when it expires, ms since the Unix epoch, decimal digits
//!                                   | the message (`codec::message`), which begins with 0x01
//! t{…}, a hash               field tag of a topic: the field of the message that has it, without the tag
//!                            field channel id: the fields of messages in the channel's reserve, one after the other
//!                            field "f": when a script last looked for messages to forget and found none
//! i{…}, a sorted set         fields of messages by position, while there are more than a few (`messages.lua`);
//!                            it may have more than there are
//! ```
//!
//! The first 14 characters of a field are the position of the message as a number. The whole field is the message's
//! place, so that an acknowledgement removes exactly this message with one HDEL.
//!
//! A message counts until a script comes across it: one that has expired, or whose channel was unregistered after it was
//! written, is forgotten then. The keys expire with the last of their messages.

use super::{
    answer::unexpected,
    idle::IdleMs,
    keys,
    options::KeyPrefix,
    record,
    script::{SCRIPTS, Script},
    slot::Slot,
};
use crate::{
    StoreError,
    codec::{Unreadable, message, take},
};
use beckon_types::{
    Backlog, ClientId, Draft, Message, Nonce, Payload, Place, Position, PutMessage, PutMessageOutcome,
    TopicTag,
};
use redis::{Cmd, Value};
use std::time::Duration;

/// Parts of an answer for each message: field, what is left of its TTL, and the message.
const PARTS: usize = 3;

/// The digits of a sequence in a field.
const SEQUENCE_LEN: usize = 13;

/// The highest sequence with so many digits.
const SEQUENCE_MAX: u64 = 9_999_999_999_999;

/// The longest TTL, a thousand years: Redis rejects an expiry that overflows.
const TTL_MS_MAX: u64 = 1000 * 365 * 24 * 60 * 60 * 1000;

/// The call of the script that stores a message.
pub(super) fn put_call(prefix: &KeyPrefix, put: &PutMessage, idle: IdleMs) -> Cmd {
    let message = message::encode(put.channel, put.key, &put.draft);
    let mut call = SCRIPTS.put_message.call(&keys::all(prefix, put.client), 9, 124 + message.len());
    call.arg(&put.channel.0[..])
        .arg(record::restriction(put.restricted))
        .arg(&put.nonce.0.to_be_bytes()[..])
        .arg(put.topic.map_or_else(Vec::new, |tag| tag.0.to_vec()))
        .arg(ttl_ms(&put.draft))
        .arg(put.messages_max)
        .arg(put.reserve)
        .arg(idle.after_a_write())
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
            let record::Written { sequence, previous, presence } = record::written(&bytes)?;
            Ok(PutMessageOutcome::Accepted { sequence, previous, presence })
        }
        other => Err(unexpected(&other)),
    }
}

/// The command that removes messages: HDEL, or the call of a script if one of them has a topic.
pub(super) fn remove_call(
    prefix: &KeyPrefix,
    client: ClientId,
    places: &[Place],
) -> (Cmd, Slot, Option<&'static Script>) {
    let messages = keys::messages(prefix, client);
    let slot = Slot::of_key(&messages);
    let (mut call, script) = if places.iter().all(|place| place.topic.is_none()) {
        let mut call = Cmd::with_capacity(2 + places.len(), 40 + 24 * places.len());
        call.arg("HDEL").arg(&*messages);
        (call, None)
    } else {
        let script = &SCRIPTS.remove_messages;
        let keys = [messages, keys::topics(prefix, client)];
        (script.call(&keys, places.len(), 36 * places.len()), Some(script))
    };
    for place in places {
        call.arg(field(*place));
    }
    (call, slot, script)
}

/// Appends a message to the arguments of the script that adds a client.
pub(super) fn add_to(call: &mut Cmd, message: &Message) -> Result<(), Unreadable> {
    let Message { channel, place, key, draft } = message;
    if place.sequence.0 > SEQUENCE_MAX {
        return Err(Unreadable("sequence is too large"));
    }
    call.arg(field(*place)).arg(ttl_ms(draft)).arg(message::encode(*channel, *key, draft));
    Ok(())
}

/// The bytes of the body of a message.
pub(super) fn weight(message: &Message) -> usize {
    message.draft.payload.as_ref().map_or(0, Payload::weight)
}

/// A TTL in milliseconds, which is its resolution.
fn ttl_ms(draft: &Draft) -> u64 {
    u64::try_from(draft.ttl.as_millis()).unwrap_or(u64::MAX).min(TTL_MS_MAX)
}

/// A position as a number for scripts; -1 is before the first.
pub(super) fn position(after: Option<Position>) -> i64 {
    after.map_or(-1, |Position { without_topic, sequence }| {
        let group = if without_topic { SEQUENCE_MAX + 1 } else { 0 };
        (group + sequence.0.min(SEQUENCE_MAX)) as i64
    })
}

/// The field of a message.
pub(super) fn field(Place { sequence, nonce, topic }: Place) -> Vec<u8> {
    let group = if topic.is_some() { 0 } else { 1 };
    let mut field = format!("{group}{:0SEQUENCE_LEN$}", sequence.0).into_bytes();
    field.extend(nonce.0.to_be_bytes());
    field.extend(topic.iter().flat_map(|tag| tag.0));
    field
}

/// Reads the field of a message.
pub(super) fn place(field: &[u8]) -> Result<Place, Unreadable> {
    let mut rest = field;
    let [group]: [u8; 1] = take(&mut rest)?;
    let digits: [u8; SEQUENCE_LEN] = take(&mut rest)?;
    let nonce = Nonce(u64::from_be_bytes(take(&mut rest)?));
    let topic = match (group, rest) {
        (b'1', []) => None,
        (b'0', tag) => Some(TopicTag(tag.try_into().map_err(|_| Unreadable("topic of another length"))?)),
        _ => return Err(Unreadable("unknown name of a message")),
    };
    Ok(Place { sequence: record::sequence(&digits)?, nonce, topic })
}

/// Reads the messages in the answer of a script.
pub(super) fn backlog(parts: Vec<Value>) -> Result<Backlog, StoreError> {
    let mut parts = parts.into_iter();
    let Some(Value::Int(more)) = parts.next() else {
        return Err(Unreadable("answer without messages").into());
    };
    let mut messages = Vec::with_capacity(parts.len() / PARTS);
    while let Some(field) = parts.next() {
        let (Value::BulkString(field), Some(Value::Int(left_ms)), Some(Value::BulkString(bytes))) =
            (field, parts.next(), parts.next())
        else {
            return Err(Unreadable("answer with half a message").into());
        };
        let ttl = Duration::from_millis(u64::try_from(left_ms).unwrap_or(0));
        messages.push(message::decode(&bytes.into(), place(&field)?, ttl)?);
    }
    Ok(Backlog { messages, more: more == 1 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use beckon_types::{Sequence, TOPIC_TAG_LEN};
    use proptest::prelude::*;

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
        fn a_place_survives_and_begins_with_its_position(
            sequence in 0..=SEQUENCE_MAX,
            nonce: u64,
            tag in proptest::option::of(any::<[u8; TOPIC_TAG_LEN]>()),
        ) {
            let expected = Place { sequence: Sequence(sequence), nonce: Nonce(nonce), topic: tag.map(TopicTag) };
            let field = field(expected);
            prop_assert_eq!(place(&field), Ok(expected));
            let number: i64 = std::str::from_utf8(&field[..14]).unwrap().parse().unwrap();
            prop_assert_eq!(number, position(Some(expected.position())));
        }

        #[test]
        fn garbage_is_read_without_a_panic(field: Vec<u8>, bytes: Vec<u8>, left: i64) {
            let bulk = Value::BulkString;
            let _ = place(&field);
            let _ = backlog(vec![Value::Int(left), bulk(field), Value::Int(left), bulk(bytes)]);
        }
    }
}
