//! Handing the data directory over to another process: this one closes the database, and opens it again if the other one does
//! not take it.

use super::{
    EmbeddedStore, closed,
    seats::Seat,
    writer::{Lent, Loan, Order},
};
use crate::{Answer, StoreError};
use beckon_types::{ClientId, Dialect, Presence};
use tokio::sync::oneshot;

impl EmbeddedStore {
    /// Writes the database to the disk, so that little is left to do when it is closed soon after.
    ///
    /// # Errors
    /// The store is closed.
    pub async fn checkpoint(&self) -> Result<(), StoreError> {
        let (caller, made) = oneshot::channel();
        self.queue.send(Order::Checkpoint(caller)).await.map_err(|_| closed())?;
        made.await.map_err(|_| closed())
    }

    /// Performs what was asked for before this, closes the database, and lets another process have the data directory. Steps
    /// wait from then on, within their time limits, until it is known whether the directory comes back.
    ///
    /// # Errors
    /// The store is closed.
    pub async fn lend(&self) -> Result<Lent, StoreError> {
        let ((lent, is_lent), (comes_back, answer)) = (oneshot::channel(), oneshot::channel());
        let (back, is_back) = oneshot::channel();
        let loan = Loan { lent, comes_back: answer, is_back: back };
        self.queue.send(Order::Lend(loan)).await.map_err(|_| closed())?;
        is_lent.await.map_err(|_| closed())?;
        Ok(Lent { comes_back, is_back })
    }

    /// Notes which sockets own which clients: those of the process that has had the store before.
    ///
    /// # Errors
    /// The database does not work.
    pub fn seat(&self, claims: Vec<(ClientId, Presence, Dialect)>) -> Answer<()> {
        self.submit(move |batch| {
            for &(client, presence, dialect) in &claims {
                batch.memory.seats.insert(client, Seat { presence, dialect });
            }
            Ok(())
        })
    }
}
