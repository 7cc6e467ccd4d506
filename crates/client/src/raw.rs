//! One WebSocket at the level of frames: send anything, receive the next thing within a time limit.

use crate::{
    error::{Close, Error},
    tls,
};
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderValue, Uri, header};
use rustls::ClientConfig;
use std::{io, sync::Arc, time::Duration};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, client_async_tls_with_config,
    tungstenite::{
        Message, Utf8Bytes,
        client::IntoClientRequest as _,
        handshake::client::Response,
        protocol::{CloseFrame, WebSocketConfig},
    },
};

/// The subprotocol of both dialects (PROTOCOL.md section 1.4).
pub const SUBPROTOCOL: &str = "push-notification";

/// The read buffer of a socket, in bytes. Most messages are shorter; a longer one takes several reads.
const READ_BUFFER: usize = 1024;

/// The longest message that is accepted from a server, in bytes; a longer one ends the connection. The longest that
/// PROTOCOL.md allows is a notification of 100 updates with data.
const MESSAGE_MAX: usize = 1 << 20;

/// How to open a WebSocket.
#[derive(Debug, Clone)]
pub struct Options {
    /// The `Origin` header that a web page would send. None by default.
    pub origin: Option<String>,
    /// Subprotocols to offer, in one header. [`SUBPROTOCOL`] by default; empty offers none.
    pub subprotocols: Vec<String>,
    /// Time limit for TCP, TLS and upgrade together. 10 s by default; after it [`Error::TimedOut`].
    pub connect_limit: Duration,
    /// Trust anchors for `wss`. The system's by default.
    pub tls: Option<Arc<ClientConfig>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            origin: None,
            subprotocols: vec![SUBPROTOCOL.to_owned()],
            connect_limit: Duration::from_secs(10),
            tls: None,
        }
    }
}

/// What arrives on a WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A text message.
    Text(Utf8Bytes),
    /// A binary message.
    Binary(Bytes),
    /// A Ping. The next call on the socket sends the Pong.
    Ping(Bytes),
    /// A Pong.
    Pong(Bytes),
    /// A Close. The next call on the socket answers it.
    Close(Close),
    /// The end of the connection, with or without a Close before it.
    End,
}

/// A WebSocket to a server. Dropping it drops TCP without a Close.
#[derive(Debug)]
pub struct RawSocket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    subprotocol: Option<String>,
}

impl RawSocket {
    /// Opens a WebSocket.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidUrl`], also if an option cannot be written as a header; [`Error::Unreachable`];
    /// [`Error::Refused`] if the server answers with a status other than 101; [`Error::TimedOut`] after
    /// [`Options::connect_limit`]; [`Error::Gone`] or [`Error::Failed`] if the connection breaks.
    pub async fn connect(url: &str, options: &Options) -> Result<Self, Error> {
        let limit = options.connect_limit;
        match timeout(limit, Self::open(url, options)).await {
            Ok(opened) => opened,
            Err(_) => Err(Error::TimedOut(limit)),
        }
    }

    async fn open(url: &str, options: &Options) -> Result<Self, Error> {
        let invalid = |reason: String| Error::InvalidUrl { url: url.to_owned(), reason };
        let mut request = url.into_client_request().map_err(|error| invalid(error.to_string()))?;
        let (address, secure) = address(request.uri()).map_err(|reason| invalid(reason.to_owned()))?;
        let headers = request.headers_mut();
        if let Some(origin) = &options.origin {
            let origin = HeaderValue::from_str(origin).map_err(|error| invalid(error.to_string()))?;
            headers.insert(header::ORIGIN, origin);
        }
        if !options.subprotocols.is_empty() {
            let offered = HeaderValue::from_str(&options.subprotocols.join(", "))
                .map_err(|error| invalid(error.to_string()))?;
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, offered);
        }
        let unreachable = |source: io::Error| Error::Unreachable { address: address.clone(), source };
        let tcp = TcpStream::connect(&*address).await.map_err(unreachable)?;
        // Messages are small, and the other end waits for each.
        tcp.set_nodelay(true).map_err(unreachable)?;
        let connector = if secure {
            Connector::Rustls(options.tls.clone().unwrap_or_else(tls::system))
        } else {
            Connector::Plain
        };
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_message_size(Some(MESSAGE_MAX))
            .max_frame_size(Some(MESSAGE_MAX));
        // Boxed, so that the futures of callers do not contain the state of the handshake.
        let handshake = Box::pin(client_async_tls_with_config(request, tcp, Some(config), Some(connector)));
        let (stream, response) = handshake.await?;
        Ok(Self { stream, subprotocol: selected_subprotocol(&response) })
    }

    /// The subprotocol that the server selected.
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }

    /// Sends a text message.
    ///
    /// # Errors
    ///
    /// [`Error::Gone`] or [`Error::Failed`] if the connection has ended.
    pub async fn send_text(&mut self, text: impl Into<String>) -> Result<(), Error> {
        self.send(Message::text(text.into())).await
    }

    /// Sends a binary message.
    ///
    /// # Errors
    ///
    /// [`Error::Gone`] or [`Error::Failed`] if the connection has ended.
    pub async fn send_binary(&mut self, bytes: impl Into<Bytes>) -> Result<(), Error> {
        self.send(Message::Binary(bytes.into())).await
    }

    /// Sends a Ping of up to 125 bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Gone`] or [`Error::Failed`] if the connection has ended, [`Error::Failed`] if the Ping is too long.
    pub async fn send_ping(&mut self, bytes: impl Into<Bytes>) -> Result<(), Error> {
        self.send(Message::Ping(bytes.into())).await
    }

    /// Sends a Close. To complete the closing handshake, receive until [`Frame::End`].
    ///
    /// # Errors
    ///
    /// [`Error::Gone`] or [`Error::Failed`] if the connection has ended.
    pub async fn send_close(&mut self, code: u16) -> Result<(), Error> {
        self.send(Message::Close(Some(CloseFrame { code: code.into(), reason: "".into() }))).await
    }

    async fn send(&mut self, message: Message) -> Result<(), Error> {
        self.stream.send(message).await.map_err(Error::from)
    }

    /// Receives the next frame, however long that takes. Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] if the connection breaks in another way than by ending.
    pub async fn receive(&mut self) -> Result<Frame, Error> {
        let message = match self.stream.next().await {
            None => return Ok(Frame::End),
            Some(Err(error)) => {
                let error = Error::from(error);
                return if matches!(error, Error::Gone) { Ok(Frame::End) } else { Err(error) };
            }
            Some(Ok(message)) => message,
        };
        Ok(match message {
            Message::Text(text) => Frame::Text(text),
            Message::Binary(bytes) => Frame::Binary(bytes),
            Message::Ping(bytes) => Frame::Ping(bytes),
            Message::Pong(bytes) => Frame::Pong(bytes),
            Message::Close(None) => Frame::Close(Close { code: 1005, reason: String::new() }),
            Message::Close(Some(frame)) => {
                Frame::Close(Close { code: frame.code.into(), reason: frame.reason.to_string() })
            }
            Message::Frame(_) => return Err(Error::Unexpected("a raw frame".to_owned())),
        })
    }

    /// Receives the next frame within `limit`.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`], and those of [`RawSocket::receive`].
    pub async fn receive_within(&mut self, limit: Duration) -> Result<Frame, Error> {
        timeout(limit, self.receive()).await.map_err(|_| Error::TimedOut(limit))?
    }

    /// Receives the next text message within `limit`. Pings and Pongs are skipped.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`]; [`Error::Closed`] or [`Error::Gone`] if the connection ends instead; [`Error::Unexpected`] if
    /// a binary message comes first; and those of [`RawSocket::receive`].
    pub async fn text_within(&mut self, limit: Duration) -> Result<Utf8Bytes, Error> {
        timeout(limit, self.text()).await.map_err(|_| Error::TimedOut(limit))?
    }

    async fn text(&mut self) -> Result<Utf8Bytes, Error> {
        loop {
            match self.receive().await? {
                Frame::Text(text) => return Ok(text),
                Frame::Ping(_) | Frame::Pong(_) => {}
                Frame::Close(close) => return Err(Error::Closed(close)),
                Frame::End => return Err(Error::Gone),
                Frame::Binary(_) => return Err(Error::Unexpected("a binary message".to_owned())),
            }
        }
    }

    /// Waits for the server's Close within `limit` and completes the closing handshake. Pings and Pongs are skipped.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`]; [`Error::Unexpected`] if a message comes first; [`Error::Gone`] if TCP ends without a Close;
    /// and those of [`RawSocket::receive`].
    pub async fn close_within(&mut self, limit: Duration) -> Result<Close, Error> {
        match self.text_within(limit).await {
            Err(Error::Closed(close)) => {
                // Receiving sends the answer. A server that then does not close TCP is not this caller's concern.
                let _ = timeout(limit, self.receive()).await;
                Ok(close)
            }
            Err(error) => Err(error),
            Ok(text) => Err(Error::Unexpected(format!("the message {text}"))),
        }
    }
}

/// `host:port` of a ws or wss URL, and whether it is wss.
fn address(uri: &Uri) -> Result<(String, bool), &'static str> {
    let (secure, default_port) = match uri.scheme_str() {
        Some("ws") => (false, 80),
        Some("wss") => (true, 443),
        Some(_) | None => return Err("the scheme must be ws or wss"),
    };
    let host = uri.host().filter(|host| !host.is_empty()).ok_or("there is no host")?;
    Ok((format!("{host}:{}", uri.port_u16().unwrap_or(default_port)), secure))
}

fn selected_subprotocol(response: &Response) -> Option<String> {
    response.headers().get(header::SEC_WEBSOCKET_PROTOCOL)?.to_str().ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_comes_from_the_url() {
        for (url, expected) in [
            ("ws://push.example/", Ok(("push.example:80".to_owned(), false))),
            ("wss://push.example/x", Ok(("push.example:443".to_owned(), true))),
            ("ws://127.0.0.1:8080", Ok(("127.0.0.1:8080".to_owned(), false))),
            ("ws://[::1]:8080/", Ok(("[::1]:8080".to_owned(), false))),
            ("http://push.example/", Err("the scheme must be ws or wss")),
            ("/path", Err("the scheme must be ws or wss")),
        ] {
            assert_eq!(address(&url.parse().unwrap()), expected, "{url}");
        }
    }
}
