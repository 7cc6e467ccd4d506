//! Keeps the database open: after an error it is closed, and opened again when the disk may work again.

use super::{
    database::{Database, Opener},
    open_error::OpenError,
};
use crate::{Cause, StoreError};
use std::time::{Duration, Instant};

/// The time between two attempts to open the database again. Steps fail at once meanwhile.
const REOPEN_INTERVAL: Duration = Duration::from_secs(1);

/// The database, open most of the time.
#[derive(Debug)]
pub(super) struct Keeper {
    opener: Opener,
    state: State,
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
}

impl Keeper {
    /// Keeps a database that was opened by this opener.
    pub(super) fn new(opener: Opener, database: Database) -> Self {
        Self { opener, state: State::Open(Box::new(database)) }
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
            match self.opener.open() {
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
        }
    }

    /// Makes a checkpoint if it is time for one and the database is open.
    pub(super) fn checkpoint_if_due(&mut self) {
        if let State::Open(database) = &mut self.state
            && database.is_checkpoint_due()
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
            State::Lost(_) => {}
        }
    }
}

/// The monotonic time of the operating system: it paces attempts, and nothing depends on it otherwise.
#[expect(clippy::disallowed_methods, reason = "the clock of the store can jump")]
fn now() -> Instant {
    Instant::now()
}
