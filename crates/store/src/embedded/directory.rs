//! The directory of a single process. It is in memory, since its nodes end with the process.

use crate::{LEASE, MISSED_MAX, Missed, NodeEntry};
use beckon_types::{ConnectionId, NodeId, Presence};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// The directory. What a batch changes is taken back if the batch fails.
#[derive(Debug, Default)]
pub(super) struct Directory {
    now: Content,
    /// As it was before the batch, if the batch has changed it.
    before: Option<Content>,
}

#[derive(Debug, Default, Clone)]
struct Content {
    /// The nodes that announced themselves, and the ends of their leases.
    leases: BTreeMap<NodeId, (NodeEntry, Duration)>,
    /// The sockets that have missed something.
    missed: BTreeSet<(NodeId, ConnectionId)>,
}

impl Directory {
    /// Announces a node. Returns true if it had no lease.
    pub(super) fn announce(&mut self, now: Duration, entry: NodeEntry) -> bool {
        let leases = &mut self.change().leases;
        leases.retain(|_, (_, end)| *end > now);
        leases.insert(entry.node, (entry, now + LEASE)).is_none()
    }

    /// Ends a lease.
    pub(super) fn retire(&mut self, node: NodeId) {
        self.change().leases.remove(&node);
    }

    /// See [`crate::Store::note_missed`]. One process has one node, so no node crowds out another.
    pub(super) fn note_missed(&mut self, presence: Presence) {
        let missed = &mut self.change().missed;
        missed.insert((presence.node, presence.connection));
        if missed.len() > MISSED_MAX + 1 {
            missed.pop_last();
        }
    }

    /// See [`crate::Store::take_missed`].
    pub(super) fn take_missed(&mut self, node: NodeId) -> Missed {
        let of_node = (node, ConnectionId(0))..=(node, ConnectionId(u64::MAX));
        if self.now.missed.range(of_node.clone()).next().is_none() {
            return Missed::These(Vec::new());
        }
        let taken: Vec<_> =
            self.change().missed.extract_if(of_node, |_| true).map(|(_, connection)| connection).collect();
        if taken.len() > MISSED_MAX { Missed::Any } else { Missed::These(taken) }
    }

    /// The nodes that have a lease.
    pub(super) fn nodes(&self, now: Duration) -> Vec<NodeEntry> {
        let alive = self.now.leases.values().filter(|(_, end)| *end > now);
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
            self.now = before;
        }
    }

    /// What the batch is about to change.
    fn change(&mut self) -> &mut Content {
        if self.before.is_none() {
            self.before = Some(self.now.clone());
        }
        &mut self.now
    }
}
