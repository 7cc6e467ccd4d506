//! The messages of SimplePush (PROTOCOL.md section 2): typed to JSON and back.

use crate::error::Error;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a user agent sends.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "messageType", rename_all = "lowercase")]
pub enum Request<'a> {
    /// The first message on a socket (section 2.2).
    Hello {
        /// The UAID from an earlier hello, if there was one.
        #[serde(skip_serializing_if = "Option::is_none")]
        uaid: Option<&'a str>,
        /// The channels that the user agent believes it has.
        #[serde(rename = "channelIDs")]
        channels: &'a [&'a str],
    },
    /// Asks for an endpoint (section 2.3).
    Register {
        /// UUID syntax, chosen by the user agent.
        #[serde(rename = "channelID")]
        channel: &'a str,
    },
    /// Gives up an endpoint (section 2.4).
    Unregister {
        /// As it was registered.
        #[serde(rename = "channelID")]
        channel: &'a str,
    },
    /// Confirms updates, so that they are not sent again (section 2.6). There is no reply.
    Ack {
        /// What to confirm; not empty.
        updates: &'a [Acknowledged<'a>],
    },
    /// Checks that the server is alive (section 2.7). Not more often than every 20 seconds.
    Ping,
}

/// One entry of a [`Request::Ack`].
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Acknowledged<'a> {
    /// The channel.
    #[serde(rename = "channelID")]
    pub channel: &'a str,
    /// The version that was received.
    pub version: u64,
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

/// One update of a notification (section 2.5).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Update {
    /// The channel, spelled as it was registered.
    #[serde(rename = "channelID")]
    pub channel: String,
    /// 0 to 2^63-1.
    pub version: u64,
    /// The data that the application server sent with it; only in the first transmission.
    pub data: Option<String>,
}

/// What a server sends.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// `{}`, the answer to a ping.
    Pong,
    /// The answer to a hello.
    Hello {
        /// 200; 307 or 429 if the user agent has to connect elsewhere.
        status: u16,
        /// The UAID to use from now on.
        uaid: String,
        /// With 307: where to connect.
        redirect: Option<String>,
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
    /// Versions that application servers wrote.
    Notification(Vec<Update>),
    /// An error reply (PROTOCOL.md section 1.6).
    Error {
        /// `messageType` of the request, if it had one.
        message_type: Option<String>,
        /// 401, 500 or 503.
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
    redirect: Option<String>,
    #[serde(rename = "channelID")]
    channel: Option<String>,
    push_endpoint: Option<String>,
    updates: Option<Vec<Update>>,
}

impl Reply {
    /// Reads a text message of the server.
    ///
    /// # Errors
    ///
    /// [`Error::Unexpected`] if PROTOCOL.md section 2 has no such message.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let unexpected = || Error::Unexpected(format!("the message {}", shortened(text)));
        if text == "{}" {
            return Ok(Self::Pong);
        }
        let members: Members = serde_json::from_str(text).map_err(|_| unexpected())?;
        let message_type = members.message_type.as_ref().and_then(Value::as_str);
        if let (Some(status), Some(error)) = (members.status, members.error) {
            return Ok(Self::Error { message_type: message_type.map(str::to_owned), status, error });
        }
        let reply = match (message_type, members.status) {
            (Some("hello"), Some(status @ (200 | 307 | 429))) => {
                members.uaid.map(|uaid| Self::Hello { status, uaid, redirect: members.redirect })
            }
            (Some("register"), Some(200)) => members
                .channel
                .zip(members.push_endpoint)
                .map(|(channel, endpoint)| Self::Registered { channel, endpoint }),
            (Some("unregister"), Some(200)) => members.channel.map(|channel| Self::Unregistered { channel }),
            (Some("notification"), _) => members.updates.map(Self::Notification),
            (Some(_) | None, _) => None,
        };
        reply.ok_or_else(unexpected)
    }
}

/// The beginning of a text, for error messages.
pub(crate) fn shortened(text: &str) -> String {
    const CHARACTERS_MAX: usize = 200;
    text.chars().take(CHARACTERS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn requests_have_the_members_of_the_protocol() {
        for (request, expected) in [
            (Request::Hello { uaid: None, channels: &[] }, json!({"messageType": "hello", "channelIDs": []})),
            (
                Request::Hello { uaid: Some("u"), channels: &["c"] },
                json!({"messageType": "hello", "uaid": "u", "channelIDs": ["c"]}),
            ),
            (Request::Register { channel: "c" }, json!({"messageType": "register", "channelID": "c"})),
            (Request::Unregister { channel: "c" }, json!({"messageType": "unregister", "channelID": "c"})),
            (
                Request::Ack {
                    updates: &[Acknowledged { channel: "c", version: 9_223_372_036_854_775_807 }],
                },
                json!({"messageType": "ack", "updates": [{"channelID": "c", "version": 9_223_372_036_854_775_807_u64}]}),
            ),
            (Request::Ping, json!({"messageType": "ping"})),
        ] {
            let sent: Value = serde_json::from_str(&request.to_text()).unwrap();
            assert_eq!(sent, expected);
        }
    }

    #[test]
    fn each_kind_of_reply_is_recognised() {
        let update = Update { channel: "c".into(), version: 7, data: Some("look".into()) };
        for (text, expected) in [
            ("{}", Reply::Pong),
            (
                r#"{"messageType":"hello","uaid":"u","status":200}"#,
                Reply::Hello { status: 200, uaid: "u".into(), redirect: None },
            ),
            (
                r#"{"messageType":"hello","uaid":"u","status":307,"redirect":"ws://b/"}"#,
                Reply::Hello { status: 307, uaid: "u".into(), redirect: Some("ws://b/".into()) },
            ),
            (
                r#"{"messageType":"register","channelID":"c","status":200,"uaid":"u","pushEndpoint":"e"}"#,
                Reply::Registered { channel: "c".into(), endpoint: "e".into() },
            ),
            (
                r#"{"messageType":"unregister","channelID":"c","status":200}"#,
                Reply::Unregistered { channel: "c".into() },
            ),
            (
                r#"{"messageType":"notification","updates":[{"channelID":"c","version":7,"data":"look"}]}"#,
                Reply::Notification(vec![update]),
            ),
            (
                r#"{"messageType":7,"status":401,"error":"Invalid Command"}"#,
                Reply::Error { message_type: None, status: 401, error: "Invalid Command".into() },
            ),
        ] {
            assert_eq!(Reply::parse(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_the_protocol_does_not_know_is_unexpected() {
        for text in [
            "",
            "[]",
            "{ }",
            r#"{"messageType":"hello","status":200}"#,
            r#"{"messageType":"hello","uaid":"u","status":201}"#,
            r#"{"messageType":"register","channelID":"c","status":200}"#,
            r#"{"messageType":"notification","updates":[{"channelID":"c","version":"7"}]}"#,
            r#"{"messageType":"notification","updates":[{"channelID":"c","version":-1}]}"#,
            r#"{"messageType":"broadcast"}"#,
        ] {
            assert!(matches!(Reply::parse(text), Err(Error::Unexpected(_))), "{text}");
        }
    }
}
