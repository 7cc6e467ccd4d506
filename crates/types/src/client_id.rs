//! The name of a client outside its own connections, and the key that makes it.
//!
//! A UAID is a secret: whoever knows it can act as the user agent. So everything but the connection with the user agent
//! itself has a keyed hash of it: the store, the endpoints, the message ids, the notifications between nodes, and the
//! log. Neither a copy of the store nor an endpoint with the key of its token gives a device away.

use crate::{spelling::ID_LEN, uaid::Uaid};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::{fmt, str::FromStr};

/// Bytes of a UAID key.
pub const UAID_KEY_LEN: usize = 32;

/// What a fingerprint is the hash of. It is not as long as a UAID.
const FINGERPRINT: &[u8] = b"beckon UAID key fingerprint";

/// Names a client: the first 16 bytes of the HMAC-SHA-256 of its UAID. It is not a secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(pub [u8; ID_LEN]);

impl fmt::Display for ClientId {
    /// 22 characters of base64url.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

/// A text is not the id of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the id of a client is 22 characters of base64url")]
pub struct InvalidClientId;

impl FromStr for ClientId {
    type Err = InvalidClientId;

    fn from_str(text: &str) -> Result<Self, InvalidClientId> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidClientId)?;
        bytes.try_into().map(Self).map_err(|_| InvalidClientId)
    }
}

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientId({})", URL_SAFE_NO_PAD.encode(self.0))
    }
}

/// A UAID key is unusable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be {UAID_KEY_LEN} bytes in base64url; `beckon genkey` prints a key")]
pub struct InvalidUaidKey;

/// The key that makes client ids from UAIDs. With another key no client is known, so it is never changed.
#[derive(Clone)]
pub struct UaidKey {
    bytes: [u8; UAID_KEY_LEN],
    mac: Hmac<Sha256>,
}

impl UaidKey {
    /// A key made of 32 bytes from a secure random source.
    pub fn new(key: &[u8; UAID_KEY_LEN]) -> Self {
        #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
        let mac = Hmac::new_from_slice(key).expect("a key");
        Self { bytes: *key, mac }
    }

    /// The id of the client with this UAID.
    pub fn client_id(&self, uaid: Uaid) -> ClientId {
        ClientId(self.hash(&uaid.0))
    }

    /// Distinguishes the key from all others without revealing it.
    pub fn fingerprint(&self) -> u64 {
        u64::from_be_bytes(self.hash(FINGERPRINT))
    }

    /// The key as it is written in a setting, which is a secret.
    pub fn secret_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.bytes)
    }

    /// The first bytes of the keyed hash.
    fn hash<const LEN: usize>(&self, content: &[u8]) -> [u8; LEN] {
        let hash = self.mac.clone().chain_update(content).finalize().into_bytes();
        std::array::from_fn(|index| hash[index])
    }
}

impl FromStr for UaidKey {
    type Err = InvalidUaidKey;

    /// Reads base64url, with or without padding.
    fn from_str(text: &str) -> Result<Self, InvalidUaidKey> {
        let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| InvalidUaidKey)?;
        bytes.try_into().map(|bytes: [u8; UAID_KEY_LEN]| Self::new(&bytes)).map_err(|_| InvalidUaidKey)
    }
}

impl fmt::Debug for UaidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UaidKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UAID: Uaid = Uaid([7; ID_LEN]);

    #[test]
    fn the_id_is_the_one_that_another_implementation_of_hmac_makes() {
        // By Python: hmac.digest(bytes([1] * 32), bytes([7] * 16), "sha256")[:16].
        let key = UaidKey::new(&[1; UAID_KEY_LEN]);
        assert_eq!(
            key.client_id(UAID).0,
            *b"\xfa\x74\x70\xd8\x81\x91\xed\x1f\x6e\xce\xa1\xe6\x80\x93\x1a\x1a"
        );
        assert_eq!(key.fingerprint(), 0xc7c4_2625_2382_681e);
    }

    #[test]
    fn another_key_makes_another_id() {
        let [one, two] = [[1; UAID_KEY_LEN], [2; UAID_KEY_LEN]].map(|key| UaidKey::new(&key));
        assert_ne!(one.client_id(UAID), two.client_id(UAID));
        assert_ne!(one.fingerprint(), two.fingerprint());
        assert_ne!(one.client_id(UAID), one.client_id(Uaid([8; ID_LEN])));
    }

    #[test]
    fn a_key_is_32_bytes_in_base64url() {
        let text = URL_SAFE_NO_PAD.encode([1; UAID_KEY_LEN]);
        let key: UaidKey = text.parse().unwrap();
        assert_eq!(key.client_id(UAID), UaidKey::new(&[1; UAID_KEY_LEN]).client_id(UAID));
        assert_eq!(key.secret_text(), text);
        assert!(format!("{text}=").parse::<UaidKey>().is_ok());
        for unusable in ["", "c2hvcnQ", &format!("{text}{text}"), "not base64url, which is an error"] {
            assert!(unusable.parse::<UaidKey>().is_err(), "{unusable}");
        }
    }
}
