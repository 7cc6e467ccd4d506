//! What it costs to verify a credential: the first time that an application server presents it, and each time after that.
//!
//! `remembered` and `verified` are one message each. `threads` shows whether requests wait for each other.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run has to stop")]

use beckon_client::vapid::{Claims, Signer};
use beckon_endpoint_node::{
    metrics::Metrics,
    vapid::{Credential, Verifier},
};
use divan::Bencher;
use std::time::Duration;

const URL: &str = "https://push.example.net";

/// The Unix time at which credentials are verified.
const NOW_S: u64 = 1_700_000_000;

fn main() {
    divan::main();
}

/// A verifier that remembers `cache_size` credentials, a token, and the key that signed it.
fn bed(cache_size: usize) -> (Verifier, String, String) {
    let (signer, _) = Signer::generate().unwrap();
    let expires = Duration::from_secs(NOW_S + 12 * 60 * 60);
    let claims = Claims { audience: URL, expires, subject: Some("mailto:push@example.net") };
    let token = signer.token(&claims).unwrap();
    let verifier = Verifier::new(&URL.parse().unwrap(), &[], cache_size, Metrics::default());
    (verifier, token, signer.public_key().to_owned())
}

/// With a warm cache.
#[divan::bench(threads = [1, 2])]
fn remembered(bencher: Bencher<'_, '_>) {
    let (verifier, token, key) = bed(10_000);
    let credential = Credential { token: &token, key: &key };
    verifier.verify(credential, NOW_S).unwrap();
    bencher.bench(|| verifier.verify(credential, NOW_S).unwrap());
}

/// Without a cache.
#[divan::bench(threads = [1, 2])]
fn verified(bencher: Bencher<'_, '_>) {
    let (verifier, token, key) = bed(0);
    let credential = Credential { token: &token, key: &key };
    bencher.bench(|| verifier.verify(credential, NOW_S).unwrap());
}
