//! How soon to try again: later and later, and not at the same moment as everybody else.

use std::time::Duration;

/// The first pause after an attempt that failed. It doubles with each further one.
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Counts attempts that failed in a row.
#[derive(Debug, Default)]
pub(super) struct Pace {
    failures: u32,
}

impl Pace {
    /// The pause after one more failure.
    pub(super) fn failed(&mut self, random: u64) -> Duration {
        let pause = PAUSE_MIN.saturating_mul(1 << self.failures.min(16)).min(PAUSE_MAX);
        self.failures += 1;
        jittered(pause, random)
    }

    /// What was tried works.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }
}

/// Between half of the pause and all of it.
pub(super) fn jittered(pause: Duration, random: u64) -> Duration {
    let half = pause / 2;
    let millis = u64::try_from(half.as_millis()).unwrap_or(u64::MAX).max(1);
    half + Duration::from_millis(random % millis)
}

/// A number that is another one in each process. Without a source of them, pauses are not spread.
pub(super) fn random() -> u64 {
    getrandom::u64().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_again_after_a_success() {
        let mut pace = Pace::default();
        let longest: Vec<_> = (0..8).map(|_| pace.failed(u64::MAX - 1).as_millis()).collect();
        assert!(longest.is_sorted(), "{longest:?}");
        assert!(longest[0] <= PAUSE_MIN.as_millis() && longest[0] >= PAUSE_MIN.as_millis() / 2);
        assert!(longest[7] <= PAUSE_MAX.as_millis() && longest[7] >= PAUSE_MAX.as_millis() / 2);
        pace.succeeded();
        assert!(pace.failed(0) <= PAUSE_MIN);
    }

    #[test]
    fn a_pause_is_spread_over_its_second_half() {
        let pause = Duration::from_secs(1);
        assert_eq!(jittered(pause, 0), pause / 2);
        assert_eq!(jittered(pause, 499), pause - Duration::from_millis(1));
        assert_eq!(jittered(Duration::ZERO, 7), Duration::ZERO);
    }
}
