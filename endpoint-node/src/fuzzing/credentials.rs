//! Fuzz target for VAPID credentials, with the crate `jsonwebtoken` as a second opinion.

use crate::{
    metrics::Metrics,
    vapid::{Credential, Verifier},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, errors::ErrorKind};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use serde_json::{Map, Value};
use std::sync::LazyLock;

/// The Unix time at which credentials are verified.
const NOW_S: u64 = 1_700_000_000;

const URL: &str = "https://push.example.net";

/// The public key of the private key of which each byte is 1.
const PUBLIC_KEY: &str =
    "BG_wO5SSQc4drdQ1GeaWDgqFtBppoFwygQOqK84VlMoWPE91OlW_AdxT9sCwx-7ni0DG_30lqW4igrmJzvccFEo";

static KEY: LazyLock<EcdsaKeyPair> = LazyLock::new(|| {
    let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
    let public_key = URL_SAFE_NO_PAD.decode(PUBLIC_KEY).expect("base64url");
    EcdsaKeyPair::from_private_key_and_public_key(algorithm, &[1; 32], &public_key, &random)
        .expect("a key pair")
});

/// Nothing is remembered, so that each credential is verified.
static VERIFIER: LazyLock<Verifier> =
    LazyLock::new(|| Verifier::new(&URL.parse().expect("a URL"), &[], 0, Metrics::default()));

/// The first line is the header of a token, and the rest its claims. The token is signed, and altered at one place; and the lines
/// are a token and a key as they are.
///
/// A token is accepted if it has the claims of RFC 8292 and `jsonwebtoken` accepts it, too.
pub fn vapid(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (header, claims) = (&data[..end], data.get(end + 1..).unwrap_or_default());
    if let (Ok(token), Ok(key)) = (str::from_utf8(header), str::from_utf8(claims)) {
        assert!(!is_accepted(token, key), "signed by a key that only this target has");
    }
    let signed = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
    if !has_claims(claims) {
        // Refused whatever its signature is, which therefore need not be made.
        assert!(!is_accepted(&format!("{signed}.{}", "A".repeat(86)), PUBLIC_KEY));
        return;
    }
    let signature = KEY.sign(&SystemRandom::new(), signed.as_bytes()).expect("a signature");
    let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()));
    let is_ours = is_accepted(&token, PUBLIC_KEY);
    let theirs = second_opinion(&token);
    assert!(!is_ours || theirs != Some(false), "accepted here, and refused by jsonwebtoken");
    // That crate reads over members that it does not know, also if they are not UTF-8.
    let is_json = serde_json::from_slice::<Map<String, Value>>(header).is_ok();
    assert!(is_ours || !is_json || theirs != Some(true), "refused here, and accepted by jsonwebtoken");
    if is_ours {
        let mut altered = token.into_bytes();
        let position = data.len() * 7 % altered.len();
        altered[position] = if altered[position] == b'A' { b'B' } else { b'A' };
        let altered = String::from_utf8(altered).expect("ASCII");
        assert!(!is_accepted(&altered, PUBLIC_KEY), "altered at {position}");
    }
}

fn is_accepted(token: &str, key: &str) -> bool {
    VERIFIER.verify(Credential { token, key }, NOW_S).is_ok()
}

/// Whether the claims are an object with an `exp` of the next day and this server as `aud`.
fn has_claims(claims: &[u8]) -> bool {
    let Ok(claims) = serde_json::from_slice::<Map<String, Value>>(claims) else { return false };
    let expires = claims.get("exp").and_then(Value::as_f64).map(|expires| expires as u64);
    let is_expected = |audience: &Value| {
        let audience = audience.as_str().unwrap_or_default().to_ascii_lowercase();
        let audience = audience.strip_suffix('/').unwrap_or(&audience);
        audience.strip_suffix(":443").unwrap_or(audience) == URL
    };
    let is_audience = match claims.get("aud") {
        Some(Value::Array(all)) => all.iter().any(is_expected),
        Some(one) => is_expected(one),
        None => false,
    };
    is_audience && expires.is_some_and(|expires| (NOW_S - 60..=NOW_S + 24 * 3600 + 60).contains(&expires))
}

/// Whether `jsonwebtoken` accepts the signature of a token. `None`: it does not know what to make of the header, of which it
/// wants more than RFC 8292 does, or of claims with a name that occurs twice: here the last one counts (RFC 7519 section 4).
fn second_opinion(token: &str) -> Option<bool> {
    let mut validation = Validation::new(Algorithm::ES256);
    (validation.validate_exp, validation.validate_aud) = (false, false);
    validation.required_spec_claims.clear();
    let key = DecodingKey::from_ec_der(KEY.public_key().as_ref());
    match jsonwebtoken::decode::<Map<String, Value>>(token, &key, &validation) {
        Ok(_) => Some(true),
        Err(_) if jsonwebtoken::decode_header(token).is_err() => None,
        Err(error) if matches!(error.kind(), ErrorKind::Json(_)) => None,
        Err(_) => Some(false),
    }
}
