//! The keys of endpoint tokens in the data directory, for a server without the setting `token_keys`.

use crate::{genkey, secret_file};
use beckon_ops::{config::parsed, exit::Failure};
use beckon_types::KeyRing;
use std::{fmt::Display, fs, io, path::Path};

/// The file in the data directory.
const FILE: &str = "token-keys";

/// The file of the database, which is of no use without its keys.
const DATABASE: &str = "store.redb";

/// Reads the keys; at the first start, makes one.
///
/// # Errors
/// Exit code 64 if the file does not hold keys, or is missing although there is a database; 69 if it cannot be read or
/// written.
pub(crate) fn read_or_make(data_dir: &Path) -> Result<KeyRing, Failure> {
    let path = data_dir.join(FILE);
    let unavailable = |error: io::Error| Failure::unavailable(format!("{}: {error}", path.display()));
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if data_dir.join(DATABASE).exists() {
                return Err(unusable(&path, "it is missing"));
            }
            secret_file::make_directory(data_dir).map_err(unavailable)?;
            secret_file::make(&path, &genkey::new_key()?).map_err(unavailable)?;
            fs::read_to_string(&path).map_err(unavailable)?
        }
        Err(error) => return Err(unavailable(error)),
    };
    secret_file::restrict(&path).map_err(unavailable)?;
    parsed(text.trim()).map_err(|reason| unusable(&path, reason))
}

/// Whether a data directory has neither keys nor a database that needs them.
pub(crate) fn is_new(data_dir: &Path) -> bool {
    !data_dir.join(FILE).exists() && !data_dir.join(DATABASE).exists()
}

/// Makes the file with the keys of a backup or an export, and its directory. One that is there must have the same.
///
/// # Errors
/// Exit code 64 if it has others, 69 if it cannot be written.
pub(crate) fn keep(data_dir: &Path, keys: &str) -> Result<(), Failure> {
    let path = data_dir.join(FILE);
    let unavailable = |error: io::Error| Failure::unavailable(format!("{}: {error}", path.display()));
    secret_file::make_directory(data_dir).map_err(unavailable)?;
    secret_file::make(&path, keys.trim()).map_err(unavailable)?;
    if fs::read_to_string(&path).map_err(unavailable)?.trim() != keys.trim() {
        return Err(unusable(&path, "it has other keys than the backup"));
    }
    Ok(())
}

/// The failure for keys that cannot be used.
fn unusable(path: &Path, reason: impl Display) -> Failure {
    Failure::usage(format!(
        "{}: {reason}. Without its keys all endpoints of the database are lost: restore the file from a backup, or set \
         token_keys. To give the endpoints up, move {DATABASE} and store.log away too",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn keys_are_made_once_and_kept() {
        let parent = tempfile::tempdir().unwrap();
        let data_dir = parent.path().join("a/b");
        let keys = read_or_make(&data_dir).map_err(|failure| failure.message).unwrap();
        let again = read_or_make(&data_dir).map_err(|failure| failure.message).unwrap();
        assert_eq!(keys.newest(), again.newest());
        let mode = fs::metadata(data_dir.join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_file_without_keys_is_named() {
        for text in ["", "\n", "not a key\n"] {
            let data_dir = tempfile::tempdir().unwrap();
            fs::write(data_dir.path().join(FILE), text).unwrap();
            let failure = read_or_make(data_dir.path()).expect_err("it has no key");
            assert_eq!(failure.code, beckon_ops::exit::USAGE);
            assert!(failure.message.contains(FILE), "{failure}");
            assert!(failure.message.contains("backup"), "{failure}");
        }
    }

    #[test]
    fn no_key_is_made_for_a_database_that_has_one() {
        let data_dir = tempfile::tempdir().unwrap();
        fs::write(data_dir.path().join(DATABASE), "").unwrap();
        let failure = read_or_make(data_dir.path()).expect_err("the key is lost");
        assert_eq!(failure.code, beckon_ops::exit::USAGE);
        assert!(!data_dir.path().join(FILE).exists());
    }
}
