//! Pauses between attempts: exponential, with jitter.

use std::time::Duration;

/// The pause after the first failed attempt. It doubles with each further one.
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Counts failed attempts in a row.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The pause after one more failed attempt.
    pub(super) fn failed(&mut self, random: u64) -> Duration {
        let pause = PAUSE_MIN.saturating_mul(1 << self.failures.min(16)).min(PAUSE_MAX);
        self.failures += 1;
        jittered(pause, random)
    }

    /// An attempt succeeded.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }
}

/// A random time between half of the pause and all of it.
pub(super) fn jittered(pause: Duration, random: u64) -> Duration {
    let half = pause / 2;
    let millis = u64::try_from(half.as_millis()).unwrap_or(u64::MAX).max(1);
    half + Duration::from_millis(random % millis)
}

/// A random number. If the system has none, pauses are not spread.
pub(super) fn random() -> u64 {
    getrandom::u64().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_start_over_after_a_success() {
        let mut backoff = Backoff::default();
        let longest: Vec<_> = (0..8).map(|_| backoff.failed(u64::MAX - 1).as_millis()).collect();
        assert!(longest.is_sorted(), "{longest:?}");
        assert!(longest[0] <= PAUSE_MIN.as_millis() && longest[0] >= PAUSE_MIN.as_millis() / 2);
        assert!(longest[7] <= PAUSE_MAX.as_millis() && longest[7] >= PAUSE_MAX.as_millis() / 2);
        backoff.succeeded();
        assert!(backoff.failed(0) <= PAUSE_MIN);
    }

    #[test]
    fn a_pause_is_spread_over_its_second_half() {
        let pause = Duration::from_secs(1);
        assert_eq!(jittered(pause, 0), pause / 2);
        assert_eq!(jittered(pause, 499), pause - Duration::from_millis(1));
        assert_eq!(jittered(Duration::ZERO, 7), Duration::ZERO);
    }
}
