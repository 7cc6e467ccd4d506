//! Which worker of a connection-node a connection is for.
//!
//! A connection between two nodes that is for another worker than the first begins with eight bytes, before HTTP/2 and
//! before TLS:
//!
//! ```text
//! "beckon" | version 0x01 | index of the worker
//! ```
//!
//! The node hands the socket to that worker, which then serves it from its first byte of TLS or HTTP/2 to its last. So a
//! notification is handled on one thread, from the stream that it comes on to the socket that it leaves by. Neither
//! protocol begins with a `b`, so a connection without the line is served as well, by the first worker.

use std::{io, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// Time from the accepted connection to the end of the line.
pub const LINE_TIMEOUT: Duration = Duration::from_secs(2);

/// What the line begins with.
const BEGINNING: [u8; 7] = *b"beckon\x01";

/// Asks for a worker, on a connection on which nothing was sent yet.
///
/// # Errors
/// The connection is broken.
pub(crate) async fn write(stream: &mut TcpStream, worker: u8) -> io::Result<()> {
    if worker == 0 {
        return Ok(());
    }
    let [a, b, c, d, e, f, version] = BEGINNING;
    stream.write_all(&[a, b, c, d, e, f, version, worker]).await
}

/// Reads which worker a connection is for, within [`LINE_TIMEOUT`].
///
/// # Errors
/// The connection is broken or silent, or begins with another line.
pub async fn read(stream: &mut TcpStream) -> io::Result<u8> {
    timeout(LINE_TIMEOUT, async {
        let mut first = [0];
        if stream.peek(&mut first).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if first[0] != BEGINNING[0] {
            return Ok(0);
        }
        let mut line = [0; BEGINNING.len() + 1];
        stream.read_exact(&mut line).await?;
        match line {
            [beginning @ .., worker] if beginning == BEGINNING => Ok(worker),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    })
    .await?
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (client, accepted) =
            tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        (client.unwrap(), accepted.unwrap().0)
    }

    #[tokio::test]
    async fn the_worker_that_is_asked_for_is_read_and_nothing_else() {
        for worker in [0, 1, 255] {
            let (mut client, mut server) = pair().await;
            write(&mut client, worker).await.unwrap();
            client.write_all(b"PRI * HTTP/2.0").await.unwrap();
            assert_eq!(read(&mut server).await.unwrap(), worker);
            let mut next = [0; 3];
            server.read_exact(&mut next).await.unwrap();
            assert_eq!(&next, b"PRI");
        }
    }

    #[tokio::test]
    async fn tls_begins_without_a_line() {
        let (mut client, mut server) = pair().await;
        client.write_all(&[0x16, 3, 1]).await.unwrap();
        assert_eq!(read(&mut server).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_line_may_come_in_pieces() {
        let (mut client, mut server) = pair().await;
        client.write_all(b"bec").await.unwrap();
        let (worker, ()) = tokio::join!(read(&mut server), async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            client.write_all(b"kon\x01\x07").await.unwrap();
        });
        assert_eq!(worker.unwrap(), 7);
    }

    #[tokio::test]
    async fn another_line_and_silence_are_errors() {
        let (mut client, mut server) = pair().await;
        client.write_all(b"beckon\x02\x01").await.unwrap();
        assert_eq!(read(&mut server).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
        let (client, mut server) = pair().await;
        drop(client);
        assert_eq!(read(&mut server).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        let (mut client, mut server) = pair().await;
        client.write_all(b"b").await.unwrap();
        assert_eq!(read(&mut server).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
