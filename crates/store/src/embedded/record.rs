//! How a client is written in the database, versions 1 and 2.
//!
//! ```text
//! client    version | dialect (1 SimplePush, 2 Web Push) | last seen, Unix seconds, 8 bytes
//!           | sequence, 8 bytes | in version 2: number of messages, 4 bytes, and these, oldest first
//!           | channels, one after the other
//! message   sequence, 8 bytes | expires, Unix milliseconds, 8 bytes | its channel's place among the channels
//!           from 0, 4 bytes | whether it has a topic (0 or 1) | tag of the topic, 12 bytes, if it has one
//! channel   id, 16 bytes | form | key id | mask, 4 bytes, if the form has bit 1
//!           | pending version, 8 bytes, if the form has bit 2 | prefix of the key's hash, 16 bytes, if bit 3
//!           form bit 0: no hyphens; bit 1: the mask says which letters are in upper case; bit 2: pending;
//!           bit 3, in version 2 only: restricted to a key
//! ```
//!
//! Numbers are big-endian. The presence is not written: whoever was connected is not after a restart.
//!
//! A client without messages and restricted channels is written in version 1, as servers without Web Push did. So
//! such a server can read what it knows of, and does not touch the rest.
//!
//! What a step has to know of a message to decide is here; what it carries is in a table of its own
//! ([`super::message`]), and is read only to be sent.

use beckon_types::{
    Channel, ChannelId, Dialect, KeyHash, KeyId, Place, Sequence, Snapshot, Spelling, TopicTag, Version,
};

/// The format of a client that has neither messages nor restricted channels.
const VERSION_1: u8 = 1;

/// The format of the others.
const VERSION_2: u8 = 2;

/// Form: written without hyphens.
const PLAIN: u8 = 1;

/// Form: a mask of upper-case letters follows.
const MASK: u8 = 2;

/// Form: a pending version follows.
const PENDING: u8 = 4;

/// Form: the prefix of a key's hash follows.
const RESTRICTED: u8 = 8;

/// Bytes of a message without topic.
const MESSAGE_LEN_MIN: usize = 8 + 8 + 4 + 1;

/// Bytes of a channel with all that it can have.
const CHANNEL_LEN_MAX: usize = 16 + 2 + 4 + 8 + 16;

/// A client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// Its dialect.
    pub(super) dialect: Dialect,
    /// About when it was connected last, in Unix seconds.
    pub(super) last_seen: u64,
    /// The last write.
    pub(super) sequence: Sequence,
    /// Its stored messages, oldest first, without what they carry. Some may have expired.
    pub(super) messages: Vec<Stored>,
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
    /// The application server's key that may send to it.
    pub(super) restricted: Option<KeyPrefix>,
}

/// A stored message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stored {
    /// What tells it from the others.
    pub(super) place: Place,
    /// The moment from which on it is not sent any more, in Unix milliseconds.
    pub(super) expires: u64,
    /// Where in [`Record::channels`] its channel is.
    pub(super) channel: u32,
}

/// The beginning of a [`KeyHash`]. Enough to tell keys apart: nobody finds another key with the same 128 bits, and
/// the endpoint, which an application server has to know, has all of the hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeyPrefix([u8; 16]);

/// The bytes are not as this version writes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unreadable(pub(super) &'static str);

impl From<KeyHash> for KeyPrefix {
    fn from(hash: KeyHash) -> Self {
        let mut prefix = [0; 16];
        prefix.copy_from_slice(&hash.0[..16]);
        Self(prefix)
    }
}

impl Record {
    /// What the store tells about it.
    pub(super) fn snapshot(&self) -> Snapshot {
        let channels = self.channels.iter().map(|registration| registration.channel).collect();
        Snapshot { sequence: self.sequence, channels }
    }

    /// Where a channel is among the channels.
    pub(super) fn position(&self, id: ChannelId) -> Option<usize> {
        self.channels.iter().position(|registration| registration.channel.id == id)
    }

    /// The registration of a channel.
    pub(super) fn channel_mut(&mut self, id: ChannelId) -> Option<&mut Registration> {
        self.channels.iter_mut().find(|registration| registration.channel.id == id)
    }

    /// Takes a channel out and the messages that are stored for it, and gives these; nothing if it is not there.
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

    /// Takes messages out, and gives their sequences.
    pub(super) fn take_messages(&mut self, is_taken: impl Fn(&Stored) -> bool) -> Vec<Sequence> {
        self.messages
            .extract_if(.., |message| is_taken(message))
            .map(|message| message.place.sequence)
            .collect()
    }

    /// Writes it.
    pub(super) fn encode(&self) -> Vec<u8> {
        let dialect = match self.dialect {
            Dialect::SimplePush => 1,
            Dialect::WebPush => 2,
        };
        let restricted = self.channels.iter().any(|registration| registration.restricted.is_some());
        let version = if restricted || !self.messages.is_empty() { VERSION_2 } else { VERSION_1 };
        let lens = (self.messages.len() * (MESSAGE_LEN_MIN + 12), self.channels.len() * CHANNEL_LEN_MAX);
        let mut out = Vec::with_capacity(22 + lens.0 + lens.1);
        out.extend([version, dialect]);
        out.extend(self.last_seen.to_be_bytes());
        out.extend(self.sequence.0.to_be_bytes());
        if version == VERSION_2 {
            encode_messages(&self.messages, &mut out);
        }
        for Registration { channel: Channel { id, spelling, pending }, key, restricted } in &self.channels {
            let flag = |set: bool, flag: u8| if set { flag } else { 0 };
            let masked = spelling.upper != 0;
            let form = flag(!spelling.hyphens, PLAIN)
                | flag(masked, MASK)
                | flag(pending.is_some(), PENDING)
                | flag(restricted.is_some(), RESTRICTED);
            out.extend(id.0);
            out.extend([form, key.0]);
            if masked {
                out.extend(spelling.upper.to_be_bytes());
            }
            if let Some(version) = pending {
                out.extend(version.number().to_be_bytes());
            }
            if let Some(prefix) = restricted {
                out.extend(prefix.0);
            }
        }
        out
    }

    /// Reads it.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let mut rest = bytes;
        let [version, dialect] = take(&mut rest)?;
        let forms = match version {
            VERSION_1 => PLAIN | MASK | PENDING,
            VERSION_2 => PLAIN | MASK | PENDING | RESTRICTED,
            _ => return Err(Unreadable("record of another version")),
        };
        let dialect = match dialect {
            1 => Dialect::SimplePush,
            2 => Dialect::WebPush,
            _ => return Err(Unreadable("unknown dialect")),
        };
        let last_seen = u64::from_be_bytes(take(&mut rest)?);
        let sequence = Sequence(u64::from_be_bytes(take(&mut rest)?));
        let messages = if version == VERSION_1 { Vec::new() } else { decode_messages(&mut rest)? };
        let mut channels = Vec::with_capacity(rest.len() / 18);
        while !rest.is_empty() {
            channels.push(registration(&mut rest, forms)?);
        }
        if messages.iter().any(|message| message.channel as usize >= channels.len()) {
            return Err(Unreadable("message of a channel that is not there"));
        }
        Ok(Self { dialect, last_seen, sequence, messages, channels })
    }
}

/// Writes the messages and how many they are.
fn encode_messages(messages: &[Stored], out: &mut Vec<u8>) {
    // No client has so many that the number does not fit: `PutMessage::messages_max` has the same type.
    out.extend(u32::try_from(messages.len()).unwrap_or(u32::MAX).to_be_bytes());
    for Stored { place, expires, channel } in messages {
        out.extend(place.sequence.0.to_be_bytes());
        out.extend(expires.to_be_bytes());
        out.extend(channel.to_be_bytes());
        match place.topic {
            None => out.push(0),
            Some(tag) => {
                out.push(1);
                out.extend(tag.0);
            }
        }
    }
}

/// Takes the messages.
fn decode_messages(rest: &mut &[u8]) -> Result<Vec<Stored>, Unreadable> {
    let number = u32::from_be_bytes(take(rest)?) as usize;
    // A damaged record does not reserve more than it could have.
    let mut messages = Vec::with_capacity(number.min(rest.len() / MESSAGE_LEN_MIN));
    for _ in 0..number {
        let sequence = Sequence(u64::from_be_bytes(take(rest)?));
        let expires = u64::from_be_bytes(take(rest)?);
        let channel = u32::from_be_bytes(take(rest)?);
        let topic = match take(rest)? {
            [0] => None,
            [1] => Some(TopicTag(take(rest)?)),
            [_] => return Err(Unreadable("unknown form of a message")),
        };
        messages.push(Stored { place: Place { sequence, topic }, expires, channel });
    }
    Ok(messages)
}

/// Takes a channel, whose form may have these bits.
fn registration(rest: &mut &[u8], forms: u8) -> Result<Registration, Unreadable> {
    let id = ChannelId(take(rest)?);
    let [form, key] = take(rest)?;
    if form & !forms != 0 {
        return Err(Unreadable("unknown form of a channel"));
    }
    let upper = if form & MASK == 0 { 0 } else { u32::from_be_bytes(take(rest)?) };
    let pending = if form & PENDING == 0 {
        None
    } else {
        let number = u64::from_be_bytes(take(rest)?);
        Some(Version::new(number).map_err(|_| Unreadable("pending version is not a version"))?)
    };
    let restricted = if form & RESTRICTED == 0 { None } else { Some(KeyPrefix(take(rest)?)) };
    let spelling = Spelling { hyphens: form & PLAIN == 0, upper };
    Ok(Registration { channel: Channel { id, spelling, pending }, key: KeyId(key), restricted })
}

/// Takes so many bytes.
pub(super) fn take<const LEN: usize>(rest: &mut &[u8]) -> Result<[u8; LEN], Unreadable> {
    let (taken, after) = rest.split_first_chunk().ok_or(Unreadable("record is too short"))?;
    *rest = after;
    Ok(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use beckon_types::TOPIC_TAG_LEN;
    use proptest::prelude::*;

    /// Records as version 1 wrote them. This file is never edited, so that they stay readable.
    const FIXTURE_1: &str = include_str!("../../tests/fixtures/record-v1.embedded");

    /// Records as version 2 wrote them. This file is never edited either.
    const FIXTURE_2: &str = include_str!("../../tests/fixtures/record-v2.embedded");

    /// A record in the words of version 1, which the first fixture is told in.
    mod version_1 {
        use super::*;

        #[derive(Debug)]
        #[expect(dead_code, reason = "for Debug")]
        pub(super) struct Record {
            dialect: Dialect,
            last_seen: u64,
            sequence: Sequence,
            channels: Vec<Registration>,
        }

        #[derive(Debug)]
        #[expect(dead_code, reason = "for Debug")]
        struct Registration {
            channel: Channel,
            key: KeyId,
        }

        pub(super) fn record(record: super::Record) -> Record {
            let super::Record { dialect, last_seen, sequence, messages, channels } = record;
            assert_eq!(messages, []);
            let registration = |super::Registration { channel, key, restricted }| {
                assert_eq!(restricted, None);
                Registration { channel, key }
            };
            Record {
                dialect,
                last_seen,
                sequence,
                channels: channels.into_iter().map(registration).collect(),
            }
        }
    }

    /// The records of a fixture, and what they mean.
    fn fixture(text: &str) -> Vec<(Vec<u8>, &str)> {
        let line = |line: &str| {
            let hex = line.split(' ').next().unwrap();
            let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
            (0..hex.len()).step_by(2).map(byte).collect()
        };
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(|text| (line(text), text.split_once(' ').unwrap().1)).collect()
    }

    #[test]
    fn records_of_version_1_stay_readable_and_are_still_written() {
        let records = fixture(FIXTURE_1);
        assert_eq!(records.len(), 3, "all lines of the fixture");
        for (bytes, expected) in records {
            let record = Record::decode(&bytes).unwrap();
            assert_eq!(record.encode(), bytes);
            assert_eq!(format!("{:?}", version_1::record(record)), expected);
        }
    }

    #[test]
    fn records_of_version_2_stay_readable() {
        let records = fixture(FIXTURE_2);
        assert_eq!(records.len(), 2, "all lines of the fixture");
        for (bytes, expected) in records {
            let record = Record::decode(&bytes).unwrap();
            assert_eq!(format!("{record:?}"), expected);
            assert_eq!(record.encode(), bytes);
        }
    }

    #[test]
    fn what_is_not_as_it_was_written_is_unreadable() {
        let unreadable = |bytes: &[u8]| Record::decode(bytes).unwrap_err().0;
        assert_eq!(unreadable(&[3, 1]), "record of another version");
        assert_eq!(unreadable(&[]), "record is too short");
        let record = |version: u8, rest: &[u8]| [&[version, 2][..], &[0; 16], rest].concat();
        let restricted = [&[0; 16][..], &[RESTRICTED, 1], &[0; 16]].concat();
        assert_eq!(unreadable(&record(VERSION_1, &restricted)), "unknown form of a channel");
        let message = |form: u8| [&[0, 0, 0, 1][..], &[0; 20], &[form]].concat();
        assert_eq!(unreadable(&record(VERSION_2, &message(2))), "unknown form of a message");
        assert_eq!(unreadable(&record(VERSION_2, &message(0))), "message of a channel that is not there");
        assert_eq!(unreadable(&record(VERSION_2, &[0xff; 4])), "record is too short");
    }

    #[test]
    fn with_a_channel_go_its_messages_and_the_others_stay() {
        let channel = |byte| Registration {
            channel: Channel { id: ChannelId([byte; 16]), spelling: Spelling::HYPHENATED, pending: None },
            key: KeyId(1),
            restricted: None,
        };
        let message = |sequence, channel| Stored {
            place: Place { sequence: Sequence(sequence), topic: None },
            expires: 1,
            channel,
        };
        let mut record = Record {
            dialect: Dialect::WebPush,
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

    fn registrations() -> impl Strategy<Value = Vec<Registration>> {
        let prefix = proptest::option::of(any::<[u8; 16]>());
        let one = (any::<([u8; 16], bool, u32, u8)>(), proptest::option::of(0..=Version::MAX), prefix);
        let registration = |((id, hyphens, upper, key), pending, prefix): (_, Option<u64>, Option<_>)| {
            let pending = pending.map(|number| Version::new(number).unwrap());
            let channel = Channel { id: ChannelId(id), spelling: Spelling { hyphens, upper }, pending };
            Registration { channel, key: KeyId(key), restricted: prefix.map(KeyPrefix) }
        };
        proptest::collection::vec(one.prop_map(registration), 0..5)
    }

    fn messages() -> impl Strategy<Value = Vec<Stored>> {
        let one = (any::<(u64, u64, u32)>(), proptest::option::of(any::<[u8; TOPIC_TAG_LEN]>()));
        let stored = |((sequence, expires, channel), tag): (_, Option<_>)| {
            let place = Place { sequence: Sequence(sequence), topic: tag.map(TopicTag) };
            Stored { place, expires, channel }
        };
        proptest::collection::vec(one.prop_map(stored), 0..5)
    }

    proptest! {
        #[test]
        fn a_record_survives(
            webpush: bool,
            last_seen: u64,
            sequence: u64,
            mut messages in messages(),
            channels in registrations(),
        ) {
            let dialect = if webpush { Dialect::WebPush } else { Dialect::SimplePush };
            match u32::try_from(channels.len()) {
                Ok(len @ 1..) => messages.iter_mut().for_each(|message| message.channel %= len),
                Ok(0) | Err(_) => messages.clear(),
            }
            let record = Record { dialect, last_seen, sequence: Sequence(sequence), messages, channels };
            prop_assert_eq!(Record::decode(&record.encode()), Ok(record));
        }

        #[test]
        fn garbage_is_read_without_a_panic(mut bytes: Vec<u8>, version in VERSION_1..=VERSION_2) {
            let _ = Record::decode(&bytes);
            bytes.splice(0..0, [version, 1]);
            let _ = Record::decode(&bytes);
        }
    }
}
