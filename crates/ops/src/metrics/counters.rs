//! Counters with labels, of which the common ones are found without a lock.

use super::Counter;
use prometheus_client::{encoding::EncodeLabelSet, metrics::family::Family, registry::Registry};
use std::{fmt::Debug, hash::Hash};

/// A family of counters. Those that are named at the start are exported from the start, and counting one of them reads
/// nothing that another thread writes; for any other, a lock is taken. Clones are the same family.
#[derive(Debug, Clone)]
pub struct Counters<L: Eq + Hash> {
    family: Family<L, Counter>,
    named: Box<[(L, Counter)]>,
}

impl<L: Clone + Debug + Eq + Hash + EncodeLabelSet + Send + Sync + 'static> Counters<L> {
    /// A family whose usual labels are these: few, because they are searched one after the other.
    pub fn new(named: impl IntoIterator<Item = L>) -> Self {
        let family = Family::<L, Counter>::default();
        let counter = |labels: L| {
            let counter = family.get_or_create(&labels).clone();
            (labels, counter)
        };
        let named = named.into_iter().map(counter).collect();
        Self { family, named }
    }

    /// Exports the family.
    pub fn register(&self, registry: &mut Registry, name: &str, help: &str) {
        registry.register(name, help, self.family.clone());
    }

    /// Counts one.
    pub fn inc(&self, labels: &L) {
        match self.named.iter().find(|(named, _)| named == labels) {
            Some((_, counter)) => counter.inc(),
            None => self.family.get_or_create(labels).inc(),
        };
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
        let mut registry = Registry::default();
        counters.register(&mut registry, "requests", "Help");
        let mut encoded = String::new();
        text::encode(&mut encoded, &registry).expect("nothing fails");
        for (status, count) in [(200, 2), (202, 0), (404, 1)] {
            let line = format!("requests_total{{status=\"{status}\"}} {count}");
            assert!(encoded.lines().any(|candidate| candidate == line), "{line} is not in\n{encoded}");
        }
    }
}
