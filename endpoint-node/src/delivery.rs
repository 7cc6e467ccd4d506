//! The decision: a notification is stored, then handed over now, or left for later.
//!
//! What is kept of each dialect: of SimplePush the version, of Web Push the message, unless its TTL is 0.

use crate::metrics::{Metrics, Outcome, seconds};
use beckon_ops::clock::Clock;
use beckon_proto::delivery::{Deliver, Parcel, Receipt};
use beckon_store::{Store, StoreError};
use beckon_types::{
    ChannelId, Dialect, Draft, Endpoint, FindChannel, FindChannelOutcome, InvalidEndpoint, InvalidMessageId,
    KeyHash, KeyRing, Message, MessageId, Notification, Place, Presence, PutMessage, PutMessageOutcome,
    PutVersion, PutVersionOutcome, TopicTag, Uaid, Update, Version,
};
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

/// Stale presences that are being released at a time. One more is left as it is: the next notification to the
/// same client finds it stale again.
const RELEASES_MAX: usize = 256;

/// What became of a notification that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// A live socket has it.
    HandedOver,
    /// It waits for the client, if it is one that is stored.
    Kept,
}

/// Why a version is not in the store.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The token was not made by this cluster, or was altered.
    InvalidToken,
    /// The UAID was deleted, or the channel is not registered.
    Gone,
    /// The store did not take it (or did not say so).
    Storage(StoreError),
}

/// A Web Push channel, as the token of its endpoint names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WebPushChannel {
    uaid: Uaid,
    /// The channel.
    pub(crate) channel: ChannelId,
    /// The key that an application server has to present, if there is one.
    pub(crate) restricted: Option<KeyHash>,
}

/// Why a message is not accepted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unaccepted {
    /// The UAID was deleted.
    UaidGone,
    /// The channel is not registered, or not with that key any more.
    ChannelGone,
    /// The client has as many stored messages as it may have.
    Full,
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
        path: &str,
        version: Version,
        data: Option<Arc<str>>,
    ) -> Result<Accepted, Refused> {
        let Ok(Endpoint::SimplePush { uaid, channel }) = Endpoint::from_path(&self.keys, path) else {
            return Err(Refused::InvalidToken);
        };
        // Kept before it is handed over or answered: a crash from here on must not lose it.
        let began_us = self.clock.now_us();
        let stored = self.store.put_version(PutVersion { uaid, channel, version }).await;
        let stored_us = self.clock.now_us();
        self.metrics.store_duration.observe(seconds(began_us, stored_us));
        let (sequence, presence) = match stored.map_err(Refused::Storage)? {
            PutVersionOutcome::Stored { sequence, presence } => (sequence, presence),
            PutVersionOutcome::Gone => return Err(Refused::Gone),
        };
        let update = Notification::Update(Update { channel, version, sequence, data });
        Ok(self.hand_over(Dialect::SimplePush, uaid, presence, update, stored_us).await)
    }

    /// The channel of the Web Push endpoint with this path.
    pub(crate) fn open(&self, path: &str) -> Result<WebPushChannel, InvalidEndpoint> {
        match Endpoint::from_path(&self.keys, path)? {
            Endpoint::WebPush { uaid, channel, restricted } => {
                Ok(WebPushChannel { uaid, channel, restricted })
            }
            Endpoint::SimplePush { .. } => Err(InvalidEndpoint),
        }
    }

    /// Stores a message, unless its TTL is zero, then hands it over if its client is connected; returns its id. A
    /// client has `messages_max` stored messages at most. How long this takes is bounded as for [`Delivery::put`].
    pub(crate) async fn post(
        &self,
        to: WebPushChannel,
        topic: Option<TopicTag>,
        draft: Draft,
        messages_max: u32,
    ) -> Result<String, Unaccepted> {
        let WebPushChannel { uaid, channel, restricted } = to;
        let ttl = draft.ttl;
        let key = self.keys.newest();
        let put = PutMessage { uaid, channel, restricted, key, topic, draft: draft.clone(), messages_max };
        // Kept before it is handed over or answered: a crash from here on must not lose it.
        let began_us = self.clock.now_us();
        let stored = self.store.put_message(put).await;
        let stored_us = self.clock.now_us();
        self.metrics.store_duration.observe(seconds(began_us, stored_us));
        let (sequence, presence) = match stored.map_err(Unaccepted::Storage)? {
            PutMessageOutcome::Accepted { sequence, presence } => (sequence, presence),
            PutMessageOutcome::UaidGone => return Err(Unaccepted::UaidGone),
            PutMessageOutcome::ChannelGone => return Err(Unaccepted::ChannelGone),
            PutMessageOutcome::Full => return Err(Unaccepted::Full),
        };
        let place = Place { sequence, topic };
        let message = Notification::Message(Message { channel, place, key, draft });
        match self.hand_over(Dialect::WebPush, uaid, presence, message, stored_us).await {
            Accepted::Kept if ttl.is_zero() => {
                self.metrics.messages_dropped.inc();
            }
            Accepted::HandedOver | Accepted::Kept => {}
        }
        Ok(MessageId { uaid, place }.seal(&self.keys, key))
    }

    /// Asks whether a channel would take a message, for one that cannot be sent anyway. The store's time limit bounds
    /// how long it takes.
    pub(crate) async fn find(&self, channel: WebPushChannel) -> Result<(), Unaccepted> {
        let WebPushChannel { uaid, channel, restricted } = channel;
        let found = self.store.find_channel(FindChannel { uaid, channel, restricted }).await;
        match found.map_err(Unaccepted::Storage)? {
            FindChannelOutcome::Registered => Ok(()),
            FindChannelOutcome::UaidGone => Err(Unaccepted::UaidGone),
            FindChannelOutcome::ChannelGone => Err(Unaccepted::ChannelGone),
        }
    }

    /// Deletes the message with this id, if it is still stored. The store's time limit bounds how long it takes.
    pub(crate) async fn cancel(&self, id: &str) -> Result<Result<(), StoreError>, InvalidMessageId> {
        let MessageId { uaid, place } = MessageId::open(&self.keys, id)?;
        Ok(self.store.remove_messages(uaid, vec![place]).await)
    }

    /// Hands a notification over to the connection that has the client, if one does. `stored_us` is when the store
    /// had taken it.
    async fn hand_over(
        &self,
        dialect: Dialect,
        uaid: Uaid,
        presence: Option<Presence>,
        notification: Notification,
        stored_us: u64,
    ) -> Accepted {
        let Some(presence) = presence else {
            self.metrics.count_notification(dialect, Outcome::Offline);
            return Accepted::Kept;
        };
        let receipt = self.nodes.deliver(Parcel { to: presence, notification }).await;
        self.metrics.count_notification(dialect, receipt.into());
        self.metrics.delivery_duration.observe(seconds(stored_us, self.clock.now_us()));
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
