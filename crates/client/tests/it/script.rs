//! A WebSocket server that sends only what the test writes.

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use std::time::Duration;
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, accept_async,
    tungstenite::{Message, protocol::CloseFrame},
};

/// How long a test waits for anything that should happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A listening server.
pub(crate) struct Script {
    listener: TcpListener,
}

impl Script {
    pub(crate) async fn listen() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}/", self.listener.local_addr().unwrap())
    }

    /// The next connection, before the upgrade.
    pub(crate) async fn tcp(&self) -> TcpStream {
        timeout(PATIENCE, self.listener.accept()).await.unwrap().unwrap().0
    }

    /// The next connection.
    pub(crate) async fn accept(&self) -> Side {
        Side { stream: timeout(PATIENCE, accept_async(self.tcp().await)).await.unwrap().unwrap() }
    }
}

/// The server's side of a WebSocket.
pub(crate) struct Side {
    stream: WebSocketStream<TcpStream>,
}

impl Side {
    /// The next text message.
    pub(crate) async fn heard(&mut self) -> Value {
        match timeout(PATIENCE, self.stream.next()).await.unwrap() {
            Some(Ok(Message::Text(text))) => serde_json::from_str(&text).unwrap(),
            other => panic!("no text: {other:?}"),
        }
    }

    pub(crate) async fn says(&mut self, message: Value) {
        self.stream.send(Message::text(message.to_string())).await.unwrap();
    }

    /// Expects a message and answers it.
    pub(crate) async fn answers(&mut self, expected: Value, answer: Value) {
        assert_eq!(self.heard().await, expected);
        self.says(answer).await;
    }

    pub(crate) async fn closes(mut self, code: u16) {
        let frame = CloseFrame { code: code.into(), reason: "".into() };
        self.stream.close(Some(frame)).await.unwrap();
        // Until the answer, and the end.
        while timeout(PATIENCE, self.stream.next()).await.unwrap().is_some_and(|next| next.is_ok()) {}
    }

    /// Waits for the user agent's Close.
    pub(crate) async fn hears_a_close(mut self) -> u16 {
        match timeout(PATIENCE, self.stream.next()).await.unwrap() {
            Some(Ok(Message::Close(Some(frame)))) => {
                while self.stream.next().await.is_some_and(|next| next.is_ok()) {}
                frame.code.into()
            }
            other => panic!("no Close: {other:?}"),
        }
    }
}
