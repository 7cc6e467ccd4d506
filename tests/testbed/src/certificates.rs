//! Certificates for servers on `localhost` and 127.0.0.1, made by openssl.

use crate::folder;
use std::{fs, path::PathBuf, process::Command};
use tempfile::TempDir;

/// An authority and a certificate that it has signed, as files in PEM.
#[derive(Debug)]
pub struct Certificates {
    folder: TempDir,
}

impl Certificates {
    /// Makes an authority and a certificate, valid for two days.
    ///
    /// # Panics
    /// If openssl is missing or fails.
    pub fn make() -> Self {
        const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        let folder = folder::temporary();
        let extensions = "subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=critical,CA:FALSE\n";
        fs::write(folder.path().join("extensions"), extensions)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.path().display()));
        for arguments in [
            format!("req -x509 {KEY} -keyout ca.key -out ca.pem -days 2 -subj /CN=authority"),
            format!("req {KEY} -keyout key.pem -out request.pem -subj /CN=localhost"),
            "x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -out cert.pem -days 2 \
             -extfile extensions"
                .to_owned(),
        ] {
            let words = arguments.split_whitespace();
            let output = Command::new("openssl").args(words).current_dir(&folder).output();
            let output = output
                .unwrap_or_else(|error| panic!("openssl does not start ({error}): apt-get install openssl"));
            assert!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
        }
        Self { folder }
    }

    /// The certificate of the authority.
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// The certificate of the server.
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    /// The key of the server's certificate.
    pub fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }
}
