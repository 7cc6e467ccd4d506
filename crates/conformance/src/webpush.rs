//! A Web Push user agent that says what the test writes, and the application server that sends to it.

use crate::{
    server::Server,
    talk::{self, new_channel},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use beckon_client::vapid::{Claims, Scheme, Signer, origin_of};
use bytes::Bytes;
use http::{Method, Response, StatusCode};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    ops::{Deref, DerefMut},
    time::{Duration, SystemTime},
};

/// The header that keeps a message longer than any test.
pub const KEPT: (&str, &str) = ("ttl", "600");

/// The header of a message that is not kept.
pub const NOT_KEPT: (&str, &str) = ("ttl", "0");

/// The header of a message that is kept for a second.
pub const KEPT_FOR_A_SECOND: (&str, &str) = ("ttl", "1");

/// The header of an encrypted body. The server does not look into it.
pub const ENCRYPTED: (&str, &str) = ("content-encoding", "aes128gcm");

/// A WebSocket on which a user agent speaks the Web Push dialect. What both dialects have in common is in
/// [`talk::Client`].
#[derive(Debug)]
pub struct Client {
    talk: talk::Client,
}

impl Deref for Client {
    type Target = talk::Client;

    fn deref(&self) -> &talk::Client {
        &self.talk
    }
}

impl DerefMut for Client {
    fn deref_mut(&mut self) -> &mut talk::Client {
        &mut self.talk
    }
}

impl From<talk::Client> for Client {
    fn from(talk: talk::Client) -> Self {
        Self { talk }
    }
}

impl Client {
    /// Says hello without a UAID and returns the one it gets.
    pub async fn hello(&mut self) -> String {
        let reply = self.hello_with(json!({})).await;
        reply["uaid"].as_str().expect("a hello reply has a uaid").to_owned()
    }

    /// Says hello with further members, and returns the reply, which is one of this dialect.
    pub async fn hello_with(&mut self, members: Value) -> Value {
        let mut hello = json!({"messageType": "hello", "use_webpush": true});
        for (name, value) in members.as_object().expect("members") {
            hello[name] = value.clone();
        }
        let reply = self.ask(&hello).await;
        expect_hello_reply(&reply);
        reply
    }

    /// Says hello as a UAID that is known, and keeps it.
    pub async fn resume(&mut self, uaid: &str) {
        let reply = self.hello_with(json!({"uaid": uaid})).await;
        assert_eq!(reply["uaid"], uaid, "{reply}");
    }

    /// Registers a channel for everybody and returns its endpoint.
    pub async fn register(&mut self, channel: &str) -> String {
        self.register_with(&json!({"messageType": "register", "channelID": channel})).await
    }

    /// Registers a channel for one application server and returns its endpoint.
    pub async fn register_for(&mut self, channel: &str, key: &str) -> String {
        self.register_with(&json!({"messageType": "register", "channelID": channel, "key": key})).await
    }

    async fn register_with(&mut self, request: &Value) -> String {
        let reply = self.ask(request).await;
        expect_endpoint(&reply, request["channelID"].as_str().expect("a channel"))
    }

    /// Unregisters a channel.
    pub async fn unregister(&mut self, channel: &str) {
        self.talk.unregister(channel).await;
    }

    /// The next message, which is a notification, without the member that a server may leave out.
    pub async fn notification(&mut self) -> Value {
        let mut message = self.receive().await;
        assert_eq!(message["messageType"], "notification", "{message}");
        if let Some(ttl) = message.as_object_mut().and_then(|members| members.remove("ttl")) {
            assert!(ttl.is_u64(), "{ttl} in {message}");
        }
        message
    }

    /// Receives this message, sent by [`Server::message`].
    pub async fn expect_message(&mut self, channel: &str, id: &str, body: &str) {
        assert_eq!(self.notification().await, notification(channel, id, body));
    }

    /// Receives these messages of one channel, in this order.
    pub async fn expect_ids(&mut self, channel: &str, ids: &[String]) {
        for id in ids {
            let message = self.notification().await;
            assert_eq!(message["version"], **id, "{message}, expected one of {ids:?}");
            assert_eq!(message["channelID"], channel, "{message}");
        }
    }

    /// Receives until all of these messages have come, and acknowledges whatever comes.
    pub async fn receive_all(&mut self, mut missing: BTreeSet<String>) {
        while !missing.is_empty() {
            let message = self.notification().await;
            let id = message["version"].as_str().expect("a message id");
            missing.remove(id);
            self.ack(message["channelID"].as_str().expect("a channel"), id).await;
        }
    }

    /// Acknowledges a message.
    pub async fn ack(&mut self, channel: &str, id: &str) {
        self.ack_all(channel, &[id]).await;
    }

    /// Acknowledges messages of one channel, all at once.
    pub async fn ack_all<T: AsRef<str>>(&mut self, channel: &str, ids: &[T]) {
        let updates: Vec<_> =
            ids.iter().map(|id| json!({"channelID": channel, "version": id.as_ref()})).collect();
        self.send(&json!({"messageType": "ack", "updates": updates})).await;
    }

    /// Waits until the store has done what was sent so far, without another effect: a socket's steps are taken
    /// in their turn, and a registered channel stays what it is.
    pub async fn settle(&mut self, channel: &str) {
        self.register(channel).await;
    }

    /// Sends a message and receives the 401 error reply, then the Close with 1008.
    pub async fn expect_401(self, message: &Value) {
        self.talk.expect_401(message).await;
    }

    /// Closes and waits until the server has let go of the client.
    pub async fn leave(self) {
        self.talk.leave().await;
    }
}

/// A hello reply has exactly the members of PROTOCOL.md section 4.2.
pub fn expect_hello_reply(reply: &Value) {
    let (uaid, broadcasts) = (&reply["uaid"], &reply["broadcasts"]);
    let expected = json!({
        "messageType": "hello", "uaid": uaid, "status": 200, "use_webpush": true, "broadcasts": broadcasts,
    });
    assert_eq!(*reply, expected);
    assert!(broadcasts.is_object() && uaid.as_str().is_some_and(|uaid| !uaid.is_empty()), "{reply}");
}

/// A register reply of success for this channel; returns the endpoint.
pub fn expect_endpoint(reply: &Value, channel: &str) -> String {
    assert_eq!(reply["status"], 200, "{reply}");
    assert_eq!(reply["messageType"], "register", "{reply}");
    assert_eq!(reply["channelID"], channel, "{reply}");
    reply["pushEndpoint"].as_str().expect("a register reply has an endpoint").to_owned()
}

/// The notification of a message with an encrypted body.
pub fn notification(channel: &str, id: &str, body: &str) -> Value {
    json!({
        "messageType": "notification", "channelID": channel, "version": id,
        "data": URL_SAFE_NO_PAD.encode(body), "headers": {"encoding": "aes128gcm"},
    })
}

/// A connected user agent with one registered channel.
#[derive(Debug)]
pub struct Subscribed {
    /// The connected client.
    pub client: Client,
    /// Its UAID.
    pub uaid: String,
    /// Its channel.
    pub channel: String,
    /// The endpoint of the channel.
    pub endpoint: String,
}

impl Server {
    /// Connects to the next node.
    pub async fn connect_webpush(&self) -> Client {
        Client::from(self.connect().await)
    }

    /// Connects to the next node as a UAID that is known.
    pub async fn resumed(&self, uaid: &str) -> Client {
        let mut client = self.connect_webpush().await;
        client.resume(uaid).await;
        client
    }

    /// A client with a new UAID and one channel that is registered for everybody.
    pub async fn subscribed(&self) -> Subscribed {
        let mut client = self.connect_webpush().await;
        let (uaid, channel) = (client.hello().await, new_channel());
        let endpoint = client.register(&channel).await;
        Subscribed { client, uaid, channel, endpoint }
    }

    /// A client with a new UAID and one channel that is registered for this application server.
    pub async fn subscribed_for(&self, signer: &Signer) -> Subscribed {
        let mut client = self.connect_webpush().await;
        let (uaid, channel) = (client.hello().await, new_channel());
        let endpoint = client.register_for(&channel, signer.public_key()).await;
        Subscribed { client, uaid, channel, endpoint }
    }

    /// POSTs through the next node.
    pub async fn post(
        &self,
        endpoint: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Response<Bytes> {
        self.request(Method::POST, endpoint, headers, body).await
    }

    /// POSTs with these headers what has to be accepted, and returns the message id.
    pub async fn accepted(&self, endpoint: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> String {
        id_of(&self.post(endpoint, headers, body).await)
    }

    /// POSTs an encrypted body that is kept, and returns the message id.
    pub async fn message(&self, endpoint: &str, body: &str) -> String {
        self.accepted(endpoint, &[KEPT, ENCRYPTED], body.to_owned()).await
    }
}

/// The id of an accepted message: the last segment of its location.
pub fn id_of(answer: &Response<Bytes>) -> String {
    assert_eq!(answer.status(), StatusCode::CREATED, "{answer:?}");
    let (_, id) = location_of(answer).rsplit_once('/').expect("a URL");
    id.to_owned()
}

/// The location of an accepted message.
pub fn location_of(answer: &Response<Bytes>) -> &str {
    answer.headers().get("location").and_then(|value| value.to_str().ok()).expect("a Location")
}

/// The time since the Unix epoch.
#[expect(clippy::disallowed_methods, reason = "VAPID tokens end at a time of the day")]
pub fn unix_time() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock after 1970")
}

/// An `Authorization` by which this application server may send to an endpoint for the next hours.
pub fn authorization(signer: &Signer, endpoint: &str) -> String {
    const LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);
    let audience = audience_of(endpoint);
    let claims = Claims {
        audience: &audience,
        expires: unix_time() + LIFETIME,
        subject: Some("mailto:test@app.example"),
    };
    signer.credential(Scheme::Vapid, &claims).expect("randomness").authorization
}

/// What a token for an endpoint has to be made for.
pub fn audience_of(endpoint: &str) -> String {
    origin_of(&endpoint.parse().expect("a URL")).expect("an absolute URL")
}

/// A new application server.
pub fn new_signer() -> Signer {
    Signer::generate().expect("randomness").0
}

/// Waits until what was kept for a second has expired.
pub async fn let_a_second_pass() {
    tokio::time::sleep(Duration::from_millis(1100)).await;
}
