//! Short ways to say things in Web Push.

use crate::talk::*;
use beckon_session::{Effect, Input, Outcome, Settings, Step};
use beckon_types::{
    AddChannel, Backlog, ChannelId, Dialect, Draft, Endpoint, Fetch, Hello, HelloOutcome, KeyHash, Message,
    MessageId, Nonce, Notification, Place, Position, Presence, Sequence, TopicTag, Uaid, Urgency, VapidKey,
};
use std::time::Duration;

pub(crate) const WEBPUSH_A: &str =
    r#"{"messageType":"hello","use_webpush":true,"uaid":"6fa1c3e2d40b4f5a8c7e9b1032a4d5f6"}"#;

/// The key of the example in RFC 8292 section 2.4.
pub(crate) const KEY: &str =
    "BA1Hxzyi1RUM1b5wjxsn7nGxAszw2u61m164i3MrAIxHF6YK5h4SDYic-dRuU_RCPCfA5aq9ojSwk5Y2EmClBPs";

impl Talk {
    /// A socket that has said hello as A, with these channels and nothing stored, at sequence 10.
    pub(crate) fn webpush(channels: &[&str]) -> Self {
        Self::webpush_with(settings(), channels, &[], false)
    }

    /// The same with these settings and the first of these messages.
    pub(crate) fn webpush_with(
        settings: Settings,
        channels: &[&str],
        messages: &[Message],
        more: bool,
    ) -> Self {
        let mut talk = Self::with(settings);
        talk.handle(text(WEBPUSH_A));
        talk.handle(webpush_claimed(channels, messages, more));
        talk
    }

    /// Brings the outcome of a fetch, and compares the messages that are sent and the effects behind them.
    #[track_caller]
    pub(crate) fn check_fetched(
        &mut self,
        brought: &[Message],
        more: bool,
        sent: &[Message],
        rest: &[Effect],
    ) -> &mut Self {
        let effects = [notified_messages(sent), rest.to_vec()].concat();
        self.check(&[fetched(brought, more)], &effects)
    }
}

pub(crate) fn webpush_hello(id: &str) -> Hello {
    Hello {
        named: Some(Dialect::WebPush),
        otherwise: Dialect::WebPush,
        listed: None,
        adopt: false,
        ..hello_step(id, &[])
    }
}

/// The step that claims a generated UAID.
pub(crate) fn webpush_hello_new(id: Uaid) -> Hello {
    Hello { client: settings().uaid_key.client_id(id), adopt: true, ..webpush_hello(A) }
}

pub(crate) fn webpush_claimed(channels: &[&str], messages: &[Message], more: bool) -> Input<'static> {
    webpush_claimed_from(None, channels, messages, more)
}

pub(crate) fn webpush_claimed_from(
    former: Option<Presence>,
    channels: &[&str],
    messages: &[Message],
    more: bool,
) -> Input<'static> {
    let channels: Vec<(&str, Option<u64>)> = channels.iter().map(|id| (*id, None)).collect();
    let backlog = Backlog { messages: messages.to_vec(), more };
    let (dialect, snapshot) = (Dialect::WebPush, snapshot(10, &channels));
    outcome(Outcome::Hello(HelloOutcome::Claimed { dialect, former, snapshot, backlog }))
}

pub(crate) fn webpush_hello_reply(id: &str) -> Effect {
    send(&format!(
        r#"{{"messageType":"hello","uaid":"{id}","status":200,"use_webpush":true,"broadcasts":{{}}}}"#
    ))
}

/// A message without a body, for a channel, stored for an hour.
pub(crate) fn message(id: &str, sequence: u64) -> Message {
    Message {
        channel: channel(id),
        place: Place { sequence: Sequence(sequence), nonce: Nonce(sequence), topic: None },
        key: settings().keys.newest(),
        draft: Draft { ttl: Duration::from_secs(3600), ..Draft::default() },
    }
}

/// The messages with these sequences for channel X.
pub(crate) fn messages(sequences: impl IntoIterator<Item = u64>) -> Vec<Message> {
    sequences.into_iter().map(|sequence| message(X, sequence)).collect()
}

pub(crate) fn with_topic(message: Message, topic: &str) -> Message {
    let tag = TopicTag::parse(message.channel, topic).unwrap();
    Message { place: Place { topic: Some(tag), ..message.place }, ..message }
}

pub(crate) fn with_ttl(message: Message, seconds: u64) -> Message {
    Message { draft: Draft { ttl: Duration::from_secs(seconds), ..message.draft }, ..message }
}

pub(crate) fn with_urgency(message: Message, urgency: Urgency) -> Message {
    Message { draft: Draft { urgency, ..message.draft }, ..message }
}

pub(crate) fn bring(message: &Message) -> Input<'static> {
    fresh(Notification::Message(message.clone()))
}

/// The id of a message to a client.
pub(crate) fn id_for(of: &str, message: &Message) -> String {
    MessageId { client: client(of), place: message.place }.seal(&settings().keys, message.key)
}

/// The notification of a message without a body, in the spelling of X or Y.
pub(crate) fn notified_message(message: &Message) -> Effect {
    let id = message.channel.to_text(beckon_types::Spelling::HYPHENATED);
    let version = id_for(A, message);
    send(&format!(r#"{{"messageType":"notification","channelID":"{id}","version":"{version}"}}"#))
}

pub(crate) fn notified_messages(messages: &[Message]) -> Vec<Effect> {
    messages.iter().map(notified_message).collect()
}

pub(crate) fn ack_messages(messages: &[Message]) -> String {
    let entry = |message| format!(r#"{{"channelID":"{X}","version":"{}","code":100}}"#, id_for(A, message));
    let entries: Vec<String> = messages.iter().map(entry).collect();
    format!(r#"{{"messageType":"ack","updates":[{}]}}"#, entries.join(","))
}

pub(crate) fn remove_messages(messages: &[Message]) -> Effect {
    store(Step::RemoveMessages(client(A), messages.iter().map(|message| message.place).collect()))
}

pub(crate) fn fetch(after: Option<&Message>) -> Effect {
    let after: Option<Position> = after.map(|message| message.place.position());
    store(Step::Fetch(Fetch { client: client(A), presence: OWN, after, max: 10 }))
}

pub(crate) fn fetched(messages: &[Message], more: bool) -> Input<'static> {
    outcome(Outcome::Backlog(Backlog { messages: messages.to_vec(), more }))
}

pub(crate) fn key_hash() -> KeyHash {
    VapidKey::parse(KEY).unwrap().hash()
}

pub(crate) fn webpush_add(id: &str, restricted: Option<KeyHash>) -> Effect {
    let (channel, spelling) = ChannelId::parse(id).unwrap();
    let key = settings().keys.newest();
    let (client, presence, channels_max) = (client(A), OWN, 2000);
    store(Step::AddChannel(AddChannel { client, presence, channel, spelling, restricted, key, channels_max }))
}

pub(crate) fn webpush_register_reply(id: &str, restricted: Option<KeyHash>) -> Effect {
    let keys = settings().keys;
    let endpoint = Endpoint::WebPush { client: client(A), channel: channel(id), restricted };
    let url = format!("https://push.example.net{}", endpoint.path(&keys, keys.newest()));
    send(&format!(r#"{{"messageType":"register","channelID":"{id}","status":200,"pushEndpoint":"{url}"}}"#))
}

/// What a message gets that breaks the rules after hello.
pub(crate) fn refused_webpush(message: &str) -> [Effect; 3] {
    let members = message.strip_suffix('}').unwrap();
    [
        send(&format!(r#"{members},"status":401,"error":"Invalid Command"}}"#)),
        close(beckon_session::CloseCode::Policy),
        release(),
    ]
}
