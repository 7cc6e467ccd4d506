//! The directory of a single process. It is in memory, since its nodes end with the process.

use crate::{LEASE, NodeEntry};
use beckon_types::NodeId;
use std::{collections::BTreeMap, time::Duration};

/// The nodes that announced themselves, and the ends of their leases.
type Leases = BTreeMap<NodeId, (NodeEntry, Duration)>;

/// The directory. What a batch changes is taken back if the batch fails.
#[derive(Debug, Default)]
pub(super) struct Directory {
    leases: Leases,
    /// As it was before the batch, if the batch has changed it.
    before: Option<Leases>,
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
