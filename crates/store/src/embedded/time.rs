//! The time, by a clock that can jump.
//!
//! After a jump of more than [`JUMP`] in either direction, it takes [`PROBATION`] until the store believes the clock: a
//! clock that was a year ahead for a moment must not expire everything. Meanwhile the time before the jump goes on, and
//! nothing expires that would not have expired by both.

use std::time::Duration;

/// The largest step of the clock, in seconds, that is believed at once. A machine that was suspended is not believed
/// either, so that what it has is kept a little longer.
const JUMP: i64 = 12 * 3600;

/// Seconds after which a clock that has jumped is believed.
const PROBATION: i64 = 3600;

/// A moment, since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    /// Goes on without jumps, except when a jump is believed at last.
    pub(super) steady: Duration,
    /// No later than the true time, for what expires.
    pub(super) earliest: Duration,
    /// No earlier than the true time, for what is written.
    pub(super) latest: Duration,
}

/// Watches a clock for jumps.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// The clock at the last look.
    last: Option<Duration>,
    /// Milliseconds from the clock to the steady time.
    offset: i64,
    /// The steady time at which the clock is believed, while there is an offset.
    believed_at: i64,
}

impl Watch {
    /// The moment at which the clock shows this time.
    pub(super) fn look(&mut self, clock: Duration) -> Moment {
        let now = millis(clock);
        let step = self.last.map_or(0, |last| now - millis(last));
        self.last = Some(clock);
        if step.abs() > JUMP * 1000 {
            self.offset -= step;
            if self.offset.abs() <= JUMP * 1000 {
                tracing::info!("the clock is back");
                self.offset = 0;
            } else {
                tracing::warn!(seconds = step / 1000, "the clock has jumped; it is believed after an hour");
                self.believed_at = now + self.offset + PROBATION * 1000;
            }
        }
        if self.offset != 0 && now + self.offset >= self.believed_at {
            tracing::warn!("the clock is believed from now on");
            self.offset = 0;
        }
        let steady = Duration::from_millis(u64::try_from(now + self.offset).unwrap_or(0));
        Moment { steady, earliest: steady.min(clock), latest: steady.max(clock) }
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX / 4).min(i64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    const YEAR: u64 = 365 * 86_400;
    const START: u64 = 1_700_000_000;

    /// What the clock shows, and the steady, earliest and latest times, all in seconds after the start.
    fn check(looks: &[(u64, [u64; 3])]) {
        let mut watch = Watch::default();
        for (clock, expected) in looks {
            let Moment { steady, earliest, latest } = watch.look(Duration::from_secs(START + clock));
            let found = [steady, earliest, latest].map(|time| time.as_secs() - START);
            assert_eq!(found, *expected, "at {clock}");
        }
    }

    #[test]
    fn a_clock_that_runs_is_believed() {
        check(&[(0, [0; 3]), (10, [10; 3]), (40_000, [40_000; 3]), (5, [5; 3])]);
    }

    #[test]
    fn a_jump_ahead_is_believed_after_an_hour() {
        check(&[
            (10, [10; 3]),
            (YEAR, [10, 10, YEAR]),
            (YEAR + 3599, [3609, 3609, YEAR + 3599]),
            (YEAR + 3600, [YEAR + 3600; 3]),
        ]);
    }

    #[test]
    fn a_jump_and_back_has_no_effect() {
        check(&[(10, [10; 3]), (YEAR, [10, 10, YEAR]), (YEAR + 60, [70, 70, YEAR + 60]), (80, [80; 3])]);
        check(&[
            (YEAR, [YEAR; 3]),
            (0, [YEAR, 0, YEAR]),
            (5, [YEAR + 5, 5, YEAR + 5]),
            (YEAR + 9, [YEAR + 9; 3]),
        ]);
    }
}
