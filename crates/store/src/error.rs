//! Why the store did not perform a step.

use std::fmt;

/// The store did not perform a step.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The store cannot be reached, did not answer in time, or is not able to write. Whether the step was performed
    /// is unknown. The operator of the store can fix it; the caller may try again later.
    #[error("store unavailable ({cause}): {reason}")]
    Unavailable {
        /// The kind of reason, for metrics and for the log.
        cause: Cause,
        /// The reason in the words of the store or of the operating system. Without keys and passwords.
        reason: String,
    },
    /// A record cannot be read: written by a newer version, or damaged. Nothing was changed.
    #[error("store record unreadable: {0}")]
    Unreadable(String),
}

impl StoreError {
    /// [`StoreError::Unavailable`] for this reason.
    pub fn unavailable(cause: Cause, reason: impl Into<String>) -> Self {
        Self::Unavailable { cause, reason: reason.into() }
    }

    /// The kind of reason.
    pub fn cause(&self) -> Cause {
        match self {
            Self::Unavailable { cause, .. } => *cause,
            Self::Unreadable(_) => Cause::Unreadable,
        }
    }
}

/// A kind of reason for which a step was not performed: the label `cause` of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cause {
    /// There was no answer within the time limit.
    Timeout,
    /// There is no connection, or it broke before the answer.
    Unreachable,
    /// More steps are waiting than can be performed in time: the step was refused at once.
    Overloaded,
    /// The server does not take writes, such as a primary that has been demoted.
    ReadOnly,
    /// The server is reading its data into memory.
    Loading,
    /// No memory or no disk space is left.
    Full,
    /// The user, the password, the certificate or the rights of the user are refused.
    Denied,
    /// Redis Cluster: the slot of the key has no node, or is moving to another one.
    Cluster,
    /// The server is busy with a script.
    Busy,
    /// The server takes no writes because it cannot keep them: its disk or its replicas fail.
    NotDurable,
    /// A server has said that something is not stored, and it is not certain that it is the primary.
    Unconfirmed,
    /// Embedded: reading or writing the database failed.
    Disk,
    /// Embedded: the pages of the database that the step needs are damaged.
    Damaged,
    /// The server answered with any other error.
    Refused,
    /// The record cannot be read.
    Unreadable,
    /// The store has been closed.
    Closed,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::Timeout,
        Self::Unreachable,
        Self::Overloaded,
        Self::ReadOnly,
        Self::Loading,
        Self::Full,
        Self::Denied,
        Self::Cluster,
        Self::Busy,
        Self::NotDurable,
        Self::Unconfirmed,
        Self::Disk,
        Self::Damaged,
        Self::Refused,
        Self::Unreadable,
        Self::Closed,
    ];

    /// As metrics and the log show it (docs/operations.md).
    pub fn label(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Overloaded => "overloaded",
            Self::ReadOnly => "read_only",
            Self::Loading => "loading",
            Self::Full => "full",
            Self::Denied => "denied",
            Self::Cluster => "cluster",
            Self::Busy => "busy",
            Self::NotDurable => "not_durable",
            Self::Unconfirmed => "unconfirmed",
            Self::Disk => "disk",
            Self::Damaged => "damaged",
            Self::Refused => "refused",
            Self::Unreadable => "unreadable",
            Self::Closed => "closed",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}
