//! The metrics `endpoint_node_streams`: which connection-nodes can be reached.

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, gauge::ConstGauge},
};
use std::{collections::BTreeMap, fmt, sync::Arc};

/// The streams to one run of a node.
#[derive(Debug)]
pub(super) struct NodeStreams {
    /// What operators call the node.
    pub(super) node: String,
    /// How many streams are open.
    pub(super) open: usize,
    /// How many there should be: one for each worker of the node.
    pub(super) all: usize,
}

/// Something that has streams to nodes.
pub(super) trait Count: Send + Sync + 'static {
    /// The streams to each run of each node.
    fn count(&self) -> Vec<NodeStreams>;
}

/// Counts the streams at each scrape.
pub(super) struct Streams<C>(pub(super) Arc<C>);

impl<C> fmt::Debug for Streams<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Streams")
    }
}

impl<C: Count> Collector for Streams<C> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        // For a while after a restart the directory has two runs of a node, and a metric must not have the same labels
        // twice.
        let mut by_name: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        for NodeStreams { node, open, all } in self.0.count() {
            let sums = by_name.entry(node).or_default();
            (sums.0, sums.1) = (sums.0 + open, sums.1 + all);
        }
        let help = "Streams to the workers of each connection-node that is known, by whether they are open";
        let mut family = encoder.encode_descriptor("node_streams", help, None, MetricType::Gauge)?;
        for (node, (open, all)) in &by_name {
            for (state, count) in [("open", *open), ("closed", all - open)] {
                let gauge = ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX));
                gauge.encode(family.encode_family(&[("node", node.as_str()), ("state", state)])?)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::{encoding::text, registry::Registry};

    impl Count for Vec<(&'static str, usize, usize)> {
        fn count(&self) -> Vec<NodeStreams> {
            let of = |(node, open, all): &(&str, usize, usize)| NodeStreams {
                node: (*node).to_owned(),
                open: *open,
                all: *all,
            };
            self.iter().map(of).collect()
        }
    }

    #[test]
    fn two_runs_of_a_node_are_one_sample() {
        let mut registry = Registry::default();
        let streams = Streams(Arc::new(vec![("east", 2, 2), ("west", 1, 4), ("east", 0, 2)]));
        registry.register_collector(Box::new(streams));
        let mut encoded = String::new();
        text::encode(&mut encoded, &registry).expect("nothing fails");
        let samples: Vec<&str> = encoded.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            samples,
            [
                r#"node_streams{node="east",state="open"} 2"#,
                r#"node_streams{node="east",state="closed"} 2"#,
                r#"node_streams{node="west",state="open"} 1"#,
                r#"node_streams{node="west",state="closed"} 3"#,
            ]
        );
    }
}
