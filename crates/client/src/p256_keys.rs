//! Keys on P-256, which both message encryption and VAPID use.

use p256::{PublicKey, SecretKey, elliptic_curve::sec1::ToSec1Point as _};

/// The length of a public key as an uncompressed point, in bytes.
pub(crate) const PUBLIC_KEY_LEN: usize = 65;

/// The operating system has no random numbers, and without them nothing can be signed or encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system has no random numbers")]
pub struct NoRandomness;

/// A key as the 65 bytes of an uncompressed point.
pub(crate) fn point(key: &PublicKey) -> [u8; PUBLIC_KEY_LEN] {
    let mut bytes = [0; PUBLIC_KEY_LEN];
    bytes.copy_from_slice(key.to_sec1_point(false).as_bytes());
    bytes
}

pub(crate) fn new_secret_key() -> Result<SecretKey, NoRandomness> {
    loop {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|_| NoRandomness)?;
        // One of 2^32 texts of this length is not below the order of the curve.
        if let Ok(key) = SecretKey::from_slice(&bytes) {
            return Ok(key);
        }
    }
}
