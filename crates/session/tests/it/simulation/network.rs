//! What all user agents share: the clock, the store, and whatever is on its way to sockets.

use super::store::{Store, Written};
use beckon_session::{Outcome, Settings, Step};
use beckon_types::{ConnectionId, Moment, NodeId, Notification, Presence, Sequence};
use std::time::Duration;

/// How long it takes until a store that goes back in time answers again. Fewer writes than milliseconds fit in.
const RESTART: Duration = Duration::from_secs(1);

/// What keeps a store that lies from doing harm. Tests take them away to see that it is noticed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cures {
    /// A step has a deadline: once it has failed, it is not performed any more.
    pub(super) deadlines: bool,
    /// Sequences are not below the clock, so none is used again by a store that has gone back in time.
    pub(super) clock: bool,
    /// A write says which one was before it.
    pub(super) previous: bool,
}

impl Cures {
    /// All of them.
    pub(super) const ALL: Self = Self { deadlines: true, clock: true, previous: true };
}

/// The world without its user agents.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) settings: Settings,
    pub(super) now: Moment,
    pub(super) store: Store,
    pub(super) evictions: Vec<Presence>,
    cures: Cures,
    /// Steps that have failed and can still be performed.
    forsaken: Vec<Step>,
    /// What the store goes back to.
    kept: Option<Store>,
    /// Whether the store has lost something that it had acknowledged.
    pub(super) has_gone_back: bool,
    /// Whether what is written now is called failed, so that it is not handed over.
    calls_writes_failed: bool,
    deliveries: Vec<Delivery>,
    connections: u64,
}

/// A notification on its way.
#[derive(Debug, Clone)]
pub(super) struct Delivery {
    sent: Moment,
    pub(super) to: Presence,
    pub(super) previous: Option<Sequence>,
    pub(super) notification: Notification,
}

impl Network {
    pub(super) fn new(settings: Settings, cures: Cures) -> Self {
        Self {
            settings,
            now: Moment(0),
            store: Store::new(cures.clock),
            evictions: Vec::new(),
            cures,
            forsaken: Vec::new(),
            kept: None,
            has_gone_back: false,
            calls_writes_failed: false,
            deliveries: Vec::new(),
            connections: 0,
        }
    }

    /// The presence of a new socket.
    pub(super) fn connect(&mut self) -> Presence {
        self.connections += 1;
        Presence { node: NodeId(1), connection: ConnectionId(self.connections) }
    }

    /// A step has failed without having been performed. What only takes away what is its caller's own, or was received, has
    /// no deadline.
    pub(super) fn forsake(&mut self, step: Step) {
        let is_harmless = matches!(
            step,
            Step::Release(..) | Step::NoteMissed(_) | Step::AckVersions(..) | Step::RemoveMessages(..)
        );
        if is_harmless || !self.cures.deadlines {
            self.forsaken.push(step);
        }
    }

    /// The store performs a step that has failed, and returns it.
    pub(super) fn perform_late(&mut self, n: usize) -> Option<Step> {
        let index = n % self.forsaken.len().max(1);
        (index < self.forsaken.len()).then(|| {
            let step = self.forsaken.swap_remove(index);
            let _ = self.perform(&step);
            step
        })
    }

    /// The store performs a step.
    pub(super) fn perform(&mut self, step: &Step) -> Outcome {
        if let Step::NoteMissed(to) = *step {
            let (sent, notification) = (self.now, Notification::Missed);
            self.deliveries.push(Delivery { sent, to, previous: None, notification });
        }
        self.store.perform(self.now, step.clone())
    }

    /// The store makes a snapshot of itself.
    pub(super) fn keep(&mut self) {
        self.kept = Some(self.store.clone());
    }

    /// The store goes back to its snapshot, and its clock may be behind from then on. Returns whether there is a snapshot.
    pub(super) fn go_back(&mut self, clock_is_behind: bool) -> bool {
        let Some(kept) = self.kept.clone() else { return false };
        self.store.go_back_to(kept, clock_is_behind);
        self.now = self.now + RESTART;
        self.has_gone_back = true;
        true
    }

    /// Whether nothing is on its way.
    pub(super) fn is_quiet(&self) -> bool {
        self.deliveries.is_empty() && self.evictions.is_empty()
    }

    /// What is written meanwhile is called failed.
    pub(super) fn in_vain(&mut self, write: impl FnOnce(&mut Self) -> bool) {
        self.calls_writes_failed = true;
        write(self);
        self.calls_writes_failed = false;
    }

    /// Sends a notification to the socket that has the client, unless the write is called failed.
    pub(super) fn deliver(&mut self, written: Written, notification: Notification) {
        let Written { previous, to } = written;
        let previous = Some(previous).filter(|_| self.cures.previous);
        let to = to.filter(|_| !self.calls_writes_failed);
        self.deliveries.extend(to.map(|to| Delivery { sent: self.now, to, previous, notification }));
    }

    /// A notification as it arrives, which stays on its way if `keep` is true.
    pub(super) fn arrive(&mut self, n: usize, keep: bool) -> Option<Delivery> {
        let index = n % self.deliveries.len().max(1);
        let mut delivery = self.deliveries.get(index)?.clone();
        if !keep {
            self.deliveries.remove(index);
        }
        // As an endpoint-node does with what has waited for its connection-node.
        if let Notification::Message(message) = &mut delivery.notification
            && !message.age(self.now.since(delivery.sent))
        {
            (delivery.previous, delivery.notification) = (None, Notification::Missed);
        }
        Some(delivery)
    }

    /// Replaces a notification by a nudge.
    pub(super) fn lose(&mut self, n: usize) {
        let index = n % self.deliveries.len().max(1);
        if let Some(delivery) = self.deliveries.get_mut(index) {
            (delivery.previous, delivery.notification) = (None, Notification::Missed);
        }
    }

    /// Takes an eviction.
    pub(super) fn take_eviction(&mut self, n: usize) -> Option<Presence> {
        (!self.evictions.is_empty()).then(|| self.evictions.remove(n % self.evictions.len()))
    }
}
