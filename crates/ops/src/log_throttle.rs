//! Keeps the log readable when the same thing goes wrong thousands of times a second.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::Hash,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// How long a cause stays quiet after it was logged, where nothing else is said.
pub const INTERVAL: Duration = Duration::from_secs(60);

/// Causes that are remembered. While so many are quiet, a new one is not logged.
const CAUSES_MAX: usize = 256;

/// Lets the first event of each cause be logged, and after that one per interval.
///
/// Ask it where a failure is handled, so only the failing path pays for it:
///
/// ```
/// # use beckon_ops::{clock::Clock, log_throttle::{INTERVAL, LogThrottle}};
/// # let (clock, error) = (Clock::start(), "connection refused");
/// let throttle = LogThrottle::new(INTERVAL);
/// if let Some(suppressed) = throttle.admit(error, clock.now_ms()) {
///     tracing::warn!(%error, suppressed, "the store did not take a notification");
/// }
/// ```
#[derive(Debug)]
pub struct LogThrottle<C> {
    interval_ms: u64,
    causes: Mutex<HashMap<C, Cause>>,
}

#[derive(Debug, Clone, Copy)]
struct Cause {
    logged_at_ms: u64,
    /// Events since then.
    suppressed: u64,
}

impl<C: Eq + Hash> LogThrottle<C> {
    /// A throttle that has seen nothing yet.
    #[must_use]
    pub fn new(interval: Duration) -> Self {
        let interval_ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
        Self { interval_ms, causes: Mutex::default() }
    }

    /// Whether to log an event of this cause: `Some` with the number of events of the same cause that were not
    /// logged since the last one that was, `None` to stay quiet. `now_ms` is a reading of one clock that never
    /// goes back ([`crate::clock::Clock::now_ms`]).
    pub fn admit(&self, cause: C, now_ms: u64) -> Option<u64> {
        let is_due = |known: &Cause| now_ms.saturating_sub(known.logged_at_ms) >= self.interval_ms;
        let logged_now = Cause { logged_at_ms: now_ms, suppressed: 0 };
        // What is kept is valid after each statement, so a panic elsewhere does not make it unusable.
        let mut causes = self.causes.lock().unwrap_or_else(PoisonError::into_inner);
        if causes.len() >= CAUSES_MAX && !causes.contains_key(&cause) {
            causes.retain(|_, known| !is_due(known));
            if causes.len() >= CAUSES_MAX {
                return None;
            }
        }
        match causes.entry(cause) {
            Entry::Vacant(entry) => {
                entry.insert(logged_now);
                Some(0)
            }
            Entry::Occupied(mut entry) if is_due(entry.get()) => Some(entry.insert(logged_now).suppressed),
            Entry::Occupied(mut entry) => {
                entry.get_mut().suppressed += 1;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_is_logged_once_per_interval_with_the_number_suppressed() {
        let throttle = LogThrottle::new(Duration::from_millis(100));
        for (now_ms, cause, admitted) in [
            (0, "refused", Some(0)),
            (1, "refused", None),
            (1, "too slow", Some(0)),
            (99, "refused", None),
            (100, "refused", Some(2)),
            (101, "too slow", Some(0)),
            (102, "too slow", None),
            (200, "refused", Some(0)),
            (9_999, "too slow", Some(1)),
        ] {
            assert_eq!(throttle.admit(cause, now_ms), admitted, "{cause} at {now_ms}");
        }
    }

    #[test]
    fn endlessly_many_causes_fill_neither_memory_nor_the_log() {
        let throttle = LogThrottle::new(Duration::from_millis(100));
        let logged = (0..10_000).filter(|&cause| throttle.admit(cause, 0).is_some()).count();
        assert_eq!(logged, CAUSES_MAX);
        assert_eq!(throttle.admit(0, 50), None, "a known cause is still counted");
        assert_eq!(throttle.admit(20_000, 100), Some(0), "quiet causes make room");
        assert_eq!(throttle.causes.lock().unwrap().len(), 1);
    }
}
