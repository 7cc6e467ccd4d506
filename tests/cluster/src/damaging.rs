//! A network that damages what is sent. The same seed makes the same damage.

use fastrand::Rng;
use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream that flips a bit in some of the writes through it.
#[derive(Debug)]
pub struct Damaging<S> {
    stream: S,
    random: Rng,
    /// One of so many writes is damaged; 0: none.
    one_of: u32,
}

impl<S> Damaging<S> {
    /// Damages one of so many writes; with 0 none.
    pub fn new(stream: S, random: Rng, one_of: u32) -> Self {
        Self { stream, random, one_of }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Damaging<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, out)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Damaging<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Self { stream, random, one_of } = &mut *self;
        if bytes.is_empty() || *one_of == 0 || random.u32(..*one_of) > 0 {
            return Pin::new(stream).poll_write(context, bytes);
        }
        let mut damaged = bytes.to_vec();
        damaged[random.usize(..bytes.len())] ^= 1 << random.u8(..8);
        Pin::new(stream).poll_write(context, &damaged)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
