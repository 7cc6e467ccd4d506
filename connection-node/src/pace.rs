//! Signalling many connections without waking all of them at once.

use crate::mailbox::Mailbox;
use beckon_ops::clock::Clock;
use std::{sync::Arc, time::Duration};

/// The longest pause between two connections of those that are spread over a time: a few of them are signalled sooner
/// than the time allows.
const GAP_MAX: Duration = Duration::from_millis(100);

/// How far behind its schedule the signalling may be and still catch up. A longer delay is not made up for, because
/// the node is busy.
const BEHIND_MAX_MS: u64 = 20;

/// Signals each connection, evenly spread over a time.
pub(crate) async fn spread(
    clock: &Clock,
    mailboxes: Vec<Arc<Mailbox>>,
    time: Duration,
    signal: impl Fn(&Mailbox),
) {
    let gap = (time / u32::try_from(mailboxes.len().max(1)).unwrap_or(u32::MAX)).min(GAP_MAX);
    signal_each(clock, mailboxes, gap, signal).await;
}

/// Signals each connection, so many in a second.
pub(crate) async fn pace(clock: &Clock, mailboxes: Vec<Arc<Mailbox>>, rate: u32, signal: impl Fn(&Mailbox)) {
    signal_each(clock, mailboxes, Duration::from_secs(1) / rate.max(1), signal).await;
}

async fn signal_each(clock: &Clock, mailboxes: Vec<Arc<Mailbox>>, gap: Duration, signal: impl Fn(&Mailbox)) {
    let mut start_ms = clock.now_ms();
    for (index, mailbox) in mailboxes.into_iter().enumerate() {
        let due_ms = start_ms + (gap.as_nanos() * index as u128 / 1_000_000) as u64;
        let now_ms = clock.now_ms();
        if due_ms > now_ms {
            tokio::time::sleep_until(clock.instant(due_ms)).await;
        } else {
            start_ms += (now_ms - due_ms).saturating_sub(BEHIND_MAX_MS);
        }
        signal(&mailbox);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{cell::RefCell, pin::pin};
    use tokio::time::timeout;

    fn mailboxes(connections: usize) -> Vec<Arc<Mailbox>> {
        std::iter::repeat_with(Arc::default).take(connections).collect()
    }

    /// When each of so many connections is signalled, in milliseconds.
    async fn signalled(connections: usize, time: Duration) -> Vec<u64> {
        let clock = Clock::start();
        let times = RefCell::new(Vec::new());
        let mailboxes = mailboxes(connections);
        spread(&clock, mailboxes, time, |_| times.borrow_mut().push(clock.now_ms())).await;
        times.into_inner()
    }

    #[tokio::test(start_paused = true)]
    async fn a_few_connections_follow_each_other_closely() {
        assert!(signalled(0, Duration::from_secs(60)).await.is_empty());
        assert_eq!(signalled(4, Duration::from_secs(60)).await, [0, 100, 200, 300]);
        assert_eq!(signalled(3, Duration::ZERO).await, [0, 0, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn many_connections_are_spread_evenly_over_the_time() {
        for connections in [1_000, 100_000] {
            let times = signalled(connections, Duration::from_secs(10)).await;
            assert_eq!(times.len(), connections);
            for (quarter, at_ms) in [(1, 2_500), (2, 5_000), (3, 7_500)] {
                let time = times[connections * quarter / 4];
                assert!(time.abs_diff(at_ms) <= 10, "{connections}: {quarter}/4 at {time} ms");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_is_kept_whatever_the_number() {
        for (connections, rate) in [(10, 2), (1_000, 100), (100_000, 10_000)] {
            let clock = Clock::start();
            pace(&clock, mailboxes(connections), rate, |_| {}).await;
            let expected_ms = (connections as u64 - 1) * 1_000 / u64::from(rate);
            let took_ms = clock.now_ms();
            assert!(took_ms.abs_diff(expected_ms) <= 10, "{connections} at {rate}: {took_ms} ms");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_node_does_not_make_up_for_a_delay() {
        let clock = Clock::start();
        let times = RefCell::new(Vec::new());
        let signal = |_: &Mailbox| times.borrow_mut().push(clock.now_ms());
        let mailboxes = mailboxes(100);
        {
            let mut paced = pin!(spread(&clock, mailboxes, Duration::from_secs(1), signal));
            assert!(timeout(Duration::from_millis(105), &mut paced).await.is_err());
            tokio::time::advance(Duration::from_millis(400)).await;
            paced.await;
        }
        let times = times.into_inner();
        assert_eq!(times.len(), 100);
        let at_once = times.iter().filter(|time| (400..=530).contains(*time)).count();
        assert!(at_once <= 6, "{at_once} at once after a delay: {times:?}");
    }
}
