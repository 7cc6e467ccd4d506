//! Metrics with labels, of which the common ones are found without a lock.

use super::{Counter, Durations, Scale};
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeMetric},
    metrics::{TypedMetric, family::Family},
    registry::Registry,
};
use std::{fmt::Debug, hash::Hash};

/// A family of metrics. Those that are named at the start are exported from the start, and finding one of them reads
/// nothing that another thread writes; for any other, a lock is taken. Clones are the same family.
#[derive(Debug, Clone)]
pub struct Labelled<L: Eq + Hash, M> {
    family: Family<L, M>,
    named: Box<[(L, M)]>,
}

/// A family of counters.
pub type Counters<L> = Labelled<L, Counter>;

impl<L, M> Labelled<L, M>
where
    L: Clone + Debug + Eq + Hash + EncodeLabelSet + Send + Sync + 'static,
    M: Clone + Debug + Default + EncodeMetric + TypedMetric + Send + Sync + 'static,
{
    /// A family whose usual labels are these: few, because they are searched one after the other.
    pub fn new(named: impl IntoIterator<Item = L>) -> Self {
        let family = Family::<L, M>::default();
        let metric = |labels: L| {
            let metric = family.get_or_create(&labels).clone();
            (labels, metric)
        };
        let named = named.into_iter().map(metric).collect();
        Self { family, named }
    }

    /// Exports the family.
    pub fn register(&self, registry: &mut Registry, name: &str, help: &str) {
        registry.register(name, help, self.family.clone());
    }

    fn with(&self, labels: &L, act: impl FnOnce(&M)) {
        match self.named.iter().find(|(named, _)| named == labels) {
            Some((_, metric)) => act(metric),
            None => act(&self.family.get_or_create(labels)),
        }
    }
}

impl<L> Counters<L>
where
    L: Clone + Debug + Eq + Hash + EncodeLabelSet + Send + Sync + 'static,
{
    /// Counts one.
    pub fn inc(&self, labels: &L) {
        self.with(labels, |counter| {
            counter.inc();
        });
    }

    /// Counts several.
    pub fn inc_by(&self, labels: &L, count: u64) {
        self.with(labels, |counter| {
            counter.inc_by(count);
        });
    }
}

impl<L, S: Scale> Labelled<L, Durations<S>>
where
    L: Clone + Debug + Eq + Hash + EncodeLabelSet + Send + Sync + 'static,
{
    /// Counts a duration between two readings of a clock, in microseconds.
    pub fn observe(&self, labels: &L, from_us: u64, until_us: u64) {
        self.with(labels, |durations| durations.observe(from_us, until_us));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::encoding::text;

    #[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
    struct Status {
        status: u16,
    }

    #[test]
    fn named_and_other_labels_are_one_family() {
        let counters = Counters::new([200, 202].map(|status| Status { status }));
        for status in [200, 200, 404] {
            counters.inc(&Status { status });
        }
        let durations = Labelled::<Status, Durations>::new([Status { status: 200 }]);
        durations.observe(&Status { status: 200 }, 1_000_000, 3_000_000);
        let mut registry = Registry::default();
        counters.register(&mut registry, "requests", "Help");
        durations.register(&mut registry, "request_duration_seconds", "Help");
        let mut encoded = String::new();
        text::encode(&mut encoded, &registry).expect("nothing fails");
        for line in [
            "requests_total{status=\"200\"} 2",
            "requests_total{status=\"202\"} 0",
            "requests_total{status=\"404\"} 1",
            "request_duration_seconds_sum{status=\"200\"} 2.0",
        ] {
            assert!(encoded.lines().any(|candidate| candidate == line), "{line} is not in\n{encoded}");
        }
    }
}
