//! The public key with which an application server identifies itself (VAPID, RFC 8292), and to which a user agent may
//! restrict a channel.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

/// Bytes of a key: the uncompressed form of a point on P-256.
pub const VAPID_KEY_LEN: usize = 65;

/// A point on P-256, uncompressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VapidKey([u8; VAPID_KEY_LEN]);

/// SHA-256 of a [`VapidKey`], as endpoints and records keep it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyHash(pub [u8; 32]);

/// What a channel is restricted to: the beginning of the hash of an application server's key.
///
/// It is enough to tell keys apart: finding another key with the same 128 bits takes 2^128 attempts, and the
/// endpoint, which an application server has to know, contains the whole hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Restriction(pub [u8; Self::LEN]);

impl Restriction {
    /// Bytes of a restriction.
    pub const LEN: usize = 16;

    /// A hash that passes it, for what the server itself sends to the channel.
    pub fn passing_hash(self) -> KeyHash {
        let mut hash = [0; 32];
        hash[..Self::LEN].copy_from_slice(&self.0);
        KeyHash(hash)
    }
}

impl From<KeyHash> for Restriction {
    fn from(hash: KeyHash) -> Self {
        let mut restriction = [0; Self::LEN];
        restriction.copy_from_slice(&hash.0[..Self::LEN]);
        Self(restriction)
    }
}

/// The text is not a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the base64url form of {VAPID_KEY_LEN} bytes that are an uncompressed point on P-256")]
pub struct InvalidVapidKey;

impl VapidKey {
    /// Reads a key in base64url, with or without padding; the standard alphabet is accepted too (PROTOCOL.md section
    /// 4.3). Checks that it is a point on the curve, which takes about ten microseconds.
    ///
    /// # Errors
    ///
    /// The text is not a key; the peer that sent it is at fault.
    pub fn parse(text: &str) -> Result<Self, InvalidVapidKey> {
        let key = Self::parse_unchecked(text)?;
        p256::PublicKey::from_sec1_bytes(&key.0).map_err(|_| InvalidVapidKey)?;
        Ok(key)
    }

    /// Reads a key in the same forms without checking that it is on the curve. Good for comparing keys, and for
    /// verifying a signature, which checks the curve too.
    ///
    /// # Errors
    ///
    /// The text cannot be a key; the peer that sent it is at fault.
    pub fn parse_unchecked(text: &str) -> Result<Self, InvalidVapidKey> {
        let text = text.trim_end_matches('=');
        // A longer text is not even decoded.
        if text.len() != (VAPID_KEY_LEN * 8).div_ceil(6) {
            return Err(InvalidVapidKey);
        }
        let url_safe = text.replace('+', "-").replace('/', "_");
        let bytes = URL_SAFE_NO_PAD.decode(url_safe).map_err(|_| InvalidVapidKey)?;
        let bytes: [u8; VAPID_KEY_LEN] = bytes.try_into().map_err(|_| InvalidVapidKey)?;
        // SEC 1: 4 means that both coordinates follow.
        if bytes[0] == 4 { Ok(Self(bytes)) } else { Err(InvalidVapidKey) }
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; VAPID_KEY_LEN] {
        &self.0
    }

    /// The hash, as endpoints and records keep it.
    pub fn hash(&self) -> KeyHash {
        KeyHash(Sha256::digest(self.0).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key of the example in RFC 8292 section 2.4.
    const KEY: &str =
        "BA1Hxzyi1RUM1b5wjxsn7nGxAszw2u61m164i3MrAIxHF6YK5h4SDYic-dRuU_RCPCfA5aq9ojSwk5Y2EmClBPs";

    #[test]
    fn a_key_is_accepted_in_every_spelling() {
        let key = VapidKey::parse(KEY).unwrap();
        assert_eq!(VapidKey::parse(&format!("{KEY}=")), Ok(key));
        assert_eq!(VapidKey::parse(&KEY.replace('-', "+").replace('_', "/")), Ok(key));
        assert_eq!(key.hash(), VapidKey::parse_unchecked(KEY).unwrap().hash());
    }

    #[test]
    fn a_point_off_the_curve_and_any_other_text_is_not_a_key() {
        let off_the_curve = URL_SAFE_NO_PAD.encode([4; VAPID_KEY_LEN]);
        assert!(VapidKey::parse_unchecked(&off_the_curve).is_ok());
        let compressed = URL_SAFE_NO_PAD.encode([2; 33]);
        let wrong_form = KEY.replacen('B', "A", 1);
        let short = &KEY[1..];
        let foreign = KEY.replace('-', "*");
        for bad in ["", "====", short, &foreign, &wrong_form, &compressed, &off_the_curve, &KEY.repeat(1000)]
        {
            assert_eq!(VapidKey::parse(bad), Err(InvalidVapidKey), "{bad}");
        }
    }
}
