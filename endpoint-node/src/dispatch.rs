//! The decision: a notification is stored, then handed over now or left for later.
//!
//! What is stored depends on the dialect: of SimplePush the version, of Web Push the message, unless its TTL is 0.

use crate::metrics::{Metrics, outcome_name};
use beckon_node::{
    step_failures::StepFailures,
    trace::{Kind, Tracer},
};
use beckon_ops::{clock::Clock, stage::Stage};
use beckon_proto::delivery::{Deliver, Parcel, Receipt, Undelivered};
use beckon_store::{Answer, Store, StoreError};
use beckon_types::{
    Cause, ClientId, Dialect, FindChannel, FindChannelOutcome, Message, MessageId, Notification, Place,
    Presence, PutMessage, PutMessageOutcome, PutVersion, PutVersionOutcome, Sequence, Update,
};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Stale presences that are released at the same time. One more is left alone: the next notification to the same
/// client finds it stale again.
const RELEASES_MAX: usize = 256;

/// What became of a notification that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// A live socket has it.
    Delivered,
    /// It waits in the store for the client. A message with TTL 0 is not stored, and so is lost.
    Stored,
}

/// The store did not perform a step, or did not say whether it did. The reason has been logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StoreFailed;

/// Why a version is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VersionRefused {
    /// The UAID was deleted, or the channel is not registered.
    Gone,
    /// The store failed.
    Storage,
}

/// Why a message is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MessageRefused {
    /// The UAID was deleted.
    UaidGone,
    /// The channel is not registered, or was registered again with another key.
    ChannelGone,
    /// The client has as many stored messages as it may have (PROTOCOL.md section 4.9).
    Full,
    /// The store failed.
    Storage,
}

impl From<StoreFailed> for VersionRefused {
    fn from(StoreFailed: StoreFailed) -> Self {
        Self::Storage
    }
}

impl From<StoreFailed> for MessageRefused {
    fn from(StoreFailed: StoreFailed) -> Self {
        Self::Storage
    }
}

/// A write that the store has taken.
#[derive(Debug, Clone, Copy)]
struct Write {
    client: ClientId,
    /// The connection that has the client.
    presence: Option<Presence>,
    /// The write to the client before it.
    previous: Sequence,
    /// When the store had taken it, in microseconds.
    stored_us: u64,
}

/// Stores notifications and hands them over. Clones share everything.
#[derive(Debug, Clone)]
pub(crate) struct Dispatcher {
    store: Arc<dyn Store>,
    nodes: Arc<dyn Deliver>,
    metrics: Metrics,
    clock: Clock,
    failures: Arc<StepFailures>,
    /// Owns the releases under way.
    stage: Stage,
    release_permits: Arc<Semaphore>,
    tracer: Tracer,
}

impl Dispatcher {
    /// Stores in `store` and hands over to `nodes`. Tasks that outlive a request belong to `stage`.
    pub(crate) fn new(
        store: Arc<dyn Store>,
        nodes: Arc<dyn Deliver>,
        metrics: Metrics,
        clock: Clock,
        stage: Stage,
        tracer: Tracer,
    ) -> Self {
        Self {
            store,
            nodes,
            failures: Arc::new(StepFailures::new(metrics.steps_failed.clone())),
            metrics,
            clock,
            stage,
            release_permits: Arc::new(Semaphore::new(RELEASES_MAX)),
            tracer,
        }
    }

    /// A clone for a worker, which has its own links to the store.
    pub(crate) fn with_store(&self, store: Arc<dyn Store>) -> Self {
        Self { store, ..self.clone() }
    }

    /// Stores a version, then hands it over if its client is connected; `data` goes only to a connected client. The
    /// time limits of the store and of [`Deliver`] bound how long this takes.
    pub(crate) async fn accept_version(
        &self,
        put: PutVersion,
        data: Option<Arc<str>>,
        cause: &Cause,
    ) -> Result<Accepted, VersionRefused> {
        let PutVersion { client, channel, version } = put;
        // Stored before it is handed over or answered: a crash from here on must not lose it.
        let began_us = self.clock.now_us();
        let stored = self.traced(cause, "put_version", self.store.put_version(put)).await;
        let stored_us = self.clock.now_us();
        self.metrics.store_duration.observe(began_us, stored_us);
        let (sequence, write) = match self.logged(stored)? {
            PutVersionOutcome::Stored { sequence, previous, presence } => {
                (sequence, Write { client, presence, previous, stored_us })
            }
            PutVersionOutcome::Gone => return Err(VersionRefused::Gone),
        };
        let update = Notification::Update(Update { channel, version, sequence, data });
        Ok(self.hand_over(Dialect::SimplePush, write, update, cause).await)
    }

    /// Stores a message, unless its TTL is zero, then hands it over if its client is connected; returns its id. The
    /// time limits of the store and of [`Deliver`] bound how long this takes.
    pub(crate) async fn accept_message(
        &self,
        put: PutMessage,
        cause: &Cause,
    ) -> Result<MessageId, MessageRefused> {
        let PutMessage { client, channel, key, nonce, topic, .. } = put;
        let draft = put.draft.clone();
        // Stored before it is handed over or answered: a crash from here on must not lose it.
        let began_us = self.clock.now_us();
        let stored = self.traced(cause, "put_message", self.store.put_message(put)).await;
        let stored_us = self.clock.now_us();
        self.metrics.store_duration.observe(began_us, stored_us);
        let (sequence, write) = match self.logged(stored)? {
            PutMessageOutcome::Accepted { sequence, previous, presence } => {
                (sequence, Write { client, presence, previous, stored_us })
            }
            PutMessageOutcome::UaidGone => return Err(MessageRefused::UaidGone),
            PutMessageOutcome::ChannelGone => return Err(MessageRefused::ChannelGone),
            PutMessageOutcome::Full => return Err(MessageRefused::Full),
        };
        let place = Place { sequence, nonce, topic };
        let is_stored = !draft.ttl.is_zero();
        let message = Notification::Message(Message { channel, place, key, draft });
        match self.hand_over(Dialect::WebPush, write, message, cause).await {
            Accepted::Stored if !is_stored => {
                self.metrics.messages_dropped.inc();
            }
            Accepted::Delivered | Accepted::Stored => {}
        }
        Ok(MessageId { client, place })
    }

    /// Checks that a channel is registered, without sending to it. The store's time limit bounds how long this takes.
    pub(crate) async fn find_channel(&self, channel: FindChannel) -> Result<(), MessageRefused> {
        let found = self.store.find_channel(channel).await;
        match self.logged(found)? {
            FindChannelOutcome::Registered => Ok(()),
            FindChannelOutcome::UaidGone => Err(MessageRefused::UaidGone),
            FindChannelOutcome::ChannelGone => Err(MessageRefused::ChannelGone),
        }
    }

    /// Deletes a message if it is still stored. The store's time limit bounds how long this takes.
    pub(crate) async fn cancel(&self, message: MessageId, cause: &Cause) -> Result<(), StoreFailed> {
        let MessageId { client, place } = message;
        let removing = self.store.remove_messages(client, vec![place]);
        let removed = self.traced(cause, "remove_messages", removing).await;
        self.logged(removed)
    }

    /// Hands a notification over to the connection that has the client, if one does.
    async fn hand_over(
        &self,
        dialect: Dialect,
        write: Write,
        notification: Notification,
        cause: &Cause,
    ) -> Accepted {
        let Write { client, presence, previous, stored_us } = write;
        let Some(presence) = presence else {
            self.metrics.count_notification(dialect, None);
            return Accepted::Stored;
        };
        let is_stored =
            !matches!(&notification, Notification::Message(message) if message.draft.ttl.is_zero());
        let mut span = self.tracer.child(cause.trace.as_deref(), "deliver", Kind::Producer);
        // What happens on the other node follows from this span.
        let trace = span.context().cloned().map(Box::new);
        let cause = Cause { request: cause.request, trace };
        let parcel = Parcel { to: presence, notification, previous: Some(previous), cause };
        let receipt = self.nodes.deliver(parcel).await;
        span.set("beckon.outcome", outcome_name(Some(receipt)));
        drop(span);
        self.metrics.count_notification(dialect, Some(receipt));
        self.metrics.delivery_duration.observe(stored_us, self.clock.now_us());
        match receipt {
            Ok(Receipt::Delivered) => Accepted::Delivered,
            Ok(Receipt::NotHere) => {
                self.release(client, presence);
                Accepted::Stored
            }
            // A node that is still alive verifies the claims of its clients when it is back.
            Err(Undelivered::NodeLongGone) => {
                self.release(client, presence);
                Accepted::Stored
            }
            // A busy connection re-reads the store by itself.
            Ok(Receipt::Busy) => Accepted::Stored,
            // A node without a lease may be alive and cut off only from the store, so the presences of its clients are
            // left alone.
            Err(_) => {
                if is_stored {
                    self.note_missed(presence).await;
                }
                Accepted::Stored
            }
        }
    }

    /// Leaves word in the store that a connection has missed something, before the sender is answered: then the connection
    /// hears of it even if this node ends now.
    async fn note_missed(&self, presence: Presence) {
        // If the store fails, the link still remembers the connection, and the connection verifies its claim in a while.
        let _ = self.logged(self.store.note_missed(presence).await);
    }

    /// Clears a stale presence in a task of its own: the sender's answer does not wait for it.
    fn release(&self, client: ClientId, presence: Presence) {
        let Ok(permit) = self.release_permits.clone().try_acquire_owned() else {
            self.metrics.releases_skipped.inc();
            return;
        };
        let released = self.store.release(client, presence, None);
        let (failures, clock) = (self.failures.clone(), self.clock);
        self.stage.spawn(async move {
            if let Err(error) = released.await {
                // The next notification tries again.
                failures.record(&error, clock.now_ms());
            }
            drop(permit);
        });
    }

    /// Waits for a step of the store, as a span of the request.
    async fn traced<T>(&self, cause: &Cause, step: &'static str, answer: Answer<T>) -> Result<T, StoreError> {
        let mut span = self.tracer.child(cause.trace.as_deref(), "store", Kind::Client);
        span.set("db.operation.name", step);
        let outcome = answer.await;
        if let Err(error) = &outcome {
            span.fail(error.cause().label());
        }
        outcome
    }

    /// Counts a step that failed, and logs why once per cause and minute: the answer does not say it.
    fn logged<T>(&self, step: Result<T, StoreError>) -> Result<T, StoreFailed> {
        let error = match step {
            Ok(outcome) => return Ok(outcome),
            Err(error) => error,
        };
        self.failures.record(&error, self.clock.now_ms());
        Err(StoreFailed)
    }
}
