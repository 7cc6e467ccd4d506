//! A node and its sockets as data, in Protocol Buffers. A field may be added without another format if its default means what was
//! so before.

use crate::node::Former;
use beckon_session::Parked;
use beckon_types::NodeId;
use prost::Message;

/// A node, before its sockets are handed over.
#[derive(Clone, PartialEq, Message)]
pub(super) struct About {
    /// The run of the node, which goes on.
    #[prost(fixed64, tag = "1")]
    pub(super) node: u64,
    /// Where other nodes reach it.
    #[prost(string, tag = "2")]
    pub(super) grpc_address: String,
    /// The epoch of the store as the old process knows it; 0 if it does not.
    #[prost(uint64, tag = "3")]
    pub(super) epoch: u64,
    /// The tables of its connections.
    #[prost(uint32, tag = "4")]
    pub(super) tables: u32,
}

/// A WebSocket between two messages.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Connection {
    #[prost(fixed64, tag = "1")]
    pub(super) id: u64,
    /// Whom it is from, for limits; 0 if it has none.
    #[prost(uint64, tag = "2")]
    pub(super) source: u64,
    /// Whether it has to re-read the store.
    #[prost(bool, tag = "3")]
    pub(super) missed: bool,
    /// When it was upgraded, in seconds of the clock.
    #[prost(uint32, tag = "4")]
    pub(super) entered_s: u32,
    #[prost(message, required, tag = "5")]
    pub(super) session: Parked,
}

/// What a node says besides its sockets.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Rest {
    /// For each table of connections, a generation that no id has.
    #[prost(uint32, repeated, tag = "1")]
    pub(super) generations: Vec<u32>,
    #[prost(message, required, tag = "2")]
    pub(super) left: Left,
}

/// The sockets that stay in the old process, which closes them.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(super) struct Left {
    /// They have TLS.
    #[prost(uint64, tag = "1")]
    pub(super) tls: u64,
    /// In the middle of a message, or of a step of the store.
    #[prost(uint64, tag = "2")]
    pub(super) busy: u64,
}

impl Former {
    /// The node that another process has, and where other nodes reach it.
    ///
    /// # Errors
    /// It cannot be one.
    pub fn read(about: &[u8]) -> Result<(Self, String), prost::DecodeError> {
        let About { node, grpc_address, epoch, tables } = About::decode(about)?;
        let tables = u8::try_from(tables).unwrap_or(u8::MAX);
        Ok((Self { id: NodeId(node), tables, epoch }, grpc_address))
    }
}
