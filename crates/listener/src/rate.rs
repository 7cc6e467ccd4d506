//! How often something may happen, for each of very many keys, in little memory.

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::{
    hash::{BuildHasher as _, Hash, RandomState},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

/// Cells in each row of a table. A power of two.
const CELLS: usize = 1 << 16;

/// Rows of a table. A key has one cell in each.
const ROWS: usize = 2;

/// So many times in such a period: as many at once, and then evenly over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many times. 0: as often as one likes.
    pub count: u32,
    /// In how much time.
    pub period: Duration,
}

impl Rate {
    /// A parser for a setting such as `600/m`.
    ///
    /// # Errors
    /// It is not a number, a slash, and one of `s`, `m` and `h`; and not `0`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let reason = "must be a number of times per second, minute or hour, such as 600/m, or 0 for no limit";
        let parse = || {
            if text == "0" {
                return Some(Self { count: 0, period: Duration::ZERO });
            }
            let (count, period) = text.split_once('/')?;
            let seconds = match period {
                "s" => 1,
                "m" => 60,
                "h" => 3600,
                _ => return None,
            };
            let count = count.parse().ok().filter(|count| *count > 0)?;
            Some(Self { count, period: Duration::from_secs(seconds) })
        };
        parse().ok_or_else(|| reason.to_owned())
    }
}

/// Where a key has its cells.
#[derive(Debug, Clone, Copy)]
struct Cells([usize; ROWS]);

/// Draws where keys have their cells, so that no peer can choose a cell.
#[derive(Debug, Default)]
struct Places(RandomState);

impl Places {
    fn of(&self, key: impl Hash) -> Cells {
        let hash = self.0.hash_one(key) as usize;
        Cells([hash % CELLS, hash / CELLS % CELLS])
    }
}

/// Lets each key do something at a [`Rate`].
///
/// It is a count-min sketch of token buckets (GCRA): a key has a cell in each row, and its bucket is the emptier one of
/// the two. So it takes one megabyte however many keys there are, and no more than two atomic operations. A key is limited
/// too early only if it shares both cells with keys that are at their limit themselves.
#[derive(Debug)]
pub struct Limiter {
    places: Places,
    rate: ArcSwap<Rate>,
    /// When the bucket of a cell is full again, in nanoseconds of the caller's clock. Made when it is needed.
    rows: OnceLock<[Box<[AtomicU64]>; ROWS]>,
}

impl Limiter {
    /// Buckets that are full.
    pub fn new(rate: Rate) -> Self {
        Self { places: Places::default(), rate: ArcSwap::from_pointee(rate), rows: OnceLock::new() }
    }

    /// Another rate. It begins with full buckets, because those of the former rate would count for as long as that says.
    pub fn set_rate(&self, rate: Rate) {
        if **self.rate.load() == rate {
            return;
        }
        self.rate.store(Arc::new(rate));
        if let Some(rows) = self.rows.get() {
            rows.iter().flatten().for_each(|cell| cell.store(0, Ordering::Relaxed));
        }
    }

    /// Whether this key may not do it once more now. Takes nothing from its bucket; otherwise as [`Limiter::admit`].
    pub fn is_spent(&self, key: impl Hash, factor: u32, now_us: u64) -> bool {
        let Some(cost) = self.cost(factor) else { return false };
        let Some(rows) = self.rows.get() else { return false };
        let (now, Cells([first, second])) = (now_us.saturating_mul(1000), self.places.of(key));
        let full_at = rows[0][first].load(Ordering::Relaxed).min(rows[1][second].load(Ordering::Relaxed));
        full_at.max(now) + cost > now + self.rate.load().period.as_nanos() as u64
    }

    /// By how many nanoseconds a bucket is later full again for each time; `None` without a limit.
    fn cost(&self, factor: u32) -> Option<u64> {
        let Rate { count, period } = **self.rate.load();
        (period.as_nanos() as u64).checked_div(u64::from(count) * u64::from(factor.max(1)))
    }

    /// Whether this key may do it once more, at this reading of a clock that never goes back. `factor` is how many times
    /// the rate the key has.
    ///
    /// # Errors
    /// It may not; the time after which it may.
    pub fn admit(&self, key: impl Hash, factor: u32, now_us: u64) -> Result<(), Duration> {
        let Some(cost) = self.cost(factor) else { return Ok(()) };
        let (now, period) = (now_us.saturating_mul(1000), self.rate.load().period.as_nanos() as u64);
        let Cells([first, second]) = self.places.of(key);
        let rows = self.rows.get_or_init(|| [zeroed(), zeroed()]);
        let (first, second) = (&rows[0][first], &rows[1][second]);
        loop {
            let (one, other) = (first.load(Ordering::Relaxed), second.load(Ordering::Relaxed));
            let full_at = one.min(other).max(now) + cost;
            if let Some(excess) = full_at.checked_sub(now + period).filter(|excess| *excess > 0) {
                return Err(Duration::from_nanos(excess));
            }
            // The emptier cell decides, so it must not have changed; the other one is never emptier than that. Another thread may be
            // between its two cells, and then both get the same place in time.
            let (decides, was, follows) =
                if one <= other { (first, one, second) } else { (second, other, first) };
            if decides.compare_exchange(was, full_at, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                follows.fetch_max(full_at, Ordering::Relaxed);
                return Ok(());
            }
        }
    }
}

/// Counts how many of something each key has, in the same way as [`Limiter`]: never too few, and too many only if a key
/// shares both cells with keys that have many.
#[derive(Debug, Default)]
pub struct Counts {
    places: Places,
    rows: OnceLock<[Box<[AtomicU32]>; ROWS]>,
}

impl Counts {
    /// Counts one more, unless the key has `max` already. Returns whether it was counted.
    #[must_use]
    pub fn add(&self, key: impl Hash, max: u32) -> bool {
        let cells = self.cells(key);
        let had = cells.map(|cell| cell.fetch_add(1, Ordering::Relaxed)).into_iter().min();
        let is_counted = had.is_some_and(|had| had < max);
        if !is_counted {
            for cell in cells {
                cell.fetch_sub(1, Ordering::Relaxed);
            }
        }
        is_counted
    }

    /// Counts one less.
    pub fn remove(&self, key: impl Hash) {
        for cell in self.cells(key) {
            cell.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn cells(&self, key: impl Hash) -> [&AtomicU32; ROWS] {
        let Cells([first, second]) = self.places.of(key);
        let rows = self.rows.get_or_init(|| [zeroed(), zeroed()]);
        [&rows[0][first], &rows[1][second]]
    }
}

fn zeroed<T: Default>() -> Box<[T]> {
    std::iter::repeat_with(T::default).take(CELLS).collect()
}

/// Spreads waits, so that those who were refused together do not come back together.
#[derive(Debug, Default)]
pub struct Jitter(Mutex<u64>, RandomState);

impl Jitter {
    /// Up to half as long again.
    pub fn spread(&self, wait: Duration) -> Duration {
        let mut drawn = self.0.lock();
        *drawn = self.1.hash_one(*drawn);
        wait + wait.mul_f64((*drawn % 1000) as f64 / 2000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1000;

    fn limiter(count: u32) -> Limiter {
        Limiter::new(Rate { count, period: Duration::from_secs(1) })
    }

    #[test]
    fn a_rate_is_a_number_of_times_per_time() {
        assert_eq!(Rate::parse("600/m"), Ok(Rate { count: 600, period: Duration::from_secs(60) }));
        assert_eq!(Rate::parse("0").map(|rate| rate.count), Ok(0));
        for bad in ["", "600", "600/", "/m", "0/m", "-1/s", "600/d", "1.5/s", "600 /m", "99999999999/s"] {
            assert!(Rate::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_key_may_spend_its_rate_at_once_and_then_evenly() {
        let limiter = limiter(10);
        let spend = |now_ms: u64| (0..100).take_while(|_| limiter.admit(1, 1, now_ms * MS).is_ok()).count();
        assert_eq!(spend(5000), 10);
        assert_eq!(spend(5099), 0);
        assert_eq!(limiter.admit(1, 1, 5050 * MS), Err(Duration::from_millis(50)));
        assert_eq!(spend(5100), 1);
        assert_eq!(spend(5500), 4);
        assert!(!limiter.is_spent(1, 1, 9000 * MS));
        assert_eq!(spend(9000), 10, "no more than that");
        assert!(limiter.is_spent(1, 1, 9000 * MS) && !limiter.is_spent(2, 1, 9000 * MS));
        assert!(limiter.admit(2, 1, 9000 * MS).is_ok(), "others have their own");
    }

    #[test]
    fn a_shared_key_has_more_and_a_rate_of_zero_has_no_limit() {
        let shared = limiter(10);
        assert_eq!((0..1000).filter(|_| shared.admit(1, 20, 0).is_ok()).count(), 200);
        let unlimited = limiter(0);
        assert!((0..1000).all(|_| unlimited.admit(1, 1, 0).is_ok()));
    }

    #[test]
    fn another_rate_counts_at_once_and_the_same_rate_changes_nothing() {
        let limiter = Limiter::new(Rate { count: 5, period: Duration::from_secs(3600) });
        let spend = || (0..100).take_while(|_| limiter.admit(1, 1, 0).is_ok()).count();
        assert_eq!((spend(), spend()), (5, 0));
        limiter.set_rate(Rate { count: 5, period: Duration::from_secs(3600) });
        assert_eq!(spend(), 0);
        limiter.set_rate(Rate { count: 10, period: Duration::from_secs(1) });
        assert_eq!((spend(), spend()), (10, 0));
        limiter.set_rate(Rate { count: 0, period: Duration::ZERO });
        assert_eq!(spend(), 100);
    }

    #[test]
    fn a_hundred_thousand_honest_keys_are_not_limited_beside_a_hundred_that_are() {
        let limiter = limiter(100);
        for noisy in 0..100 {
            while limiter.admit(noisy, 1, 0).is_ok() {}
        }
        let refused = (1000..101_000).filter(|key| limiter.admit(key, 1, 0).is_err()).count();
        assert!(refused < 10, "{refused}");
    }

    #[test]
    fn threads_get_one_more_than_the_rate_each_if_at_all() {
        const THREADS: usize = 4;
        let limiter = limiter(1000);
        let spent: usize = std::thread::scope(|scope| {
            let spend = || (0..1000).filter(|_| limiter.admit(7, 1, 0).is_ok()).count();
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(spend)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert!((1000..1000 + THREADS).contains(&spent), "{spent}");
    }

    #[test]
    fn counts_go_up_to_their_limit_and_down_again() {
        let counts = Counts::default();
        assert_eq!((0..10).filter(|_| counts.add("a", 3)).count(), 3);
        assert!(counts.add("b", 3));
        counts.remove("a");
        assert!(counts.add("a", 3) && !counts.add("a", 3));
    }

    #[test]
    fn waits_are_spread() {
        let jitter = Jitter::default();
        let waits: std::collections::BTreeSet<_> =
            (0..100).map(|_| jitter.spread(Duration::from_secs(10))).collect();
        assert!(waits.len() > 50 && waits.iter().all(|wait| (10..=15).contains(&wait.as_secs())));
    }
}
