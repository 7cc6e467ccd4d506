//! The PROXY protocol, versions 1 and 2 (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>): what a trusted
//! proxy sends before the first byte of the connection that it passes on.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};
use tokio::{io::AsyncReadExt as _, net::TcpStream};

/// The first bytes of version 2.
const SIGNATURE_2: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The first bytes of version 1. Its shortest header is longer than [`SIGNATURE_2`].
const SIGNATURE_1: &[u8] = b"PROXY ";

/// The longest header of version 1, with its line end.
const LINE_LEN_MAX: usize = 107;

/// The longest rest of a header of version 2 that is accepted: addresses, and whatever a proxy adds to them.
const REST_LEN_MAX: usize = 2048;

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// The connection is from this address.
    From(IpAddr),
    /// The connection is the proxy's own, such as a health check, or from an address that has no place in the header.
    Local,
}

/// Reads a header, and not a byte more.
///
/// # Errors
/// The stream does not begin with a header, or ends within it.
pub async fn read(tcp: &mut TcpStream) -> io::Result<Said> {
    let mut start = [0; SIGNATURE_2.len()];
    tcp.read_exact(&mut start).await?;
    let said = if start == *SIGNATURE_2 {
        let mut head = [0; 4];
        tcp.read_exact(&mut head).await?;
        let [command, family, len @ ..] = head;
        let rest_len = usize::from(u16::from_be_bytes(len));
        if rest_len > REST_LEN_MAX {
            return Err(malformed());
        }
        let mut rest = vec![0; rest_len];
        tcp.read_exact(&mut rest).await?;
        parse_2(command, family, &rest)
    } else if start.starts_with(SIGNATURE_1) {
        parse_1(&read_line(tcp, &start).await?)
    } else {
        None
    };
    said.ok_or_else(malformed)
}

/// The rest of a line that begins with `start`, without its end.
async fn read_line(tcp: &mut TcpStream, start: &[u8]) -> io::Result<Vec<u8>> {
    let mut line = start.to_vec();
    loop {
        let mut ahead = [0; LINE_LEN_MAX];
        let ahead_len = tcp.peek(&mut ahead).await?;
        if ahead_len == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let end = ahead[..ahead_len].iter().position(|byte| *byte == b'\n');
        let mut part = vec![0; end.map_or(ahead_len, |end| end + 1)];
        tcp.read_exact(&mut part).await?;
        line.extend(part);
        if line.len() > LINE_LEN_MAX {
            return Err(malformed());
        }
        if end.is_some() {
            return line.strip_suffix(b"\r\n").map(<[u8]>::to_vec).ok_or_else(malformed);
        }
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not a PROXY protocol header")
}

/// A line of version 1.
fn parse_1(line: &[u8]) -> Option<Said> {
    let words: Vec<&str> = str::from_utf8(line).ok()?.split(' ').collect();
    match words[..] {
        ["PROXY", "UNKNOWN", ..] => Some(Said::Local),
        ["PROXY", protocol, from, to, from_port, to_port] => {
            let (from, to): (IpAddr, IpAddr) = (from.parse().ok()?, to.parse().ok()?);
            let _ports: (u16, u16) = (from_port.parse().ok()?, to_port.parse().ok()?);
            let is_4 = match protocol {
                "TCP4" => true,
                "TCP6" => false,
                _ => return None,
            };
            (from.is_ipv4() == is_4 && to.is_ipv4() == is_4).then_some(Said::From(from))
        }
        _ => None,
    }
}

/// The rest of a header of version 2, after its length.
fn parse_2(command: u8, family: u8, rest: &[u8]) -> Option<Said> {
    match (command, family >> 4) {
        (0x20, _) => Some(Said::Local),
        // Both addresses and both ports have to be there.
        (0x21, 1) => rest
            .get(..12)
            .and_then(<[u8]>::first_chunk::<4>)
            .map(|from| Said::From(Ipv4Addr::from(*from).into())),
        (0x21, 2) => rest
            .get(..36)
            .and_then(<[u8]>::first_chunk::<16>)
            .map(|from| Said::From(Ipv6Addr::from(*from).into())),
        // Unspecified, or a Unix socket.
        (0x21, 0 | 3) => Some(Said::Local),
        _ => None,
    }
}

/// What a whole header says, for the fuzz target. `None` if it is malformed.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn parse(header: &[u8]) -> Option<Said> {
    match header.strip_prefix(SIGNATURE_2) {
        Some([command, family, len_high, len_low, rest @ ..]) => {
            let rest_len = usize::from(u16::from_be_bytes([*len_high, *len_low]));
            parse_2(*command, *family, rest.get(..rest_len)?)
        }
        Some(_) => None,
        None => parse_1(header.strip_suffix(b"\r\n")?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{io::AsyncWriteExt as _, net::TcpListener};

    fn from(address: &str) -> Option<Said> {
        Some(Said::From(address.parse().unwrap()))
    }

    fn version_2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE_2, &[command, family][..], &len, rest].concat()
    }

    /// What is read of these bytes, sent in pieces, and what is left of them.
    async fn check(header: &[u8], piece_len: usize, expected: Option<Said>) {
        const REST: &[u8] = b"GET / HTTP/1.1\r\n\r\n";
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut receiver = listener.accept().await.unwrap().0;
        sender.set_nodelay(true).unwrap();
        let bytes = [header, REST].concat();
        let send = async {
            for piece in bytes.chunks(piece_len) {
                sender.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            sender.shutdown().await.unwrap();
        };
        let (said, ()) = tokio::join!(read(&mut receiver), send);
        assert_eq!(said.ok(), expected, "{header:?}");
        if expected.is_some() {
            let mut rest = Vec::new();
            receiver.read_to_end(&mut rest).await.unwrap();
            assert_eq!(rest, REST, "{header:?}");
        }
    }

    #[tokio::test]
    async fn headers_of_both_versions_are_read_to_their_last_byte() {
        let ip4 = [192, 0, 2, 7, 10, 0, 0, 1, 0x10, 0, 0, 80];
        let mut ip6 = [0; 36];
        ip6[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
        let with_more = [&ip4[..], &[0xea, 0, 3, 1, 2, 3]].concat();
        for piece_len in [1, 7, 4096] {
            check(b"PROXY TCP4 192.0.2.7 10.0.0.1 4096 80\r\n", piece_len, from("192.0.2.7")).await;
            check(b"PROXY TCP6 2001:db8::7 2001:db8::1 4096 80\r\n", piece_len, from("2001:db8::7")).await;
            check(b"PROXY UNKNOWN\r\n", piece_len, Some(Said::Local)).await;
            check(&version_2(0x21, 0x11, &ip4), piece_len, from("192.0.2.7")).await;
            check(&version_2(0x21, 0x11, &with_more), piece_len, from("192.0.2.7")).await;
            check(&version_2(0x21, 0x21, &ip6), piece_len, from("2001:db8::")).await;
            check(&version_2(0x20, 0, &[]), piece_len, Some(Said::Local)).await;
            check(&version_2(0x21, 0, &[]), piece_len, Some(Said::Local)).await;
            check(&version_2(0x21, 0x31, &[0; 216]), piece_len, Some(Said::Local)).await;
        }
    }

    #[tokio::test]
    async fn anything_else_is_refused() {
        let long = [b"PROXY UNKNOWN ".as_slice(), &[b'a'; 200], b"\r\n"].concat();
        for header in [
            b"".as_slice(),
            b"PROXY TCP4 192.0.2.7 10.0.0.1 4096\r\n",
            b"PROXY TCP4 2001:db8::7 10.0.0.1 4096 80\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 4096 65536\r\n",
            b"PROXY TCP9 192.0.2.7 10.0.0.1 4096 80\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 4096 80\n",
            &long,
            &version_2(0x21, 0x11, &[192, 0, 2, 7]),
            &version_2(0x11, 0x11, &[0; 12]),
            &version_2(0x22, 0x11, &[0; 12]),
            &version_2(0x21, 0x41, &[0; 12]),
            &version_2(0x20, 0, &[0; REST_LEN_MAX + 1]),
        ] {
            check(header, 4096, None).await;
        }
    }
}
