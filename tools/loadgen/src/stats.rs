//! What a run counts.

use crate::ledger::{Delivery, Ledger};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The longest time that is recorded, in microseconds; longer ones count as this.
const TIME_MAX_US: u64 = 600_000_000;

/// Digits of a time that are kept.
const DIGITS: u8 = 3;

/// Different reasons that are counted apart; the rest counts as `other`.
const REASONS_MAX: usize = 64;

/// Microseconds, and how often.
pub type Buckets = Vec<(u64, u64)>;

/// Times, from 1 microsecond to 10 minutes.
#[derive(Debug, Clone)]
pub struct Times(Histogram<u32>);

impl Default for Times {
    fn default() -> Self {
        #[expect(clippy::expect_used, reason = "the bounds are constants that a histogram can have")]
        Self(Histogram::new_with_bounds(1, TIME_MAX_US, DIGITS).expect("a histogram"))
    }
}

/// A few numbers that stand for many times, microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Quantiles {
    pub count: u64,
    pub p50_us: u64,
    pub p90_us: u64,
    pub p99_us: u64,
    pub p999_us: u64,
    pub max_us: u64,
}

impl Times {
    /// Counts a time.
    pub fn record(&mut self, us: u64) {
        self.0.saturating_record(us.max(1));
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.0.reset();
    }

    /// A summary.
    pub fn quantiles(&self) -> Quantiles {
        let at = |quantile| if self.0.is_empty() { 0 } else { self.0.value_at_quantile(quantile) };
        Quantiles {
            count: self.0.len(),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: at(1.0),
        }
    }

    /// Counts the times of another run too, as its [`Times::buckets`] give them.
    pub fn add(&mut self, buckets: &Buckets) {
        for (us, count) in buckets {
            self.0.saturating_record_n(*us, u32::try_from(*count).unwrap_or(u32::MAX));
        }
    }

    /// Every time that was counted, and how often: several runs can be added up.
    pub fn buckets(&self) -> Buckets {
        self.0
            .iter_recorded()
            .map(|step| (step.value_iterated_to(), u64::from(step.count_at_value())))
            .collect()
    }
}

/// What happened in one second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tick {
    /// Its end, since the run began.
    pub at_us: u64,
    /// Clients with all their endpoints, at its end.
    pub clients: u64,
    /// Notifications sent.
    pub sent: u64,
    /// Notifications delivered for the first time.
    pub delivered: u64,
    /// Time from the moment that a notification was due until it was delivered.
    pub latency: Quantiles,
}

/// What a run counts.
#[derive(Debug, Default)]
pub struct Stats {
    /// From hello to its answer.
    pub hello: Times,
    /// From the beginning of the connection to the last endpoint.
    pub connect: Times,
    /// The same, of clients that came back.
    pub reconnect: Times,
    /// From the moment that a notification was due until the server had answered.
    pub answer: Times,
    /// From the moment that a notification was due until it was sent: how late this program, or a sender that
    /// was free, was.
    pub lateness: Times,
    /// From the moment that a notification was due until it was delivered.
    pub delivery: Times,
    /// Answers by status.
    pub answers: BTreeMap<u16, u64>,
    /// Requests whose connection ended, or that took too long.
    pub unanswered: u64,
    /// Requests that were made again after a refusal.
    pub retried: u64,
    /// Notifications that were due when sending ended and had not been sent.
    pub overdue: u64,
    /// Notifications delivered for the first time.
    pub delivered: u64,
    /// Deliveries after the first, with the same id.
    pub duplicated: u64,
    /// Deliveries after the first, with another id.
    pub stored_twice: u64,
    /// Deliveries after a newer one.
    pub disordered: u64,
    /// Deliveries of what this run has not sent.
    pub foreign: u64,
    /// Clients that were given another UAID when they came back.
    pub renamed: u64,
    /// Connections that were dropped on purpose.
    pub dropped: u64,
    /// Connections that failed or were closed, by reason.
    pub failures: BTreeMap<String, u64>,
    /// Second by second.
    pub timeline: Vec<Tick>,
    second: Times,
    sent_before: u64,
    delivered_before: u64,
}

impl Stats {
    /// Counts a delivery.
    pub fn delivery(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::First { latency_us } => {
                self.delivered += 1;
                self.delivery.record(latency_us);
                self.second.record(latency_us);
            }
            Delivery::Duplicate => self.duplicated += 1,
            Delivery::StoredTwice => self.stored_twice += 1,
            Delivery::Disordered => self.disordered += 1,
            Delivery::Foreign => self.foreign += 1,
        }
    }

    /// Counts a connection that failed or was closed.
    pub fn failure(&mut self, reason: &str) {
        if let Some(count) = self.failures.get_mut(reason) {
            *count += 1;
            return;
        }
        let reason = if self.failures.len() < REASONS_MAX { reason } else { "other" };
        *self.failures.entry(reason.to_owned()).or_default() += 1;
    }

    /// Ends a second and returns it.
    pub fn tick(&mut self, at_us: u64, clients: u64, ledger: &Ledger) -> Tick {
        let (sent, delivered) = (ledger.len() - self.sent_before, self.delivered - self.delivered_before);
        let tick = Tick { at_us, clients, sent, delivered, latency: self.second.quantiles() };
        self.second.clear();
        self.sent_before = ledger.len();
        self.delivered_before = self.delivered;
        self.timeline.push(tick);
        tick
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_exact_to_three_digits() {
        let mut times = Times::default();
        assert_eq!(times.quantiles(), Quantiles::default());
        (1..=1_000).for_each(|us| times.record(us));
        let quantiles = times.quantiles();
        assert_eq!((quantiles.p50_us, quantiles.p99_us, quantiles.max_us), (500, 990, 1_000));
        times.record(u64::MAX);
        assert!(times.quantiles().max_us >= TIME_MAX_US);
        let counted: u64 = times.buckets().iter().map(|(_, count)| count).sum();
        assert_eq!(counted, 1_001);
    }

    #[test]
    fn a_tick_counts_what_came_since_the_last() {
        let (mut stats, mut ledger) = (Stats::default(), Ledger::new(0, 1, true));
        ledger.sent(0, 0);
        stats.delivery(ledger.delivered(0, 0, "", 70));
        let tick = stats.tick(1_000_000, 1, &ledger);
        assert_eq!((tick.sent, tick.delivered, tick.latency.max_us), (1, 1, 70));
        let tick = stats.tick(2_000_000, 1, &ledger);
        assert_eq!((tick.sent, tick.delivered, tick.latency.max_us), (0, 0, 0));
    }
}
