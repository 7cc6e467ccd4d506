//! Handing a notification to the node that has the client.

use beckon_types::{Cause, Notification, Presence, Sequence};
use futures_util::future::BoxFuture;
use std::fmt::Debug;

/// A notification and the socket that it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parcel {
    /// The socket that owned the client when the notification was stored.
    pub to: Presence,
    /// What is handed over.
    pub notification: Notification,
    /// The position of the write to the client before the one that the notification tells of: none is between the two. `None` if
    /// it tells of none, or an older node sends it.
    pub previous: Option<Sequence>,
    /// The request that it follows from.
    pub cause: Cause,
}

/// The response of the node that a parcel names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Receipt {
    /// The connection has taken the notification and will write it to its socket.
    Delivered,
    /// The connection does not exist: the presence is stale and can be released.
    NotHere,
    /// The connection's mailbox is full. The connection re-reads the store as soon as it has caught up, so nothing has to
    /// be sent again.
    Busy,
}

/// There is no receipt: whether the parcel was taken is unknown, and the notification stays in the store.
///
/// An implementation of [`Deliver`] that returns this remembers the connection if it may still exist, and tells it to
/// re-read the store ([`Notification::Missed`]) once its node can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Undelivered {
    /// No node with this id has a lease: the client is offline.
    #[error("the node has no lease")]
    NodeGone,
    /// No node with this id has had a lease for a long time: the presence is stale and can be released.
    #[error("the node has had no lease for long")]
    NodeLongGone,
    /// No receipt came within the time limit.
    #[error("no receipt within the time limit")]
    TimedOut,
    /// The node cannot be reached, or the stream to it broke before the receipt.
    #[error("the stream to the node is broken")]
    Broken,
    /// The receipt says something that this version does not know.
    #[error("the receipt is of another version")]
    Unreadable,
    /// The queue of parcels for this node is full.
    #[error("too many parcels wait for the node")]
    Overloaded,
}

/// Hands a notification to the node that has the client: over gRPC in a cluster, by a function call in one
/// process.
pub trait Deliver: Debug + Send + Sync + 'static {
    /// Hands the parcel over and waits for the receipt, within the time limit of the implementation.
    fn deliver(&self, parcel: Parcel) -> BoxFuture<'static, Result<Receipt, Undelivered>>;
}
