//! What processes cost: the differences between looks at them.

use crate::measure::{Sample, Usage};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a process costs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Growth of its memory, bytes: from the first rest to the last one before sending; with one rest only,
    /// from the start.
    pub rss_per_client: Option<f64>,
    /// The same, to the rest after sending.
    pub rss_per_client_after: Option<f64>,
    /// CPU from the start until all clients were ready, microseconds.
    pub cpu_us_per_connect: Option<f64>,
    /// CPU of a second in which nothing was sent, microseconds.
    pub cpu_us_per_idle_second: Option<f64>,
    /// CPU of sending and delivering, microseconds.
    pub cpu_us_per_notification: Option<f64>,
}

/// What each process cost, by name.
pub fn costs(samples: &[Sample], delivered: u64) -> BTreeMap<String, Cost> {
    let Some(start) = samples.first() else { return BTreeMap::new() };
    let names = start.processes.keys();
    names.map(|name| (name.clone(), cost(name, samples, delivered))).collect()
}

fn cost(name: &str, samples: &[Sample], delivered: u64) -> Cost {
    let look = |label: &'static str| {
        move |sample: &&Sample| sample.label == label && sample.processes.contains_key(name)
    };
    let first = |label| samples.iter().find(look(label));
    let last = |label| samples.iter().rfind(look(label));
    let usage = |sample: &Sample| sample.processes.get(name).cloned().unwrap_or_default();
    let share = |amount: f64, count: u64| (count > 0).then(|| amount / count as f64);
    let growth = |from: Option<&Sample>, to: Option<&Sample>| {
        let (from, to) = (from?, to?);
        let grown = usage(to).rss as f64 - usage(from).rss as f64;
        share(grown, to.clients.saturating_sub(from.clients))
    };
    let spent = |from: Option<&Sample>, to: Option<&Sample>| {
        let cpu = |sample: &Sample| Usage::cpu_us(&usage(sample)) as f64;
        Some(cpu(to?) - cpu(from?))
    };

    let settled = last("settled");
    let base = first("settled").filter(|first| settled.is_some_and(|last| last.clients > first.clients));
    let base = base.or_else(|| first("start"));
    let clients = settled.map_or(0, |settled| settled.clients);
    let idle_us = last("idle").zip(settled).map_or(0, |(idle, settled)| idle.at_us - settled.at_us);
    let idle = spent(settled, last("idle")).and_then(|spent| share(spent * 1e6, idle_us));
    Cost {
        rss_per_client: growth(base, settled),
        rss_per_client_after: growth(base, last("rested")),
        cpu_us_per_connect: spent(first("start"), last("connected")).and_then(|spent| share(spent, clients)),
        cpu_us_per_idle_second: idle.and_then(|idle| share(idle, clients)),
        cpu_us_per_notification: spent(last("sending"), last("end"))
            .and_then(|spent| share(spent, delivered)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Kernel;

    fn sample(label: &str, at_us: u64, clients: u64, rss: u64, user_us: u64) -> Sample {
        let usage = Usage { rss, user_us, ..Usage::default() };
        let processes = BTreeMap::from([("node".to_owned(), usage)]);
        Sample { label: label.to_owned(), at_us, clients, processes, kernel: Kernel::default() }
    }

    #[test]
    fn costs_are_differences_between_samples() {
        let samples = [
            sample("start", 0, 0, 1_000_000, 0),
            sample("connected", 1, 2_000, 0, 200_000),
            sample("settled", 2, 2_000, 3_000_000, 200_000),
            sample("connected", 3, 18_000, 0, 1_800_000),
            sample("settled", 4_000_000, 18_000, 35_000_000, 1_800_000),
            sample("idle", 14_000_000, 18_000, 35_000_000, 1_980_000),
            sample("sending", 14_000_000, 18_000, 35_000_000, 2_000_000),
            sample("end", 20_000_000, 18_000, 0, 3_000_000),
            sample("rested", 21_000_000, 18_000, 43_000_000, 3_000_000),
        ];
        let expected = Cost {
            rss_per_client: Some(2_000.0),
            rss_per_client_after: Some(2_500.0),
            cpu_us_per_connect: Some(100.0),
            cpu_us_per_idle_second: Some(1.0),
            cpu_us_per_notification: Some(50.0),
        };
        assert_eq!(costs(&samples, 20_000)["node"], expected);
    }

    #[test]
    fn what_was_not_measured_is_missing() {
        let samples = [
            sample("start", 0, 0, 1_000_000, 0),
            sample("connected", 1, 1_000, 0, 0),
            sample("settled", 2, 1_000, 3_000_000, 0),
        ];
        let cost = costs(&samples, 0)["node"];
        assert_eq!(cost.rss_per_client, Some(2_000.0));
        assert_eq!((cost.cpu_us_per_notification, cost.cpu_us_per_idle_second), (None, None));
    }
}
