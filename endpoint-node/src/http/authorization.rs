//! The three spellings of a VAPID credential (PROTOCOL.md section 5.4).

use super::encryption;
use crate::vapid::Credential;

/// Why there is no credential to verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoCredential {
    /// The endpoint is restricted to a key, and the request has no credential.
    #[error("This endpoint needs a VAPID credential in the Authorization header")]
    Missing,
    /// The scheme is unknown, or nothing follows it.
    #[error("The Authorization header is not of the form: vapid t=<token>, k=<key>")]
    Scheme,
    /// The scheme is `vapid`, with no `t` or more than one.
    #[error("The Authorization header has no t, or more than one")]
    Token,
    /// The scheme is `vapid`, with no `k` or more than one.
    #[error("The Authorization header has no k, or more than one")]
    Key,
    /// The scheme is that of a draft of RFC 8292, without `p256ecdsa`.
    #[error("The Crypto-Key header has no p256ecdsa")]
    CryptoKey,
}

/// Reads the header `Authorization`, and in the spellings of the drafts `Crypto-Key`, which has the key.
pub(super) fn credential<'a>(
    authorization: &'a str,
    crypto_key: &'a str,
) -> Result<Credential<'a>, NoCredential> {
    let (scheme, rest) = authorization.trim().split_once(' ').ok_or(NoCredential::Scheme)?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("vapid") {
        return parameters(rest);
    }
    let is_draft_scheme = scheme.eq_ignore_ascii_case("webpush") || scheme.eq_ignore_ascii_case("bearer");
    if !is_draft_scheme || rest.is_empty() {
        return Err(NoCredential::Scheme);
    }
    match encryption::value_of("p256ecdsa", crypto_key) {
        Ok(Some(key)) if !key.is_empty() => Ok(Credential { token: rest, key }),
        Ok(_) | Err(_) => Err(NoCredential::CryptoKey),
    }
}

/// Reads `t=<token>, k=<key>`, in any order; other parameters are ignored.
fn parameters(list: &str) -> Result<Credential<'_>, NoCredential> {
    let (mut token, mut key) = (None, None);
    for parameter in list.split(',') {
        let Some((name, value)) = parameter.split_once('=') else { continue };
        let name = name.trim();
        let (slot, repeated) = if name.eq_ignore_ascii_case("t") {
            (&mut token, NoCredential::Token)
        } else if name.eq_ignore_ascii_case("k") {
            (&mut key, NoCredential::Key)
        } else {
            continue;
        };
        if slot.replace(unquoted(value.trim())).is_some() {
            return Err(repeated);
        }
    }
    let token = token.filter(|token| !token.is_empty()).ok_or(NoCredential::Token)?;
    let key = key.filter(|key| !key.is_empty()).ok_or(NoCredential::Key)?;
    Ok(Credential { token, key })
}

/// A value without the quotes that HTTP allows around it (RFC 9110 section 11.2).
fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read<'a>(authorization: &'a str, crypto_key: &'a str) -> Result<(&'a str, &'a str), NoCredential> {
        credential(authorization, crypto_key).map(|Credential { token, key }| (token, key))
    }

    #[test]
    fn a_credential_has_three_spellings() {
        for (authorization, crypto_key, expected) in [
            ("vapid t=a.b.c, k=BOp", "", Ok(("a.b.c", "BOp"))),
            ("vapid t=a.b.c,k=BOp", "p256ecdsa=other", Ok(("a.b.c", "BOp"))),
            ("Vapid k=BOp=,t=a.b.c", "", Ok(("a.b.c", "BOp="))),
            ("  VAPID   k = BOp , t = a.b.c , x=1, y", "", Ok(("a.b.c", "BOp"))),
            ("vapid T=\"a.b.c\", K=\"BOp\"", "", Ok(("a.b.c", "BOp"))),
            ("WebPush a.b.c", "p256ecdsa=BOp", Ok(("a.b.c", "BOp"))),
            ("webpush a.b.c", "dh=x;p256ecdsa=\"BOp=\"", Ok(("a.b.c", "BOp"))),
            ("Bearer  a.b.c", "keyid=a;dh=x, p256ecdsa=BOp", Ok(("a.b.c", "BOp"))),
            ("", "", Err(NoCredential::Scheme)),
            ("vapid", "", Err(NoCredential::Scheme)),
            ("vapid ", "", Err(NoCredential::Scheme)),
            ("Basic dTpw", "p256ecdsa=BOp", Err(NoCredential::Scheme)),
            ("a.b.c", "p256ecdsa=BOp", Err(NoCredential::Scheme)),
            ("WebPush ", "p256ecdsa=BOp", Err(NoCredential::Scheme)),
            ("vapid a.b.c", "p256ecdsa=BOp", Err(NoCredential::Token)),
            ("vapid k=BOp", "", Err(NoCredential::Token)),
            ("vapid t=,k=BOp", "", Err(NoCredential::Token)),
            ("vapid t=a,t=b,k=BOp", "", Err(NoCredential::Token)),
            ("vapid t=a.b.c", "p256ecdsa=BOp", Err(NoCredential::Key)),
            ("vapid t=a.b.c,k=", "", Err(NoCredential::Key)),
            ("vapid t=a.b.c,k=a,k=b", "", Err(NoCredential::Key)),
            ("vapid t=a.b.c, k=a, vapid t=a.b.c, k=a", "", Err(NoCredential::Key)),
            ("WebPush a.b.c", "", Err(NoCredential::CryptoKey)),
            ("Bearer a.b.c", "dh=x", Err(NoCredential::CryptoKey)),
            ("Bearer a.b.c", "p256ecdsa", Err(NoCredential::CryptoKey)),
            ("WebPush a.b.c", "p256ecdsa=", Err(NoCredential::CryptoKey)),
            ("WebPush a.b.c", "p256ecdsa=\"==\"", Err(NoCredential::CryptoKey)),
        ] {
            assert_eq!(read(authorization, crypto_key), expected, "{authorization:?} {crypto_key:?}");
        }
    }

    proptest! {
        #[test]
        fn any_header_is_read_without_a_panic(
            text in ".{0,60}",
            vapid in "(vapid|WebPush|Bearer) ?([tkx ]?=?\"?[a-c.]{0,5}\"?[ ,]?){0,4}",
            crypto_key in ".{0,40}",
        ) {
            let _ = read(&text, &crypto_key);
            let _ = read(&vapid, &text);
        }
    }
}
