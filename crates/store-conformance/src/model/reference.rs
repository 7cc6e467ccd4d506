//! The reference: what a store does, as simply as possible, to compare the outcomes of random steps with.

use super::{Names, Outcome, Step, key_hash, place, position};
use crate::{
    message_steps::{LONG, payload},
    steps::version,
};
use beckon_types::{
    AddChannelOutcome, Backlog, Channel, Dialect, Draft, HelloOutcome, KeyHash, KeyId, Message, NotOwner,
    Place, Position, PutMessageOutcome, PutVersionOutcome, Sequence, Snapshot, Spelling, Urgency,
};
use std::collections::BTreeMap;

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
    channels: BTreeMap<usize, Registered>,
    messages: Vec<Stored>,
}

#[derive(Debug)]
struct Registered {
    spelling: Spelling,
    restricted: Option<KeyHash>,
    key: u8,
    pending: Option<u64>,
}

#[derive(Debug)]
struct Stored {
    channel: usize,
    place: Place,
    key: u8,
    urgency: Urgency,
    body: String,
    is_reserved: bool,
}

impl Client {
    fn snapshot(&self, names: &Names) -> Snapshot {
        let channel = |(id, registered): (&usize, &Registered)| Channel {
            id: names.channels[*id],
            spelling: registered.spelling,
            pending: registered.pending.map(version),
        };
        let mut channels: Vec<_> = self.channels.iter().map(channel).collect();
        channels.sort_by_key(|channel| channel.id);
        Snapshot { sequence: Sequence(self.sequence), channels }
    }

    fn backlog(&self, names: &Names, after: Option<Position>, max: usize) -> Backlog {
        let mut behind: Vec<_> = self
            .messages
            .iter()
            .filter(|stored| after.is_none_or(|after| stored.place.position() > after))
            .collect();
        behind.sort_by_key(|stored| stored.place.position());
        let message = |stored: &&Stored| Message {
            channel: names.channels[stored.channel],
            place: stored.place,
            key: KeyId(stored.key),
            draft: Draft {
                urgency: stored.urgency,
                ttl: LONG,
                payload: (!stored.body.is_empty()).then(|| payload(stored.body.clone())),
            },
        };
        Backlog { messages: behind.iter().take(max).map(message).collect(), more: behind.len() > max }
    }
}

impl Model {
    /// The outcome that every store has to have.
    pub fn perform(&mut self, names: &Names, step: &Step) -> Outcome {
        match step.clone() {
            Step::Hello { .. } => Outcome::Hello(self.hello(names, step)),
            Step::Release { client, socket, former } => {
                if let Some(found) = self.owned(client, socket) {
                    found.owner = former;
                    if former.is_none() && found.channels.is_empty() {
                        self.clients.remove(&client);
                    }
                }
                Outcome::Done
            }
            Step::Snapshot { client, socket } => Outcome::Snapshot(
                self.owned(client, socket).map(|found| found.snapshot(names)).ok_or(NotOwner),
            ),
            Step::Add { client, socket, channel, spelling, restricted, key, channels_max } => {
                let Some(found) = self.owned(client, socket) else {
                    return Outcome::Added(AddChannelOutcome::NotOwner(NotOwner));
                };
                let room = found.channels.len() < channels_max as usize;
                let sequence = Sequence(found.sequence);
                if !room && !found.channels.contains_key(&channel) {
                    return Outcome::Added(AddChannelOutcome::Full);
                }
                let new = || Registered { spelling, restricted: None, key, pending: None };
                let kept = found.channels.entry(channel).or_insert_with(new);
                (kept.spelling, kept.restricted) = (spelling, restricted.map(key_hash));
                Outcome::Added(AddChannelOutcome::Registered { key: KeyId(kept.key), sequence })
            }
            Step::Remove { client, socket, channel } => {
                let Some(found) = self.owned(client, socket) else { return Outcome::Removed(Err(NotOwner)) };
                found.channels.remove(&channel);
                found.messages.retain(|stored| stored.channel != channel);
                Outcome::Removed(Ok(()))
            }
            Step::Put { client, channel, version } => Outcome::Put(self.put(names, client, channel, version)),
            Step::Ack { client, acks } => {
                for (channel, number) in acks {
                    let found =
                        self.clients.get_mut(&client).and_then(|found| found.channels.get_mut(&channel));
                    let Some(Registered { pending, .. }) = found else { continue };
                    if number.is_none_or(|number| pending.is_some_and(|version| version as f64 == number)) {
                        *pending = None;
                    }
                }
                Outcome::Done
            }
            Step::Send { .. } => Outcome::Sent(self.send(names, step)),
            Step::Fetch { client, socket, after, max } => {
                let found = self.owned(client, socket);
                let backlog = found.map(|found| found.backlog(names, after.map(position), max));
                Outcome::Fetched(backlog.ok_or(NotOwner))
            }
            Step::RemoveMessages { client, places } => {
                if let Some(found) = self.clients.get_mut(&client) {
                    let places: Vec<_> =
                        places.into_iter().map(|(sequence, topic)| place(sequence, topic)).collect();
                    found.messages.retain(|stored| !places.contains(&stored.place));
                }
                Outcome::Done
            }
        }
    }

    fn hello(&mut self, names: &Names, step: &Step) -> HelloOutcome {
        let Step::Hello { client, socket, named, otherwise, listed, adopt, room, backlog_max } = step else {
            unreachable!("a hello is given")
        };
        let stored = self.clients.get(client);
        let dialect = named.or(stored.map(|stored| stored.dialect)).unwrap_or(*otherwise);
        let simplepush = dialect == Dialect::SimplePush;
        if simplepush && listed.is_none() {
            return HelloOutcome::ListMissing;
        }
        if simplepush && !room {
            return HelloOutcome::NoRoom;
        }
        let registered = |channel: &usize| stored.is_some_and(|stored| stored.channels.contains_key(channel));
        let listed = listed.as_ref().and_then(Option::as_ref);
        let verified = !simplepush || listed.is_some_and(|listed| listed.iter().all(registered));
        let former = stored.and_then(|stored| stored.owner).map(|socket| names.sockets[socket]);
        match stored {
            Some(stored) if stored.dialect != dialect => return HelloOutcome::Unknown { dialect },
            Some(_) if !verified => {
                self.clients.remove(client);
                return HelloOutcome::Deleted { former };
            }
            None if !verified || !adopt => return HelloOutcome::Unknown { dialect },
            Some(_) | None => {}
        }
        let new =
            || Client { dialect, owner: None, sequence: 0, channels: BTreeMap::new(), messages: Vec::new() };
        let claimed = self.clients.entry(*client).or_insert_with(new);
        claimed.owner = Some(*socket);
        let backlog =
            if simplepush { Backlog::default() } else { claimed.backlog(names, None, *backlog_max) };
        HelloOutcome::Claimed { dialect, former, snapshot: claimed.snapshot(names), backlog }
    }

    fn put(&mut self, names: &Names, client: usize, channel: usize, version: u64) -> PutVersionOutcome {
        let Some(found) = self.clients.get_mut(&client) else { return PutVersionOutcome::Gone };
        if found.dialect != Dialect::SimplePush {
            return PutVersionOutcome::Gone;
        }
        let Some(registered) = found.channels.get_mut(&channel) else { return PutVersionOutcome::Gone };
        registered.pending = Some(version);
        let previous = Sequence(found.sequence);
        found.sequence += 1;
        let presence = found.owner.map(|socket| names.sockets[socket]);
        PutVersionOutcome::Stored { sequence: Sequence(found.sequence), previous, presence }
    }

    fn send(&mut self, names: &Names, step: &Step) -> PutMessageOutcome {
        let Step::Send {
            client,
            channel,
            restricted,
            key,
            topic,
            urgency,
            stored,
            body,
            messages_max,
            reserve,
        } = step
        else {
            unreachable!("a message is given")
        };
        let Some(found) = self.clients.get_mut(client) else { return PutMessageOutcome::UaidGone };
        let registered = found.channels.get(channel);
        let is_registered =
            registered.is_some_and(|registered| registered.restricted == restricted.map(key_hash));
        if found.dialect != Dialect::WebPush || !is_registered {
            return PutMessageOutcome::ChannelGone;
        }
        let place = place(found.sequence + 1, *topic);
        let replaced =
            found.messages.iter().position(|kept| topic.is_some() && kept.place.topic == place.topic);
        let others = found.messages.len() - usize::from(replaced.is_some());
        let is_full = others >= *messages_max as usize;
        let is_reserved = is_full && replaced.is_none_or(|replaced| found.messages[replaced].is_reserved);
        let in_reserve = |kept: &&Stored| kept.is_reserved && kept.channel == *channel;
        let has_reserve = found.messages.iter().filter(in_reserve).count() < *reserve as usize;
        if *stored && is_full && replaced.is_none() && !has_reserve {
            return PutMessageOutcome::Full;
        }
        let previous = Sequence(found.sequence);
        found.sequence += 1;
        if let Some(replaced) = replaced {
            found.messages.remove(replaced);
        }
        if *stored {
            let (channel, key, urgency, body) = (*channel, *key, *urgency, body.clone());
            found.messages.push(Stored { channel, place, key, urgency, body, is_reserved });
        }
        let presence = found.owner.map(|socket| names.sockets[socket]);
        PutMessageOutcome::Accepted { sequence: Sequence(found.sequence), previous, presence }
    }

    fn owned(&mut self, client: usize, socket: usize) -> Option<&mut Client> {
        self.clients.get_mut(&client).filter(|found| found.owner == Some(socket))
    }
}
