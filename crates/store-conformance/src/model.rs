//! Random steps: what they are, and how to perform one on a store. The [`reference`](mod@reference) gives the
//! expected outcome.
//!
//! Steps name clients, channels, sockets, topics and keys by numbers, and there are few of each, so that random steps
//! often concern the same ones.

pub mod reference;

use super::{
    message_steps::{LONG, payload, tag},
    steps::{new_channel, new_presence, new_uaid, version},
};
use beckon_store::Store;
use beckon_types::{
    Ack, AddChannel, AddChannelOutcome, Backlog, ChannelId, Dialect, Draft, Fetch, Hello, HelloOutcome,
    KeyHash, KeyId, Listed, NotOwner, Place, Position, Presence, PutMessage, PutMessageOutcome, PutVersion,
    PutVersionOutcome, Sequence, Snapshot, Spelling, Uaid, Urgency,
};
use std::{sync::Arc, time::Duration};

/// The number of clients.
pub const CLIENTS: usize = 2;
/// The number of channels.
pub const CHANNELS: usize = 4;
/// The number of sockets.
pub const SOCKETS: usize = 3;
/// The number of topics.
pub const TOPICS: u8 = 3;
/// The number of keys.
pub const KEYS: u8 = 2;

/// A step.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the fields are those of the steps in `beckon_types`")]
pub enum Step {
    Hello {
        client: usize,
        socket: usize,
        named: Option<Dialect>,
        otherwise: Dialect,
        /// `None` is no list, `Some(None)` an impossible one.
        listed: Option<Option<Vec<usize>>>,
        adopt: bool,
        room: bool,
        backlog_max: usize,
    },
    Release {
        client: usize,
        socket: usize,
    },
    Snapshot {
        client: usize,
        socket: usize,
    },
    Add {
        client: usize,
        socket: usize,
        channel: usize,
        spelling: Spelling,
        restricted: Option<u8>,
        key: u8,
        channels_max: u32,
    },
    Remove {
        client: usize,
        socket: usize,
        channel: usize,
    },
    Put {
        client: usize,
        channel: usize,
        version: u64,
    },
    Ack {
        client: usize,
        acks: Vec<(usize, Option<f64>)>,
    },
    Send {
        client: usize,
        channel: usize,
        restricted: Option<u8>,
        key: u8,
        topic: Option<u8>,
        urgency: Urgency,
        /// Whether the TTL is [`LONG`] or zero.
        stored: bool,
        /// Empty for no payload.
        body: String,
        messages_max: u32,
    },
    Fetch {
        client: usize,
        socket: usize,
        /// Whether it is in the second group, and the sequence.
        after: Option<(bool, u64)>,
        max: usize,
    },
    RemoveMessages {
        client: usize,
        /// Sequences and topics.
        places: Vec<(u64, Option<u8>)>,
    },
}

/// An outcome of any step. The channels of a snapshot are sorted, and messages have their whole TTL.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the variants are those of `Step`")]
pub enum Outcome {
    Hello(HelloOutcome),
    Done,
    Snapshot(Result<Snapshot, NotOwner>),
    Added(AddChannelOutcome),
    Removed(Result<(), NotOwner>),
    Put(PutVersionOutcome),
    Sent(PutMessageOutcome),
    Fetched(Result<Backlog, NotOwner>),
}

/// The identifiers that the numbers stand for in one run.
#[derive(Debug)]
pub struct Names {
    clients: [Uaid; CLIENTS],
    channels: [ChannelId; CHANNELS],
    sockets: [Presence; SOCKETS],
}

impl Default for Names {
    fn default() -> Self {
        Self {
            clients: std::array::from_fn(|_| new_uaid()),
            channels: std::array::from_fn(|_| new_channel()),
            sockets: std::array::from_fn(|_| new_presence()),
        }
    }
}

impl Names {
    fn listed(&self, list: Option<Vec<usize>>) -> Listed {
        match list {
            Some(list) => Listed::Channels(list.into_iter().map(|channel| self.channels[channel]).collect()),
            None => Listed::Impossible,
        }
    }
}

/// The place of a message.
fn place(sequence: u64, topic: Option<u8>) -> Place {
    Place { sequence: Sequence(sequence), topic: topic.map(tag) }
}

/// A position in a backlog.
fn position((without_topic, sequence): (bool, u64)) -> Position {
    Position { without_topic, sequence: Sequence(sequence) }
}

/// The key that a channel is restricted to.
fn key_hash(number: u8) -> KeyHash {
    KeyHash([number; 32])
}

const PERFORMED: &str = "the store performs the step";

/// Performs a step on a store.
pub async fn perform(store: &Arc<dyn Store>, names: &Names, step: &Step) -> Outcome {
    let Names { clients, channels, sockets } = names;
    match step.clone() {
        Step::Hello { client, socket, named, otherwise, listed, adopt, room, backlog_max } => {
            let listed = listed.map(|list| names.listed(list));
            let (uaid, presence) = (clients[client], sockets[socket]);
            let hello = Hello { uaid, presence, named, otherwise, listed, adopt, room, backlog_max };
            perform_hello(store, hello).await
        }
        Step::Release { client, socket } => {
            store.release(clients[client], sockets[socket]).await.expect(PERFORMED);
            Outcome::Done
        }
        Step::Snapshot { client, socket } => {
            let mut outcome = store.snapshot(clients[client], sockets[socket]).await.expect(PERFORMED);
            if let Ok(snapshot) = &mut outcome {
                snapshot.channels.sort_by_key(|channel| channel.id);
            }
            Outcome::Snapshot(outcome)
        }
        Step::Add { client, socket, channel, spelling, restricted, key, channels_max } => {
            let (uaid, presence, channel) = (clients[client], sockets[socket], channels[channel]);
            let (restricted, key) = (restricted.map(key_hash), KeyId(key));
            let add = AddChannel { uaid, presence, channel, spelling, restricted, key, channels_max };
            Outcome::Added(store.add_channel(add).await.expect(PERFORMED))
        }
        Step::Remove { client, socket, channel } => Outcome::Removed(
            store.remove_channel(clients[client], sockets[socket], channels[channel]).await.expect(PERFORMED),
        ),
        Step::Put { client, channel, version: number } => {
            let put =
                PutVersion { uaid: clients[client], channel: channels[channel], version: version(number) };
            Outcome::Put(store.put_version(put).await.expect(PERFORMED))
        }
        Step::Ack { client, acks } => {
            let acks =
                acks.iter().map(|(channel, version)| Ack { channel: channels[*channel], version: *version });
            store.ack_versions(clients[client], acks.collect()).await.expect(PERFORMED);
            Outcome::Done
        }
        Step::Send { client, channel, restricted, key, topic, urgency, stored, body, messages_max } => {
            let put = PutMessage {
                uaid: clients[client],
                channel: channels[channel],
                restricted: restricted.map(key_hash),
                key: KeyId(key),
                topic: topic.map(tag),
                draft: Draft {
                    urgency,
                    ttl: if stored { LONG } else { Duration::ZERO },
                    payload: (!body.is_empty()).then(|| payload(body)),
                },
                messages_max,
            };
            Outcome::Sent(store.put_message(put).await.expect(PERFORMED))
        }
        Step::Fetch { client, socket, after, max } => {
            let after = after
                .map(|(without_topic, sequence)| Position { without_topic, sequence: Sequence(sequence) });
            let fetch = Fetch { uaid: clients[client], presence: sockets[socket], after, max };
            let outcome = store.fetch(fetch).await.expect(PERFORMED);
            Outcome::Fetched(outcome.map(with_whole_ttls))
        }
        Step::RemoveMessages { client, places } => {
            let places = places.into_iter().map(|(sequence, topic)| place(sequence, topic));
            store.remove_messages(clients[client], places.collect()).await.expect(PERFORMED);
            Outcome::Done
        }
    }
}

async fn perform_hello(store: &Arc<dyn Store>, hello: Hello) -> Outcome {
    let mut outcome = store.hello(hello).await.expect(PERFORMED);
    if let HelloOutcome::Claimed { snapshot, backlog, .. } = &mut outcome {
        snapshot.channels.sort_by_key(|channel| channel.id);
        *backlog = with_whole_ttls(std::mem::take(backlog));
    }
    Outcome::Hello(outcome)
}

/// Restores the TTLs, of which an unpredictable part has passed.
fn with_whole_ttls(mut backlog: Backlog) -> Backlog {
    for message in &mut backlog.messages {
        if !message.draft.ttl.is_zero() && message.draft.ttl <= LONG {
            message.draft.ttl = LONG;
        }
    }
    backlog
}
