//! The registry: from connection ids to mailboxes, for the connections of this node.
//!
//! There is no map from UAIDs. A presence that was read from the store names the connection, so finding it is
//! indexing into a slab, and a client costs one slot. Each worker has a slab of its own, and the id of a connection says
//! which.

use crate::mailbox::{Mailbox, Post};
use beckon_listener::{shares::Shares, source::Source};
use beckon_ops::{
    clock::Clock,
    metrics::{Durations, Long},
};
use beckon_proto::delivery::Receipt;
use beckon_types::{ConnectionId, Moment};
use parking_lot::Mutex;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use tokio::sync::oneshot;

/// The bits of an id that are the index of its slot, above those of its worker.
const SLOT_BITS: u32 = 24;

/// The most connections of a worker: 16 million.
const SLOTS_MAX: usize = 1 << SLOT_BITS;

/// The connections of this node.
#[derive(Debug)]
pub(crate) struct Registry {
    workers: u8,
    /// One for each worker, and those of a former process that had more. A worker has every one whose index it is, counted on
    /// from the first worker again after the last.
    tables: Box<[Table]>,
    /// Counted apart, so that the limit is that of the node.
    open: AtomicU64,
    /// Counts the sockets of each source.
    shares: Arc<Shares>,
    clock: Clock,
    /// From the entry of each connection to its end.
    lifetimes: Durations<Long>,
}

/// The connections of one worker. Hardly any other thread locks it. Aligned, so that two workers share no cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Table {
    slab: Mutex<Slab>,
    open: AtomicU64,
    peak: AtomicU64,
}

/// A slab of mailboxes. Its lock is never held while a mailbox's is taken.
#[derive(Debug, Default)]
struct Slab {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// The generation of slots that have not been used: a former process has used all before it.
    first_generation: u32,
}

#[derive(Debug)]
struct Slot {
    /// Counts the uses of the slot. It is part of the connection id, so no id is used twice.
    generation: u32,
    /// When the connection was entered, in seconds of the clock.
    entered_s: u32,
    mailbox: Option<Arc<Mailbox>>,
}

/// A connection's entry in the registry, removed when dropped.
#[derive(Debug)]
pub(crate) struct Registration {
    /// The id of the connection.
    pub(crate) id: ConnectionId,
    /// What the connection gets from other tasks.
    pub(crate) mailbox: Arc<Mailbox>,
    /// From whom the connection is. `None`: it is not limited.
    pub(crate) source: Option<Source>,
    registry: Arc<Registry>,
}

impl Registry {
    /// An empty registry of a node with so many workers, and as many tables, or more if a former process had more.
    /// `lifetimes` measures how long connections live.
    pub(crate) fn new(
        workers: u8,
        tables: u8,
        shares: Arc<Shares>,
        clock: Clock,
        lifetimes: Durations<Long>,
    ) -> Self {
        let workers = workers.max(1);
        let tables = (0..workers.max(tables)).map(|_| Table::default()).collect();
        Self { workers, tables, open: AtomicU64::new(0), shares, clock, lifetimes }
    }

    /// How many workers the node has.
    pub(crate) fn workers(&self) -> u8 {
        self.workers
    }

    /// How many connections there are.
    pub(crate) fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// How many of them a worker has.
    pub(crate) fn open_of(&self, worker: u8) -> u64 {
        self.tables_of(worker).map(|table| table.open.load(Ordering::Relaxed)).sum()
    }

    /// The most connections that a worker has had at once since the start or the last [`Registry::reset_peak_of`].
    pub(crate) fn peak_of(&self, worker: u8) -> u64 {
        self.tables_of(worker).map(|table| table.peak.load(Ordering::Relaxed)).sum()
    }

    /// Counts the peak of a worker anew, from the connections that it has now.
    pub(crate) fn reset_peak_of(&self, worker: u8) {
        for table in self.tables_of(worker) {
            table.peak.store(table.open.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// Enters a connection of a worker, unless the node has `max` already, or the worker as many as it can have. Its
    /// source has been counted ([`Shares::open`]), and is no more when the registration is dropped, or if there is none.
    pub(crate) fn enter(
        self: &Arc<Self>,
        worker: u8,
        max: u64,
        source: Option<Source>,
    ) -> Option<Registration> {
        let more = |open| (open < max).then_some(open + 1);
        if self.open.try_update(Ordering::Relaxed, Ordering::Relaxed, more).is_err() {
            self.shares.close(source);
            return None;
        }
        let mailbox = Arc::new(Mailbox::default());
        let table = &self.tables[usize::from(worker)];
        let Some(rest) = table.slab.lock().enter(mailbox.clone(), self.now_s()) else {
            self.open.fetch_sub(1, Ordering::Relaxed);
            self.shares.close(source);
            return None;
        };
        table.entered();
        Some(Registration { id: ConnectionId::new(worker, rest), mailbox, source, registry: self.clone() })
    }

    /// Enters a connection of a former process, with its id and the second at which it was entered there. Nothing else may be
    /// entered before [`Registry::seal`]. `None` if a former process could not have had it.
    pub(crate) fn adopt(
        self: &Arc<Self>,
        id: ConnectionId,
        source: Option<Source>,
        entered_s: u32,
    ) -> Option<Registration> {
        let table = self.tables.get(usize::from(id.worker()))?;
        let mailbox = Arc::new(Mailbox::default());
        let slot = Slot { generation: slot_of(id).1, entered_s, mailbox: Some(mailbox.clone()) };
        table.slab.lock().adopt(slot_of(id).0, slot)?;
        table.entered();
        self.open.fetch_add(1, Ordering::Relaxed);
        self.shares.adopt(source);
        Some(Registration { id, mailbox, source, registry: self.clone() })
    }

    /// Makes sure that no id comes again which the former process has used. `generations` are its
    /// [`Registry::generations`].
    pub(crate) fn seal(&self, generations: &[u32]) {
        for (table, &generation) in self.tables.iter().zip(generations) {
            table.slab.lock().seal(generation);
        }
    }

    /// For each table, a generation that none of its ids has.
    pub(crate) fn generations(&self) -> Vec<u32> {
        self.tables.iter().map(|table| table.slab.lock().next_generation()).collect()
    }

    /// Posts a notification to a connection's mailbox.
    pub(crate) fn post(&self, id: ConnectionId, now: Moment, post: impl Into<Post>) -> Receipt {
        self.mailbox(id).map_or(Receipt::NotHere, |mailbox| mailbox.post(now, post))
    }

    /// Evicts a connection, if it is here. The receiver ends when its Close frame is on its way.
    pub(crate) fn evict(&self, id: ConnectionId) -> Option<oneshot::Receiver<()>> {
        Some(self.mailbox(id)?.signal_eviction())
    }

    /// The mailbox of a connection, if it is here.
    pub(crate) fn mailbox(&self, id: ConnectionId) -> Option<Arc<Mailbox>> {
        let (slot, generation) = slot_of(id);
        let slab = self.tables.get(usize::from(id.worker()))?.slab.lock();
        let slot = slab.slots.get(slot)?;
        if slot.generation == generation { slot.mailbox.clone() } else { None }
    }

    /// For how long a connection has been here, in milliseconds and to the second; `None` if it is not.
    pub(crate) fn open_ms(&self, id: ConnectionId) -> Option<u64> {
        Some(u64::from(self.now_s().saturating_sub(self.entered_s(id)?)) * 1000)
    }

    /// The second of the clock at which a connection was entered, if it is here.
    pub(crate) fn entered_s(&self, id: ConnectionId) -> Option<u32> {
        let (slot, generation) = slot_of(id);
        let slab = self.tables.get(usize::from(id.worker()))?.slab.lock();
        let slot = slab.slots.get(slot)?;
        let is_here = slot.generation == generation && slot.mailbox.is_some();
        is_here.then_some(slot.entered_s)
    }

    /// The mailboxes of all connections that are here now, those of all workers in turn.
    pub(crate) fn all(&self) -> Vec<Arc<Mailbox>> {
        let mut workers: Vec<_> = (0..self.workers()).map(|worker| self.all_of(worker).into_iter()).collect();
        let mut all = Vec::with_capacity(self.open() as usize);
        loop {
            let before = all.len();
            all.extend(workers.iter_mut().filter_map(Iterator::next));
            if all.len() == before {
                return all;
            }
        }
    }

    /// The mailboxes of all connections of a worker.
    pub(crate) fn all_of(&self, worker: u8) -> Vec<Arc<Mailbox>> {
        let mut all = Vec::new();
        for table in self.tables_of(worker) {
            all.extend(table.slab.lock().slots.iter().filter_map(|slot| slot.mailbox.clone()));
        }
        all
    }

    fn now_s(&self) -> u32 {
        (self.clock.now_ms() / 1000) as u32
    }

    fn tables_of(&self, worker: u8) -> impl Iterator<Item = &Table> {
        self.tables.iter().skip(usize::from(worker)).step_by(usize::from(self.workers))
    }
}

impl Table {
    fn entered(&self) {
        let others = self.open.fetch_add(1, Ordering::Relaxed);
        self.peak.fetch_max(others + 1, Ordering::Relaxed);
    }
}

impl Slab {
    /// Puts a mailbox into a slot. Returns what distinguishes the id from all others of the worker; `None` if the slab is
    /// full.
    fn enter(&mut self, mailbox: Arc<Mailbox>, now_s: u32) -> Option<u64> {
        let index = match self.free.pop() {
            Some(index) => index,
            None if self.slots.len() >= SLOTS_MAX => return None,
            None => {
                self.slots.push(Slot { generation: self.first_generation, entered_s: 0, mailbox: None });
                (self.slots.len() - 1) as u32
            }
        };
        let slot = &mut self.slots[index as usize];
        slot.mailbox = Some(mailbox);
        slot.entered_s = now_s;
        Some(u64::from(slot.generation) << SLOT_BITS | u64::from(index))
    }

    /// Fills the slot with this index. `None` if it is full.
    fn adopt(&mut self, index: usize, slot: Slot) -> Option<()> {
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, || Slot { generation: 0, entered_s: 0, mailbox: None });
        }
        let place = &mut self.slots[index];
        if place.mailbox.is_some() {
            return None;
        }
        *place = slot;
        Some(())
    }

    fn seal(&mut self, generation: u32) {
        self.first_generation = generation;
        for (index, slot) in self.slots.iter_mut().enumerate().rev() {
            if slot.mailbox.is_none() {
                slot.generation = generation;
                self.free.push(index as u32);
            }
        }
    }

    fn next_generation(&self) -> u32 {
        let used = self.slots.iter().map(|slot| slot.generation.wrapping_add(1)).max();
        used.unwrap_or_default().max(self.first_generation)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // Other tasks may hold the mailbox for a moment longer.
        self.mailbox.close();
        self.mailbox.forget_task();
        self.mailbox.release_evictors();
        let (index, _) = slot_of(self.id);
        let table = &self.registry.tables[usize::from(self.id.worker())];
        let mut slab = table.slab.lock();
        let slot = &mut slab.slots[index];
        slot.mailbox = None;
        slot.generation = slot.generation.wrapping_add(1);
        let entered_s = slot.entered_s;
        slab.free.push(index as u32);
        drop(slab);
        let lifetime_s = self.registry.now_s().saturating_sub(entered_s);
        self.registry.lifetimes.observe(0, u64::from(lifetime_s) * 1_000_000);
        table.open.fetch_sub(1, Ordering::Relaxed);
        self.registry.open.fetch_sub(1, Ordering::Relaxed);
        self.registry.shares.close(self.source);
    }
}

/// Slot and generation of a connection id.
fn slot_of(id: ConnectionId) -> (usize, u32) {
    let rest = id.rest();
    (rest as usize % SLOTS_MAX, (rest >> SLOT_BITS) as u32)
}

/// Shares that limit nothing that a test does.
#[cfg(test)]
pub(crate) fn shares() -> Arc<Shares> {
    let mut source =
        beckon_ops::config::Source::new(std::iter::empty::<&str>(), std::iter::empty::<(&str, &str)>());
    let settings = beckon_listener::settings::PortSettings::read(&mut source).unwrap();
    let clock = Clock::start();
    beckon_listener::port::Ports::new(&settings, None, clock, &mut Default::default()).shares().clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use beckon_types::Notification;
    use std::collections::HashSet;

    fn registry() -> Arc<Registry> {
        Arc::new(Registry::new(2, 2, shares(), Clock::start(), Durations::default()))
    }

    #[test]
    fn a_slot_has_no_room_to_spare() {
        assert_eq!(size_of::<Slot>(), 16);
    }

    #[test]
    fn no_connection_id_is_used_twice() {
        let registry = registry();
        let mut seen = HashSet::new();
        for _ in 0..3 {
            let all: Vec<_> = (0..100).filter_map(|_| registry.enter(1, 100, None)).collect();
            assert_eq!(all.len(), 100);
            assert!(registry.enter(1, 100, None).is_none(), "the maximum is reached");
            assert!(all.iter().all(|entered| seen.insert(entered.id)));
            assert_eq!(registry.open(), 100);
        }
        assert_eq!(registry.open(), 0);
    }

    #[test]
    fn a_connection_that_has_left_is_not_here() {
        let registry = registry();
        let entered = registry.enter(0, 1, None).unwrap();
        let id = entered.id;
        assert_eq!(registry.post(id, Moment(7), Notification::Missed), Receipt::Delivered);
        drop(entered);
        assert_eq!(registry.post(id, Moment(7), Notification::Missed), Receipt::NotHere);
        assert!(registry.evict(id).is_none());
        let _next = registry.enter(0, 1, None).unwrap();
        assert_eq!(registry.post(id, Moment(7), Notification::Missed), Receipt::NotHere);
        assert_eq!(registry.post(ConnectionId(u64::MAX), Moment(7), Notification::Missed), Receipt::NotHere);
    }

    #[test]
    fn all_connections_are_listed_once_and_the_workers_take_turns() {
        let registry = registry();
        let mut entered: Vec<_> =
            (0..77).filter_map(|n| registry.enter(u8::from(n < 70), 100, None)).collect();
        let all = registry.all();
        assert_eq!(all.len(), 77);
        let worker = |mailbox: &Arc<Mailbox>| {
            entered
                .iter()
                .find(|entered| Arc::ptr_eq(&entered.mailbox, mailbox))
                .map(|entered| entered.id.worker())
        };
        assert_eq!([0, 1, 2, 3, 76].map(|index| worker(&all[index])), [0, 1, 0, 1, 1].map(Some));
        entered.truncate(40);
        assert_eq!((registry.all().len(), registry.open()), (40, 40));
        assert_eq!((registry.open_of(0), registry.open_of(1)), (0, 40));
    }

    #[test]
    fn a_process_goes_on_with_the_ids_of_the_former_one() {
        let former = Arc::new(Registry::new(3, 3, shares(), Clock::start(), Durations::default()));
        let mut entered: Vec<_> = (0..30).filter_map(|n| former.enter(n % 3, 100, None)).collect();
        let mut used: HashSet<_> = entered.iter().map(|entered| entered.id).collect();
        for round in 0..20 {
            entered.remove(round % entered.len());
            entered.extend(former.enter(round as u8 % 3, 100, None));
            used.extend(entered.iter().map(|entered| entered.id));
        }
        entered.truncate(13);
        let registry = Arc::new(Registry::new(2, 3, shares(), Clock::start(), Durations::default()));
        let adopted: Vec<_> =
            entered.iter().map(|entered| registry.adopt(entered.id, None, 7).unwrap()).collect();
        assert!(registry.adopt(entered[0].id, None, 7).is_none());
        assert!(registry.adopt(ConnectionId::new(3, 0), None, 7).is_none());
        registry.seal(&former.generations());
        assert_eq!((registry.open(), registry.workers(), registry.all().len()), (13, 2, 13));
        assert_eq!(registry.open_of(0) + registry.open_of(1), 13);
        for entered in &adopted {
            assert_eq!(registry.post(entered.id, Moment(7), Notification::Missed), Receipt::Delivered);
        }
        let mut next = Vec::new();
        for n in 0..50 {
            let entered = registry.enter(n % 2, 100, None).unwrap();
            assert!(used.insert(entered.id), "{:?} was used", entered.id);
            if n % 3 > 0 {
                next.push(entered);
            }
        }
        drop(adopted);
        assert_eq!(registry.open(), next.len() as u64);
    }

    #[test]
    fn the_peak_is_that_of_each_worker() {
        let registry = registry();
        let (first, second) = (registry.enter(0, 10, None), registry.enter(0, 10, None));
        drop(second);
        assert_eq!((registry.peak_of(0), registry.peak_of(1)), (2, 0));
        registry.reset_peak_of(0);
        assert_eq!(registry.peak_of(0), 1);
        drop(first);
    }
}
