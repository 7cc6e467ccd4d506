//! The keys in the data directory, for a server whose settings lack them: those of endpoint tokens, and the one that makes
//! client ids.

use crate::{genkey, secret_file};
use beckon_ops::{config::parsed, exit::Failure};
use beckon_types::{KeyRing, UaidKey};
use std::{fmt::Display, fs, io, path::Path, str::FromStr};

/// The file of the database, which is of no use without its keys.
const DATABASE: &str = "store.redb";

/// A file with keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyFile {
    /// Its name in the data directory.
    pub(crate) name: &'static str,
    /// The setting in place of which it is read.
    setting: &'static str,
    /// What the clients of a database lose without it.
    lost: &'static str,
}

/// What a file holds.
pub(crate) trait Keys: FromStr<Err: Display> {
    /// What tells them from other keys, in their order.
    fn fingerprints(&self) -> Vec<u64>;
}

impl Keys for KeyRing {
    fn fingerprints(&self) -> Vec<u64> {
        Self::fingerprints(self)
    }
}

impl Keys for UaidKey {
    fn fingerprints(&self) -> Vec<u64> {
        vec![self.fingerprint()]
    }
}

/// The keys of endpoint tokens.
pub(crate) const TOKEN_KEYS: KeyFile =
    KeyFile { name: "token-keys", setting: "token_keys", lost: "all endpoints of the database are lost" };

/// The key that makes client ids.
pub(crate) const UAID_KEY: KeyFile =
    KeyFile { name: "uaid-key", setting: "uaid_key", lost: "the clients of the database are lost" };

impl KeyFile {
    /// Reads the keys; at the first start, makes them.
    ///
    /// # Errors
    /// Exit code 64 if the file does not hold keys, or is missing although there is a database; 69 if it cannot be read or
    /// written.
    pub(crate) fn read_or_make<T: FromStr<Err: Display>>(self, data_dir: &Path) -> Result<T, Failure> {
        let path = data_dir.join(self.name);
        let unavailable = |error: io::Error| Failure::unavailable(format!("{}: {error}", path.display()));
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if data_dir.join(DATABASE).exists() {
                    return Err(self.unusable(&path, "it is missing"));
                }
                secret_file::make_directory(data_dir).map_err(unavailable)?;
                secret_file::make(&path, &genkey::new_key()?).map_err(unavailable)?;
                fs::read_to_string(&path).map_err(unavailable)?
            }
            Err(error) => return Err(unavailable(error)),
        };
        secret_file::restrict(&path).map_err(unavailable)?;
        parsed(text.trim()).map_err(|reason| self.unusable(&path, reason))
    }

    /// Whether a data directory has neither this file nor a database that needs it.
    pub(crate) fn is_new(self, data_dir: &Path) -> bool {
        !data_dir.join(self.name).exists() && !data_dir.join(DATABASE).exists()
    }

    /// The line of a backup for these keys.
    pub(crate) fn line(self, keys: &str) -> String {
        format!("{} {keys}\n", self.name)
    }

    /// The keys in the lines of a backup, if they are there.
    pub(crate) fn find_in(self, lines: &str) -> Option<&str> {
        lines.lines().find_map(|line| line.strip_prefix(self.name)?.strip_prefix(' '))
    }

    /// Makes the file with the keys of a backup or an export, and its directory. A file that is there must hold the same.
    ///
    /// # Errors
    /// Exit code 64 if it holds something else, 69 if it cannot be written.
    pub(crate) fn keep<T: Keys>(self, data_dir: &Path, keys: &str) -> Result<(), Failure> {
        let path = data_dir.join(self.name);
        let unavailable = |error: io::Error| Failure::unavailable(format!("{}: {error}", path.display()));
        secret_file::make_directory(data_dir).map_err(unavailable)?;
        secret_file::make(&path, keys).map_err(unavailable)?;
        self.check::<T>(data_dir, keys)
    }

    /// Checks that there is no file, or one with the keys of a backup or an export.
    ///
    /// # Errors
    /// Exit code 64 if it holds something else, 69 if it cannot be read.
    pub(crate) fn check<T: Keys>(self, data_dir: &Path, keys: &str) -> Result<(), Failure> {
        let path = data_dir.join(self.name);
        let found = match fs::read_to_string(&path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Failure::unavailable(format!("{}: {error}", path.display()))),
        };
        let fingerprints = |text: &str| parsed::<T>(text.trim()).map(|keys| keys.fingerprints());
        match (fingerprints(&found), fingerprints(keys)) {
            (Ok(found), Ok(keys)) if found == keys => Ok(()),
            (Err(reason), _) => Err(self.unusable(&path, reason)),
            (Ok(_), Ok(_) | Err(_)) => {
                Err(self.unusable(&path, "it differs from that of the backup or export"))
            }
        }
    }

    /// The failure for keys that cannot be used.
    fn unusable(self, path: &Path, reason: impl Display) -> Failure {
        let Self { setting, lost, .. } = self;
        Failure::usage(format!(
            "{}: {reason}. Without it {lost}: restore the file from a backup, or set {setting}. To start with an empty \
             store, move {DATABASE} and store.log away too",
            path.display()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn keys_are_made_once_and_kept() {
        let parent = tempfile::tempdir().unwrap();
        let data_dir = parent.path().join("a/b");
        let read =
            || TOKEN_KEYS.read_or_make::<KeyRing>(&data_dir).map_err(|failure| failure.message).unwrap();
        assert_eq!(read().newest(), read().newest());
        let read = || UAID_KEY.read_or_make::<UaidKey>(&data_dir).map_err(|failure| failure.message).unwrap();
        assert_eq!(read().fingerprint(), read().fingerprint());
        for file in [TOKEN_KEYS, UAID_KEY] {
            let mode = fs::metadata(data_dir.join(file.name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn a_file_without_keys_is_named() {
        for text in ["", "\n", "not a key\n"] {
            let data_dir = tempfile::tempdir().unwrap();
            for file in [TOKEN_KEYS, UAID_KEY] {
                fs::write(data_dir.path().join(file.name), text).unwrap();
            }
            let failures = [
                TOKEN_KEYS.read_or_make::<KeyRing>(data_dir.path()).expect_err("it has no key"),
                UAID_KEY.read_or_make::<UaidKey>(data_dir.path()).expect_err("it has no key"),
            ];
            for (file, failure) in [TOKEN_KEYS, UAID_KEY].into_iter().zip(failures) {
                assert_eq!(failure.code, beckon_ops::exit::USAGE);
                assert!(failure.message.contains(file.name), "{failure}");
                assert!(failure.message.contains("backup"), "{failure}");
            }
        }
    }

    #[test]
    fn keys_are_the_same_however_they_are_written() {
        let data_dir = tempfile::tempdir().unwrap();
        let [one, two] = [[1; 32], [2; 32]].map(|bytes| KeyRing::key_text(&bytes));
        let check = |keys: &str| TOKEN_KEYS.check::<KeyRing>(data_dir.path(), keys);
        check(&one).expect("there is no file");
        fs::write(data_dir.path().join(TOKEN_KEYS.name), format!("{one}, {two}\n")).unwrap();
        check(&format!("{one},{two}")).expect("the same keys");
        for other in [one.clone(), format!("{two},{one}"), "none".to_owned()] {
            let failure = check(&other).expect_err(&other);
            assert!(
                failure.code == beckon_ops::exit::USAGE && failure.message.contains("differs"),
                "{failure}"
            );
        }
    }

    #[test]
    fn no_key_is_made_for_a_database_that_has_one() {
        let data_dir = tempfile::tempdir().unwrap();
        fs::write(data_dir.path().join(DATABASE), "").unwrap();
        let failure = UAID_KEY.read_or_make::<UaidKey>(data_dir.path()).expect_err("the key is lost");
        assert_eq!(failure.code, beckon_ops::exit::USAGE);
        assert!(!data_dir.path().join(UAID_KEY.name).exists());
    }
}
