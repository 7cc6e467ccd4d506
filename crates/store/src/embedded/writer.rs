//! The only thread that uses the database: group commit.
//!
//! It takes all steps that are ready, performs them in one transaction, commits that (one fsync for all of them), and
//! only then answers. While it waits for the disk, the next batch gathers. A batch that changed nothing durable is
//! not committed. Between two batches it makes a checkpoint now and then.
//!
//! After an I/O error redb refuses everything until it is opened again, which [`Keeper`] does.

use super::{
    backup::Backup,
    batch::{Batch, Memory, failed},
    keeper::Keeper,
    step::Step,
    time::Moment,
};
use crate::{Cause, StoreError};
use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};
use tokio::sync::{mpsc, oneshot};

/// Returns the time since the Unix epoch.
pub type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// Most steps that wait for the writer. A further one waits until there is room, within its time limit.
pub(super) const QUEUE_LEN_MAX: usize = 4096;

/// Most steps in one transaction.
const BATCH_LEN_MAX: usize = 1024;

/// What the writer is asked to do.
#[derive(Debug)]
pub(super) enum Order {
    /// Perform a step.
    Step(Box<dyn Step>),
    /// Perform what is in front of this, then begin a backup.
    Backup(oneshot::Sender<Result<Backup, StoreError>>),
    /// Perform what is in front of this, make a checkpoint, and signal that it is made.
    Checkpoint(oneshot::Sender<()>),
    /// Perform what is in front of this, then let another process have the data directory.
    Lend(Loan),
    /// Perform what is in the queue, then close the database, and signal that it is closed.
    Close(Option<oneshot::Sender<()>>),
}

/// The data directory is lent to another process.
#[derive(Debug)]
pub(super) struct Loan {
    /// Signalled when the directory can be opened.
    pub(super) lent: oneshot::Sender<()>,
    /// Says whether it comes back; if not, no step is performed any more.
    pub(super) comes_back: oneshot::Receiver<bool>,
    /// Signalled when the database is open again, or an attempt has failed.
    pub(super) is_back: oneshot::Sender<()>,
}

/// A data directory that another process may use. It comes back when this is dropped.
#[derive(Debug)]
pub struct Lent {
    pub(super) comes_back: oneshot::Sender<bool>,
    pub(super) is_back: oneshot::Receiver<()>,
}

impl Lent {
    /// Takes the directory back from a process that has died, or lets go of it soon. If it does not, steps fail, and it is tried
    /// again and again.
    pub async fn reclaim(self) {
        // Fails only if the store is closed.
        let _ = self.comes_back.send(true);
        let _ = self.is_back.await;
    }

    /// Another process has the directory from now on. Steps fail at once.
    pub fn give_away(self) {
        let _ = self.comes_back.send(false);
    }
}

/// What the thread owns.
pub(super) struct Writer {
    pub(super) keeper: Keeper,
    pub(super) memory: Memory,
    pub(super) clock: Clock,
}

/// Why a batch was not committed.
enum Failed {
    /// A step came across damaged pages. The other steps may succeed without it.
    Step,
    /// The database does not work until it is opened again.
    Database(StoreError),
}

impl Writer {
    /// Serves the queue until it is closed. Ends early, which ends the program, if the database can never be opened
    /// again as it is.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Order>) {
        let mut orders = Vec::with_capacity(BATCH_LEN_MAX);
        let mut closed = Vec::new();
        while !self.keeper.is_lost() && queue.blocking_recv_many(&mut orders, BATCH_LEN_MAX) > 0 {
            let mut steps = Vec::with_capacity(orders.len());
            let (mut backups, mut checkpoints, mut loans) = (Vec::new(), Vec::new(), Vec::new());
            for order in orders.drain(..) {
                match order {
                    Order::Step(step) => steps.push(step),
                    Order::Backup(caller) => backups.push(caller),
                    Order::Checkpoint(caller) => checkpoints.push(caller),
                    Order::Lend(loan) => loans.push(loan),
                    Order::Close(signal) => {
                        queue.close();
                        closed.extend(signal);
                    }
                }
            }
            self.perform(&mut steps);
            for step in steps {
                step.answer();
            }
            for caller in backups {
                let database = self.keeper.database();
                // A caller that has given up does not want it.
                let _ = caller.send(database.and_then(|database| database.backup().map_err(failed)));
            }
            self.keeper.checkpoint_if_due();
            for caller in checkpoints {
                self.keeper.checkpoint();
                let _ = caller.send(());
            }
            loans.into_iter().for_each(|loan| self.lend(loan));
        }
        drop(self);
        for signal in closed {
            let _ = signal.send(());
        }
    }

    /// Lends the directory. Meanwhile steps wait in the queue.
    fn lend(&mut self, loan: Loan) {
        let Loan { lent, comes_back, is_back } = loan;
        self.keeper.lend();
        // The borrower may have gone already.
        let _ = lent.send(());
        if comes_back.blocking_recv().unwrap_or(true) {
            self.keeper.reclaim();
            let _ = is_back.send(());
        }
    }

    /// Performs steps in one transaction, or each in its own if one of them meets damaged pages.
    fn perform(&mut self, steps: &mut [Box<dyn Step>]) {
        let now = self.memory.look((self.clock)());
        match self.commit(now, steps) {
            Ok(()) => {}
            Err(Failed::Database(error)) => self.fail(steps, error),
            Err(Failed::Step) => {
                for step in steps.chunks_mut(1) {
                    match self.commit(now, step) {
                        Ok(()) => {}
                        Err(Failed::Step) => {
                            let reason = "database: pages that the step needs are damaged";
                            step.iter_mut().for_each(|step| {
                                step.fail(StoreError::unavailable(Cause::Damaged, reason));
                            });
                        }
                        Err(Failed::Database(error)) => self.fail(step, error),
                    }
                }
            }
        }
    }

    fn fail(&mut self, steps: &mut [Box<dyn Step>], error: StoreError) {
        self.keeper.has_failed(&error);
        for step in steps {
            step.fail(error.clone());
        }
    }

    /// Performs steps in one transaction, and commits that. If it fails, nothing is changed.
    fn commit(&mut self, now: Moment, steps: &mut [Box<dyn Step>]) -> Result<(), Failed> {
        let database = self.keeper.database().map_err(Failed::Database)?;
        let memory = &mut self.memory;
        let mut is_committing = false;
        // redb panics on some damaged pages, and rolls the transaction back.
        let committed = catch_unwind(AssertUnwindSafe(|| {
            let transaction = database.begin().map_err(|error| Failed::Database(whole(error)))?;
            let mut batch = Batch::new(&transaction, memory, now).map_err(step_failed)?;
            for step in steps {
                step.perform(&mut batch);
            }
            let swept = batch.sweep();
            batch.note(swept.as_ref().err());
            let changes = batch.finish().map_err(step_failed)?;
            is_committing = true;
            let ended = match changes {
                Some(changes) => database.commit(transaction, &changes),
                None => transaction.abort().map_err(failed),
            };
            ended.map_err(|error| Failed::Database(whole(error)))
        }));
        let committed = committed.unwrap_or_else(|_| match is_committing {
            false => Err(Failed::Step),
            // The log may have the batch.
            true => {
                Err(Failed::Database(StoreError::unavailable(Cause::Disk, "database: commit has panicked")))
            }
        });
        match &committed {
            Ok(()) => self.memory.keep(),
            Err(_) => self.memory.take_back(),
        }
        committed
    }
}

/// The reason for which a step has failed.
fn step_failed(error: StoreError) -> Failed {
    if error.cause() == Cause::Damaged { Failed::Step } else { Failed::Database(error) }
}

/// An error at the beginning or the end of a transaction is never about one step: redb says that it is corrupted also
/// when it only has to be opened again.
fn whole(error: StoreError) -> StoreError {
    match error {
        StoreError::Unavailable { cause: Cause::Damaged, reason } => {
            StoreError::unavailable(Cause::Disk, reason)
        }
        error @ (StoreError::Unavailable { .. } | StoreError::Unreadable(_)) => error,
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("memory", &self.memory).finish_non_exhaustive()
    }
}
