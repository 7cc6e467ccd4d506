//! What a server hands over to its next process: its WebSockets, its HTTP connections, and the embedded store.

use beckon_connection_node::Sockets;
use beckon_node::hand_over::{Failed, Holdings, Outgoing, Requests, Rest};
use beckon_store::embedded::{EmbeddedStore, Lent};
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;

/// Time for the database to be written to the disk, so that it closes quickly afterwards. Everything is served meanwhile.
const CHECKPOINT_MAX: Duration = Duration::from_secs(30);

/// Time for the steps of sockets that have waited for the disk.
const STEPS_MAX: Duration = Duration::from_secs(2);

/// Time for those sockets to come to rest then.
const PARK_AGAIN_MAX: Duration = Duration::from_millis(250);

/// Time for the database to close.
const LEND_MAX: Duration = Duration::from_secs(3);

/// A whole server.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) sockets: Sockets,
    pub(crate) requests: Requests,
    /// The store, if it is in this process.
    pub(crate) embedded: Option<Arc<EmbeddedStore>>,
    /// While the next process may have the store.
    pub(crate) lent: Option<Lent>,
}

impl Holdings for Whole {
    fn about(&self) -> Vec<u8> {
        self.sockets.about()
    }

    async fn prepare(&mut self) {
        if let Some(store) = &self.embedded {
            // Without it, the database takes longer to close.
            let _ = timeout(CHECKPOINT_MAX, store.checkpoint()).await;
        }
    }

    async fn settle(&mut self) -> Result<(), Failed> {
        self.sockets.settle().await
    }

    async fn park(&mut self) -> Result<(), Failed> {
        let (parked, ()) = tokio::join!(self.sockets.park(), self.requests.rest());
        parked?;
        if self.requests.is_busy() {
            // Those requests may still post to sockets what they have stored.
            self.sockets.may_miss();
        }
        if let Some(store) = &self.embedded {
            if !self.sockets.are_at_rest() {
                // After this, all steps before it are answered.
                let _ = timeout(STEPS_MAX, store.checkpoint()).await;
                self.sockets.suspend(PARK_AGAIN_MAX).await;
            }
            let lent = timeout(LEND_MAX, store.lend()).await.map_err(|_| "it takes too long".to_owned());
            let lent = lent.and_then(|lent| lent.map_err(|error| error.to_string()));
            self.lent = Some(lent.map_err(Failed::Store)?);
        }
        Ok(())
    }

    async fn send(&mut self, outgoing: &mut Outgoing<'_>) -> Result<Rest, Failed> {
        self.requests.send_rested(outgoing).await?;
        self.sockets.send(outgoing).await
    }

    async fn resume(&mut self) {
        if let Some(lent) = self.lent.take() {
            lent.reclaim().await;
        }
        self.requests.wake();
        self.sockets.resume().await;
    }

    async fn leave(&mut self) {
        if let Some(lent) = self.lent.take() {
            lent.give_away();
        }
        self.requests.forget();
        self.sockets.leave().await;
    }
}
