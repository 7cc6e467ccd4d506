//! Connections of one address, with blocking reads and writes.

use crate::frame::{self, Frame};
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpStream},
    time::Duration,
};

/// First frame of a text message of several frames.
pub(super) const TEXT_BEGIN: u8 = 0x01;

/// Final frame of a text message.
pub(super) const TEXT: u8 = 0x81;

/// A Pong frame.
pub(super) const PONG: u8 = 0x8a;

/// The longest head of an answer, bytes.
const HEAD_LEN_MAX: usize = 16 * 1024;

/// A host, by the address that its connections come from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caller {
    from: Option<IpAddr>,
}

impl Caller {
    pub(super) fn new(from: Option<IpAddr>) -> Self {
        Self { from }
    }

    /// Connects. Each read and write on the connection has the same time limit.
    pub(super) fn connect(self, to: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
        if let Some(from) = self.from {
            socket.bind(&SocketAddr::new(from, 0).into())?;
        }
        socket.connect_timeout(&to.into(), limit)?;
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(limit))?;
        stream.set_write_timeout(Some(limit))?;
        Ok(stream)
    }

    /// Sends literal HTTP on a new connection. The status of the answer, and the connection behind its head.
    pub(super) fn ask(self, to: SocketAddr, request: &str, limit: Duration) -> io::Result<(u16, TcpStream)> {
        let mut stream = self.connect(to, limit)?;
        stream.write_all(request.as_bytes())?;
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte)?;
            head.push(byte[0]);
            if head.len() > HEAD_LEN_MAX {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        let status = head.get(9..12).and_then(|status| str::from_utf8(status).ok()?.parse().ok());
        Ok((status.ok_or(io::ErrorKind::InvalidData)?, stream))
    }

    /// A WebSocket.
    pub(super) fn upgrade(self, to: SocketAddr, limit: Duration) -> io::Result<WebSocket> {
        let (status, stream) = self.ask(to, &upgrade_request(to), limit)?;
        if status == 101 {
            return Ok(WebSocket { stream, read: Vec::new() });
        }
        Err(io::Error::other(format!("HTTP status {status}")))
    }
}

/// The request of RFC 6455 section 4.1.
pub(super) fn upgrade_request(to: SocketAddr) -> String {
    format!(
        "GET / HTTP/1.1\r\nHost: {to}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// A WebSocket after its upgrade.
#[derive(Debug)]
pub(super) struct WebSocket {
    stream: TcpStream,
    read: Vec<u8>,
}

impl WebSocket {
    /// Sends one frame. Its mask is zero, so the payload stays as it is.
    pub(super) fn send(&mut self, first: u8, payload: &[u8]) -> io::Result<()> {
        let mut frame = vec![first];
        match payload.len() {
            length @ 0..=125 => frame.push(0x80 | length as u8),
            length @ 126..=0xffff => {
                frame.push(0x80 | 126);
                frame.extend((length as u16).to_be_bytes());
            }
            length => {
                frame.push(0x80 | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend([0; 4]);
        frame.extend(payload);
        self.stream.write_all(&frame)
    }

    /// The next message. Pings are answered, and what else comes in is skipped.
    pub(super) fn next(&mut self) -> io::Result<String> {
        loop {
            let frame = frame::read(&self.read).map_err(io::Error::other)?;
            if let Some((frame, len)) = frame {
                let (text, ping) = match frame {
                    Frame::Message(text) => (Some(String::from_utf8_lossy(text).into_owned()), None),
                    Frame::Ping(payload) => (None, Some(payload.to_vec())),
                    Frame::Pong(_) => (None, None),
                    Frame::Close(code) => return Err(io::Error::other(format!("closed with {code}"))),
                };
                self.read.drain(..len);
                if let Some(payload) = ping {
                    self.send(PONG, &payload)?;
                }
                match text {
                    Some(text) => return Ok(text),
                    None => continue,
                }
            }
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                len => self.read.extend(&bytes[..len]),
            }
        }
    }

    /// Sends a request and waits for the next message.
    pub(super) fn request(&mut self, text: &str) -> io::Result<serde_json::Value> {
        self.send(TEXT, text.as_bytes())?;
        Ok(serde_json::from_str(&self.next()?)?)
    }
}
