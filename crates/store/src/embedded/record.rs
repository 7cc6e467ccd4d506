//! How a client is written in the database, version 1.
//!
//! ```text
//! client    version 0x01 | dialect (1 SimplePush, 2 Web Push) | standing (0 new, 1 known, 2 blocked) | last seen, Unix seconds,
//!           8 bytes | sequence, 8 bytes | number of messages, 4 bytes | the messages, oldest first
//!           | number of channels, 4 bytes | the channels
//! message   sequence, 8 bytes | nonce, 8 bytes | expires, Unix milliseconds, 8 bytes
//!           | index of its channel, from 0, 4 bytes | flags (bit 0 has a topic, bit 1 is in the reserve of its channel)
//!           | tag of the topic, 12 bytes, if it has one
//! channel   id, 16 bytes | the start of a channel (`codec::channel`) | key id | whether a version is pending (0 or 1)
//!           | the pending version, 8 bytes, if there is one
//! ```
//!
//! Numbers are big-endian. What is behind a client was added by a newer version; it is ignored, and does not stay. The
//! presence is not written: no client is connected when the process starts.
//!
//! The record has what a step needs to know of a message to decide. What the message carries is in a table of its own
//! ([`crate::codec::message`]), and is read only to be sent.

use crate::codec::{
    Unreadable,
    channel::{START_LEN_MAX, Start},
    dialect, dialect_byte, take,
};
use beckon_types::{
    Channel, ChannelId, ChannelRecord, Dialect, KeyId, Nonce, Place, Sequence, Snapshot, TOPIC_TAG_LEN,
    TopicTag, Version,
};

/// The version of the format that this file writes and reads.
const VERSION: u8 = 1;

/// Bytes besides the messages and the channels.
const FIXED_LEN: usize = 3 + 8 + 8 + 4 + 4;

/// Bytes of a message without a topic.
const MESSAGE_LEN_MIN: usize = 8 + 8 + 8 + 4 + 1;

/// Flag of a message: it has a topic.
const TOPIC: u8 = 1;

/// Flag of a message: it is in the reserve of its channel.
const RESERVED: u8 = 2;

/// Bytes of a channel with the shortest start and without a pending version.
const CHANNEL_LEN_MIN: usize = 16 + 1 + 1 + 1;

/// Bytes of a channel that has everything.
const CHANNEL_LEN_MAX: usize = 16 + START_LEN_MAX + 1 + 1 + 8;

/// A client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// Its dialect.
    pub(super) dialect: Dialect,
    /// Whether it has come back after its first socket, or was written to.
    pub(super) is_known: bool,
    /// Whether an operator has blocked it. Then it has nothing else, and does not expire.
    pub(super) is_blocked: bool,
    /// About when it was last connected, in Unix seconds.
    pub(super) last_seen: u64,
    /// The last write.
    pub(super) sequence: Sequence,
    /// Its stored messages, oldest first, without what they carry. Some may have expired.
    pub(super) messages: Vec<Stored>,
    /// Its channels.
    pub(super) channels: Vec<ChannelRecord>,
}

/// A stored message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stored {
    /// Identifies it among the messages of the client.
    pub(super) place: Place,
    /// The moment from which on it is not sent any more, in Unix milliseconds.
    pub(super) expires: u64,
    /// The index of its channel in [`Record::channels`].
    pub(super) channel: u32,
    /// Whether it is in the reserve of its channel: it was stored although the client had as many as it may have.
    pub(super) is_reserved: bool,
}

impl Record {
    /// All channels and what is pending on them.
    pub(super) fn snapshot(&self) -> Snapshot {
        let channels = self.channels.iter().map(|registration| registration.channel).collect();
        Snapshot { sequence: self.sequence, channels }
    }

    /// The index of a channel.
    pub(super) fn position(&self, id: ChannelId) -> Option<usize> {
        self.channels.iter().position(|registration| registration.channel.id == id)
    }

    /// The registration of a channel.
    pub(super) fn channel_mut(&mut self, id: ChannelId) -> Option<&mut ChannelRecord> {
        self.channels.iter_mut().find(|registration| registration.channel.id == id)
    }

    /// Takes a channel out together with its stored messages, and returns their sequences; `None` if it is not
    /// registered.
    pub(super) fn take_channel(&mut self, id: ChannelId) -> Option<Vec<Sequence>> {
        let position = self.position(id)?;
        self.channels.remove(position);
        let taken = self.take_messages(|message| message.channel as usize == position);
        for message in &mut self.messages {
            // The channels behind it have moved up.
            if message.channel as usize > position {
                message.channel -= 1;
            }
        }
        Some(taken)
    }

    /// Takes messages out, and returns their sequences.
    pub(super) fn take_messages(&mut self, is_taken: impl Fn(&Stored) -> bool) -> Vec<Sequence> {
        let taken = self.messages.extract_if(.., |message| is_taken(message));
        taken.map(|message| message.place.sequence).collect()
    }

    /// The bytes of the record.
    pub(super) fn encode(&self) -> Vec<u8> {
        let Self { dialect, is_known, is_blocked, last_seen, sequence, messages, channels } = self;
        let messages_len = messages.len() * (MESSAGE_LEN_MIN + TOPIC_TAG_LEN);
        let mut out = Vec::with_capacity(FIXED_LEN + messages_len + channels.len() * CHANNEL_LEN_MAX);
        out.extend([VERSION, dialect_byte(*dialect), if *is_blocked { 2 } else { u8::from(*is_known) }]);
        out.extend(last_seen.to_be_bytes());
        out.extend(sequence.0.to_be_bytes());
        // The number always fits: `PutMessage::messages_max` has the same type.
        out.extend(u32::try_from(messages.len()).unwrap_or(u32::MAX).to_be_bytes());
        messages.iter().for_each(|message| message.encode(&mut out));
        out.extend(u32::try_from(channels.len()).unwrap_or(u32::MAX).to_be_bytes());
        channels.iter().for_each(|registration| encode_channel(registration, &mut out));
        #[cfg(feature = "next-format")]
        out.extend(b"of the next version");
        out
    }

    /// Reads a record.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let mut rest = bytes;
        let [version, dialect_byte] = take(&mut rest)?;
        if version != VERSION {
            return Err(Unreadable("record of another version"));
        }
        let dialect = dialect(dialect_byte)?;
        let (is_known, is_blocked) = match take(&mut rest)? {
            [0] => (false, false),
            [1] => (true, false),
            [2] => (true, true),
            [_] => return Err(Unreadable("unknown standing of a client")),
        };
        let last_seen = u64::from_be_bytes(take(&mut rest)?);
        let sequence = Sequence(u64::from_be_bytes(take(&mut rest)?));
        // A damaged record does not reserve more than it could contain.
        let number = u32::from_be_bytes(take(&mut rest)?) as usize;
        let mut messages = Vec::with_capacity(number.min(rest.len() / MESSAGE_LEN_MIN));
        for _ in 0..number {
            messages.push(Stored::decode(&mut rest)?);
        }
        let number = u32::from_be_bytes(take(&mut rest)?) as usize;
        let mut channels = Vec::with_capacity(number.min(rest.len() / CHANNEL_LEN_MIN));
        for _ in 0..number {
            channels.push(decode_channel(&mut rest)?);
        }
        if messages.iter().any(|message| message.channel as usize >= channels.len()) {
            return Err(Unreadable("message of a channel that is not registered"));
        }
        Ok(Self { dialect, is_known, is_blocked, last_seen, sequence, messages, channels })
    }
}

impl Stored {
    fn encode(&self, out: &mut Vec<u8>) {
        let Self { place, expires, channel, is_reserved } = self;
        let topic = if place.topic.is_some() { TOPIC } else { 0 };
        let reserved = if *is_reserved { RESERVED } else { 0 };
        out.extend(place.sequence.0.to_be_bytes());
        out.extend(place.nonce.0.to_be_bytes());
        out.extend(expires.to_be_bytes());
        out.extend(channel.to_be_bytes());
        out.push(topic | reserved);
        out.extend(place.topic.iter().flat_map(|tag| tag.0));
    }

    fn decode(rest: &mut &[u8]) -> Result<Self, Unreadable> {
        let sequence = Sequence(u64::from_be_bytes(take(rest)?));
        let nonce = Nonce(u64::from_be_bytes(take(rest)?));
        let expires = u64::from_be_bytes(take(rest)?);
        let channel = u32::from_be_bytes(take(rest)?);
        let [flags] = take(rest)?;
        if flags & !(TOPIC | RESERVED) != 0 {
            return Err(Unreadable("unknown flag of a message"));
        }
        let topic = if flags & TOPIC != 0 { Some(TopicTag(take(rest)?)) } else { None };
        let place = Place { sequence, nonce, topic };
        Ok(Self { place, expires, channel, is_reserved: flags & RESERVED != 0 })
    }
}

fn encode_channel(registration: &ChannelRecord, out: &mut Vec<u8>) {
    let ChannelRecord { channel: Channel { id, spelling, pending }, key, restricted } = *registration;
    out.extend(id.0);
    Start { spelling, restricted }.encode(out);
    out.extend([key.0, u8::from(pending.is_some())]);
    out.extend(pending.iter().flat_map(|version| version.number().to_be_bytes()));
}

fn decode_channel(rest: &mut &[u8]) -> Result<ChannelRecord, Unreadable> {
    let id = ChannelId(take(rest)?);
    let Start { spelling, restricted } = Start::decode(rest)?;
    let [key] = take(rest)?;
    let pending = if flag(rest)? {
        let number = u64::from_be_bytes(take(rest)?);
        Some(Version::new(number).map_err(|_| Unreadable("pending version is not a version"))?)
    } else {
        None
    };
    Ok(ChannelRecord { channel: Channel { id, spelling, pending }, key: KeyId(key), restricted })
}

/// Takes a byte that is 0 or 1.
fn flag(rest: &mut &[u8]) -> Result<bool, Unreadable> {
    match take(rest)? {
        [0] => Ok(false),
        [1] => Ok(true),
        [_] => Err(Unreadable("neither 0 nor 1")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::tests::fixture;
    use beckon_types::{Restriction, Spelling};
    use proptest::prelude::*;

    /// Records as version 1 writes them.
    const FIXTURE: &str = include_str!("../../tests/fixtures/record-v1.embedded");

    #[test]
    fn records_of_version_1_are_read_and_written() {
        let records = fixture(FIXTURE);
        assert_eq!(records.len(), 4, "all lines of the fixture");
        for ([bytes], expected) in records {
            let record = Record::decode(&bytes).unwrap();
            assert_eq!(format!("{record:?}"), expected);
            assert_eq!(record.encode(), bytes);
        }
    }

    #[test]
    fn any_other_format_is_unreadable() {
        let record = |rest: &[u8]| [&[VERSION, 2, 0][..], &[0; 16], rest].concat();
        let message = |flag: u8| record(&[&[0, 0, 0, 1][..], &[0; 28], &[flag], &[0; 4]].concat());
        let channel = |rest: &[u8]| record(&[&[0, 0, 0, 0, 0, 0, 0, 1][..], &[0; 16], rest].concat());
        for (bytes, reason) in [
            (vec![], "too short"),
            (vec![2, 1], "record of another version"),
            (vec![VERSION, 3], "unknown dialect"),
            (vec![VERSION, 2, 3], "unknown standing of a client"),
            (record(&[0xff; 4]), "too short"),
            (record(&[0, 0, 0, 0]), "too short"),
            (record(&[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]), "too short"),
            (message(4), "unknown flag of a message"),
            (message(0), "message of a channel that is not registered"),
            (channel(&[8, 1, 0]), "unknown form of a channel"),
            (channel(&[0, 1, 2]), "neither 0 nor 1"),
            (channel(&[0, 1, 1, 0xff, 0, 0, 0, 0, 0, 0, 0]), "pending version is not a version"),
        ] {
            assert_eq!(Record::decode(&bytes), Err(Unreadable(reason)), "{bytes:?}");
        }
    }

    #[test]
    fn a_channel_goes_with_its_messages_and_the_others_stay() {
        let channel = |byte| ChannelRecord {
            channel: Channel { id: ChannelId([byte; 16]), spelling: Spelling::HYPHENATED, pending: None },
            key: KeyId(1),
            restricted: None,
        };
        let message = |sequence, channel| Stored {
            place: Place { sequence: Sequence(sequence), nonce: Nonce(sequence), topic: None },
            expires: 1,
            channel,
            is_reserved: false,
        };
        let mut record = Record {
            dialect: Dialect::WebPush,
            is_known: true,
            is_blocked: false,
            last_seen: 0,
            sequence: Sequence(4),
            messages: vec![message(1, 0), message(2, 1), message(3, 2), message(4, 1)],
            channels: vec![channel(10), channel(11), channel(12)],
        };
        assert_eq!(record.take_channel(ChannelId([11; 16])), Some(vec![Sequence(2), Sequence(4)]));
        assert_eq!(record.messages, [message(1, 0), message(3, 1)]);
        assert_eq!(record.channels, [channel(10), channel(12)]);
        assert_eq!(record.take_channel(ChannelId([11; 16])), None);
    }

    fn registrations() -> impl Strategy<Value = Vec<ChannelRecord>> {
        let restriction = proptest::option::of(any::<[u8; Restriction::LEN]>());
        let upper = prop_oneof![Just(0), any::<u32>()];
        let one = (any::<([u8; 16], bool, u8)>(), upper, proptest::option::of(0..=Version::MAX), restriction);
        let registration =
            |((id, hyphens, key), upper, pending, restriction): (_, _, Option<u64>, Option<_>)| {
                let pending = pending.map(|number| Version::new(number).unwrap());
                let channel = Channel { id: ChannelId(id), spelling: Spelling { hyphens, upper }, pending };
                ChannelRecord { channel, key: KeyId(key), restricted: restriction.map(Restriction) }
            };
        proptest::collection::vec(one.prop_map(registration), 0..5)
    }

    fn messages() -> impl Strategy<Value = Vec<Stored>> {
        let one = (any::<(u64, u64, u64, u32, bool)>(), proptest::option::of(any::<[u8; TOPIC_TAG_LEN]>()));
        let stored = |((sequence, nonce, expires, channel, is_reserved), tag): (_, Option<_>)| {
            let place = Place { sequence: Sequence(sequence), nonce: Nonce(nonce), topic: tag.map(TopicTag) };
            Stored { place, expires, channel, is_reserved }
        };
        proptest::collection::vec(one.prop_map(stored), 0..5)
    }

    proptest! {
        #[test]
        fn a_record_survives(
            is_webpush: bool,
            is_known: bool,
            is_blocked: bool,
            last_seen: u64,
            sequence: u64,
            mut messages in messages(),
            channels in registrations(),
            newer: Vec<u8>,
        ) {
            let dialect = if is_webpush { Dialect::WebPush } else { Dialect::SimplePush };
            match u32::try_from(channels.len()) {
                Ok(len @ 1..) => messages.iter_mut().for_each(|message| message.channel %= len),
                Ok(0) | Err(_) => messages.clear(),
            }
            let is_known = is_known || is_blocked;
            let sequence = Sequence(sequence);
            let record = Record { dialect, is_known, is_blocked, last_seen, sequence, messages, channels };
            let bytes = [record.encode(), newer].concat();
            prop_assert_eq!(Record::decode(&bytes), Ok(record));
        }

        #[test]
        fn garbage_is_read_without_a_panic(mut bytes: Vec<u8>) {
            let _ = Record::decode(&bytes);
            bytes.splice(0..0, [VERSION, 1]);
            let _ = Record::decode(&bytes);
        }
    }
}
