//! A WebSocket after its upgrade, which holds no buffer while nothing is being read or written.
//!
//! tungstenite's [`WebSocketContext`] does the protocol. It is made when bytes arrive and dropped when they
//! have been dealt with; it is kept only in the midst of a message, while its caller is not taking messages,
//! and while the socket is closing. Whether it can be dropped is known from the frame boundaries of the bytes
//! that went through (`Boundary`). What is written goes to one buffer that is given back once the kernel has
//! taken it all.

use bytes::Bytes;
use std::{
    io::{self, Read, Write},
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead as _, AsyncWrite as _, ReadBuf},
    net::TcpStream,
};
use tokio_tungstenite::tungstenite::{
    self, Message,
    error::{CapacityError, Error, ProtocolError},
    protocol::{
        CloseFrame, Role, WebSocketConfig, WebSocketContext,
        frame::{
            Frame,
            coding::{CloseCode, Data, OpCode},
        },
    },
};

/// How many bytes are read from the kernel at once.
const READ_LEN: usize = 4096;

/// How much may wait for the kernel before nothing more is taken from the mailbox or read from the socket: the
/// peer does not drain its socket.
const OUT_LEN_HIGH: usize = 64 * 1024;

/// A WebSocket on a TCP connection.
#[derive(Debug)]
pub struct Socket {
    tcp: TcpStream,
    /// Frames that the kernel has not taken yet.
    out: Vec<u8>,
    /// The protocol's state, when there is any to keep.
    inbound: Option<Box<Inbound>>,
}

#[derive(Debug)]
struct Inbound {
    context: WebSocketContext,
    boundary: Boundary,
    /// Bytes that came together with the upgrade request.
    early: Bytes,
    stage: Stage,
}

#[derive(Debug, PartialEq, Eq)]
enum Stage {
    /// Messages come and go.
    Open,
    /// The peer has closed; our Close frame is queued in the context until [`Socket::answer_close`].
    PeerClosed,
    /// Our Close frame is out; the peer's is awaited.
    Closing,
    /// The peer broke the protocol; our Close frame is out. What comes in is thrown away.
    Failed,
}

/// What comes in.
#[derive(Debug, PartialEq)]
pub enum Incoming {
    /// A whole text message.
    Text(tungstenite::Utf8Bytes),
    /// A whole binary message.
    Binary(Bytes),
    /// A Ping or Pong frame; pings are answered already.
    Control,
    /// The peer broke the protocol and is to be told so with this code. Nothing more comes in.
    Broken(beckon_session::CloseCode),
    /// The peer has sent a Close frame. It may be answered ([`Socket::answer_close`]).
    Closed,
    /// There is nothing more to read or to answer: end of stream, reset, or the closing handshake is done.
    Ended,
}

impl Socket {
    /// A socket that has been upgraded. `early` are bytes that the peer sent right after its request.
    pub fn new(tcp: TcpStream, early: Bytes, message_len_max: usize) -> Self {
        let inbound = (!early.is_empty()).then(|| Box::new(Inbound::new(early, message_len_max)));
        Self { tcp, out: Vec::new(), inbound }
    }

    /// Whether nothing is kept but the TCP connection.
    pub fn is_at_rest(&self) -> bool {
        self.out.is_empty() && self.inbound.is_none()
    }

    /// The TCP connection of a socket at rest, without the runtime's registration.
    ///
    /// # Errors
    /// The runtime's event queue does not let go of it; then it is closed.
    pub fn suspend(self) -> io::Result<std::net::TcpStream> {
        self.tcp.into_std()
    }

    /// A socket that was suspended. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The runtime's event queue does not take it; then it is closed.
    pub fn resume(tcp: std::net::TcpStream) -> io::Result<Self> {
        Ok(Self { tcp: TcpStream::from_std(tcp)?, out: Vec::new(), inbound: None })
    }

    /// The next message, if one is there. `Pending` registers the context's task to be woken.
    pub fn poll_next(&mut self, context: &mut Context<'_>, message_len_max: usize) -> Poll<Incoming> {
        // Nothing is made for a socket that only may have something to read.
        if self.inbound.is_none()
            && let Poll::Pending = self.tcp.poll_read_ready(context)
        {
            return Poll::Pending;
        }
        let inbound =
            self.inbound.get_or_insert_with(|| Box::new(Inbound::new(Bytes::new(), message_len_max)));
        if inbound.stage == Stage::Failed {
            return poll_discard(&mut self.tcp, context).map(|()| Incoming::Ended);
        }
        let mut pipe = Pipe {
            tcp: &mut self.tcp,
            out: &mut self.out,
            boundary: &mut inbound.boundary,
            early: &mut inbound.early,
            context,
        };
        let incoming = match inbound.context.read(&mut pipe) {
            Ok(Message::Text(text)) => Incoming::Text(text),
            Ok(Message::Binary(bytes)) => Incoming::Binary(bytes),
            Ok(Message::Ping(_) | Message::Pong(_)) => Incoming::Control,
            Ok(Message::Close(_)) if inbound.stage == Stage::Open => {
                inbound.stage = Stage::PeerClosed;
                Incoming::Closed
            }
            Ok(Message::Close(_) | Message::Frame(_)) => Incoming::Ended,
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                if inbound.stage == Stage::Open && inbound.boundary.is_clean() {
                    self.inbound = None;
                }
                return Poll::Pending;
            }
            Err(error) if inbound.stage == Stage::Open => match blame(&error) {
                Some(code) => Incoming::Broken(code),
                None => Incoming::Ended,
            },
            Err(_) => Incoming::Ended,
        };
        Poll::Ready(incoming)
    }

    /// Whether so much waits for the kernel that nothing more should be made to wait.
    pub fn is_congested(&self) -> bool {
        self.out.len() > OUT_LEN_HIGH
    }

    /// Whether the kernel has taken everything.
    pub fn is_flushed(&self) -> bool {
        self.out.is_empty()
    }

    /// Queues a text message.
    pub fn send(&mut self, text: String) {
        self.queue(Frame::message(text, OpCode::Data(Data::Text), true));
    }

    /// Queues a Ping frame without payload.
    pub fn ping(&mut self) {
        self.queue(Frame::ping(Bytes::new()));
    }

    /// Queues a Close frame. `broken` says that the peer broke the protocol, so that its own Close frame cannot
    /// be told from rubbish.
    pub fn close(&mut self, code: u16, broken: bool, message_len_max: usize) {
        let inbound =
            self.inbound.get_or_insert_with(|| Box::new(Inbound::new(Bytes::new(), message_len_max)));
        inbound.stage = if broken { Stage::Failed } else { Stage::Closing };
        let frame = CloseFrame { code: CloseCode::from(code), reason: tungstenite::Utf8Bytes::default() };
        let mut sink = Sink(&mut self.out);
        // Writing to memory cannot fail, and the context accepts one Close in any state.
        let _ = inbound.context.close(&mut sink, Some(frame));
    }

    /// Queues the answer to the peer's Close frame.
    pub fn answer_close(&mut self) {
        if let Some(inbound) = &mut self.inbound {
            // Ends with ConnectionClosed, which says that the answer is written.
            let _ = inbound.context.flush(&mut Sink(&mut self.out));
        }
    }

    /// Hands what is queued to the kernel. Ready when it has taken all of it; `progress` is set if it has taken
    /// some.
    pub fn poll_flush(&mut self, context: &mut Context<'_>, progress: &mut bool) -> Poll<io::Result<()>> {
        let mut written = 0;
        let result = loop {
            if written == self.out.len() {
                break Poll::Ready(Ok(()));
            }
            match Pin::new(&mut self.tcp).poll_write(context, &self.out[written..]) {
                Poll::Ready(Ok(0)) => break Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => written += count,
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            }
        };
        *progress |= written > 0;
        if written == self.out.len() {
            self.out = Vec::new();
        } else {
            self.out.drain(..written);
        }
        result
    }

    /// Tells the peer that nothing more will be sent.
    pub fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }

    fn queue(&mut self, frame: Frame) {
        self.out.reserve_exact(frame.len());
        // Writing to memory cannot fail.
        let _ = frame.format(&mut self.out);
    }
}

impl Inbound {
    fn new(early: Bytes, message_len_max: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_LEN)
            .write_buffer_size(0)
            .max_message_size(Some(message_len_max))
            .max_frame_size(Some(message_len_max));
        Self {
            context: WebSocketContext::new(Role::Server, Some(config)),
            boundary: Boundary::default(),
            early,
            stage: Stage::Open,
        }
    }
}

/// The Close code for what went wrong, or `None` if the connection is beyond telling.
fn blame(error: &Error) -> Option<beckon_session::CloseCode> {
    use beckon_session::CloseCode;
    match error {
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) | Error::Io(_) => None,
        Error::ConnectionClosed | Error::AlreadyClosed => None,
        Error::Capacity(CapacityError::MessageTooLong { .. }) => Some(CloseCode::TooBig),
        Error::Utf8(_) => Some(CloseCode::Invalid),
        Error::Protocol(_) | Error::Capacity(_) | Error::AttackAttempt => Some(CloseCode::Protocol),
        Error::WriteBufferFull(_) | Error::Tls(_) | Error::Url(_) | Error::Http(_) | Error::HttpFormat(_) => {
            // Not of this side of an upgraded socket without a limit on writing.
            Some(CloseCode::Error)
        }
    }
}

/// Throws away what comes in, until the end of the stream.
fn poll_discard(tcp: &mut TcpStream, context: &mut Context<'_>) -> Poll<()> {
    let mut bytes = [0; READ_LEN];
    loop {
        let mut buffer = ReadBuf::new(&mut bytes);
        match ready!(Pin::new(&mut *tcp).poll_read(context, &mut buffer)) {
            Ok(()) if buffer.filled().is_empty() => return Poll::Ready(()),
            Ok(()) => {}
            Err(_) => return Poll::Ready(()),
        }
    }
}

/// What the protocol reads from and writes to: the TCP connection, and the queue.
struct Pipe<'a, 'c> {
    tcp: &'a mut TcpStream,
    out: &'a mut Vec<u8>,
    boundary: &'a mut Boundary,
    early: &'a mut Bytes,
    context: &'a mut Context<'c>,
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
        match Pin::new(&mut *self.tcp).poll_read(self.context, &mut read) {
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
struct Sink<'a>(&'a mut Vec<u8>);

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

/// Follows the frames of a peer's bytes (RFC 6455 section 5.2), to know when no part of a message is under way.
#[derive(Debug, Default)]
struct Boundary {
    /// The header of the current frame, as far as it has come.
    header: [u8; 14],
    header_len: u8,
    /// Payload of the current frame that is still to come.
    payload_left: u64,
    /// A message has begun whose last fragment has not come.
    fragmented: bool,
}

impl Boundary {
    /// Whether the bytes so far end with a whole message.
    fn is_clean(&self) -> bool {
        self.header_len == 0 && self.payload_left == 0 && !self.fragmented
    }

    fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.payload_left > 0 {
                let skipped =
                    usize::try_from(self.payload_left).map_or(bytes.len(), |left| left.min(bytes.len()));
                self.payload_left -= skipped as u64;
                bytes = &bytes[skipped..];
                continue;
            }
            self.header[usize::from(self.header_len)] = bytes[0];
            self.header_len += 1;
            bytes = &bytes[1..];
            if self.header_len >= 2 && self.header_len == self.header_size() {
                self.end_of_header();
            }
        }
    }

    /// Size of a header with these first two bytes.
    fn header_size(&self) -> u8 {
        let length = match self.header[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask = if self.header[1] & 0x80 == 0 { 0 } else { 4 };
        2 + length + mask
    }

    fn end_of_header(&mut self) {
        self.payload_left = match self.header[1] & 0x7f {
            126 => u64::from(u16::from_be_bytes([self.header[2], self.header[3]])),
            127 => self.header[2..10].iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
            length => u64::from(length),
        };
        let is_control = self.header[0] & 0x08 != 0;
        if !is_control {
            self.fragmented = self.header[0] & 0x80 == 0;
        }
        self.header_len = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A masked frame as a client sends it.
    fn frame(first: u8, length: usize) -> Vec<u8> {
        let mut bytes = vec![first];
        match length {
            0..126 => bytes.push(0x80 | length as u8),
            126..65_536 => {
                bytes.push(0x80 | 126);
                bytes.extend((length as u16).to_be_bytes());
            }
            _ => {
                bytes.push(0x80 | 127);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        bytes.extend([0; 4]);
        bytes.extend(vec![0x80; length]);
        bytes
    }

    #[test]
    fn only_the_end_of_a_whole_message_is_clean() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let bytes = frame(0x81, length);
            for chunk in [1, 2, 7, bytes.len()] {
                let mut boundary = Boundary::default();
                let mut passed = 0;
                for part in bytes.chunks(chunk) {
                    boundary.pass(part);
                    passed += part.len();
                    assert_eq!(boundary.is_clean(), passed == bytes.len(), "{length} {chunk} {passed}");
                }
            }
        }
    }

    #[test]
    fn a_message_in_fragments_is_clean_after_the_last_one() {
        let mut boundary = Boundary::default();
        for (first, clean) in [(0x01, false), (0x00, false), (0x89, false), (0x80, true), (0x89, true)] {
            boundary.pass(&frame(first, 5));
            assert_eq!(boundary.is_clean(), clean, "{first:x}");
        }
    }
}
