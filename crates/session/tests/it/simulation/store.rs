//! The sentences of the trait `Store`, as short as they can be written.

use beckon_session::{Outcome, Step};
use beckon_types::{
    Ack, AddChannel, AddChannelOutcome, Backlog, Channel, ChannelId, Claim, ClientId, Dialect, Fetch, Hello,
    HelloOutcome, KeyId, Listed, Message, Moment, NotOwner, Place, Position, Presence, Sequence, Snapshot,
    Spelling, Version,
};
use std::collections::BTreeMap;

/// How far the clock falls behind at once, in milliseconds.
const BEHIND_MS: u64 = 90_499;

/// Sequences that are skipped then. In the world whole seconds pass, so all of these are not used unless there are as many writes in
/// one.
const SKIPPED: u64 = 61;

#[derive(Debug, Clone)]
pub(super) struct Store {
    records: BTreeMap<ClientId, Record>,
    /// The last write to any client. It does not start again with a client, so that the world can distinguish all writes.
    sequence: u64,
    /// Whether sequences are not below the clock.
    follows_clock: bool,
    /// How often that clock has fallen behind.
    behind: u64,
    /// How often the store has gone back in time.
    losses: u64,
    /// The versions that acknowledgements have removed.
    pub(super) acknowledged: Vec<Version>,
}

#[derive(Debug, Clone)]
struct Record {
    dialect: Dialect,
    presence: Option<Presence>,
    /// The last write to the client.
    sequence: Sequence,
    channels: BTreeMap<ChannelId, Registered>,
    messages: BTreeMap<Position, Stored>,
}

#[derive(Debug, Clone)]
struct Registered {
    spelling: Spelling,
    key: KeyId,
    pending: Option<Version>,
}

/// What a store says about a write.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written {
    /// The write to the client before it.
    pub(super) previous: Sequence,
    /// Who has the client.
    pub(super) to: Option<Presence>,
}

/// A message and when it expires.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) message: Message,
    expires: Moment,
}

impl Record {
    fn new(dialect: Dialect) -> Self {
        let (channels, messages) = (BTreeMap::new(), BTreeMap::new());
        Self { dialect, presence: None, sequence: Sequence::default(), channels, messages }
    }

    /// Notes a write.
    fn write(&mut self, sequence: Sequence) -> Written {
        Written { previous: std::mem::replace(&mut self.sequence, sequence), to: self.presence }
    }

    fn snapshot(&self) -> Snapshot {
        let channels = self.channels.iter().map(|(id, registered)| Channel {
            id: *id,
            spelling: registered.spelling,
            pending: registered.pending,
        });
        Snapshot { sequence: self.sequence, channels: channels.collect() }
    }

    fn backlog(&self, now: Moment, after: Option<Position>, max: usize) -> Backlog {
        let behind = self.messages.iter().filter(|(position, _)| Some(**position) > after);
        let mut living = behind.map(|(_, stored)| stored).filter(|stored| now < stored.expires);
        let with_ttl_left = |stored: &Stored| {
            let mut message = stored.message.clone();
            message.draft.ttl = stored.expires.since(now);
            message
        };
        let messages: Vec<Message> = living.by_ref().take(max).map(with_ttl_left).collect();
        Backlog { more: living.next().is_some(), messages }
    }
}

impl Store {
    /// An empty store.
    pub(super) fn new(follows_clock: bool) -> Self {
        Self {
            records: BTreeMap::new(),
            sequence: 0,
            follows_clock,
            behind: 0,
            losses: 0,
            acknowledged: Vec::new(),
        }
    }

    /// It has gone back to this, and its clock may be further behind from now on. No write gets the sequence of one that was lost,
    /// because of which it would be taken for that one: more time passes between them than there are writes.
    pub(super) fn go_back_to(&mut self, kept: Self, clock_is_behind: bool) {
        let (behind, losses) = (self.behind + u64::from(clock_is_behind), self.losses + 1);
        let skipped = if behind > 0 { losses * SKIPPED } else { 0 };
        *self = Self { behind, losses, sequence: kept.sequence + skipped, ..kept };
    }

    /// The sequence of the next write.
    fn next_sequence(&self, now: Moment) -> u64 {
        let next = self.sequence + 1;
        let clock = now.0.saturating_sub(self.behind * BEHIND_MS);
        if self.follows_clock { next.max(clock) } else { next }
    }

    /// The socket that owns a client.
    pub(super) fn owner(&self, client: ClientId) -> Option<Presence> {
        self.records.get(&client).and_then(|record| record.presence)
    }

    pub(super) fn perform(&mut self, now: Moment, step: Step) -> Outcome {
        match step {
            Step::Hello(hello) => self.hello(now, hello).into(),
            Step::AddChannel(add) => self.add_channel(add).into(),
            Step::RemoveChannel(client, presence, channel) => {
                let owned = self.owned(client, presence);
                let removed = owned.map(|record| {
                    record.channels.remove(&channel);
                    record.messages.retain(|_, stored| stored.message.channel != channel);
                });
                removed.into()
            }
            Step::AckVersions(client, acks) => {
                self.ack_versions(client, &acks);
                Outcome::Done
            }
            Step::RemoveMessages(client, places) => {
                self.remove_messages(client, &places);
                Outcome::Done
            }
            Step::Fetch(Fetch { client, presence, after, max }) => {
                self.owned(client, presence).map(|record| record.backlog(now, after, max)).into()
            }
            Step::Snapshot(client, presence) => {
                self.owned(client, presence).map(|record| record.snapshot()).into()
            }
            Step::Verify(client, presence) => {
                let record = self.records.get(&client);
                match record.and_then(|record| Some((record.presence?, record))) {
                    Some((owner, record)) if owner == presence => {
                        Claim::Owned { last: record.sequence, channels: record.channels.len() }.into()
                    }
                    Some(_) => Claim::Taken.into(),
                    None => Claim::Lost.into(),
                }
            }
            Step::Release(client, presence, former) => {
                if let Ok(record) = self.owned(client, presence) {
                    record.presence = former;
                    if former.is_none() && record.channels.is_empty() {
                        self.records.remove(&client);
                    }
                }
                Outcome::Done
            }
            // The network passes it on.
            Step::NoteMissed(_) => Outcome::Done,
        }
    }

    fn owned(&mut self, client: ClientId, presence: Presence) -> Result<&mut Record, NotOwner> {
        self.records.get_mut(&client).filter(|record| record.presence == Some(presence)).ok_or(NotOwner)
    }

    fn hello(&mut self, now: Moment, hello: Hello) -> HelloOutcome {
        let stored = self.records.get(&hello.client).map(|record| record.dialect);
        let dialect = hello.named.or(stored).unwrap_or(hello.otherwise);
        let listed = match (dialect, hello.listed) {
            (Dialect::SimplePush, None) => return HelloOutcome::ListMissing,
            (Dialect::SimplePush, Some(_)) if !hello.room => return HelloOutcome::NoRoom,
            (Dialect::SimplePush, Some(listed)) => listed,
            (Dialect::WebPush, _) => Listed::Channels(Vec::new()),
        };
        let is_adopted = stored.is_none() && hello.adopt && listed == Listed::Channels(Vec::new());
        if stored != Some(dialect) && !is_adopted {
            return HelloOutcome::Unknown { dialect };
        }
        let record = self.records.entry(hello.client).or_insert_with(|| Record::new(dialect));
        let former = record.presence.replace(hello.presence);
        let is_registered = match listed {
            Listed::Channels(ids) => ids.iter().all(|id| record.channels.contains_key(id)),
            Listed::Impossible => false,
        };
        if !is_registered {
            self.records.remove(&hello.client);
            return HelloOutcome::Deleted { former };
        }
        let backlog = record.backlog(now, None, hello.backlog_max);
        HelloOutcome::Claimed { dialect, former, snapshot: record.snapshot(), backlog }
    }

    fn add_channel(&mut self, add: AddChannel) -> AddChannelOutcome {
        let record = match self.owned(add.client, add.presence) {
            Ok(record) => record,
            Err(not_owner) => return AddChannelOutcome::NotOwner(not_owner),
        };
        let sequence = record.sequence;
        let is_full = record.channels.len() >= add.channels_max as usize;
        if is_full && !record.channels.contains_key(&add.channel) {
            return AddChannelOutcome::Full;
        }
        let new = Registered { spelling: add.spelling, key: add.key, pending: None };
        let registered = record.channels.entry(add.channel).or_insert(new);
        registered.spelling = add.spelling;
        AddChannelOutcome::Registered { key: registered.key, sequence }
    }

    fn ack_versions(&mut self, client: ClientId, acks: &[Ack]) {
        let Some(record) = self.records.get_mut(&client) else { return };
        for ack in acks {
            let Some(registered) = record.channels.get_mut(&ack.channel) else { continue };
            let is_named =
                |version: &mut Version| ack.version.is_none_or(|number| version.equals_double(number));
            self.acknowledged.extend(registered.pending.take_if(is_named));
        }
    }

    pub(super) fn remove_messages(&mut self, client: ClientId, places: &[Place]) {
        if let Some(record) = self.records.get_mut(&client) {
            record.messages.retain(|_, stored| !places.contains(&stored.message.place));
        }
    }

    /// Stores a version. Returns its sequence; `None` if the channel is not registered.
    pub(super) fn put_version(
        &mut self,
        now: Moment,
        client: ClientId,
        channel: ChannelId,
        version: Version,
    ) -> Option<(Sequence, Written)> {
        let sequence = self.next_sequence(now);
        let record = self.records.get_mut(&client)?;
        record.channels.get_mut(&channel)?.pending = Some(version);
        self.sequence = sequence;
        Some((Sequence(sequence), record.write(Sequence(sequence))))
    }

    /// Gives a message its sequence, and stores it if its TTL is not zero. Returns it; `None` if the channel is not registered.
    pub(super) fn put_message(
        &mut self,
        now: Moment,
        client: ClientId,
        mut message: Message,
    ) -> Option<(Message, Written)> {
        let sequence = self.next_sequence(now);
        let record = self.records.get_mut(&client)?;
        record.channels.get(&message.channel)?;
        self.sequence = sequence;
        message.place.sequence = Sequence(sequence);
        let written = record.write(message.place.sequence);
        if let Some(topic) = message.place.topic {
            record.messages.retain(|_, stored| stored.message.place.topic != Some(topic));
        }
        if !message.draft.ttl.is_zero() {
            let stored = Stored { message: message.clone(), expires: now + message.draft.ttl };
            record.messages.insert(message.place.position(), stored);
        }
        Some((message, written))
    }

    /// The versions that are pending for a client.
    pub(super) fn pending(&self, client: ClientId) -> BTreeMap<ChannelId, Version> {
        let channels = self.records.get(&client).into_iter().flat_map(|record| &record.channels);
        channels.filter_map(|(id, registered)| Some((*id, registered.pending?))).collect()
    }

    /// The messages that are stored for a client and have not expired.
    pub(super) fn messages(&self, now: Moment, client: ClientId) -> Vec<&Message> {
        let messages = self.records.get(&client).into_iter().flat_map(|record| record.messages.values());
        messages.filter(|stored| now < stored.expires).map(|stored| &stored.message).collect()
    }
}
