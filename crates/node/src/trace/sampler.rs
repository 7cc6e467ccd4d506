//! Which requests are traced.

use beckon_listener::rate::{Limiter, Rate};
use beckon_types::RequestId;
use std::sync::atomic::{AtomicU64, Ordering};

/// Decides which requests are traced: those of traces that their senders sample, and a share of those that belong to no trace.
/// Both together are limited, because anybody can send a `traceparent`.
#[derive(Debug)]
pub struct Sampler {
    /// A request that belongs to no trace is traced if its id is below this.
    below: AtomicU64,
    limiter: Limiter,
}

impl Sampler {
    /// A share from 0 to 1 of the requests without a trace, and no more traces than `rate`.
    pub fn new(ratio: f64, rate: Rate) -> Self {
        Self { below: AtomicU64::new(below(ratio)), limiter: Limiter::new(rate) }
    }

    /// Another share, and another rate.
    pub fn set(&self, ratio: f64, rate: Rate) {
        self.below.store(below(ratio), Ordering::Relaxed);
        self.limiter.set_rate(rate);
    }

    /// Whether a request is traced, at this reading of the node's clock. `parent` is whether its sender samples the trace that
    /// it belongs to; `None`: it belongs to none.
    pub fn samples(&self, request: RequestId, parent: Option<bool>, now_us: u64) -> bool {
        // The ids are evenly distributed.
        let below = self.below.load(Ordering::Relaxed);
        let is_wanted = parent.unwrap_or(below == u64::MAX || request.0 < below);
        is_wanted && self.limiter.admit((), 1, now_us).is_ok()
    }
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
    fn no_sender_has_more_traced_than_the_rate() {
        let sampler = Sampler::new(0.0, Rate { count: 10, period: Duration::from_secs(1) });
        let count = |now_us| (0..100).filter(|_| sampler.samples(RequestId(1), Some(true), now_us)).count();
        assert_eq!((count(0), count(500_000), count(5_000_000)), (10, 5, 10));
    }
}
