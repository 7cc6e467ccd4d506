//! What the lines of an export say. Each is a JSON object with one member, whose name is the kind of line.
//!
//! ```text
//! {"export":{"version":1,"token_keys":"…","uaid_key":"…"}}   first: the keys, as in the settings
//! {"broadcast":{"id":"news/main","version":"42"}}
//! {"client":{"id":"…","dialect":"web_push","last_seen":1795730000,"sequence":7,"channels":[…],"messages":1}}
//! {"message":{"channel":"…","sequence":7,…}}           the messages of a client follow it
//! {"end":{"clients":1,"messages":1,"broadcasts":1,"sha256":"…"}}   last: counts, and a hash of all lines before
//! ```
//!
//! Times are absolute, so that a file that lies around for a while does not prolong anything. Bytes are base64url.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use beckon_types::{
    Channel, ChannelId, ChannelRecord, ClientId, ClientRecord, Dialect, Draft, Encoding, KeyId, Message,
    Nonce, Payload, Place, Restriction, Sequence, Spelling, TopicTag, Urgency, Version,
};
use serde::{Deserialize, Serialize};
use std::{fmt, time::Duration};

/// The version of the format that this file writes and reads.
pub(super) const VERSION: u32 = 1;

/// A line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    Export(HeaderLine),
    Broadcast(BroadcastLine),
    Client(ClientLine),
    Message(MessageLine),
    End(EndLine),
}

#[derive(Serialize, Deserialize)]
pub(super) struct HeaderLine {
    pub(super) version: u32,
    /// The newest first, as in the setting.
    pub(super) token_keys: String,
    /// The key that has made the ids of the clients.
    pub(super) uaid_key: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BroadcastLine {
    pub(super) id: String,
    pub(super) version: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClientLine {
    id: String,
    dialect: DialectName,
    /// Unix seconds.
    last_seen: u64,
    sequence: u64,
    channels: Vec<ChannelLine>,
    /// How many messages follow.
    pub(super) messages: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum DialectName {
    SimplePush,
    WebPush,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChannelLine {
    /// As the user agent spells it.
    id: String,
    key: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    restricted: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pending: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MessageLine {
    channel: String,
    sequence: u64,
    /// In hex.
    nonce: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
    key: u8,
    urgency: String,
    /// Unix milliseconds.
    expires_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    aes128gcm: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    aesgcm: Option<AesgcmLine>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AesgcmLine {
    encryption: String,
    crypto_key: String,
    body: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EndLine {
    pub(super) clients: u64,
    pub(super) messages: u64,
    pub(super) broadcasts: u64,
    pub(super) sha256: String,
}

impl fmt::Debug for HeaderLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeaderLine").field("version", &self.version).finish_non_exhaustive()
    }
}

/// Why a line cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Invalid(pub(super) &'static str);

impl ClientLine {
    /// The line of a client that was read at this time since the Unix epoch. Those of its messages follow.
    pub(super) fn new(record: &ClientRecord, now: Duration) -> Self {
        let channels = record.channels.iter().map(|record| {
            let ChannelRecord { channel: Channel { id, spelling, pending }, key, restricted } = *record;
            ChannelLine {
                id: id.to_text(spelling),
                key: key.0,
                restricted: restricted.map(|restriction| URL_SAFE_NO_PAD.encode(restriction.0)),
                pending: pending.map(Version::number),
            }
        });
        Self {
            id: URL_SAFE_NO_PAD.encode(record.client.0),
            dialect: match record.dialect {
                Dialect::SimplePush => DialectName::SimplePush,
                Dialect::WebPush => DialectName::WebPush,
            },
            last_seen: now.saturating_sub(record.unseen).as_secs(),
            sequence: record.sequence.0,
            channels: channels.collect(),
            messages: record.messages.len() as u64,
        }
    }

    /// The client as it is at this time, without its messages.
    pub(super) fn record(&self, now: Duration) -> Result<ClientRecord, Invalid> {
        let channels = self.channels.iter().map(ChannelLine::record).collect::<Result<_, _>>()?;
        Ok(ClientRecord {
            client: ClientId(fixed(&self.id)?),
            dialect: match self.dialect {
                DialectName::SimplePush => Dialect::SimplePush,
                DialectName::WebPush => Dialect::WebPush,
            },
            unseen: now.saturating_sub(Duration::from_secs(self.last_seen)),
            sequence: Sequence(self.sequence),
            channels,
            messages: Vec::new(),
        })
    }
}

impl ChannelLine {
    fn record(&self) -> Result<ChannelRecord, Invalid> {
        let (id, spelling) = channel(&self.id)?;
        let version = |number| Version::new(number).map_err(|_| Invalid("the pending version is not one"));
        let pending = self.pending.map(version).transpose()?;
        let restricted = self.restricted.as_deref().map(fixed).transpose()?.map(Restriction);
        Ok(ChannelRecord { channel: Channel { id, spelling, pending }, key: KeyId(self.key), restricted })
    }
}

impl MessageLine {
    /// The line of a message that was read at this time since the Unix epoch.
    pub(super) fn new(message: &Message, now: Duration) -> Self {
        let Message { channel, place: Place { sequence, nonce, topic }, key, draft } = message;
        let Draft { urgency, ttl, payload } = draft;
        let (mut aes128gcm, mut aesgcm) = (None, None);
        if let Some(Payload { encoding, body }) = payload {
            let body = URL_SAFE_NO_PAD.encode(body);
            match encoding {
                Encoding::Aes128gcm => aes128gcm = Some(body),
                Encoding::Aesgcm { encryption, crypto_key } => {
                    let (encryption, crypto_key) = (encryption.to_string(), crypto_key.to_string());
                    aesgcm = Some(AesgcmLine { encryption, crypto_key, body });
                }
            }
        }
        Self {
            channel: channel.to_text(Spelling::HYPHENATED),
            sequence: sequence.0,
            nonce: format!("{:016x}", nonce.0),
            topic: topic.map(|tag| URL_SAFE_NO_PAD.encode(tag.0)),
            key: key.0,
            urgency: urgency.name().to_owned(),
            expires_ms: u64::try_from(now.saturating_add(*ttl).as_millis()).unwrap_or(u64::MAX),
            aes128gcm,
            aesgcm,
        }
    }

    /// The message as it is at this time; its TTL is zero if it has expired.
    pub(super) fn message(&self, now: Duration) -> Result<Message, Invalid> {
        let (channel, _) = channel(&self.channel)?;
        let topic = self.topic.as_deref().map(fixed).transpose()?.map(TopicTag);
        let urgency = Urgency::parse(&self.urgency).ok_or(Invalid("the urgency is not one"))?;
        let payload = match (&self.aes128gcm, &self.aesgcm) {
            (None, None) => None,
            (Some(body), None) => Some(payload(Encoding::Aes128gcm, body)?),
            (None, Some(AesgcmLine { encryption, crypto_key, body })) => {
                let (encryption, crypto_key) = (encryption.as_str().into(), crypto_key.as_str().into());
                Some(payload(Encoding::Aesgcm { encryption, crypto_key }, body)?)
            }
            (Some(_), Some(_)) => return Err(Invalid("the message has two bodies")),
        };
        let ttl = Duration::from_millis(self.expires_ms).saturating_sub(now);
        let nonce = u64::from_str_radix(&self.nonce, 16).map_err(|_| Invalid("the nonce is not one"))?;
        let place = Place { sequence: Sequence(self.sequence), nonce: Nonce(nonce), topic };
        Ok(Message { channel, place, key: KeyId(self.key), draft: Draft { urgency, ttl, payload } })
    }
}

fn channel(text: &str) -> Result<(ChannelId, Spelling), Invalid> {
    ChannelId::parse(text).map_err(|_| Invalid("the channelID is not one"))
}

fn payload(encoding: Encoding, body: &str) -> Result<Payload, Invalid> {
    let body = URL_SAFE_NO_PAD.decode(body).map_err(|_| Invalid("a body is not base64url"))?;
    if body.is_empty() {
        return Err(Invalid("a body is empty"));
    }
    Ok(Payload { encoding, body: body.into() })
}

fn fixed<const LEN: usize>(text: &str) -> Result<[u8; LEN], Invalid> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| Invalid("not base64url"))?;
    bytes.try_into().map_err(|_| Invalid("a client id, a restriction or a topic has another length"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_795_730_000);

    fn record() -> ClientRecord {
        let id = ChannelId([0xab; 16]);
        let channel = |spelling, pending| Channel { id, spelling, pending };
        let message = |sequence, topic, payload| Message {
            channel: id,
            place: Place { sequence: Sequence(sequence), nonce: Nonce(!sequence), topic },
            key: KeyId(3),
            draft: Draft { urgency: Urgency::High, ttl: Duration::from_millis(1500), payload },
        };
        let aesgcm = Encoding::Aesgcm { encryption: "salt=a".into(), crypto_key: "dh=b".into() };
        ClientRecord {
            client: ClientId([0xcd; 16]),
            dialect: Dialect::WebPush,
            unseen: Duration::from_secs(7),
            sequence: Sequence(1 << 60),
            channels: vec![
                ChannelRecord {
                    channel: channel(Spelling { hyphens: false, upper: 5 }, None),
                    key: KeyId(3),
                    restricted: Some(Restriction([7; 16])),
                },
                ChannelRecord {
                    channel: channel(Spelling::HYPHENATED, Some(Version::new(Version::MAX).unwrap())),
                    key: KeyId(255),
                    restricted: None,
                },
            ],
            messages: vec![
                message(1, None, None),
                message(
                    2,
                    Some(TopicTag([1; 12])),
                    Some(Payload { encoding: Encoding::Aes128gcm, body: "x".into() }),
                ),
                message(u64::MAX, None, Some(Payload { encoding: aesgcm, body: vec![0, 255].into() })),
            ],
        }
    }

    #[test]
    fn a_client_survives() {
        let expected = record();
        let through =
            |line: Line| -> Line { serde_json::from_str(&serde_json::to_string(&line).unwrap()).unwrap() };
        let Line::Client(line) = through(Line::Client(ClientLine::new(&expected, NOW))) else { panic!() };
        let mut found = line.record(NOW).unwrap();
        assert_eq!(line.messages, 3);
        for message in &expected.messages {
            let Line::Message(line) = through(Line::Message(MessageLine::new(message, NOW))) else {
                panic!()
            };
            found.messages.push(line.message(NOW).unwrap());
        }
        assert_eq!(found, expected);
    }

    #[test]
    fn time_goes_on_while_the_lines_lie_around() {
        let record = record();
        let later = NOW + Duration::from_secs(1);
        assert_eq!(ClientLine::new(&record, NOW).record(later).unwrap().unseen, Duration::from_secs(8));
        let line = MessageLine::new(&record.messages[0], NOW);
        assert_eq!(line.message(later).unwrap().draft.ttl, Duration::from_millis(500));
        assert_eq!(line.message(later + Duration::from_secs(1)).unwrap().draft.ttl, Duration::ZERO);
    }
}
