//! The task of a connection: how it begins and ends, and how the connection goes from one to the next.

use super::{Connection, Ending};
use crate::{node::Node, registry::Registration, socket::Socket};
use beckon_session::Session;
use beckon_types::Moment;
use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

/// A connection at rest, without a task: all that it is while nothing happens to it.
#[derive(Debug)]
pub struct Suspended {
    node: Arc<Node>,
    tcp: std::net::TcpStream,
    session: Session,
    registration: Registration,
    armed: Option<Moment>,
}

/// Runs a connection until the socket has ended and the store knows, or until it has been handed to
/// [`crate::compaction`].
///
/// Not an `async fn` with the connection as its argument: the state machine of one has room for the connection twice,
/// once as the argument and once as what is worked on.
#[derive(Debug)]
pub struct Running(Option<Connection>);

impl Future for Running {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some(connection) = &mut self.0 else { return Poll::Ready(()) };
        match ready!(connection.go_on(context)) {
            // Its registration closes the mailbox.
            Ending::Over => self.0 = None,
            Ending::Moving => {
                let node = connection.node.clone();
                let Ok(place) = node.moving.try_reserve() else {
                    // There is no room for it, so it stays where it is. What it waits for knows its task.
                    return Poll::Pending;
                };
                match self.0.take().map(Connection::suspend) {
                    Some(Ok(suspended)) => place.send(suspended),
                    Some(Err(error)) => tracing::warn!(%error, "connection lost when it was to be moved"),
                    None => {}
                }
            }
        }
        Poll::Ready(())
    }
}

impl Suspended {
    /// The connection, reallocated where there is room now, and the session that it leaves behind, whose memory is freed
    /// when it is dropped. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The socket cannot be waited for. Then it is closed, and the next notification finds that out.
    pub fn resume(self) -> io::Result<(Running, Session)> {
        let Self { node, tcp, session: vacated, registration, armed } = self;
        let socket = Socket::resume(tcp)?;
        let session = vacated.clone();
        let connection = Connection { armed, ..Connection::with(node, socket, session, registration) };
        Ok((connection.run(), vacated))
    }
}

impl Connection {
    /// Its task.
    pub fn run(self) -> Running {
        Running(Some(self))
    }

    /// What is left of a connection at rest when its task ends.
    fn suspend(self) -> io::Result<Suspended> {
        let Self { node, socket, session, registration, armed, .. } = self;
        // It would keep the task's memory.
        registration.mailbox.forget_task();
        Ok(Suspended { node, tcp: socket.suspend()?, session, registration, armed })
    }
}
