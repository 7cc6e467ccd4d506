//! What all user agents share: the clock, the store, and whatever is on its way to sockets.

use super::store::Store;
use beckon_session::Settings;
use beckon_types::{ConnectionId, Moment, NodeId, Notification, Presence};

/// The world without its user agents.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) settings: Settings,
    pub(super) now: Moment,
    pub(super) store: Store,
    pub(super) evictions: Vec<Presence>,
    deliveries: Vec<Delivery>,
    connections: u64,
}

/// A notification on its way.
#[derive(Debug, Clone)]
pub(super) struct Delivery {
    sent: Moment,
    pub(super) to: Presence,
    pub(super) notification: Notification,
}

impl Network {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            now: Moment(0),
            store: Store::default(),
            evictions: Vec::new(),
            deliveries: Vec::new(),
            connections: 0,
        }
    }

    /// The presence of a new socket.
    pub(super) fn connect(&mut self) -> Presence {
        self.connections += 1;
        Presence { node: NodeId(1), connection: ConnectionId(self.connections) }
    }

    /// Whether nothing is on its way.
    pub(super) fn is_quiet(&self) -> bool {
        self.deliveries.is_empty() && self.evictions.is_empty()
    }

    /// Sends a notification to the socket that has the client.
    pub(super) fn deliver(&mut self, to: Option<Presence>, notification: Notification) {
        self.deliveries.extend(to.map(|to| Delivery { sent: self.now, to, notification }));
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
            delivery.notification = Notification::Missed;
        }
        Some(delivery)
    }

    /// Replaces a notification by a nudge.
    pub(super) fn lose(&mut self, n: usize) {
        let index = n % self.deliveries.len().max(1);
        if let Some(delivery) = self.deliveries.get_mut(index) {
            delivery.notification = Notification::Missed;
        }
    }

    /// Takes an eviction.
    pub(super) fn take_eviction(&mut self, n: usize) -> Option<Presence> {
        (!self.evictions.is_empty()).then(|| self.evictions.remove(n % self.evictions.len()))
    }
}
