//! Checksums of the artefacts, and a signature of them.

use crate::run::{self, run};
use anyhow::{Context as _, Result, ensure};
use std::{
    ffi::OsString,
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
};

/// Holds the private key that signs: an OpenPGP key without a passphrase, in ASCII armour. Without it nothing is signed.
const KEY: &str = "BECKON_SIGNING_KEY";

/// If this variable is `required`, it is an error to have no key.
const REQUIRED: &str = "BECKON_SIGNING";

const SUMS: &str = "SHA256SUMS";

/// Writes `SHA256SUMS`, and `SHA256SUMS.asc` if there is a key.
pub(super) fn sign(folder: &Path) -> Result<()> {
    let key = std::env::var_os(KEY).filter(|key| !key.is_empty());
    let is_required = std::env::var_os(REQUIRED).is_some_and(|value| value == "required");
    ensure!(key.is_some() || !is_required, "{KEY} is not set, and {REQUIRED} is `required`");
    sign_with(folder, key)
}

fn sign_with(folder: &Path, key: Option<OsString>) -> Result<()> {
    let mut names: Vec<String> = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.push(entry?.file_name().into_string().ok().context("a name in UTF-8")?);
    }
    names.sort();
    let sums = run::output(Command::new("sha256sum").args(&names).current_dir(folder))?;
    fs::write(folder.join(SUMS), format!("{sums}\n"))?;
    let Some(key) = key else {
        eprintln!("xtask: NOT SIGNED: {KEY} is not set");
        return Ok(());
    };
    let home = folder.join(".gnupg");
    fs::create_dir(&home)?;
    let signed = fs::set_permissions(&home, fs::Permissions::from_mode(0o700))
        .map_err(Into::into)
        .and_then(|()| sign_in(&home, folder, &key));
    // The agent of gpg keeps the key until it ends; this ends it, whatever has happened.
    let _ended = Command::new("gpgconf").arg("--homedir").arg(&home).args(["--kill", "all"]).status();
    fs::remove_dir_all(&home)?;
    signed
}

fn sign_in(home: &Path, folder: &Path, key: &OsString) -> Result<()> {
    let gpg = || {
        let mut gpg = Command::new("gpg");
        gpg.arg("--homedir").arg(home).args(["--batch", "--quiet"]);
        gpg
    };
    let mut import = gpg().arg("--import").stdin(Stdio::piped()).spawn().context("gpg")?;
    let mut input = import.stdin.take().context("a pipe")?;
    input.write_all(key.as_encoded_bytes())?;
    drop(input);
    ensure!(import.wait()?.success(), "{KEY} is not a key");
    run(gpg().args(["--armor", "--detach-sign"]).arg(folder.join(SUMS)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_signed_with_the_key_of_the_environment() {
        let folder = tempfile::tempdir().unwrap();
        let (home, dist) = (folder.path().join("home"), folder.path().join("dist"));
        for made in [&home, &dist] {
            fs::create_dir(made).unwrap();
            fs::set_permissions(made, fs::Permissions::from_mode(0o700)).unwrap();
        }
        let gpg = |arguments: &[&str]| {
            let mut gpg = Command::new("gpg");
            gpg.arg("--homedir").arg(&home).args(["--batch", "--quiet"]).args(arguments).current_dir(&dist);
            gpg.output().unwrap()
        };
        let made = gpg(&["--passphrase", "", "--quick-gen-key", "a@b.example", "ed25519", "sign", "never"]);
        assert!(made.status.success(), "{made:?}");
        let key = gpg(&["--armor", "--export-secret-keys"]).stdout;
        fs::write(dist.join("archive"), "contents").unwrap();

        sign_with(&dist, Some(String::from_utf8(key).unwrap().into())).unwrap();
        let names: Vec<_> = fs::read_dir(&dist).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 3, "the key is gone: {names:?}");
        assert!(gpg(&["--verify", "SHA256SUMS.asc", SUMS]).status.success());
        let check = || Command::new("sha256sum").args(["--check", SUMS]).current_dir(&dist).output().unwrap();
        assert!(check().status.success());
        fs::write(dist.join("archive"), "other contents").unwrap();
        assert!(!check().status.success());
        fs::write(dist.join(SUMS), "other sums").unwrap();
        assert!(!gpg(&["--verify", "SHA256SUMS.asc", SUMS]).status.success());
        assert!(sign_with(&dist, Some("not a key".into())).is_err());
        let _ended = Command::new("gpgconf").arg("--homedir").arg(&home).args(["--kill", "all"]).status();
    }
}
