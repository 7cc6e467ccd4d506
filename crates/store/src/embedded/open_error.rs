//! Why an embedded store could not be opened. An error says who can fix it.

use std::{
    io,
    path::{Path, PathBuf},
};

/// The file of the database in the data directory.
pub(super) const DATABASE: &str = "store.redb";

/// The file of the log in the data directory.
pub(super) const LOG: &str = "store.log";

/// An embedded store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has the data directory. Trying again can help.
    #[error("data directory {} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// The directory cannot be made, or its files cannot be opened. The operator has to change something.
    #[error("data directory {}: {error}", data_dir.display())]
    Directory {
        /// The data directory.
        data_dir: PathBuf,
        /// The error of the operating system.
        error: io::Error,
    },
    /// The disk is full or fails. Trying again can help.
    #[error("disk of data directory {}: {error}", data_dir.display())]
    Disk {
        /// The data directory.
        data_dir: PathBuf,
        /// The error of the operating system.
        error: io::Error,
    },
    /// The database was made by a newer server.
    #[error("data directory {} was written by a newer version of this server; start that version", .0.display())]
    Newer(PathBuf),
    /// The database was used with other token keys.
    #[error(
        "the token keys are not those with which data directory {} was used, so all endpoints would be lost; restore \
         its file token-keys from a backup, or set token_keys as before. To give the endpoints up, move {DATABASE} and \
         {LOG} away",
        .0.display()
    )]
    OtherKeys(PathBuf),
    /// The database was used with another UAID key.
    #[error(
        "the UAID key is not the one with which data directory {} was used, so no client would be known; restore its file \
         uaid-key from a backup, or set uaid_key as before. To give the clients up, move {DATABASE} and {LOG} away",
        .0.display()
    )]
    OtherUaidKey(PathBuf),
    /// The database is damaged.
    #[error(
        "{DATABASE} in data directory {} is damaged ({reason}); restore a backup with `beckon restore`, or move \
         {DATABASE} and {LOG} away to start with an empty store, with which all clients have to register again",
        data_dir.display()
    )]
    Damaged {
        /// The data directory.
        data_dir: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl OpenError {
    /// The error for an I/O error in a data directory, by who can do something about it.
    #[expect(clippy::wildcard_enum_match_arm, reason = "there are many kinds, and may be more")]
    pub(super) fn directory(data_dir: &Path, error: io::Error) -> Self {
        use io::ErrorKind::{
            AlreadyExists, InvalidData, InvalidFilename, InvalidInput, IsADirectory, NotADirectory, NotFound,
            PermissionDenied, ReadOnlyFilesystem, UnexpectedEof,
        };
        if matches!(error.kind(), InvalidData | UnexpectedEof) {
            return Self::damaged(data_dir, error);
        }
        let data_dir = data_dir.to_owned();
        match error.kind() {
            AlreadyExists | InvalidFilename | InvalidInput | IsADirectory | NotADirectory | NotFound
            | PermissionDenied | ReadOnlyFilesystem => Self::Directory { data_dir, error },
            _ => Self::Disk { data_dir, error },
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "redb has many errors, and may have more")]
    pub(super) fn database(data_dir: &Path, error: redb::Error) -> Self {
        match error {
            redb::Error::Io(error) => Self::directory(data_dir, error),
            redb::Error::UpgradeRequired(_) => Self::Newer(data_dir.to_owned()),
            error => Self::damaged(data_dir, error),
        }
    }

    /// The error for a database that is damaged for this reason.
    pub(super) fn damaged(data_dir: &Path, reason: impl ToString) -> Self {
        Self::Damaged { data_dir: data_dir.to_owned(), reason: reason.to_string() }
    }
}
