//! Certificates as a node reads them.

use beckon_proto::tls::{Tls, TlsFiles};
use beckon_testbed::certificates::Certificates;

/// TLS with these files.
pub(crate) fn tls(files: &Certificates) -> Tls {
    let files = TlsFiles { cert: files.certificate(), key: files.key(), ca: files.authority(), name: None };
    Tls::read(&files).unwrap()
}
