//! The directory: the nodes that are alive.

use beckon_types::{ConnectionId, NodeId};
use std::time::Duration;

/// How long an announcement keeps a node in the directory. A node announces itself every [`ANNOUNCE_INTERVAL`].
pub const LEASE: Duration = Duration::from_secs(10);

/// The time between two announcements of a node.
pub const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(3);

/// Connections of one node that the store keeps in [`Missed::These`].
pub const MISSED_MAX: usize = 16_384;

/// How long the store keeps what the connections of a node have missed. A node that was away for longer lets all its
/// connections verify their claims anyway.
pub const MISSED_LIFETIME: Duration = Duration::from_secs(10 * 60);

/// The connections of a node for which something was stored that could not be handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missed {
    /// These, and no others.
    These(Vec<ConnectionId>),
    /// More than [`MISSED_MAX`]: any of the node's.
    Any,
}

/// A node, as the other nodes see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeEntry {
    /// This run of the node.
    pub node: NodeId,
    /// The name that operators gave it.
    pub name: String,
    /// Where it accepts gRPC, `host:port`. Empty in a standalone server and in an endpoint-node.
    pub grpc_address: String,
    /// How many worker threads it has, each of which takes a stream of notifications for its own sockets. At least 1.
    pub workers: u8,
    /// The WebSocket URL that leads to this node and no other, if there is one. SimplePush clients can be redirected
    /// there.
    pub ws_url: Option<String>,
    /// Whether it has room for more clients: it is neither above its redirect threshold nor draining.
    pub room: bool,
    /// The fingerprints of its token keys, that of the key which seals first.
    pub keys: Vec<u64>,
}

/// What a node learns when it announces itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    /// All nodes with a lease, including the one that announced itself.
    pub nodes: Vec<NodeEntry>,
    /// A random number that the store drew when it was first used. If it changes, the store has lost all its data,
    /// and the clients have to say hello again.
    pub epoch: u64,
    /// Whether this node had no lease before this step, as at its first announcement. In that time other nodes
    /// treated its clients as offline, and did not hand over what they stored.
    pub lapsed: bool,
}
