//! The directory of a single process. It is in memory, since its nodes end with the process.

use crate::{LEASE, NodeEntry};
use beckon_types::NodeId;
use std::{collections::BTreeMap, time::Duration};

/// The nodes that announced themselves, and the ends of their leases.
#[derive(Debug, Default)]
pub(super) struct Directory {
    leases: BTreeMap<NodeId, (NodeEntry, Duration)>,
}

impl Directory {
    /// Announces a node. Returns true if it had no lease.
    pub(super) fn announce(&mut self, now: Duration, entry: NodeEntry) -> bool {
        self.leases.retain(|_, (_, end)| *end > now);
        self.leases.insert(entry.node, (entry, now + LEASE)).is_none()
    }

    /// Ends a lease.
    pub(super) fn retire(&mut self, node: NodeId) {
        self.leases.remove(&node);
    }

    /// The nodes that have a lease.
    pub(super) fn nodes(&self, now: Duration) -> Vec<NodeEntry> {
        let alive = self.leases.values().filter(|(_, end)| *end > now);
        alive.map(|(entry, _)| entry.clone()).collect()
    }
}
