//! The endpoint token: the opaque part of an endpoint URL (PROTOCOL.md section 1.2).
//!
//! A token is the channel's address sealed with AES-SIV (RFC 5297) and written in base64url. The scheme is
//! deterministic, so the same channel always has the same token and the store need not keep it; it is
//! authenticated, so an altered token is rejected without asking the store; and it hides the UAID.

use crate::{channel_id::ChannelId, uaid::Uaid};
use aes_siv::{
    KeyInit as _, Tag,
    siv::{Aes128Siv, IV_SIZE},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
use std::{fmt, str::FromStr};

/// Bytes of a token key: two AES-128 keys, as AES-SIV wants.
pub const KEY_LEN: usize = 32;

/// How many keys a ring may hold. An invalid token costs one trial decryption for each of them.
pub const KEYS_MAX: usize = 16;

/// Names the format, so that a later one can be told apart, and is authenticated with every token.
const ASSOCIATED_DATA: &[u8] = b"beckon endpoint 1";

/// First byte of the sealed text of a SimplePush endpoint.
const SIMPLEPUSH: u8 = 1;

/// Sealed text of a SimplePush endpoint: its kind, UAID and channelID.
const SIMPLEPUSH_LEN: usize = 1 + 16 + 16;

/// Sealed bytes: the synthetic initialization vector, then the encrypted text.
const SEALED_LEN: usize = IV_SIZE + SIMPLEPUSH_LEN;

/// Characters of a token: [`SEALED_LEN`] bytes in base64url without padding. All tokens have as many.
const TOKEN_LEN: usize = (SEALED_LEN * 8).div_ceil(6);

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
}

/// Names a key of the ring: the first byte of its SHA-256. Kept with each channel, so that a channel keeps its
/// URL when a newer key is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId(pub u8);

/// The token is malformed, altered, or sealed with a key that is not in the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed or altered token")]
pub struct InvalidToken;

/// A list of token keys is unusable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKeys {
    /// There is no key in the list.
    #[error("no key given; `beckon genkey` prints one")]
    Empty,
    /// One of the keys is not 32 bytes in base64url.
    #[error("key {position} is not {KEY_LEN} bytes in base64url; `beckon genkey` prints one")]
    Malformed {
        /// Its place in the list, from 1.
        position: usize,
    },
    /// Two of the keys have the same [`KeyId`] (or are the same), so a channel could not name its key.
    #[error("keys {first} and {second} are the same or have the same short name; replace one of them")]
    Clash {
        /// Place of the earlier one, from 1.
        first: usize,
        /// Place of the later one, from 1.
        second: usize,
    },
    /// The list is too long.
    #[error("more than {KEYS_MAX} keys")]
    TooMany,
}

/// The keys of a cluster: the newest makes tokens, all open them.
#[derive(Clone)]
pub struct KeyRing {
    /// Newest first, at least one. The ciphers are not shared between calls: expanding a key costs 0.2 µs.
    keys: Vec<(KeyId, [u8; KEY_LEN])>,
}

impl KeyRing {
    /// Reads a comma-separated list of base64url keys of 32 bytes, newest first. Padding and space around a
    /// key are tolerated.
    pub fn parse(list: &str) -> Result<Self, InvalidKeys> {
        let mut keys: Vec<(KeyId, [u8; KEY_LEN])> = Vec::new();
        if list.trim().is_empty() {
            return Err(InvalidKeys::Empty);
        }
        for (index, text) in list.split(',').enumerate() {
            if index == KEYS_MAX {
                return Err(InvalidKeys::TooMany);
            }
            let position = index + 1;
            let malformed = InvalidKeys::Malformed { position };
            let bytes =
                URL_SAFE_NO_PAD.decode(text.trim().trim_end_matches('=')).map_err(|_| malformed.clone())?;
            let bytes: [u8; KEY_LEN] = bytes.try_into().map_err(|_| malformed)?;
            let id = KeyId(Sha256::digest(bytes)[0]);
            if let Some(first) = keys.iter().position(|(other, _)| *other == id) {
                return Err(InvalidKeys::Clash { first: first + 1, second: position });
            }
            keys.push((id, bytes));
        }
        Ok(Self { keys })
    }

    /// A key as it is written in a list, made of 32 bytes from a secure random source.
    pub fn key_text(bytes: &[u8; KEY_LEN]) -> String {
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The key that makes the token of a new channel.
    pub fn newest(&self) -> KeyId {
        self.keys[0].0
    }

    /// The token of an endpoint, with the named key, or with the newest if that key has left the ring.
    pub fn seal(&self, key: KeyId, endpoint: Endpoint) -> String {
        let named = self.keys.iter().find(|(id, _)| *id == key);
        let (_, key) = named.unwrap_or(&self.keys[0]);
        let Endpoint::SimplePush { uaid, channel } = endpoint;
        let mut sealed = [0; SEALED_LEN];
        let (vector, text) = sealed.split_at_mut(IV_SIZE);
        text[0] = SIMPLEPUSH;
        text[1..17].copy_from_slice(&uaid.0);
        text[17..].copy_from_slice(&channel.0);
        let tag = Aes128Siv::new(&(*key).into()).encrypt_inout_detached([ASSOCIATED_DATA], text.into());
        #[expect(clippy::expect_used, reason = "AES-SIV fails only on more than 126 headers")]
        vector.copy_from_slice(&tag.expect("one header"));
        URL_SAFE_NO_PAD.encode(sealed)
    }

    /// What a token stands for. One of another length costs no decryption.
    pub fn open(&self, token: &str) -> Result<Endpoint, InvalidToken> {
        if token.len() != TOKEN_LEN {
            return Err(InvalidToken);
        }
        // The decoder wants more room than it uses.
        let mut decoded = [0; TOKEN_LEN];
        let len = URL_SAFE_NO_PAD.decode_slice(token, &mut decoded).map_err(|_| InvalidToken)?;
        let (vector, sealed) = decoded[..len].split_first_chunk().ok_or(InvalidToken)?;
        let vector = Tag::from(*vector);
        let sealed: [u8; SIMPLEPUSH_LEN] = sealed.try_into().map_err(|_| InvalidToken)?;
        let unseal = |key: &[u8; KEY_LEN]| {
            let mut text = sealed;
            let mut cipher = Aes128Siv::new(&(*key).into());
            let opened = cipher.decrypt_inout_detached([ASSOCIATED_DATA], (&mut text[..]).into(), &vector);
            opened.ok().map(|()| text)
        };
        let text = self.keys.iter().find_map(|(_, key)| unseal(key)).ok_or(InvalidToken)?;
        if text[0] != SIMPLEPUSH {
            return Err(InvalidToken);
        }
        let (mut uaid, mut channel) = ([0; 16], [0; 16]);
        uaid.copy_from_slice(&text[1..17]);
        channel.copy_from_slice(&text[17..]);
        Ok(Endpoint::SimplePush { uaid: Uaid(uaid), channel: ChannelId(channel) })
    }
}

impl FromStr for KeyRing {
    type Err = InvalidKeys;

    fn from_str(list: &str) -> Result<Self, InvalidKeys> {
        Self::parse(list)
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|(id, _)| id)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
    fn an_unusable_list_of_keys_says_which_key_is_wrong() {
        for (list, error) in [
            (String::new(), InvalidKeys::Empty),
            (" ".into(), InvalidKeys::Empty),
            (format!("{},", key(1)), InvalidKeys::Malformed { position: 2 }),
            ("c2hvcnQ".into(), InvalidKeys::Malformed { position: 1 }),
            (format!("{},{}", key(1), key(1)), InvalidKeys::Clash { first: 1, second: 2 }),
        ] {
            assert_eq!(KeyRing::parse(&list).unwrap_err(), error, "{list}");
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
