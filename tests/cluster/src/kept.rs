//! An application server with one connection, which it keeps.

use beckon_testbed::{PATIENCE, node::Node};
use std::io;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// A connection of an application server, on which it sends one request after the other.
#[derive(Debug)]
pub struct KeptConnection {
    stream: TcpStream,
    received: Vec<u8>,
}

/// What a server has answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answered {
    /// The status.
    pub status: u16,
    /// Whether the connection ends with it.
    pub is_last: bool,
}

impl KeptConnection {
    /// Connects to a node that takes PUTs.
    ///
    /// # Panics
    /// If that fails.
    pub async fn open(node: &Node) -> Self {
        let address = node.addresses().http.expect("a program that takes PUTs");
        let stream = TcpStream::connect(address).await.expect("it listens");
        Self { stream, received: Vec::new() }
    }

    /// A PUT of a version to an endpoint.
    pub fn request(endpoint: &str, version: u64) -> Vec<u8> {
        let path = endpoint.splitn(4, '/').nth(3).unwrap_or_default();
        let body = format!("version={version}");
        let head = [
            &format!("PUT /{path} HTTP/1.1"),
            "Host: push",
            "Content-Type: application/x-www-form-urlencoded",
            &format!("Content-Length: {}", body.len()),
            "\r\n",
        ];
        (head.join("\r\n") + &body).into_bytes()
    }

    /// Sends these bytes.
    ///
    /// # Errors
    /// The connection has ended.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// PUTs a version, and waits for the answer.
    ///
    /// # Errors
    /// The connection has ended, or there is no answer within [`PATIENCE`].
    pub async fn put(&mut self, endpoint: &str, version: u64) -> io::Result<Answered> {
        self.send(&Self::request(endpoint, version)).await?;
        self.answer().await
    }

    /// Waits for the next answer.
    ///
    /// # Errors
    /// The connection has ended, or there is none within [`PATIENCE`].
    pub async fn answer(&mut self) -> io::Result<Answered> {
        timeout(PATIENCE, self.read_answer()).await.map_err(|_| io::ErrorKind::TimedOut)?
    }

    async fn read_answer(&mut self) -> io::Result<Answered> {
        let head_len = loop {
            match self.received.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                Some(position) => break position + 4,
                None => self.read().await?,
            }
        };
        let head = String::from_utf8_lossy(&self.received[..head_len]).to_ascii_lowercase();
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let body_len: usize = field("content-length:").and_then(|length| length.parse().ok()).unwrap_or(0);
        let status = head.get(9..12).and_then(|status| status.parse().ok());
        let is_last = field("connection:") == Some("close");
        let status = status.ok_or_else(|| io::Error::other(head.clone()))?;
        while self.received.len() < head_len + body_len {
            self.read().await?;
        }
        self.received.drain(..head_len + body_len);
        Ok(Answered { status, is_last })
    }

    async fn read(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.received).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}
