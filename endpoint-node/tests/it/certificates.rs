//! Certificates for nodes on 127.0.0.1, made by openssl.

use beckon_proto::tls::{Tls, TlsFiles};
use std::{fs, path::PathBuf, process::Command};
use tempfile::TempDir;

/// An authority and a node's certificate, in files.
#[derive(Debug)]
pub(crate) struct Certificates {
    directory: TempDir,
}

impl Certificates {
    /// Makes an authority and has it sign one certificate.
    pub(crate) fn make() -> Self {
        const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("names"), "subjectAltName=IP:127.0.0.1\n").unwrap();
        for arguments in [
            format!("req -x509 {KEY} -keyout ca.key -out ca.pem -days 2 -subj /CN=authority"),
            format!("req {KEY} -keyout key.pem -out node.csr -subj /CN=node"),
            "x509 -req -in node.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out cert.pem -days 2 -extfile names"
                .to_owned(),
        ] {
            let output =
                Command::new("openssl").args(arguments.split(' ')).current_dir(&directory).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        Self { directory }
    }

    /// A file: `cert.pem`, `key.pem` or `ca.pem`.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What a node makes of the files.
    pub(crate) fn tls(&self) -> Tls {
        let files = TlsFiles {
            cert: self.file("cert.pem"),
            key: self.file("key.pem"),
            ca: self.file("ca.pem"),
            name: None,
        };
        Tls::read(&files).unwrap()
    }
}
