//! Endpoint: the URL of one channel, given out in the register reply (PROTOCOL.md section 1.2).
//!
//! Its last part is a token: the channel's address, sealed by the [`KeyRing`]. The same channel therefore always has
//! the same endpoint and the store need not keep it, an altered token is rejected without asking the store, and the
//! UAID is hidden.

use crate::{
    channel_id::ChannelId,
    client_id::ClientId,
    key_ring::{KeyId, KeyRing},
    vapid_key::KeyHash,
};

/// The beginning of the path of a SimplePush endpoint; the token follows.
pub const UPDATE_PATH: &str = "/update/";

/// The beginning of the path of a Web Push endpoint; the version of the path and the token follow.
pub const WEB_PUSH_PATH: &str = "/wpush/";

/// The path of a Web Push endpoint that anyone may send to. PROTOCOL.md section 1.3 allows it without the version
/// too.
const UNRESTRICTED_PATH: &str = "/wpush/v1/";

/// The path of a Web Push endpoint that is restricted to a key.
const RESTRICTED_PATH: &str = "/wpush/v2/";

/// Names the format, so that a later one can be distinguished, and is authenticated with every token.
pub(crate) const PURPOSE: &[u8] = b"beckon endpoint 1";

/// First byte of the content for a SimplePush endpoint.
const SIMPLEPUSH: u8 = 1;

/// First byte of the content for a Web Push endpoint that anyone may send to.
const WEB_PUSH: u8 = 2;

/// First byte of the content for a Web Push endpoint that is restricted to a key.
const WEB_PUSH_RESTRICTED: u8 = 3;

/// Content: kind, UAID and channelID.
const CONTENT_LEN: usize = 1 + 16 + 16;

/// Content of a restricted endpoint: the hash of the key follows.
const RESTRICTED_LEN: usize = CONTENT_LEN + 32;

/// What an endpoint says: the address of one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// A SimplePush channel.
    SimplePush {
        /// The client that the channel belongs to.
        client: ClientId,
        /// The channel.
        channel: ChannelId,
    },
    /// A Web Push channel.
    WebPush {
        /// The client that the channel belongs to.
        client: ClientId,
        /// The channel.
        channel: ChannelId,
        /// The key that an application server has to present, if the channel was registered with one.
        restricted: Option<KeyHash>,
    },
}

/// The path is not that of an endpoint, or its token is malformed, altered, of another kind of endpoint, or sealed
/// with a key that is not in the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed or altered endpoint")]
pub struct InvalidEndpoint;

impl Endpoint {
    /// Its path, which begins with [`UPDATE_PATH`] or [`WEB_PUSH_PATH`]. The token is sealed with the named key, or
    /// with the newest if that key has left the ring.
    pub fn path(self, keys: &KeyRing, key: KeyId) -> String {
        let path = match self {
            Self::SimplePush { .. } => UPDATE_PATH,
            Self::WebPush { restricted: None, .. } => UNRESTRICTED_PATH,
            Self::WebPush { restricted: Some(_), .. } => RESTRICTED_PATH,
        };
        [path, &self.seal(keys, key)].concat()
    }

    /// The endpoint with this path. A token that is too short or too long costs no decryption.
    ///
    /// # Errors
    ///
    /// This cluster has not issued such an endpoint; the application server is at fault.
    pub fn from_path(keys: &KeyRing, path: &str) -> Result<Self, InvalidEndpoint> {
        if let Some(token) = path.strip_prefix(UPDATE_PATH) {
            let endpoint = Self::open(keys, token)?;
            return if matches!(endpoint, Self::SimplePush { .. }) {
                Ok(endpoint)
            } else {
                Err(InvalidEndpoint)
            };
        }
        let (token, is_restricted) = if let Some(token) = path.strip_prefix(RESTRICTED_PATH) {
            (token, true)
        } else if let Some(token) = path.strip_prefix(UNRESTRICTED_PATH) {
            (token, false)
        } else {
            (path.strip_prefix(WEB_PUSH_PATH).ok_or(InvalidEndpoint)?, false)
        };
        match Self::open(keys, token)? {
            endpoint @ Self::WebPush { restricted, .. } if restricted.is_some() == is_restricted => {
                Ok(endpoint)
            }
            Self::WebPush { .. } | Self::SimplePush { .. } => Err(InvalidEndpoint),
        }
    }

    /// Its token.
    fn seal(self, keys: &KeyRing, key: KeyId) -> String {
        let (kind, client, channel, restricted) = match self {
            Self::SimplePush { client, channel } => (SIMPLEPUSH, client, channel, None),
            Self::WebPush { client, channel, restricted: None } => (WEB_PUSH, client, channel, None),
            Self::WebPush { client, channel, restricted } => {
                (WEB_PUSH_RESTRICTED, client, channel, restricted)
            }
        };
        let mut content = [0; RESTRICTED_LEN];
        content[0] = kind;
        content[1..17].copy_from_slice(&client.0);
        content[17..33].copy_from_slice(&channel.0);
        let len = match restricted {
            None => CONTENT_LEN,
            Some(hash) => {
                content[CONTENT_LEN..].copy_from_slice(&hash.0);
                RESTRICTED_LEN
            }
        };
        keys.seal(key, PURPOSE, &content[..len])
    }

    /// The endpoint with this token.
    fn open(keys: &KeyRing, token: &str) -> Result<Self, InvalidEndpoint> {
        if let Some(content) = keys.open::<CONTENT_LEN>(PURPOSE, token) {
            let (client, channel) = address(&content);
            return match content[0] {
                SIMPLEPUSH => Ok(Self::SimplePush { client, channel }),
                WEB_PUSH => Ok(Self::WebPush { client, channel, restricted: None }),
                _ => Err(InvalidEndpoint),
            };
        }
        let content = keys.open::<RESTRICTED_LEN>(PURPOSE, token).ok_or(InvalidEndpoint)?;
        let (client, channel) = address(&content);
        match (content[0], content[CONTENT_LEN..].try_into()) {
            (WEB_PUSH_RESTRICTED, Ok(hash)) => {
                Ok(Self::WebPush { client, channel, restricted: Some(KeyHash(hash)) })
            }
            _ => Err(InvalidEndpoint),
        }
    }
}

/// The UAID and the channel in a content.
fn address(content: &[u8]) -> (ClientId, ChannelId) {
    let (mut client, mut channel) = ([0; 16], [0; 16]);
    client.copy_from_slice(&content[1..17]);
    channel.copy_from_slice(&content[17..33]);
    (ClientId(client), ChannelId(channel))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key_ring::TOKEN_KEY_LEN;
    use proptest::prelude::*;

    fn key(byte: u8) -> String {
        KeyRing::key_text(&[byte; TOKEN_KEY_LEN])
    }

    fn endpoint() -> Endpoint {
        Endpoint::SimplePush { client: ClientId([7; 16]), channel: ChannelId([9; 16]) }
    }

    /// One endpoint of each kind, and two that are restricted to different keys.
    fn endpoints() -> [Endpoint; 4] {
        let (client, channel) = (ClientId([7; 16]), ChannelId([9; 16]));
        let web_push = |restricted| Endpoint::WebPush { client, channel, restricted };
        [endpoint(), web_push(None), web_push(Some(KeyHash([1; 32]))), web_push(Some(KeyHash([2; 32])))]
    }

    #[test]
    fn the_same_channel_has_the_same_path() {
        let ring = KeyRing::parse(&key(1)).unwrap();
        assert_eq!(endpoint().path(&ring, ring.newest()), endpoint().path(&ring, ring.newest()));
        assert!(endpoint().path(&ring, ring.newest()).len() < 100);
    }

    #[test]
    fn a_token_is_the_one_that_another_implementation_of_aes_siv_makes() {
        // By pyca/cryptography, AESSIV(key).encrypt(kind + UAID + channelID, [associated data]).
        let path = "/update/grzmR8Wpc74KyzzDzWpxcXCyyJ1dN4JlQl8PLQt6ZVH1RlfKMpTxIaB7RYXMyKfMow";
        let ring = KeyRing::parse(&key(1)).unwrap();
        assert_eq!(endpoint().path(&ring, ring.newest()), path);
        assert_eq!(Endpoint::from_path(&ring, path), Ok(endpoint()));
    }

    #[test]
    fn the_newest_key_seals_and_all_keys_open() {
        let old = KeyRing::parse(&key(1)).unwrap();
        let both = KeyRing::parse(&format!("{}, {}=", key(2), key(1))).unwrap();
        let path = endpoint().path(&old, old.newest());
        assert_eq!(Endpoint::from_path(&both, &path), Ok(endpoint()));
        assert_eq!(endpoint().path(&both, old.newest()), path, "a channel keeps the key it was made with");
        let newer = endpoint().path(&both, both.newest());
        assert_ne!(newer, path);
        assert_eq!(Endpoint::from_path(&old, &newer), Err(InvalidEndpoint));
    }

    #[test]
    fn every_kind_of_endpoint_survives_and_has_its_own_path() {
        let ring = KeyRing::parse(&key(1)).unwrap();
        let paths = endpoints().map(|endpoint| endpoint.path(&ring, ring.newest()));
        for (index, path) in paths.iter().enumerate() {
            assert_eq!(Endpoint::from_path(&ring, path), Ok(endpoints()[index]));
            assert!(path.len() < 120 && !paths[..index].contains(path), "{path}");
        }
    }

    #[test]
    fn a_token_is_accepted_at_the_paths_of_its_kind_only() {
        let ring = KeyRing::parse(&key(1)).unwrap();
        let prefixes = ["/update/", "/wpush/v1/", "/wpush/", "/wpush/v2/", "/wpush/v3/", "/m/", "/", ""];
        for (endpoint, accepted) in endpoints().into_iter().zip([
            &["/update/"][..],
            &["/wpush/v1/", "/wpush/"],
            &["/wpush/v2/"],
            &["/wpush/v2/"],
        ]) {
            let token = endpoint.seal(&ring, ring.newest());
            for prefix in prefixes {
                let expected = if accepted.contains(&prefix) { Ok(endpoint) } else { Err(InvalidEndpoint) };
                let path = [prefix, &token].concat();
                assert_eq!(Endpoint::from_path(&ring, &path), expected, "{endpoint:?} at {path}");
            }
        }
    }

    proptest! {
        #[test]
        fn an_altered_token_is_rejected(position in 0_usize..65, letter in "[A-Za-z0-9_-]") {
            let ring = KeyRing::parse(&key(1)).unwrap();
            let path = endpoint().path(&ring, ring.newest());
            let mut altered = path.clone();
            let position = UPDATE_PATH.len() + position;
            altered.replace_range(position..=position, &letter);
            prop_assert_eq!(Endpoint::from_path(&ring, &altered).is_ok(), altered == path);
        }

        #[test]
        fn any_path_is_read_without_a_panic(start in "(/update/|/wpush/(v[12]/)?)?", text in ".{0,120}") {
            let ring = KeyRing::parse(&key(1)).unwrap();
            prop_assert_eq!(Endpoint::from_path(&ring, &(start + &text)), Err(InvalidEndpoint));
        }
    }
}
