//! Counting and logging the steps that the store did not perform.

use beckon_ops::log_throttle::{self, LogThrottle};
use beckon_store::{Cause, StoreError};
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder},
    metrics::{counter::Counter, family::Family},
};
use std::fmt;

/// A counter with the label `cause`.
pub type StepFailureCounter = Family<CauseLabels, Counter>;

/// The labels of a [`StepFailureCounter`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CauseLabels {
    cause: CauseLabel,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct CauseLabel(Cause);

impl EncodeLabelValue for CauseLabel {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        self.0.label().encode(encoder)
    }
}

/// Counts each failed step by its cause, and logs the reason once a minute for each cause.
#[derive(Debug)]
pub struct StepFailures {
    counter: StepFailureCounter,
    throttle: LogThrottle<Cause>,
}

impl StepFailures {
    /// Counts in this counter, which has every cause from the start.
    #[must_use]
    pub fn new(counter: StepFailureCounter) -> Self {
        for cause in Cause::ALL {
            drop(counter.get_or_create(&CauseLabels { cause: CauseLabel(cause) }));
        }
        Self { counter, throttle: LogThrottle::new(log_throttle::INTERVAL) }
    }

    /// Counts a failed step in a counter of a [`StepFailures`]. Its caller logs it.
    pub fn count(counter: &StepFailureCounter, error: &StoreError) {
        counter.get_or_create(&CauseLabels { cause: CauseLabel(error.cause()) }).inc();
    }

    /// Counts a failed step and perhaps logs it. `now_ms` is from a clock that does not go back.
    pub fn record(&self, error: &StoreError, now_ms: u64) {
        let cause = error.cause();
        Self::count(&self.counter, error);
        let Some(suppressed) = self.throttle.admit(cause, now_ms) else { return };
        let message = "the store did not perform a step";
        match error {
            StoreError::Unavailable { .. } => tracing::warn!(%error, suppressed, message),
            // It fails each time until the record is repaired.
            StoreError::Unreadable(_) => tracing::error!(%error, suppressed, message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::{encoding::text, registry::Registry};

    #[test]
    fn failures_are_counted_by_cause_and_every_cause_is_there() {
        let (mut registry, counter) = (Registry::default(), StepFailureCounter::default());
        registry.register("steps_failed", "Help", counter.clone());
        let failures = StepFailures::new(counter);
        failures.record(&StoreError::unavailable(Cause::Full, "OOM"), 0);
        failures.record(&StoreError::unavailable(Cause::Full, "OOM"), 1);
        failures.record(&StoreError::Unreadable("record".into()), 2);
        let mut encoded = String::new();
        text::encode(&mut encoded, &registry).unwrap();
        for cause in Cause::ALL {
            let count =
                [(Cause::Full, 2), (Cause::Unreadable, 1)].iter().find(|(failed, _)| *failed == cause);
            let count = count.map_or(0, |(_, count)| *count);
            let line = format!("steps_failed_total{{cause=\"{cause}\"}} {count}\n");
            assert!(encoded.contains(&line), "{line} is not in\n{encoded}");
        }
    }
}
