//! How a client is written in Redis, version 1: one hash per client.
//!
//! ```text
//! field "m", the head   version 0x01 | dialect (1 SimplePush, 2 Web Push) | flags | node, 8 bytes
//!                       | connection, 8 bytes | sequence, decimal digits
//!                       node and connection are zero if the client is offline; flags are 1 if it has come back or has
//!                       been sent something, 2 if an operator has blocked it, else 0
//! field channel id      the start of a channel (`codec::channel`) | key id | SimplePush: the pending version,
//!   (16 bytes)          decimal digits; Web Push: the last write before it was registered, decimal digits
//! ```
//!
//! Other fields were added by a newer version. They are ignored, and stay. Messages are in keys of their own (`messages`).
//!
//! Numbers of more than a byte are big-endian. Numbers that scripts count with are decimal digits, so that a Lua
//! number never has to hold a version. The scripts in `scripts/` write the same format.

use super::answer::pairs;
use crate::codec::{
    Unreadable,
    channel::{START_LEN_MAX, Start},
    dialect, dialect_byte, take,
};
use beckon_types::{
    Channel, ChannelId, ChannelRecord, ConnectionId, Dialect, KeyHash, KeyId, NodeId, Presence, Restriction,
    Sequence, Snapshot, Spelling, Version,
};
use redis::Value;

/// The version of the format that this file writes and reads.
const VERSION: u8 = 1;

/// Flag of the head: the client has come back or has been sent something.
const KNOWN: u8 = 1;

/// Bytes of a channel's field.
const CHANNEL_LEN: usize = 16;

/// Bytes of a presence.
pub(super) const PRESENCE_LEN: usize = 16;

/// Where the sequence starts in the head.
const SEQUENCE_AT: usize = 3 + PRESENCE_LEN;

/// The field of the head.
pub(super) const HEAD: &[u8] = b"m";

/// The content of the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// The client's dialect.
    pub(super) dialect: Dialect,
    /// The socket that owns it.
    pub(super) presence: Option<Presence>,
    /// The last write.
    pub(super) sequence: Sequence,
}

/// The bytes of a presence.
pub(super) fn presence_bytes(presence: Presence) -> [u8; PRESENCE_LEN] {
    let mut bytes = [0; PRESENCE_LEN];
    bytes[..8].copy_from_slice(&presence.node.0.to_be_bytes());
    bytes[8..].copy_from_slice(&presence.connection.0.to_be_bytes());
    bytes
}

/// Reads a presence; all zero is none.
pub(super) fn presence(bytes: &[u8]) -> Result<Option<Presence>, Unreadable> {
    let bytes: [u8; PRESENCE_LEN] = bytes.try_into().map_err(|_| Unreadable("presence is not 16 bytes"))?;
    let number = u128::from_be_bytes(bytes);
    Ok((number != 0)
        .then_some(Presence { node: NodeId((number >> 64) as u64), connection: ConnectionId(number as u64) }))
}

/// Reads the answer of `add_channel`: a key and the sequence.
pub(super) fn key_and_sequence(bytes: &[u8]) -> Result<(KeyId, Sequence), Unreadable> {
    let (&key, digits) = bytes.split_first().ok_or(Unreadable("answer is too short"))?;
    Ok((KeyId(key), sequence(digits)?))
}

/// What the scripts that write answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Written {
    /// The write.
    pub(super) sequence: Sequence,
    /// The write before it.
    pub(super) previous: Sequence,
    /// The socket that owns the client.
    pub(super) presence: Option<Presence>,
}

/// Reads that answer: the head, a space, and the sequence that the head had before.
pub(super) fn written(bytes: &[u8]) -> Result<Written, Unreadable> {
    // The last one, because the presence may have such bytes.
    let space = bytes.iter().rposition(|byte| *byte == b' ').ok_or(Unreadable("answer without a space"))?;
    let Head { dialect: _, presence, sequence } = head(&bytes[..space])?;
    Ok(Written { sequence, previous: self::sequence(&bytes[space + 1..])?, presence })
}

/// Reads the head.
pub(super) fn head(bytes: &[u8]) -> Result<Head, Unreadable> {
    if bytes.first() != Some(&VERSION) {
        return Err(Unreadable("record of another version"));
    }
    let (fixed, digits) = bytes.split_at_checked(SEQUENCE_AT).ok_or(Unreadable("head is too short"))?;
    Ok(Head { dialect: dialect(fixed[1])?, presence: presence(&fixed[3..])?, sequence: sequence(digits)? })
}

/// The bytes of the head of a client that is not connected.
pub(super) fn offline_head(dialect: Dialect, sequence: Sequence) -> Vec<u8> {
    let mut bytes = vec![VERSION, dialect_byte(dialect), KNOWN];
    bytes.extend([0; PRESENCE_LEN]);
    bytes.extend(sequence.0.to_string().bytes());
    bytes
}

/// The value of a channel's field.
pub(super) fn channel_value(record: &ChannelRecord) -> Vec<u8> {
    let ChannelRecord { channel: Channel { id: _, spelling, pending }, key, restricted } = *record;
    let mut bytes = Vec::with_capacity(START_LEN_MAX + 1 + 19);
    Start { spelling, restricted }.encode(&mut bytes);
    bytes.push(key.0);
    bytes.extend(pending.map(|version| version.number().to_string()).unwrap_or_default().bytes());
    bytes
}

/// The beginning of a channel, as it is registered.
pub(super) fn channel_start(spelling: Spelling, restricted: Option<KeyHash>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(START_LEN_MAX);
    Start { spelling, restricted: restricted.map(Restriction::from) }.encode(&mut bytes);
    bytes
}

/// What scripts compare with a channel's restriction: empty for none.
pub(super) fn restriction(restricted: Option<KeyHash>) -> Vec<u8> {
    restricted.map_or_else(Vec::new, |hash| Restriction::from(hash).0.to_vec())
}

/// Reads a channel's field.
pub(super) fn channel(field: &[u8], value: &[u8], dialect: Dialect) -> Result<ChannelRecord, Unreadable> {
    let id = field.try_into().map_err(|_| Unreadable("channel id is not 16 bytes"))?;
    let mut rest = value;
    let Start { spelling, restricted } = Start::decode(&mut rest)?;
    let [key] = take(&mut rest)?;
    let pending = match (dialect, rest) {
        (Dialect::SimplePush, []) | (Dialect::WebPush, _) => None,
        (Dialect::SimplePush, digits) => Some(
            std::str::from_utf8(digits)
                .ok()
                .and_then(|text| Version::parse(text).ok())
                .ok_or(Unreadable("pending version is not a version"))?,
        ),
    };
    let channel = Channel { id: ChannelId(id), spelling, pending };
    Ok(ChannelRecord { channel, key: KeyId(key), restricted })
}

/// Reads the head and the channels of a record, as a hash is listed. Without a head there are no channels.
pub(super) fn record(fields: &[Value]) -> Result<(Option<Head>, Snapshot), Unreadable> {
    let mut snapshot = Snapshot::default();
    let Some((_, value)) = pairs(fields).find(|(field, _)| *field == HEAD) else {
        return Ok((None, snapshot));
    };
    let head = head(value)?;
    snapshot.sequence = head.sequence;
    for (field, value) in channels(fields) {
        snapshot.channels.push(channel(field, value, head.dialect)?.channel);
    }
    Ok((Some(head), snapshot))
}

/// The fields of a record that are channels, and their values.
pub(super) fn channels(fields: &[Value]) -> impl Iterator<Item = (&[u8], &[u8])> {
    pairs(fields).filter(|(field, _)| field.len() == CHANNEL_LEN)
}

/// Reads the decimal digits of a sequence.
pub(super) fn sequence(digits: &[u8]) -> Result<Sequence, Unreadable> {
    number(digits).map(Sequence)
}

/// Reads the decimal digits of a number.
pub(super) fn number(digits: &[u8]) -> Result<u64, Unreadable> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Unreadable("not a number"));
    }
    let text = std::str::from_utf8(digits).map_err(|_| Unreadable("not a number"))?;
    text.parse().map_err(|_| Unreadable("number is too large"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::tests::fixture;
    use proptest::prelude::*;

    /// Fields of records as version 1 writes them.
    const FIXTURE: &str = include_str!("../../tests/fixtures/record-v1.redis");

    #[test]
    fn records_of_version_1_are_read() {
        let fields = fixture(FIXTURE);
        assert_eq!(fields.len(), 11, "all lines of the fixture");
        for ([field, value], expected) in fields {
            let read = if field == HEAD {
                format!("{:?}", head(&value).unwrap())
            } else {
                format!("{:?}", channel(&field, &value, Dialect::SimplePush).unwrap().channel)
            };
            assert_eq!(read, expected);
        }
    }

    #[test]
    fn a_record_of_another_version_is_unreadable() {
        assert_eq!(head(b"\x02\x01").unwrap_err(), Unreadable("record of another version"));
        assert_eq!(head(b"").unwrap_err(), Unreadable("record of another version"));
    }

    #[test]
    fn the_answer_to_a_write_has_the_write_before_it() {
        let presence = Presence { node: NodeId(0x2020_2020_2020_2020), connection: ConnectionId(0x20) };
        let head = [&[VERSION, 1, KNOWN][..], &presence_bytes(presence), b"1764000000007"].concat();
        for (previous, number) in [("1764000000000", 1_764_000_000_000), ("0", 0)] {
            let expected = Written {
                sequence: Sequence(1_764_000_000_007),
                previous: Sequence(number),
                presence: Some(presence),
            };
            assert_eq!(written(&[&head[..], b" ", previous.as_bytes()].concat()), Ok(expected));
        }
        assert!(written(&head).is_err() && written(&[&head[..], b" "].concat()).is_err());
        assert!(written(&[&head[..], b" x"].concat()).is_err() && written(b"").is_err());
    }

    proptest! {
        #[test]
        fn a_channel_survives(
            id: [u8; 16],
            hyphens: bool,
            upper: u32,
            restricted in proptest::option::of(any::<[u8; 32]>()),
            key: u8,
            pending in proptest::option::of(0..=Version::MAX),
        ) {
            let expected = ChannelRecord {
                channel: Channel {
                    id: ChannelId(id),
                    spelling: Spelling { hyphens, upper },
                    pending: pending.map(|number| Version::new(number).unwrap()),
                },
                key: KeyId(key),
                restricted: restricted.map(|hash| KeyHash(hash).into()),
            };
            let value = channel_value(&expected);
            prop_assert_eq!(channel(&id, &value, Dialect::SimplePush), Ok(expected));
            let without = ChannelRecord { channel: Channel { pending: None, ..expected.channel }, ..expected };
            prop_assert_eq!(channel(&id, &value, Dialect::WebPush), Ok(without));
        }

        #[test]
        fn a_presence_survives(node in 1_u64.., connection: u64) {
            let expected = Presence { node: NodeId(node), connection: ConnectionId(connection) };
            prop_assert_eq!(presence(&presence_bytes(expected)), Ok(Some(expected)));
        }

        #[test]
        fn garbage_is_read_without_a_panic(field: Vec<u8>, mut value: Vec<u8>, plausible: bool) {
            if plausible && value.len() > 1 {
                (value[0], value[1]) = (value[0] % 8, value[1] % 3);
            }
            let _ = head(&value);
            let _ = channel(&field, &value, Dialect::SimplePush);
            let _ = channel(&[0; 16], &value, Dialect::SimplePush);
            let _ = key_and_sequence(&value);
            let _ = written(&value);
            let bulk = |bytes: &[u8]| Value::BulkString(bytes.to_vec());
            let _ = record(&[bulk(HEAD), bulk(&value), bulk(&field), bulk(&value)]);
        }
    }
}
