//! The registry: from connection ids to mailboxes, for the connections of this node.
//!
//! There is no map from UAIDs. A presence that was read from the store names the connection, so finding it is
//! indexing into a slab, and a client costs one slot.

use crate::mailbox::Mailbox;
use beckon_proto::delivery::Receipt;
use beckon_types::{ConnectionId, Moment, Notification};
use parking_lot::Mutex;
use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};
use tokio::sync::oneshot;

/// Number of independently locked shards. A power of two.
const SHARDS: usize = 32;

/// The connections of this node.
#[derive(Debug)]
pub(crate) struct Registry {
    shards: [Mutex<Shard>; SHARDS],
    /// Spreads new connections over the shards.
    next: AtomicUsize,
    open: AtomicU64,
    peak: AtomicU64,
}

/// A slab of mailboxes. A shard's lock is never held while a mailbox's is taken.
#[derive(Debug, Default)]
struct Shard {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot {
    /// Counts the uses of the slot. It is part of the connection id, so no id is used twice.
    generation: u32,
    mailbox: Option<Arc<Mailbox>>,
}

/// A connection's entry in the registry, removed when dropped.
#[derive(Debug)]
pub(crate) struct Registration {
    /// The id of the connection.
    pub(crate) id: ConnectionId,
    /// What the connection gets from other tasks.
    pub(crate) mailbox: Arc<Mailbox>,
    registry: Arc<Registry>,
}

impl Registry {
    /// An empty registry.
    pub(crate) fn new() -> Self {
        Self {
            shards: Default::default(),
            next: AtomicUsize::new(0),
            open: AtomicU64::new(0),
            peak: AtomicU64::new(0),
        }
    }

    /// How many connections there are.
    pub(crate) fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// The most connections that there were at once since the start or the last [`Registry::reset_peak`].
    pub(crate) fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }

    /// Counts the peak anew, from the connections that there are now.
    pub(crate) fn reset_peak(&self) {
        self.peak.store(self.open(), Ordering::Relaxed);
    }

    /// Enters a connection, unless there are `max` already.
    pub(crate) fn enter(self: &Arc<Self>, max: u64) -> Option<Registration> {
        let others = self
            .open
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |open| (open < max).then_some(open + 1))
            .ok()?;
        self.peak.fetch_max(others + 1, Ordering::Relaxed);
        let shard_index = self.next.fetch_add(1, Ordering::Relaxed) % SHARDS;
        let mailbox = Arc::new(Mailbox::default());
        let mut shard = self.shards[shard_index].lock();
        let slot_index = shard.free.pop().unwrap_or_else(|| {
            shard.slots.push(Slot { generation: 0, mailbox: None });
            (shard.slots.len() - 1) as u32
        });
        let slot = &mut shard.slots[slot_index as usize];
        slot.mailbox = Some(mailbox.clone());
        let index = u64::from(slot_index) * SHARDS as u64 + shard_index as u64;
        let id = ConnectionId(u64::from(slot.generation) << 32 | index);
        drop(shard);
        Some(Registration { id, mailbox, registry: self.clone() })
    }

    /// Posts a notification to a connection's mailbox.
    pub(crate) fn post(&self, id: ConnectionId, now: Moment, notification: Notification) -> Receipt {
        self.mailbox(id).map_or(Receipt::NotHere, |mailbox| mailbox.post(now, notification))
    }

    /// Evicts a connection, if it is here. The receiver ends when its Close frame is on its way.
    pub(crate) fn evict(&self, id: ConnectionId) -> Option<oneshot::Receiver<()>> {
        Some(self.mailbox(id)?.signal_eviction())
    }

    /// The mailbox of a connection, if it is here.
    pub(crate) fn mailbox(&self, id: ConnectionId) -> Option<Arc<Mailbox>> {
        let (shard, slot, generation) = slot_of(id);
        let shard = self.shards[shard].lock();
        let slot = shard.slots.get(slot)?;
        if slot.generation == generation { slot.mailbox.clone() } else { None }
    }

    /// The mailboxes of all connections that are here now.
    pub(crate) fn all(&self) -> Vec<Arc<Mailbox>> {
        let mut all = Vec::with_capacity(self.open() as usize);
        for shard in &self.shards {
            all.extend(shard.lock().slots.iter().filter_map(|slot| slot.mailbox.clone()));
        }
        all
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // Other tasks may hold the mailbox for a moment longer.
        self.mailbox.close();
        self.mailbox.release_evictors();
        let (shard, slot_index, _) = slot_of(self.id);
        let mut shard = self.registry.shards[shard].lock();
        let slot = &mut shard.slots[slot_index];
        slot.mailbox = None;
        slot.generation = slot.generation.wrapping_add(1);
        shard.free.push(slot_index as u32);
        drop(shard);
        self.registry.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Shard, slot and generation of a connection id.
fn slot_of(id: ConnectionId) -> (usize, usize, u32) {
    let index = id.0 as u32 as usize;
    (index % SHARDS, index / SHARDS, (id.0 >> 32) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_connection_id_is_used_twice() {
        let registry = Arc::new(Registry::new());
        let mut seen = HashSet::new();
        for _ in 0..3 {
            let all: Vec<_> = (0..100).filter_map(|_| registry.enter(100)).collect();
            assert_eq!(all.len(), 100);
            assert!(registry.enter(100).is_none(), "the maximum is reached");
            assert!(all.iter().all(|entered| seen.insert(entered.id)));
            assert_eq!(registry.open(), 100);
        }
        assert_eq!(registry.open(), 0);
    }

    #[test]
    fn a_connection_that_has_left_is_not_here() {
        let registry = Arc::new(Registry::new());
        let entered = registry.enter(1).unwrap();
        let id = entered.id;
        assert_eq!(registry.post(id, Moment(7), Notification::Missed), Receipt::Delivered);
        drop(entered);
        assert_eq!(registry.post(id, Moment(7), Notification::Missed), Receipt::NotHere);
        assert!(registry.evict(id).is_none());
        let _next = registry.enter(1).unwrap();
        assert_eq!(registry.post(id, Moment(7), Notification::Missed), Receipt::NotHere);
        assert_eq!(registry.post(ConnectionId(u64::MAX), Moment(7), Notification::Missed), Receipt::NotHere);
    }

    #[test]
    fn all_connections_are_listed_once() {
        let registry = Arc::new(Registry::new());
        let mut entered: Vec<_> = (0..77).filter_map(|_| registry.enter(100)).collect();
        assert_eq!(registry.all().len(), 77);
        entered.truncate(40);
        assert_eq!(registry.all().len(), 40);
    }
}
