//! Which requests are traced.

use beckon_listener::rate::{Limiter, Rate};
use beckon_types::RequestId;
use std::sync::atomic::{AtomicU64, Ordering};

/// Decides which requests are traced: those of traces that their senders sample, and a share of those that belong to no trace.
/// Both together are limited, and the former once more, because anybody can send a `traceparent`.
#[derive(Debug)]
pub struct Sampler {
    /// A request that belongs to no trace is traced if its id is below this.
    below: AtomicU64,
    all: Limiter,
    of_senders: Limiter,
}

impl Sampler {
    /// A share from 0 to 1 of the requests without a trace, and no more traces than `rate`, of which half are for these requests
    /// in any case.
    pub fn new(ratio: f64, rate: Rate) -> Self {
        let (all, of_senders) = (Limiter::new(rate), Limiter::new(half(rate)));
        Self { below: AtomicU64::new(below(ratio)), all, of_senders }
    }

    /// Another share, and another rate.
    pub fn set(&self, ratio: f64, rate: Rate) {
        self.below.store(below(ratio), Ordering::Relaxed);
        self.all.set_rate(rate);
        self.of_senders.set_rate(half(rate));
    }

    /// Whether a request is traced, at this reading of the node's clock. `parent` is whether its sender samples the trace that
    /// it belongs to; `None`: it belongs to none.
    pub fn samples(&self, request: RequestId, parent: Option<bool>, now_us: u64) -> bool {
        // The ids are evenly distributed.
        let below = self.below.load(Ordering::Relaxed);
        let is_wanted = parent.unwrap_or(below == u64::MAX || request.0 < below);
        // Senders pay with their half only for what they get.
        let has_room = || {
            parent.is_none()
                || (!self.all.is_spent((), 1, now_us) && self.of_senders.admit((), 1, now_us).is_ok())
        };
        is_wanted && has_room() && self.all.admit((), 1, now_us).is_ok()
    }
}

/// As often in twice the time, so that it is not zero.
fn half(rate: Rate) -> Rate {
    Rate { period: rate.period * 2, ..rate }
}

/// The id below which requests are traced: that of all is the largest number.
fn below(ratio: f64) -> u64 {
    (ratio * u64::MAX as f64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const UNLIMITED: Rate = Rate { count: 0, period: Duration::ZERO };

    #[test]
    fn the_sender_decides_before_the_ratio_does() {
        let (lowest, middle, highest) = (RequestId(1), RequestId(1 << 63), RequestId(u64::MAX));
        for (ratio, parent, sampled) in [
            (0.0, None, [false, false, false]),
            (0.25, None, [true, false, false]),
            (0.75, None, [true, true, false]),
            (1.0, None, [true, true, true]),
            (0.0, Some(true), [true, true, true]),
            (1.0, Some(false), [false, false, false]),
        ] {
            let sampler = Sampler::new(ratio, UNLIMITED);
            let found = [lowest, middle, highest].map(|request| sampler.samples(request, parent, 0));
            assert_eq!(found, sampled, "{ratio} {parent:?}");
        }
    }

    #[test]
    fn no_more_are_traced_than_the_rate_and_half_of_that_for_senders() {
        for (parent, traced) in [(None, (10, 5, 10)), (Some(true), (10, 2, 10))] {
            let sampler = Sampler::new(1.0, Rate { count: 10, period: Duration::from_secs(1) });
            let count = |now_us| (0..100).filter(|_| sampler.samples(RequestId(1), parent, now_us)).count();
            assert_eq!((count(0), count(500_000), count(5_000_000)), traced, "{parent:?}");
        }
    }

    #[test]
    fn senders_leave_half_of_the_rate_to_requests_without_a_trace() {
        for per_second in [1, 10] {
            let sampler = Sampler::new(1.0, Rate { count: per_second, period: Duration::from_secs(1) });
            let mut own = 0;
            for ms in 0..100_000 {
                // A stranger asks ten times for each request of others.
                (0..10).for_each(|_| _ = sampler.samples(RequestId(1), Some(true), ms * 1000));
                own += u32::from(ms % 20 == 19 && sampler.samples(RequestId(1), None, ms * 1000));
            }
            let fair = per_second * 50;
            assert!((fair * 9 / 10..=fair * 11 / 10).contains(&own), "{own} of {fair}");
        }
    }
}
