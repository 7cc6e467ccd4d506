//! How a client is written in Redis, version 1: one hash per client.
//!
//! ```text
//! field "m", the head   version 0x01 | dialect (1 SimplePush, 2 Web Push) | node, 8 bytes | connection, 8 bytes
//!                       | sequence, decimal digits            all zero node and connection: nobody has it
//! field channel id      form | mask, 4 bytes, if the form has bit 1 | key id | pending version, decimal digits
//!   (16 bytes)          form bit 0: no hyphens; bit 1: the mask says which letters are in upper case
//! ```
//!
//! Numbers of more than a byte are big-endian. Numbers that scripts count with are decimal digits, so that no
//! Lua number has to hold a version. The scripts in `scripts/` write the same format.

use types::{
    channel_id::ChannelId,
    dialect::Dialect,
    key_ring::KeyId,
    notification::Sequence,
    presence::{ConnectionId, NodeId, Presence},
    step::{Channel, Snapshot},
    uuid_text::Spelling,
    version::Version,
};

/// The version of the format that this file writes and reads.
const VERSION: u8 = 1;

/// Bytes of a presence.
pub(super) const PRESENCE_LEN: usize = 16;

/// Where the sequence starts in the head.
const SEQUENCE_AT: usize = 2 + PRESENCE_LEN;

/// The field of the head.
pub(super) const HEAD: &[u8] = b"m";

/// A field is not as this version writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unreadable(pub(super) &'static str);

/// What the head says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// The client's dialect.
    pub(super) dialect: Dialect,
    /// Who has it.
    pub(super) presence: Option<Presence>,
    /// The last write.
    pub(super) sequence: Sequence,
}

/// The byte of a dialect.
pub(super) fn dialect_byte(dialect: Dialect) -> u8 {
    match dialect {
        Dialect::SimplePush => 1,
        Dialect::WebPush => 2,
    }
}

/// The dialect of a byte.
pub(super) fn dialect(byte: u8) -> Result<Dialect, Unreadable> {
    match byte {
        1 => Ok(Dialect::SimplePush),
        2 => Ok(Dialect::WebPush),
        _ => Err(Unreadable("unknown dialect")),
    }
}

/// The bytes of a presence.
pub(super) fn presence_bytes(presence: Presence) -> [u8; PRESENCE_LEN] {
    let mut bytes = [0; PRESENCE_LEN];
    bytes[..8].copy_from_slice(&presence.node.0.to_be_bytes());
    bytes[8..].copy_from_slice(&presence.connection.0.to_be_bytes());
    bytes
}

/// Reads a presence; all zero is nobody.
pub(super) fn presence(bytes: &[u8]) -> Result<Option<Presence>, Unreadable> {
    let bytes: [u8; PRESENCE_LEN] = bytes.try_into().map_err(|_| Unreadable("presence is not 16 bytes"))?;
    let number = u128::from_be_bytes(bytes);
    Ok((number != 0)
        .then_some(Presence { node: NodeId((number >> 64) as u64), connection: ConnectionId(number as u64) }))
}

/// Reads what `add_channel` answers: a key and the sequence.
pub(super) fn key_and_sequence(bytes: &[u8]) -> Result<(KeyId, Sequence), Unreadable> {
    let (&key, digits) = bytes.split_first().ok_or(Unreadable("answer is too short"))?;
    Ok((KeyId(key), sequence(digits)?))
}

/// Reads the head.
pub(super) fn head(bytes: &[u8]) -> Result<Head, Unreadable> {
    if bytes.first() != Some(&VERSION) {
        return Err(Unreadable("record of another version"));
    }
    let (fixed, digits) = bytes.split_at_checked(SEQUENCE_AT).ok_or(Unreadable("head is too short"))?;
    Ok(Head { dialect: dialect(fixed[1])?, presence: presence(&fixed[2..])?, sequence: sequence(digits)? })
}

/// The bytes of a spelling: form and mask.
pub(super) fn spelling_bytes(spelling: Spelling, out: &mut Vec<u8>) {
    let plain = u8::from(!spelling.hyphens);
    if spelling.upper == 0 {
        out.push(plain);
    } else {
        out.push(plain | 2);
        out.extend_from_slice(&spelling.upper.to_be_bytes());
    }
}

/// Reads a channel's field.
pub(super) fn channel(field: &[u8], value: &[u8]) -> Result<Channel, Unreadable> {
    let id = field.try_into().map_err(|_| Unreadable("channel id is not 16 bytes"))?;
    let (&form, rest) = value.split_first().ok_or(Unreadable("channel is empty"))?;
    let (upper, rest) = match form {
        0 | 1 => (0, rest),
        2 | 3 => {
            let (mask, rest) = rest.split_first_chunk().ok_or(Unreadable("channel is too short"))?;
            (u32::from_be_bytes(*mask), rest)
        }
        _ => return Err(Unreadable("unknown form of a channel")),
    };
    let (_key, pending) = rest.split_first().ok_or(Unreadable("channel is too short"))?;
    let pending = match pending {
        [] => None,
        digits => Some(
            std::str::from_utf8(digits)
                .ok()
                .and_then(|text| Version::parse(text).ok())
                .ok_or(Unreadable("pending version is not a version"))?,
        ),
    };
    Ok(Channel { id: ChannelId(id), spelling: Spelling { hyphens: form & 1 == 0, upper }, pending })
}

/// Reads all fields of a record.
pub(super) fn record<'a>(
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) -> Result<(Option<Head>, Snapshot), Unreadable> {
    let mut found = None;
    let mut snapshot = Snapshot::default();
    for (field, value) in fields {
        if field == HEAD {
            let head = head(value)?;
            snapshot.sequence = head.sequence;
            found = Some(head);
        } else {
            snapshot.channels.push(channel(field, value)?);
        }
    }
    Ok((found, snapshot))
}

/// Reads the decimal digits of a sequence.
fn sequence(digits: &[u8]) -> Result<Sequence, Unreadable> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Unreadable("sequence is not a number"));
    }
    let text = std::str::from_utf8(digits).map_err(|_| Unreadable("sequence is not a number"))?;
    text.parse().map(Sequence).map_err(|_| Unreadable("sequence is too large"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Records as version 1 wrote them. This file is never edited, so that they stay readable.
    const FIXTURE: &str = include_str!("../../tests/fixtures/record-v1.redis");

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn records_of_version_1_stay_readable() {
        let mut seen = 0;
        for line in FIXTURE.lines().filter(|line| !line.starts_with('#')) {
            let [field, value, expected] = line.splitn(3, ' ').collect::<Vec<_>>()[..] else {
                panic!("three columns: {line}");
            };
            let (field, value) = (bytes(field), bytes(value));
            let read = if field == HEAD {
                format!("{:?}", head(&value).unwrap())
            } else {
                format!("{:?}", channel(&field, &value).unwrap())
            };
            assert_eq!(read, expected);
            seen += 1;
        }
        assert_eq!(seen, 7, "all lines of the fixture");
    }

    #[test]
    fn a_record_of_another_version_is_unreadable() {
        assert_eq!(head(b"\x02\x01").unwrap_err(), Unreadable("record of another version"));
        assert_eq!(head(b"").unwrap_err(), Unreadable("record of another version"));
    }

    proptest! {
        #[test]
        fn a_channel_survives(id: [u8; 16], hyphens: bool, upper: u32, key: u8, pending in proptest::option::of(0..=Version::MAX)) {
            let expected = Channel {
                id: ChannelId(id),
                spelling: Spelling { hyphens, upper },
                pending: pending.map(|number| Version::new(number).unwrap()),
            };
            let mut value = Vec::new();
            spelling_bytes(expected.spelling, &mut value);
            value.push(key);
            value.extend(pending.map(|number| number.to_string()).unwrap_or_default().bytes());
            prop_assert_eq!(channel(&id, &value), Ok(expected));
        }

        #[test]
        fn a_presence_survives(node in 1_u64.., connection: u64) {
            let expected = Presence { node: NodeId(node), connection: ConnectionId(connection) };
            prop_assert_eq!(presence(&presence_bytes(expected)), Ok(Some(expected)));
        }

        #[test]
        fn garbage_is_read_without_a_panic(field: Vec<u8>, mut value: Vec<u8>, plausible: bool) {
            if plausible && value.len() > 1 {
                (value[0], value[1]) = (value[0] % 4, value[1] % 3);
            }
            let _ = head(&value);
            let _ = channel(&field, &value);
            let _ = channel(&[0; 16], &value);
            let _ = key_and_sequence(&value);
            let _ = record([(HEAD, &value[..]), (&field[..], &value[..])].into_iter());
        }
    }
}
