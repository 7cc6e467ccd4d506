//! Which files are accepted, and what a reload does.

use super::*;
use beckon_testbed::certificates::{Certificates as Made, Key};
use std::fs;

fn files(pairs: &[(PathBuf, PathBuf)]) -> Files {
    let (certificates, keys): (Vec<_>, Vec<_>) = pairs.iter().cloned().unzip();
    Files::from_settings(&certificates, &keys).unwrap().unwrap()
}

fn read(certificate: PathBuf, key: PathBuf) -> Result<Certificates, String> {
    Certificates::read(files(&[(certificate, key)]), UnixTime::now()).map_err(|error| error.to_string())
}

#[test]
fn each_certificate_has_a_key() {
    let path = |name: &str| vec![PathBuf::from(name)];
    assert!(Files::from_settings(&[], &[]).unwrap().is_none());
    let error = Files::from_settings(&path("a"), &[]).unwrap_err().to_string();
    assert!(error.contains("1 files") && error.contains("tls_key names 0"), "{error}");
}

#[test]
fn what_cannot_be_used_is_named() {
    let (made, other) = (Made::make(), Made::make());
    let (certificate, key) = (made.certificate(), made.key());
    assert!(read(certificate.clone(), key.clone()).is_ok());
    let nowhere = PathBuf::from("/nowhere/x.pem");
    for (pair, expected) in [
        ((nowhere.clone(), key.clone()), "/nowhere/x.pem: No such file"),
        ((certificate.clone(), nowhere), "/nowhere/x.pem: No such file"),
        ((key.clone(), key.clone()), "key.pem: there is no certificate"),
        ((certificate.clone(), certificate.clone()), "cert.pem: there is no private key"),
        ((certificate.clone(), other.key()), "cannot be used together"),
    ] {
        let error = read(pair.0, pair.1).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
    let later = UnixTime::since_unix_epoch(Duration::from_secs(UnixTime::now().as_secs() + 5 * 86_400 + 60));
    let pair = (certificate.clone(), key.clone());
    let error = Certificates::read(files(&[pair]), later).unwrap_err().to_string();
    assert!(error.contains("cert.pem: the certificate expired 3 days ago"), "{error}");
    fs::write(&certificate, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    let error = read(certificate, key).unwrap_err();
    assert!(error.contains("cert.pem: the certificate cannot be read"), "{error}");
}

#[test]
fn the_first_to_expire_counts() {
    let made = Made::make();
    let now = UnixTime::now().as_secs();
    made.renew("DNS:localhost", 30);
    let another = made.another("another", Key::Rsa, "DNS:push.example");
    let pairs = [(made.certificate(), made.key()), another];
    let certificates = Certificates::read(files(&pairs), UnixTime::now()).unwrap();
    let days = (certificates.expiry().as_secs() - now) as f64 / 86_400.0;
    assert!((1.9..2.1).contains(&days), "{days}");
}

#[test]
fn a_reload_takes_what_is_good_and_keeps_what_it_has_otherwise() {
    let made = Made::make();
    let certificates = read(made.certificate(), made.key()).unwrap();
    let presented = || certificates.loaded.load().chains[0].cert.clone();
    let first = presented();
    assert_eq!(certificates.reload(UnixTime::now()).unwrap(), Changed::No);
    made.renew("DNS:localhost", 5);
    assert_eq!(certificates.reload(UnixTime::now()).unwrap(), Changed::Yes);
    let second = presented();
    assert_ne!(first, second);
    made.renew("DNS:localhost", -1);
    assert!(matches!(certificates.reload(UnixTime::now()), Err(CertificateError::Expired { .. })));
    fs::remove_file(made.key()).unwrap();
    assert!(matches!(certificates.reload(UnixTime::now()), Err(CertificateError::File { .. })));
    assert_eq!(presented(), second);
}
