//! Presence: which connection of which node holds a user agent.

use std::fmt;

/// One run of a connection-node: 64 random bits drawn at its start. A restarted node is another node, so a presence
/// that the former run left behind cannot be mistaken for a live one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({self})")
    }
}

/// One socket of one node. The node never uses it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// Where a user agent is connected. Kept in its record in the store. A socket that ends names itself, so it can only
/// clear its own presence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Presence {
    /// The run of the node that holds the socket.
    pub node: NodeId,
    /// The socket.
    pub connection: ConnectionId,
}
