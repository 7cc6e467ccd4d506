//! The cluster secret: both tiers prove that they belong to the same cluster.
//!
//! A call carries `authorization: Bearer <credential>`. The credential is derived from the secret with SHA-256, so a secret
//! may contain any characters but commas, and is not itself visible on the wire. An attacker who can read the traffic can still replay
//! the credential: on a network that is shared with others, use TLS ([`crate::tls`]).

use crate::status::Failure;
use arc_swap::ArcSwap;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
use std::{fmt, str::FromStr, sync::Arc};
use subtle::{Choice, ConstantTimeEq as _};
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

/// One of the secrets is too short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a cluster secret has {SECRET_LEN_MIN} characters or more")]
pub struct SecretTooShort;

/// The secrets that the nodes of a cluster share: the first is presented, and all of them are accepted, so that a new
/// one can be introduced node by node. Without any, which is for loopback only, none is presented or required.
///
/// Clones are the same, and can get other secrets ([`ClusterSecret::replace`]); reading them takes no lock.
#[derive(Clone, Default)]
pub struct ClusterSecret {
    /// `Bearer`, a space and the credential.
    headers: Arc<ArcSwap<Vec<MetadataValue<Ascii>>>>,
}

impl ClusterSecret {
    /// Gives this and its clones the secrets of another one. Streams that are open stay open.
    pub fn replace(&self, other: &Self) {
        self.headers.store(other.headers.load_full());
    }

    /// Whether there is no secret.
    pub fn is_none(&self) -> bool {
        self.headers.load().is_empty()
    }

    /// In constant time for each secret, so that a credential cannot be found byte by byte.
    fn accepts(&self, presented: &[u8]) -> bool {
        let headers = self.headers.load();
        let is_equal = |header: &MetadataValue<Ascii>| header.as_encoded_bytes().ct_eq(presented);
        headers.is_empty()
            || bool::from(headers.iter().map(is_equal).fold(Choice::from(0), |any, this| any | this))
    }
}

impl FromStr for ClusterSecret {
    type Err = SecretTooShort;

    /// Reads a list, separated by commas. The empty text is no secret.
    fn from_str(list: &str) -> Result<Self, SecretTooShort> {
        if list.is_empty() {
            return Ok(Self::default());
        }
        let headers =
            list.split(',').map(|secret| header_of(secret.trim())).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { headers: Arc::new(ArcSwap::from_pointee(headers)) })
    }
}

fn header_of(secret: &str) -> Result<MetadataValue<Ascii>, SecretTooShort> {
    if secret.chars().count() < SECRET_LEN_MIN {
        return Err(SecretTooShort);
    }
    let digest = Sha256::new().chain_update(PURPOSE).chain_update(secret).finalize();
    let header = format!("Bearer {}", URL_SAFE_NO_PAD.encode(digest));
    #[expect(clippy::expect_used, reason = "base64url is printable ASCII")]
    let mut header = MetadataValue::try_from(header).expect("a header value");
    header.set_sensitive(true);
    Ok(header)
}

impl fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterSecret(..)")
    }
}

/// Adds the cluster secret to every call of a client.
#[derive(Debug, Clone)]
pub struct PresentSecret(pub ClusterSecret);

impl Interceptor for PresentSecret {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(header) = self.0.headers.load().first() {
            request.metadata_mut().insert(AUTHORIZATION, header.clone());
        }
        Ok(request)
    }
}

/// Refuses calls that do not present the cluster secret.
#[derive(Debug, Clone)]
pub struct RequireSecret(pub ClusterSecret);

impl Interceptor for RequireSecret {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let presented =
            request.metadata().get(AUTHORIZATION).map_or(&[][..], |value| value.as_encoded_bytes());
        if self.0.accepts(presented) { Ok(request) } else { Err(Failure::SecretRefused.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> ClusterSecret {
        text.parse().unwrap()
    }

    #[test]
    fn only_the_same_secret_is_accepted() {
        let right = || secret("correct horse battery staple");
        for (presented, required, accepted) in [
            (right(), right(), true),
            (secret(""), secret(""), true),
            (right(), secret(""), true),
            (secret(""), right(), false),
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
    fn a_new_secret_is_introduced_node_by_node() {
        let [old, new] = ["the old secret of a cluster", "the new secret of a cluster"];
        let accepts = |required: &ClusterSecret, presented: &str| {
            let call = PresentSecret(secret(presented)).call(Request::new(())).unwrap();
            RequireSecret(required.clone()).call(call).is_ok()
        };
        let node = secret(old);
        let [both, both_reversed] = [format!("{old}, {new}"), format!("{new},{old}")];
        for (list, accepted) in [
            (&*both, [true, true]),
            (&*both_reversed, [true, true]),
            (new, [false, true]),
            (old, [true, false]),
        ] {
            node.replace(&secret(list));
            assert_eq!([old, new].map(|presented| accepts(&node, presented)), accepted, "{list}");
        }
        assert!(
            accepts(&secret(old), &both) && accepts(&secret(new), &both_reversed),
            "the first is presented"
        );
        assert!(format!("{old},short").parse::<ClusterSecret>().is_err());
    }

    #[test]
    fn a_secret_has_sixteen_characters_or_more() {
        assert!(matches!("fifteen letters".parse::<ClusterSecret>(), Err(SecretTooShort)));
        assert!("sixteen letters!".parse::<ClusterSecret>().is_ok());
        assert!(matches!("\u{e9}".repeat(15).parse::<ClusterSecret>(), Err(SecretTooShort)));
    }

    #[test]
    fn a_secret_is_not_printed() {
        let call = PresentSecret(secret("correct horse battery staple")).call(Request::new(())).unwrap();
        let header = call.metadata().get(AUTHORIZATION).unwrap();
        assert!(!header.to_str().unwrap().contains("horse"), "the secret itself is not sent");
        assert_eq!(format!("{header:?}"), "Sensitive");
        assert_eq!(format!("{:?}", secret("correct horse battery staple")), "ClusterSecret(..)");
    }
}
