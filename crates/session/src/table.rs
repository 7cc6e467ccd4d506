//! A table of channels.

use beckon_types::ChannelId;

/// Up to this many rows the table grows by one at a time, because most clients have no more channels.
const GROWN_SINGLY_MAX: usize = 8;

/// A row of a [`Table`].
pub(crate) trait Row {
    /// The channel that the row is about.
    fn id(&self) -> ChannelId;
}

/// One row for each channel, sorted by channel id.
#[derive(Debug, Clone)]
pub(crate) struct Table<R>(Vec<R>);

impl<R: Row> Table<R> {
    fn find(&self, id: ChannelId) -> Result<usize, usize> {
        self.0.binary_search_by_key(&id, R::id)
    }

    /// The row of a channel.
    pub(crate) fn get(&self, id: ChannelId) -> Option<&R> {
        self.find(id).ok().map(|index| &self.0[index])
    }

    /// The row of a channel.
    pub(crate) fn get_mut(&mut self, id: ChannelId) -> Option<&mut R> {
        self.find(id).ok().map(|index| &mut self.0[index])
    }

    /// All rows.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &R> {
        self.0.iter()
    }

    /// All rows.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut R> {
        self.0.iter_mut()
    }

    /// Inserts a row, unless its channel has one already. Returns that one.
    pub(crate) fn insert(&mut self, row: R) -> Option<&mut R> {
        match self.find(row.id()) {
            Ok(index) => Some(&mut self.0[index]),
            Err(index) => {
                if self.0.len() < GROWN_SINGLY_MAX {
                    self.0.reserve_exact(1);
                }
                self.0.insert(index, row);
                None
            }
        }
    }

    /// Removes the row of a channel, if it has one.
    pub(crate) fn remove(&mut self, id: ChannelId) {
        if let Ok(index) = self.find(id) {
            self.0.remove(index);
        }
    }

    /// Removes all rows but those for which `keep` is true.
    pub(crate) fn retain(&mut self, keep: impl FnMut(&mut R) -> bool) {
        self.0.retain_mut(keep);
    }
}

impl<R: Row> FromIterator<R> for Table<R> {
    fn from_iter<I: IntoIterator<Item = R>>(rows: I) -> Self {
        let mut rows: Vec<R> = rows.into_iter().collect();
        rows.sort_unstable_by_key(R::id);
        Self(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Row for ChannelId {
        fn id(&self) -> ChannelId {
            *self
        }
    }

    #[test]
    fn the_first_rows_take_no_more_memory_than_they_need() {
        let mut table = Table::from_iter([]);
        for count in 1..=GROWN_SINGLY_MAX {
            assert_eq!(table.insert(ChannelId([u8::try_from(count).unwrap(); 16])), None);
            assert_eq!(table.0.capacity(), count);
        }
    }

    #[test]
    fn rows_are_found_whatever_the_order_they_came_in() {
        let ids = [3, 1, 2].map(|byte| ChannelId([byte; 16]));
        let mut table = Table::from_iter(ids);
        assert_eq!(table.insert(ids[1]).copied(), Some(ids[1]));
        table.remove(ids[2]);
        table.remove(ids[2]);
        assert_eq!(table.insert(ChannelId([0; 16])), None);
        assert_eq!(ids.map(|id| table.get(id).is_some()), [true, true, false]);
        table.retain(|id| *id != ids[0]);
        assert_eq!(table.0, [ChannelId([0; 16]), ids[1]]);
    }
}
