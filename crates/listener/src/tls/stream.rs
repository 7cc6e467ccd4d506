//! TLS on a TCP connection that holds no buffer while nothing is on its way.
//!
//! rustls' buffered connections keep 4 KiB for what comes in, for as long as they live. Its unbuffered API leaves all
//! buffers to its caller; this file is that caller, and the only one. Three buffers are allocated when they are needed and
//! freed when they are empty:
//!
//! ```text
//!   TCP ──▶ incoming ──▶ rustls ──▶ plain ──▶ poll_read       a part of a record; what did not fit the reader
//!   TCP ◀── outgoing ◀── rustls ◀──────────── poll_write      records that the kernel has not taken
//! ```
//!
//! Everything that can be decrypted is decrypted as soon as it is read, so `incoming` never holds a whole record between
//! two calls. No more is read while `plain` holds anything, and no more is encrypted while `outgoing` does.

use rustls::{
    CommonState, ServerConfig,
    server::UnbufferedServerConnection,
    unbuffered::{ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus},
};
use std::{
    fmt,
    future::poll_fn,
    io,
    mem::MaybeUninit,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// Bytes that are read from the kernel at once.
const READ_LEN: usize = 4096;

/// The longest record (RFC 5246 section 6.2.3), and so the most that is kept of what cannot be decrypted yet.
const INCOMING_LEN_MAX: usize = 5 + 16_384 + 2048;

/// Bytes that are encrypted at once: those of one record.
const WRITE_LEN: usize = 16_384;

/// A TCP connection on which TLS has been agreed.
pub struct TlsStream {
    tcp: TcpStream,
    session: Session,
}

/// What is kept of TLS between two records.
pub(crate) struct Session {
    connection: UnbufferedServerConnection,
    /// The beginning of a record.
    incoming: Vec<u8>,
    /// What was decrypted and not read.
    plain: Vec<u8>,
    /// Records that the kernel has not taken.
    outgoing: Vec<u8>,
    /// Application data can be sent and received.
    is_established: bool,
    /// The peer has said that nothing follows.
    is_peer_closed: bool,
    /// The last record that is sent is in `outgoing`, or was.
    is_closed: bool,
}

/// Why there was no agreement.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    /// The peer left, or its network.
    #[error("the peer left during the handshake: {0}")]
    Gone(#[from] io::Error),
    /// The peers do not understand each other, or one does not trust the other.
    #[error(transparent)]
    Failed(#[from] rustls::Error),
}

impl TlsStream {
    /// Performs the handshake of a server.
    ///
    /// # Errors
    /// It fails. The peer has been sent the reason, if it understands one.
    pub(crate) async fn accept(
        tcp: TcpStream,
        config: Arc<ServerConfig>,
    ) -> Result<Box<Self>, HandshakeError> {
        let session = Session {
            connection: UnbufferedServerConnection::new(config)?,
            incoming: Vec::new(),
            plain: Vec::new(),
            outgoing: Vec::new(),
            is_established: false,
            is_peer_closed: false,
            is_closed: false,
        };
        let mut stream = Box::new(Self { tcp, session });
        poll_fn(|context| stream.poll_handshake(context)).await?;
        Ok(stream)
    }

    fn poll_handshake(&mut self, context: &mut Context<'_>) -> Poll<Result<(), HandshakeError>> {
        loop {
            if let Err(error) = self.session.process() {
                let _ = self.session.poll_send(&mut self.tcp, context);
                return Poll::Ready(Err(error.into()));
            }
            ready!(self.session.poll_send(&mut self.tcp, context))?;
            if self.session.is_established {
                return Poll::Ready(Ok(()));
            }
            if self.session.is_peer_closed || !ready!(self.session.poll_receive(&mut self.tcp, context))? {
                return Poll::Ready(Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()));
            }
        }
    }

    /// A connection that was taken apart by [`TlsStream::into_parts`].
    pub(crate) fn from_parts(tcp: TcpStream, session: Session) -> Box<Self> {
        Box::new(Self { tcp, session })
    }

    /// The connection, and what is kept of TLS.
    pub(crate) fn into_parts(self) -> (TcpStream, Session) {
        (self.tcp, self.session)
    }

    /// The connection, to set options of it.
    pub(crate) fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// What was agreed.
    pub(crate) fn agreed(&self) -> &CommonState {
        &self.session.connection
    }

    /// Whether there may be something to read.
    pub(crate) fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.session.plain.is_empty() { self.tcp.poll_read_ready(context) } else { Poll::Ready(Ok(())) }
    }

    /// Whether a part of a record has come in, or something that was not read.
    pub(crate) fn has_received(&self) -> bool {
        !self.session.incoming.is_empty() || !self.session.plain.is_empty()
    }

    /// Bytes that the kernel has not taken.
    pub(crate) fn unsent_len(&self) -> usize {
        self.session.outgoing.len()
    }

    /// Bytes of its buffers: of the part of a record, of what was not read, and of what the kernel has not taken.
    pub(crate) fn held(&self) -> usize {
        let Session { incoming, plain, outgoing, .. } = &self.session;
        incoming.capacity() + plain.capacity() + outgoing.capacity()
    }

    /// Says that nothing follows, unless that was said. The kernel may not have taken it yet.
    ///
    /// # Errors
    /// The connection has ended.
    pub(crate) fn poll_close_notify(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.session.close()?;
        self.session.poll_send(&mut self.tcp, context)
    }
}

impl Session {
    /// Performs what the bytes in `incoming` ask for.
    ///
    /// # Errors
    /// The peer broke the protocol. What it is to be told is in `outgoing`.
    fn process(&mut self) -> Result<(), rustls::Error> {
        if self.is_closed {
            // Nothing is answered any more. rustls has an assertion that no alert follows the one that ends a connection.
            self.incoming = Vec::new();
            return Ok(());
        }
        loop {
            let UnbufferedStatus { mut discard, state, .. } =
                self.connection.process_tls_records(&mut self.incoming);
            let mut is_blocked = false;
            let mut failed = None;
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        match record {
                            Ok(record) => {
                                discard += record.discard;
                                self.plain.extend_from_slice(record.payload);
                            }
                            Err(error) => {
                                failed = Some(error);
                                break;
                            }
                        }
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    failed = append(&mut self.outgoing, |room| data.encode(room)).err().map(general);
                }
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.is_peer_closed = true,
                Ok(ConnectionState::Closed | ConnectionState::BlockedHandshake) => is_blocked = true,
                Ok(ConnectionState::WriteTraffic(_)) => {
                    self.is_established = true;
                    is_blocked = true;
                }
                Ok(ConnectionState::ReadEarlyData(_)) => failed = Some(general("early data was not offered")),
                Ok(_) => failed = Some(general("a state that did not exist when this was written")),
                Err(error) => failed = Some(error),
            }
            self.incoming.drain(..discard);
            if let Some(error) = failed {
                self.fail();
                return Err(error);
            }
            if is_blocked {
                break;
            }
        }
        if self.is_peer_closed || self.incoming.is_empty() {
            self.incoming = Vec::new();
        }
        Ok(())
    }

    /// After an error, rustls may have an alert for the peer, which is the last thing that is sent. What came in must not be
    /// processed again, nor anything after it. rustls knows positions in what came in, and panics if it looks for input where
    /// that is gone: so it is called only if it has something to send, which it returns before it looks.
    fn fail(&mut self) {
        self.incoming = Vec::new();
        if self.connection.wants_write() {
            let UnbufferedStatus { state, .. } = self.connection.process_tls_records(&mut self.incoming);
            if let Ok(ConnectionState::EncodeTlsData(mut data)) = state {
                let _ = append(&mut self.outgoing, |room| data.encode(room));
            }
        }
        self.is_closed = true;
        self.is_peer_closed = true;
    }

    /// Appends application data to `outgoing`.
    fn encrypt(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.is_closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let Self { connection, incoming, outgoing, .. } = self;
        match connection.process_tls_records(incoming).state {
            Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                append(outgoing, |room| traffic.encrypt(bytes, room)).map_err(io::Error::other)
            }
            Ok(_) => Err(io::ErrorKind::BrokenPipe.into()),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    /// Appends the last record to `outgoing`.
    fn close(&mut self) -> io::Result<()> {
        if self.is_closed {
            return Ok(());
        }
        self.is_closed = true;
        let Self { connection, incoming, outgoing, .. } = self;
        match connection.process_tls_records(incoming).state {
            Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                append(outgoing, |room| traffic.queue_close_notify(room)).map_err(io::Error::other)
            }
            // The peer has been sent an alert, or has not got so far that it would understand one.
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Reads something from the kernel. Returns false at the end of the stream.
    fn poll_receive(&mut self, tcp: &mut TcpStream, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut bytes = [MaybeUninit::uninit(); READ_LEN];
        let mut buffer = ReadBuf::uninit(&mut bytes);
        ready!(Pin::new(tcp).poll_read(context, &mut buffer))?;
        let received = buffer.filled();
        if self.incoming.len() + received.len() > INCOMING_LEN_MAX + READ_LEN {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "a message is too long")));
        }
        self.incoming.extend_from_slice(received);
        Poll::Ready(Ok(!received.is_empty()))
    }

    /// Hands `outgoing` to the kernel.
    fn poll_send(&mut self, tcp: &mut TcpStream, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut sent = 0;
        let result = loop {
            if sent == self.outgoing.len() {
                break Poll::Ready(Ok(()));
            }
            match Pin::new(&mut *tcp).poll_write(context, &self.outgoing[sent..]) {
                Poll::Ready(Ok(0)) => break Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => sent += count,
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            }
        };
        if sent == self.outgoing.len() {
            self.outgoing = Vec::new();
        } else {
            self.outgoing.drain(..sent);
        }
        result
    }

    /// Reads records until there is application data, or the peer has said that nothing follows.
    fn poll_fill(&mut self, tcp: &mut TcpStream, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.plain.is_empty() && !self.is_peer_closed {
            if !ready!(self.poll_receive(tcp, context))? {
                // The protocols above say themselves where their messages end, so this cuts none of them short unnoticed.
                self.is_peer_closed = true;
                break;
            }
            let processed = self.process();
            if let Poll::Ready(Err(error)) = self.poll_send(tcp, context) {
                return Poll::Ready(Err(error));
            }
            processed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { tcp, session } = &mut *self;
        ready!(session.poll_fill(tcp, context))?;
        let plain = &mut session.plain;
        let count = plain.len().min(buffer.remaining());
        buffer.put_slice(&plain[..count]);
        if count == plain.len() {
            *plain = Vec::new();
        } else {
            plain.drain(..count);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Self { tcp, session } = &mut *self;
        ready!(session.poll_send(tcp, context))?;
        let bytes = &bytes[..bytes.len().min(WRITE_LEN)];
        session.encrypt(bytes)?;
        match session.poll_send(tcp, context) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(bytes.len())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { tcp, session } = &mut *self;
        session.poll_send(tcp, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_close_notify(context))?;
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}

impl fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream").field("tcp", &self.tcp).finish_non_exhaustive()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("is_established", &self.is_established).finish_non_exhaustive()
    }
}

/// An error of rustls that says how much room it needs.
trait NeedsRoom: fmt::Display {
    fn required(&self) -> Option<usize>;
}

impl NeedsRoom for EncodeError {
    fn required(&self) -> Option<usize> {
        match self {
            Self::InsufficientSize(InsufficientSizeError { required_size }) => Some(*required_size),
            Self::AlreadyEncoded => None,
        }
    }
}

impl NeedsRoom for EncryptError {
    fn required(&self) -> Option<usize> {
        match self {
            Self::InsufficientSize(InsufficientSizeError { required_size }) => Some(*required_size),
            Self::EncryptExhausted => None,
        }
    }
}

/// Appends what `encode` writes, with as much room as it says that it needs.
fn append<E: NeedsRoom>(
    buffer: &mut Vec<u8>,
    mut encode: impl FnMut(&mut [u8]) -> Result<usize, E>,
) -> Result<(), E> {
    let start = buffer.len();
    let written = match encode(&mut []) {
        Ok(written) => written,
        Err(error) => {
            let Some(required) = error.required() else { return Err(error) };
            buffer.reserve_exact(required);
            buffer.resize(start + required, 0);
            encode(&mut buffer[start..])?
        }
    };
    buffer.truncate(start + written);
    Ok(())
}

fn general(error: impl fmt::Display) -> rustls::Error {
    rustls::Error::General(error.to_string())
}

#[cfg(test)]
mod tests;
