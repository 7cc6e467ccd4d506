//! How many commands may wait and be in flight on a link, given how fast its primary executes them.
//!
//! A queue must not grow longer than what the primary can execute before the callers give up: then every command would
//! be executed in vain, and so would those behind it. So the time per command is measured while commands wait, and a
//! command that would have to wait too long is refused at once.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// Most commands in flight on one link. Further ones wait in its queue.
pub(super) const IN_FLIGHT_MAX: usize = 4096;

/// Commands that may be in flight however slow the primary is: one full pipeline.
const IN_FLIGHT_MIN: usize = super::batch::BATCH_LEN_MAX;

/// A step may wait in the queue for its time limit divided by this.
const QUEUE_SHARE: u32 = 2;

/// Commands in flight may take the time limit of a step divided by this.
const FLIGHT_SHARE: u32 = 4;

/// The load of one link.
#[derive(Debug)]
pub(super) struct Load {
    limit: Duration,
    in_flight: AtomicUsize,
    /// The time per command in nanoseconds, measured while commands wait. Zero while none has to.
    service_ns: AtomicU64,
    last_answer: Mutex<Option<Instant>>,
}

impl Load {
    /// No load yet. `limit` is the time limit of a step.
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            limit,
            in_flight: AtomicUsize::new(0),
            service_ns: AtomicU64::new(0),
            last_answer: Mutex::default(),
        }
    }

    /// Whether one more command would wait too long behind `waiting` others.
    pub(super) fn is_overloaded(&self, waiting: usize) -> bool {
        let service_ns = self.service_ns.load(Ordering::Relaxed);
        service_ns.saturating_mul(waiting as u64) > nanos(self.limit / QUEUE_SHARE)
    }

    /// Whether the next pipeline may be sent.
    pub(super) fn has_room(&self) -> bool {
        let service_ns = self.service_ns.load(Ordering::Relaxed).max(1);
        let window = usize::try_from(nanos(self.limit / FLIGHT_SHARE) / service_ns).unwrap_or(usize::MAX);
        self.in_flight.load(Ordering::Relaxed) < window.clamp(IN_FLIGHT_MIN, IN_FLIGHT_MAX)
    }

    /// A pipeline of `count` commands is sent. `others_wait` is whether commands are left in the queue.
    pub(super) fn sent(&self, count: usize, others_wait: bool) {
        self.in_flight.fetch_add(count, Ordering::Relaxed);
        if !others_wait {
            self.service_ns.store(0, Ordering::Relaxed);
        }
    }

    /// A pipeline of `count` commands is not in flight any more: it was answered, given up, or dropped with its connection.
    pub(super) fn landed(&self, count: usize) {
        self.in_flight.fetch_sub(count, Ordering::Relaxed);
    }

    /// A pipeline of `count` commands has been answered or given up. `others_wait` is whether commands were left in the
    /// queue when it was sent.
    pub(super) fn measure(&self, count: usize, sent: Instant, now: Instant, others_wait: bool) {
        let last = self.last_answer.lock().unwrap_or_else(PoisonError::into_inner).replace(now);
        if others_wait {
            // The primary has been executing this pipeline since it answered the one before.
            let since = last.map_or(sent, |last| last.max(sent));
            let sample = nanos(now.saturating_duration_since(since)) / count.max(1) as u64;
            let before = self.service_ns.load(Ordering::Relaxed);
            let mean = if before == 0 { sample } else { (3 * before).saturating_add(sample) / 4 };
            self.service_ns.store(mean, Ordering::Relaxed);
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(3);

    /// The load after ten pipelines of 256 commands that took this long each, while others waited.
    fn measured(pipeline: Duration) -> Load {
        let load = Load::new(LIMIT);
        let mut time = super::super::dial::now();
        for _ in 0..10 {
            load.sent(256, true);
            load.landed(256);
            load.measure(256, time, time + pipeline, true);
            time += pipeline;
        }
        load
    }

    #[test]
    fn as_many_commands_may_wait_as_the_primary_can_execute_in_time() {
        let fast = measured(Duration::from_millis(2));
        assert!(!fast.is_overloaded(100_000));
        let slow = measured(Duration::from_millis(256));
        assert!(!slow.is_overloaded(1400), "1 ms each");
        assert!(slow.is_overloaded(1600));
        assert!(
            !slow.is_overloaded(0),
            "the first is always accepted, to notice when the primary is fast again"
        );
    }

    #[test]
    fn a_slow_primary_gets_fewer_commands_at_once_but_always_one_pipeline() {
        let in_flight = |load: &Load| {
            let mut count = 0;
            while load.has_room() {
                load.sent(256, true);
                count += 256;
            }
            count
        };
        assert_eq!(in_flight(&measured(Duration::from_millis(2))), IN_FLIGHT_MAX);
        assert_eq!(in_flight(&measured(Duration::from_millis(256))), 768, "750 ms of work");
        assert_eq!(in_flight(&measured(Duration::from_secs(10))), IN_FLIGHT_MIN);
    }

    #[test]
    fn the_measured_time_is_forgotten_when_no_command_has_to_wait() {
        let load = measured(Duration::from_secs(2));
        assert!(load.is_overloaded(1000));
        load.sent(1, false);
        assert!(!load.is_overloaded(1000));
    }

    #[test]
    fn the_time_of_pipelines_that_overlap_is_counted_once() {
        let load = Load::new(LIMIT);
        let start = super::super::dial::now();
        let ms = Duration::from_millis;
        for _ in 0..8 {
            load.sent(256, true);
        }
        // All were sent at once, and one is answered every 10 ms.
        for n in 1..=8 {
            load.landed(256);
            load.measure(256, start, start + ms(10 * n), true);
        }
        assert!(!load.is_overloaded(30_000) && load.is_overloaded(40_000), "39 µs each");
    }
}
