//! What a client gets that sends plain HTTP to a port with TLS: an answer that says so, instead of a reset.

use std::io;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Bytes of a request that are read, so that its client can read the answer: a connection that is closed with unread bytes
/// is reset, and the answer is lost with it.
const REQUEST_LEN_MAX: usize = 16 * 1024;

const ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 55\r\n\
    Connection: close\r\n\r\n\
    This port takes TLS only. Use https:// or wss:// here.\n";

/// Whether the connection begins like an HTTP request. Waits for its first byte, and leaves it there.
///
/// # Errors
/// The connection ends before its first byte.
pub(crate) async fn is_plain_http(tcp: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    match tcp.peek(&mut first).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        // A method; the first byte of TLS is 22.
        _ => Ok(first[0].is_ascii_uppercase()),
    }
}

/// Answers, and waits for the client to close the connection.
pub(crate) async fn refuse(mut tcp: TcpStream) {
    if tcp.write_all(ANSWER).await.is_err() || tcp.shutdown().await.is_err() {
        return;
    }
    let mut bytes = [0; 1024];
    let mut read = 0;
    while read < REQUEST_LEN_MAX {
        match tcp.read(&mut bytes).await {
            Ok(0) | Err(_) => return,
            Ok(count) => read += count,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ANSWER;

    #[test]
    fn the_answer_is_as_long_as_it_says() {
        let text = str::from_utf8(ANSWER).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{}", body.len());
    }
}
