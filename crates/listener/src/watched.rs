//! A connection that fails when its peer does not read, and tells the table of connections when something comes in.

use crate::connections::Visit;
use bytes::{Buf as _, Bytes};
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};

/// A connection that fails with [`io::ErrorKind::TimedOut`] when a write makes no progress for a while. Without that, a
/// client that sends requests and never reads an answer would keep its connection forever. Costs one branch as long as
/// the peer keeps up.
#[derive(Debug)]
pub(crate) struct Watched<T> {
    connection: T,
    /// What was read of the connection before, and comes first.
    read: Bytes,
    visit: Arc<Visit>,
    write_timeout: Duration,
    /// Set while a write waits for the peer.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<T> Watched<T> {
    /// `read` was read of the connection before, and comes first.
    pub(crate) fn new(connection: T, read: Bytes, visit: Arc<Visit>, write_timeout: Duration) -> Self {
        Self { connection, read, visit, write_timeout, waiting: None }
    }

    /// The connection, and what was read of it and has not come yet.
    pub(crate) fn into_parts(self) -> (T, Bytes) {
        (self.connection, self.read)
    }

    /// Starts or stops the timer, depending on the outcome of a write.
    fn watch<O>(&mut self, context: &mut Context<'_>, outcome: Poll<io::Result<O>>) -> Poll<io::Result<O>> {
        if outcome.is_ready() {
            if self.waiting.take().is_some() {
                self.visit.set_blocked(false);
            }
            return outcome;
        }
        self.visit.set_blocked(true);
        let limit = self.write_timeout;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        match waiting.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.read.is_empty() {
            let len = self.read.len().min(buffer.remaining());
            buffer.put_slice(&self.read[..len]);
            self.read.advance(len);
            self.visit.heard();
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.connection).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.visit.heard();
        }
        outcome
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.connection).poll_write(context, bytes);
        self.watch(context, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.connection).poll_write_vectored(context, slices);
        self.watch(context, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.connection).poll_flush(context);
        self.watch(context, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.connection).poll_shutdown(context);
        self.watch(context, outcome)
    }
}
