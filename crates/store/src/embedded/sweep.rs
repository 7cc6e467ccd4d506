//! The sweep: it visits all records in turn and removes what has expired, a bounded number each second.

use super::{
    batch::{Batch, Sweep, failed},
    tables::{CONTENT, NUMBERS},
};
use crate::StoreError;
use beckon_types::ClientId;
use redb::{ReadableTable as _, ReadableTableMetadata as _};
use std::{ops::Bound, sync::atomic::Ordering, time::Duration};

/// The time between two parts of a sweep.
const INTERVAL: Duration = Duration::from_secs(1);

/// Parts in which a sweep visits all records: it takes four hours, unless there are very few or very many.
const PARTS: u64 = 4 * 3600;

/// Fewest records in a part.
const RECORDS_MIN: u64 = 100;

/// Most records in a part, so that the steps behind it do not wait long. Reached with 72 million clients.
const RECORDS_MAX: u64 = 5000;

/// A part that has removed so many messages ends with the client it is at.
const MESSAGES_MAX: usize = 2000;

impl Sweep {
    /// How many records the next part has, of so many clients. While a sweep removes them, its parts do not become smaller: it
    /// would never come to the end.
    fn part(&mut self, clients: u64) -> usize {
        let records = clients.div_ceil(PARTS).clamp(RECORDS_MIN, RECORDS_MAX);
        self.records = if self.last.is_none() { records } else { records.max(self.records) };
        self.records as usize
    }
}

impl Batch<'_, '_> {
    /// Removes records and messages that have expired, and notes that connected clients are still seen. Does nothing
    /// before it is due.
    pub(super) fn sweep(&mut self) -> Result<(), StoreError> {
        // The time goes back when a clock that had jumped ahead is put right.
        let (now, due) = (self.now.steady, self.memory.sweep.next);
        if now < due && due <= now + INTERVAL {
            return Ok(());
        }
        self.memory.sweep.next = now + INTERVAL;
        let (clients, messages) = (self.clients.len().map_err(failed)?, self.messages.len().map_err(failed)?);
        self.memory.counts.clients.store(clients, Ordering::Relaxed);
        self.memory.counts.messages.store(messages, Ordering::Relaxed);
        let numbers = self.transaction.open_table(NUMBERS).map_err(failed)?;
        let content = numbers.get(CONTENT).map_err(failed)?.map_or(0, |content| content.value());
        drop(numbers);
        let content = content.saturating_add_signed(self.changes.grown);
        self.memory.counts.content.store(content, Ordering::Relaxed);
        let records = self.memory.sweep.part(clients);
        let after = self.memory.sweep.last.map_or(Bound::Unbounded, |client| Bound::Excluded(client.0));
        let range = self.clients.range::<&[u8; 16]>((after.as_ref(), Bound::Unbounded)).map_err(failed)?;
        let mut uaids = Vec::with_capacity(records);
        for entry in range.take(records) {
            uaids.push(ClientId(*entry.map_err(failed)?.0.value()));
        }
        self.memory.sweep.last = if uaids.len() < records { None } else { uaids.last().copied() };
        let before = self.removed;
        for client in uaids {
            match self.load(client) {
                Ok(record) if self.memory.seats.contains_key(&client) => self.renew(client, record)?,
                Ok(Some(mut record)) => {
                    if self.remove_expired(client, &mut record)? {
                        self.save(client, record);
                    }
                }
                // Loading removes what has expired. An unreadable record may be of a newer version, and stays.
                Ok(None) | Err(StoreError::Unreadable(_)) => {}
                Err(error @ StoreError::Unavailable { .. }) => return Err(error),
            }
            if self.removed - before >= MESSAGES_MAX {
                self.memory.sweep.last = Some(client);
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Visits all of so many clients, and removes each or none. Returns in how many parts.
    fn parts(clients: u64, is_expired: bool) -> u64 {
        let (mut sweep, mut parts, mut left) = (Sweep::default(), 0, clients);
        while left > 0 {
            let part = sweep.part(if is_expired { left } else { clients }) as u64;
            left = left.saturating_sub(part);
            sweep.last = (left > 0).then_some(ClientId([0; 16]));
            parts += 1;
        }
        parts
    }

    #[test]
    fn a_sweep_that_removes_all_clients_takes_no_longer_than_one_that_removes_none() {
        for clients in [1, 1_000_000, 10_000_000, RECORDS_MAX * PARTS] {
            assert_eq!(parts(clients, true), parts(clients, false), "{clients}");
            assert!(parts(clients, true) <= PARTS, "{clients}");
        }
    }

    #[test]
    fn the_next_sweep_has_parts_of_its_own() {
        let mut sweep = Sweep::default();
        assert_eq!(sweep.part(100 * PARTS * 10), 1000);
        sweep.last = Some(ClientId([0; 16]));
        assert_eq!(
            sweep.part(100 * PARTS * 20),
            2000,
            "clients that come meanwhile are visited in time as well"
        );
        sweep.last = None;
        assert_eq!(sweep.part(0), RECORDS_MIN as usize);
    }
}
