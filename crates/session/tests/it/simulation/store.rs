//! The sentences of the store's trait for SimplePush, as short as they can be said.

use beckon_session::{Outcome, Step};
use beckon_types::{
    Ack, AddChannel, AddChannelOutcome, Backlog, Channel, ChannelId, Dialect, Hello, HelloOutcome, KeyId,
    Listed, NotOwner, Presence, PutVersionOutcome, Sequence, Snapshot, Spelling, Uaid, Version,
};
use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub(crate) struct Record {
    presence: Option<Presence>,
    sequence: u64,
    pub(crate) channels: BTreeMap<ChannelId, Stored>,
}

#[derive(Debug)]
pub(crate) struct Stored {
    spelling: Spelling,
    key: KeyId,
    pub(crate) pending: Option<Version>,
}

#[derive(Debug, Default)]
pub(crate) struct Store {
    pub(crate) records: BTreeMap<Uaid, Record>,
    /// What acknowledgements have removed.
    pub(crate) acknowledged: Vec<Version>,
}

impl Record {
    fn snapshot(&self) -> Snapshot {
        let channels = self.channels.iter();
        let channels = channels.map(|(id, stored)| Channel {
            id: *id,
            spelling: stored.spelling,
            pending: stored.pending,
        });
        Snapshot { sequence: Sequence(self.sequence), channels: channels.collect() }
    }
}

impl Store {
    pub(crate) fn perform(&mut self, step: Step) -> Outcome {
        match step {
            Step::Hello(hello) => Outcome::Hello(self.hello(&hello)),
            Step::AddChannel(add) => Outcome::from(self.add(add)),
            Step::RemoveChannel(uaid, presence, channel) => {
                let owned = self.owned(uaid, presence);
                let removed = owned.map(|record| record.channels.remove(&channel));
                removed.map(|_| ()).into()
            }
            Step::AckVersions(uaid, acks) => {
                self.ack(uaid, &acks);
                Outcome::Done
            }
            Step::RemoveMessages(..) | Step::Fetch(_) => panic!("{step:?} in SimplePush"),
            Step::Snapshot(uaid, presence) => {
                Outcome::from(self.owned(uaid, presence).map(|record| record.snapshot()))
            }
            Step::Release(uaid, presence) => {
                if let Ok(record) = self.owned(uaid, presence) {
                    record.presence = None;
                    if record.channels.is_empty() {
                        self.records.remove(&uaid);
                    }
                }
                Outcome::Done
            }
        }
    }

    fn owned(&mut self, uaid: Uaid, presence: Presence) -> Result<&mut Record, NotOwner> {
        self.records.get_mut(&uaid).filter(|record| record.presence == Some(presence)).ok_or(NotOwner)
    }

    fn hello(&mut self, hello: &Hello) -> HelloOutcome {
        let dialect = Dialect::SimplePush;
        let Some(listed) = &hello.listed else { return HelloOutcome::ListMissing };
        if !hello.room {
            return HelloOutcome::NoRoom;
        }
        let empty = *listed == Listed::Channels(Vec::new());
        let adopted = hello.adopt && empty;
        if !adopted && !self.records.contains_key(&hello.uaid) {
            return HelloOutcome::Unknown { dialect };
        }
        let record = self.records.entry(hello.uaid).or_default();
        let registered = match listed {
            Listed::Channels(ids) => ids.iter().all(|id| record.channels.contains_key(id)),
            Listed::Impossible => false,
        };
        let former = record.presence.replace(hello.presence);
        if registered {
            let (snapshot, backlog) = (record.snapshot(), Backlog::default());
            return HelloOutcome::Claimed { dialect, former, snapshot, backlog };
        }
        self.records.remove(&hello.uaid);
        HelloOutcome::Deleted { former }
    }

    fn add(&mut self, add: AddChannel) -> AddChannelOutcome {
        let record = match self.owned(add.uaid, add.presence) {
            Ok(record) => record,
            Err(not_owner) => return AddChannelOutcome::NotOwner(not_owner),
        };
        let count = record.channels.len();
        if !record.channels.contains_key(&add.channel) && count >= add.channels_max as usize {
            return AddChannelOutcome::Full;
        }
        let new = Stored { spelling: add.spelling, key: add.key, pending: None };
        let stored = record.channels.entry(add.channel).or_insert(new);
        stored.spelling = add.spelling;
        AddChannelOutcome::Registered { key: stored.key, sequence: Sequence(record.sequence) }
    }

    fn ack(&mut self, uaid: Uaid, acks: &[Ack]) {
        let Some(record) = self.records.get_mut(&uaid) else { return };
        for ack in acks {
            let Some(stored) = record.channels.get_mut(&ack.channel) else { continue };
            let equal = |version: &Version| ack.version.is_none_or(|number| version.equals_double(number));
            if let Some(version) = stored.pending.filter(equal) {
                stored.pending = None;
                self.acknowledged.push(version);
            }
        }
    }

    pub(crate) fn put(&mut self, uaid: Uaid, channel: ChannelId, version: Version) -> PutVersionOutcome {
        let Some(record) = self.records.get_mut(&uaid) else { return PutVersionOutcome::Gone };
        let Some(stored) = record.channels.get_mut(&channel) else { return PutVersionOutcome::Gone };
        stored.pending = Some(version);
        record.sequence += 1;
        PutVersionOutcome::Stored { sequence: Sequence(record.sequence), presence: record.presence }
    }
}
