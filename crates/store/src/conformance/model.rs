//! The reference: what a store does, in the simplest words, to compare random steps with.
//!
//! It knows a few clients, channels and sockets by number, so that random steps meet each other often.

use super::steps::{new_channel, new_presence, new_uaid, version};
use crate::Store;
use std::{collections::BTreeMap, sync::Arc};
use types::{
    channel_id::ChannelId,
    dialect::Dialect,
    key_ring::KeyId,
    notification::Sequence,
    presence::Presence,
    step::{
        Ack, AddChannel, AddChannelOutcome, Backlog, Channel, Hello, HelloOutcome, Listed, NotOwner,
        PutOutcome, PutVersion, Snapshot,
    },
    uaid::Uaid,
    uuid_text::Spelling,
};

/// How many clients, channels and sockets there are.
pub const CLIENTS: usize = 2;
/// See [`CLIENTS`].
pub const CHANNELS: usize = 4;
/// See [`CLIENTS`].
pub const SOCKETS: usize = 3;

/// A step, with clients, channels and sockets by number.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the fields are those of the steps in `types::step`")]
pub enum Step {
    Hello {
        client: usize,
        socket: usize,
        named: Option<Dialect>,
        otherwise: Dialect,
        /// `None` no list, `Some(None)` an impossible one.
        listed: Option<Option<Vec<usize>>>,
        adopt: bool,
        room: bool,
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
}

/// An outcome of any step. Channels of a snapshot are sorted.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the variants are those of `Step`")]
pub enum Outcome {
    Hello(HelloOutcome),
    Done,
    Snapshot(Result<Snapshot, NotOwner>),
    Added(AddChannelOutcome),
    Removed(Result<(), NotOwner>),
    Put(PutOutcome),
}

/// What the numbers stand for in one run.
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

/// Performs a step on a store.
pub async fn perform(store: &Arc<dyn Store>, names: &Names, step: &Step) -> Outcome {
    const PERFORMED: &str = "the store performs the step";
    let Names { clients, channels, sockets } = names;
    match step.clone() {
        Step::Hello { client, socket, named, otherwise, listed, adopt, room } => {
            let listed = listed.map(|listed| match listed {
                Some(listed) => Listed::Channels(listed.iter().map(|channel| channels[*channel]).collect()),
                None => Listed::Impossible,
            });
            let (uaid, presence) = (clients[client], sockets[socket]);
            let hello = Hello { uaid, presence, named, otherwise, listed, adopt, room, backlog_max: 10 };
            let mut outcome = store.hello(hello).await.expect(PERFORMED);
            if let HelloOutcome::Claimed { snapshot, .. } = &mut outcome {
                snapshot.channels.sort_by_key(|channel| channel.id);
            }
            Outcome::Hello(outcome)
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
        Step::Add { client, socket, channel, spelling, key, channels_max } => {
            let (uaid, presence, channel) = (clients[client], sockets[socket], channels[channel]);
            let add = AddChannel {
                uaid,
                presence,
                channel,
                spelling,
                restricted: None,
                key: KeyId(key),
                channels_max,
            };
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
    }
}

/// The reference.
#[derive(Debug, Default)]
pub struct Model {
    clients: BTreeMap<usize, Client>,
}

#[derive(Debug)]
struct Client {
    dialect: Dialect,
    owner: Option<usize>,
    sequence: u64,
    channels: BTreeMap<usize, (Spelling, u8, Option<u64>)>,
}

impl Client {
    fn snapshot(&self, names: &Names) -> Snapshot {
        let channel = |(id, (spelling, _, pending)): (&usize, &(Spelling, u8, Option<u64>))| Channel {
            id: names.channels[*id],
            spelling: *spelling,
            pending: pending.map(version),
        };
        let mut channels: Vec<_> = self.channels.iter().map(channel).collect();
        channels.sort_by_key(|channel| channel.id);
        Snapshot { sequence: Sequence(self.sequence), channels }
    }
}

impl Model {
    /// What a store has to do.
    pub fn perform(&mut self, names: &Names, step: &Step) -> Outcome {
        match step.clone() {
            Step::Hello { client, socket, named, otherwise, listed, adopt, room } => {
                Outcome::Hello(self.hello(names, client, socket, (named, otherwise), listed, adopt, room))
            }
            Step::Release { client, socket } => {
                if let Some(found) = self.owned(client, socket) {
                    found.owner = None;
                    if found.channels.is_empty() {
                        self.clients.remove(&client);
                    }
                }
                Outcome::Done
            }
            Step::Snapshot { client, socket } => Outcome::Snapshot(
                self.owned(client, socket).map(|found| found.snapshot(names)).ok_or(NotOwner),
            ),
            Step::Add { client, socket, channel, spelling, key, channels_max } => {
                let Some(found) = self.owned(client, socket) else {
                    return Outcome::Added(AddChannelOutcome::NotOwner(NotOwner));
                };
                let (room, sequence) =
                    (found.channels.len() < channels_max as usize, Sequence(found.sequence));
                if !room && !found.channels.contains_key(&channel) {
                    return Outcome::Added(AddChannelOutcome::Full);
                }
                let kept = found.channels.entry(channel).or_insert((spelling, key, None));
                kept.0 = spelling;
                Outcome::Added(AddChannelOutcome::Registered { key: KeyId(kept.1), sequence })
            }
            Step::Remove { client, socket, channel } => {
                let Some(found) = self.owned(client, socket) else { return Outcome::Removed(Err(NotOwner)) };
                found.channels.remove(&channel);
                Outcome::Removed(Ok(()))
            }
            Step::Put { client, channel, version } => Outcome::Put(self.put(names, client, channel, version)),
            Step::Ack { client, acks } => {
                for (channel, number) in acks {
                    let found =
                        self.clients.get_mut(&client).and_then(|found| found.channels.get_mut(&channel));
                    let Some((_, _, pending)) = found else { continue };
                    if number.is_none_or(|number| pending.is_some_and(|version| version as f64 == number)) {
                        *pending = None;
                    }
                }
                Outcome::Done
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "they are the fields of one step")]
    fn hello(
        &mut self,
        names: &Names,
        client: usize,
        socket: usize,
        (named, otherwise): (Option<Dialect>, Dialect),
        listed: Option<Option<Vec<usize>>>,
        adopt: bool,
        room: bool,
    ) -> HelloOutcome {
        let stored = self.clients.get(&client);
        let dialect = named.or(stored.map(|stored| stored.dialect)).unwrap_or(otherwise);
        let simplepush = dialect == Dialect::SimplePush;
        if simplepush && listed.is_none() {
            return HelloOutcome::ListMissing;
        }
        if simplepush && !room {
            return HelloOutcome::NoRoom;
        }
        let registered = |channel: &usize| stored.is_some_and(|stored| stored.channels.contains_key(channel));
        let verified = !simplepush || listed.flatten().is_some_and(|listed| listed.iter().all(registered));
        let former = stored.and_then(|stored| stored.owner).map(|socket| names.sockets[socket]);
        match stored {
            Some(stored) if stored.dialect != dialect => return HelloOutcome::Unknown { dialect },
            Some(_) if !verified => {
                self.clients.remove(&client);
                return HelloOutcome::Deleted { former };
            }
            None if !verified || !adopt => return HelloOutcome::Unknown { dialect },
            Some(_) | None => {}
        }
        let new = || Client { dialect, owner: None, sequence: 0, channels: BTreeMap::new() };
        let claimed = self.clients.entry(client).or_insert_with(new);
        claimed.owner = Some(socket);
        HelloOutcome::Claimed {
            dialect,
            former,
            snapshot: claimed.snapshot(names),
            backlog: Backlog::default(),
        }
    }

    fn put(&mut self, names: &Names, client: usize, channel: usize, version: u64) -> PutOutcome {
        let Some(found) = self.clients.get_mut(&client) else { return PutOutcome::Gone };
        let Some((_, _, pending)) = found.channels.get_mut(&channel) else { return PutOutcome::Gone };
        *pending = Some(version);
        found.sequence += 1;
        let presence = found.owner.map(|socket| names.sockets[socket]);
        PutOutcome::Stored { sequence: Sequence(found.sequence), presence }
    }

    fn owned(&mut self, client: usize, socket: usize) -> Option<&mut Client> {
        self.clients.get_mut(&client).filter(|found| found.owner == Some(socket))
    }
}
