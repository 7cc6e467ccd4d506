//! The trust anchors for `wss` and `https`.

use rustls::{ClientConfig, RootCertStore, crypto::ring};
use std::sync::{Arc, OnceLock};

/// The system's trust anchors, read once. Without any, as in a container without `ca-certificates`, `ws` and `http` still
/// work, and every certificate is refused.
pub fn system() -> Arc<ClientConfig> {
    static SYSTEM: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    Arc::clone(SYSTEM.get_or_init(|| {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        let (_, unusable) = roots.add_parsable_certificates(found.certs);
        if roots.is_empty() || unusable > 0 || !found.errors.is_empty() {
            tracing::warn!(
                certificates.usable = roots.len(),
                certificates.unusable = unusable,
                errors = ?found.errors,
                "not all trust anchors of the system could be read"
            );
        }
        with_roots(roots)
    }))
}

/// Only these trust anchors.
pub fn with_roots(roots: RootCertStore) -> Arc<ClientConfig> {
    #[expect(clippy::expect_used, reason = "ring supports the default versions")]
    let versions = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the default TLS versions");
    Arc::new(versions.with_root_certificates(roots).with_no_client_auth())
}
