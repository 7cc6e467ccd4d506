//! Where a process hands over to the next one of the same program on this machine: a Unix socket at a path, and beside it a
//! lock. Only on Linux.
//!
//! The lock says which process serves. It belongs to an open file ([`Lock`]), which a process passes on in the moment at which
//! it hands over; so at no moment two processes have it, and the kernel frees it when a process dies. Whoever has the lock may
//! replace the socket.
//!
//! The locked file has a number, the *round* that is under way. If the old process dies when the new one has everything and was
//! not told to serve, the new one may do so if it gets the lock and the round is still the same: then the old one has not gone on.

mod channel;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;

pub use channel::{Channel, FILES_MAX, FRAME_LEN_MAX, Received};

use crate::clock::Clock;
use rustix::process::geteuid;
use std::{
    ffi::OsString,
    fs::{self, File, TryLockError},
    io,
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{
    net::{UnixListener, UnixStream},
    time::sleep,
};

/// Time for a process that has died to let go of its files, in milliseconds. With very many of them it takes a while.
const DEATH_MS_MAX: u64 = 5_000;

/// How often it is looked whether it has.
const DEATH_CHECK_INTERVAL: Duration = Duration::from_millis(10);

/// Nothing can be handed over there.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// Other users could put a socket of their own there.
    #[error("{0} must belong to this user or to root, and only its owner may write to it")]
    Directory(PathBuf),
    /// The system refuses it.
    #[error("{path}: {source}")]
    System {
        /// What is refused.
        path: PathBuf,
        /// What the system reported.
        source: io::Error,
    },
}

/// The place at which a program hands over.
#[derive(Debug, Clone)]
pub struct Place {
    path: PathBuf,
}

/// The right to serve. It is given up when the last process that has it drops it.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

/// Who serves.
#[derive(Debug)]
pub enum Occupant {
    /// No process did, and this one does from now on.
    Myself(Lock),
    /// Another one.
    Other,
}

impl Place {
    /// The place with its socket at this path.
    ///
    /// # Errors
    /// The directory does not exist, or other users may write to it.
    pub fn at(path: &Path) -> Result<Self, Unusable> {
        let place = Self { path: path.to_owned() };
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let metadata = fs::metadata(directory).map_err(|error| system(directory, error))?;
        let is_owned = [0, geteuid().as_raw()].contains(&metadata.uid());
        if !metadata.is_dir() || !is_owned || metadata.mode() & 0o022 != 0 {
            return Err(Unusable::Directory(directory.to_owned()));
        }
        Ok(place)
    }

    /// Where the socket is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(suffix);
        name.into()
    }

    /// Takes the lock, if it is free.
    ///
    /// # Errors
    /// The lock cannot be opened.
    pub fn occupy(&self) -> Result<Occupant, Unusable> {
        let path = self.beside(".lock");
        let mut options = File::options();
        let lock = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let lock = lock.map_err(|error| system(&path, error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Occupant::Myself(Lock { file: lock })),
            Err(TryLockError::WouldBlock) => Ok(Occupant::Other),
            Err(TryLockError::Error(error)) => Err(system(&path, error)),
        }
    }

    /// As [`Place::occupy`], after the process that holds the lock has ended the channel. If it has died, it lets go of the lock a
    /// moment later.
    ///
    /// # Errors
    /// The lock cannot be opened.
    pub async fn occupy_after_end(&self) -> Result<Occupant, Unusable> {
        let begun = Clock::start();
        loop {
            let occupant = self.occupy()?;
            if matches!(occupant, Occupant::Myself(_)) || begun.now_ms() >= DEATH_MS_MAX {
                return Ok(occupant);
            }
            sleep(DEATH_CHECK_INTERVAL).await;
        }
    }

    /// Listens for the next process. The lock shows that no other process does. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn listen(&self, _: &Lock) -> Result<UnixListener, Unusable> {
        // Nothing can connect before the mode is set, and the former socket is there until this one is.
        let path = self.beside(".new");
        let listen = || {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            let listener = UnixListener::bind(&path)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
            fs::rename(&path, &self.path)?;
            Ok(listener)
        };
        listen().map_err(|error| system(&self.path, error))
    }

    /// Connects to the process that serves.
    ///
    /// # Errors
    /// No process of this user or of root listens there.
    pub async fn connect(&self) -> Result<Channel, Unusable> {
        let connect = async { checked(UnixStream::connect(&self.path).await?) };
        connect.await.map_err(|error| system(&self.path, error))
    }

    /// The next process that connects. Cancel safe.
    ///
    /// # Errors
    /// It is not one of this user or of root, or is gone already.
    pub async fn accept(listener: &UnixListener) -> io::Result<Channel> {
        checked(listener.accept().await?.0)
    }
}

/// A channel, if the process at the other end has the same user as this one, or is root's.
fn checked(stream: UnixStream) -> io::Result<Channel> {
    let user = stream.peer_cred()?.uid();
    if user == geteuid().as_raw() || user == 0 {
        return Ok(Channel::new(stream));
    }
    let reason = format!("the other process belongs to user {user}");
    Err(io::Error::new(io::ErrorKind::PermissionDenied, reason))
}

impl Lock {
    /// The lock that another process has passed on.
    pub fn passed_on(lock: OwnedFd) -> Self {
        Self { file: lock.into() }
    }

    /// The number of the round that has begun last.
    pub fn round(&self) -> u64 {
        let mut round = [0; 8];
        // An empty file is one of a place at which nothing was ever handed over.
        match self.file.read_exact_at(&mut round, 0) {
            Ok(()) => u64::from_le_bytes(round),
            Err(_) => 0,
        }
    }

    /// Begins another round: what was begun before can be completed by nobody.
    ///
    /// # Errors
    /// The file cannot be written to.
    pub fn begin_round(&self) -> io::Result<u64> {
        let round = self.round().wrapping_add(1);
        self.file.write_all_at(&round.to_le_bytes(), 0)?;
        Ok(round)
    }

    /// What to pass on.
    pub fn to_pass_on(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn system(path: &Path, source: io::Error) -> Unusable {
    Unusable::System { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(folder: &tempfile::TempDir) -> Place {
        Place::at(&folder.path().join("socket")).unwrap()
    }

    #[tokio::test]
    async fn a_seat_passes_from_one_process_to_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let place = place(&folder);
        let Occupant::Myself(lock) = place.occupy().unwrap() else { panic!("it is free") };
        let listener = place.listen(&lock).unwrap();
        assert_eq!(fs::metadata(place.path()).unwrap().mode() & 0o777, 0o600);
        assert!(matches!(place.occupy().unwrap(), Occupant::Other));
        let (old, new) = tokio::join!(Place::accept(&listener), place.connect());
        let (mut old, mut new) = (old.unwrap(), new.unwrap());
        assert_eq!(old.peer_process(), Some(std::process::id()));
        old.send(b"", &[lock.to_pass_on()]).await.unwrap();
        drop(lock);
        let passed = Lock::passed_on(new.receive().await.unwrap().unwrap().files.remove(0));
        assert!(matches!(place.occupy().unwrap(), Occupant::Other));
        // The socket is replaced without a gap.
        let next = place.listen(&passed).unwrap();
        let (accepted, connected) = tokio::join!(Place::accept(&next), place.connect());
        assert!(accepted.is_ok() && connected.is_ok());
        let round = passed.begin_round().unwrap();
        drop(passed);
        let Occupant::Myself(lock) = place.occupy().unwrap() else { panic!("it is free") };
        assert_eq!(lock.round(), round);
        assert_eq!(lock.begin_round().unwrap(), round + 1);
    }

    #[test]
    fn a_directory_of_others_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for mode in [0o777, 0o770, 0o1777] {
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
            let refused = Place::at(&folder.path().join("socket"));
            assert!(matches!(refused, Err(Unusable::Directory(_))), "{mode:o}");
        }
        assert!(matches!(Place::at(&folder.path().join("none/socket")), Err(Unusable::System { .. })));
    }
}
