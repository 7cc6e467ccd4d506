//! How an application server says who it is (RFC 8292).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use p256::ecdsa::{Signature, SigningKey, signature::Signer as _};
use std::str::FromStr;

/// How long a credential is good, seconds: servers take none of more than 24 hours, and a run is shorter than that.
const VALID_S: u64 = 23 * 3600;

/// Who says who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vapid {
    /// Nobody.
    None,
    /// Each sender signs with a key of its own; endpoints are open to all.
    Each,
    /// Channels are registered with one key, and all senders sign with it.
    Restricted,
}

impl FromStr for Vapid {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            "each" => Ok(Self::Each),
            "restricted" => Ok(Self::Restricted),
            _ => Err(format!("`{text}` is none of none, each, restricted")),
        }
    }
}

/// A key of an application server. It protects nothing but the load of one run, so it may be guessed.
#[derive(Debug)]
pub struct VapidSigner {
    key: SigningKey,
    public: String,
}

impl VapidSigner {
    /// The key of this number.
    pub fn new(number: u64) -> Self {
        let mut secret = [1; 32];
        secret[24..].copy_from_slice(&number.to_be_bytes());
        #[expect(
            clippy::expect_used,
            reason = "every number that begins with 1 is in the range of P-256's keys"
        )]
        let key = SigningKey::from_slice(&secret).expect("a key");
        let public = URL_SAFE_NO_PAD.encode(key.verifying_key().to_sec1_point(false).as_bytes());
        Self { key, public }
    }

    /// The public key as user agents register it: base64url.
    pub fn public(&self) -> &str {
        &self.public
    }

    /// The value of `Authorization` for servers of this origin.
    pub fn authorization(&self, origin: &str, unix_s: u64) -> String {
        let header = URL_SAFE_NO_PAD.encode(r#"{"typ":"JWT","alg":"ES256"}"#);
        let expires = unix_s + VALID_S;
        let claims = format!(r#"{{"aud":"{origin}","exp":{expires},"sub":"mailto:loadgen@push.example"}}"#);
        let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
        let signature: Signature = self.key.sign(signed.as_bytes());
        let signature = URL_SAFE_NO_PAD.encode(signature.to_bytes());
        format!("vapid t={signed}.{signature}, k={}", self.public)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use p256::ecdsa::{VerifyingKey, signature::Verifier as _};

    #[test]
    fn a_credential_can_be_verified_with_its_key() {
        let signer = VapidSigner::new(7);
        let credential = signer.authorization("http://push.example", 1_000_000);
        let (token, key) = credential.strip_prefix("vapid t=").unwrap().split_once(", k=").unwrap();
        assert_eq!(key, signer.public());
        let key = VerifyingKey::from_sec1_bytes(&URL_SAFE_NO_PAD.decode(key).unwrap()).unwrap();
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let signature = Signature::from_slice(&URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
        assert!(key.verify(signed.as_bytes(), &signature).is_ok());
        assert!(key.verify(b"something else", &signature).is_err());
        let claims = signed.split_once('.').unwrap().1;
        let claims = String::from_utf8(URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
        assert!(claims.contains(r#""aud":"http://push.example","exp":1082800"#), "{claims}");
    }

    #[test]
    fn each_number_has_its_own_key() {
        assert_ne!(VapidSigner::new(1).public(), VapidSigner::new(2).public());
        assert_eq!(VapidSigner::new(1).public(), VapidSigner::new(1).public());
    }
}
