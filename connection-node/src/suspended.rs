//! A connection without a task.

use crate::registry::Registration;
use beckon_listener::stream::SuspendedStream;
use beckon_session::Session;

/// A connection at rest, taken out of its task: everything that has to be kept of it. No task reads its socket and its
/// mailbox meanwhile; what arrives waits there until the connection is resumed.
#[derive(Debug)]
pub(crate) struct Suspended {
    /// The socket, which has nothing in its buffers.
    pub(crate) stream: SuspendedStream,
    /// The conversation, which waits for no store step.
    pub(crate) session: Session,
    /// The connection's id and mailbox.
    pub(crate) registration: Registration,
}
