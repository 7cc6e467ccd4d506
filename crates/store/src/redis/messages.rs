//! Messages in Redis: each in a key of its own that expires by itself, beside its field in the client's record
//! (`record`). It is written as [`codec::message`](message) says.

use super::{answer::unexpected, keys, options::KeyPrefix, record, script::SCRIPTS};
use crate::{
    StoreError,
    codec::{Unreadable, message},
};
use beckon_types::{Backlog, Place, Position, PutMessage, PutMessageOutcome, TopicTag};
use redis::{Cmd, Value};
use std::time::Duration;

/// Parts of an answer for each message: topic, sequence, what is left of its TTL, and the message.
const PARTS: usize = 4;

/// Scripts add this to the sequence of a message without a topic, which makes its position a single number. No
/// sequence is as large, and a Lua number holds the sum.
const WITHOUT_TOPIC: u64 = 1 << 52;

/// The longest TTL, a thousand years: Redis rejects an expiry that overflows.
const TTL_MS_MAX: u64 = 1000 * 365 * 24 * 60 * 60 * 1000;

/// The call of the script that stores a message. TTLs have a resolution of 1 ms.
pub(super) fn put_call(prefix: &KeyPrefix, put: &PutMessage) -> Cmd {
    let message = message::encode(put);
    let ttl_ms = u64::try_from(put.draft.ttl.as_millis()).unwrap_or(u64::MAX).min(TTL_MS_MAX);
    let mut call = SCRIPTS.put_message.call(&[&keys::client(prefix, put.uaid)], 6, 96 + message.len());
    call.arg(&put.channel.0[..])
        .arg(record::restriction(put.restricted))
        .arg(record::topic_field(put.topic))
        // A key exists until its time is over, including the last millisecond. So it gets a millisecond less, and a
        // message that would expire at once is not stored.
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

/// A position as a number for scripts; -1 is before the first.
pub(super) fn position(after: Option<Position>) -> i64 {
    after.map_or(-1, |Position { without_topic, sequence }| {
        let group = if without_topic { WITHOUT_TOPIC } else { 0 };
        (group + sequence.0.min(WITHOUT_TOPIC - 1)) as i64
    })
}

/// Reads the messages in the answer of a script.
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
        messages.push(message::decode(&bytes.into(), place, ttl)?);
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

#[cfg(test)]
mod tests {
    use super::*;
    use beckon_types::Sequence;
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
        fn garbage_is_read_without_a_panic(bytes: Vec<u8>, sequence: Vec<u8>, left: i64) {
            let bulk = Value::BulkString;
            let _ = backlog(vec![Value::Int(left), bulk(bytes.clone()), bulk(sequence), Value::Int(left), bulk(bytes)]);
        }
    }
}
