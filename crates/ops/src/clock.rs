//! The time. Code below the edge takes it as an argument; only this module reads it.

use std::time::{SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// A clock that starts at zero when it is created. Its copies agree.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that reads 0 now.
    #[expect(clippy::disallowed_methods, reason = "this is the edge that reads the time for all others")]
    #[must_use]
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// A clock that reads `now_ms` now: it continues that of another process on this machine.
    #[expect(clippy::disallowed_methods, reason = "this is the edge that reads the time for all others")]
    #[must_use]
    pub fn continuing(now_ms: u64) -> Self {
        let now = Instant::now();
        Self { start: now.checked_sub(std::time::Duration::from_millis(now_ms)).unwrap_or(now) }
    }

    /// Milliseconds since the clock was started. It never goes back, and follows tokio's paused time in tests.
    #[expect(clippy::disallowed_methods, reason = "this is the edge that reads the time for all others")]
    pub fn now_ms(&self) -> u64 {
        u64::try_from(Instant::now().saturating_duration_since(self.start).as_millis()).unwrap_or(u64::MAX)
    }

    /// Microseconds since the clock was started, for measurements.
    #[expect(clippy::disallowed_methods, reason = "this is the edge that reads the time for all others")]
    pub fn now_us(&self) -> u64 {
        u64::try_from(Instant::now().saturating_duration_since(self.start).as_micros()).unwrap_or(u64::MAX)
    }

    /// The moment at which [`Clock::now_ms`] reads `at_ms`, for `tokio::time::sleep_until`.
    pub fn instant(&self, at_ms: u64) -> Instant {
        self.start + std::time::Duration::from_millis(at_ms)
    }

    /// Seconds since 1970, UTC. May jump when the machine's clock is set.
    pub fn unix_seconds(&self) -> u64 {
        self.unix_ms() / 1000
    }

    /// Nanoseconds since 1970, UTC. May jump when the machine's clock is set.
    #[expect(clippy::disallowed_methods, reason = "this is the edge that reads the time for all others")]
    pub fn unix_ns(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Milliseconds since 1970, UTC. May jump when the machine's clock is set.
    #[expect(clippy::disallowed_methods, reason = "this is the edge that reads the time for all others")]
    pub fn unix_ms(&self) -> u64 {
        // A clock that is set before 1970 reads 0: a wrong time is not a reason to stop.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::Clock;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn it_counts_from_its_start() {
        let clock = Clock::start();
        assert_eq!(clock.now_ms(), 0);
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert_eq!(clock.now_ms(), 1500);
        assert_eq!(clock.now_us(), 1_500_000);
        tokio::time::sleep_until(clock.instant(4000)).await;
        assert_eq!(clock.now_ms(), 4000);
    }

    #[tokio::test(start_paused = true)]
    async fn it_continues_another_one() {
        tokio::time::sleep(Duration::from_secs(60)).await;
        let clock = Clock::continuing(7000);
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(clock.now_ms(), 7500);
    }

    #[test]
    fn unix_time_is_plausible() {
        let clock = Clock::start();
        assert!(clock.unix_seconds() > 1_600_000_000);
        assert!(clock.unix_ms() / 1000 - clock.unix_seconds() <= 1);
        assert!(clock.unix_ns() / 1_000_000 - clock.unix_ms() <= 1000);
    }
}
