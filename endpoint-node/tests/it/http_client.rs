//! HTTP requests as an application server writes them, byte by byte.

use std::{collections::BTreeMap, net::SocketAddr};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// An answer, with header names in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Answer {
    /// A header's value, empty if there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// Sends bytes unchanged and reads one answer.
pub(crate) async fn exchange(stream: &mut TcpStream, request: &[u8]) -> Answer {
    stream.write_all(request).await.unwrap();
    read_answer(stream).await
}

/// Reads one answer.
pub(crate) async fn read_answer(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    let head_len = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "the connection ended after {bytes:?}");
    };
    let head = String::from_utf8(bytes[..head_len].to_vec()).unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length: usize = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    while bytes.len() < head_len + length {
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "cut off: {bytes:?}");
    }
    Answer { status, headers, body: String::from_utf8(bytes[head_len..].to_vec()).unwrap() }
}

/// Sends one request on a connection of its own.
pub(crate) async fn send(to: SocketAddr, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: {to}\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
    exchange(&mut stream, &[head.as_bytes(), body].concat()).await
}

/// A PUT of a form.
pub(crate) async fn put(to: SocketAddr, path: &str, form: &str) -> Answer {
    send(to, "PUT", path, "Content-Type: application/x-www-form-urlencoded\r\n", form.as_bytes()).await
}
