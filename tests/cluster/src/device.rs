//! A user agent with one channel, in either dialect, and the application server that sends to it.

use crate::{
    requests::{FORM, app_server, through, try_send},
    talk::new_channel,
    webpush::{ENCRYPTED, KEPT},
};
use beckon_client::{
    app_server::SendError,
    raw::{Options, RawSocket},
};
use beckon_testbed::{PATIENCE, POLL, node::Node};
use beckon_types::Dialect;
use http::Method;
use serde_json::{Value, json};
use std::{collections::BTreeSet, fmt, time::Duration};

/// Both dialects.
pub const DIALECTS: [Dialect; 2] = [Dialect::SimplePush, Dialect::WebPush];

/// A user agent with one channel. It acknowledges whatever it receives. Dropping it drops TCP without a Close, as a
/// lost network does.
///
/// The functions that begin with `try_` return why something did not happen; the others panic.
#[derive(Debug)]
pub struct Device {
    dialect: Dialect,
    uaid: String,
    channel: String,
    endpoint: String,
    socket: Option<RawSocket>,
    /// Versions or message ids.
    sent: Vec<Sent>,
    received: BTreeSet<Sent>,
    /// How many came again.
    repeats: usize,
    acknowledges: bool,
}

/// A notification that was accepted: its version, or the id of the message.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sent {
    /// A SimplePush version.
    Version(u64),
    /// The id of a Web Push message.
    Message(String),
}

impl fmt::Display for Sent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => write!(formatter, "version {version}"),
            Self::Message(id) => write!(formatter, "message {id}"),
        }
    }
}

impl Device {
    /// Connects, says hello as a new client, and registers a channel.
    ///
    /// # Errors
    /// One of these fails.
    pub async fn try_join(node: &Node, dialect: Dialect) -> Result<Self, String> {
        let mut device = Self::stranger(dialect);
        device.try_hello(node).await?;
        device.endpoint = device.try_register().await?;
        Ok(device)
    }

    /// A device that has never said hello.
    pub fn stranger(dialect: Dialect) -> Self {
        Self {
            dialect,
            uaid: String::new(),
            channel: new_channel(),
            endpoint: String::new(),
            socket: None,
            sent: Vec::new(),
            received: BTreeSet::new(),
            repeats: 0,
            acknowledges: true,
        }
    }

    /// [`Self::try_join`] that has to succeed.
    pub async fn join(node: &Node, dialect: Dialect) -> Self {
        let joined = Self::try_join(node, dialect).await;
        joined.unwrap_or_else(|error| panic!("a new {dialect:?} client on {}: {error}", node.name()))
    }

    /// What it speaks.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Connects and says hello, without waiting for the reply. The socket that the device has stays as it is.
    ///
    /// # Errors
    /// The node refuses the connection.
    pub async fn begin_hello(&self, node: &Node) -> Result<RawSocket, String> {
        let mut hello = match self.dialect {
            Dialect::SimplePush => {
                json!({"messageType": "hello", "uaid": self.uaid, "channelIDs": [self.channel]})
            }
            Dialect::WebPush => json!({"messageType": "hello", "use_webpush": true, "uaid": self.uaid}),
        };
        if self.uaid.is_empty() {
            hello["channelIDs"] = json!([]);
        }
        let socket = RawSocket::connect(&node.ws_url(), &Options::default()).await;
        let mut socket = socket.map_err(|error| format!("cannot connect: {error}"))?;
        socket.send_text(hello.to_string()).await.map_err(|error| format!("hello: {error}"))?;
        Ok(socket)
    }

    /// Connects and says hello; the former socket is dropped first.
    ///
    /// # Errors
    /// It fails, or the node does not know this client.
    pub async fn try_hello(&mut self, node: &Node) -> Result<(), String> {
        self.socket = None;
        self.socket = Some(self.begin_hello(node).await?);
        let reply = self.try_receive_reply("hello").await;
        let uaid = reply.and_then(|reply| match (&reply["status"], &reply["uaid"]) {
            (status, Value::String(uaid)) if *status == 200 => Ok(uaid.clone()),
            _ => Err(format!("hello: {reply}")),
        });
        match uaid {
            Ok(uaid) if self.uaid.is_empty() || self.uaid == uaid => self.uaid = uaid,
            Ok(_) => return self.fail("hello: the client is not known any more".to_owned()),
            Err(error) => return self.fail(error),
        }
        Ok(())
    }

    fn fail(&mut self, error: String) -> Result<(), String> {
        self.socket = None;
        Err(error)
    }

    /// [`Self::try_hello`] that has to succeed.
    pub async fn hello(&mut self, node: &Node) {
        let greeted = self.try_hello(node).await;
        greeted.unwrap_or_else(|error| panic!("{:?} on {}: {error}", self.dialect, node.name()));
    }

    /// Registers a new channel besides the one that is sent to, and returns its endpoint.
    ///
    /// # Errors
    /// The reply is an error, or there is none.
    pub async fn try_register_another(&mut self) -> Result<String, String> {
        self.try_register_channel(&new_channel()).await
    }

    /// Registers the channel (again): steps of one socket are taken in their turn, so what was acknowledged before is
    /// stored then.
    async fn try_register(&mut self) -> Result<String, String> {
        let channel = self.channel.clone();
        self.try_register_channel(&channel).await
    }

    async fn try_register_channel(&mut self, channel: &str) -> Result<String, String> {
        let register = json!({"messageType": "register", "channelID": channel});
        self.try_say(&register).await?;
        let reply = self.try_receive_reply("register").await?;
        reply["pushEndpoint"].as_str().map(str::to_owned).ok_or_else(|| format!("register: {reply}"))
    }

    /// Waits until the store has what the device has acknowledged so far.
    pub async fn settle(&mut self) {
        let settled = self.try_register().await;
        settled.unwrap_or_else(|error| panic!("{:?}: {error}", self.dialect));
    }

    /// Closes and waits until the server has dropped TCP: by then it has let go of the client.
    pub async fn leave(&mut self) {
        let mut socket = self.socket.take().expect("a connected device");
        socket.send_close(1000).await.expect("an open socket");
        while socket.receive_within(PATIENCE).await.is_ok_and(|frame| frame != beckon_client::raw::Frame::End)
        {
        }
    }

    /// From now on what is received is not acknowledged, until [`Self::acknowledge_all`].
    pub fn hold_acknowledgements(&mut self) {
        self.acknowledges = false;
    }

    /// Acknowledges everything that was received, and what comes later.
    pub async fn acknowledge_all(&mut self) {
        self.acknowledges = true;
        for received in self.received.clone() {
            self.try_acknowledge(&received).await.unwrap_or_else(|error| panic!("{error}"));
        }
    }

    /// Sends a newer notification through a node.
    ///
    /// # Errors
    /// The status with which it was refused.
    ///
    /// # Panics
    /// If the id of a message has been used before, or the node does not answer at all.
    pub async fn try_send(&mut self, node: &Node) -> Result<Sent, u16> {
        let answered = self.attempt(node).await;
        answered.unwrap_or_else(|error| panic!("{:?} through {}: {error}", self.dialect, node.name()))
    }

    /// Sends a newer notification through a node again and again until it is accepted. What was refused may have been stored.
    ///
    /// # Errors
    /// The last reason why it was not, after this time.
    pub async fn send_persistently(&mut self, node: &Node, limit: Duration) -> Result<Sent, String> {
        let mut reason = "no attempt".to_owned();
        let sending = async {
            loop {
                reason = match self.attempt(node).await {
                    Ok(Ok(sent)) => return sent,
                    Ok(Err(status)) => format!("status {status}"),
                    Err(error) => error.to_string(),
                };
                tokio::time::sleep(POLL).await;
            }
        };
        tokio::time::timeout(limit, sending).await.map_err(|_| reason)
    }

    /// Sends a newer version, and closes the connection without having waited longer than this for the answer.
    ///
    /// # Panics
    /// There was an answer before.
    pub async fn send_and_give_up(&mut self, node: &Node, after: Duration) -> Sent {
        let (url, version) = (through(node, &self.endpoint), self.next_version());
        let (sender, body) = (app_server(0), format!("version={version}").into());
        let sending = try_send(&sender, Method::PUT, &url, &[FORM], body);
        let answer = tokio::time::timeout(after, sending).await;
        assert!(answer.is_err(), "{answer:?}");
        self.sent.push(Sent::Version(version));
        Sent::Version(version)
    }

    /// Sends a newer notification. The inner error is the status with which it was refused.
    async fn attempt(&mut self, node: &Node) -> Result<Result<Sent, u16>, SendError> {
        let url = through(node, &self.endpoint);
        let sent = match self.dialect {
            Dialect::SimplePush => {
                let version = self.next_version();
                let body = format!("version={version}").into();
                let answer = try_send(&app_server(0), Method::PUT, &url, &[FORM], body).await?;
                self.sent.push(Sent::Version(version));
                match answer.status().as_u16() {
                    200 | 202 => return Ok(Ok(Sent::Version(version))),
                    status => return Ok(Err(status)),
                }
            }
            Dialect::WebPush => {
                let answer =
                    try_send(&app_server(0), Method::POST, &url, &[KEPT, ENCRYPTED], "body".into()).await?;
                let location = answer.headers().get("location").and_then(|location| location.to_str().ok());
                match (answer.status().as_u16(), location.and_then(|location| location.rsplit_once('/'))) {
                    (201, Some((_, id))) => Sent::Message(id.to_owned()),
                    (status, _) => return Ok(Err(status)),
                }
            }
        };
        assert!(!self.sent.contains(&sent), "{sent} had been sent before");
        self.sent.push(sent.clone());
        Ok(Ok(sent))
    }

    /// Where notifications for it are sent.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    fn next_version(&self) -> u64 {
        1 + u64::try_from(self.sent.len()).expect("a count")
    }

    /// [`Self::try_send`] that has to be accepted.
    pub async fn send(&mut self, node: &Node) -> Sent {
        let sent = self.try_send(node).await;
        sent.unwrap_or_else(|status| panic!("{:?} through {}: {status}", self.dialect, node.name()))
    }

    /// Waits until a notification, or a version that replaces it, has arrived on the socket.
    ///
    /// # Errors
    /// It has not within this time, or the socket is closed.
    pub async fn try_receive(&mut self, sent: &Sent, limit: Duration) -> Result<(), String> {
        let arrival = async {
            while !self.has_received(sent) {
                let other = self.try_next().await?;
                if let Some(other) = other {
                    return Err(format!("unexpected: {other}"));
                }
            }
            Ok(())
        };
        let arrived = tokio::time::timeout(limit, arrival).await;
        arrived.unwrap_or_else(|_| Err(format!("{sent} has not arrived within {limit:?}")))
    }

    /// [`Self::try_receive`] that has to succeed.
    pub async fn receive(&mut self, sent: &Sent, limit: Duration) {
        let arrived = self.try_receive(sent, limit).await;
        arrived.unwrap_or_else(|error| panic!("{:?}: {error}", self.dialect));
    }

    /// Whether a notification, or a version that replaces it, has arrived.
    pub fn has_received(&self, sent: &Sent) -> bool {
        match sent {
            Sent::Version(_) => self.received.iter().any(|received| received >= sent),
            Sent::Message(_) => self.received.contains(sent),
        }
    }

    /// How many notifications have come more than once.
    pub fn repeats(&self) -> usize {
        self.repeats
    }

    /// Waits until the server closes the socket.
    ///
    /// # Errors
    /// It does not within this time.
    pub async fn try_await_close(&mut self, limit: Duration) -> Result<u16, String> {
        let socket = self.socket.as_mut().expect("a connected device");
        let close = socket.close_within(limit).await;
        close.map(|close| close.code).map_err(|error| error.to_string())
    }

    async fn try_say(&mut self, message: &Value) -> Result<(), String> {
        let socket = self.socket.as_mut().ok_or("not connected")?;
        socket.send_text(message.to_string()).await.map_err(|error| error.to_string())
    }

    /// The next message of this type. Notifications may come before.
    async fn try_receive_reply(&mut self, kind: &str) -> Result<Value, String> {
        let reply = async {
            loop {
                if let Some(message) = self.try_next().await? {
                    return if message["messageType"] == kind {
                        Ok(message)
                    } else {
                        Err(message.to_string())
                    };
                }
            }
        };
        let reply = tokio::time::timeout(PATIENCE, reply).await;
        reply.unwrap_or_else(|_| Err(format!("no reply to {kind} within {PATIENCE:?}")))
    }

    /// The next message, unless it is a notification, which is dealt with.
    async fn try_next(&mut self) -> Result<Option<Value>, String> {
        let socket = self.socket.as_mut().ok_or("not connected")?;
        let text = socket.text_within(PATIENCE * 10).await.map_err(|error| error.to_string())?;
        let message: Value = serde_json::from_str(&text).map_err(|error| format!("{error} in {text}"))?;
        if message["messageType"] != "notification" {
            return Ok(Some(message));
        }
        let received: Vec<Sent> = match message["updates"].as_array() {
            Some(updates) => {
                updates.iter().filter_map(|update| update["version"].as_u64().map(Sent::Version)).collect()
            }
            None => message["version"].as_str().map(|id| Sent::Message(id.to_owned())).into_iter().collect(),
        };
        for received in received {
            if self.acknowledges {
                self.try_acknowledge(&received).await?;
            }
            if !self.received.insert(received) {
                self.repeats += 1;
            }
        }
        Ok(None)
    }

    async fn try_acknowledge(&mut self, received: &Sent) -> Result<(), String> {
        let version = match received {
            Sent::Version(version) => json!(version),
            Sent::Message(id) => json!(id),
        };
        let update = json!({"channelID": self.channel, "version": version});
        self.try_say(&json!({"messageType": "ack", "updates": [update]})).await
    }
}
