//! Certificates for servers, made by openssl.

use crate::folder;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

/// An authority and a certificate that it has signed, as files in PEM.
#[derive(Debug)]
pub struct Certificates {
    folder: TempDir,
}

/// The kind of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// ECDSA on P-256.
    P256,
    /// RSA with 2048 bits.
    Rsa,
}

impl Certificates {
    /// Makes an authority and a certificate for `localhost` and 127.0.0.1, valid for two days.
    ///
    /// # Panics
    /// If openssl is missing or fails.
    pub fn make() -> Self {
        let folder = folder::temporary();
        openssl(&folder, "req -x509", Key::P256, "-keyout ca.key -out ca.pem -days 2 -subj /CN=authority");
        let made = Self { folder };
        made.renew("DNS:localhost,IP:127.0.0.1", 2);
        made
    }

    /// Replaces the certificate and its key by others of the same authority, for these names and so many days. With
    /// -1 it has expired.
    pub fn renew(&self, names: &str, days: i32) {
        self.sign("cert.pem", "key.pem", Key::P256, names, days);
    }

    /// One more certificate of the authority, with its key: the paths of the files.
    pub fn another(&self, file: &str, kind: Key, names: &str) -> (PathBuf, PathBuf) {
        let (certificate, key) = (format!("{file}.pem"), format!("{file}.key"));
        self.sign(&certificate, &key, kind, names, 2);
        (self.folder.path().join(certificate), self.folder.path().join(key))
    }

    fn sign(&self, certificate: &str, key: &str, kind: Key, names: &str, days: i32) {
        let folder = self.folder.path();
        let extensions = format!("subjectAltName={names}\nbasicConstraints=critical,CA:FALSE\n");
        fs::write(folder.join("extensions"), extensions)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        // Files are replaced as a whole, as certbot does: a reader finds the old one or the new one.
        openssl(folder, "req", kind, "-keyout new.key -out request.pem -subj /CN=server");
        let signed = format!(
            "x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -out new.pem -days {days} -extfile \
             extensions"
        );
        run(folder, &signed);
        for (from, to) in [("new.key", key), ("new.pem", certificate)] {
            fs::rename(folder.join(from), folder.join(to)).unwrap_or_else(|error| panic!("{to}: {error}"));
        }
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

/// Runs a command of openssl that makes a new key.
fn openssl(folder: impl AsRef<Path>, command: &str, kind: Key, rest: &str) {
    let key = match kind {
        Key::P256 => "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1",
        Key::Rsa => "-newkey rsa:2048",
    };
    run(folder.as_ref(), &format!("{command} {key} -nodes {rest}"));
}

fn run(folder: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split_whitespace()).current_dir(folder).output();
    let output =
        output.unwrap_or_else(|error| panic!("openssl does not start ({error}): apt-get install openssl"));
    assert!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
}
