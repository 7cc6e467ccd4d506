//! The files of a data directory, as the store sees them. Tests replace them with files that fail.

use redb::StorageBackend;
use std::{
    fmt, fs, io, os::unix::fs::FileExt as _, os::unix::fs::OpenOptionsExt as _, path::Path, sync::Arc,
};

/// Where files are.
pub trait Disk: fmt::Debug + Send + Sync + 'static {
    /// Opens a file for reading and writing. One that does not exist is made, for its owner only.
    ///
    /// # Errors
    /// Those of the operating system.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
}

/// An open file. All methods may be called concurrently.
pub trait DiskFile: fmt::Debug + Send + Sync + 'static {
    /// Its length in bytes.
    ///
    /// # Errors
    /// Those of the operating system.
    fn size(&self) -> io::Result<u64>;

    /// Reads as many bytes as there is room for.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] if the file ends before, and those of the operating system.
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;

    /// Writes all bytes, which are on the disk after the next [`DiskFile::sync`].
    ///
    /// # Errors
    /// Those of the operating system; some of the bytes may have been written.
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts the file off, or makes it longer with zeros.
    ///
    /// # Errors
    /// Those of the operating system.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Waits until what was written is on the disk.
    ///
    /// # Errors
    /// Those of the operating system. What was written since the last success may or may not be on the disk.
    fn sync(&self) -> io::Result<()>;
}

/// The disk of the operating system.
#[derive(Debug, Clone, Copy)]
pub struct OsDisk;

impl Disk for OsDisk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(open_private(path)?))
    }
}

impl DiskFile for fs::File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(out, offset)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        Self::set_len(self, len)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Opens a file for reading and writing, and makes it if it does not exist, readable for its owner only.
pub(super) fn open_private(path: &Path) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).mode(PRIVATE).open(path)?;
    let permissions = file.metadata()?.permissions();
    if std::os::unix::fs::PermissionsExt::mode(&permissions) & 0o777 != PRIVATE {
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(PRIVATE))?;
    }
    Ok(file)
}

/// What is in the data directory is enough to act as any client.
const PRIVATE: u32 = 0o600;

/// A file as redb sees it. The lock of the data directory takes the place of locks on the file.
#[derive(Debug)]
pub(super) struct Backend(pub(super) Arc<dyn DiskFile>);

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.size()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
}
