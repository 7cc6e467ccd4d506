//! What a client and an application server say, and what the answers mean: all that differs between the dialects.
//! Everything else of this program only knows slots, numbers and bytes.

mod simplepush;
pub mod webpush;

use beckon_types::{ChannelId, InvalidUuid, Spelling, Uaid};
use std::{borrow::Cow, fmt::Write as _, str::FromStr};

/// Marks channels as ours, so that they cannot be mistaken for those of other programs.
const CHANNEL_MARK: [u8; 8] = *b"loadgen\0";

/// The number of a notification that no run of this program has sent.
pub const FOREIGN: u64 = u64::MAX;

/// The language of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Versions, PROTOCOL.md sections 2 and 3.
    SimplePush,
    /// Encrypted messages with a TTL, PROTOCOL.md sections 4 and 5.
    WebPush,
}

impl FromStr for Dialect {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "simplepush" => Ok(Self::SimplePush),
            "webpush" => Ok(Self::WebPush),
            _ => Err(format!("`{text}` is neither simplepush nor webpush")),
        }
    }
}

/// What a server says to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said<'a> {
    /// Welcome, by this name.
    Hello(UaidText),
    /// A channel has an endpoint.
    Registered {
        /// Which channel.
        channel: u32,
        /// The URL.
        endpoint: String,
    },
    /// Notifications.
    Notified(Vec<Notified<'a>>),
    /// Nothing that asks for anything.
    Nothing,
    /// The client cannot go on.
    Refused(String),
}

/// A notification as a client gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notified<'a> {
    /// Which channel.
    pub channel: u32,
    /// The name of the channel, as the server spells it.
    pub name: Cow<'a, str>,
    /// What the application server called it; [`FOREIGN`] if it was not ours.
    pub number: u64,
    /// What the server calls it. Empty in SimplePush, where the number is its name.
    pub id: Cow<'a, str>,
}

/// A notification as an application server sends it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Notification<'a> {
    /// `host:port` of the server.
    pub authority: &'a str,
    /// The path of the endpoint.
    pub path: &'a str,
    /// By which its delivery is recognised.
    pub number: u64,
    /// Bytes of data; in Web Push at least [`webpush::BODY_MIN`].
    pub data: u32,
    /// Web Push: how long it may be kept, seconds.
    pub ttl: u32,
    /// Web Push: who sends it; empty for nobody in particular.
    pub authorization: &'a str,
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
    /// Its name, as it is written in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::SimplePush => "simplepush",
            Self::WebPush => "webpush",
        }
    }

    /// The newest notification of a channel replaces those before it.
    pub fn latest_wins(self) -> bool {
        match self {
            Self::SimplePush => true,
            Self::WebPush => false,
        }
    }

    /// Bytes of data of a notification, if nothing else is asked for.
    pub fn usual_data(self) -> u32 {
        match self {
            Self::SimplePush => 0,
            Self::WebPush => 200,
        }
    }

    /// The first message of a client. One that comes back gives its UAID and its first `channels` channels.
    pub fn hello(self, client: u32, uaid: Option<UaidText>, channels: u32) -> String {
        match self {
            Self::SimplePush => simplepush::hello(client, uaid, channels),
            Self::WebPush => webpush::hello(uaid),
        }
    }

    /// Asks for the endpoint of a channel, in Web Push restricted to a VAPID key if there is one.
    pub fn register(self, client: u32, channel: u32, key: Option<&str>) -> String {
        match self {
            Self::SimplePush => simplepush::register(client, channel),
            Self::WebPush => webpush::register(client, channel, key),
        }
    }

    /// Appends the message that acknowledges notifications.
    pub fn ack(self, output: &mut Vec<u8>, notified: &[Notified<'_>]) {
        match self {
            Self::SimplePush => simplepush::ack(output, notified),
            Self::WebPush => webpush::ack(output, notified),
        }
    }

    /// Understands a message to a client.
    pub fn understand(self, client: u32, message: &[u8]) -> Said<'_> {
        let Ok(text) = std::str::from_utf8(message) else { return Said::Refused("no text".to_owned()) };
        match self {
            Self::SimplePush => simplepush::understand(client, text),
            Self::WebPush => webpush::understand(client, text),
        }
    }

    /// Appends the request that sends a notification.
    pub fn notify(self, output: &mut Vec<u8>, notification: &Notification<'_>) {
        match self {
            Self::SimplePush => simplepush::notify(output, notification),
            Self::WebPush => webpush::notify(output, notification),
        }
    }
}

fn welcome(uaid: &str) -> Said<'static> {
    match Uaid::parse(uaid) {
        Ok((uaid, spelling)) => Said::Hello(UaidText(uaid, spelling)),
        Err(InvalidUuid) => Said::Refused("a UAID that is no UUID".to_owned()),
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
        protocol = beckon_client::raw::SUBPROTOCOL,
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_found_again_by_its_name() {
        let name = channel_text(70_000, 3);
        assert_eq!(channel_number(70_000, &name), Some(3));
        assert_eq!(channel_number(70_001, &name), None);
        assert_eq!(channel_number(70_000, "0d9f7b52-3c41-4e8a-9a57-51e0c2b7aa10"), None);
    }

    #[test]
    fn a_dialect_is_called_by_its_name() {
        for dialect in [Dialect::SimplePush, Dialect::WebPush] {
            assert_eq!(dialect.name().parse(), Ok(dialect));
        }
        assert!("irc".parse::<Dialect>().is_err());
    }
}
