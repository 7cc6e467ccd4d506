//! The data directory: for its owner only, and for one process at a time.

use super::{disk::open_private, open_error::OpenError};
use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// The file whose lock says that a process uses the directory. It stays empty.
const LOCK: &str = "lock";

/// Mode of the directory: what is in it is enough to act as any client.
const PRIVATE: u32 = 0o700;

/// The bit of directories such as `/tmp`, which belong to all users.
const STICKY: u32 = 0o1000;

/// A data directory that no other process can use meanwhile.
#[derive(Debug)]
pub(super) struct DataDir {
    path: PathBuf,
    /// Locked while it is there.
    lock: Option<fs::File>,
}

impl DataDir {
    /// Makes the directory if it does not exist, closes it to other users, and locks it.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let error = |error| OpenError::directory(path, error);
        fs::DirBuilder::new().recursive(true).mode(PRIVATE).create(path).map_err(error)?;
        make_private(path).map_err(error)?;
        let mut data_dir = Self { path: path.to_owned(), lock: None };
        data_dir.lock()?;
        Ok(data_dir)
    }

    /// Locks the directory, if it is not.
    pub(super) fn lock(&mut self) -> Result<(), OpenError> {
        if self.lock.is_some() {
            return Ok(());
        }
        let error = |error| OpenError::directory(&self.path, error);
        let lock = open_private(&self.path.join(LOCK)).map_err(error)?;
        match lock.try_lock() {
            Ok(()) => self.lock = Some(lock),
            Err(fs::TryLockError::WouldBlock) => return Err(OpenError::InUse(self.path.clone())),
            Err(fs::TryLockError::Error(reason)) => return Err(error(reason)),
        }
        Ok(())
    }

    /// Lets another process have the directory. Nothing may be open in it.
    pub(super) fn unlock(&mut self) {
        self.lock = None;
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// Closes a directory to other users, whoever made it.
fn make_private(path: &Path) -> io::Result<()> {
    let metadata = fs::metadata(path)?;
    let mode = metadata.mode();
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let closed = match mode & STICKY {
        0 => fs::set_permissions(path, fs::Permissions::from_mode(PRIVATE)),
        _ => Err(io::Error::other("it is shared by all users")),
    };
    match closed {
        Ok(()) => tracing::info!(data_dir = %path.display(), "closed the data directory to other users"),
        // The files in it are for their owner only.
        Err(error) => {
            tracing::warn!(data_dir = %path.display(), %error, "other users can list the data directory");
        }
    }
    Ok(())
}
