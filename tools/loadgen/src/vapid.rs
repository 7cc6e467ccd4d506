//! How an application server says who it is (RFC 8292).

use beckon_client::vapid::{Claims, Scheme, Signer, origin_of};
use beckon_ops::exit::Failure;
use std::{str::FromStr, time::Duration};

/// How long a credential is good: servers take none of more than 24 hours, and a run is shorter than that.
const VALID: Duration = Duration::from_secs(23 * 3600);

/// Which senders sign their requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vapid {
    /// No sender.
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

/// The value of `Authorization` by which this key may send to an endpoint.
///
/// # Errors
/// The endpoint has no origin, or nothing can be signed.
pub fn authorization(signer: &Signer, endpoint: &str, unix_s: u64) -> Result<String, Failure> {
    let endpoint: ::http::Uri = endpoint.parse().map_err(Failure::unavailable)?;
    let audience =
        origin_of(&endpoint).ok_or_else(|| Failure::unavailable("an endpoint without an origin"))?;
    let expires = Duration::from_secs(unix_s) + VALID;
    let claims = Claims { audience: &audience, expires, subject: Some("mailto:loadgen@push.example") };
    let credential = signer.credential(Scheme::Vapid, &claims).map_err(Failure::unavailable)?;
    Ok(credential.authorization)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_for_the_origin_and_names_its_key() {
        let (signer, _) = Signer::generate().unwrap();
        let one = authorization(&signer, "http://push.example:80/wpush/v1/x", 1_000_000).unwrap();
        assert!(
            one.starts_with("vapid t=") && one.ends_with(&format!(", k={}", signer.public_key())),
            "{one}"
        );
        assert!(authorization(&signer, "/wpush/v1/x", 1_000_000).is_err());
    }
}
