//! The only thread that uses the database: group commit.
//!
//! It takes all steps that are ready, performs them in one transaction, commits that (one fsync for all of them), and
//! only then answers. While it waits for the disk, the next batch gathers. A batch that changed nothing durable is
//! not committed.

use super::{
    batch::{Batch, Memory, failed},
    step::Step,
};
use crate::StoreError;
use std::{fmt, sync::Arc, time::Duration};
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
    /// Perform what is in the queue, then close the database, and signal that it is closed.
    Close(Option<oneshot::Sender<()>>),
}

/// What the thread owns.
pub(super) struct Writer {
    pub(super) database: redb::Database,
    pub(super) memory: Memory,
    pub(super) clock: Clock,
}

impl Writer {
    /// Serves the queue until it is closed.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Order>) {
        let mut orders = Vec::with_capacity(BATCH_LEN_MAX);
        let mut closed = Vec::new();
        while queue.blocking_recv_many(&mut orders, BATCH_LEN_MAX) > 0 {
            let mut steps = Vec::with_capacity(orders.len());
            for order in orders.drain(..) {
                match order {
                    Order::Step(step) => steps.push(step),
                    Order::Close(signal) => {
                        queue.close();
                        closed.extend(signal);
                    }
                }
            }
            let committed = self.commit(&mut steps);
            if let Err(error) = &committed {
                tracing::error!(error = %error, "database failed");
            }
            for step in steps {
                step.answer(committed.clone());
            }
        }
        drop(self);
        for signal in closed {
            let _ = signal.send(());
        }
    }

    /// Performs steps in one transaction, and commits that.
    fn commit(&mut self, steps: &mut [Box<dyn Step>]) -> Result<(), StoreError> {
        let transaction = self.database.begin_write().map_err(failed)?;
        let now = (self.clock)();
        let mut batch = Batch::new(&transaction, &mut self.memory, now)?;
        for step in steps {
            step.perform(&mut batch);
        }
        let swept = batch.sweep();
        batch.note(swept.as_ref().err());
        if batch.finish()? {
            transaction.commit().map_err(failed)
        } else {
            transaction.abort().map_err(failed)
        }
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("memory", &self.memory).finish_non_exhaustive()
    }
}
