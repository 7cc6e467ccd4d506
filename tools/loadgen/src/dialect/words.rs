//! What both dialects say: the names of channels, and messages in a common form.

use beckon_types::{ChannelId, InvalidUuid, Spelling, Uaid};
use std::borrow::Cow;

/// Marks channels as ours, so that they cannot be mistaken for those of other programs.
const CHANNEL_MARK: [u8; 8] = *b"loadgen\0";

/// The number of a notification that no run of this program has sent.
pub const FOREIGN: u64 = u64::MAX;

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
    /// Bytes of data; in Web Push at least [`BODY_MIN`](super::webpush::BODY_MIN).
    pub data: u32,
    /// Web Push: how long it may be kept, seconds.
    pub ttl: u32,
    /// Web Push: the credential; empty for an anonymous sender.
    pub authorization: &'a str,
}

/// A UAID in the server's spelling, without the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UaidText(Uaid, Spelling);

impl UaidText {
    pub(super) fn text(self) -> String {
        self.0.to_text(self.1)
    }
}

/// The reply to a hello, with its UAID.
pub(super) fn welcome(uaid: &str) -> Said<'static> {
    match Uaid::parse(uaid) {
        Ok((uaid, spelling)) => Said::Hello(UaidText(uaid, spelling)),
        Err(InvalidUuid) => Said::Refused("a UAID that is not a UUID".to_owned()),
    }
}

/// The name of a channel: it says whose it is, so it need not be remembered.
pub(super) fn channel_text(client: u32, channel: u32) -> String {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&CHANNEL_MARK);
    bytes[8..12].copy_from_slice(&client.to_be_bytes());
    bytes[12..].copy_from_slice(&channel.to_be_bytes());
    ChannelId(bytes).to_text(Spelling::HYPHENATED)
}

/// The number of a client's channel; `None` if the channel belongs to another client.
pub(super) fn channel_number(client: u32, text: &str) -> Option<u32> {
    let (ChannelId(bytes), _) = ChannelId::parse(text).ok()?;
    let is_own = bytes[..8] == CHANNEL_MARK && bytes[8..12] == client.to_be_bytes();
    let number = bytes[12..].try_into().ok()?;
    is_own.then(|| u32::from_be_bytes(number))
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
}
