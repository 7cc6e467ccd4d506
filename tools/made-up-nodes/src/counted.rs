//! A connection whose bytes are counted.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tonic::transport::server::Connected;

/// What all connections have carried, without the headers of TCP and IP.
#[derive(Debug, Default)]
pub(crate) struct Bytes {
    pub(crate) read: AtomicU64,
    pub(crate) written: AtomicU64,
    /// How many are open.
    pub(crate) connections: AtomicU64,
}

/// What a counter says now.
pub(crate) fn value(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Counted {
    stream: TcpStream,
    bytes: Arc<Bytes>,
}

impl Counted {
    /// Counts what goes over a connection.
    pub(crate) fn new(stream: TcpStream, bytes: Arc<Bytes>) -> Self {
        // Fails only if the connection has ended.
        let _ = stream.set_nodelay(true);
        bytes.connections.fetch_add(1, Ordering::Relaxed);
        Self { stream, bytes }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.bytes.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Connected for Counted {
    type ConnectInfo = ();

    fn connect_info(&self) -> Self::ConnectInfo {}
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.bytes.read.fetch_add((buffer.filled().len() - before) as u64, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, data))?;
        self.bytes.written.fetch_add(written as u64, Ordering::Relaxed);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
