//! The encryption of messages, from both ends (RFC 8291 over RFC 8188, encoding `aes128gcm`).

use crate::p256_keys::{NoRandomness, PUBLIC_KEY_LEN, new_secret_key, point};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use beckon_types::{Encoding, Payload};
use p256::{PublicKey, SecretKey};
use ring::{
    aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, KeyType, Salt},
};
use std::fmt;

/// The longest content that can be encrypted, in bytes: that of one record (RFC 8291 section 4).
pub const CONTENT_LEN_MAX: usize = RECORD_SIZE as usize - TAG_LEN - 1;

const RECORD_SIZE: u32 = 4096;
const SALT_LEN: usize = 16;
const AUTH_LEN: usize = 16;
const TAG_LEN: usize = 16;

/// Salt, record size, and the length of the key that follows (RFC 8188 section 2.1).
const HEADER_LEN: usize = SALT_LEN + 4 + 1;

/// Ends the content of the last record; zeros may follow (RFC 8188 section 2).
const LAST_RECORD: u8 = 2;

/// The text is not a key, or not a secret, of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKeys {
    /// `p256dh` is not a point on P-256.
    #[error("p256dh is not a public key on P-256 in base64url")]
    PublicKey,
    /// `auth` is not 16 bytes.
    #[error("auth is not 16 bytes in base64url")]
    Auth,
    /// The private key is not one of P-256.
    #[error("the private key is not one of P-256 in base64url")]
    SecretKey,
}

/// Why a message is not encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncryptError {
    /// It is longer than [`CONTENT_LEN_MAX`].
    #[error("the content is longer than {CONTENT_LEN_MAX} bytes")]
    TooLong,
    /// The operating system has no random numbers.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

/// A message that this device cannot read: it is damaged, encrypted for another one, or in another encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the message cannot be decrypted")]
pub struct Undecryptable;

/// What an application server knows of a device: the `keys` of a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    public_key: PublicKey,
    auth: [u8; AUTH_LEN],
}

impl Recipient {
    /// Reads the `keys` of a subscription, both in base64url.
    ///
    /// # Errors
    ///
    /// One of them is not what it should be.
    pub fn parse(p256dh: &str, auth: &str) -> Result<Self, InvalidKeys> {
        let public_key = decode(p256dh).ok_or(InvalidKeys::PublicKey)?;
        let public_key = PublicKey::from_sec1_bytes(&public_key).map_err(|_| InvalidKeys::PublicKey)?;
        Ok(Self { public_key, auth: parse_auth(auth)? })
    }

    /// The key in base64url.
    pub fn p256dh(&self) -> String {
        URL_SAFE_NO_PAD.encode(point(&self.public_key))
    }

    /// The secret in base64url.
    pub fn auth(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.auth)
    }

    /// Encrypts a message for the device.
    ///
    /// # Errors
    ///
    /// It is too long, or the operating system has no random numbers.
    pub fn encrypt(&self, content: &[u8]) -> Result<Payload, EncryptError> {
        let mut salt = [0; SALT_LEN];
        getrandom::fill(&mut salt).map_err(|_| NoRandomness)?;
        self.encrypt_with(content, &new_secret_key()?, salt)
    }

    /// As [`Recipient::encrypt`], with a sender's key and a salt that have never been used before.
    fn encrypt_with(
        &self,
        content: &[u8],
        sender: &SecretKey,
        salt: [u8; SALT_LEN],
    ) -> Result<Payload, EncryptError> {
        if content.len() > CONTENT_LEN_MAX {
            return Err(EncryptError::TooLong);
        }
        let sender_point = point(&sender.public_key());
        let shared = sender.diffie_hellman(&self.public_key);
        let (key, nonce) = derive(shared.raw_secret_bytes(), self, &sender_point, &salt);
        let mut record = content.to_vec();
        record.push(LAST_RECORD);
        #[expect(clippy::expect_used, reason = "AES-GCM seals everything shorter than 64 GiB")]
        key.seal_in_place_append_tag(nonce, Aad::empty(), &mut record).expect("a record is sealed");
        let mut body = Vec::with_capacity(HEADER_LEN + PUBLIC_KEY_LEN + record.len());
        body.extend_from_slice(&salt);
        body.extend_from_slice(&RECORD_SIZE.to_be_bytes());
        body.push(PUBLIC_KEY_LEN as u8);
        body.extend_from_slice(&sender_point);
        body.append(&mut record);
        Ok(Payload { encoding: Encoding::Aes128gcm, body: body.into() })
    }
}

/// The keys of a device. Whoever has them can read its messages.
pub struct DeviceKeys {
    secret: SecretKey,
    recipient: Recipient,
}

impl fmt::Debug for DeviceKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceKeys").field("recipient", &self.recipient).finish_non_exhaustive()
    }
}

impl DeviceKeys {
    /// Makes new ones.
    ///
    /// # Errors
    ///
    /// The operating system has no random numbers.
    pub fn generate() -> Result<Self, NoRandomness> {
        let mut auth = [0; AUTH_LEN];
        getrandom::fill(&mut auth).map_err(|_| NoRandomness)?;
        Ok(Self::of(new_secret_key()?, auth))
    }

    /// Reads the private key and the secret, both in base64url, as [`DeviceKeys::secret_text`] and [`Recipient::auth`]
    /// write them.
    ///
    /// # Errors
    ///
    /// One of them is not what it should be.
    pub fn parse(secret: &str, auth: &str) -> Result<Self, InvalidKeys> {
        let secret = decode(secret).ok_or(InvalidKeys::SecretKey)?;
        let secret = SecretKey::from_slice(&secret).map_err(|_| InvalidKeys::SecretKey)?;
        Ok(Self::of(secret, parse_auth(auth)?))
    }

    fn of(secret: SecretKey, auth: [u8; AUTH_LEN]) -> Self {
        let recipient = Recipient { public_key: secret.public_key(), auth };
        Self { secret, recipient }
    }

    /// The private key in base64url.
    pub fn secret_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.secret.to_bytes())
    }

    /// What application servers get.
    pub fn recipient(&self) -> &Recipient {
        &self.recipient
    }

    /// Decrypts a message.
    ///
    /// # Errors
    ///
    /// It is damaged, encrypted for another device, or has another encoding than `aes128gcm`.
    pub fn decrypt(&self, payload: &Payload) -> Result<Vec<u8>, Undecryptable> {
        if payload.encoding != Encoding::Aes128gcm {
            return Err(Undecryptable);
        }
        let (header, rest) = payload.body.split_at_checked(HEADER_LEN).ok_or(Undecryptable)?;
        let (salt, sizes) = header.split_first_chunk::<SALT_LEN>().ok_or(Undecryptable)?;
        if usize::from(sizes[4]) != PUBLIC_KEY_LEN {
            return Err(Undecryptable);
        }
        let (sender, record) = rest.split_first_chunk::<PUBLIC_KEY_LEN>().ok_or(Undecryptable)?;
        let sender_key = PublicKey::from_sec1_bytes(sender).map_err(|_| Undecryptable)?;
        let shared = self.secret.diffie_hellman(&sender_key);
        let (key, nonce) = derive(shared.raw_secret_bytes(), &self.recipient, sender, salt);
        let mut record = record.to_vec();
        let content = key.open_in_place(nonce, Aad::empty(), &mut record).map_err(|_| Undecryptable)?;
        let end = content.iter().rposition(|byte| *byte != 0).ok_or(Undecryptable)?;
        if content[end] != LAST_RECORD {
            return Err(Undecryptable);
        }
        record.truncate(end);
        Ok(record)
    }
}

/// The content encryption key and the nonce (RFC 8291 section 3.4).
fn derive(
    shared: &[u8],
    recipient: &Recipient,
    sender: &[u8; PUBLIC_KEY_LEN],
    salt: &[u8; SALT_LEN],
) -> (LessSafeKey, Nonce) {
    let receiver = point(&recipient.public_key);
    let input: [u8; 32] = hkdf(&recipient.auth, shared, &[b"WebPush: info\0", &receiver, sender]);
    let key: [u8; 16] = hkdf(salt, &input, &[b"Content-Encoding: aes128gcm\0"]);
    let nonce: [u8; NONCE_LEN] = hkdf(salt, &input, &[b"Content-Encoding: nonce\0"]);
    #[expect(clippy::expect_used, reason = "the length is that of the algorithm")]
    let key = UnboundKey::new(&AES_128_GCM, &key).expect("16 bytes are a key");
    (LessSafeKey::new(key), Nonce::assume_unique_for_key(nonce))
}

/// A length in bytes, of what HKDF gives.
#[derive(Debug, Clone, Copy)]
struct Len(usize);

impl KeyType for Len {
    fn len(&self) -> usize {
        self.0
    }
}

fn hkdf<const LEN: usize>(salt: &[u8], input: &[u8], info: &[&[u8]]) -> [u8; LEN] {
    let mut output = [0; LEN];
    #[expect(clippy::expect_used, reason = "HKDF gives up to 8160 bytes")]
    Salt::new(HKDF_SHA256, salt)
        .extract(input)
        .expand(info, Len(LEN))
        .and_then(|material| material.fill(&mut output))
        .expect("HKDF gives so many bytes");
    output
}

fn parse_auth(text: &str) -> Result<[u8; AUTH_LEN], InvalidKeys> {
    decode(text).and_then(|bytes| bytes.try_into().ok()).ok_or(InvalidKeys::Auth)
}

/// Libraries differ in whether they write padding.
fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 8291 appendix A.
    mod example {
        pub(super) const CONTENT: &[u8] = b"When I grow up, I want to be a watermelon";
        pub(super) const SENDER: &str = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw";
        pub(super) const DEVICE: &str = "q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94";
        pub(super) const P256DH: &str =
            "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
        pub(super) const AUTH: &str = "BTBZMqHH6r4Tts7J_aSIgg";
        pub(super) const SALT: &str = "DGv6ra1nlYgDCS1FRnbzlw";
        pub(super) const BODY: &str = "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27ml\
                                       mlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPT\
                                       pK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN";
    }

    #[test]
    fn the_example_of_the_rfc() {
        let recipient = Recipient::parse(example::P256DH, example::AUTH).unwrap();
        let sender = SecretKey::from_slice(&decode(example::SENDER).unwrap()).unwrap();
        let salt = decode(example::SALT).unwrap().try_into().unwrap();
        let payload = recipient.encrypt_with(example::CONTENT, &sender, salt).unwrap();
        assert_eq!(URL_SAFE_NO_PAD.encode(&payload.body), example::BODY);
        let device = DeviceKeys::parse(example::DEVICE, example::AUTH).unwrap();
        assert_eq!(*device.recipient(), recipient);
        assert_eq!(device.decrypt(&payload).unwrap(), example::CONTENT);
    }

    #[test]
    fn only_the_device_reads_a_whole_message() {
        let device = DeviceKeys::generate().unwrap();
        let again = DeviceKeys::parse(&device.secret_text(), &device.recipient().auth()).unwrap();
        for content in [&b""[..], b"x", &[7; CONTENT_LEN_MAX]] {
            let payload = device.recipient().encrypt(content).unwrap();
            assert_eq!(again.decrypt(&payload).unwrap(), content);
            assert!(DeviceKeys::generate().unwrap().decrypt(&payload).is_err());
            for len in [0, HEADER_LEN, payload.body.len() - 1] {
                let cut = Payload { body: payload.body.slice(..len), ..payload.clone() };
                assert_eq!(device.decrypt(&cut), Err(Undecryptable), "{len} bytes");
            }
        }
        let too_long = device.recipient().encrypt(&[7; CONTENT_LEN_MAX + 1]);
        assert_eq!(too_long, Err(EncryptError::TooLong));
    }

    #[test]
    fn keys_are_checked() {
        let (p256dh, auth) = (example::P256DH, example::AUTH);
        assert!(Recipient::parse(&format!("{p256dh}="), &format!("{auth}==")).is_ok());
        assert_eq!(Recipient::parse(&p256dh.replace("BCV", "BCW"), auth), Err(InvalidKeys::PublicKey));
        assert_eq!(Recipient::parse(p256dh, "BTBZ"), Err(InvalidKeys::Auth));
        assert_eq!(DeviceKeys::parse("AAAA", auth).err(), Some(InvalidKeys::SecretKey));
    }
}
