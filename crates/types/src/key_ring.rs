//! The key ring: it seals the opaque texts that are handed to clients and application servers, and opens them again.
//!
//! Texts are sealed with AES-SIV (RFC 5297) and written in base64url. The scheme is deterministic, so the same
//! content always has the same text and the store need not keep it; it is authenticated, so an altered text is
//! rejected without asking the store; and it hides the content.

use aes_siv::{
    KeyInit as _, Tag,
    siv::{Aes128Siv, IV_SIZE},
};
use arc_swap::ArcSwap;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
use std::{fmt, str::FromStr, sync::Arc};

/// Bytes of a key: AES-SIV takes two AES-128 keys.
pub const TOKEN_KEY_LEN: usize = 32;

/// Most keys in a ring. An invalid text costs one trial decryption for each key.
pub const TOKEN_KEYS_MAX: usize = 16;

/// The longest content, in bytes.
const CONTENT_LEN_MAX: usize = 72;

/// The longest text, in characters.
const TEXT_LEN_MAX: usize = text_len(CONTENT_LEN_MAX);

/// Characters of the text for this number of bytes of content: the synthetic initialization vector and the encrypted
/// content, in base64url without padding.
pub(crate) const fn text_len(content_len: usize) -> usize {
    ((IV_SIZE + content_len) * 8).div_ceil(6)
}

/// Names a key of the ring: the first byte of its SHA-256. Kept with each channel and each message, so that their
/// URLs stay the same when a newer key is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId(pub u8);

/// A list of token keys is unusable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKeys {
    /// The list is empty.
    #[error("no key given; `beckon genkey` prints one")]
    Empty,
    /// One of the keys is not 32 bytes in base64url.
    #[error("key {position} is not {TOKEN_KEY_LEN} bytes in base64url; `beckon genkey` prints one")]
    Malformed {
        /// Its position in the list, from 1.
        position: usize,
    },
    /// Two of the keys have the same [`KeyId`] (or are the same), so a channel could not name its key.
    #[error("keys {first} and {second} are the same or have the same short name; replace one of them")]
    Clash {
        /// Position of the earlier one, from 1.
        first: usize,
        /// Position of the later one, from 1.
        second: usize,
    },
    /// The list is too long.
    #[error("more than {TOKEN_KEYS_MAX} keys")]
    TooMany,
}

/// The keys of a cluster: the newest seals, and all of them open. Clones are the same ring, which can get other keys
/// ([`KeyRing::replace`]); reading them takes no lock.
#[derive(Clone)]
pub struct KeyRing {
    keys: Arc<ArcSwap<Keys>>,
}

/// Newest first, at least one.
type Keys = Vec<Key>;

struct Key {
    id: KeyId,
    /// Each call makes its own cipher: expanding a key takes 0.2 µs.
    bytes: [u8; TOKEN_KEY_LEN],
    fingerprint: u64,
}

impl Key {
    fn new(bytes: [u8; TOKEN_KEY_LEN]) -> Self {
        let digest = Sha256::new().chain_update(b"beckon token key").chain_update(bytes).finalize();
        let mut fingerprint = [0; 8];
        fingerprint.copy_from_slice(&digest[..8]);
        Self { id: KeyId(Sha256::digest(bytes)[0]), bytes, fingerprint: u64::from_be_bytes(fingerprint) }
    }
}

impl KeyRing {
    /// Reads a comma-separated list of base64url keys of 32 bytes, newest first. Padding and space around a key are
    /// accepted.
    ///
    /// # Errors
    ///
    /// The list is unusable; the error names the key that the operator has to change.
    pub fn parse(list: &str) -> Result<Self, InvalidKeys> {
        let mut keys = Keys::new();
        if list.trim().is_empty() {
            return Err(InvalidKeys::Empty);
        }
        for (index, text) in list.split(',').enumerate() {
            if index == TOKEN_KEYS_MAX {
                return Err(InvalidKeys::TooMany);
            }
            let position = index + 1;
            let malformed = InvalidKeys::Malformed { position };
            let bytes =
                URL_SAFE_NO_PAD.decode(text.trim().trim_end_matches('=')).map_err(|_| malformed.clone())?;
            let bytes: [u8; TOKEN_KEY_LEN] = bytes.try_into().map_err(|_| malformed)?;
            let key = Key::new(bytes);
            if let Some(first) = keys.iter().position(|other| other.id == key.id) {
                return Err(InvalidKeys::Clash { first: first + 1, second: position });
            }
            keys.push(key);
        }
        Ok(Self { keys: Arc::new(ArcSwap::from_pointee(keys)) })
    }

    /// Gives this ring and its clones the keys of another one.
    pub fn replace(&self, other: &Self) {
        self.keys.store(other.keys.load_full());
    }

    /// A key as it is written in a list, from 32 bytes of a secure random source.
    pub fn key_text(bytes: &[u8; TOKEN_KEY_LEN]) -> String {
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The list as it is written, which is a secret.
    pub fn secret_text(&self) -> String {
        let texts: Vec<_> = self.keys.load().iter().map(|key| Self::key_text(&key.bytes)).collect();
        texts.join(",")
    }

    /// The key that seals the token of a new channel.
    pub fn newest(&self) -> KeyId {
        self.keys.load()[0].id
    }

    /// Tells each key from all others without showing it: the beginning of a SHA-256.
    pub fn fingerprints(&self) -> Vec<u64> {
        self.keys.load().iter().map(|key| key.fingerprint).collect()
    }

    /// Whether some key is in both rings. If not, neither opens what the other has sealed.
    pub fn overlaps(&self, other: &Self) -> bool {
        let other = other.keys.load();
        self.keys.load().iter().any(|key| other.iter().any(|other| other.fingerprint == key.fingerprint))
    }

    /// Seals content with the named key, or with the newest if that key has left the ring. `purpose` names the kind
    /// of text and its format, so that a text of one kind cannot be used as another.
    pub(crate) fn seal(&self, key: KeyId, purpose: &[u8], content: &[u8]) -> String {
        let keys = self.keys.load();
        let key = keys.iter().find(|other| other.id == key).unwrap_or(&keys[0]);
        let mut sealed = [0; IV_SIZE + CONTENT_LEN_MAX];
        let sealed = &mut sealed[..IV_SIZE + content.len()];
        let (vector, text) = sealed.split_at_mut(IV_SIZE);
        text.copy_from_slice(content);
        let tag = Aes128Siv::new(&key.bytes.into()).encrypt_inout_detached([purpose], text.into());
        #[expect(clippy::expect_used, reason = "AES-SIV fails only on more than 126 headers")]
        vector.copy_from_slice(&tag.expect("one header"));
        URL_SAFE_NO_PAD.encode(sealed)
    }

    /// The content of a text that was sealed for `purpose` with any key of the ring. A text that is too long or too
    /// short for `LEN` bytes of content costs no decryption.
    pub(crate) fn open<const LEN: usize>(&self, purpose: &[u8], text: &str) -> Option<[u8; LEN]> {
        if text.len() != text_len(LEN) {
            return None;
        }
        // The decoder asks for more room than it uses.
        let mut decoded = [0; TEXT_LEN_MAX];
        let len = URL_SAFE_NO_PAD.decode_slice(text, &mut decoded).ok()?;
        let (vector, sealed) = decoded[..len].split_first_chunk()?;
        let vector = Tag::from(*vector);
        let sealed: [u8; LEN] = sealed.try_into().ok()?;
        let open = |key: &Key| {
            let mut content = sealed;
            let mut cipher = Aes128Siv::new(&key.bytes.into());
            let opened = cipher.decrypt_inout_detached([purpose], (&mut content[..]).into(), &vector);
            opened.ok().map(|()| content)
        };
        self.keys.load().iter().find_map(open)
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
        f.debug_list().entries(self.keys.load().iter().map(|key| key.id)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_a_fingerprint_of_its_own() {
        let [first, second] = [[1; TOKEN_KEY_LEN], [2; TOKEN_KEY_LEN]].map(|key| KeyRing::key_text(&key));
        let of = |list: &str| KeyRing::parse(list).unwrap().fingerprints();
        let (one, both) = (of(&first), of(&format!("{second},{first}")));
        assert_eq!((one.len(), both.len()), (1, 2));
        assert_eq!(one[0], both[1]);
        assert_ne!(both[0], both[1]);
    }

    fn key(byte: u8) -> String {
        KeyRing::key_text(&[byte; TOKEN_KEY_LEN])
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

    #[test]
    fn other_keys_reach_every_clone() {
        let ring = KeyRing::parse(&key(1)).unwrap();
        let clone = ring.clone();
        let text = clone.seal(clone.newest(), b"one", &[7; 5]);
        ring.replace(&KeyRing::parse(&format!("{},{}", key(2), key(1))).unwrap());
        assert_eq!(clone.newest(), KeyRing::parse(&key(2)).unwrap().newest());
        assert_eq!(clone.open(b"one", &text), Some([7; 5]), "old keys open");
        assert_ne!(clone.seal(clone.newest(), b"one", &[7; 5]), text, "the new key seals");
        assert!(ring.overlaps(&KeyRing::parse(&key(2)).unwrap()));
        ring.replace(&KeyRing::parse(&key(2)).unwrap());
        assert_eq!(clone.open::<5>(b"one", &text), None);
        assert!(!ring.overlaps(&KeyRing::parse(&key(1)).unwrap()));
        assert_eq!(ring.secret_text(), key(2));
    }

    #[test]
    fn a_text_opens_for_its_purpose_only() {
        let ring = KeyRing::parse(&key(1)).unwrap();
        let text = ring.seal(ring.newest(), b"one", &[7; 5]);
        assert_eq!(text.len(), text_len(5));
        assert_eq!(ring.open(b"one", &text), Some([7; 5]));
        assert_eq!(ring.open::<5>(b"another", &text), None);
        assert_eq!(ring.open::<6>(b"one", &text), None);
    }
}
