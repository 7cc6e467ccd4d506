//! A worker's share of a node: what no other thread uses on a notification's way.

use crate::{node::Node, suspended::Suspended, timers::Timers, traces::Traces};
use beckon_store::Store;
use beckon_types::Moment;
use std::sync::Arc;
use tokio::sync::mpsc;

/// What the connections of one worker share. Its table in [`Node::registry`] is the worker's as well.
#[derive(Debug)]
pub(crate) struct Shard {
    /// What it shares with the other workers.
    pub(crate) node: Arc<Node>,
    /// The index of the worker.
    pub(crate) worker: u8,
    /// The store, over links of the worker's own.
    pub(crate) store: Arc<dyn Store>,
    /// When to wake the connections.
    pub(crate) timers: Timers,
    /// The traced notifications on the connections.
    pub(crate) traces: Traces,
    /// Takes the connections that are suspended ([`crate::compaction`]).
    pub(crate) suspended: mpsc::Sender<Suspended>,
}

impl Shard {
    /// A worker without connections. `suspended` takes those that are suspended.
    pub(crate) fn new(
        node: Arc<Node>,
        worker: u8,
        store: Arc<dyn Store>,
        suspended: mpsc::Sender<Suspended>,
    ) -> Self {
        let timers = Timers::new(node.now());
        Self { node, worker, store, timers, traces: Traces::default(), suspended }
    }

    /// The node's monotonic time.
    pub(crate) fn now(&self) -> Moment {
        self.node.now()
    }
}
