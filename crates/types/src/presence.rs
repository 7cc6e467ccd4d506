//! Presence: which connection of which node holds a user agent.

use std::fmt;

/// One run of a connection-node: 64 random bits drawn at its start, so that a restarted node is another node
/// and a presence that the former run left behind can never be mistaken for a live one. It is node and
/// incarnation in one.
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

/// One socket of one node, never used again by that node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// Where a user agent is connected. Kept in its record in the store; a socket that ends can only clear its
/// own presence, because it names itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Presence {
    /// The run of the node that holds the socket.
    pub node: NodeId,
    /// The socket.
    pub connection: ConnectionId,
}
