//! Keeps the database open: after an error it is closed, and opened again when the disk may work again.

use super::{
    database::{Database, Opener},
    open_error::OpenError,
};
use crate::{Cause, StoreError};
use std::{
    thread,
    time::{Duration, Instant},
};

/// How long it may take until another process has let go of the directory. With very many open files a process takes a while
/// to die.
const RECLAIM_MAX: Duration = Duration::from_secs(5);

/// How often that is tried.
const RECLAIM_INTERVAL: Duration = Duration::from_millis(5);

/// The time between two attempts to open the database again. Steps fail at once meanwhile.
const REOPEN_INTERVAL: Duration = Duration::from_secs(1);

/// The database, open most of the time.
#[derive(Debug)]
pub(super) struct Keeper {
    /// Closed before the opener lets go of the directory: closing it writes to its file.
    state: State,
    opener: Opener,
}

#[derive(Debug)]
enum State {
    Open(Box<Database>),
    /// It has failed, and was closed.
    Closed {
        /// The latest reason.
        error: StoreError,
        /// When it failed first.
        since: Instant,
        /// When it may be tried again.
        retry: Instant,
        /// Steps that have failed since.
        failures: u64,
    },
    /// It cannot be opened again, whatever the disk does.
    Lost(StoreError),
    /// It was closed for another process, which may have opened it.
    Lent,
}

impl Keeper {
    /// Keeps a database that was opened by this opener.
    pub(super) fn new(opener: Opener, database: Database) -> Self {
        Self { state: State::Open(Box::new(database)), opener }
    }

    /// Whether the database can never be opened again as it is.
    pub(super) fn is_lost(&self) -> bool {
        matches!(self.state, State::Lost(_))
    }

    /// The database. Opens it if it was closed and it is time to try again.
    pub(super) fn database(&mut self) -> Result<&mut Database, StoreError> {
        if let State::Closed { since, retry, failures, error } = &mut self.state {
            let now = now();
            if now < *retry {
                return Err(error.clone());
            }
            match self.opener.data_dir.lock().and_then(|()| self.opener.open()) {
                Ok(database) => {
                    let after = now.duration_since(*since);
                    tracing::info!(?after, failed_batches = *failures, "the database works again");
                    self.state = State::Open(Box::new(database));
                }
                Err(
                    reason @ (OpenError::InUse(_) | OpenError::Disk { .. } | OpenError::Directory { .. }),
                ) => {
                    *error = StoreError::unavailable(Cause::Disk, reason.to_string());
                    *retry = now + REOPEN_INTERVAL;
                    return Err(error.clone());
                }
                Err(
                    reason @ (OpenError::Newer(_)
                    | OpenError::OtherKeys(_)
                    | OpenError::OtherUaidKey(_)
                    | OpenError::Damaged { .. }),
                ) => {
                    tracing::error!(error = %reason, "the database is lost");
                    self.state = State::Lost(StoreError::unavailable(Cause::Disk, reason.to_string()));
                }
            }
        }
        match &mut self.state {
            State::Open(database) => Ok(database),
            State::Closed { error, .. } | State::Lost(error) => Err(error.clone()),
            State::Lent => Err(StoreError::unavailable(Cause::Closed, "another process has the store")),
        }
    }

    /// Closes the database, and lets another process have the directory.
    pub(super) fn lend(&mut self) {
        self.state = State::Lent;
        self.opener.data_dir.unlock();
    }

    /// Takes back what was lent. If the other process does not let go of it within [`RECLAIM_MAX`], or the disk fails, this is
    /// tried again later.
    pub(super) fn reclaim(&mut self) {
        let since = now();
        while self.opener.data_dir.lock().is_err() && now().duration_since(since) < RECLAIM_MAX {
            thread::sleep(RECLAIM_INTERVAL);
        }
        let error = StoreError::unavailable(Cause::Disk, "the database is being opened again");
        self.state = State::Closed { error, since, retry: since, failures: 0 };
        // What is wrong is the error of the next step.
        let _ = self.database();
    }

    /// Makes a checkpoint if it is time for one and the database is open.
    pub(super) fn checkpoint_if_due(&mut self) {
        if let State::Open(database) = &self.state
            && database.is_checkpoint_due()
        {
            self.checkpoint();
        }
    }

    /// Makes a checkpoint if the database is open.
    pub(super) fn checkpoint(&mut self) {
        if let State::Open(database) = &mut self.state
            && let Err(error) = database.checkpoint()
        {
            self.has_failed(&error);
        }
    }

    /// Closes the database after an error, which is logged if it is the first.
    pub(super) fn has_failed(&mut self, reason: &StoreError) {
        match &mut self.state {
            State::Open(_) => {
                tracing::error!(error = %reason, "the database failed; it is opened again when the disk works");
                let now = now();
                self.state = State::Closed {
                    error: reason.clone(),
                    since: now,
                    retry: now + REOPEN_INTERVAL,
                    failures: 1,
                };
            }
            State::Closed { failures, .. } => *failures += 1,
            State::Lost(_) | State::Lent => {}
        }
    }
}

/// The monotonic time of the operating system: it paces attempts, and nothing depends on it otherwise.
#[expect(clippy::disallowed_methods, reason = "the clock of the store can jump")]
fn now() -> Instant {
    Instant::now()
}
