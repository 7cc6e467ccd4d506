//! One client of a run.

use crate::{dialect::UaidText, sockets::Connection};

/// Why a connection ended.
pub(crate) type Reason = String;

/// How far a client has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Not connected.
    Away,
    /// TCP is being connected.
    Connecting,
    /// The upgrade was sent.
    Upgrading,
    /// The hello was sent.
    Greeting,
    /// A register was sent.
    Registering,
    /// All channels have their endpoints.
    Ready,
}

/// A row of the table of clients.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) stream: Option<Connection>,
    pub(crate) state: State,
    /// It has been ready before.
    pub(crate) is_back: bool,
    /// Connections that it has begun.
    pub(crate) attempts: u32,
    pub(crate) uaid: Option<UaidText>,
    /// How many channels have their endpoints: the first ones.
    pub(crate) registered: u32,
    /// The beginning of a frame whose end has not come.
    pub(crate) unread: Vec<u8>,
    /// What the socket did not take.
    pub(crate) unsent: Vec<u8>,
    pub(crate) began_us: u64,
    pub(crate) greeted_us: u64,
    /// When it has acknowledged something for the last time.
    pub(crate) acked_us: u64,
}

impl Client {
    /// Sends bytes; what the socket does not take waits.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<(), Reason> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        let sent = if self.unsent.is_empty() { stream.write(bytes) } else { Ok(0) };
        let sent = sent.map_err(|error| format!("write: {}", error.kind()))?;
        self.unsent.extend_from_slice(&bytes[sent..]);
        Ok(())
    }
}
