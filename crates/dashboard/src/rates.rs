//! From two readings of counters to what happened in a second, and how long it took. Pure.

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;

use crate::figures::COUNTERS;
use beckon_proto::admin::{Histogram, Status};
use serde::Serialize;
use std::collections::BTreeMap;

/// Differences over longer times say nothing about now.
const INTERVAL_MAX_US: u64 = 15_000_000;

/// Shorter ones are too coarse.
const INTERVAL_MIN_US: u64 = 200_000;

/// What happened between two readings of one node, or of several.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Difference {
    /// Each in a second, by the name of the figure.
    pub(crate) rates: BTreeMap<String, f64>,
    histograms: BTreeMap<String, Histogram>,
}

/// How long something took.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Quantiles {
    /// Half of the times were no longer, in seconds.
    p50: f64,
    /// All but a hundredth were no longer.
    p99: f64,
}

impl Difference {
    /// What a node has done from one reading to a later one of the same run; `None` if they are too close together or too
    /// far apart.
    pub(crate) fn between(before: &Status, after: &Status) -> Option<Self> {
        let us = after.clock_us.checked_sub(before.clock_us)?;
        if !(INTERVAL_MIN_US..=INTERVAL_MAX_US).contains(&us) {
            return None;
        }
        let rate = |name: &str| {
            let (after, before) =
                (after.figures.get(name)?, before.figures.get(name).copied().unwrap_or(0.0));
            Some((name.to_owned(), (after - before).max(0.0) * 1e6 / us as f64))
        };
        let histogram = |(name, after): (&String, &Histogram)| {
            let before = before.histograms.get(name).filter(|before| before.bounds == after.bounds)?;
            let counts = after.counts.iter().zip(&before.counts);
            let counts = counts.map(|(after, before)| after.saturating_sub(*before)).collect();
            Some((name.clone(), Histogram { bounds: after.bounds.clone(), counts }))
        };
        Some(Self {
            rates: COUNTERS.into_iter().filter_map(rate).collect(),
            histograms: after.histograms.iter().filter_map(histogram).collect(),
        })
    }

    /// Adds what another node has done in the same time.
    pub(crate) fn add(&mut self, other: &Self) {
        for (name, rate) in &other.rates {
            *self.rates.entry(name.clone()).or_default() += rate;
        }
        for (name, histogram) in &other.histograms {
            let sum = self.histograms.entry(name.clone()).or_insert_with(|| Histogram {
                bounds: histogram.bounds.clone(),
                counts: vec![0; histogram.counts.len()],
            });
            // Nodes of another version may have other buckets. They are left out rather than mixed.
            if sum.bounds == histogram.bounds {
                let counts = sum.counts.iter_mut().zip(&histogram.counts);
                counts.for_each(|(sum, count)| *sum = sum.saturating_add(*count));
            }
        }
    }

    /// How long things took, by the name of the histogram; those that did not happen are left out.
    pub(crate) fn quantiles(&self) -> BTreeMap<String, Quantiles> {
        let quantiles = |(name, histogram): (&String, &Histogram)| {
            let (p50, p99) = (quantile(histogram, 0.5)?, quantile(histogram, 0.99)?);
            Some((name.clone(), Quantiles { p50, p99 }))
        };
        self.histograms.iter().filter_map(quantiles).collect()
    }
}

/// As Prometheus estimates it: evenly spread within a bucket. What is beyond the last bound counts as that bound.
fn quantile(histogram: &Histogram, share: f64) -> Option<f64> {
    let total = histogram.counts.last().copied().filter(|total| *total > 0)?;
    let rank = share * total as f64;
    let at = histogram.counts.iter().position(|count| *count as f64 >= rank)?;
    let (lower, below) = match at.checked_sub(1) {
        Some(before) => (histogram.bounds[before], histogram.counts[before]),
        None => (0.0, 0),
    };
    let upper = histogram.bounds[at];
    if upper.is_infinite() {
        return Some(lower);
    }
    let within = (rank - below as f64) / (histogram.counts[at] - below).max(1) as f64;
    Some(lower + (upper - lower) * within)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(clock_us: u64, accepted: f64, counts: &[u64]) -> Status {
        let bounds = vec![0.1, 0.2, f64::INFINITY];
        let histogram = Histogram { bounds, counts: counts.to_vec() };
        Status {
            clock_us,
            figures: [("accepted".to_owned(), accepted), ("memory".to_owned(), 7.0)].into(),
            histograms: [("request".to_owned(), histogram)].into(),
            ..Status::default()
        }
    }

    #[test]
    fn a_rate_is_a_difference_of_counters_by_one_of_the_clock() {
        let difference =
            Difference::between(&status(0, 100.0, &[0, 0, 0]), &status(2_000_000, 150.0, &[0, 0, 0]));
        let difference = difference.unwrap();
        assert_eq!(difference.rates, [("accepted".to_owned(), 25.0)].into());
        assert!(difference.quantiles().is_empty(), "nothing was requested");
        for (before, after) in [(0, 100_000), (0, 16_000_000), (2, 1)] {
            let readings = (status(before, 0.0, &[0; 3]), status(after, 0.0, &[0; 3]));
            assert_eq!(Difference::between(&readings.0, &readings.1), None, "{before} {after}");
        }
    }

    #[test]
    fn quantiles_of_several_nodes_are_those_of_all_their_requests() {
        let slow = Difference::between(&status(0, 0.0, &[7, 7, 7]), &status(1_000_000, 1.0, &[7, 107, 107]));
        let fast = Difference::between(&status(0, 0.0, &[0, 0, 0]), &status(500_000, 1.0, &[100, 100, 100]));
        let mut both = Difference::default();
        both.add(&slow.unwrap());
        both.add(&fast.unwrap());
        assert_eq!(both.rates["accepted"], 3.0);
        let Quantiles { p50, p99 } = both.quantiles()["request"];
        assert!((p50 - 0.1).abs() < 1e-9 && (p99 - 0.198).abs() < 1e-9, "{p50} {p99}");
    }

    #[test]
    fn what_is_beyond_the_last_bound_counts_as_that_bound() {
        let histogram = Histogram { bounds: vec![0.1, f64::INFINITY], counts: vec![0, 5] };
        assert_eq!(quantile(&histogram, 0.5), Some(0.1));
        assert_eq!(quantile(&Histogram::default(), 0.5), None);
    }
}
