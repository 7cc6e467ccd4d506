//! The name of one request of an application server.

use std::fmt;

/// The name of one request of an application server: `X-Request-Id` of its answer, and in the logs of the nodes that had to do
/// with it. It is unique as far as chance allows, and says nothing of other requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId(pub u64);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
