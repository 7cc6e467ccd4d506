//! Fuzz target for what other nodes say about themselves.

use super::Difference;
use beckon_proto::{admin::Status, push_v1 as wire};
use prost::Message as _;

/// Answers of a node, each with its length in two bytes before it: what happened between each and the next, and the sum of
/// that. Quantiles are not beyond the bounds of their histograms.
pub fn node_statuses(data: &[u8]) {
    let mut rest = data;
    let mut statuses: Vec<Status> = Vec::new();
    while let Some((len, after)) = rest.split_first_chunk() {
        let len = usize::from(u16::from_be_bytes(*len)).min(after.len());
        if let Ok(status) = wire::NodeStatus::decode(&after[..len]) {
            statuses.push(status.into());
        }
        rest = &after[len..];
    }
    let mut sum = Difference::default();
    for (before, after) in statuses.iter().zip(statuses.iter().skip(1)) {
        if let Some(difference) = Difference::between(before, after) {
            assert!(difference.rates.values().all(|rate| *rate >= 0.0));
            sum.add(&difference);
        }
    }
    for (name, quantiles) in sum.quantiles() {
        let bounds = &sum.histograms[&name].bounds;
        for quantile in [quantiles.p50, quantiles.p99] {
            let is_within = quantile == 0.0 || bounds.iter().any(|bound| quantile <= *bound);
            assert!(is_within, "{quantile} in {bounds:?}");
        }
        assert!(serde_json::to_string(&quantiles).is_ok());
    }
}
