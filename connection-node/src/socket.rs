//! A WebSocket after its upgrade: frames and the closing handshake.
//!
//! tungstenite's [`WebSocketContext`] speaks the protocol. The context is made when bytes arrive and dropped when
//! they have been dealt with, so an idle socket holds no buffer. It is kept only in the middle of a message, while
//! the caller takes no messages, and while the socket is closing. Whether it can be dropped follows from the frame
//! boundaries in the bytes that were read ([`Boundary`]). Everything that is written goes to one buffer, which is
//! freed once the kernel has taken all of it.

mod boundary;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod inbound;
mod pipe;

use beckon_listener::stream::{Stream, SuspendedStream};
use beckon_session::CloseCode;
use beckon_types::Moment;
use bytes::Bytes;
pub(crate) use inbound::MessageLimits;
use inbound::{Inbound, READ_LEN, close_code_of};
use pipe::{Pipe, Sink};
use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio_tungstenite::tungstenite::{
    Message, Utf8Bytes,
    error::Error,
    protocol::{
        CloseFrame,
        frame::{
            Frame,
            coding::{Data, OpCode},
        },
    },
};

/// With more than this many bytes waiting for the kernel, the socket is congested: nothing more is taken from the
/// mailbox or read from the peer.
const OUT_LEN_HIGH: usize = 64 * 1024;

/// Time for the closing handshake to end, from our Close frame or the peer's. After that TCP is dropped
/// (PROTOCOL.md section 1.7).
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Time without the kernel taking a byte after which a peer that does not drain its socket is dropped
/// (PROTOCOL.md section 1.7).
const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// A WebSocket on a connection.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: Stream,
    /// Everything else, while there is anything else: an open socket between two messages is a connection.
    active: Option<Box<Active>>,
}

#[derive(Debug, Default)]
struct Active {
    /// Frames that the connection has not taken yet.
    out: Vec<u8>,
    /// The protocol's state, while there is any to keep.
    inbound: Option<Inbound>,
    state: State,
    /// The conversation is over ([`Socket::finish`]).
    is_finished: bool,
}

/// How far the socket is from its end, and the deadline for the peer to let it go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Messages come and go.
    Open {
        /// Deadline for the peer to drain its socket; `None` while the kernel takes everything.
        drained_by: Option<Moment>,
    },
    /// The peer has sent its Close frame. The answer is held back until [`Socket::finish`].
    PeerClosed { until: Moment },
    /// The answer to the peer's Close frame is queued. The socket ends when the kernel has taken it.
    Answered { until: Moment },
    /// Our Close frame is queued or sent; the peer's is awaited.
    Closing { until: Moment },
    /// The peer broke the protocol. Its Close frame could not be told from rubbish, so everything that comes in is
    /// discarded until the stream ends.
    Broken { until: Moment },
    /// Nothing can be sent or received any more.
    Ended,
}

impl Default for State {
    fn default() -> Self {
        Self::Open { drained_by: None }
    }
}

/// What comes in.
#[derive(Debug, PartialEq)]
pub(crate) enum Incoming {
    /// A whole text message.
    Text(Utf8Bytes),
    /// A whole binary message.
    Binary(Bytes),
    /// A Ping or Pong frame; pings are answered already.
    Control,
    /// The peer broke the protocol. The socket should be closed with this code; nothing more comes in.
    Broken(CloseCode),
    /// The peer has sent its Close frame, which [`Socket::finish`] answers. Nothing more comes in.
    Closed,
    /// The socket has ended: end of stream, reset, or the peer's Close frame after ours.
    Ended,
}

impl Socket {
    /// A socket that has been upgraded. `early` are bytes that the peer sent right after its request.
    pub(crate) fn new(stream: Stream, early: Bytes, limits: MessageLimits) -> Self {
        let active = (!early.is_empty()).then(|| {
            let inbound = Some(Inbound::new(early, limits));
            Box::new(Active { inbound, ..Active::default() })
        });
        Self { stream, active }
    }

    /// Ends the socket when the peer has not acknowledged a byte for so long; zero leaves that to the system.
    pub(crate) fn notice_death_within(&self, limit: Duration) {
        let limit = (!limit.is_zero()).then_some(limit);
        // Without it, a peer that is gone is noticed later.
        let _ = socket2::SockRef::from(self.stream.tcp()).set_tcp_user_timeout(limit);
    }

    /// Whether the socket is open and holds nothing but the connection.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.active.is_none()
    }

    /// The connection of a socket at rest, removed from the runtime's event queue.
    ///
    /// # Errors
    /// The event queue does not let go of it; then it is closed.
    pub(crate) fn suspend(self) -> io::Result<SuspendedStream> {
        self.stream.suspend()
    }

    /// The socket that was suspended. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The event queue does not take it; then it is closed.
    pub(crate) fn resume(stream: SuspendedStream) -> io::Result<Self> {
        Ok(Self { stream: Stream::resume(stream)?, active: None })
    }

    fn state(&self) -> State {
        self.active.as_ref().map_or_else(State::default, |active| active.state)
    }

    /// Whether messages can be sent. False once either side has begun to close, or the socket has ended.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state(), State::Open { .. })
    }

    /// Whether nothing can be sent or received any more.
    pub(crate) fn has_ended(&self) -> bool {
        self.state() == State::Ended
    }

    /// Whether the socket has ended and so has the conversation ([`Socket::finish`]).
    pub(crate) fn is_done(&self) -> bool {
        self.active.as_ref().is_some_and(|active| active.is_finished && active.state == State::Ended)
    }

    /// Whether so much waits for the kernel that nothing should be added to it.
    pub(crate) fn is_congested(&self) -> bool {
        self.active.as_ref().is_some_and(|active| active.out.len() > OUT_LEN_HIGH)
    }

    /// When [`Socket::end_if_overdue`] and [`Socket::is_message_overdue`] should be called next.
    pub(crate) fn deadline(&self) -> Option<Moment> {
        self.state_deadline().into_iter().chain(self.message_deadline()).min()
    }

    fn message_deadline(&self) -> Option<Moment> {
        self.active.as_ref().filter(|_| self.is_open())?.inbound.as_ref()?.whole_by
    }

    /// Whether a message has not come in whole in time. The socket should be closed.
    pub(crate) fn is_message_overdue(&self, now: Moment) -> bool {
        self.message_deadline().is_some_and(|deadline| deadline <= now)
    }

    /// Nothing is read for now, so the peer is not to blame for a message that does not come in.
    pub(crate) fn pause(&mut self) {
        if let Some(inbound) = self.active.as_mut().and_then(|active| active.inbound.as_mut()) {
            inbound.whole_by = None;
        }
    }

    fn state_deadline(&self) -> Option<Moment> {
        match self.state() {
            State::Open { drained_by } => drained_by,
            State::PeerClosed { until }
            | State::Answered { until }
            | State::Closing { until }
            | State::Broken { until } => Some(until),
            State::Ended => None,
        }
    }

    /// Gives the socket up if its deadline has passed. Returns whether it has.
    pub(crate) fn end_if_overdue(&mut self, now: Moment) -> bool {
        let is_overdue = self.state_deadline().is_some_and(|deadline| deadline <= now);
        if is_overdue {
            self.active.get_or_insert_default().state = State::Ended;
        }
        is_overdue
    }

    /// Gives the socket up at once, with all that it holds.
    pub(crate) fn abort(&mut self) {
        let is_finished = self.active.as_ref().is_some_and(|active| active.is_finished);
        let active = Active { state: State::Ended, is_finished, ..Active::default() };
        self.active = Some(Box::new(active));
    }

    /// About how many bytes it holds for its peer: what has not come in whole, and what the peer has not taken.
    pub(crate) fn held(&self) -> usize {
        let of_active =
            |active: &Active| active.out.capacity() + active.inbound.as_ref().map_or(0, Inbound::held);
        self.stream.held() + self.active.as_deref().map_or(0, of_active)
    }

    /// The next thing that comes in. `Pending` registers the context's task to be woken, unless nothing can come
    /// in any more. `limits` are those of a message.
    pub(crate) fn poll_next(
        &mut self,
        context: &mut Context<'_>,
        now: Moment,
        limits: MessageLimits,
    ) -> Poll<Incoming> {
        let is_reading = self.active.as_ref().is_some_and(|active| active.inbound.is_some());
        // A wake-up does not say that there is something to read, so nothing is allocated before that is known.
        if self.is_open() && !is_reading && self.stream.poll_read_ready(context).is_pending() {
            return Poll::Pending;
        }
        let active = self.active.get_or_insert_default();
        let next = active.poll_next(&mut self.stream, context, now, limits);
        self.free_if_at_rest();
        next
    }

    /// Queues a text message.
    pub(crate) fn send(&mut self, text: String) {
        self.queue(Frame::message(text, OpCode::Data(Data::Text), true));
    }

    /// Queues a Ping frame without payload.
    pub(crate) fn ping(&mut self) {
        self.queue(Frame::ping(Bytes::new()));
    }

    fn queue(&mut self, frame: Frame) {
        let out = &mut self.active.get_or_insert_default().out;
        out.reserve_exact(frame.len());
        // Writing to memory cannot fail.
        let _ = frame.format(out);
    }

    /// Queues a Close frame, unless the closing handshake has begun already.
    pub(crate) fn close(&mut self, code: CloseCode, now: Moment, limits: MessageLimits) {
        let Active { out, inbound, state, .. } = &mut **self.active.get_or_insert_default();
        let until = now + CLOSE_TIMEOUT;
        *state = match *state {
            State::Open { .. } => State::Closing { until },
            State::Broken { .. } => State::Broken { until },
            State::PeerClosed { .. } | State::Answered { .. } | State::Closing { .. } | State::Ended => {
                return;
            }
        };
        let frame = CloseFrame { code: code.number().into(), reason: Utf8Bytes::default() };
        let inbound = inbound.get_or_insert_with(|| Inbound::new(Bytes::new(), limits));
        // Writing to memory cannot fail, and the context accepts one Close in any state.
        let _ = inbound.context.close(&mut Sink(out), Some(frame));
    }

    /// Ends the conversation, which has to be closing: the peer's Close frame is answered if it was the first, and the
    /// socket is done when it has ended.
    pub(crate) fn finish(&mut self) {
        let Active { out, inbound, state, is_finished } = &mut **self.active.get_or_insert_default();
        *is_finished = true;
        if let State::PeerClosed { until } = *state {
            *state = State::Answered { until };
            if let Some(inbound) = inbound {
                // Returns ConnectionClosed, which means that the answer is written.
                let _ = inbound.context.flush(&mut Sink(out));
            }
        }
    }

    /// Hands what is queued to the kernel. Ready when the kernel has taken the last byte, or the socket has ended;
    /// `Pending` registers the context's task to be woken, unless nothing is queued.
    pub(crate) fn poll_flush(&mut self, context: &mut Context<'_>, now: Moment) -> Poll<()> {
        let Some(active) = &mut self.active else { return Poll::Pending };
        ready!(active.poll_flush(&mut self.stream, context, now));
        self.free_if_at_rest();
        Poll::Ready(())
    }

    fn free_if_at_rest(&mut self) {
        if self.active.as_ref().is_some_and(|active| active.is_at_rest()) && self.stream.unsent_len() == 0 {
            self.active = None;
        }
    }
}

impl Active {
    fn is_at_rest(&self) -> bool {
        self.state == State::default() && self.out.is_empty() && self.inbound.is_none()
    }

    fn poll_next(
        &mut self,
        stream: &mut Stream,
        context: &mut Context<'_>,
        now: Moment,
        limits: MessageLimits,
    ) -> Poll<Incoming> {
        let incoming = match self.state {
            State::Open { .. } => ready!(self.poll_open(stream, context, now, limits)),
            State::Closing { .. } => ready!(self.poll_peer_close(stream, context, now, limits)),
            State::Broken { .. } => ready!(poll_discard(stream, context)),
            State::PeerClosed { .. } | State::Answered { .. } | State::Ended => return Poll::Pending,
        };
        match incoming {
            Incoming::Text(_) | Incoming::Binary(_) | Incoming::Control => {}
            Incoming::Broken(_) => self.state = State::Broken { until: now + CLOSE_TIMEOUT },
            Incoming::Closed => self.state = State::PeerClosed { until: now + CLOSE_TIMEOUT },
            Incoming::Ended => self.state = State::Ended,
        }
        Poll::Ready(incoming)
    }

    /// What an open socket receives.
    fn poll_open(
        &mut self,
        stream: &mut Stream,
        context: &mut Context<'_>,
        now: Moment,
        limits: MessageLimits,
    ) -> Poll<Incoming> {
        Poll::Ready(match ready!(self.poll_message(stream, context, now, limits)) {
            Ok(Message::Text(text)) => Incoming::Text(text),
            Ok(Message::Binary(bytes)) => Incoming::Binary(bytes),
            Ok(Message::Ping(_) | Message::Pong(_)) => Incoming::Control,
            Ok(Message::Close(_)) => Incoming::Closed,
            // Not made by reading.
            Ok(Message::Frame(_)) => Incoming::Ended,
            Err(error) => close_code_of(&error).map_or(Incoming::Ended, Incoming::Broken),
        })
    }

    /// Skips what the peer sent before it saw our Close frame.
    fn poll_peer_close(
        &mut self,
        stream: &mut Stream,
        context: &mut Context<'_>,
        now: Moment,
        limits: MessageLimits,
    ) -> Poll<Incoming> {
        loop {
            match ready!(self.poll_message(stream, context, now, limits)) {
                Ok(Message::Text(_) | Message::Binary(_) | Message::Ping(_) | Message::Pong(_)) => {}
                Ok(Message::Close(_) | Message::Frame(_)) | Err(_) => return Poll::Ready(Incoming::Ended),
            }
        }
    }

    /// Reads one message. An open socket that is between two messages afterwards is left without a context.
    fn poll_message(
        &mut self,
        stream: &mut Stream,
        context: &mut Context<'_>,
        now: Moment,
        limits: MessageLimits,
    ) -> Poll<Result<Message, Error>> {
        let inbound = self.inbound.get_or_insert_with(|| Inbound::new(Bytes::new(), limits));
        inbound.limit(limits);
        let mut pipe = Pipe {
            stream,
            out: &mut self.out,
            boundary: &mut inbound.boundary,
            early: &mut inbound.early,
            context,
        };
        match inbound.context.read(&mut pipe) {
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                let is_clean = inbound.boundary.is_clean() && !stream.has_received();
                inbound.whole_by = match inbound.whole_by {
                    _ if is_clean => None,
                    None => Some(now + limits.timeout),
                    whole_by => whole_by,
                };
                if matches!(self.state, State::Open { .. }) && is_clean {
                    self.inbound = None;
                }
                Poll::Pending
            }
            Ok(message) if message.is_text() || message.is_binary() => {
                // What has come in of the next one began no earlier than now.
                inbound.whole_by = None;
                Poll::Ready(Ok(message))
            }
            read => Poll::Ready(read),
        }
    }

    fn poll_flush(&mut self, stream: &mut Stream, context: &mut Context<'_>, now: Moment) -> Poll<()> {
        let is_answered = matches!(self.state, State::Answered { .. });
        let unsent = |active: &Self, stream: &Stream| active.out.len() + stream.unsent_len();
        let unsent_len = unsent(self, stream);
        if self.state == State::Ended || (unsent_len == 0 && !is_answered) {
            return Poll::Pending;
        }
        match self.poll_write(stream, context) {
            Poll::Ready(Ok(())) => self.flushed(stream, context),
            Poll::Ready(Err(_)) => self.state = State::Ended,
            Poll::Pending => {
                let has_progressed = unsent(self, stream) < unsent_len;
                if let State::Open { drained_by } = &mut self.state
                    && (has_progressed || drained_by.is_none())
                {
                    *drained_by = Some(now + STALL_TIMEOUT);
                }
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }

    /// The kernel has taken everything.
    fn flushed(&mut self, stream: &mut Stream, context: &mut Context<'_>) {
        match &mut self.state {
            State::Open { drained_by } => *drained_by = None,
            State::Answered { .. } => {
                // So little is taken at once, or not at all.
                let _ = stream.poll_close_notify(context);
                self.state = State::Ended;
            }
            State::Broken { .. } => {
                // The peer cannot be expected to understand the Close frame, but it understands the end of the stream.
                let _ = Pin::new(stream).poll_shutdown(context);
            }
            State::PeerClosed { .. } | State::Closing { .. } | State::Ended => {}
        }
    }

    fn poll_write(&mut self, stream: &mut Stream, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut written = 0;
        let result = loop {
            if written == self.out.len() {
                break Pin::new(&mut *stream).poll_flush(context);
            }
            match Pin::new(&mut *stream).poll_write(context, &self.out[written..]) {
                Poll::Ready(Ok(0)) => break Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => written += count,
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            }
        };
        if written == self.out.len() {
            self.out = Vec::new();
        } else {
            self.out.drain(..written);
        }
        result
    }
}

/// Discards what comes in, until the end of the stream.
fn poll_discard(stream: &mut Stream, context: &mut Context<'_>) -> Poll<Incoming> {
    let mut bytes = [0; READ_LEN];
    loop {
        let mut buffer = ReadBuf::new(&mut bytes);
        match ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer)) {
            Ok(()) if buffer.filled().is_empty() => return Poll::Ready(Incoming::Ended),
            Ok(()) => {}
            Err(_) => return Poll::Ready(Incoming::Ended),
        }
    }
}

#[cfg(test)]
mod tests;
