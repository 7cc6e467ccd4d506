//! One timer wheel for all connections of a node.
//!
//! A connection has several deadlines, most of which are postponed before they are reached. A timer for each of them
//! would cost more memory than the connection. So the wheel only knows when to wake a connection next. The connection
//! itself decides what is due then, and arms the wheel again. Waking a connection too early is harmless.

use crate::registry::Registry;
use beckon_ops::clock::Clock;
use beckon_types::{ConnectionId, Moment};
use parking_lot::Mutex;
use std::time::Duration;

/// The resolution of the wheel: a connection is woken up to this long after its deadline.
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// Number of ticks that the wheel spans, 409.6 s. A connection with a later deadline is woken once in between. The
/// default keep-alive interval of 300 s is shorter.
const SLOTS: u64 = 4096;

/// The wheel.
#[derive(Debug)]
pub(crate) struct Timers {
    wheel: Mutex<Wheel>,
}

#[derive(Debug)]
struct Wheel {
    slots: Vec<Vec<ConnectionId>>,
    /// The tick that is due next, counted from the clock's beginning.
    next: u64,
}

impl Timers {
    /// A wheel without timers.
    pub(crate) fn new(now: Moment) -> Self {
        let slots = std::iter::repeat_with(Vec::new).take(SLOTS as usize).collect();
        Self { wheel: Mutex::new(Wheel { slots, next: tick_of(now) }) }
    }

    /// Arms the wheel: the connection is woken up to one [`TICK`] after this time, or earlier if the wheel does not span
    /// the time until then.
    pub(crate) fn arm(&self, id: ConnectionId, at: Moment) {
        let mut wheel = self.wheel.lock();
        // Rounded up, so that the deadline has come when the connection is woken.
        let tick = (tick_of(at) + 1).clamp(wheel.next, wheel.next + SLOTS - 1);
        wheel.slots[(tick % SLOTS) as usize].push(id);
    }

    /// Wakes connections when they are due. Never returns.
    pub(crate) async fn run(&self, clock: &Clock, registry: &Registry) {
        let mut interval = tokio::time::interval(TICK);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            self.advance(Moment(clock.now_ms()), |id| {
                if let Some(mailbox) = registry.mailbox(id) {
                    mailbox.signal_timer();
                }
            });
        }
    }

    /// Wakes the connections that are due.
    fn advance(&self, now: Moment, mut wake: impl FnMut(ConnectionId)) {
        loop {
            let mut wheel = self.wheel.lock();
            if wheel.next > tick_of(now) {
                return;
            }
            let slot = (wheel.next % SLOTS) as usize;
            wheel.next += 1;
            // The slot's memory is freed as well, because a crowded slot may never be as crowded again.
            let due = std::mem::take(&mut wheel.slots[slot]);
            drop(wheel);
            due.into_iter().for_each(&mut wake);
        }
    }
}

fn tick_of(moment: Moment) -> u64 {
    moment.0 / TICK.as_millis() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(timers: &Timers, now: u64) -> Vec<u64> {
        let mut woken = Vec::new();
        timers.advance(Moment(now), |id| woken.push(id.0));
        woken
    }

    #[test]
    fn a_connection_is_woken_within_a_tick_after_its_deadline() {
        let timers = Timers::new(Moment(1_000));
        timers.arm(ConnectionId(1), Moment(1_050));
        timers.arm(ConnectionId(2), Moment(1_100));
        timers.arm(ConnectionId(3), Moment(2_000));
        assert!(due(&timers, 1_099).is_empty());
        assert_eq!(due(&timers, 1_100), [1]);
        assert_eq!(due(&timers, 1_200), [2]);
        assert!(due(&timers, 2_099).is_empty());
        assert_eq!(due(&timers, 9_000), [3]);
    }

    #[test]
    fn a_deadline_in_the_past_is_due_at_the_next_tick() {
        let timers = Timers::new(Moment(5_000));
        assert!(due(&timers, 5_000).is_empty());
        timers.arm(ConnectionId(1), Moment(0));
        assert_eq!(due(&timers, 5_100), [1]);
    }

    #[test]
    fn a_deadline_beyond_the_wheel_wakes_the_connection_early() {
        let timers = Timers::new(Moment(0));
        timers.arm(ConnectionId(1), Moment(u64::MAX));
        assert!(due(&timers, 409_400).is_empty());
        assert_eq!(due(&timers, 409_500), [1]);
    }
}
