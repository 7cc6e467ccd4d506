//! Message: what an application server sends to a Web Push channel (PROTOCOL.md sections 4.5 and 5).

use crate::{
    channel_id::ChannelId, key_ring::KeyId, notification::Sequence, topic::TopicTag, urgency::Urgency,
};
use bytes::Bytes;
use std::time::Duration;

/// A message on its way to a socket, just accepted or read from the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The channel sent to.
    pub channel: ChannelId,
    /// Where the store keeps it, if it does.
    pub place: Place,
    /// The key that seals its id.
    pub key: KeyId,
    /// How soon it matters.
    pub urgency: Urgency,
    /// How long it is good for, from the moment that it was handed out. Zero: it is not stored.
    pub ttl: Duration,
    /// What was sent; `None` for an empty body.
    pub payload: Option<Payload>,
}

impl Message {
    /// Takes the time off that has passed since it was handed out. False if it is not good any more and must not be
    /// sent. One that is not stored waits for its socket like any other.
    pub fn age(&mut self, by: Duration) -> bool {
        if self.ttl.is_zero() {
            return true;
        }
        self.ttl = self.ttl.saturating_sub(by);
        !self.ttl.is_zero()
    }
}

/// What tells a message among all messages to one client: its own write, and the topic under which a later one
/// replaces it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    /// The position of its write among all writes to the client's record.
    pub sequence: Sequence,
    /// Its topic, if it has one.
    pub topic: Option<TopicTag>,
}

impl Place {
    /// Its position in a backlog: messages with a topic first, oldest first in each group (PROTOCOL.md section 4.9).
    pub fn position(self) -> Position {
        Position { without_topic: self.topic.is_none(), sequence: self.sequence }
    }
}

/// A position in a client's backlog. Later ones are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The group: those with a topic come first.
    pub without_topic: bool,
    /// The place in the group.
    pub sequence: Sequence,
}

/// An encrypted body. It is opaque to the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// How it is encrypted.
    pub encoding: Encoding,
    /// The body, not empty.
    pub body: Bytes,
}

impl Payload {
    /// Bytes of the body and of the headers.
    pub fn weight(&self) -> usize {
        let headers = match &self.encoding {
            Encoding::Aes128gcm => 0,
            Encoding::Aesgcm { encryption, crypto_key } => encryption.len() + crypto_key.len(),
        };
        self.body.len() + headers
    }
}

/// How a body is encrypted, and what its receiver needs besides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encoding {
    /// RFC 8188: everything is in the body.
    Aes128gcm,
    /// draft-ietf-webpush-encryption-04: two headers, as they are sent to the user agent, without quotes and
    /// padding. ASCII.
    Aesgcm {
        /// `Encryption`.
        encryption: Box<str>,
        /// `Crypto-Key`.
        crypto_key: Box<str>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(ttl: Duration) -> Message {
        let place = Place { sequence: Sequence(1), topic: None };
        Message {
            channel: ChannelId([1; 16]),
            place,
            key: KeyId(1),
            urgency: Urgency::Normal,
            ttl,
            payload: None,
        }
    }

    #[test]
    fn a_message_is_good_until_its_time_has_passed() {
        let second = Duration::from_secs(1);
        let mut stored = message(2 * second);
        assert!(stored.age(second) && stored.ttl == second);
        assert!(!stored.age(second));
        assert!(message(Duration::ZERO).age(second), "nothing but the socket is waited for");
    }
}
