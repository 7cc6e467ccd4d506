//! The decision: a notification is stored, then handed over now, or left for later.

use crate::metrics::{Metrics, Outcome, seconds};
use ops::clock::Clock;
use proto::delivery::{Deliver, Parcel, Receipt};
use std::sync::Arc;
use store::{Store, StoreError};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use types::{
    key_ring::KeyRing,
    notification::{Notification, Update},
    presence::Presence,
    step::{PutOutcome, PutVersion},
    token::Endpoint,
    uaid::Uaid,
    version::Version,
};

/// Stale presences that are being released at a time. One more is left as it is: the next notification to the
/// same client finds it stale again.
const RELEASES_MAX: usize = 256;

/// What became of a notification that is in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// A live socket has it.
    HandedOver,
    /// It waits for the client.
    Kept,
}

/// Why a notification is not in the store.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The token was not made by this cluster, or was altered.
    InvalidToken,
    /// The UAID was deleted, or the channel is not registered.
    Gone,
    /// The store did not take it (or did not say so).
    Storage(StoreError),
}

/// Stores notifications and hands them over.
#[derive(Debug)]
pub(crate) struct Delivery {
    store: Arc<dyn Store>,
    nodes: Arc<dyn Deliver>,
    keys: KeyRing,
    metrics: Metrics,
    clock: Clock,
    releases: TaskTracker,
    release_permits: Arc<Semaphore>,
}

impl Delivery {
    /// Opens tokens with `keys`, stores in `store`, and hands over to `nodes`.
    pub(crate) fn new(
        store: Arc<dyn Store>,
        nodes: Arc<dyn Deliver>,
        keys: KeyRing,
        metrics: Metrics,
        clock: Clock,
    ) -> Self {
        let release_permits = Arc::new(Semaphore::new(RELEASES_MAX));
        Self { store, nodes, keys, metrics, clock, releases: TaskTracker::new(), release_permits }
    }

    /// Stores a version, then hands it over if its client is connected. How long this takes is bounded by the
    /// time limits of the store and of [`Deliver`].
    pub(crate) async fn put(
        &self,
        token: &str,
        version: Version,
        data: Option<Arc<str>>,
    ) -> Result<Accepted, Refused> {
        let Ok(Endpoint::SimplePush { uaid, channel }) = self.keys.open(token) else {
            return Err(Refused::InvalidToken);
        };
        // Kept before it is handed over or answered: a crash from here on must not lose it.
        let began_us = self.clock.now_us();
        let stored = self.store.put_version(PutVersion { uaid, channel, version }).await;
        let stored_us = self.clock.now_us();
        self.metrics.store_duration.observe(seconds(began_us, stored_us));
        let (sequence, presence) = match stored.map_err(Refused::Storage)? {
            PutOutcome::Stored { sequence, presence } => (sequence, presence),
            PutOutcome::Gone => return Err(Refused::Gone),
        };
        let Some(presence) = presence else {
            self.metrics.count_notification(Outcome::Offline);
            return Ok(Accepted::Kept);
        };
        let update = Update { channel, version, sequence, data };
        let accepted = self.hand_over(uaid, presence, update).await;
        self.metrics.delivery_duration.observe(seconds(stored_us, self.clock.now_us()));
        Ok(accepted)
    }

    async fn hand_over(&self, uaid: Uaid, presence: Presence, update: Update) -> Accepted {
        let parcel = Parcel { to: presence, notification: Notification::Update(update) };
        let receipt = self.nodes.deliver(parcel).await;
        self.metrics.count_notification(receipt.into());
        match receipt {
            Ok(Receipt::Delivered) => Accepted::HandedOver,
            Ok(Receipt::NotHere) => {
                self.release(uaid, presence);
                Accepted::Kept
            }
            // A busy connection looks into the store by itself. A node without a lease may be alive and only
            // cut off from the store, so its clients' presences are left to it.
            Ok(Receipt::Busy) | Err(_) => Accepted::Kept,
        }
    }

    /// Clears a stale presence, while the application server already has its answer.
    fn release(&self, uaid: Uaid, presence: Presence) {
        let Ok(permit) = self.release_permits.clone().try_acquire_owned() else {
            self.metrics.releases_skipped.inc();
            return;
        };
        let released = self.store.release(uaid, presence);
        self.releases.spawn(async move {
            if let Err(error) = released.await {
                tracing::debug!(%error, "stale presence not released, the next notification tries again");
            }
            drop(permit);
        });
    }

    /// Waits until no presence is being released any more. The store's time limit bounds it.
    pub(crate) async fn finish(&self) {
        self.releases.close();
        self.releases.wait().await;
    }
}
