//! What can go wrong between a user agent and a server, named for who can mend it.

use std::{io, time::Duration};
use tokio_tungstenite::tungstenite;

/// The Close frame of a peer, or its absence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// The code of RFC 6455 section 7.4, as PROTOCOL.md section 1.7 uses it; 1005 if the frame had none.
    pub code: u16,
    /// The reason, often empty.
    pub reason: String,
}

impl std::fmt::Display for Close {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.reason.as_str() {
            "" => write!(f, "close code {}", self.code),
            reason => write!(f, "close code {}, {reason}", self.code),
        }
    }
}

/// Why a user agent did not get what it asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller gave a URL that cannot be used.
    #[error("`{url}` is not a usable ws or wss URL: {reason}")]
    InvalidUrl {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no TCP connection to the server.
    #[error("cannot reach {address}: {source}")]
    Unreachable {
        /// `host:port`.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// The server answered the upgrade with another status than 101 (PROTOCOL.md section 1.4).
    #[error("the server refused the WebSocket with HTTP status {status}")]
    Refused {
        /// The status.
        status: u16,
        /// Its wish when to come again.
        retry_after: Option<Duration>,
    },
    /// The server was silent for too long.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The server closed the WebSocket.
    #[error("the server closed the connection ({0})")]
    Closed(Close),
    /// The connection ended without a Close frame, or there is none at the moment.
    #[error("the connection is gone")]
    Gone,
    /// The server refused a request with an error reply (PROTOCOL.md section 1.6).
    #[error("the server refused the request: {error} ({status})")]
    Rejected {
        /// `status` of the reply.
        status: u16,
        /// `error` of the reply.
        error: String,
    },
    /// The server sent something that PROTOCOL.md does not allow.
    #[error("the server sent {0}, which the protocol does not allow here")]
    Unexpected(String),
    /// The WebSocket, or TLS below it, failed.
    #[error("the connection failed: {0}")]
    Failed(#[source] Box<tungstenite::Error>),
}

impl From<tungstenite::Error> for Error {
    fn from(error: tungstenite::Error) -> Self {
        use tungstenite::error::ProtocolError;
        match error {
            tungstenite::Error::ConnectionClosed
            | tungstenite::Error::AlreadyClosed
            | tungstenite::Error::Protocol(
                ProtocolError::ResetWithoutClosingHandshake | ProtocolError::SendAfterClosing,
            ) => Self::Gone,
            tungstenite::Error::Http(response) => Self::Refused {
                status: response.status().as_u16(),
                retry_after: retry_after(response.headers()),
            },
            tungstenite::Error::Io(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::BrokenPipe
                        | io::ErrorKind::ConnectionReset
                        | io::ErrorKind::ConnectionAborted
                        | io::ErrorKind::UnexpectedEof
                ) =>
            {
                Self::Gone
            }
            error @ (tungstenite::Error::Io(_)
            | tungstenite::Error::Tls(_)
            | tungstenite::Error::Capacity(_)
            | tungstenite::Error::Protocol(_)
            | tungstenite::Error::WriteBufferFull(_)
            | tungstenite::Error::Utf8(_)
            | tungstenite::Error::AttackAttempt
            | tungstenite::Error::Url(_)
            | tungstenite::Error::HttpFormat(_)) => Self::Failed(Box::new(error)),
        }
    }
}

/// The seconds in a `Retry-After` header; a date counts as none.
pub(crate) fn retry_after(headers: &http::HeaderMap) -> Option<Duration> {
    let seconds = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}
