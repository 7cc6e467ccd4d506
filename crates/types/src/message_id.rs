//! The message id: the opaque part of a message's `Location`, and its `version` for the user agent (PROTOCOL.md
//! sections 4.5, 5.5 and 5.6).
//!
//! An id says where the store keeps the message and what its nonce is, sealed by the [`KeyRing`]. It is therefore
//! unguessable, and the store need not keep it: a message that is sent again has the same id.

use crate::{
    client_id::ClientId,
    key_ring::{KeyId, KeyRing},
    place::{Nonce, Place},
    sequence::Sequence,
    topic::{TOPIC_TAG_LEN, TopicTag},
};

/// The beginning of the path of a message (PROTOCOL.md section 5.6); its id follows.
pub const MESSAGE_PATH: &str = "/m/";

/// Every id begins with this name of its format.
const PREFIX: &str = "m1.";

/// Authenticated with every id.
pub(crate) const PURPOSE: &[u8] = b"beckon message 1";

/// Content: UAID, sequence and nonce.
const CONTENT_LEN: usize = 16 + 8 + 8;

/// Content for a message with a topic: its tag follows.
const TOPIC_LEN: usize = CONTENT_LEN + TOPIC_TAG_LEN;

/// What a message id stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageId {
    /// The client that the message is for.
    pub client: ClientId,
    /// Where the store keeps it.
    pub place: Place,
}

/// The text is not an id that this cluster has issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed or altered message id")]
pub struct InvalidMessageId;

impl MessageId {
    /// The text of the id, sealed with the named key, or with the newest if that key has left the ring.
    pub fn seal(self, keys: &KeyRing, key: KeyId) -> String {
        let mut content = [0; TOPIC_LEN];
        content[..16].copy_from_slice(&self.client.0);
        content[16..24].copy_from_slice(&self.place.sequence.0.to_be_bytes());
        content[24..CONTENT_LEN].copy_from_slice(&self.place.nonce.0.to_be_bytes());
        let len = match self.place.topic {
            None => CONTENT_LEN,
            Some(tag) => {
                content[CONTENT_LEN..].copy_from_slice(&tag.0);
                TOPIC_LEN
            }
        };
        let mut text = keys.seal(key, PURPOSE, &content[..len]);
        text.insert_str(0, PREFIX);
        text
    }

    /// Reads the text of an id. A text of another length or form costs no decryption.
    ///
    /// # Errors
    ///
    /// This cluster has not issued such an id; the peer that sent it is at fault.
    pub fn open(keys: &KeyRing, text: &str) -> Result<Self, InvalidMessageId> {
        let text = text.strip_prefix(PREFIX).ok_or(InvalidMessageId)?;
        if let Some(content) = keys.open::<CONTENT_LEN>(PURPOSE, text) {
            return Ok(Self::read(&content, None));
        }
        let content = keys.open::<TOPIC_LEN>(PURPOSE, text).ok_or(InvalidMessageId)?;
        let tag = content[CONTENT_LEN..].try_into().map_err(|_| InvalidMessageId)?;
        Ok(Self::read(&content, Some(TopicTag(tag))))
    }

    fn read(content: &[u8], topic: Option<TopicTag>) -> Self {
        let (mut client, mut sequence, mut nonce) = ([0; 16], [0; 8], [0; 8]);
        client.copy_from_slice(&content[..16]);
        sequence.copy_from_slice(&content[16..24]);
        nonce.copy_from_slice(&content[24..CONTENT_LEN]);
        let (sequence, nonce) = (Sequence(u64::from_be_bytes(sequence)), Nonce(u64::from_be_bytes(nonce)));
        Self { client: ClientId(client), place: Place { sequence, nonce, topic } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{channel_id::ChannelId, endpoint::Endpoint, key_ring::TOKEN_KEY_LEN};
    use proptest::prelude::*;

    fn ring(byte: u8) -> KeyRing {
        KeyRing::parse(&KeyRing::key_text(&[byte; TOKEN_KEY_LEN])).unwrap()
    }

    proptest! {
        #[test]
        fn an_id_survives(client: [u8; 16], sequence: u64, nonce: u64, tag in proptest::option::of(any::<[u8; TOPIC_TAG_LEN]>())) {
            let place = Place { sequence: Sequence(sequence), nonce: Nonce(nonce), topic: tag.map(TopicTag) };
            let id = MessageId { client: ClientId(client), place };
            let ring = ring(1);
            let text = id.seal(&ring, ring.newest());
            prop_assert!(text.len() <= 3 + 80);
            prop_assert_eq!(MessageId::open(&ring, &text), Ok(id));
        }

        #[test]
        fn an_altered_id_is_rejected(position in 3_usize..50, letter in "[A-Za-z0-9_-]") {
            let ring = ring(1);
            let place = Place { sequence: Sequence(5), nonce: Nonce(6), topic: None };
            let text = MessageId { client: ClientId([7; 16]), place }.seal(&ring, ring.newest());
            let mut altered = text.clone();
            altered.replace_range(position..=position, &letter);
            prop_assert_eq!(MessageId::open(&ring, &altered).is_ok(), altered == text);
        }

        #[test]
        fn any_text_is_opened_without_a_panic(text in ".{0,120}") {
            prop_assert_eq!(MessageId::open(&ring(1), &text), Err(InvalidMessageId));
        }
    }

    #[test]
    fn neither_a_token_nor_an_id_of_another_key_is_an_id() {
        let ring = ring(1);
        let endpoint = Endpoint::SimplePush { client: ClientId([7; 16]), channel: ChannelId([9; 16]) };
        let path = endpoint.path(&ring, ring.newest());
        let token = path.strip_prefix("/update/").unwrap();
        assert_eq!(MessageId::open(&ring, &format!("{PREFIX}{token}")), Err(InvalidMessageId));
        let id = MessageId {
            client: ClientId([7; 16]),
            place: Place { sequence: Sequence(1), nonce: Nonce(1), topic: None },
        };
        let text = id.seal(&ring, ring.newest());
        assert_eq!(MessageId::open(&self::ring(2), &text), Err(InvalidMessageId));
    }
}
