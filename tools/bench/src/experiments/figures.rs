//! What several experiments read from a report and put into their findings.

use crate::{
    findings::Findings,
    machine,
    settings::Settings,
    unit::{self, Arrivals, Unit},
};
use beckon_loadgen::{measure::Sample, report::Report};
use beckon_ops::exit::Failure;
use std::path::Path;

/// The name under which load generators measure themselves.
pub(super) const LOADGEN: &str = "loadgen";

/// Senders of a closed loop, as in `docs/performance.md`.
pub(super) const SENDERS: u32 = 32;

/// CPU of all servers together for a notification, microseconds.
pub(super) fn cpu_of_notification(report: &Report) -> Option<f64> {
    sum(report, |cost| cost.cpu_us_per_notification)
}

/// CPU of all servers together for a connect with hello and registers, microseconds.
pub(super) fn cpu_of_connect(report: &Report) -> Option<f64> {
    sum(report, |cost| cost.cpu_us_per_connect)
}

pub(super) fn sum(report: &Report, cost: impl Fn(&beckon_loadgen::cost::Cost) -> Option<f64>) -> Option<f64> {
    let servers = report.processes.iter().filter(|(name, _)| *name != LOADGEN);
    servers.map(|(_, of_one)| cost(of_one)).sum()
}

/// Memory of a process in the last sample of that label, bytes.
pub(super) fn rss(report: &Report, label: &str, name: &str) -> Option<f64> {
    last(report, label)?.processes.get(name).map(|usage| usage.rss as f64)
}

fn last<'a>(report: &'a Report, label: &str) -> Option<&'a Sample> {
    report.samples.iter().rfind(|sample| sample.label == label)
}

/// Writes down what every run with notifications tells.
pub(super) fn put_sends(findings: &mut Findings, column: &str, report: &Report) {
    let send = &report.send;
    findings.put(column, "delivered", "1/s", None, Some(send.delivered_per_second));
    findings.put(column, "accepted, not delivered", "", Some(0.0), Some(send.lost as f64));
    findings.put(column, "delivered twice", "", None, Some(send.duplicated as f64));
    findings.put(column, "refused or unanswered", "", Some(0.0), Some(refused(report) as f64));
}

/// Notifications that were refused or not answered.
pub(super) fn refused(report: &Report) -> u64 {
    let errors = report.send.answers.iter().filter(|(status, _)| **status >= 300);
    errors.map(|(_, count)| count).sum::<u64>() + report.send.unanswered
}

/// Writes down what the load generator itself took.
pub(super) fn put_loadgen(findings: &mut Findings, column: &str, report: &Report) {
    let cost = report.processes.get(LOADGEN).copied().unwrap_or_default();
    let cpu = cost.cpu_us_per_notification;
    findings.put(column, "loadgen, CPU per notification", "us", Some(15.0), cpu);
    findings.put(column, "loadgen, memory per client", "bytes", Some(2_048.0), cost.rss_per_client);
}

/// The number of clients at this scale, if one process may have so many files.
pub(super) fn clients(settings: &Settings, count: u32) -> Result<u32, Failure> {
    let clients = settings.scaled(count);
    machine::need_files(clients)?;
    Ok(clients)
}

/// Seconds for which the unit is measured, beside each load.
const UNIT_SECONDS: u32 = 4;

/// Measures the unit for a load.
pub(super) fn unit(settings: &Settings, arrivals: Arrivals, folder: &Path) -> Result<Unit, Failure> {
    unit::measure(arrivals, settings.scaled(UNIT_SECONDS), folder)
}

/// Writes down what a notification costs in units, and its parts.
pub(super) fn put_units(
    findings: &mut Findings,
    column: &str,
    load: &str,
    budget: Option<f64>,
    report: &Report,
    unit: &Unit,
) {
    let units = |cpu_us: Option<f64>| cpu_us.map(|cpu_us| cpu_us / unit.cpu_us);
    let total = units(cpu_of_notification(report));
    findings.put(column, &format!("cost of a notification, {load}"), "units", budget, total);
    for (name, cost) in &report.processes {
        if name != LOADGEN {
            let name = format!("  of it {name}, {load}");
            findings.put(column, &name, "units", None, units(cost.cpu_us_per_notification));
        }
    }
    findings.put(column, &format!("  the unit, {load}"), "us", None, Some(unit.cpu_us));
}
