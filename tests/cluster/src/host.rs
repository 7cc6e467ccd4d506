//! Hosts of their own addresses: what one of them does must not keep the others from their service.

use beckon_testbed::PATIENCE;
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

/// How long an honest host waits for an answer while another one attacks.
pub const SOON: Duration = Duration::from_secs(1);

/// A host: all of its connections come from its address, which is one of 127.0.0.0/8.
#[derive(Debug, Clone, Copy)]
pub struct Host(pub Ipv4Addr);

impl Host {
    /// The host 127.0.0.`number`.
    pub fn new(number: u8) -> Self {
        Self(Ipv4Addr::new(127, 0, 0, number))
    }

    /// A connection that has sent nothing.
    pub async fn connect(self, to: SocketAddr) -> TcpStream {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::new(IpAddr::V4(self.0), 0)).expect("an address of this machine");
        let stream =
            timeout(PATIENCE, socket.connect(to)).await.expect("in time").expect("the server listens");
        stream.set_nodelay(true).expect("a TCP socket");
        stream
    }

    /// So many connections that send nothing.
    pub async fn silent(self, to: SocketAddr, count: usize) -> Vec<TcpStream> {
        let mut silent = Vec::with_capacity(count);
        for _ in 0..count {
            silent.push(self.connect(to).await);
        }
        silent
    }

    /// Sends literal HTTP on a new connection, and returns the head of the answer, which has to come within `limit`. The
    /// answer is empty if the server ends the connection instead.
    pub async fn ask_within(self, limit: Duration, to: SocketAddr, request: &str) -> (String, TcpStream) {
        let exchange = async {
            let mut stream = self.connect(to).await;
            // The server may have ended the connection.
            let _ = stream.write_all(request.as_bytes()).await;
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => break,
                }
            }
            (String::from_utf8(head).expect("an HTTP head is text"), stream)
        };
        let answer = timeout(limit, exchange).await;
        answer.unwrap_or_else(|_| panic!("no answer within {limit:?} to {request:?}"))
    }

    /// The status of the answer to a request, which has to come [`SOON`].
    pub async fn status(self, to: SocketAddr, request: &str) -> u16 {
        status(&self.ask_within(SOON, to, request).await.0)
    }

    /// The body of the answer to an operator's GET of this path.
    pub async fn body(self, to: SocketAddr, path: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n");
        let (_, mut stream) = self.ask_within(PATIENCE, to, &request).await;
        let mut body = String::new();
        // What has come until the connection ends.
        let _ = timeout(PATIENCE, stream.read_to_string(&mut body)).await;
        body
    }

    /// The status of a GET of this path.
    pub async fn get(self, to: SocketAddr, path: &str) -> u16 {
        self.status(to, &format!("GET {path} HTTP/1.1\r\nHost: push.example\r\n\r\n")).await
    }
}

/// The status of the answer with this head; 0 if there is none.
pub fn status(head: &str) -> u16 {
    head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
}
