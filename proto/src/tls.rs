//! Mutual TLS between the nodes: each presents a certificate of the cluster's own authority and verifies the other's.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};
use tonic::transport::{Certificate, ClientTlsConfig, Identity, ServerTlsConfig};

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

/// The certificate that a node presents, and the authority that it accepts.
#[derive(Clone)]
pub struct Tls {
    identity: Identity,
    authority: Certificate,
    name: Option<String>,
}

impl Tls {
    /// Reads the files, once, at start.
    ///
    /// # Errors
    ///
    /// [`TlsError::Unreadable`]. What is in the files is checked when they are used: by [`crate::transport::client`] and
    /// [`crate::transport::server`].
    pub fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        Ok(Self {
            identity: Identity::from_pem(contents(&files.cert)?, contents(&files.key)?),
            authority: Certificate::from_pem(contents(&files.ca)?),
            name: files.name.clone(),
        })
    }

    /// The configuration of a server, which refuses clients without a certificate of the authority.
    pub fn server(&self) -> ServerTlsConfig {
        ServerTlsConfig::new().identity(self.identity.clone()).client_ca_root(self.authority.clone())
    }

    /// The configuration of a client, which refuses servers without a certificate of the authority.
    pub fn client(&self) -> ClientTlsConfig {
        let config =
            ClientTlsConfig::new().identity(self.identity.clone()).ca_certificate(self.authority.clone());
        match &self.name {
            Some(name) => config.domain_name(name),
            None => config,
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("name", &self.name).finish_non_exhaustive()
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
