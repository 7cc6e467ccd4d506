//! How long to wait before a node is tried again.

use std::time::Duration;

/// The wait after the first failure, before jitter.
const FIRST: Duration = Duration::from_millis(100);

/// The longest wait, before jitter.
const LONGEST: Duration = Duration::from_secs(5);

/// The wait after `failures` in a row (at least 1): it doubles from [`FIRST`] to [`LONGEST`], and `random`
/// (any number) takes up to half of it away, so that many nodes do not come back at the same moment.
pub(super) fn wait(failures: u32, random: u64) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let whole = FIRST.saturating_mul(1 << doublings).min(LONGEST);
    let half_ms = u64::try_from(whole.as_millis() / 2).unwrap_or(u64::MAX);
    whole - Duration::from_millis(random % (half_ms + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_its_longest() {
        for (failures, most_ms) in [(0, 100), (1, 100), (2, 200), (3, 400), (6, 3200), (7, 5000), (99, 5000)]
        {
            assert_eq!(wait(failures, 0), Duration::from_millis(most_ms), "{failures}");
        }
    }

    #[test]
    fn jitter_takes_up_to_half_away() {
        for random in [1, 49, 50, 51, 1 << 40, u64::MAX] {
            let wait = wait(1, random);
            assert!(wait >= FIRST / 2 && wait <= FIRST, "{wait:?}");
        }
    }
}
