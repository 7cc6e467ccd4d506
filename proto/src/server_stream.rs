//! A connection that another node has made, with or without TLS, from the first byte of HTTP/2.

use crate::worker_line::LINE_TIMEOUT;
use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::OwnedSemaphorePermit,
    time::timeout,
};
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;
use tonic::transport::server::Connected;

/// What a connection begins with (RFC 9113 section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection that another node has made, as [`crate::transport::accept`] returns it.
#[derive(Debug)]
pub struct ServerStream {
    stream: Either<TcpStream, TlsStream<TcpStream>>,
    /// The rest of the preface, which was read and is read again.
    preface: &'static [u8],
    _permit: Option<OwnedSemaphorePermit>,
}

impl ServerStream {
    /// A connection on which HTTP/2 begins within [`LINE_TIMEOUT`]: the server of HTTP/2 has no time limit before it, and pings
    /// its peer only afterwards.
    ///
    /// # Errors
    /// It is broken or silent, or begins with something else.
    pub(crate) async fn begin(mut stream: Either<TcpStream, TlsStream<TcpStream>>) -> io::Result<Self> {
        let mut preface = [0; PREFACE.len()];
        timeout(LINE_TIMEOUT, stream.read_exact(&mut preface)).await??;
        if preface != *PREFACE {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(Self { stream, preface: PREFACE, _permit: None })
    }

    /// Keeps a permit for as long as the connection.
    #[must_use]
    pub fn with_permit(self, permit: Option<OwnedSemaphorePermit>) -> Self {
        Self { _permit: permit, ..self }
    }
}

impl Connected for ServerStream {
    type ConnectInfo = ();

    fn connect_info(&self) -> Self::ConnectInfo {}
}

impl AsyncRead for ServerStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.preface.is_empty() {
            let (now, later) = self.preface.split_at(self.preface.len().min(buffer.remaining()));
            buffer.put_slice(now);
            self.preface = later;
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for ServerStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BufMut as _;
    use tokio::{io::AsyncWriteExt as _, net::TcpListener};

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (client, accepted) =
            tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        (client.unwrap(), accepted.unwrap().0)
    }

    #[tokio::test]
    async fn what_was_read_is_read_again() {
        let (mut client, server) = pair().await;
        client.write_all(&PREFACE[..5]).await.unwrap();
        let (begun, ()) = tokio::join!(ServerStream::begin(Either::Left(server)), async {
            client.write_all(&[&PREFACE[5..], b"more"].concat()).await.unwrap();
        });
        let (mut begun, mut read) = (begun.unwrap(), Vec::new());
        drop(client);
        // A buffer of seven bytes does not hold the preface.
        while begun.read_buf(&mut (&mut read).limit(7)).await.unwrap() > 0 {}
        assert_eq!(read, [&PREFACE[..], b"more"].concat());
    }

    #[tokio::test]
    async fn silence_and_something_else_are_errors() {
        let (mut client, server) = pair().await;
        client.write_all(b"P").await.unwrap();
        let silent = ServerStream::begin(Either::Left(server)).await.unwrap_err();
        assert_eq!(silent.kind(), io::ErrorKind::TimedOut);
        let (mut client, server) = pair().await;
        client.write_all(b"GET / HTTP/1.1\r\nHost: push.example\r\n\r\n").await.unwrap();
        let other = ServerStream::begin(Either::Left(server)).await.unwrap_err();
        assert_eq!(other.kind(), io::ErrorKind::InvalidData);
    }
}
