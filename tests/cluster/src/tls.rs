//! The certificates of all tests with TLS.

use crate::contract::Contract;
use beckon_client::raw::Options;
use beckon_conformance::talk::Client;
use beckon_testbed::certificates::Certificates;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use std::sync::{Arc, OnceLock};

/// The certificate of all programs that share it. A test must not replace it.
pub fn certificates() -> &'static Certificates {
    static CERTIFICATES: OnceLock<Certificates> = OnceLock::new();
    CERTIFICATES.get_or_init(Certificates::make)
}

/// Trusts the authority of [`certificates`].
pub fn trust() -> Arc<ClientConfig> {
    static TRUST: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    TRUST.get_or_init(|| trust_in(certificates())).clone()
}

/// Trusts the authority of these.
pub fn trust_in(certificates: &Certificates) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(certificates.authority()).expect("a certificate");
    roots.add(authority).expect("a certificate of an authority");
    beckon_client::tls::with_roots(roots)
}

/// A client of one node, with TLS or without. What it receives has to match the schemas of docs/api.
pub async fn client(url: &str) -> Client {
    client_with(url, Options::default()).await
}

/// [`client`] with these options.
pub async fn client_with(url: &str, options: Options) -> Client {
    let options = Options { tls: Some(trust()), ..options };
    let client = Client::connect_with(url, &options).await.expect("the upgrade succeeds");
    client.inspected_by(Box::new(Contract::default()))
}
