//! Mutual TLS between the nodes: each shows a certificate of the cluster's own authority and checks the other's.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};
use tonic::transport::{Certificate, ClientTlsConfig, Identity, ServerTlsConfig};

/// Where a node's certificate, its key, and the cluster's authority are kept: PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The node's certificate, with intermediate ones if there are any: setting `grpc_tls_cert`.
    pub cert: PathBuf,
    /// The certificate's private key: setting `grpc_tls_key`.
    pub key: PathBuf,
    /// The authority that signs the certificates of all nodes: setting `grpc_tls_ca`.
    pub ca: PathBuf,
    /// The name that the certificates of the other nodes carry: setting `grpc_tls_name`. `None` if each carries
    /// the host that the node advertises.
    pub name: Option<String>,
}

impl TlsFiles {
    /// Puts settings together that only make sense together: `None` if none of the files is given.
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

/// The files for TLS cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// One of the settings is there without the others.
    #[error("grpc_tls_cert, grpc_tls_key and grpc_tls_ca are given together or not at all")]
    Incomplete,
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The certificates or the key are not what they should be.
    #[error("certificate, key or authority not usable: {0}")]
    Unusable(String),
}

/// What a node shows and what it expects to be shown.
#[derive(Clone)]
pub struct Tls {
    identity: Identity,
    authority: Certificate,
    name: Option<String>,
}

impl Tls {
    /// Reads the files, once, at start.
    pub fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        Ok(Self {
            identity: Identity::from_pem(contents(&files.cert)?, contents(&files.key)?),
            authority: Certificate::from_pem(contents(&files.ca)?),
            name: files.name.clone(),
        })
    }

    /// For a server: clients without a certificate of the authority are refused.
    pub fn server(&self) -> ServerTlsConfig {
        ServerTlsConfig::new().identity(self.identity.clone()).client_ca_root(self.authority.clone())
    }

    /// For a client: only servers with a certificate of the authority are spoken to.
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
    fn the_files_are_given_together_or_not_at_all() {
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
    fn a_file_that_cannot_be_read_is_named() {
        let missing = PathBuf::from("/nowhere/node.pem");
        let files = TlsFiles { cert: missing.clone(), key: missing.clone(), ca: missing, name: None };
        let error = Tls::read(&files).unwrap_err().to_string();
        assert!(error.starts_with("/nowhere/node.pem: "), "{error}");
    }
}
