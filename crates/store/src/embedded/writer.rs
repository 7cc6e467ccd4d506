//! The one thread that has the database: group commit.
//!
//! It takes whatever steps are ready, performs them in one transaction, commits that (one fsync for all of
//! them), and only then answers. While it waits for the disk the next batch gathers. A batch that changed
//! nothing durable is not committed.

use super::{
    Clock,
    clients::{Batch, Memory, failed},
    message::KEY_LEN,
};
use crate::{Cause, StoreError};
use redb::{Database, TableDefinition};
use tokio::sync::{mpsc, oneshot};

/// Steps that wait for the writer. A further one waits for its turn, within its time limit.
pub(super) const QUEUE_LEN_MAX: usize = 4096;

/// Steps in one transaction.
const BATCH_LEN_MAX: usize = 1024;

/// The records of the clients, by UAID.
pub(super) const CLIENTS: TableDefinition<'_, &[u8; 16], &[u8]> = TableDefinition::new("clients");

/// What the stored messages carry, by UAID and sequence.
pub(super) const MESSAGES: TableDefinition<'_, &[u8; KEY_LEN], &[u8]> = TableDefinition::new("messages");

/// The version of each broadcast, by its id.
pub(super) const BROADCASTS: TableDefinition<'_, &str, &str> = TableDefinition::new("broadcasts");

/// Numbers about the database: `format`, `epoch`, and the revision of the broadcasts, `broadcasts`.
pub(super) const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");

/// Performs a step, and gives what answers it once the batch is committed, or is not.
pub(super) type Step = Box<dyn FnOnce(&mut Batch<'_, '_>) -> Reply + Send>;

/// Answers a step.
pub(super) type Reply = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// What the writer is told.
pub(super) enum Order {
    /// Perform a step.
    Step(Step),
    /// Perform what is in the queue, close the database, and say so.
    Close(Option<oneshot::Sender<()>>),
}

/// The thread's own.
pub(super) struct Writer {
    pub(super) database: Database,
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
                    Order::Close(told) => {
                        queue.close();
                        closed.extend(told);
                    }
                }
            }
            if let Err(error) = self.perform(steps) {
                // The steps were answered, or their callers see that the answer is dropped.
                tracing::error!(error = %error, "database failed");
            }
        }
        drop(self);
        for told in closed {
            let _ = told.send(());
        }
    }

    /// Performs steps in one transaction and answers them.
    fn perform(&mut self, steps: Vec<Step>) -> Result<(), StoreError> {
        let unavailable = |error: &dyn std::fmt::Display| {
            StoreError::unavailable(Cause::Disk, format!("database: {error}"))
        };
        let transaction = self.database.begin_write().map_err(|error| unavailable(&error))?;
        let now = (self.clock)();
        let mut batch =
            Batch::new(&transaction, &mut self.memory, now).map_err(|error| unavailable(&error))?;
        let replies: Vec<_> = steps.into_iter().map(|step| step(&mut batch)).collect();
        let swept = batch.sweep();
        batch.note(swept.as_ref().err());
        let ended = match batch.finish() {
            Ok(true) => transaction.commit().map_err(|error| unavailable(&error)),
            Ok(false) => transaction.abort().map_err(failed),
            Err(error) => Err(error),
        };
        for reply in replies {
            reply(ended.clone());
        }
        ended
    }
}
