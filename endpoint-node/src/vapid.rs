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

/// The longest `aud` claim that an error quotes, in characters.
const QUOTED_LEN_MAX: usize = 200;

/// Why a credential is not valid. The application server has to present another one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
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
    #[error("The aud claim of the VAPID token is {came}, and the origin of this push service is {expected}")]
    Audience {
        /// The origin that it should name.
        expected: Box<str>,
        /// What it is, as JSON, or that it is missing.
        came: Box<str>,
    },
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
    /// What `aud` may name: the origin of endpoints, and former ones, each also with its host in Unicode.
    origins: Box<[String]>,
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
    /// Verifies credentials for the endpoints under `url`, or of a time when they were under one of `former`, and remembers
    /// up to `cache_size` of them.
    #[must_use]
    pub fn new(url: &EndpointUrl, former: &[EndpointUrl], cache_size: usize, metrics: Metrics) -> Self {
        let known = (cache_size > 0).then(|| {
            Cache::with(cache_size, cache_size as u64, UnitWeighter, RandomState::new(), Default::default())
        });
        let origins = std::iter::once(url).chain(former).map(EndpointUrl::origin);
        let origins = origins.flat_map(|origin| [unicode(&origin), Some(origin)]).flatten().collect();
        Self { origins, known, metrics }
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
            return Ok((verify(credential, &self.origins, now_s)?.key, VapidResult::Verified));
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
        let verified = verify(credential, &self.origins, now_s)?;
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
fn verify(credential: Credential<'_>, origins: &[String], now_s: u64) -> Result<Verified, InvalidVapid> {
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
    check_audience(claims.get("aud"), origins)?;
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

/// Checks that an `aud` claim is one of the origins, or a list that contains one of them.
fn check_audience(audience: Option<&Value>, origins: &[String]) -> Result<(), InvalidVapid> {
    let is_expected = |audience: &Value| {
        audience.as_str().and_then(origin_of).is_some_and(|origin| origins.contains(&origin))
    };
    let is_ours = match audience {
        Some(Value::Array(audiences)) => audiences.iter().any(is_expected),
        Some(audience) => is_expected(audience),
        None => false,
    };
    if is_ours {
        return Ok(());
    }
    let came = audience.map_or_else(|| "missing".to_owned(), Value::to_string);
    let came = came.chars().take(QUOTED_LEN_MAX).collect::<String>().into();
    let expected = origins.iter().find(|origin| origin.is_ascii()).map_or("", String::as_str).into();
    Err(InvalidVapid::Audience { expected, came })
}

/// The origin of a URL without a path. A host in Unicode stays as it is, but for its case.
fn origin_of(url: &str) -> Option<String> {
    if url.is_ascii() {
        return Some(url.parse::<EndpointUrl>().ok()?.origin());
    }
    let origin = url.strip_suffix('/').unwrap_or(url).to_lowercase();
    let default_port = if origin.starts_with("https://") { ":443" } else { ":80" };
    Some(origin.strip_suffix(default_port).map_or(origin.clone(), str::to_owned))
}

/// An origin whose host has labels in Punycode (RFC 5890: A-labels), with those in Unicode. `None` if it has none.
fn unicode(origin: &str) -> Option<String> {
    let (scheme, authority) = origin.split_once("://")?;
    let label = |label: &str| match label.strip_prefix("xn--") {
        Some(encoded) => idna::punycode::decode_to_string(encoded),
        None => Some(label.to_owned()),
    };
    let (host, port) = authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
    let host = host.split('.').map(label).collect::<Option<Vec<_>>>()?.join(".").to_lowercase();
    let port = port.map_or(String::new(), |port| format!(":{port}"));
    (!host.is_ascii()).then(|| format!("{scheme}://{host}{port}"))
}

/// Whether a `sub` claim is a contact address (RFC 8292 section 2.1).
fn is_address(subject: &Value) -> bool {
    subject.as_str().is_some_and(|subject| subject.starts_with("mailto:") || subject.starts_with("https:"))
}

#[cfg(test)]
mod tests;
