//! How a client is written in the database, version 1.
//!
//! ```text
//! client    version 0x01 | dialect (1 SimplePush, 2 Web Push) | last seen, Unix seconds, 8 bytes
//!           | sequence, 8 bytes | channels, one after the other
//! channel   id, 16 bytes | form | key id | mask, 4 bytes, if the form has bit 1
//!           | pending version, 8 bytes, if the form has bit 2
//!           form bit 0: no hyphens; bit 1: the mask says which letters are in upper case; bit 2: pending
//! ```
//!
//! Numbers are big-endian. The presence is not written: whoever was connected is not after a restart.

use types::{
    channel_id::ChannelId,
    dialect::Dialect,
    key_ring::KeyId,
    notification::Sequence,
    step::{Channel, Snapshot},
    uuid_text::Spelling,
    version::Version,
};

/// The version of the format that this file writes and reads.
const VERSION: u8 = 1;

/// Form: written without hyphens.
const PLAIN: u8 = 1;

/// Form: a mask of upper-case letters follows.
const MASK: u8 = 2;

/// Form: a pending version follows.
const PENDING: u8 = 4;

/// A client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// Its dialect.
    pub(super) dialect: Dialect,
    /// About when it was connected last, in Unix seconds.
    pub(super) last_seen: u64,
    /// The last write.
    pub(super) sequence: Sequence,
    /// Its channels.
    pub(super) channels: Vec<Registration>,
}

/// A registered channel and the key of its token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Registration {
    /// The channel.
    pub(super) channel: Channel,
    /// The key that makes its token.
    pub(super) key: KeyId,
}

/// The bytes are not as this version writes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unreadable(&'static str);

impl Record {
    /// What the store tells about it.
    pub(super) fn snapshot(&self) -> Snapshot {
        let channels = self.channels.iter().map(|registration| registration.channel).collect();
        Snapshot { sequence: self.sequence, channels }
    }

    /// The registration of a channel.
    pub(super) fn channel_mut(&mut self, id: ChannelId) -> Option<&mut Registration> {
        self.channels.iter_mut().find(|registration| registration.channel.id == id)
    }

    /// Writes it.
    pub(super) fn encode(&self) -> Vec<u8> {
        let dialect = match self.dialect {
            Dialect::SimplePush => 1,
            Dialect::WebPush => 2,
        };
        let mut out = Vec::with_capacity(18 + 30 * self.channels.len());
        out.extend([VERSION, dialect]);
        out.extend(self.last_seen.to_be_bytes());
        out.extend(self.sequence.0.to_be_bytes());
        for Registration { channel: Channel { id, spelling, pending }, key } in &self.channels {
            let flag = |set: bool, flag: u8| if set { flag } else { 0 };
            let masked = spelling.upper != 0;
            let form = flag(!spelling.hyphens, PLAIN) | flag(masked, MASK) | flag(pending.is_some(), PENDING);
            out.extend(id.0);
            out.extend([form, key.0]);
            if masked {
                out.extend(spelling.upper.to_be_bytes());
            }
            if let Some(version) = pending {
                out.extend(version.number().to_be_bytes());
            }
        }
        out
    }

    /// Reads it.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let mut rest = bytes;
        let [version, dialect] = take(&mut rest)?;
        if version != VERSION {
            return Err(Unreadable("record of another version"));
        }
        let dialect = match dialect {
            1 => Dialect::SimplePush,
            2 => Dialect::WebPush,
            _ => return Err(Unreadable("unknown dialect")),
        };
        let last_seen = u64::from_be_bytes(take(&mut rest)?);
        let sequence = Sequence(u64::from_be_bytes(take(&mut rest)?));
        let mut channels = Vec::with_capacity(rest.len() / 18);
        while !rest.is_empty() {
            channels.push(registration(&mut rest)?);
        }
        Ok(Self { dialect, last_seen, sequence, channels })
    }
}

/// Takes a channel.
fn registration(rest: &mut &[u8]) -> Result<Registration, Unreadable> {
    let id = ChannelId(take(rest)?);
    let [form, key] = take(rest)?;
    if form & !(PLAIN | MASK | PENDING) != 0 {
        return Err(Unreadable("unknown form of a channel"));
    }
    let upper = if form & MASK == 0 { 0 } else { u32::from_be_bytes(take(rest)?) };
    let pending = if form & PENDING == 0 {
        None
    } else {
        let number = u64::from_be_bytes(take(rest)?);
        Some(Version::new(number).map_err(|_| Unreadable("pending version is not a version"))?)
    };
    let spelling = Spelling { hyphens: form & PLAIN == 0, upper };
    Ok(Registration { channel: Channel { id, spelling, pending }, key: KeyId(key) })
}

/// Takes so many bytes.
fn take<const LEN: usize>(rest: &mut &[u8]) -> Result<[u8; LEN], Unreadable> {
    let (taken, after) = rest.split_first_chunk().ok_or(Unreadable("record is too short"))?;
    *rest = after;
    Ok(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Records as version 1 wrote them. This file is never edited, so that they stay readable.
    const FIXTURE: &str = include_str!("../../tests/fixtures/record-v1.embedded");

    #[test]
    fn records_of_version_1_stay_readable() {
        let mut seen = 0;
        for line in FIXTURE.lines().filter(|line| !line.starts_with('#')) {
            let (hex, expected) = line.split_once(' ').unwrap();
            let bytes: Vec<_> = (0..hex.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
                .collect();
            assert_eq!(format!("{:?}", Record::decode(&bytes).unwrap()), expected);
            seen += 1;
        }
        assert_eq!(seen, 3, "all lines of the fixture");
    }

    #[test]
    fn a_record_of_another_version_is_unreadable() {
        assert_eq!(Record::decode(&[2, 1]).unwrap_err(), Unreadable("record of another version"));
        assert_eq!(Record::decode(&[]).unwrap_err(), Unreadable("record is too short"));
    }

    fn registrations() -> impl Strategy<Value = Vec<Registration>> {
        let one = (any::<([u8; 16], bool, u32, u8)>(), proptest::option::of(0..=Version::MAX));
        proptest::collection::vec(one, 0..5).prop_map(|all| {
            let registration =
                |((id, hyphens, upper, key), pending): (([u8; 16], bool, u32, u8), Option<u64>)| {
                    let pending = pending.map(|number| Version::new(number).unwrap());
                    let spelling = Spelling { hyphens, upper };
                    Registration {
                        channel: Channel { id: ChannelId(id), spelling, pending },
                        key: KeyId(key),
                    }
                };
            all.into_iter().map(registration).collect()
        })
    }

    proptest! {
        #[test]
        fn a_record_survives(webpush: bool, last_seen: u64, sequence: u64, channels in registrations()) {
            let dialect = if webpush { Dialect::WebPush } else { Dialect::SimplePush };
            let record = Record { dialect, last_seen, sequence: Sequence(sequence), channels };
            prop_assert_eq!(Record::decode(&record.encode()), Ok(record));
        }

        #[test]
        fn garbage_is_read_without_a_panic(mut bytes: Vec<u8>) {
            let _ = Record::decode(&bytes);
            bytes.splice(0..0, [VERSION, 1]);
            let _ = Record::decode(&bytes);
        }
    }
}
