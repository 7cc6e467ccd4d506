//! The messages of Web Push (PROTOCOL.md section 4): typed to JSON and back.

use crate::{error::Error, message::shortened};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use beckon_types::{Encoding, Payload};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// What a user agent sends.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "messageType", rename_all = "snake_case")]
pub enum Request<'a> {
    /// The first message on a socket (section 4.2).
    Hello {
        /// `true` asks for this dialect explicitly.
        use_webpush: bool,
        /// The UAID from an earlier hello, if there was one.
        #[serde(skip_serializing_if = "Option::is_none")]
        uaid: Option<&'a str>,
        /// The broadcasts to subscribe to, and the versions that the user agent has.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        broadcasts: BTreeMap<&'a str, &'a str>,
    },
    /// Asks for an endpoint (section 4.3).
    Register {
        /// UUID syntax, chosen by the user agent.
        #[serde(rename = "channelID")]
        channel: &'a str,
        /// The one application server that may send: its VAPID key in base64url.
        #[serde(skip_serializing_if = "Option::is_none")]
        key: Option<&'a str>,
    },
    /// Gives up an endpoint (section 4.4).
    Unregister {
        /// As it was registered.
        #[serde(rename = "channelID")]
        channel: &'a str,
        /// Why: 200 by the user, 201 quota used up, 202 permission withdrawn.
        #[serde(skip_serializing_if = "Option::is_none")]
        code: Option<u16>,
    },
    /// Confirms messages, so that they are not sent again (section 4.6). There is no reply.
    Ack {
        /// What to confirm.
        updates: &'a [Acknowledged<'a>],
    },
    /// Reports a message that could not be handled (section 4.6). It stays pending. There is no reply.
    Nack {
        /// The message.
        version: &'a str,
        /// Why: 301 the handler threw, 302 its promise was rejected, 303 other.
        code: u16,
    },
    /// Subscribes to broadcasts (section 4.8). There is a reply only if the server has newer versions or errors.
    BroadcastSubscribe {
        /// The broadcasts, and the versions that the user agent has.
        broadcasts: BTreeMap<&'a str, &'a str>,
    },
    /// Asks for messages of at least this urgency (section 4.7).
    Urgency {
        /// `very-low`, `low`, `normal` or `high`.
        min: &'a str,
    },
    /// Checks that the server is alive. Not more often than every 45 seconds.
    Ping,
}

/// One entry of a [`Request::Ack`].
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Acknowledged<'a> {
    /// The channel.
    #[serde(rename = "channelID")]
    pub channel: &'a str,
    /// The version that was received.
    pub version: &'a str,
    /// What happened to it: 100 delivered, 101 not decrypted, 102 no receiver.
    pub code: u16,
}

impl Request<'_> {
    /// The JSON text to send.
    pub fn to_text(&self) -> String {
        #[expect(clippy::expect_used, reason = "strings and numbers always serialise")]
        serde_json::to_string(self).expect("a request is JSON")
    }

    /// Appends the JSON text to a buffer that the caller reuses.
    pub fn append_to(&self, output: &mut Vec<u8>) {
        #[expect(
            clippy::expect_used,
            reason = "strings and numbers always serialise, and a vector takes them"
        )]
        serde_json::to_writer(output, self).expect("a request is JSON");
    }
}

/// A message of an application server (section 4.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The channel, spelled as it was registered.
    pub channel: String,
    /// The id to acknowledge.
    pub version: String,
    /// The encrypted content; `None` if the message is empty and only wakes the user agent.
    pub payload: Option<Payload>,
}

/// The versions of broadcasts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Broadcasts {
    /// New versions, by id.
    pub versions: BTreeMap<String, String>,
    /// The ids that could not be subscribed to, with the reason.
    pub errors: BTreeMap<String, String>,
}

/// What a server sends.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// `{}`, the answer to a ping.
    Pong,
    /// The answer to a hello.
    Hello {
        /// The UAID to use from now on.
        uaid: String,
        /// The requested broadcasts that have another version.
        broadcasts: Broadcasts,
    },
    /// The answer to a register.
    Registered {
        /// The channel, as the request spelled it.
        channel: String,
        /// Where application servers send.
        endpoint: String,
    },
    /// The answer to an unregister.
    Unregistered {
        /// The channel, as the request spelled it.
        channel: String,
    },
    /// A message of an application server.
    Notification(Received),
    /// Broadcasts that changed, or the answer to a subscription.
    Broadcast(Broadcasts),
    /// The answer to an urgency.
    Urgency,
    /// An error reply (PROTOCOL.md section 1.6).
    Error {
        /// `messageType` of the request, if it had one.
        message_type: Option<String>,
        /// 400, 401 or 500.
        status: u16,
        /// What was wrong.
        error: String,
    },
}

/// All members that a reply can have.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Members {
    message_type: Option<Value>,
    status: Option<u16>,
    error: Option<String>,
    uaid: Option<String>,
    #[serde(rename = "channelID")]
    channel: Option<String>,
    push_endpoint: Option<String>,
    version: Option<String>,
    data: Option<String>,
    headers: Option<Headers>,
    broadcasts: Option<BTreeMap<String, Value>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Headers {
    encoding: String,
    encryption: Option<String>,
    crypto_key: Option<String>,
}

impl Reply {
    /// Reads a text message of the server.
    ///
    /// # Errors
    ///
    /// [`Error::Unexpected`] if PROTOCOL.md section 4 has no such message.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text == "{}" {
            return Ok(Self::Pong);
        }
        let members = serde_json::from_str(text).ok();
        members
            .and_then(Self::of)
            .ok_or_else(|| Error::Unexpected(format!("the message {}", shortened(text))))
    }

    fn of(members: Members) -> Option<Self> {
        let message_type = members.message_type.as_ref().and_then(Value::as_str);
        if let (Some(status), Some(error)) = (members.status, members.error) {
            return Some(Self::Error { message_type: message_type.map(str::to_owned), status, error });
        }
        match (message_type, members.status) {
            (Some("hello"), Some(200)) => {
                Some(Self::Hello { uaid: members.uaid?, broadcasts: Broadcasts::of(members.broadcasts?)? })
            }
            (Some("register"), Some(200)) => {
                Some(Self::Registered { channel: members.channel?, endpoint: members.push_endpoint? })
            }
            (Some("unregister"), Some(200)) => Some(Self::Unregistered { channel: members.channel? }),
            (Some("urgency"), Some(200)) => Some(Self::Urgency),
            (Some("notification"), _) => {
                let payload = match (members.data, members.headers) {
                    (None, None) => None,
                    (Some(data), Some(headers)) => Some(payload(&data, headers)?),
                    (Some(_), None) | (None, Some(_)) => return None,
                };
                let (channel, version) = (members.channel?, members.version?);
                Some(Self::Notification(Received { channel, version, payload }))
            }
            (Some("broadcast"), _) => Some(Self::Broadcast(Broadcasts::of(members.broadcasts?)?)),
            (Some(_) | None, _) => None,
        }
    }
}

impl Broadcasts {
    fn of(mut members: BTreeMap<String, Value>) -> Option<Self> {
        let errors = members.remove("errors").unwrap_or_else(|| Value::Object(serde_json::Map::new()));
        let versions = serde_json::to_value(members).ok()?;
        Some(Self {
            versions: serde_json::from_value(versions).ok()?,
            errors: serde_json::from_value(errors).ok()?,
        })
    }
}

fn payload(data: &str, headers: Headers) -> Option<Payload> {
    let body = Bytes::from(URL_SAFE_NO_PAD.decode(data).ok()?);
    let encoding = match &*headers.encoding {
        "aes128gcm" => Encoding::Aes128gcm,
        "aesgcm" => Encoding::Aesgcm {
            encryption: headers.encryption?.into(),
            crypto_key: headers.crypto_key?.into(),
        },
        _ => return None,
    };
    Some(Payload { encoding, body })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn requests_have_the_members_of_the_protocol() {
        let broadcasts = BTreeMap::from([("news/main", "41")]);
        let hello = |uaid, broadcasts| Request::Hello { use_webpush: true, uaid, broadcasts };
        for (request, expected) in [
            (hello(None, BTreeMap::new()), json!({"messageType": "hello", "use_webpush": true})),
            (
                hello(Some("u"), broadcasts.clone()),
                json!({"messageType": "hello", "use_webpush": true, "uaid": "u", "broadcasts": {"news/main": "41"}}),
            ),
            (
                Request::Register { channel: "c", key: None },
                json!({"messageType": "register", "channelID": "c"}),
            ),
            (
                Request::Register { channel: "c", key: Some("k") },
                json!({"messageType": "register", "channelID": "c", "key": "k"}),
            ),
            (
                Request::Unregister { channel: "c", code: Some(202) },
                json!({"messageType": "unregister", "channelID": "c", "code": 202}),
            ),
            (
                Request::Ack { updates: &[Acknowledged { channel: "c", version: "v", code: 100 }] },
                json!({"messageType": "ack", "updates": [{"channelID": "c", "version": "v", "code": 100}]}),
            ),
            (
                Request::Nack { version: "v", code: 301 },
                json!({"messageType": "nack", "version": "v", "code": 301}),
            ),
            (
                Request::BroadcastSubscribe { broadcasts },
                json!({"messageType": "broadcast_subscribe", "broadcasts": {"news/main": "41"}}),
            ),
            (Request::Urgency { min: "low" }, json!({"messageType": "urgency", "min": "low"})),
            (Request::Ping, json!({"messageType": "ping"})),
        ] {
            let sent: Value = serde_json::from_str(&request.to_text()).unwrap();
            assert_eq!(sent, expected);
        }
    }

    #[test]
    fn each_kind_of_reply_is_recognised() {
        let message =
            |payload| Reply::Notification(Received { channel: "c".into(), version: "v".into(), payload });
        let body = Bytes::from_static(b"\xfb\xff\x00");
        let aesgcm = Encoding::Aesgcm { encryption: "salt=s".into(), crypto_key: "dh=d".into() };
        let text = |text: &str| BTreeMap::from([("a/b".to_owned(), text.to_owned())]);
        for (reply, expected) in [
            (json!({}), Reply::Pong),
            (
                json!({"messageType": "hello", "uaid": "u", "status": 200, "use_webpush": true, "broadcasts": {}}),
                Reply::Hello { uaid: "u".into(), broadcasts: Broadcasts::default() },
            ),
            (
                json!({"messageType": "register", "channelID": "c", "status": 200, "pushEndpoint": "e"}),
                Reply::Registered { channel: "c".into(), endpoint: "e".into() },
            ),
            (
                json!({"messageType": "unregister", "channelID": "c", "status": 200}),
                Reply::Unregistered { channel: "c".into() },
            ),
            (json!({"messageType": "notification", "channelID": "c", "version": "v"}), message(None)),
            (
                json!({"messageType": "notification", "channelID": "c", "version": "v", "data": "-_8A",
                       "headers": {"encoding": "aes128gcm"}}),
                message(Some(Payload { encoding: Encoding::Aes128gcm, body: body.clone() })),
            ),
            (
                json!({"messageType": "notification", "channelID": "c", "version": "v", "data": "-_8A", "ttl": 5,
                       "headers": {"encoding": "aesgcm", "encryption": "salt=s", "crypto_key": "dh=d"}}),
                message(Some(Payload { encoding: aesgcm, body })),
            ),
            (
                json!({"messageType": "broadcast", "broadcasts": {"a/b": "42"}}),
                Reply::Broadcast(Broadcasts { versions: text("42"), errors: BTreeMap::new() }),
            ),
            (
                json!({"messageType": "broadcast", "broadcasts": {"errors": {"a/b": "no"}}}),
                Reply::Broadcast(Broadcasts { versions: BTreeMap::new(), errors: text("no") }),
            ),
            (json!({"messageType": "urgency", "status": 200}), Reply::Urgency),
            (
                json!({"messageType": "register", "status": 400, "error": "Invalid Key"}),
                Reply::Error {
                    message_type: Some("register".into()),
                    status: 400,
                    error: "Invalid Key".into(),
                },
            ),
        ] {
            assert_eq!(Reply::parse(&reply.to_string()).unwrap(), expected, "{reply}");
        }
    }

    #[test]
    fn what_the_protocol_does_not_know_is_unexpected() {
        for text in [
            "",
            "[]",
            r#"{"messageType":"hello","uaid":"u","status":200}"#,
            r#"{"messageType":"notification","channelID":"c"}"#,
            r#"{"messageType":"notification","channelID":"c","version":"v","data":"AA"}"#,
            r#"{"messageType":"notification","channelID":"c","version":"v","data":"*","headers":{"encoding":"aes128gcm"}}"#,
            r#"{"messageType":"notification","channelID":"c","version":"v","data":"AA","headers":{"encoding":"gzip"}}"#,
            r#"{"messageType":"notification","channelID":"c","version":"v","data":"AA","headers":{"encoding":"aesgcm"}}"#,
            r#"{"messageType":"notification","updates":[]}"#,
            r#"{"messageType":"broadcast","broadcasts":{"a":1}}"#,
        ] {
            assert!(matches!(Reply::parse(text), Err(Error::Unexpected(_))), "{text}");
        }
    }
}
