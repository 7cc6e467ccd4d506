//! Folders that the whole run uses.

use std::path::{Path, PathBuf};

/// Where things are.
#[derive(Debug, Clone)]
pub(crate) struct Folders {
    /// The root of the repository.
    pub(crate) repository: PathBuf,
    /// Where layers, volumes and logs go.
    pub(crate) work: PathBuf,
}

/// A path inside a root file system, seen from outside.
pub(crate) fn inside_of(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}
