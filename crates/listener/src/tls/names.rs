//! Which certificate a client gets.

use rustls::{
    client::verify_server_name,
    pki_types::ServerName,
    server::{ClientHello, ParsedCertificate, ResolvesServerCert},
    sign::CertifiedKey,
};
use std::sync::Arc;

/// The certificates of a port, in the order of the settings.
#[derive(Debug)]
pub(super) struct ByName(pub(super) Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for ByName {
    /// The first certificate that has the name that the client asks for (RFC 6066 section 3); the first of all if none has
    /// it, or the client names none. Of several with the name, the first whose signatures the client accepts, so that there
    /// can be one with an ECDSA key and one with an RSA key.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().and_then(|name| ServerName::try_from(name).ok());
        let with_name = || self.0.iter().filter(|key| name.as_ref().is_some_and(|name| has_name(key, name)));
        let is_accepted =
            |key: &&Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        let found = with_name().find(is_accepted).or_else(|| with_name().next());
        found.or_else(|| self.0.iter().find(is_accepted)).or_else(|| self.0.first()).cloned()
    }
}

fn has_name(key: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let certificate = key.end_entity_cert().and_then(ParsedCertificate::try_from);
    certificate.is_ok_and(|certificate| verify_server_name(&certificate, name).is_ok())
}
