//! Handing a notification to the node that has the client.

use beckon_types::{Notification, Presence};
use futures_util::future::BoxFuture;
use std::fmt::Debug;

/// A notification and the socket that it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parcel {
    /// The socket that owned the client when the notification was stored.
    pub to: Presence,
    /// What is handed over.
    pub notification: Notification,
}

/// What the node that was named says of a parcel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Receipt {
    /// The connection has taken the notification and writes it to its socket.
    Delivered,
    /// No such connection: the presence is stale and can be released.
    NotHere,
    /// The connection's mailbox is full. The connection looks into the store as soon as it has caught up, so
    /// nothing needs to be sent again.
    Busy,
}

/// There is no receipt: whether the parcel was taken is not known, and the notification stays in the store.
///
/// Whoever returns this has remembered the connection, if it may still live, and has it look into the store
/// ([`Notification::Missed`]) once its node can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Undelivered {
    /// No node of that name has a lease: the client is offline.
    #[error("the node has no lease")]
    NodeGone,
    /// No receipt came within the time limit.
    #[error("no receipt within the time limit")]
    TimedOut,
    /// The node cannot be reached, or the stream to it broke before the receipt.
    #[error("the stream to the node is broken")]
    Broken,
    /// As many parcels wait for this node as may.
    #[error("too many parcels wait for the node")]
    Overloaded,
}

/// Hands a notification to the node that has the client: over gRPC in a cluster, by a function call in one
/// process.
pub trait Deliver: Debug + Send + Sync + 'static {
    /// Hands the parcel over and waits for the receipt, within the implementation's time limit.
    fn deliver(&self, parcel: Parcel) -> BoxFuture<'static, Result<Receipt, Undelivered>>;
}
