//! The cluster secret: both tiers prove that they belong to the same cluster.
//!
//! A call carries `authorization: Bearer <credential>`. The credential is derived from the secret with SHA-256, so a secret
//! may contain any characters and is not itself visible on the wire. An attacker who can read the traffic can still replay
//! the credential: on a network that is shared with others, use TLS ([`crate::tls`]).

use crate::status::Failure;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
use std::{fmt, str::FromStr};
use subtle::ConstantTimeEq as _;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::Interceptor,
};

/// The shortest secret, in characters.
pub const SECRET_LEN_MIN: usize = 16;

/// The metadata that carries the credential.
const AUTHORIZATION: &str = "authorization";

/// Makes the credential differ from every other use of the same secret.
const PURPOSE: &[u8] = b"beckon cluster secret 1\0";

/// The secret is too short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a cluster secret has {SECRET_LEN_MIN} characters or more")]
pub struct SecretTooShort;

/// The secret that the nodes of a cluster share.
#[derive(Clone)]
pub struct ClusterSecret {
    /// `Bearer`, a space and the credential.
    header: MetadataValue<Ascii>,
}

impl FromStr for ClusterSecret {
    type Err = SecretTooShort;

    fn from_str(secret: &str) -> Result<Self, SecretTooShort> {
        if secret.chars().count() < SECRET_LEN_MIN {
            return Err(SecretTooShort);
        }
        let digest = Sha256::new().chain_update(PURPOSE).chain_update(secret).finalize();
        let header = format!("Bearer {}", URL_SAFE_NO_PAD.encode(digest));
        #[expect(clippy::expect_used, reason = "base64url is printable ASCII")]
        let mut header = MetadataValue::try_from(header).expect("a header value");
        header.set_sensitive(true);
        Ok(Self { header })
    }
}

impl fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterSecret(..)")
    }
}

/// Two secrets are equal if their credentials are.
impl PartialEq for ClusterSecret {
    fn eq(&self, other: &Self) -> bool {
        self.header.as_encoded_bytes().ct_eq(other.header.as_encoded_bytes()).into()
    }
}

impl Eq for ClusterSecret {}

/// Adds the cluster secret to every call of a client. Without a secret, which is for loopback only, calls are sent
/// unchanged.
#[derive(Debug, Clone)]
pub struct PresentSecret(pub Option<ClusterSecret>);

impl Interceptor for PresentSecret {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(secret) = &self.0 {
            request.metadata_mut().insert(AUTHORIZATION, secret.header.clone());
        }
        Ok(request)
    }
}

/// Refuses calls that do not present the cluster secret ([`Failure::SecretRefused`]). Without a secret, which is for
/// loopback only, every call is accepted.
#[derive(Debug, Clone)]
pub struct RequireSecret(pub Option<ClusterSecret>);

impl Interceptor for RequireSecret {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let Some(secret) = &self.0 else { return Ok(request) };
        let presented =
            request.metadata().get(AUTHORIZATION).map_or(&[][..], |value| value.as_encoded_bytes());
        // In constant time, so that the credential cannot be found byte by byte.
        if secret.header.as_encoded_bytes().ct_eq(presented).into() {
            Ok(request)
        } else {
            Err(Failure::SecretRefused.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Option<ClusterSecret> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn only_the_same_secret_is_accepted() {
        let right = || secret("correct horse battery staple");
        for (presented, required, accepted) in [
            (right(), right(), true),
            (None, None, true),
            (right(), None, true),
            (None, right(), false),
            (secret("correct horse battery stable"), right(), false),
            (secret("\u{1f40e} correct horse battery"), right(), false),
            (secret("\u{1f40e} correct horse battery"), secret("\u{1f40e} correct horse battery"), true),
        ] {
            let call = PresentSecret(presented.clone()).call(Request::new(())).unwrap();
            let answer = RequireSecret(required).call(call);
            assert_eq!(answer.is_ok(), accepted, "{presented:?}");
            if let Err(status) = answer {
                assert_eq!(Failure::from(status), Failure::SecretRefused);
            }
        }
    }

    #[test]
    fn a_secret_has_sixteen_characters_or_more() {
        assert_eq!("fifteen letters".parse::<ClusterSecret>(), Err(SecretTooShort));
        assert!("sixteen letters!".parse::<ClusterSecret>().is_ok());
        assert_eq!("\u{e9}".repeat(15).parse::<ClusterSecret>(), Err(SecretTooShort));
    }

    #[test]
    fn a_secret_is_not_printed() {
        let call = PresentSecret(secret("correct horse battery staple")).call(Request::new(())).unwrap();
        let header = call.metadata().get(AUTHORIZATION).unwrap();
        assert!(!header.to_str().unwrap().contains("horse"), "the secret itself is not sent");
        assert_eq!(format!("{header:?}"), "Sensitive");
        assert_eq!(format!("{:?}", secret("correct horse battery staple").unwrap()), "ClusterSecret(..)");
    }
}
