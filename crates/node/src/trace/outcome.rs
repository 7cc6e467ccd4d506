//! What becomes of spans, as a metric.

use beckon_ops::metrics::Counters;
use prometheus_client::{encoding::EncodeLabelSet, registry::Registry};

/// What became of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The collector has it.
    Exported,
    /// Too many waited.
    Dropped,
    /// The collector could not be reached, or did not answer in time.
    Failed,
    /// The collector did not want it.
    Rejected,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

impl From<Outcome> for OutcomeLabels {
    fn from(outcome: Outcome) -> Self {
        let outcome = match outcome {
            Outcome::Exported => "exported",
            Outcome::Dropped => "dropped",
            Outcome::Failed => "failed",
            Outcome::Rejected => "rejected",
        };
        Self { outcome }
    }
}

/// `trace_spans_total["outcome"]`: spans that have ended, by what became of them. Clones are the same metric.
#[derive(Debug, Clone)]
pub struct Spans(Counters<OutcomeLabels>);

impl Spans {
    /// A metric that the registry exports.
    pub fn register(registry: &mut Registry) -> Self {
        let all = [Outcome::Exported, Outcome::Dropped, Outcome::Failed, Outcome::Rejected];
        let spans = Counters::new(all.map(OutcomeLabels::from));
        spans.register(registry, "trace_spans", "Spans of traced requests, by what became of exporting them");
        Self(spans)
    }

    pub(super) fn count(&self, outcome: Outcome, spans: usize) {
        self.0.inc_by(&outcome.into(), spans as u64);
    }
}
