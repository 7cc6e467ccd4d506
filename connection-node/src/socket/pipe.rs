//! The streams that tungstenite reads from and writes to.

use super::boundary::Boundary;
use beckon_listener::stream::Stream;
use bytes::Bytes;
use std::{
    io::{self, Read, Write},
    pin::Pin,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead as _, ReadBuf};

/// What the protocol reads from and writes to: the connection and the queue of outgoing frames.
pub(super) struct Pipe<'a, 'c> {
    pub(super) stream: &'a mut Stream,
    pub(super) out: &'a mut Vec<u8>,
    pub(super) boundary: &'a mut Boundary,
    pub(super) early: &'a mut Bytes,
    pub(super) context: &'a mut Context<'c>,
}

impl Read for Pipe<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.early.is_empty() {
            let count = self.early.len().min(buffer.len());
            buffer[..count].copy_from_slice(&self.early.split_to(count));
            self.boundary.pass(&buffer[..count]);
            return Ok(count);
        }
        let mut read = ReadBuf::new(buffer);
        match Pin::new(&mut *self.stream).poll_read(self.context, &mut read) {
            Poll::Ready(Ok(())) => {
                self.boundary.pass(read.filled());
                Ok(read.filled().len())
            }
            Poll::Ready(Err(error)) => Err(error),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl Write for Pipe<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What the protocol writes to when nothing is read.
pub(super) struct Sink<'a>(pub(super) &'a mut Vec<u8>);

impl Read for Sink<'_> {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
