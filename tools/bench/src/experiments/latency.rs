//! From the moment that a notification is due until it is delivered, at rates that do not wait for answers.

use super::figures::{clients, cpu_of_notification, put_sends};
use crate::{
    chart::{Chart, Series},
    cluster::{Cluster, programs},
    console::tell,
    findings::{Findings, Run},
    load::Load,
    settings::Settings,
};
use beckon_loadgen::stats::Quantiles;
use beckon_ops::exit::Failure;
use beckon_testbed::plan::Plan;

const CLIENTS: u32 = 15_000;

/// Notifications per second. The budget is for the third.
const RATES: [u32; 5] = [500, 1_000, 2_000, 4_000, 8_000];

/// Senders: enough for an answer that takes long not to delay the next notification.
const SENDERS: u32 = 64;

type Quantile = (&'static str, fn(&Quantiles) -> u64);

const QUANTILES: [Quantile; 4] = [
    ("p50", |times| times.p50_us),
    ("p99", |times| times.p99_us),
    ("p99.9", |times| times.p999_us),
    ("max", |times| times.max_us),
];

/// Measures one rate after the other on one cluster.
pub(super) fn conduct(settings: &Settings, findings: &mut Findings) -> Result<(), Failure> {
    let clients = clients(settings, CLIENTS)?;
    let programs = programs(settings)?;
    let cluster = Cluster::start(&programs, Plan::cluster(1, 1));
    let mut curves = QUANTILES.map(|(name, _)| Series { name: name.to_owned(), points: Vec::new() });
    for rate in RATES {
        let column = format!("{rate}/s");
        tell(&format!("latency: {column}, {clients} clients"));
        let load = Load::on(&cluster, settings.dialect)
            .with("clients", clients)
            .with("senders", SENDERS)
            .with("rate", rate)
            .with("send-for", settings.time(15));
        let report = load.run(&cluster)?;
        for ((name, quantile), curve) in QUANTILES.iter().zip(&mut curves) {
            let milliseconds = quantile(&report.send.delivery) as f64 / 1000.0;
            let budget = (*name == "p99").then_some(5.0);
            findings.put(&column, &format!("due to delivered, {name}"), "ms", budget, Some(milliseconds));
            curve.points.push((f64::from(rate), milliseconds));
        }
        let lateness = report.send.lateness.p99_us as f64 / 1000.0;
        findings.put(&column, "due to sent by loadgen, p99", "ms", None, Some(lateness));
        findings.put(&column, "due, and not sent in time", "", Some(0.0), Some(report.send.overdue as f64));
        let cpu = cpu_of_notification(&report);
        findings.put(&column, "CPU per notification, all servers", "us", None, cpu);
        put_sends(findings, &column, &report);
        findings.runs.push(Run::new(column, report));
    }
    let [p50, p99, p999, _] = curves;
    findings.charts.push(Chart::new(
        "rate",
        "Latency over the rate, open loop",
        "notifications per second",
        "ms from due to delivered",
        vec![p50, p99, p999],
    ));
    Ok(())
}
