//! Mutual TLS between the nodes: each presents a certificate of the cluster's own authority and verifies the other's.

use crate::error_chain::chain;
use arc_swap::ArcSwap;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject as _},
    },
    server::WebPkiClientVerifier,
};
use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio_rustls::TlsAcceptor;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

/// The PEM files with a node's certificate, its key, and the cluster's authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The node's certificate, and intermediate certificates if there are any: setting `grpc_tls_cert`.
    pub cert: PathBuf,
    /// The certificate's private key: setting `grpc_tls_key`.
    pub key: PathBuf,
    /// The authority that signs the certificates of all nodes: setting `grpc_tls_ca`.
    pub ca: PathBuf,
    /// The name in the certificates of the other nodes: setting `grpc_tls_name`. `None` if each names the host that its
    /// node advertises.
    pub name: Option<String>,
}

impl TlsFiles {
    /// Combines the four settings: `None` if TLS is not configured.
    ///
    /// # Errors
    ///
    /// [`TlsError::Incomplete`]: some of the files are missing. The operator has to give all three or none.
    pub fn from_settings(
        cert: Option<PathBuf>,
        key: Option<PathBuf>,
        ca: Option<PathBuf>,
        name: Option<String>,
    ) -> Result<Option<Self>, TlsError> {
        match (cert, key, ca) {
            (Some(cert), Some(key), Some(ca)) => Ok(Some(Self { cert, key, ca, name })),
            (None, None, None) if name.is_none() => Ok(None),
            _ => Err(TlsError::Incomplete),
        }
    }
}

/// The TLS files are not usable. The operator has to correct them.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// One of the settings is given without the others.
    #[error("set grpc_tls_cert, grpc_tls_key and grpc_tls_ca together, or none of them")]
    Incomplete,
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The certificate, the key or the authority is invalid.
    #[error("certificate, key or authority is not usable: {0}")]
    Unusable(String),
}

/// The certificate that a node presents, and the authority that it accepts. Clones are the same, and can get others
/// ([`Tls::replace`]), which count for new connections.
#[derive(Clone)]
pub struct Tls {
    current: Arc<ArcSwap<Current>>,
}

struct Current {
    identity: Identity,
    authority: Certificate,
    name: Option<String>,
    server: Arc<ServerConfig>,
}

/// One state of a [`Tls`].
#[derive(Clone)]
pub struct Version(Arc<Current>);

/// Whether nothing was replaced between the two.
impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Version(..)")
    }
}

impl Tls {
    /// Reads the files, and checks that they can be used together.
    ///
    /// # Errors
    /// [`TlsError::Unreadable`] or [`TlsError::Unusable`].
    pub fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let (cert, key, ca) = (contents(&files.cert)?, contents(&files.key)?, contents(&files.ca)?);
        let current = Current {
            server: Arc::new(server_config(&cert, &key, &ca)?),
            identity: Identity::from_pem(cert, key),
            authority: Certificate::from_pem(ca),
            name: files.name.clone(),
        };
        let checked = Endpoint::from_static("https://localhost:1").tls_config(current.client());
        checked.map_err(|error| TlsError::Unusable(chain(&error)))?;
        Ok(Self { current: Arc::new(ArcSwap::from_pointee(current)) })
    }

    /// Gives this and its clones the files of another one. Connections that are open stay open.
    pub fn replace(&self, other: &Self) {
        self.current.store(other.current.load_full());
    }

    /// The state at this time.
    pub fn version(&self) -> Version {
        Version(self.current.load_full())
    }

    /// Makes the handshakes of a server, which refuses clients without a certificate of the authority.
    pub(crate) fn server(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current.load().server.clone())
    }

    /// The configuration of a client, which refuses servers without a certificate of the authority.
    pub(crate) fn client(&self) -> ClientTlsConfig {
        self.current.load().client()
    }
}

impl Current {
    fn client(&self) -> ClientTlsConfig {
        let config =
            ClientTlsConfig::new().identity(self.identity.clone()).ca_certificate(self.authority.clone());
        match &self.name {
            Some(name) => config.domain_name(name),
            None => config,
        }
    }
}

fn server_config(cert: &[u8], key: &[u8], ca: &[u8]) -> Result<ServerConfig, TlsError> {
    let pem = |error: pem::Error| TlsError::Unusable(error.to_string());
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(ca) {
        roots.add(authority.map_err(pem)?).map_err(unusable)?;
    }
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone()).build();
    let chain = CertificateDer::pem_slice_iter(cert).collect::<Result<_, _>>().map_err(pem)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(pem)?;
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(unusable)?.with_client_cert_verifier(verifier.map_err(unusable)?);
    let mut config = builder.with_single_cert(chain, key).map_err(unusable)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn unusable(error: impl fmt::Display) -> TlsError {
    TlsError::Unusable(error.to_string())
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("name", &self.current.load().name).finish_non_exhaustive()
    }
}

fn contents(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::Unreadable { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_three_files_are_required_or_none() {
        let path = |given: bool| given.then(|| PathBuf::from("pem"));
        for (cert, key, ca, name, good) in [
            (false, false, false, None, true),
            (true, true, true, None, true),
            (true, true, true, Some("node".to_owned()), true),
            (true, true, false, None, false),
            (false, true, true, None, false),
            (false, false, false, Some("node".to_owned()), false),
        ] {
            assert_eq!(TlsFiles::from_settings(path(cert), path(key), path(ca), name).is_ok(), good);
        }
    }

    #[test]
    fn an_unreadable_file_is_named() {
        let missing = PathBuf::from("/nowhere/node.pem");
        let files = TlsFiles { cert: missing.clone(), key: missing.clone(), ca: missing, name: None };
        let error = Tls::read(&files).unwrap_err().to_string();
        assert!(error.starts_with("/nowhere/node.pem: "), "{error}");
    }
}
