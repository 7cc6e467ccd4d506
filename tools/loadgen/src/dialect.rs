//! What a client and an application server say, and what the answers mean: all that differs between the dialects.
//! Everything else of this program only knows slots, numbers and bytes.

mod simplepush;
pub mod webpush;
mod words;

pub use words::{FOREIGN, Notification, Notified, Said, UaidText};

use std::{fmt::Write as _, str::FromStr};

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
    fn a_dialect_is_called_by_its_name() {
        for dialect in [Dialect::SimplePush, Dialect::WebPush] {
            assert_eq!(dialect.name().parse(), Ok(dialect));
        }
        assert!("irc".parse::<Dialect>().is_err());
    }
}
