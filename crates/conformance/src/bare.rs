//! A WebSocket without any help: it answers nothing by itself, and sends exactly what the check gives it.

use crate::patience::PATIENCE;
use std::{fmt, net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// Final frame of a text message.
pub const TEXT: u8 = 0x81;
/// First frame of a text message of several frames.
pub const TEXT_BEGIN: u8 = 0x01;
/// Last frame of a message of several frames.
pub const CONTINUATION_END: u8 = 0x80;
/// A Close frame.
pub const CLOSE: u8 = 0x88;
/// A Ping frame.
pub const PING: u8 = 0x89;
/// A Pong frame.
pub const PONG: u8 = 0x8a;

/// The longest frame that is expected from a server here, bytes.
const PAYLOAD_MAX: usize = 1 << 20;

/// The longest head of an answer that is read, bytes.
const HEAD_MAX: usize = 1 << 16;

/// A frame as it came: the first byte (final bit and opcode) and the payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BareFrame {
    /// One of the constants of this module.
    pub head: u8,
    /// The payload.
    pub payload: Vec<u8>,
}

impl BareFrame {
    /// The code of a Close frame.
    pub fn close_code(&self) -> Option<u16> {
        match self.payload[..] {
            [high, low, ..] if self.head == CLOSE => Some(u16::from_be_bytes([high, low])),
            _ => None,
        }
    }
}

/// TCP, or TLS over it.
pub trait Stream: AsyncRead + AsyncWrite + fmt::Debug + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + fmt::Debug + Unpin + Send> Stream for T {}

/// A WebSocket after the upgrade.
#[derive(Debug)]
pub struct BareSocket {
    stream: Box<dyn Stream>,
}

impl BareSocket {
    /// Connects to `host:port` and upgrades `/`.
    pub async fn connect(address: SocketAddr) -> Self {
        let (head, stream) = request(address, &upgrade_request("/", "")).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "no upgrade: {head}");
        Self { stream: Box::new(stream) }
    }

    /// A WebSocket on a connection that was upgraded.
    pub fn over(stream: impl Stream + 'static) -> Self {
        Self { stream: Box::new(stream) }
    }

    /// Sends a masked frame.
    pub async fn send(&mut self, head: u8, payload: &[u8]) {
        self.send_bytes(&masked(head, payload)).await;
    }

    /// Sends a masked frame to a server that may have ended the connection.
    pub async fn try_send(&mut self, head: u8, payload: &[u8]) {
        let _ = timeout(PATIENCE, self.stream.write_all(&masked(head, payload))).await;
    }

    /// Sends these bytes.
    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the server reads");
    }

    /// The next frame, at most after `limit`; `None` if TCP ends first.
    pub async fn receive_within(&mut self, limit: Duration) -> Option<BareFrame> {
        match timeout(limit, self.receive()).await {
            Ok(frame) => frame,
            Err(_) => panic!("no frame within {limit:?}"),
        }
    }

    async fn receive(&mut self) -> Option<BareFrame> {
        let mut start = [0; 2];
        self.stream.read_exact(&mut start).await.ok()?;
        let [head, length] = start;
        assert_eq!(length & 0x80, 0, "a server does not mask");
        let length = match length {
            126 => usize::from(self.stream.read_u16().await.ok()?),
            127 => usize::try_from(self.stream.read_u64().await.ok()?).expect("64-bit machine"),
            length => usize::from(length),
        };
        assert!(length <= PAYLOAD_MAX, "a frame of {length} bytes");
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).await.ok()?;
        Some(BareFrame { head, payload })
    }

    /// Waits for the end of TCP, passing over frames.
    pub async fn ended(&mut self) {
        let end = async { while self.receive().await.is_some() {} };
        timeout(PATIENCE, end).await.expect("the server drops TCP");
    }
}

/// A frame as a client sends it.
pub fn masked(head: u8, payload: &[u8]) -> Vec<u8> {
    // Any mask is good; one that is not zero shows that the server removes it.
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![head];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// The request of RFC 6455 section 4.1, with further header lines, each ended by CRLF.
pub fn upgrade_request(path: &str, further: &str) -> String {
    upgrade_request_to("push.example", path, further)
}

/// [`upgrade_request`] to this host, and its port if it is not the usual one.
pub fn upgrade_request_to(host: &str, path: &str, further: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{further}\r\n"
    )
}

/// Sends literal HTTP and returns the head of the answer, with the connection behind it.
pub async fn request(address: SocketAddr, text: &str) -> (String, TcpStream) {
    let stream = TcpStream::connect(address).await.expect("the server listens");
    stream.set_nodelay(true).expect("a TCP socket");
    exchange(stream, text, PATIENCE).await
}

/// Sends literal HTTP on a new connection and returns the head of the answer, which may take so long.
pub async fn exchange<S: Stream>(mut stream: S, text: &str, patience: Duration) -> (String, S) {
    let exchange = async {
        stream.write_all(text.as_bytes()).await.expect("the server reads");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            assert!(head.len() < HEAD_MAX, "an HTTP head of more than {HEAD_MAX} bytes");
            head.push(stream.read_u8().await.expect("an HTTP head"));
        }
        String::from_utf8(head).expect("an HTTP head is text")
    };
    let head = timeout(patience, exchange).await.expect("an answer in time");
    (head, stream)
}
