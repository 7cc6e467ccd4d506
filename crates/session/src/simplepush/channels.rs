//! The channels of a connected client. The crate's documentation states the invariants.

use crate::{
    message::simplepush::Entry,
    parked::{Damaged, ParkedChannel, ParkedVersion},
    steps::Steps,
    table::{self, Table},
};
use beckon_types::{Ack, Channel, ChannelId, Moment, Sequence, Snapshot, Spelling, Update, Version};
use std::{collections::HashSet, time::Duration};

/// The channels that the client knows to be registered.
#[derive(Debug, Clone)]
pub(super) struct Channels(Table<Row>);

/// One channel.
#[derive(Debug, Clone)]
struct Row {
    id: ChannelId,
    /// How the latest register spelled it.
    spelling: Spelling,
    /// All writes up to this one have been sent or are superseded.
    known: Sequence,
    /// What this socket was sent last, unless it is no longer pending.
    sent: Option<Sent>,
}

/// A transmission.
#[derive(Debug, Clone, Copy)]
struct Sent {
    version: Version,
    at: Moment,
    /// Whether the user agent has acknowledged it.
    is_acknowledged: bool,
}

/// Why a snapshot was taken.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reason {
    /// To send what was not sent, and what was sent at least this long ago and is not acknowledged.
    Refresh { repeat_after: Option<Duration> },
    /// For a hello after the first: to send all that is pending.
    Hello,
}

impl table::Row for Row {
    fn id(&self) -> ChannelId {
        self.id
    }
}

impl Channels {
    /// The channels after a hello, and all that is pending.
    pub(super) fn new(now: Moment, snapshot: &Snapshot) -> (Self, Vec<Entry<'static>>) {
        let mut pending = Vec::new();
        let rows = snapshot.channels.iter().map(|channel| {
            let mut row = Row::new(channel.id, channel.spelling, snapshot.sequence);
            pending.extend(channel.pending.map(|version| row.send(now, version)));
            row
        });
        (Self(rows.collect()), pending)
    }

    /// The channels as data.
    pub(super) fn park(&self) -> Vec<ParkedChannel> {
        let park = |row: &Row| {
            let sent = row.sent.map(|Sent { version, at, is_acknowledged }| {
                let (version, at) = (version.number(), at.0);
                ParkedVersion { version, at, is_acknowledged }
            });
            ParkedChannel { sent, ..ParkedChannel::new(row.id, row.spelling, row.known.0) }
        };
        self.0.iter().map(park).collect()
    }

    /// The channels that were parked.
    pub(super) fn resume(parked: &[ParkedChannel]) -> Result<Self, Damaged> {
        let resume = |channel: &ParkedChannel| {
            let (id, spelling) = channel.name()?;
            let sent = channel.sent.map(|ParkedVersion { version, at, is_acknowledged }| {
                let version = Version::new(version).map_err(|_| Damaged("version"))?;
                Ok(Sent { version, at: Moment(at), is_acknowledged })
            });
            Ok(Row { id, spelling, known: Sequence(channel.sequence), sent: sent.transpose()? })
        };
        Ok(Self(parked.iter().map(resume).collect::<Result<_, Damaged>>()?))
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.iter().len()
    }

    /// Whether the snapshot has all of them.
    pub(super) fn are_in(&self, snapshot: &Snapshot) -> bool {
        let stored: HashSet<ChannelId> = snapshot.channels.iter().map(|channel| channel.id).collect();
        self.0.iter().all(|row| stored.contains(&row.id))
    }

    /// Whether the channel is in the table.
    pub(super) fn contains(&self, id: ChannelId) -> bool {
        self.0.get(id).is_some()
    }

    /// Adds a channel, or changes its spelling. Returns whether it is new.
    pub(super) fn register(&mut self, id: ChannelId, spelling: Spelling, sequence: Sequence) -> bool {
        let former = self.0.insert(Row::new(id, spelling, sequence));
        let is_new = former.is_none();
        former.into_iter().for_each(|row| row.spelling = spelling);
        is_new
    }

    /// Removes a channel.
    pub(super) fn remove(&mut self, id: ChannelId) {
        self.0.remove(id);
    }

    /// Notes that a write is being sent. Returns how to send it, or `None` if it must not be sent.
    pub(super) fn accept(&mut self, now: Moment, update: &Update) -> Option<Spelling> {
        let row = self.0.get_mut(update.channel).filter(|row| update.sequence > row.known)?;
        row.known = update.sequence;
        row.send(now, update.version);
        Some(row.spelling)
    }

    /// Notes an acknowledgement. Returns false if the channel is not in the table.
    pub(super) fn acknowledge(&mut self, ack: &Ack, now: Moment, acknowledged: &dyn Fn(Duration)) -> bool {
        let Some(row) = self.0.get_mut(ack.channel) else { return false };
        if let Some(sent) = &mut row.sent
            && removes(ack, sent.version)
        {
            if !sent.is_acknowledged {
                acknowledged(now.since(sent.at));
            }
            sent.is_acknowledged = true;
        }
        true
    }

    /// Notes that the store has lost all writes after this one.
    pub(super) fn forget_after(&mut self, last: Sequence) {
        self.0.iter_mut().for_each(|row| row.known = row.known.min(last));
    }

    /// When the oldest unacknowledged transmission was.
    pub(super) fn oldest_transmission(&self) -> Option<Moment> {
        let sent = self.0.iter().filter_map(|row| row.sent);
        sent.filter(|sent| !sent.is_acknowledged).map(|sent| sent.at).min()
    }

    /// Updates the table from a snapshot. Returns what has to be sent.
    pub(super) fn read(
        &mut self,
        now: Moment,
        snapshot: Snapshot,
        reason: Reason,
        steps: &Steps,
    ) -> Vec<Entry<'static>> {
        let Snapshot { sequence, mut channels } = snapshot;
        channels.sort_unstable_by_key(|channel| channel.id);
        if let Reason::Hello = reason {
            // A register that failed may have added a channel that only the store knows.
            for channel in channels.iter().filter(|channel| !steps.is_registering(channel.id)) {
                self.0.insert(Row::new(channel.id, channel.spelling, Sequence::default()));
            }
        }
        let mut pending = Vec::new();
        self.0.retain(|row| {
            let Ok(index) = channels.binary_search_by_key(&row.id, |channel| channel.id) else {
                return false;
            };
            pending.extend(row.read(now, sequence, channels[index], reason, steps));
            true
        });
        pending
    }
}

impl Row {
    fn new(id: ChannelId, spelling: Spelling, known: Sequence) -> Self {
        Self { id, spelling, known, sent: None }
    }

    /// Notes that a version is being sent, without `data`.
    fn send(&mut self, now: Moment, version: Version) -> Entry<'static> {
        self.sent = Some(Sent { version, at: now, is_acknowledged: false });
        Entry { channel: self.id, spelling: self.spelling, version, data: None }
    }

    fn read(
        &mut self,
        now: Moment,
        sequence: Sequence,
        stored: Channel,
        reason: Reason,
        steps: &Steps,
    ) -> Option<Entry<'static>> {
        let is_due = match reason {
            Reason::Hello => true,
            Reason::Refresh { repeat_after } => repeat_after.is_some_and(|wait| {
                self.sent.is_some_and(|sent| !sent.is_acknowledged && now.since(sent.at) >= wait)
            }),
        };
        let is_unregistering = steps.is_unregistering(self.id);
        if self.known > sequence {
            // A later write has been sent; the snapshot shows what was pending before it.
            let is_repeated = matches!(reason, Reason::Hello) && !is_unregistering;
            let sent = self.sent.filter(|sent| is_repeated && !sent.is_acknowledged)?;
            return Some(self.send(now, sent.version));
        }
        self.known = sequence;
        let Some(version) = stored.pending else {
            self.sent = None;
            return None;
        };
        let is_removed = |ack: &Ack| ack.channel == self.id && removes(ack, version);
        if is_unregistering || steps.is_acknowledging(is_removed) {
            // It must not be sent now, and its retry is not due soon either.
            if let Some(sent) = &mut self.sent {
                sent.at = now;
            }
            return None;
        }
        let is_unsent = self.sent.is_none_or(|sent| sent.is_acknowledged || sent.version != version);
        (is_unsent || is_due).then(|| self.send(now, version))
    }
}

/// Whether an acknowledgement removes this version, once it is pending.
fn removes(ack: &Ack, version: Version) -> bool {
    ack.version.is_none_or(|number| version.equals_double(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_small() {
        assert!(size_of::<Row>() <= 56, "{} bytes", size_of::<Row>());
    }
}
