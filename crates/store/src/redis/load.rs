//! How many commands may wait and be in flight on a link, given how fast its primary executes them.
//!
//! Neither the queue nor what is in flight may grow longer than what the primary can execute before the callers give up:
//! then every command would be executed in vain, and so would those behind it. The primary also works for other links and
//! nodes, so its speed is not known, only how long it takes to answer. So the number of commands in flight has a window,
//! as in TCP: it grows by what is answered in time, and is halved when an answer takes too long. The time per command is
//! measured while commands wait, and a command that would have to wait too long is refused at once.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// Most commands in flight on one link. Further ones wait in its queue.
pub(super) const IN_FLIGHT_MAX: usize = 4096;

/// Commands that may be in flight however slow the primary is: an urgent one and a patient one.
const IN_FLIGHT_MIN: usize = 2;

/// Commands that may be in flight on a new connection, as long as nothing is known of the primary: one full
/// pipeline.
const IN_FLIGHT_START: usize = super::batch::BATCH_LEN_MAX;

/// Commands that no caller needs soon may take the window divided by this.
const SPARE_SHARE: usize = 4;

/// A step may wait in the queue for its time limit divided by this.
const QUEUE_SHARE: u32 = 2;

/// Commands in flight may take the time limit of a step divided by this.
const FLIGHT_SHARE: u32 = 4;

/// The load of one link.
#[derive(Debug)]
pub(super) struct Load {
    limit: Duration,
    in_flight: AtomicUsize,
    /// Commands that may be in flight.
    window: AtomicUsize,
    /// Whether a command that no caller needs soon was refused: so a larger window would be in use.
    was_short: AtomicBool,
    /// When the window was halved. Answers to what was sent before say nothing about the window after.
    narrowed: Mutex<Option<Instant>>,
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
            window: AtomicUsize::new(IN_FLIGHT_START),
            was_short: AtomicBool::new(false),
            narrowed: Mutex::default(),
            service_ns: AtomicU64::new(0),
            last_answer: Mutex::default(),
        }
    }

    /// Whether one more command would wait too long behind `waiting` others.
    pub(super) fn is_overloaded(&self, waiting: usize) -> bool {
        let service_ns = self.service_ns.load(Ordering::Relaxed);
        service_ns.saturating_mul(waiting as u64) > nanos(self.limit / QUEUE_SHARE)
    }

    /// Whether a command that no caller needs soon should come later, because the primary has enough to do. `waiting` is
    /// the number of commands that wait.
    pub(super) fn has_spare_room(&self, waiting: usize) -> bool {
        let outstanding = self.in_flight.load(Ordering::Relaxed) + waiting;
        let has_room = outstanding < (self.window.load(Ordering::Relaxed) / SPARE_SHARE).max(1);
        if !has_room {
            self.was_short.store(true, Ordering::Relaxed);
        }
        has_room
    }

    /// How many commands may be sent now.
    pub(super) fn room(&self) -> usize {
        self.window.load(Ordering::Relaxed).saturating_sub(self.in_flight.load(Ordering::Relaxed))
    }

    /// There is a new connection.
    pub(super) fn start_over(&self) {
        self.window.fetch_min(IN_FLIGHT_START, Ordering::Relaxed);
        self.service_ns.store(0, Ordering::Relaxed);
    }

    /// A pipeline of `count` commands is sent. `others_wait` is whether commands are left in the queue. Returns whether the
    /// window is in use, so that it may grow if the answer comes in time.
    pub(super) fn sent(&self, count: usize, others_wait: bool) -> bool {
        let in_flight = self.in_flight.fetch_add(count, Ordering::Relaxed) + count;
        if !others_wait {
            self.service_ns.store(0, Ordering::Relaxed);
        }
        let was_short = self.was_short.swap(false, Ordering::Relaxed);
        others_wait || was_short || in_flight * 2 >= self.window.load(Ordering::Relaxed)
    }

    /// A pipeline of `count` commands is not in flight any more: it was answered, given up, or dropped with its connection.
    pub(super) fn landed(&self, count: usize) {
        self.in_flight.fetch_sub(count, Ordering::Relaxed);
    }

    /// Adapts the window to a pipeline of `count` commands that has been answered or given up. `is_in_use` is what
    /// [`Self::sent`] has returned.
    pub(super) fn adapt(&self, count: usize, sent: Instant, now: Instant, is_in_use: bool) {
        let is_late = now.saturating_duration_since(sent) > self.limit / FLIGHT_SHARE;
        let mut narrowed = self.narrowed.lock().unwrap_or_else(PoisonError::into_inner);
        let window = self.window.load(Ordering::Relaxed);
        let adapted = match is_late {
            true if narrowed.is_none_or(|narrowed| narrowed <= sent) => {
                *narrowed = Some(now);
                window / 2
            }
            false if is_in_use => window + count,
            true | false => return,
        };
        self.window.store(adapted.clamp(IN_FLIGHT_MIN, IN_FLIGHT_MAX), Ordering::Relaxed);
    }

    /// Measures the time per command by a pipeline of `count` commands that has been answered or given up. `others_wait` is
    /// whether commands were left in the queue when it was sent.
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

    /// Full pipelines one after the other on a primary that executes so many commands in a second, and what it would take
    /// to answer the window then.
    fn answer_time(load: &Load, per_second: u32, pipelines: usize) -> Duration {
        let mut now = super::super::dial::now();
        for _ in 0..pipelines {
            let count = load.room();
            let is_in_use = load.sent(count, true);
            let sent = now;
            now += Duration::from_secs(1) * u32::try_from(count).unwrap() / per_second;
            load.landed(count);
            load.adapt(count, sent, now, is_in_use);
        }
        Duration::from_secs(1) * u32::try_from(load.room()).unwrap() / per_second
    }

    #[test]
    fn the_window_grows_to_what_the_primary_answers_in_time() {
        let load = Load::new(LIMIT);
        assert_eq!(load.room(), IN_FLIGHT_START);
        answer_time(&load, 100_000, 6);
        assert_eq!(load.room(), IN_FLIGHT_MAX, "it doubles each time");
        for per_second in [1000, 100, 10] {
            let time = answer_time(&load, per_second, 30);
            assert!(time <= LIMIT / 2, "{per_second} per second: {time:?}");
            assert!(time >= LIMIT / 16, "{per_second} per second: {time:?}");
        }
        assert!(answer_time(&load, 1, 30) <= Duration::from_secs(2), "never less than two");
        answer_time(&load, 100_000, 12);
        assert_eq!(load.room(), IN_FLIGHT_MAX, "it is fast again");
        load.start_over();
        assert_eq!(load.room(), IN_FLIGHT_START);
    }

    #[test]
    fn what_was_sent_before_the_window_was_halved_does_not_halve_it_again() {
        let load = Load::new(LIMIT);
        let start = super::super::dial::now();
        let late = start + LIMIT;
        for pipeline in 0..8 {
            load.adapt(8, start, late + Duration::from_millis(pipeline), true);
        }
        assert_eq!(load.room(), IN_FLIGHT_START / 2);
        load.adapt(8, late, late + LIMIT, true);
        assert_eq!(load.room(), IN_FLIGHT_START / 4);
    }

    #[test]
    fn a_window_that_is_not_in_use_does_not_grow() {
        let load = Load::new(LIMIT);
        let now = super::super::dial::now();
        for _ in 0..1000 {
            let is_in_use = load.sent(1, false);
            load.landed(1);
            load.adapt(1, now, now, is_in_use);
        }
        assert_eq!(load.room(), IN_FLIGHT_START);
    }

    #[test]
    fn what_no_caller_needs_soon_takes_a_part_of_the_window() {
        let load = Load::new(LIMIT);
        let mut taken = 0;
        while load.has_spare_room(0) {
            load.sent(1, false);
            taken += 1;
        }
        assert_eq!(taken, IN_FLIGHT_START / SPARE_SHARE);
        load.landed(taken);
        assert!(!load.has_spare_room(taken), "others wait");
        let start = super::super::dial::now();
        for second in 0..10 {
            let at = start + second * LIMIT;
            load.adapt(1, at, at + LIMIT, false);
        }
        assert!(load.has_spare_room(0) && !load.has_spare_room(1), "one at a time is always sent");
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

    /// A load between what spare commands may take and what makes the window grow would otherwise refuse them for ever.
    #[test]
    fn the_window_grows_until_there_is_room_for_spare_commands() {
        const STEADY: usize = 100;
        let load = Load::new(LIMIT);
        let mut time = super::super::dial::now();
        for _ in 0..100 {
            if load.has_spare_room(STEADY) {
                return;
            }
            let is_in_use = load.sent(STEADY, false);
            load.landed(STEADY);
            let sent = time;
            time += Duration::from_millis(5);
            load.adapt(STEADY, sent, time, is_in_use);
        }
        panic!("there is never room");
    }
}
