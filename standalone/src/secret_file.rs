//! Files that only their owner may read.

use std::{
    fs,
    io::{self, BufWriter, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// Makes the data directory, for its owner only, unless it is there.
pub(crate) fn make_directory(data_dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(data_dir)
}

/// Takes the file from everybody but its owner.
pub(crate) fn restrict(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
}

/// Writes the whole file, or nothing, for its owner only. If there is one already, as when another process does so at the
/// same time, that one is kept.
pub(crate) fn make(path: &Path, secret: &str) -> io::Result<()> {
    let draft = path.with_extension(format!("new-{}", std::process::id()));
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    writeln!(file, "{secret}")?;
    file.sync_all()?;
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft)?;
    sync_directory_of(path)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Writes a file beside its place, and puts it there when it is whole and on the disk. If `write` fails, or gives up with `None`, there
/// is no file.
pub(crate) fn write<T>(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<fs::File>) -> io::Result<Option<T>>,
) -> io::Result<Option<T>> {
    let mut draft = path.to_owned().into_os_string();
    draft.push(".part");
    let draft = PathBuf::from(draft);
    let file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    let mut out = BufWriter::new(file);
    let written = write(&mut out).and_then(|written| {
        if written.is_some() {
            out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
            fs::rename(&draft, path)?;
            sync_directory_of(path)?;
        }
        Ok(written)
    });
    if !matches!(written, Ok(Some(_))) {
        let _ = fs::remove_file(&draft);
    }
    written
}

/// Makes a new name of a file survive a power failure.
fn sync_directory_of(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    fs::File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}
