//! A SimplePush user agent that says what the check writes, and looks at what it receives.

use crate::patience::PATIENCE;
use beckon_client::{
    error::{Close, Error},
    raw::{Frame, Options, RawSocket},
};
use beckon_types::Spelling;
use serde_json::{Value, json};
use std::{fmt, time::Duration};

/// A random channelID, in the spelling of most user agents.
pub fn new_channel() -> String {
    beckon_client::user_agent::new_channel().to_text(Spelling::HYPHENATED)
}

/// Looks at every message on one socket, and may panic at one of the server that should not be.
pub trait Inspect: fmt::Debug + Send {
    /// Looks at the next message that the client sends.
    fn sent(&mut self, _message: &Value) {}

    /// Looks at the next message of the server.
    fn inspect(&mut self, message: &Value);
}

/// A WebSocket that speaks JSON. Dropping it drops TCP without a Close, as a lost network does.
#[derive(Debug)]
pub struct Client {
    socket: RawSocket,
    patience: Duration,
    inspectors: Vec<Box<dyn Inspect>>,
}

impl Client {
    /// Connects with these options; the error is the caller's to judge.
    pub async fn connect_with(url: &str, options: &Options) -> Result<Self, Error> {
        let socket = RawSocket::connect(url, options).await?;
        Ok(Self { socket, patience: PATIENCE, inspectors: Vec::new() })
    }

    /// With another time limit for each message than [`PATIENCE`].
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// With something more that looks at each message.
    #[must_use]
    pub fn inspected_by(mut self, inspector: Box<dyn Inspect>) -> Self {
        self.inspectors.push(inspector);
        self
    }

    /// How long the next message may take.
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// The WebSocket itself.
    pub fn socket(&mut self) -> &mut RawSocket {
        &mut self.socket
    }

    /// Sends a message.
    pub async fn send(&mut self, message: &Value) {
        for inspector in &mut self.inspectors {
            inspector.sent(message);
        }
        self.send_text(message.to_string()).await;
    }

    /// Sends literal text.
    pub async fn send_text(&mut self, text: impl Into<String>) {
        self.socket.send_text(text).await.expect("the socket is open");
    }

    /// The next message, literally.
    pub async fn receive_text(&mut self) -> String {
        let text = self.socket.text_within(self.patience).await;
        text.unwrap_or_else(|error| panic!("no message: {error}")).to_string()
    }

    /// The next message, which is JSON.
    pub async fn receive(&mut self) -> Value {
        let text = self.receive_text().await;
        let message = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"));
        for inspector in &mut self.inspectors {
            inspector.inspect(&message);
        }
        message
    }

    /// Sends a message and returns the next one that arrives.
    pub async fn ask(&mut self, message: &Value) -> Value {
        self.send(message).await;
        self.receive().await
    }

    /// Says hello without a UAID and returns the one it gets.
    pub async fn hello(&mut self) -> String {
        self.hello_as("", &[]).await
    }

    /// Says hello, and returns the UAID of the reply, which has status 200.
    pub async fn hello_as(&mut self, uaid: &str, channels: &[&str]) -> String {
        let reply = self.ask(&json!({"messageType": "hello", "uaid": uaid, "channelIDs": channels})).await;
        assert_eq!(reply["status"], 200, "{reply}");
        assert_eq!(reply["messageType"], "hello", "{reply}");
        reply["uaid"].as_str().expect("a hello reply has a uaid").to_owned()
    }

    /// Says hello as a UAID that is known, and keeps it.
    pub async fn resume(&mut self, uaid: &str, channels: &[&str]) {
        assert_eq!(self.hello_as(uaid, channels).await, uaid);
    }

    /// Registers a channel and returns its endpoint.
    pub async fn register(&mut self, channel: &str) -> String {
        let reply = self.ask(&json!({"messageType": "register", "channelID": channel})).await;
        assert_eq!(reply["status"], 200, "{reply}");
        assert_eq!(reply["messageType"], "register", "{reply}");
        assert_eq!(reply["channelID"], channel, "{reply}");
        reply["pushEndpoint"].as_str().expect("a register reply has an endpoint").to_owned()
    }

    /// Unregisters a channel.
    pub async fn unregister(&mut self, channel: &str) {
        let reply = self.ask(&json!({"messageType": "unregister", "channelID": channel})).await;
        assert_eq!(reply, json!({"messageType": "unregister", "channelID": channel, "status": 200}));
    }

    /// The updates of the next message, which is a notification with these two members only.
    pub async fn updates(&mut self) -> Vec<Value> {
        let message = self.receive().await;
        assert_eq!(message["messageType"], "notification", "{message}");
        assert_eq!(message.as_object().map(serde_json::Map::len), Some(2), "{message}");
        message["updates"].as_array().expect("a notification has updates").clone()
    }

    /// Receives one update, with exactly the members `channelID` and `version`.
    pub async fn expect_update(&mut self, channel: &str, version: u64) {
        assert_eq!(self.updates().await, [update(channel, version)]);
    }

    /// Receives these updates, with exactly the members `channelID` and `version`, in one notification and in
    /// any order.
    pub async fn expect_updates(&mut self, expected: &[(&str, u64)]) {
        let mut updates = self.updates().await;
        let mut expected: Vec<_> =
            expected.iter().map(|(channel, version)| update(channel, *version)).collect();
        updates.sort_by_key(Value::to_string);
        expected.sort_by_key(Value::to_string);
        assert_eq!(updates, expected);
    }

    /// Acknowledges a version.
    pub async fn ack(&mut self, channel: &str, version: u64) {
        self.send(&json!({"messageType": "ack", "updates": [update(channel, version)]})).await;
    }

    /// Makes sure that everything sent so far has been handled, and that no message has arrived since the last
    /// one: `purge` is answered in its turn.
    pub async fn expect_nothing(&mut self) {
        self.send_text(r#"{"messageType":"purge"}"#).await;
        assert_eq!(self.receive_text().await, "{}");
    }

    /// Makes sure that no message arrives for this long.
    pub async fn expect_nothing_for(&mut self, time: Duration) {
        match self.socket.text_within(time).await {
            Err(Error::TimedOut(_)) => {}
            other => panic!("expected nothing, got {other:?}"),
        }
    }

    /// The next thing that arrives is a Close with this code.
    pub async fn expect_close(&mut self, code: u16) {
        match self.socket.close_within(self.patience).await {
            Ok(close) => assert_eq!(close.code, code, "{close}"),
            Err(error) => panic!("expected close code {code}: {error}"),
        }
    }

    /// Sends a message and receives an error reply: a copy of it with `status` and `error`.
    pub async fn expect_error(&mut self, message: &Value, status: u16, error: &str) {
        let reply = self.ask(message).await;
        let mut expected = message.clone();
        expected["status"] = json!(status);
        expected["error"] = json!(error);
        assert_eq!(reply, expected);
    }

    /// Sends a message and receives the 401 error reply, then the Close with 1008.
    pub async fn expect_401(mut self, message: &Value) {
        self.expect_error(message, 401, "Invalid Command").await;
        self.expect_close(1008).await;
    }

    /// Closes with 1000 and waits until the server has dropped TCP: by then it has let go of the client.
    pub async fn leave(mut self) {
        self.socket.send_close(1000).await.expect("the socket is open");
        loop {
            match self.socket.receive_within(self.patience).await.expect("a server that answers a Close") {
                Frame::End => return,
                Frame::Close(Close { code, .. }) => assert_eq!(code, 1000),
                Frame::Text(_) | Frame::Binary(_) | Frame::Ping(_) | Frame::Pong(_) => {}
            }
        }
    }
}

/// An entry of a notification or an ack.
pub fn update(channel: &str, version: u64) -> Value {
    json!({"channelID": channel, "version": version})
}
