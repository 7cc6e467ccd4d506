//! What comes in on a socket: the state of the protocol while there is any to keep.

use super::boundary::Boundary;
use beckon_session::CloseCode;
use beckon_types::Moment;
use bytes::Bytes;
use std::time::Duration;
use tokio_tungstenite::tungstenite::{
    error::{CapacityError, Error, ProtocolError},
    protocol::{Role, WebSocketConfig, WebSocketContext},
};

/// Bytes that are read from the kernel at once.
pub(super) const READ_LEN: usize = 4096;

/// The limits of one message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MessageLimits {
    /// Its length, in bytes.
    pub(crate) len_max: usize,
    /// Time from its first byte to its last.
    pub(crate) timeout: Duration,
}

/// The state of the protocol.
#[derive(Debug)]
pub(super) struct Inbound {
    pub(super) context: WebSocketContext,
    pub(super) boundary: Boundary,
    /// Bytes that came together with the upgrade request.
    pub(super) early: Bytes,
    /// The longest message that the context accepts.
    len_max: usize,
    /// Deadline for the message of which a part has come in; `None` if none has, or nothing is read.
    pub(super) whole_by: Option<Moment>,
}

impl Inbound {
    /// About how many bytes it holds. tungstenite makes room for the whole frame when it has read its header, and
    /// appends it to the fragments before it, with room to grow.
    pub(super) fn held(&self) -> usize {
        let begun = usize::try_from(self.boundary.begun()).unwrap_or(usize::MAX);
        READ_LEN + 2 * begun.min(self.len_max) + self.early.len()
    }

    /// Applies another limit to what comes in from now on.
    pub(super) fn limit(&mut self, limits: MessageLimits) {
        if self.len_max != limits.len_max {
            self.len_max = limits.len_max;
            self.context.set_config(|config| {
                config.max_message_size = Some(limits.len_max);
                config.max_frame_size = Some(limits.len_max);
            });
        }
    }

    pub(super) fn new(early: Bytes, limits: MessageLimits) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_LEN)
            .write_buffer_size(0)
            .max_message_size(Some(limits.len_max))
            .max_frame_size(Some(limits.len_max));
        let context = WebSocketContext::new(Role::Server, Some(config));
        Self { context, boundary: Boundary::default(), early, len_max: limits.len_max, whole_by: None }
    }
}

/// The Close code for what went wrong, or `None` if the peer cannot be told.
pub(super) fn close_code_of(error: &Error) -> Option<CloseCode> {
    match error {
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) | Error::Io(_) => None,
        Error::ConnectionClosed | Error::AlreadyClosed => None,
        Error::Capacity(CapacityError::MessageTooLong { .. }) => Some(CloseCode::TooBig),
        Error::Utf8(_) => Some(CloseCode::Invalid),
        Error::Protocol(_) | Error::Capacity(_) | Error::AttackAttempt => Some(CloseCode::Protocol),
        Error::WriteBufferFull(_) | Error::Tls(_) | Error::Url(_) | Error::Http(_) | Error::HttpFormat(_) => {
            // Not of this side of an upgraded socket without a limit on writing.
            Some(CloseCode::Error)
        }
    }
}
