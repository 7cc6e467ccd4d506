//! Random steps. [`perform`](mod@perform) performs one on a store, and the [`reference`](mod@reference) gives the expected outcome.
//!
//! Steps name clients, channels, sockets, topics and keys by numbers, and there are few of each, so that random steps
//! often concern the same ones.

pub mod perform;
pub mod reference;
pub mod writes;

use super::{
    message_steps::tag,
    steps::{new_channel, new_client_id, new_presence},
};
use beckon_types::{
    AddChannelOutcome, Backlog, ChannelId, ClientId, Dialect, HelloOutcome, KeyHash, Listed, Nonce, NotOwner,
    Place, Position, Presence, PutMessageOutcome, PutVersionOutcome, Sequence, Snapshot, Spelling, Urgency,
};

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
        former: Option<usize>,
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
        /// Whether the TTL is [`LONG`](super::message_steps::LONG) or zero.
        stored: bool,
        /// Empty for no payload.
        body: String,
        messages_max: u32,
        reserve: u32,
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
    clients: [ClientId; CLIENTS],
    channels: [ChannelId; CHANNELS],
    sockets: [Presence; SOCKETS],
}

impl Default for Names {
    fn default() -> Self {
        Self {
            clients: std::array::from_fn(|_| new_client_id()),
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

/// The place of a message in the reference, which has no nonces.
fn place(sequence: u64, topic: Option<u8>) -> Place {
    Place { sequence: Sequence(sequence), nonce: Nonce::default(), topic: topic.map(tag) }
}

/// A position in a backlog.
fn position((without_topic, sequence): (bool, u64)) -> Position {
    Position { without_topic, sequence: Sequence(sequence) }
}

/// The key that a channel is restricted to.
fn key_hash(number: u8) -> KeyHash {
    KeyHash([number; 32])
}
