//! The table of a connected client's channels. The invariants are in the crate's documentation.

use crate::{message::simplepush::Entry, session::Steps};
use beckon_types::{Ack, Channel, ChannelId, Moment, Sequence, Snapshot, Spelling, Update, Version};
use std::time::Duration;

/// Up to this many channels the table grows by one at a time, since most clients stay there.
const GROWN_SINGLY_MAX: usize = 8;

/// What a client was told of its channels, sorted by id.
#[derive(Debug, Clone)]
pub(super) struct Channels(Vec<Row>);

/// One channel.
#[derive(Debug, Clone)]
struct Row {
    id: ChannelId,
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
    acknowledged: bool,
}

/// Why a snapshot was taken.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reading {
    /// To send what was not sent, and what was sent at least so long ago and not acknowledged.
    Look { repeat_after: Option<Duration> },
    /// For a repeated hello: to send all that is pending.
    Hello,
}

impl Row {
    fn new(id: ChannelId, spelling: Spelling, known: Sequence) -> Self {
        Self { id, spelling, known, sent: None }
    }

    /// Notes that a version is being sent, without `data`.
    fn send(&mut self, now: Moment, version: Version) -> Entry<'static> {
        self.sent = Some(Sent { version, at: now, acknowledged: false });
        Entry { channel: self.id, spelling: self.spelling, version, data: None }
    }
}

impl Channels {
    /// The table after a hello, and all that is pending.
    pub(super) fn new(now: Moment, snapshot: Snapshot) -> (Self, Vec<Entry<'static>>) {
        let mut pending = Vec::new();
        let mut rows = Vec::with_capacity(snapshot.channels.len());
        for channel in snapshot.channels {
            let mut row = Row::new(channel.id, channel.spelling, snapshot.sequence);
            pending.extend(channel.pending.map(|version| row.send(now, version)));
            rows.push(row);
        }
        rows.sort_unstable_by_key(|row| row.id);
        (Self(rows), pending)
    }

    fn find(&self, id: ChannelId) -> Result<usize, usize> {
        self.0.binary_search_by_key(&id, |row| row.id)
    }

    fn row(&mut self, id: ChannelId) -> Option<&mut Row> {
        self.find(id).ok().map(|at| &mut self.0[at])
    }

    /// Whether the channel is in the table.
    pub(super) fn contains(&self, id: ChannelId) -> bool {
        self.find(id).is_ok()
    }

    /// Adds a channel, or spells it anew. True if it was not there.
    pub(super) fn register(&mut self, id: ChannelId, spelling: Spelling, sequence: Sequence) -> bool {
        match self.find(id) {
            Ok(at) => {
                self.0[at].spelling = spelling;
                false
            }
            Err(at) => {
                if self.0.len() < GROWN_SINGLY_MAX {
                    self.0.reserve_exact(1);
                }
                self.0.insert(at, Row::new(id, spelling, sequence));
                true
            }
        }
    }

    /// Removes a channel.
    pub(super) fn remove(&mut self, id: ChannelId) {
        if let Ok(at) = self.find(id) {
            self.0.remove(at);
        }
    }

    /// Takes a write as sent. Returns the spelling to send it with, or nothing if it must not be sent.
    pub(super) fn deliver(&mut self, now: Moment, update: &Update) -> Option<Spelling> {
        let row = self.row(update.channel).filter(|row| update.sequence > row.known)?;
        row.known = update.sequence;
        row.send(now, update.version);
        Some(row.spelling)
    }

    /// Takes an acknowledgement. False if the channel is not in the table.
    pub(super) fn acknowledge(&mut self, ack: &Ack) -> bool {
        let Some(row) = self.row(ack.channel) else { return false };
        if let Some(sent) = &mut row.sent
            && removes(ack, sent.version)
        {
            sent.acknowledged = true;
        }
        true
    }

    /// When the oldest transmission was that is not acknowledged.
    pub(super) fn oldest_transmission(&self) -> Option<Moment> {
        let sent = self.0.iter().filter_map(|row| row.sent);
        sent.filter(|sent| !sent.acknowledged).map(|sent| sent.at).min()
    }

    /// Brings the table up to a snapshot. Returns what has to be sent.
    pub(super) fn read(
        &mut self,
        now: Moment,
        snapshot: Snapshot,
        reading: Reading,
        steps: &Steps,
    ) -> Vec<Entry<'static>> {
        let Snapshot { sequence, mut channels } = snapshot;
        channels.sort_unstable_by_key(|channel| channel.id);
        if let Reading::Hello = reading {
            // A register that failed may have left a channel behind that only the store knows.
            for channel in channels.iter().filter(|channel| !steps.register(channel.id)) {
                if !self.contains(channel.id) {
                    self.register(channel.id, channel.spelling, Sequence::default());
                }
            }
        }
        let mut pending = Vec::new();
        self.0.retain_mut(|row| {
            let Ok(at) = channels.binary_search_by_key(&row.id, |channel| channel.id) else { return false };
            pending.extend(row.read(now, sequence, channels[at], reading, steps));
            true
        });
        pending
    }
}

impl Row {
    fn read(
        &mut self,
        now: Moment,
        sequence: Sequence,
        stored: Channel,
        reading: Reading,
        steps: &Steps,
    ) -> Option<Entry<'static>> {
        let repeat = match reading {
            Reading::Hello => true,
            Reading::Look { repeat_after } => repeat_after.is_some_and(|wait| {
                self.sent.is_some_and(|sent| !sent.acknowledged && now.since(sent.at) >= wait)
            }),
        };
        if self.known > sequence {
            // A later write has been sent; the snapshot shows what was pending before it.
            let sent = self.sent.filter(|sent| !sent.acknowledged && matches!(reading, Reading::Hello))?;
            return Some(self.send(now, sent.version));
        }
        self.known = sequence;
        let Some(version) = stored.pending else {
            self.sent = None;
            return None;
        };
        if steps.unregister(self.id)
            || steps.acknowledge(|ack| ack.channel == self.id && removes(ack, version))
        {
            // Not to be sent now, and not to be looked for at once either.
            if let Some(sent) = &mut self.sent {
                sent.at = now;
            }
            return None;
        }
        let unsent = self.sent.is_none_or(|sent| sent.acknowledged || sent.version != version);
        (unsent || repeat).then(|| self.send(now, version))
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
    fn a_channel_is_small_and_the_first_one_takes_no_more_room_than_it_needs() {
        assert!(size_of::<Row>() <= 56, "{} bytes", size_of::<Row>());
        let mut channels = Channels::new(Moment(0), Snapshot::default()).0;
        for count in 1..=GROWN_SINGLY_MAX {
            let id = ChannelId([u8::try_from(count).unwrap(); 16]);
            channels.register(id, Spelling::PLAIN, Sequence(0));
            assert_eq!(channels.0.capacity(), count);
        }
    }
}
