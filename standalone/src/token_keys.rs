//! The keys of endpoint tokens in the data directory, for a server without the setting `token_keys`.

use crate::genkey;
use beckon_ops::{config::parsed, exit::Failure};
use beckon_types::KeyRing;
use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
};

/// The file in the data directory.
const FILE: &str = "token-keys";

/// Reads the keys; at the first start, makes one.
///
/// # Errors
/// Exit code 64 if the file does not hold keys, 69 if it cannot be read or written.
pub(crate) fn read_or_make(data_dir: &Path) -> Result<KeyRing, Failure> {
    let path = data_dir.join(FILE);
    let unavailable = |error: io::Error| Failure::unavailable(format!("{}: {error}", path.display()));
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(data_dir).map_err(unavailable)?;
            let key = genkey::new_key()?;
            write(&path, &key).map_err(unavailable)?;
            key
        }
        Err(error) => return Err(unavailable(error)),
    };
    parsed(text.trim()).map_err(|reason| Failure::usage(format!("{}: {reason}", path.display())))
}

/// Writes the whole file or nothing, for its owner only: without its keys, all endpoints would be lost.
fn write(path: &Path, key: &str) -> io::Result<()> {
    let draft = path.with_extension("new");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    writeln!(file, "{key}")?;
    file.sync_all()?;
    fs::rename(&draft, path)
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
    fn a_damaged_file_is_named() {
        let data_dir = tempfile::tempdir().unwrap();
        fs::write(data_dir.path().join(FILE), "not a key\n").unwrap();
        let failure = read_or_make(data_dir.path()).expect_err("it has no key");
        assert_eq!(failure.code, beckon_ops::exit::USAGE);
        assert!(failure.message.contains(FILE), "{failure}");
    }
}
