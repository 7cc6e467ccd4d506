//! Why the API does not do what it is asked for: the one map to statuses.

use crate::others::Unanswered;
use beckon_listener::body::BodyError;
use beckon_node::{admin::json, error_body::ErrorBody};
use beckon_store::StoreError;
use beckon_types::{InvalidBroadcast, TooManyBroadcasts};
use hyper::{Response, StatusCode, body::Bytes};

/// Why a request is not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// The path is none of the API's.
    #[error("there is nothing at this path")]
    Path,
    /// The body is not what the path takes.
    #[error("the body is not what this path takes: {0}")]
    Body(String),
    /// The body could not be read.
    #[error(transparent)]
    BodyLost(#[from] BodyError),
    /// The node that is named is not in the directory.
    #[error("there is no such node in the directory")]
    NoSuchNode,
    /// What is named does not exist.
    #[error("there is no {0} of that name")]
    Unknown(&'static str),
    /// The node does not do it now.
    #[error("{0}")]
    Conflict(String),
    /// The node has not answered, so whether it has done it is unknown.
    #[error("the node has not answered: {0}")]
    Unanswered(Unanswered),
    /// A broadcast cannot be of that name or version.
    #[error(transparent)]
    Broadcast(#[from] InvalidBroadcast),
    /// There is no room for another broadcast.
    #[error(transparent)]
    TooMany(#[from] TooManyBroadcasts),
    /// The store has failed.
    #[error("the store does not answer: {0}")]
    Store(#[from] StoreError),
}

impl From<Unanswered> for Refusal {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::Unknown => Self::NoSuchNode,
            Unanswered::Silent | Unanswered::NoWay | Unanswered::Failed(_) => Self::Unanswered(unanswered),
        }
    }
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::Path | Self::NoSuchNode | Self::Unknown(_) => StatusCode::NOT_FOUND,
            Self::Body(_) | Self::Broadcast(_) => StatusCode::BAD_REQUEST,
            Self::BodyLost(error) => error.status(),
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::Unanswered(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::TooMany(_) => StatusCode::INSUFFICIENT_STORAGE,
            Self::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The answer, with the body of PROTOCOL.md section 5.8.
    pub(crate) fn answer(&self) -> Response<Bytes> {
        let status = self.status();
        json(status, &ErrorBody::new(status, None, &self.to_string()))
    }
}
