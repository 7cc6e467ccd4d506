//! How long to wait before the next attempt to connect.

use std::time::Duration;

/// Doubling waits with full jitter: the wait before attempt `n` is drawn evenly from zero to the smaller of
/// `first * 2^n` and `longest`, so that clients that lost a server at the same time do not return at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Upper bound of the first wait.
    pub first: Duration,
    /// Upper bound of every wait.
    pub longest: Duration,
}

impl Default for Backoff {
    /// One second at first, up to one minute.
    fn default() -> Self {
        Self { first: Duration::from_secs(1), longest: Duration::from_secs(60) }
    }
}

impl Backoff {
    /// The wait after `failures` failed attempts in a row (0 after a connection that had worked). `chance` is a random
    /// number; all its bits are used.
    pub fn wait(self, failures: u32, chance: u64) -> Duration {
        let factor = 1_u32.checked_shl(failures).unwrap_or(u32::MAX);
        let bound = self.first.saturating_mul(factor).min(self.longest);
        let nanos = (u128::from(chance) * bound.as_nanos()) >> u64::BITS;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_doubles_up_to_the_longest_wait() {
        let backoff = Backoff::default();
        for (failures, seconds) in [(0, 1), (1, 2), (5, 32), (6, 60), (31, 60), (32, 60), (1000, 60)] {
            let bound = Duration::from_secs(seconds);
            let longest = backoff.wait(failures, u64::MAX);
            assert!(
                longest <= bound && bound - longest < Duration::from_micros(1),
                "{failures}: {longest:?}"
            );
            assert_eq!(backoff.wait(failures, 0), Duration::ZERO);
        }
    }

    #[test]
    fn the_wait_follows_chance_evenly() {
        let backoff = Backoff { first: Duration::from_secs(4), longest: Duration::from_secs(4) };
        assert_eq!(backoff.wait(0, 1 << 63), Duration::from_secs(2));
        assert_eq!(backoff.wait(0, 1 << 62), Duration::from_secs(1));
    }
}
