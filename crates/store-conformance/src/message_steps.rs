//! Helpers that perform a step about messages. A step that the store does not perform fails the case.

use super::steps::{Client, random};
use beckon_store::Store;
use beckon_types::{
    Backlog, ClientId, Draft, Encoding, Fetch, FindChannel, KeyId, Message, Nonce, Payload, Place, Position,
    Presence, PutMessage, PutMessageOutcome, Sequence, TOPIC_TAG_LEN, TopicTag, Urgency,
};
use bytes::Bytes;
use std::{sync::Arc, time::Duration};

/// A TTL that does not pass while a case runs.
pub const LONG: Duration = Duration::from_secs(24 * 60 * 60);

/// A TTL that passes while a case runs.
pub const SHORT: Duration = Duration::from_secs(1);

/// A body in the encoding without further headers.
pub fn payload(body: impl Into<Bytes>) -> Payload {
    Payload { encoding: Encoding::Aes128gcm, body: body.into() }
}

/// A `put_message` to the first channel of a client: this body, for [`LONG`], of no more than 100 messages.
pub fn message(client: &Client, body: &str) -> PutMessage {
    PutMessage {
        client: client.id,
        channel: client.channels[0],
        restricted: None,
        key: KeyId(1),
        nonce: Nonce(random()),
        topic: None,
        draft: Draft { urgency: Urgency::Normal, ttl: LONG, payload: Some(payload(body.to_owned())) },
        messages_max: 100,
        reserve: 0,
    }
}

/// A `find_channel` of the first channel of a client.
pub fn find(client: &Client) -> FindChannel {
    FindChannel { client: client.id, channel: client.channels[0], restricted: None }
}

/// The same message with a topic, which is given by a number.
pub fn about(topic: u8, put: PutMessage) -> PutMessage {
    PutMessage { topic: Some(tag(topic)), ..put }
}

/// The same message with this TTL.
pub fn lasting(ttl: Duration, put: PutMessage) -> PutMessage {
    PutMessage { draft: Draft { ttl, ..put.draft }, ..put }
}

/// The tag of a topic, which is given by a number.
pub fn tag(topic: u8) -> TopicTag {
    TopicTag([topic; TOPIC_TAG_LEN])
}

/// Any outcome of `put_message`.
pub async fn send(store: &Arc<dyn Store>, put: PutMessage) -> PutMessageOutcome {
    store.put_message(put).await.expect("put_message")
}

/// A message that is accepted: its place, and the socket that owns the client.
pub async fn accepted(store: &Arc<dyn Store>, put: PutMessage) -> (Place, Option<Presence>) {
    let (nonce, topic) = (put.nonce, put.topic);
    match send(store, put).await {
        PutMessageOutcome::Accepted { sequence, presence, previous: _ } => {
            (Place { sequence, nonce, topic }, presence)
        }
        other @ (PutMessageOutcome::UaidGone | PutMessageOutcome::ChannelGone | PutMessageOutcome::Full) => {
            panic!("expected an accepted message, not {other:?}")
        }
    }
}

/// Stored messages of a client that owns its UAID.
pub async fn fetch(store: &Arc<dyn Store>, client: &Client, after: Option<Position>, max: usize) -> Backlog {
    let Client { id: client, presence, .. } = *client;
    store.fetch(Fetch { client, presence, after, max }).await.expect("fetch").expect("the owner")
}

/// The bodies of all stored messages of a client that owns its UAID.
pub async fn waiting(store: &Arc<dyn Store>, client: &Client) -> Vec<String> {
    let backlog = fetch(store, client, None, 10_000).await;
    assert!(!backlog.more, "all of them were asked for");
    bodies(&backlog)
}

/// The bodies of a backlog, as text.
pub fn bodies(backlog: &Backlog) -> Vec<String> {
    let body = |message: &Message| match &message.draft.payload {
        Some(payload) => String::from_utf8_lossy(&payload.body).into_owned(),
        None => String::new(),
    };
    backlog.messages.iter().map(body).collect()
}

/// The positions of a backlog.
pub fn positions(backlog: &Backlog) -> Vec<Position> {
    backlog.messages.iter().map(|message| message.place.position()).collect()
}

/// Removes messages.
pub async fn remove(store: &Arc<dyn Store>, client: ClientId, places: &[Place]) {
    store.remove_messages(client, places.to_vec()).await.expect("remove_messages");
}

/// The place of no message.
pub fn plain_place(sequence: Sequence) -> Place {
    Place { sequence, nonce: Nonce::default(), topic: None }
}

/// Waits until [`SHORT`] has passed since the last answer.
pub async fn let_short_pass() {
    tokio::time::sleep(SHORT).await;
}
