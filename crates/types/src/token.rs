//! The endpoint token: the opaque part of an endpoint URL (PROTOCOL.md section 1.2).
//!
//! A token is the channel's address, sealed by the [`KeyRing`]. So the same channel always has the same token and
//! the store need not keep it, an altered token is rejected without asking the store, and the UAID is hidden.

use crate::{
    channel_id::ChannelId,
    key_ring::{KeyId, KeyRing},
    uaid::Uaid,
    vapid_key::KeyHash,
};

/// Names the format, so that a later one can be told apart, and is authenticated with every token.
const PURPOSE: &[u8] = b"beckon endpoint 1";

/// First byte of the content for a SimplePush endpoint.
const SIMPLEPUSH: u8 = 1;

/// First byte of the content for a Web Push endpoint that anybody may send to.
const WEB_PUSH: u8 = 2;

/// First byte of the content for a Web Push endpoint that is restricted to a key.
const WEB_PUSH_RESTRICTED: u8 = 3;

/// Content: kind, UAID and channelID.
const CONTENT_LEN: usize = 1 + 16 + 16;

/// Content of a restricted endpoint: the hash of the key follows.
const RESTRICTED_LEN: usize = CONTENT_LEN + 32;

/// What an endpoint token stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// A SimplePush channel.
    SimplePush {
        /// Whose channel it is.
        uaid: Uaid,
        /// The channel.
        channel: ChannelId,
    },
    /// A Web Push channel.
    WebPush {
        /// Whose channel it is.
        uaid: Uaid,
        /// The channel.
        channel: ChannelId,
        /// The key that an application server has to present, if the channel was registered with one.
        restricted: Option<KeyHash>,
    },
}

/// The token is malformed, altered, or sealed with a key that is not in the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed or altered token")]
pub struct InvalidToken;

impl KeyRing {
    /// The token of an endpoint, with the named key, or with the newest if that key has left the ring.
    pub fn seal(&self, key: KeyId, endpoint: Endpoint) -> String {
        let (kind, uaid, channel, restricted) = match endpoint {
            Endpoint::SimplePush { uaid, channel } => (SIMPLEPUSH, uaid, channel, None),
            Endpoint::WebPush { uaid, channel, restricted: None } => (WEB_PUSH, uaid, channel, None),
            Endpoint::WebPush { uaid, channel, restricted } => {
                (WEB_PUSH_RESTRICTED, uaid, channel, restricted)
            }
        };
        let mut content = [0; RESTRICTED_LEN];
        content[0] = kind;
        content[1..17].copy_from_slice(&uaid.0);
        content[17..33].copy_from_slice(&channel.0);
        let len = match restricted {
            None => CONTENT_LEN,
            Some(hash) => {
                content[CONTENT_LEN..].copy_from_slice(&hash.0);
                RESTRICTED_LEN
            }
        };
        self.seal_content(key, PURPOSE, &content[..len])
    }

    /// What a token stands for. One of another length costs no decryption.
    pub fn open(&self, token: &str) -> Result<Endpoint, InvalidToken> {
        if let Some(content) = self.open_content::<CONTENT_LEN>(PURPOSE, token) {
            let (uaid, channel) = address(&content);
            return match content[0] {
                SIMPLEPUSH => Ok(Endpoint::SimplePush { uaid, channel }),
                WEB_PUSH => Ok(Endpoint::WebPush { uaid, channel, restricted: None }),
                _ => Err(InvalidToken),
            };
        }
        let content = self.open_content::<RESTRICTED_LEN>(PURPOSE, token).ok_or(InvalidToken)?;
        let (uaid, channel) = address(&content);
        match (content[0], content[CONTENT_LEN..].try_into()) {
            (WEB_PUSH_RESTRICTED, Ok(hash)) => {
                Ok(Endpoint::WebPush { uaid, channel, restricted: Some(KeyHash(hash)) })
            }
            _ => Err(InvalidToken),
        }
    }
}

/// The UAID and the channel in a content.
fn address(content: &[u8]) -> (Uaid, ChannelId) {
    let (mut uaid, mut channel) = ([0; 16], [0; 16]);
    uaid.copy_from_slice(&content[1..17]);
    channel.copy_from_slice(&content[17..33]);
    (Uaid(uaid), ChannelId(channel))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key_ring::KEY_LEN;
    use proptest::prelude::*;

    fn key(byte: u8) -> String {
        KeyRing::key_text(&[byte; KEY_LEN])
    }

    fn endpoint() -> Endpoint {
        Endpoint::SimplePush { uaid: Uaid([7; 16]), channel: ChannelId([9; 16]) }
    }

    #[test]
    fn the_same_channel_has_the_same_token() {
        let ring = KeyRing::parse(&key(1)).unwrap();
        assert_eq!(ring.seal(ring.newest(), endpoint()), ring.seal(ring.newest(), endpoint()));
        assert!(ring.seal(ring.newest(), endpoint()).len() < 100);
    }

    #[test]
    fn a_token_is_what_another_implementation_of_aes_siv_makes() {
        // By pyca/cryptography, AESSIV(key).encrypt(kind + UAID + channelID, [associated data]).
        let token = "grzmR8Wpc74KyzzDzWpxcXCyyJ1dN4JlQl8PLQt6ZVH1RlfKMpTxIaB7RYXMyKfMow";
        let ring = KeyRing::parse(&key(1)).unwrap();
        assert_eq!(ring.seal(ring.newest(), endpoint()), token);
        assert_eq!(ring.open(token), Ok(endpoint()));
    }

    #[test]
    fn the_newest_key_seals_and_all_keys_open() {
        let old = KeyRing::parse(&key(1)).unwrap();
        let both = KeyRing::parse(&format!("{}, {}=", key(2), key(1))).unwrap();
        let token = old.seal(old.newest(), endpoint());
        assert_eq!(both.open(&token), Ok(endpoint()));
        assert_eq!(both.seal(old.newest(), endpoint()), token, "a channel keeps the key it was made with");
        assert_ne!(both.seal(both.newest(), endpoint()), token);
        assert_eq!(old.open(&both.seal(both.newest(), endpoint())), Err(InvalidToken));
    }

    #[test]
    fn every_kind_of_endpoint_survives_and_has_its_own_token() {
        let ring = KeyRing::parse(&key(1)).unwrap();
        let (uaid, channel) = (Uaid([7; 16]), ChannelId([9; 16]));
        let web_push = |restricted| Endpoint::WebPush { uaid, channel, restricted };
        let all = [
            Endpoint::SimplePush { uaid, channel },
            web_push(None),
            web_push(Some(KeyHash([1; 32]))),
            web_push(Some(KeyHash([2; 32]))),
        ];
        let tokens = all.map(|endpoint| ring.seal(ring.newest(), endpoint));
        for (index, token) in tokens.iter().enumerate() {
            assert_eq!(ring.open(token), Ok(all[index]));
            assert!(token.len() < 120 && !tokens[..index].contains(token));
        }
    }

    proptest! {
        #[test]
        fn an_altered_token_is_rejected(position in 0_usize..65, letter in "[A-Za-z0-9_-]") {
            let ring = KeyRing::parse(&key(1)).unwrap();
            let token = ring.seal(ring.newest(), endpoint());
            let mut altered = token.clone();
            altered.replace_range(position..=position, &letter);
            prop_assert_eq!(ring.open(&altered).is_ok(), altered == token);
        }

        #[test]
        fn any_text_is_opened_without_a_panic(text in ".{0,120}") {
            let ring = KeyRing::parse(&key(1)).unwrap();
            prop_assert_eq!(ring.open(&text), Err(InvalidToken));
        }
    }
}
