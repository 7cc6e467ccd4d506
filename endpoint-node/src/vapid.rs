//! VAPID: who an application server is (RFC 8292, PROTOCOL.md section 5.4), by a token that it has signed.
//!
//! An application server sends the same token with every message for hours, and verifying it costs a hundred times
//! as much as looking it up (docs/performance.md). So a verified credential is remembered until its token expires; what
//! is remembered is a hash, with which nobody can send anything.

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

/// How far the clock of an application server may be from ours, both ways, in seconds.
const LEEWAY_S: u64 = 60;

/// How far ahead a token may expire, in seconds (RFC 8292 section 2).
const AHEAD_S_MAX: u64 = 24 * 60 * 60;

/// What an application server shows: a token, and the key that it claims to have signed it with.
#[derive(Clone, Copy)]
pub struct Credential<'a> {
    /// A JSON web token.
    pub token: &'a str,
    /// The public key in base64url.
    pub key: &'a str,
}

/// Why a credential is worth nothing. The application server is to blame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidVapid {
    /// The key cannot be one.
    #[error("The VAPID key is not a P-256 point of 65 bytes in base64url")]
    Key,
    /// There is something else in the place of the token.
    #[error("The VAPID token is not a JSON web token")]
    Token,
    /// It is signed in another way.
    #[error("The VAPID token is not signed with ES256")]
    Algorithm,
    /// It is for another push service.
    #[error("The VAPID token has no aud claim with the origin of this push service")]
    Audience,
    /// It does not say how long it is good for.
    #[error("The VAPID token has no exp claim that is a number")]
    Expiry,
    /// It was good once.
    #[error("The VAPID token has expired")]
    Expired,
    /// It would be good for too long.
    #[error("The VAPID token expires more than 24 hours ahead")]
    TooFarAhead,
    /// Another key has signed it, or it was altered, or the key is not on the curve.
    #[error("The signature of the VAPID token is not valid for the key")]
    Signature,
}

/// Verifies credentials, and remembers those that were good.
#[derive(Debug)]
pub struct Verifier {
    /// What has to be in `aud`.
    origin: String,
    /// Full, it forgets those that were not used lately; they are verified again. `None`: nothing is remembered.
    known: Option<Cache<Fingerprint, Verified, UnitWeighter, RandomState>>,
    metrics: Metrics,
}

/// SHA-256 of a credential.
type Fingerprint = [u8; SHA256_OUTPUT_LEN];

/// What a credential has proved.
#[derive(Debug, Clone, Copy)]
struct Verified {
    key: KeyHash,
    /// Unix time of `exp`, without leeway.
    expires_s: u64,
}

impl Verifier {
    /// Verifies credentials for the endpoints under `url`, and remembers `cache_size` of them; 0: none.
    #[must_use]
    pub fn new(url: &EndpointUrl, cache_size: usize, metrics: Metrics) -> Self {
        let known = (cache_size > 0).then(|| {
            Cache::with(cache_size, cache_size as u64, UnitWeighter, RandomState::new(), Default::default())
        });
        Self { origin: origin(url), known, metrics }
    }

    /// The hash of the key whose owner has signed the token. `now_s` is the Unix time.
    ///
    /// # Errors
    /// Nobody's word can be taken for it.
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
        // The length tells where the one text ends and the other begins.
        hash.update(&self.token.len().to_be_bytes());
        hash.update(self.token.as_bytes());
        hash.update(self.key.as_bytes());
        let mut fingerprint = [0; SHA256_OUTPUT_LEN];
        fingerprint.copy_from_slice(hash.finish().as_ref());
        fingerprint
    }
}

/// Never shows what it holds: with it, anybody could send.
impl fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").finish_non_exhaustive()
    }
}

/// Checks everything; the signature last, because nothing else takes long.
fn verify(credential: Credential<'_>, origin: &str, now_s: u64) -> Result<Verified, InvalidVapid> {
    let key = VapidKey::parse_unchecked(credential.key).map_err(|_| InvalidVapid::Key)?;
    let (signed, signature) = credential.token.rsplit_once('.').ok_or(InvalidVapid::Token)?;
    let (header, claims) = signed.split_once('.').ok_or(InvalidVapid::Token)?;
    // A fourth part would leave a point in the second one, which is not base64url.
    let (header, claims, signature) = (object(header)?, object(claims)?, decode(signature)?);
    if header.get("alg").and_then(Value::as_str) != Some("ES256") {
        return Err(InvalidVapid::Algorithm);
    }
    let Some(Value::Number(expires)) = claims.get("exp") else { return Err(InvalidVapid::Expiry) };
    // Of a number that is no whole one from 0 to 2^64-1, the nearest that is.
    let expires_s = expires.as_u64().unwrap_or_else(|| expires.as_f64().unwrap_or_default() as u64);
    check_expiry(expires_s, now_s)?;
    if !claims.get("aud").is_some_and(|audience| is_for(audience, origin)) {
        return Err(InvalidVapid::Audience);
    }
    if !claims.get("sub").is_none_or(is_address) {
        tracing::debug!("vapid token with a sub claim that is no mailto: or https: address");
    }
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.as_bytes())
        .verify(signed.as_bytes(), &signature)
        .map_err(|_| InvalidVapid::Signature)?;
    Ok(Verified { key: key.hash(), expires_s })
}

/// The members of the object that a part is.
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

/// Whether an `aud` claim is the origin, or a list with it.
fn is_for(audience: &Value, expected: &str) -> bool {
    let is_expected = |audience: &Value| {
        let url = audience.as_str().and_then(|audience| audience.parse().ok());
        url.is_some_and(|url| origin(&url) == expected)
    };
    match audience.as_array() {
        Some(audiences) => audiences.iter().any(is_expected),
        None => is_expected(audience),
    }
}

/// Whether somebody could be reached at a `sub` claim.
fn is_address(subject: &Value) -> bool {
    subject.as_str().is_some_and(|subject| subject.starts_with("mailto:") || subject.starts_with("https:"))
}

/// Scheme, host and port unless it is the scheme's own, in lower case (RFC 6454).
fn origin(url: &EndpointUrl) -> String {
    let text = url.as_str().to_ascii_lowercase();
    let default_port = if url.is_https() { ":443" } else { ":80" };
    text.strip_suffix(default_port).map(str::to_owned).unwrap_or(text)
}

#[cfg(test)]
mod tests;
