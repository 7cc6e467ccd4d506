//! VAPID: the signature by which an application server identifies itself (RFC 8292, PROTOCOL.md section 5.4).

use crate::p256_keys::{NoRandomness, new_secret_key, point};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use beckon_types::EndpointUrl;
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use serde_json::{Value, json};
use std::time::Duration;

/// How far in the future a token may expire (RFC 8292 section 2).
pub const LIFETIME_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The length of a private key, in bytes.
const SECRET_LEN: usize = 32;

/// A private key, and its public key, to which user agents can restrict their endpoints.
#[derive(Debug)]
pub struct Signer {
    key: EcdsaKeyPair,
    random: SystemRandom,
    public_key: String,
}

/// The bytes or the text are not a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a key pair on P-256")]
pub struct InvalidKey;

/// What a token says.
#[derive(Debug, Clone, Copy)]
pub struct Claims<'a> {
    /// The origin of the endpoint ([`origin_of`]).
    pub audience: &'a str,
    /// When the token expires, since the Unix epoch. No more than [`LIFETIME_MAX`] in the future.
    pub expires: Duration,
    /// How the operator of the push service can reach the sender: a `mailto:` or `https:` URL.
    pub subject: Option<&'a str>,
}

/// The spelling of a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// RFC 8292: token and key are in `Authorization`.
    Vapid,
    /// Draft 01: the key is in `Crypto-Key`.
    WebPush,
    /// As `WebPush`, older.
    Bearer,
}

/// A token in the headers that carry it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// `Authorization`.
    pub authorization: String,
    /// A parameter for `Crypto-Key`. If there are others, `;` separates them.
    pub crypto_key: Option<String>,
}

impl Signer {
    /// A new key, and its private part for [`Signer::from_texts`].
    ///
    /// # Errors
    ///
    /// The operating system has no random numbers.
    pub fn generate() -> Result<(Self, String), NoRandomness> {
        let secret = new_secret_key()?;
        let public_key = URL_SAFE_NO_PAD.encode(point(&secret.public_key()));
        let secret = URL_SAFE_NO_PAD.encode(secret.to_bytes());
        let signer = Self::from_texts(&secret, &public_key).map_err(|_| NoRandomness)?;
        Ok((signer, secret))
    }

    /// The key of two texts in base64url, as most libraries print them: the private and the public key.
    ///
    /// # Errors
    ///
    /// They are not a key pair on P-256.
    pub fn from_texts(secret: &str, public_key: &str) -> Result<Self, InvalidKey> {
        let secret = URL_SAFE_NO_PAD.decode(secret).map_err(|_| InvalidKey)?;
        let public_key = URL_SAFE_NO_PAD.decode(public_key).map_err(|_| InvalidKey)?;
        if secret.len() != SECRET_LEN {
            return Err(InvalidKey);
        }
        let random = SystemRandom::new();
        let scheme = &ECDSA_P256_SHA256_FIXED_SIGNING;
        EcdsaKeyPair::from_private_key_and_public_key(scheme, &secret, &public_key, &random)
            .map(|key| Self::of(key, random))
            .map_err(|_| InvalidKey)
    }

    fn of(key: EcdsaKeyPair, random: SystemRandom) -> Self {
        let public_key = URL_SAFE_NO_PAD.encode(key.public_key());
        Self { key, random, public_key }
    }

    /// The public key in base64url without padding: `applicationServerKey` of a web page, `key` of a register.
    pub fn public_key(&self) -> &str {
        &self.public_key
    }

    /// Signs a token.
    ///
    /// # Errors
    ///
    /// The operating system has no random numbers.
    pub fn token(&self, claims: &Claims<'_>) -> Result<String, NoRandomness> {
        let mut members = json!({"aud": claims.audience, "exp": claims.expires.as_secs()});
        if let Some(subject) = claims.subject {
            members["sub"] = json!(subject);
        }
        self.sign(&json!({"typ": "JWT", "alg": "ES256"}), &members)
    }

    /// Signs any header and claims, whether or not a server would accept them.
    ///
    /// # Errors
    ///
    /// The operating system has no random numbers.
    pub fn sign(&self, header: &Value, claims: &Value) -> Result<String, NoRandomness> {
        let mut token = URL_SAFE_NO_PAD.encode(header.to_string());
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = self.key.sign(&self.random, token.as_bytes()).map_err(|_| NoRandomness)?;
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(signature));
        Ok(token)
    }

    /// Signs a token and writes it in this spelling.
    ///
    /// # Errors
    ///
    /// The operating system has no random numbers.
    pub fn credential(&self, scheme: Scheme, claims: &Claims<'_>) -> Result<Credential, NoRandomness> {
        Ok(Credential::new(scheme, &self.token(claims)?, &self.public_key))
    }
}

impl Credential {
    /// A token and the key that signed it, in this spelling.
    pub fn new(scheme: Scheme, token: &str, key: &str) -> Self {
        let older = |name: &str| Self {
            authorization: format!("{name} {token}"),
            crypto_key: Some(format!("p256ecdsa={key}")),
        };
        match scheme {
            Scheme::Vapid => Self { authorization: format!("vapid t={token}, k={key}"), crypto_key: None },
            Scheme::WebPush => older("WebPush"),
            Scheme::Bearer => older("Bearer"),
        }
    }
}

/// The origin of an endpoint, for [`Claims::audience`]. `None` if it is not an absolute http or https URL.
pub fn origin_of(endpoint: &http::Uri) -> Option<String> {
    let (scheme, authority) = (endpoint.scheme_str()?, endpoint.authority()?);
    let url: EndpointUrl = format!("{scheme}://{authority}").parse().ok()?;
    Some(url.origin())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    const CLAIMS: Claims<'static> = Claims {
        audience: "https://push.example",
        expires: Duration::from_secs(1_600_000_000),
        subject: Some("mailto:a@b.example"),
    };

    fn verified(token: &str, public_key: &str) -> (Value, Value) {
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let key = URL_SAFE_NO_PAD.decode(public_key).unwrap();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key)
            .verify(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap())
            .unwrap();
        let part = |text: &str| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap();
        let (header, claims) = signed.split_once('.').unwrap();
        (part(header), part(claims))
    }

    #[test]
    fn a_token_has_its_claims_and_is_signed_with_the_key() {
        let (signer, secret) = Signer::generate().unwrap();
        let (header, claims) = verified(&signer.token(&CLAIMS).unwrap(), signer.public_key());
        assert_eq!(header, json!({"typ": "JWT", "alg": "ES256"}));
        let audience = "https://push.example";
        assert_eq!(claims, json!({"aud": audience, "exp": 1_600_000_000, "sub": "mailto:a@b.example"}));
        let without_subject = Claims { subject: None, ..CLAIMS };
        let (_, claims) = verified(&signer.token(&without_subject).unwrap(), signer.public_key());
        assert_eq!(claims, json!({"aud": audience, "exp": 1_600_000_000}));
        let again = Signer::from_texts(&secret, signer.public_key()).unwrap();
        assert_eq!(again.public_key(), signer.public_key());
        verified(&again.token(&CLAIMS).unwrap(), signer.public_key());
    }

    #[test]
    fn a_key_is_read_as_other_libraries_print_it() {
        // The key of RFC 8291, appendix A.
        let secret = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw";
        let public_key =
            "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8";
        let signer = Signer::from_texts(secret, public_key).unwrap();
        assert_eq!(signer.public_key(), public_key);
        verified(&signer.token(&CLAIMS).unwrap(), public_key);
        let other = Signer::generate().unwrap().0;
        for (secret, public_key) in [
            (secret, other.public_key()),
            (secret, ""),
            ("", public_key),
            ("*", public_key),
            (&secret[4..], public_key),
        ] {
            assert_eq!(Signer::from_texts(secret, public_key).err(), Some(InvalidKey), "{secret}");
        }
    }

    #[test]
    fn a_credential_has_three_spellings() {
        let credential = |scheme| Credential::new(scheme, "t.o.k", "BKey");
        for (scheme, authorization, crypto_key) in [
            (Scheme::Vapid, "vapid t=t.o.k, k=BKey", None),
            (Scheme::WebPush, "WebPush t.o.k", Some("p256ecdsa=BKey")),
            (Scheme::Bearer, "Bearer t.o.k", Some("p256ecdsa=BKey")),
        ] {
            let expected = Credential {
                authorization: authorization.to_owned(),
                crypto_key: crypto_key.map(str::to_owned),
            };
            assert_eq!(credential(scheme), expected);
        }
    }

    #[test]
    fn an_origin_leaves_out_the_default_port() {
        for (endpoint, origin) in [
            ("https://push.example/wpush/v2/x", Some("https://push.example")),
            ("https://push.example:443/", Some("https://push.example")),
            ("http://push.example:80/", Some("http://push.example")),
            ("https://push.example:80/", Some("https://push.example:80")),
            ("http://127.0.0.1:8082/", Some("http://127.0.0.1:8082")),
            ("https://Push.Example/", Some("https://push.example")),
            ("ws://push.example/", None),
            ("/wpush/v2/x", None),
        ] {
            assert_eq!(origin_of(&endpoint.parse().unwrap()).as_deref(), origin, "{endpoint}");
        }
    }
}
