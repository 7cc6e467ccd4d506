//! Topic: the name under which a later message replaces an earlier one (RFC 8030 section 5.4).

use crate::channel_id::ChannelId;
use sha2::{Digest as _, Sha256};

/// The longest topic, in characters.
pub const TOPIC_LEN_MAX: usize = 32;

/// Bytes of a [`TopicTag`].
pub const TOPIC_TAG_LEN: usize = 12;

/// Identifies a topic among all topics of a client: the beginning of a hash of the channel and the topic.
///
/// An application server that finds two topics with the same tag gains nothing: it chooses its topics anyway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicTag(pub [u8; TOPIC_TAG_LEN]);

/// The text is not a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not 1 to {TOPIC_LEN_MAX} characters of A-Z a-z 0-9 - _")]
pub struct InvalidTopic;

impl TopicTag {
    /// Reads the topic of a message for a channel (PROTOCOL.md section 5.1). Padding at its end is accepted and
    /// ignored.
    ///
    /// # Errors
    ///
    /// The text is not a topic; the application server is at fault.
    pub fn parse(channel: ChannelId, topic: &str) -> Result<Self, InvalidTopic> {
        let topic = topic.trim_end_matches('=');
        let usable = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if topic.is_empty() || topic.len() > TOPIC_LEN_MAX || !topic.bytes().all(usable) {
            return Err(InvalidTopic);
        }
        let digest = Sha256::new().chain_update(channel.0).chain_update(topic).finalize();
        let mut tag = [0; TOPIC_TAG_LEN];
        tag.copy_from_slice(&digest[..TOPIC_TAG_LEN]);
        Ok(Self(tag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_url_safe_characters_up_to_the_maximum_are_a_topic() {
        let channel = ChannelId([1; 16]);
        for good in ["a", "A-z_09", "YQ==", &"x".repeat(TOPIC_LEN_MAX)] {
            assert!(TopicTag::parse(channel, good).is_ok(), "{good}");
        }
        for bad in ["", "=", "a b", "a+b", "a/b", "a=b", "\u{e4}", &"x".repeat(TOPIC_LEN_MAX + 1)] {
            assert_eq!(TopicTag::parse(channel, bad), Err(InvalidTopic), "{bad}");
        }
    }

    #[test]
    fn topics_differ_by_name_and_by_channel() {
        let tag = |channel, topic| TopicTag::parse(ChannelId([channel; 16]), topic).unwrap();
        assert_eq!(tag(1, "a"), tag(1, "a="));
        assert_ne!(tag(1, "a"), tag(1, "b"));
        assert_ne!(tag(1, "a"), tag(2, "a"));
    }
}
