//! A WebSocket that is pinged while it is quiet, so that a connection that is gone is noticed.

use crate::{
    error::Error,
    raw::{Frame, RawSocket},
};
use std::{pin::Pin, time::Duration};
use tokio::time::{Sleep, sleep};

/// An open WebSocket with its timer.
#[derive(Debug)]
pub(crate) struct KeptAlive {
    pub(crate) socket: RawSocket,
    /// Until the next ping, or until its answer is overdue.
    quiet: Pin<Box<Sleep>>,
    pinged: bool,
}

impl KeptAlive {
    /// The first ping is due after `interval`.
    pub(crate) fn new(socket: RawSocket, interval: Duration) -> Self {
        Self { socket, quiet: Box::pin(sleep(interval)), pinged: false }
    }

    /// Waits for one message, or sends the ping that is due: the ping of both dialects is `{}`. `None` if there was no text.
    ///
    /// # Errors
    /// The connection has ended, or nothing came within `limit` of a ping.
    pub(crate) async fn next_text(
        &mut self,
        interval: Duration,
        limit: Duration,
    ) -> Result<Option<String>, Error> {
        let frame = tokio::select! {
            frame = self.socket.receive() => frame?,
            () = self.quiet.as_mut() => {
                if self.pinged {
                    return Err(Error::TimedOut(limit));
                }
                (self.quiet, self.pinged) = (Box::pin(sleep(limit)), true);
                self.socket.send_text("{}").await?;
                return Ok(None);
            }
        };
        (self.quiet, self.pinged) = (Box::pin(sleep(interval)), false);
        text_of(frame)
    }
}

/// The text of a frame. Pings and Pongs have none, and the end of the connection is an error.
pub(crate) fn text_of(frame: Frame) -> Result<Option<String>, Error> {
    match frame {
        Frame::Text(text) => Ok(Some(text.to_string())),
        Frame::Ping(_) | Frame::Pong(_) => Ok(None),
        Frame::Close(close) => Err(Error::Closed(close)),
        Frame::End => Err(Error::Gone),
        Frame::Binary(_) => Err(Error::Unexpected("a binary message".to_owned())),
    }
}
