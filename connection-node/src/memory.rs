//! A budget for what peers make the node hold: messages that have not come in whole, replies that are not read, and what
//! waits for the store or the socket on their behalf. Beyond it, the connections that hold the most are dropped.

use crate::registry::Registry;
use beckon_types::ConnectionId;
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// A connection that holds so many bytes can be dropped for it, however much of the budget is left. One that holds less can
/// be dropped only if it began to hold that when half of the budget was in use.
const HEAVY: u32 = 16 * 1024;

/// The budget of a node.
#[derive(Debug)]
pub(crate) struct Memory {
    /// Bytes that may be held.
    max: AtomicU64,
    /// Bytes that are held.
    held: AtomicU64,
    holders: Mutex<Holders>,
    registry: Arc<Registry>,
}

#[derive(Debug, Default)]
struct Holders {
    /// Those that can be dropped, by what they hold.
    heavy: BTreeSet<(u32, ConnectionId)>,
    /// Those that were told to end, and what they still hold.
    ending: BTreeMap<ConnectionId, u32>,
    /// The sum of `ending`.
    ending_bytes: u64,
}

/// What one connection has been charged for. At its end it is charged for nothing.
#[derive(Debug, Default)]
pub(crate) struct Charge {
    bytes: u32,
    is_listed: bool,
}

impl Charge {
    /// Whether the connection holds nothing.
    pub(crate) fn is_zero(&self) -> bool {
        self.bytes == 0
    }
}

impl Memory {
    /// A budget of `max` bytes for the connections of `registry`.
    pub(crate) fn new(max: u64, registry: Arc<Registry>) -> Self {
        Self { max: AtomicU64::new(max), held: AtomicU64::new(0), holders: Mutex::default(), registry }
    }

    /// Another budget, for what is held from now on.
    pub(crate) fn set_max(&self, max: u64) {
        self.max.store(max, Ordering::Relaxed);
    }

    fn max(&self) -> u64 {
        self.max.load(Ordering::Relaxed)
    }

    /// Bytes that are held now.
    pub(crate) fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// Charges a connection for what it holds now instead of before. If that is more than there is, the connections that
    /// hold the most are told to end, which may be this one.
    pub(crate) fn charge(&self, id: ConnectionId, charge: &mut Charge, holds: usize) {
        let holds = u32::try_from(holds).unwrap_or(u32::MAX);
        let before = charge.bytes;
        if holds == before {
            return;
        }
        let more = u64::from(holds).wrapping_sub(u64::from(before));
        let held = self.held.fetch_add(more, Ordering::Relaxed).wrapping_add(more);
        charge.bytes = holds;
        let is_listed = holds > 0 && (holds >= HEAVY || held > self.max() / 2);
        if is_listed || charge.is_listed {
            let mut holders = self.holders.lock();
            holders.change(id, charge.is_listed.then_some(before), is_listed.then_some(holds));
            charge.is_listed = is_listed;
            if held > self.max() {
                self.drop_heaviest(&mut holders);
            }
        }
    }

    /// Whether a connection has to end because it holds too much. One that holds nothing does not.
    pub(crate) fn is_ending(&self, id: ConnectionId, charge: &Charge) -> bool {
        !charge.is_zero() && self.holders.lock().ending.contains_key(&id)
    }

    /// Tells connections to end until the others are within the budget.
    fn drop_heaviest(&self, holders: &mut Holders) {
        while self.held().saturating_sub(holders.ending_bytes) > self.max() {
            let Some((bytes, id)) = holders.heavy.pop_last() else { return };
            holders.ending.insert(id, bytes);
            holders.ending_bytes += u64::from(bytes);
            if let Some(mailbox) = self.registry.mailbox(id) {
                mailbox.signal_timer();
            }
        }
    }
}

impl Holders {
    /// Lists what a connection holds now instead of before. One that was told to end is not listed again.
    fn change(&mut self, id: ConnectionId, before: Option<u32>, now: Option<u32>) {
        if let Some(bytes) = self.ending.remove(&id) {
            self.ending_bytes -= u64::from(bytes);
            if let Some(now) = now {
                self.ending.insert(id, now);
                self.ending_bytes += u64::from(now);
            }
            return;
        }
        if let Some(before) = before {
            self.heavy.remove(&(before, id));
        }
        if let Some(now) = now {
            self.heavy.insert((now, id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::shares;
    use beckon_ops::{clock::Clock, metrics::Durations};

    #[test]
    fn those_that_hold_the_most_are_dropped_first() {
        let registry = Arc::new(Registry::new(1, 1, shares(), Clock::start(), Durations::default()));
        let entered: Vec<_> = (0..4).filter_map(|_| registry.enter(0, 10, None)).collect();
        let memory = Memory::new(100_000, registry);
        let mut charges = [(); 4].map(|()| Charge::default());
        for (index, bytes) in [(0, 20_000), (1, 50_000), (2, 30_000)] {
            memory.charge(entered[index].id, &mut charges[index], bytes);
        }
        assert_eq!(memory.held(), 100_000);
        let ending = |charges: &[Charge; 4]| {
            [0, 1, 2, 3].map(|index| memory.is_ending(entered[index].id, &charges[index]))
        };
        assert_eq!(ending(&charges), [false; 4]);
        memory.charge(entered[3].id, &mut charges[3], 1);
        assert_eq!(ending(&charges), [false, true, false, false]);
        // What it still holds does not count, so no other one is dropped until it is needed.
        memory.charge(entered[3].id, &mut charges[3], 50_000);
        assert_eq!(ending(&charges), [false, true, false, false]);
        memory.charge(entered[0].id, &mut charges[0], 30_000);
        assert_eq!(ending(&charges), [false, true, false, true]);
        for (entered, charge) in entered.iter().zip(&mut charges) {
            memory.charge(entered.id, charge, 0);
        }
        assert_eq!(memory.held(), 0);
        assert_eq!(memory.holders.lock().ending_bytes, 0);
    }

    #[test]
    fn very_many_that_hold_little_are_dropped_too() {
        const EACH: usize = 4096;
        let registry = Arc::new(Registry::new(1, 1, shares(), Clock::start(), Durations::default()));
        let entered: Vec<_> = (0..100).filter_map(|_| registry.enter(0, 100, None)).collect();
        let memory = Memory::new(50 * EACH as u64, registry);
        let mut charges: Vec<_> = entered.iter().map(|_| Charge::default()).collect();
        for (entered, charge) in entered.iter().zip(&mut charges) {
            memory.charge(entered.id, charge, EACH);
        }
        let ending =
            entered.iter().zip(&charges).filter(|(entered, charge)| memory.is_ending(entered.id, charge));
        assert_eq!(ending.count(), 50);
    }
}
