//! A connection of a client, with TLS or without.

use crate::tls::{Session, TlsStream};
use std::{
    io, net,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// A connection of a client. It is as large as a TCP connection.
#[derive(Debug)]
pub enum Stream {
    /// As it is.
    Plain(TcpStream),
    /// With TLS, after the handshake.
    Tls(Box<TlsStream>),
}

/// A connection at rest that is not registered with any runtime.
#[derive(Debug)]
pub struct SuspendedStream {
    tcp: net::TcpStream,
    session: Option<Box<Session>>,
}

impl SuspendedStream {
    /// A connection without TLS.
    pub fn plain(tcp: net::TcpStream) -> Self {
        Self { tcp, session: None }
    }

    /// The TCP connection. `None` if it has TLS, whose state cannot leave the process.
    pub fn as_plain(&self) -> Option<&net::TcpStream> {
        self.session.is_none().then_some(&self.tcp)
    }
}

impl Stream {
    /// The TCP connection, to set options of it.
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.tcp(),
        }
    }

    /// Whether there may be something to read.
    ///
    /// # Errors
    /// The connection has ended.
    pub fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(tcp) => tcp.poll_read_ready(context),
            Self::Tls(tls) => tls.poll_read_ready(context),
        }
    }

    /// Whether something has come in of which not all could be read yet: it is outside the kernel, and not at the reader.
    pub fn has_received(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(tls) => tls.has_received(),
        }
    }

    /// Bytes that were written and that the kernel has not taken.
    pub fn unsent_len(&self) -> usize {
        match self {
            Self::Plain(_) => 0,
            Self::Tls(tls) => tls.unsent_len(),
        }
    }

    /// Bytes that it holds outside the kernel, of what comes in and of what goes out.
    pub fn held(&self) -> usize {
        match self {
            Self::Plain(_) => 0,
            Self::Tls(tls) => tls.held(),
        }
    }

    /// Says to a TLS peer that nothing follows (RFC 8446 section 6.1).
    ///
    /// # Errors
    /// The connection has ended.
    pub fn poll_close_notify(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(tls) => tls.poll_close_notify(context),
        }
    }

    /// Removes the connection from the runtime's event queue. It has to be at rest: nothing received, nothing unsent.
    ///
    /// # Errors
    /// The event queue does not let go of it; then it is closed.
    pub fn suspend(self) -> io::Result<SuspendedStream> {
        let (tcp, session) = match self {
            Self::Plain(tcp) => (tcp, None),
            Self::Tls(tls) => {
                let (tcp, session) = tls.into_parts();
                (tcp, Some(Box::new(session)))
            }
        };
        Ok(SuspendedStream { tcp: tcp.into_std()?, session })
    }

    /// The connection that was suspended. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The event queue does not take it; then it is closed.
    pub fn resume(suspended: SuspendedStream) -> io::Result<Self> {
        let SuspendedStream { tcp, session } = suspended;
        let tcp = TcpStream::from_std(tcp)?;
        Ok(match session {
            None => Self::Plain(tcp),
            Some(session) => Self::Tls(TlsStream::from_parts(tcp, *session)),
        })
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(context, buffer),
            Self::Tls(tls) => Pin::new(tls).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(context, bytes),
            Self::Tls(tls) => Pin::new(tls).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write_vectored(context, slices),
            Self::Tls(tls) => Pin::new(tls).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        matches!(self, Self::Plain(tcp) if tcp.is_write_vectored())
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(context),
            Self::Tls(tls) => Pin::new(tls).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(context),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_makes_a_plain_connection_no_larger() {
        assert_eq!(size_of::<Stream>(), size_of::<TcpStream>());
    }
}
