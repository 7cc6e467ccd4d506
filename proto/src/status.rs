//! The one map between failures of a call and gRPC statuses.

use crate::convert::Malformed;
use tonic::{Code, Status};

/// Why a call between two nodes failed. The node that refuses it sends this as a status, and the caller reads it back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The caller presented no cluster secret or a different one. An operator has to give both nodes the same.
    #[error("cluster secret missing or wrong")]
    SecretRefused,
    /// The caller sent a message that the node cannot read: the two use different versions of the contract.
    #[error("malformed message: {0}")]
    Malformed(String),
    /// The node is shutting down. Its clients will connect elsewhere.
    #[error("node is shutting down")]
    Draining,
    /// The node hands over to another process, which answers at the same address in a moment. What the node has not answered
    /// before it has not done.
    #[error("node hands over to another process")]
    HandingOver,
    /// The node does not serve this method: it is older, or is not a connection-node.
    #[error("method unknown to the node: {0}")]
    Unsupported(String),
    /// Another node answers at the address, or another run of the node.
    #[error("another node answers at this address")]
    WrongNode,
    /// The node could not be reached, or the connection broke.
    #[error("node unreachable: {0}")]
    Unreachable(String),
}

/// The message of `Unavailable` from a node that shuts down, which distinguishes it from a broken connection.
const DRAINING: &str = "node is shutting down";

/// The message of `Unavailable` from a node that hands over.
const HANDING_OVER: &str = "node hands over to another process";

impl From<Malformed> for Failure {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed.to_string())
    }
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::SecretRefused => Self::unauthenticated(failure.to_string()),
            Failure::Malformed(reason) => Self::invalid_argument(reason),
            Failure::Draining => Self::unavailable(DRAINING),
            Failure::HandingOver => Self::unavailable(HANDING_OVER),
            Failure::Unsupported(reason) => Self::unimplemented(reason),
            Failure::WrongNode => Self::failed_precondition(failure.to_string()),
            Failure::Unreachable(reason) => Self::unavailable(reason),
        }
    }
}

impl From<Malformed> for Status {
    fn from(malformed: Malformed) -> Self {
        Failure::from(malformed).into()
    }
}

impl From<Status> for Failure {
    #[expect(clippy::wildcard_enum_match_arm, reason = "every other code comes from the transport")]
    fn from(status: Status) -> Self {
        let reason = || status.message().to_owned();
        match status.code() {
            Code::Unauthenticated | Code::PermissionDenied => Self::SecretRefused,
            Code::InvalidArgument | Code::OutOfRange => Self::Malformed(reason()),
            Code::Unimplemented => Self::Unsupported(reason()),
            Code::FailedPrecondition => Self::WrongNode,
            Code::Unavailable if status.message() == DRAINING => Self::Draining,
            Code::Unavailable if status.message() == HANDING_OVER => Self::HandingOver,
            _ => Self::Unreachable(reason()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_survives_as_a_status() {
        for failure in [
            Failure::SecretRefused,
            Failure::Malformed("version too large".into()),
            Failure::Draining,
            Failure::HandingOver,
            Failure::Unsupported("no such method".into()),
            Failure::WrongNode,
            Failure::Unreachable("connection reset".into()),
        ] {
            assert_eq!(Failure::from(Status::from(failure.clone())), failure);
        }
    }

    #[test]
    fn a_status_of_the_transport_is_an_unreachable_node() {
        for code in [Code::Unknown, Code::Internal, Code::Cancelled, Code::Unavailable] {
            let failure = Failure::from(Status::new(code, "h2 protocol error"));
            assert_eq!(failure, Failure::Unreachable("h2 protocol error".into()));
        }
    }
}
