//! Presence: which connection of which node holds a user agent.

use std::fmt;

/// One run of a connection-node: 64 random bits drawn at its start. A restarted node is another node, so a presence
/// that the former run left behind cannot be mistaken for a live one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u64);

impl NodeId {
    /// Reads what [`NodeId`] displays: 16 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        // `from_str_radix` takes a sign, too.
        let is_id = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        u64::from_str_radix(text, 16).ok().filter(|_| is_id).map(Self)
    }
}

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
///
/// Its lowest byte says which of the node's worker threads owns the socket, so that a notification can be sent to that
/// thread. The rest is a matter of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

impl ConnectionId {
    /// The id of a socket of this worker. `rest`, below 2^56, distinguishes it from all others of the worker.
    pub const fn new(worker: u8, rest: u64) -> Self {
        Self(rest << 8 | worker as u64)
    }

    /// The index of the worker that owns the socket.
    pub const fn worker(self) -> u8 {
        self.0 as u8
    }

    /// What distinguishes it from other sockets of the worker.
    pub const fn rest(self) -> u64 {
        self.0 >> 8
    }
}

/// Where a user agent is connected. Kept in its record in the store. A socket that ends names itself, so it can only
/// clear its own presence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Presence {
    /// The run of the node that holds the socket.
    pub node: NodeId,
    /// The socket.
    pub connection: ConnectionId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_node_is_16_digits() {
        let node = NodeId(0x0123_4567_89ab_cdef);
        assert_eq!(NodeId::parse(&node.to_string()), Some(node));
        assert_eq!(NodeId::parse("0123456789ABCDEF"), Some(node));
        for other in ["", "7", "+123456789abcdef", "0123456789abcdef0", "0123456789abcdeg"] {
            assert_eq!(NodeId::parse(other), None, "{other}");
        }
    }
}
