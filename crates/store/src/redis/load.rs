//! How much a link may have waiting and under way, by how fast its primary works through it.
//!
//! Under a crowd a queue must not grow older than its callers' patience: then everything in it would be done for callers
//! that have given up, and the next as well. So the time that one command takes is measured while others wait behind
//! it, and whoever would wait too long is refused at once.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// Commands under way on one link. Further ones wait in its queue.
pub(super) const IN_FLIGHT_MAX: usize = 4096;

/// Commands that are always sent, however slow the primary is: one pipeline of them.
const IN_FLIGHT_MIN: usize = super::batch::BATCH_LEN_MAX;

/// The share of a step's time limit that it may spend in the queue.
const QUEUE_SHARE: u32 = 2;

/// The share of a step's time limit that it may spend under way.
const FLIGHT_SHARE: u32 = 4;

/// The load of one link.
#[derive(Debug)]
pub(super) struct Load {
    limit: Duration,
    in_flight: AtomicUsize,
    /// Time that one command takes while others wait, in nanoseconds. Zero: none has to wait.
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

    /// Whether one more command would surely be answered too late, with so many that wait before it.
    pub(super) fn is_too_high(&self, waiting: usize) -> bool {
        let service_ns = self.service_ns.load(Ordering::Relaxed);
        service_ns.saturating_mul(waiting as u64) > nanos(self.limit / QUEUE_SHARE)
    }

    /// Whether the next pipeline may be sent.
    pub(super) fn has_room(&self) -> bool {
        let service_ns = self.service_ns.load(Ordering::Relaxed).max(1);
        let window = usize::try_from(nanos(self.limit / FLIGHT_SHARE) / service_ns).unwrap_or(usize::MAX);
        self.in_flight.load(Ordering::Relaxed) < window.clamp(IN_FLIGHT_MIN, IN_FLIGHT_MAX)
    }

    /// A pipeline of so many commands is sent. `others_wait` is whether it left commands behind in the queue.
    pub(super) fn sent(&self, count: usize, others_wait: bool) {
        self.in_flight.fetch_add(count, Ordering::Relaxed);
        if !others_wait {
            self.service_ns.store(0, Ordering::Relaxed);
        }
    }

    /// A pipeline of so many commands, sent then, is answered now, or has been given up. `others_wait` is whether
    /// commands were left behind when it was sent.
    pub(super) fn ended(&self, count: usize, sent: Instant, now: Instant, others_wait: bool) {
        self.in_flight.fetch_sub(count, Ordering::Relaxed);
        let last = self.last_answer.lock().unwrap_or_else(PoisonError::into_inner).replace(now);
        if others_wait {
            // The primary has worked on this pipeline since it answered the one before.
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

    /// Ten pipelines of 256 commands, each answered after so long, while others wait.
    fn measured(pipeline: Duration) -> Load {
        let load = Load::new(LIMIT);
        let mut time = super::super::dial::now();
        for _ in 0..10 {
            load.sent(256, true);
            load.ended(256, time, time + pipeline, true);
            time += pipeline;
        }
        load
    }

    #[test]
    fn a_fast_primary_may_have_all_waiting_and_a_slow_one_what_it_can_do_in_time() {
        let fast = measured(Duration::from_millis(2));
        assert!(!fast.is_too_high(100_000));
        let slow = measured(Duration::from_millis(256));
        assert!(!slow.is_too_high(1400), "1 ms each");
        assert!(slow.is_too_high(1600));
        assert!(
            !slow.is_too_high(0),
            "the first is always sent, so that it is noticed when the primary is well"
        );
    }

    #[test]
    fn less_is_under_way_to_a_slow_primary_but_always_one_pipeline() {
        let under_way = |load: &Load| {
            let mut count = 0;
            while load.has_room() {
                load.sent(256, true);
                count += 256;
            }
            count
        };
        assert_eq!(under_way(&measured(Duration::from_millis(2))), IN_FLIGHT_MAX);
        assert_eq!(under_way(&measured(Duration::from_millis(256))), 768, "750 ms of work");
        assert_eq!(under_way(&measured(Duration::from_secs(10))), IN_FLIGHT_MIN);
    }

    #[test]
    fn the_measure_is_forgotten_when_none_has_to_wait() {
        let load = measured(Duration::from_secs(2));
        assert!(load.is_too_high(1000));
        load.sent(1, false);
        assert!(!load.is_too_high(1000));
    }

    #[test]
    fn pipelines_that_overlap_are_not_counted_twice() {
        let load = Load::new(LIMIT);
        let start = super::super::dial::now();
        let ms = Duration::from_millis;
        for _ in 0..8 {
            load.sent(256, true);
        }
        // All were sent at once, and one is answered each 10 ms.
        for n in 1..=8 {
            load.ended(256, start, start + ms(10 * n), true);
        }
        assert!(!load.is_too_high(30_000) && load.is_too_high(40_000), "39 µs each");
    }
}
