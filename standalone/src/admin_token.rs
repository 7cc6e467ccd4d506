//! The token of the operator in the data directory, for a server without the setting `admin_token`.

use crate::{genkey, secret_file};
use beckon_node::access::Tokens;
use beckon_ops::{config::parsed, exit::Failure};
use std::{fs, io, path::Path};

/// The file in the data directory.
const FILE: &str = "admin-token";

/// Reads the token; at the first start, makes one.
///
/// # Errors
/// Exit code 64 if the file does not hold a token; 69 if it cannot be read or written.
pub(crate) fn read_or_make(data_dir: &Path) -> Result<Tokens, Failure> {
    let path = data_dir.join(FILE);
    let unavailable = |error: io::Error| Failure::unavailable(format!("{}: {error}", path.display()));
    if let Some(tokens) = read(data_dir)? {
        secret_file::restrict(&path).map_err(unavailable)?;
        return Ok(tokens);
    }
    secret_file::make_directory(data_dir).map_err(unavailable)?;
    secret_file::make(&path, &genkey::new_key()?).map_err(unavailable)?;
    // Not the token that was made: another process may have made one at the same time.
    read(data_dir)?.ok_or_else(|| unavailable(io::ErrorKind::NotFound.into()))
}

/// The token that the server of this data directory has; `None` if there is no file.
///
/// # Errors
/// As [`read_or_make`].
pub(crate) fn read(data_dir: &Path) -> Result<Option<Tokens>, Failure> {
    let path = data_dir.join(FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::unavailable(format!("{}: {error}", path.display()))),
    };
    let unusable = |reason| Failure::usage(format!("{}: {reason}", path.display()));
    let tokens: Tokens = parsed(&text).map_err(unusable)?;
    if tokens.is_empty() { Err(unusable("it is empty; remove it".to_owned())) } else { Ok(Some(tokens)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_token_is_made_once_and_kept() {
        let parent = tempfile::tempdir().unwrap();
        let data_dir = parent.path().join("a");
        assert!(read(&data_dir).map_err(|failure| failure.message).unwrap().is_none());
        let made = read_or_make(&data_dir).map_err(|failure| failure.message).unwrap();
        assert_eq!(read_or_make(&data_dir).map_err(|failure| failure.message).unwrap(), made);
        let path = data_dir.join(FILE);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        for text in ["", "\n", "short\n"] {
            fs::write(&path, text).unwrap();
            let failure = read_or_make(&data_dir).expect_err("there is no token in it");
            assert!(failure.message.contains(FILE), "{failure}");
        }
    }
}
