//! The channels of a connected client.

use crate::{
    parked::{Damaged, ParkedChannel},
    table::{Row, Table},
};
use beckon_types::{ChannelId, Sequence, Snapshot, Spelling};

/// The channels that the client knows to be registered.
#[derive(Debug, Clone)]
pub(super) struct Channels(Table<Channel>);

/// One channel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Channel {
    id: ChannelId,
    /// How the latest register spelled it.
    pub(super) spelling: Spelling,
    /// Notifications of writes up to this one belong to a former registration, or were in the store at the hello.
    pub(super) since: Sequence,
}

impl Row for Channel {
    fn id(&self) -> ChannelId {
        self.id
    }
}

impl Channels {
    /// The channels after a hello. What was written before it is in the backlog.
    pub(super) fn new(snapshot: &Snapshot) -> Self {
        let since = snapshot.sequence;
        let row =
            |channel: &beckon_types::Channel| Channel { id: channel.id, spelling: channel.spelling, since };
        Self(snapshot.channels.iter().map(row).collect())
    }

    /// The channels as data.
    pub(super) fn park(&self) -> Vec<ParkedChannel> {
        let park = |row: &Channel| ParkedChannel::new(row.id, row.spelling, row.since.0);
        self.0.iter().map(park).collect()
    }

    /// The channels that were parked.
    pub(super) fn resume(parked: &[ParkedChannel]) -> Result<Self, Damaged> {
        let resume = |channel: &ParkedChannel| {
            let (id, spelling) = channel.name()?;
            Ok(Channel { id, spelling, since: Sequence(channel.sequence) })
        };
        Ok(Self(parked.iter().map(resume).collect::<Result<_, Damaged>>()?))
    }

    /// The channel, if it is in the table.
    pub(super) fn get(&self, id: ChannelId) -> Option<Channel> {
        self.0.get(id).copied()
    }

    /// Adds a channel, or changes its spelling. Returns whether it is new.
    pub(super) fn register(&mut self, id: ChannelId, spelling: Spelling, since: Sequence) -> bool {
        let former = self.0.insert(Channel { id, spelling, since });
        let is_new = former.is_none();
        former.into_iter().for_each(|channel| channel.spelling = spelling);
        is_new
    }

    /// Notes that the store has lost all writes after this one.
    pub(super) fn forget_after(&mut self, last: Sequence) {
        self.0.iter_mut().for_each(|channel| channel.since = channel.since.min(last));
    }

    /// Removes a channel.
    pub(super) fn remove(&mut self, id: ChannelId) {
        self.0.remove(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_small() {
        assert!(size_of::<Channel>() <= 32, "{} bytes", size_of::<Channel>());
    }
}
