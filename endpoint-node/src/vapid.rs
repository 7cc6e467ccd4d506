//! VAPID: the signed token by which an application server identifies itself (RFC 8292, PROTOCOL.md section 5.4).
//!
//! An application server sends the same token with every message for hours, and verifying it costs a hundred times
//! as much as looking it up (docs/performance.md). A verified credential is therefore remembered until its token expires,
//! as a hash, which is of no use to an attacker.

use crate::metrics::{Metrics, VapidResult};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use beckon_types::{EndpointUrl, KeyHash, VapidKey};
use quick_cache::{UnitWeighter, sync::Cache};
use ring::{
    digest::{Context, SHA256, SHA256_OUTPUT_LEN},
    signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey},
};
use serde_json::{Map, Value};
use std::{fmt, hash::RandomState};

/// How far the clock of an application server may differ from ours, in either direction, in seconds.
const LEEWAY_S: u64 = 60;

/// How far in the future a token may expire, in seconds (RFC 8292 section 2).
const AHEAD_S_MAX: u64 = 24 * 60 * 60;

/// What an application server presents: a token, and the key that it claims to have signed it with.
#[derive(Clone, Copy)]
pub struct Credential<'a> {
    /// A JSON web token.
    pub token: &'a str,
    /// The public key in base64url.
    pub key: &'a str,
}

/// Why a credential is not valid. The application server has to present another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidVapid {
    /// The key has the wrong form.
    #[error("The VAPID key is not a P-256 point of 65 bytes in base64url")]
    Key,
    /// The token has the wrong form.
    #[error("The VAPID token is not a JSON web token")]
    Token,
    /// The token is signed with another algorithm.
    #[error("The VAPID token is not signed with ES256")]
    Algorithm,
    /// The token is for another push service.
    #[error("The VAPID token has no aud claim with the origin of this push service")]
    Audience,
    /// The token does not say when it expires.
    #[error("The VAPID token has no exp claim that is a number")]
    Expiry,
    /// The token has expired.
    #[error("The VAPID token has expired")]
    Expired,
    /// The token would be valid for too long.
    #[error("The VAPID token expires more than 24 hours from now")]
    TooFarAhead,
    /// The token was altered or signed with another key, or the key is not on the curve.
    #[error("The signature of the VAPID token is not valid for the key")]
    Signature,
}

/// Verifies credentials, and remembers the valid ones.
#[derive(Debug)]
pub struct Verifier {
    /// What `aud` has to name.
    origin: String,
    /// When it is full, it drops credentials that were not used lately, and they are verified again. `None`: nothing is
    /// remembered.
    known: Option<Cache<Fingerprint, Verified, UnitWeighter, RandomState>>,
    metrics: Metrics,
}

/// SHA-256 of a credential.
type Fingerprint = [u8; SHA256_OUTPUT_LEN];

/// What a valid credential proves.
#[derive(Debug, Clone, Copy)]
struct Verified {
    key: KeyHash,
    /// Unix time of `exp`, without leeway.
    expires_s: u64,
}

impl Verifier {
    /// Verifies credentials for the endpoints under `url`, and remembers up to `cache_size` of them.
    #[must_use]
    pub fn new(url: &EndpointUrl, cache_size: usize, metrics: Metrics) -> Self {
        let known = (cache_size > 0).then(|| {
            Cache::with(cache_size, cache_size as u64, UnitWeighter, RandomState::new(), Default::default())
        });
        Self { origin: url.origin(), known, metrics }
    }

    /// The hash of the key that signed the token. `now_s` is the Unix time.
    ///
    /// # Errors
    ///
    /// The credential is not valid.
    pub fn verify(&self, credential: Credential<'_>, now_s: u64) -> Result<KeyHash, InvalidVapid> {
        let verified = self.look_up_or_verify(credential, now_s);
        let result = match verified {
            Ok((_, result)) => result,
            Err(_) => VapidResult::Invalid,
        };
        self.metrics.count_vapid(result);
        verified.map(|(key, _)| key)
    }

    fn look_up_or_verify(
        &self,
        credential: Credential<'_>,
        now_s: u64,
    ) -> Result<(KeyHash, VapidResult), InvalidVapid> {
        let Some(known) = &self.known else {
            return Ok((verify(credential, &self.origin, now_s)?.key, VapidResult::Verified));
        };
        let fingerprint = credential.fingerprint();
        if let Some(verified) = known.get(&fingerprint) {
            return match check_expiry(verified.expires_s, now_s) {
                Ok(()) => Ok((verified.key, VapidResult::Remembered)),
                Err(error) => {
                    known.remove(&fingerprint);
                    Err(error)
                }
            };
        }
        let verified = verify(credential, &self.origin, now_s)?;
        known.insert(fingerprint, verified);
        Ok((verified.key, VapidResult::Verified))
    }
}

impl Credential<'_> {
    fn fingerprint(&self) -> Fingerprint {
        let mut hash = Context::new(&SHA256);
        // The length marks the boundary between the two texts.
        hash.update(&self.token.len().to_be_bytes());
        hash.update(self.token.as_bytes());
        hash.update(self.key.as_bytes());
        let mut fingerprint = [0; SHA256_OUTPUT_LEN];
        fingerprint.copy_from_slice(hash.finish().as_ref());
        fingerprint
    }
}

/// Shows nothing: a credential in a log could be used to send.
impl fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").finish_non_exhaustive()
    }
}

/// Checks everything; the signature last, because only that takes long.
fn verify(credential: Credential<'_>, origin: &str, now_s: u64) -> Result<Verified, InvalidVapid> {
    let key = VapidKey::parse_unchecked(credential.key).map_err(|_| InvalidVapid::Key)?;
    let (signed, signature) = credential.token.rsplit_once('.').ok_or(InvalidVapid::Token)?;
    let (header, claims) = signed.split_once('.').ok_or(InvalidVapid::Token)?;
    // With a fourth part, one of these would contain a dot, which is not base64url.
    let (header, claims, signature) = (object(header)?, object(claims)?, decode(signature)?);
    if header.get("alg").and_then(Value::as_str) != Some("ES256") {
        return Err(InvalidVapid::Algorithm);
    }
    let Some(Value::Number(expires)) = claims.get("exp") else { return Err(InvalidVapid::Expiry) };
    // Fractions and out-of-range numbers are clamped to the nearest u64.
    let expires_s = expires.as_u64().unwrap_or_else(|| expires.as_f64().unwrap_or_default() as u64);
    check_expiry(expires_s, now_s)?;
    if !claims.get("aud").is_some_and(|audience| is_for(audience, origin)) {
        return Err(InvalidVapid::Audience);
    }
    if !claims.get("sub").is_none_or(is_address) {
        tracing::debug!("the sub claim of a vapid token is neither a mailto: nor an https: address");
    }
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.as_bytes())
        .verify(signed.as_bytes(), &signature)
        .map_err(|_| InvalidVapid::Signature)?;
    Ok(Verified { key: key.hash(), expires_s })
}

/// Reads a part as a JSON object.
fn object(part: &str) -> Result<Map<String, Value>, InvalidVapid> {
    serde_json::from_slice(&decode(part)?).map_err(|_| InvalidVapid::Token)
}

fn decode(part: &str) -> Result<Vec<u8>, InvalidVapid> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| InvalidVapid::Token)
}

fn check_expiry(expires_s: u64, now_s: u64) -> Result<(), InvalidVapid> {
    if expires_s.saturating_add(LEEWAY_S) < now_s {
        return Err(InvalidVapid::Expired);
    }
    if expires_s > now_s.saturating_add(AHEAD_S_MAX + LEEWAY_S) {
        return Err(InvalidVapid::TooFarAhead);
    }
    Ok(())
}

/// Whether an `aud` claim is the origin, or a list that contains it.
fn is_for(audience: &Value, expected: &str) -> bool {
    let is_expected = |audience: &Value| {
        let url: Option<EndpointUrl> = audience.as_str().and_then(|audience| audience.parse().ok());
        url.is_some_and(|url| url.origin() == expected)
    };
    match audience.as_array() {
        Some(audiences) => audiences.iter().any(is_expected),
        None => is_expected(audience),
    }
}

/// Whether a `sub` claim is a contact address (RFC 8292 section 2.1).
fn is_address(subject: &Value) -> bool {
    subject.as_str().is_some_and(|subject| subject.starts_with("mailto:") || subject.starts_with("https:"))
}

#[cfg(test)]
mod tests;
