//! HTTP/1.1 as a load generator needs it: the head of an answer, and where its body ends.

use std::mem::MaybeUninit;

/// Headers of an answer that are looked at; a longer head is an error.
const HEADERS_MAX: usize = 32;

/// The beginning of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// 100 to 999.
    pub status: u16,
    /// Bytes up to the body.
    pub length: usize,
    /// Bytes of the body.
    pub body: usize,
    /// The server will close the connection after it.
    pub closes: bool,
    /// The answer to [`WEBSOCKET_KEY`] is right.
    pub accepts: bool,
}

/// The answer is not HTTP, or its body has no length: such servers are not for a connection that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an answer that cannot be understood")]
pub struct HttpError;

/// The nonce of every upgrade. It proves that the server speaks WebSocket, and a load generator needs no other
/// proof from each socket.
pub const WEBSOCKET_KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// The answer to it (RFC 6455 section 1.3).
const WEBSOCKET_ACCEPT: &[u8] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Reads the head of an answer. `None`: more bytes are needed.
///
/// # Errors
/// It cannot be understood; the connection is of no more use.
pub fn head(input: &[u8]) -> Result<Option<Head>, HttpError> {
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        input,
        &mut headers,
    );
    let length = match parsed.map_err(|_| HttpError)? {
        httparse::Status::Complete(length) => length,
        httparse::Status::Partial => return Ok(None),
    };
    let status = response.code.ok_or(HttpError)?;
    let mut head = Head { status, length, body: 0, closes: response.version == Some(0), accepts: false };
    let mut body = None;
    for header in response.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            let text = std::str::from_utf8(header.value).map_err(|_| HttpError)?;
            body = Some(text.trim().parse().map_err(|_| HttpError)?);
        } else if header.name.eq_ignore_ascii_case("connection") {
            head.closes |= header.value.eq_ignore_ascii_case(b"close");
        } else if header.name.eq_ignore_ascii_case("sec-websocket-accept") {
            head.accepts = header.value == WEBSOCKET_ACCEPT;
        }
    }
    let has_none = matches!(status, 100..=199 | 204 | 304);
    head.body = if has_none { 0 } else { body.ok_or(HttpError)? };
    Ok(Some(head))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_understood() {
        let answer = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\nX: y\r\n\r\n{}HTTP";
        let expected = Head { status: 202, length: 50, body: 2, closes: false, accepts: false };
        assert_eq!(head(answer), Ok(Some(expected)));
        for end in 0..50 {
            assert_eq!(head(&answer[..end]), Ok(None), "{end} bytes");
        }
        let upgrade =
            b"HTTP/1.1 101 Switching Protocols\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        assert!(head(upgrade).unwrap().unwrap().accepts);
        let last = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        assert!(head(last).unwrap().unwrap().closes);
    }

    #[test]
    fn a_body_without_a_length_is_an_error() {
        for answer in [
            &b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"[..],
            b"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\n",
            b"220 smtp.example\r\n\r\n",
        ] {
            assert_eq!(head(answer), Err(HttpError), "{}", String::from_utf8_lossy(answer));
        }
    }
}
