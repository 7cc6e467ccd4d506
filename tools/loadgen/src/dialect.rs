//! What a client and an application server say, and what the answers mean: all that differs between the dialects.
//! Everything else of this program only knows slots, numbers and bytes.

use client::message::{Acknowledged, Reply, Request};
use std::{fmt::Write as _, io::Write as _, str::FromStr};
use types::{
    channel_id::ChannelId,
    uaid::Uaid,
    uuid_text::{InvalidUuid, Spelling},
};

/// Marks channels as ours, so that they cannot be mistaken for those of other programs.
const CHANNEL_MARK: [u8; 8] = *b"loadgen\0";

/// The language of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Versions, PROTOCOL.md sections 2 and 3. The number of a notification is its version.
    SimplePush,
}

impl FromStr for Dialect {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "simplepush" => Ok(Self::SimplePush),
            _ => Err(format!("`{text}` is not simplepush")),
        }
    }
}

/// What a server says to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// Welcome, by this name.
    Hello(UaidText),
    /// A channel has an endpoint.
    Registered {
        /// Which channel.
        channel: u32,
        /// The URL.
        endpoint: String,
    },
    /// Notifications: which channel, and the number that the application server gave.
    Notified(Vec<(u32, u64)>),
    /// Nothing that asks for anything.
    Nothing,
    /// The client cannot go on.
    Refused(String),
}

/// A UAID in the server's spelling, without the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UaidText(Uaid, Spelling);

impl UaidText {
    fn text(self) -> String {
        self.0.to_text(self.1)
    }
}

impl Dialect {
    /// The first message of a client. One that comes back gives its UAID and its first `channels` channels.
    pub fn hello(self, client: u32, uaid: Option<UaidText>, channels: u32) -> String {
        let uaid = uaid.map(UaidText::text);
        let channels: Vec<String> = (0..channels).map(|channel| channel_text(client, channel)).collect();
        let channels: Vec<&str> = channels.iter().map(String::as_str).collect();
        Request::Hello { uaid: uaid.as_deref(), channels: &channels }.to_text()
    }

    /// Asks for the endpoint of a channel.
    pub fn register(self, client: u32, channel: u32) -> String {
        Request::Register { channel: &channel_text(client, channel) }.to_text()
    }

    /// Acknowledges notifications.
    pub fn ack(self, client: u32, notified: &[(u32, u64)]) -> String {
        let channels: Vec<String> =
            notified.iter().map(|(channel, _)| channel_text(client, *channel)).collect();
        let updates: Vec<Acknowledged<'_>> = channels
            .iter()
            .zip(notified)
            .map(|(channel, (_, version))| Acknowledged { channel, version: *version })
            .collect();
        Request::Ack { updates: &updates }.to_text()
    }

    /// Understands a message to a client.
    pub fn understand(self, client: u32, message: &[u8]) -> Said {
        let Ok(text) = std::str::from_utf8(message) else { return Said::Refused("no text".to_owned()) };
        match Reply::parse(text) {
            Ok(Reply::Hello { status: 200, uaid, .. }) => match Uaid::parse(&uaid) {
                Ok((uaid, spelling)) => Said::Hello(UaidText(uaid, spelling)),
                Err(InvalidUuid) => Said::Refused("a UAID that is no UUID".to_owned()),
            },
            Ok(Reply::Hello { status, .. }) => Said::Refused(format!("hello answered by {status}")),
            Ok(Reply::Registered { channel, endpoint }) => match channel_number(client, &channel) {
                Some(channel) => Said::Registered { channel, endpoint },
                None => Said::Refused("an endpoint for another's channel".to_owned()),
            },
            Ok(Reply::Notification(updates)) => {
                let notified = updates
                    .iter()
                    .filter_map(|update| Some((channel_number(client, &update.channel)?, update.version)));
                Said::Notified(notified.collect())
            }
            Ok(Reply::Pong | Reply::Unregistered { .. }) => Said::Nothing,
            Ok(Reply::Error { status, error, .. }) => Said::Refused(format!("{status} {error}")),
            Err(_) => Said::Refused("a message that is not of this dialect".to_owned()),
        }
    }

    /// Appends the request that sends a notification.
    pub fn notify(self, output: &mut Vec<u8>, authority: &str, path: &str, number: u64) {
        let digits = number.checked_ilog10().unwrap_or(0) + 1;
        let length = "version=".len() + digits as usize;
        // A vector takes every write.
        let _ = write!(
            output,
            "PUT {path} HTTP/1.1\r\nHost: {authority}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: {length}\r\n\r\nversion={number}"
        );
    }
}

/// The name of a channel: it says whose it is, so that nobody has to remember it.
fn channel_text(client: u32, channel: u32) -> String {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&CHANNEL_MARK);
    bytes[8..12].copy_from_slice(&client.to_be_bytes());
    bytes[12..].copy_from_slice(&channel.to_be_bytes());
    ChannelId(bytes).to_text(Spelling::HYPHENATED)
}

/// Which channel of the client it is. `None`: it is another's.
fn channel_number(client: u32, text: &str) -> Option<u32> {
    let (ChannelId(bytes), _) = ChannelId::parse(text).ok()?;
    let is_own = bytes[..8] == CHANNEL_MARK && bytes[8..12] == client.to_be_bytes();
    let number = bytes[12..].try_into().ok()?;
    is_own.then(|| u32::from_be_bytes(number))
}

/// The upgrade to a WebSocket.
pub fn upgrade(authority: &str, path: &str) -> String {
    let mut text = String::new();
    // A string takes every write.
    let _ = write!(
        text,
        "GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: {protocol}\r\n\r\n",
        key = crate::http::WEBSOCKET_KEY,
        protocol = client::raw::SUBPROTOCOL,
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const SP: Dialect = Dialect::SimplePush;

    #[test]
    fn a_channel_is_found_again_by_its_name() {
        let name = channel_text(70_000, 3);
        assert_eq!(channel_number(70_000, &name), Some(3));
        assert_eq!(channel_number(70_001, &name), None);
        assert_eq!(channel_number(70_000, "0d9f7b52-3c41-4e8a-9a57-51e0c2b7aa10"), None);
    }

    #[test]
    fn answers_are_understood() {
        let channel = channel_text(5, 1);
        let notification = format!(
            r#"{{"messageType":"notification","updates":[{{"channelID":"{channel}","version":7}}]}}"#
        );
        assert_eq!(SP.understand(5, notification.as_bytes()), Said::Notified(vec![(1, 7)]));
        let registered = format!(
            r#"{{"messageType":"register","channelID":"{channel}","status":200,"pushEndpoint":"http://a/u"}}"#
        );
        let expected = Said::Registered { channel: 1, endpoint: "http://a/u".to_owned() };
        assert_eq!(SP.understand(5, registered.as_bytes()), expected);
        let redirect = br#"{"messageType":"hello","uaid":"u","status":307,"redirect":"ws://b/"}"#;
        assert_eq!(SP.understand(5, redirect), Said::Refused("hello answered by 307".to_owned()));
        assert_eq!(SP.understand(5, b"{}"), Said::Nothing);
    }

    #[test]
    fn a_client_that_comes_back_says_who_it_was() {
        let hello = br#"{"messageType":"hello","uaid":"6fa1c3e2d40b4f5a8c7e9b1032a4d5f6","status":200}"#;
        let Said::Hello(uaid) = SP.understand(5, hello) else { panic!("not welcome") };
        let again = SP.hello(5, Some(uaid), 1);
        assert!(again.contains(r#""uaid":"6fa1c3e2d40b4f5a8c7e9b1032a4d5f6""#), "{again}");
        assert!(again.contains(&channel_text(5, 0)), "{again}");
        assert!(!SP.hello(5, None, 0).contains("uaid"));
    }

    #[test]
    fn the_length_of_a_request_is_right() {
        for number in [0, 9, 10, 1_234_567_890_123_456] {
            let mut request = Vec::new();
            SP.notify(&mut request, "a:1", "/update/x", number);
            let text = String::from_utf8(request).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("Content-Length: {}", body.len())), "{text}");
            assert_eq!(body, format!("version={number}"));
        }
    }
}
