//! The sentences of the store's trait for Web Push, as short as they can be said.

use beckon_session::{Outcome, Step};
use beckon_types::{
    AddChannel, AddChannelOutcome, Backlog, Channel, ChannelId, Dialect, Fetch, Hello, HelloOutcome, KeyId,
    Message, Moment, NotOwner, Place, Position, Presence, Sequence, Snapshot, Spelling,
};
use std::collections::BTreeMap;

/// A message and when it expires.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) message: Message,
    pub(crate) expires: Moment,
}

/// The record of the only client there is.
#[derive(Debug, Default)]
pub(crate) struct Record {
    presence: Option<Presence>,
    channels: BTreeMap<ChannelId, (Spelling, KeyId)>,
    pub(crate) messages: BTreeMap<Position, Stored>,
}

#[derive(Debug, Default)]
pub(crate) struct Store {
    pub(crate) record: Option<Record>,
    /// Not started anew with another record, so that the world can tell all messages apart.
    sequence: u64,
}

impl Record {
    fn backlog(&self, now: Moment, after: Option<Position>, max: usize) -> Backlog {
        let behind = self.messages.iter().filter(|(position, _)| Some(**position) > after);
        let mut living = behind.map(|(_, stored)| stored).filter(|stored| now < stored.expires);
        let left = |stored: &Stored| {
            let mut message = stored.message.clone();
            message.draft.ttl = stored.expires.since(now);
            message
        };
        let messages: Vec<Message> = living.by_ref().take(max).map(left).collect();
        Backlog { more: living.next().is_some(), messages }
    }
}

impl Store {
    pub(crate) fn perform(&mut self, now: Moment, step: Step) -> Outcome {
        match step {
            Step::Hello(hello) => Outcome::Hello(self.hello(now, &hello)),
            Step::AddChannel(add) => Outcome::from(self.add(add)),
            Step::RemoveChannel(_, presence, channel) => Outcome::from(self.owned(presence).map(|record| {
                record.channels.remove(&channel);
                record.messages.retain(|_, stored| stored.message.channel != channel);
            })),
            Step::RemoveMessages(_, places) => {
                self.remove(&places);
                Outcome::Done
            }
            Step::Fetch(Fetch { presence, after, max, .. }) => {
                Outcome::from(self.owned(presence).map(|record| record.backlog(now, after, max)))
            }
            Step::Snapshot(_, presence) => {
                Outcome::from(self.owned(presence).map(|_| ()).map(|()| self.snapshot()))
            }
            Step::Release(_, presence) => {
                if let Ok(record) = self.owned(presence) {
                    record.presence = None;
                    if record.channels.is_empty() {
                        self.record = None;
                    }
                }
                Outcome::Done
            }
            Step::AckVersions(..) => panic!("{step:?} in Web Push"),
        }
    }

    fn owned(&mut self, presence: Presence) -> Result<&mut Record, NotOwner> {
        self.record.as_mut().filter(|record| record.presence == Some(presence)).ok_or(NotOwner)
    }

    fn snapshot(&self) -> Snapshot {
        let channels = self.record.iter().flat_map(|record| &record.channels);
        let channels =
            channels.map(|(id, (spelling, _))| Channel { id: *id, spelling: *spelling, pending: None });
        Snapshot { sequence: Sequence(self.sequence), channels: channels.collect() }
    }

    fn hello(&mut self, now: Moment, hello: &Hello) -> HelloOutcome {
        let dialect = Dialect::WebPush;
        if self.record.is_none() && !hello.adopt {
            return HelloOutcome::Unknown { dialect };
        }
        let record = self.record.get_or_insert_default();
        let former = record.presence.replace(hello.presence);
        let backlog = record.backlog(now, None, hello.backlog_max);
        HelloOutcome::Claimed { dialect, former, snapshot: self.snapshot(), backlog }
    }

    fn add(&mut self, add: AddChannel) -> AddChannelOutcome {
        let sequence = Sequence(self.sequence);
        match self.owned(add.presence) {
            Ok(record) => {
                let channel = record.channels.entry(add.channel).or_insert((add.spelling, add.key));
                channel.0 = add.spelling;
                AddChannelOutcome::Registered { key: channel.1, sequence }
            }
            Err(not_owner) => AddChannelOutcome::NotOwner(not_owner),
        }
    }

    pub(crate) fn remove(&mut self, places: &[Place]) {
        for messages in self.record.iter_mut().map(|record| &mut record.messages) {
            messages.retain(|_, stored| !places.contains(&stored.message.place));
        }
    }

    /// Stores a message, if it is to be stored, and gives it its sequence. Nothing if its channel is gone.
    pub(crate) fn put(&mut self, now: Moment, mut message: Message) -> Option<(Message, Option<Presence>)> {
        let record = self.record.as_mut()?;
        record.channels.get(&message.channel)?;
        self.sequence += 1;
        message.place.sequence = Sequence(self.sequence);
        if let Some(topic) = message.place.topic {
            record.messages.retain(|_, stored| stored.message.place.topic != Some(topic));
        }
        if !message.draft.ttl.is_zero() {
            let stored = Stored { message: message.clone(), expires: now + message.draft.ttl };
            record.messages.insert(message.place.position(), stored);
        }
        Some((message, record.presence))
    }
}
