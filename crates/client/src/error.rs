//! What can go wrong between a user agent and a server. Each error says who can fix it.

use std::{io, time::Duration};
use tokio_tungstenite::tungstenite;

/// A Close frame.
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
#[non_exhaustive]
pub enum Error {
    /// The caller's URL is not usable.
    #[error("`{url}` is not a usable ws or wss URL: {reason}")]
    InvalidUrl {
        /// The URL.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The TCP connection to the server could not be made.
    #[error("cannot reach {address}: {source}")]
    Unreachable {
        /// `host:port`.
        address: String,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The server answered the upgrade with a status other than 101 (PROTOCOL.md section 1.4).
    #[error("the server refused the WebSocket with HTTP status {status}")]
    Refused {
        /// The status.
        status: u16,
        /// When the server wants the client to try again.
        retry_after: Option<Duration>,
    },
    /// The server did not answer in time.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The server closed the WebSocket.
    #[error("the server closed the connection ({0})")]
    Closed(Close),
    /// The connection ended without a Close frame, or there is no connection at the moment.
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

/// The seconds in a `Retry-After` header. A date is ignored.
pub(crate) fn retry_after(headers: &http::HeaderMap) -> Option<Duration> {
    let seconds = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}
