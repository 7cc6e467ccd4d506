//! The directory of a single process. It is in memory, since its nodes end with the process.

use crate::{LEASE, MISSED_MAX, Missed, NodeEntry};
use beckon_types::{ConnectionId, NodeId, Presence};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// The nodes that announced themselves, and the ends of their leases.
type Leases = BTreeMap<NodeId, (NodeEntry, Duration)>;

/// The directory. What a batch changes is taken back if the batch fails.
#[derive(Debug, Default)]
pub(super) struct Directory {
    leases: Leases,
    /// As it was before the batch, if the batch has changed it.
    before: Option<Leases>,
    /// The sockets that have missed something.
    missed: BTreeSet<(NodeId, ConnectionId)>,
}

impl Directory {
    /// Announces a node. Returns true if it had no lease.
    pub(super) fn announce(&mut self, now: Duration, entry: NodeEntry) -> bool {
        self.change();
        self.leases.retain(|_, (_, end)| *end > now);
        self.leases.insert(entry.node, (entry, now + LEASE)).is_none()
    }

    /// Ends a lease.
    pub(super) fn retire(&mut self, node: NodeId) {
        self.change();
        self.leases.remove(&node);
    }

    /// See [`crate::Store::note_missed`]. One process has one node, so no node crowds out another.
    pub(super) fn note_missed(&mut self, presence: Presence) {
        self.missed.insert((presence.node, presence.connection));
        if self.missed.len() > MISSED_MAX + 1 {
            self.missed.pop_last();
        }
    }

    /// See [`crate::Store::take_missed`].
    pub(super) fn take_missed(&mut self, node: NodeId) -> Missed {
        let of_node = (node, ConnectionId(0))..=(node, ConnectionId(u64::MAX));
        let taken: Vec<_> =
            self.missed.extract_if(of_node, |_| true).map(|(_, connection)| connection).collect();
        if taken.len() > MISSED_MAX { Missed::Any } else { Missed::These(taken) }
    }

    /// The nodes that have a lease.
    pub(super) fn nodes(&self, now: Duration) -> Vec<NodeEntry> {
        let alive = self.leases.values().filter(|(_, end)| *end > now);
        alive.map(|(entry, _)| entry.clone()).collect()
    }

    /// The batch was committed.
    pub(super) fn keep(&mut self) {
        self.before = None;
    }

    /// The batch has failed: takes back what it has changed, so that a node whose answer was lost learns that its
    /// lease had lapsed when it announces itself again.
    pub(super) fn take_back(&mut self) {
        if let Some(before) = self.before.take() {
            self.leases = before;
        }
    }

    fn change(&mut self) {
        if self.before.is_none() {
            self.before = Some(self.leases.clone());
        }
    }
}
