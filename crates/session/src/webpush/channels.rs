//! The table of a connected client's channels.

use beckon_types::{ChannelId, Sequence, Snapshot, Spelling};

/// Up to this many channels the table grows by one at a time, since most clients stay there.
const GROWN_SINGLY_MAX: usize = 8;

/// What a client was told of its channels, sorted by id.
#[derive(Debug, Clone)]
pub(super) struct Channels(Vec<Channel>);

/// One channel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Channel {
    id: ChannelId,
    /// How the latest register spelled it.
    pub(super) spelling: Spelling,
    /// Deliveries of writes up to this one are for a former registration, or were in the store at the hello.
    pub(super) since: Sequence,
}

impl Channels {
    /// The table after a hello. Deliveries of what was written before it went to the former socket.
    pub(super) fn new(snapshot: &Snapshot) -> Self {
        let since = snapshot.sequence;
        let row =
            |channel: &beckon_types::Channel| Channel { id: channel.id, spelling: channel.spelling, since };
        let mut rows: Vec<Channel> = snapshot.channels.iter().map(row).collect();
        rows.sort_unstable_by_key(|row| row.id);
        Self(rows)
    }

    fn place(&self, id: ChannelId) -> Result<usize, usize> {
        self.0.binary_search_by_key(&id, |row| row.id)
    }

    /// The channel, if it is in the table.
    pub(super) fn find(&self, id: ChannelId) -> Option<Channel> {
        self.place(id).ok().map(|at| self.0[at])
    }

    /// Adds a channel, or spells it anew. True if it was not there.
    pub(super) fn register(&mut self, id: ChannelId, spelling: Spelling, since: Sequence) -> bool {
        match self.place(id) {
            Ok(at) => {
                self.0[at].spelling = spelling;
                false
            }
            Err(at) => {
                if self.0.len() < GROWN_SINGLY_MAX {
                    self.0.reserve_exact(1);
                }
                self.0.insert(at, Channel { id, spelling, since });
                true
            }
        }
    }

    /// Removes a channel.
    pub(super) fn remove(&mut self, id: ChannelId) {
        if let Ok(at) = self.place(id) {
            self.0.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_small_and_the_first_one_takes_no_more_room_than_it_needs() {
        assert!(size_of::<Channel>() <= 32, "{} bytes", size_of::<Channel>());
        let mut channels = Channels::new(&Snapshot::default());
        for count in 1..=GROWN_SINGLY_MAX {
            let id = ChannelId([u8::try_from(count).unwrap(); 16]);
            channels.register(id, Spelling::PLAIN, Sequence(0));
            assert_eq!(channels.0.capacity(), count);
        }
    }
}
