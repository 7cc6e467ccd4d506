//! The name of one request of an application server.

use std::fmt;

/// The name of one request of an application server: `X-Request-Id` of its answer, and in the logs of the nodes that had to do
/// with it. It is unique among the requests of a node, and says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId(pub u64);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
