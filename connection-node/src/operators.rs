//! What operators do with the sockets of this node, through any node.

use crate::{draining::Shedder, node::Node};
use beckon_dashboard::local::Sockets;
use beckon_proto::admin::Quantity;
use beckon_types::{ConnectionId, Notification};
use std::sync::Arc;

/// The sockets of a node.
#[derive(Debug)]
pub(crate) struct OperatedSockets {
    /// Has them.
    pub(crate) node: Arc<Node>,
    /// Closes some.
    pub(crate) shedder: Arc<Shedder>,
}

impl Sockets for OperatedSockets {
    fn shed(&self, quantity: Quantity) -> Result<u64, String> {
        self.shedder.shed(quantity).map(|count| count as u64).map_err(|refusal| refusal.to_string())
    }

    fn open_ms(&self, connection: ConnectionId) -> Option<u64> {
        self.node.registry.open_ms(connection)
    }

    fn disconnect(&self, connection: ConnectionId) {
        if let Some(mailbox) = self.node.registry.mailbox(connection) {
            mailbox.signal_drain();
        }
    }

    fn evict(&self, connection: ConnectionId) {
        // Nothing waits for the Close frame.
        drop(self.node.registry.evict(connection));
    }

    fn reread(&self, connection: ConnectionId) {
        self.node.registry.post(connection, self.node.now(), Notification::Missed);
    }
}
