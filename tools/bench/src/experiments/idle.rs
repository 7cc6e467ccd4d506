//! CPU of clients that do nothing, over one round of keep-alive: each is pinged once.

use super::figures::{LOADGEN, clients, sum};
use crate::{
    cluster::{Cluster, programs},
    console::tell,
    findings::{Findings, Run},
    load::Load,
    settings::Settings,
};
use beckon_ops::exit::Failure;
use beckon_testbed::plan::Plan;

const CLIENTS: u32 = 15_000;

/// Seconds between signs of life: the default of the server.
const KEEPALIVE_S: u32 = 300;

/// Seconds that the round of pings itself may take.
const ROUND_S: u32 = 15;

/// Holds clients for as long as it takes until each has been pinged.
pub(super) fn conduct(settings: &Settings, findings: &mut Findings) -> Result<(), Failure> {
    let clients = clients(settings, CLIENTS)?;
    let programs = programs(settings)?;
    let keepalive_s = settings.scaled(KEEPALIVE_S);
    let keepalive = format!("{keepalive_s}s");
    tell(&format!("idle: {clients} clients for {} s", keepalive_s + ROUND_S));
    let cluster =
        Cluster::start(&programs, Plan::cluster(1, 1).sockets("BECKON_KEEPALIVE_INTERVAL", &keepalive));
    let load = Load::on(&cluster, settings.dialect)
        .with("clients", clients)
        .with("idle", format!("{}s", keepalive_s + ROUND_S))
        .with("send-for", 0);
    let report = load.run(&cluster)?;
    let column = format!("keep-alive {keepalive}");
    let all = sum(&report, |cost| cost.cpu_us_per_idle_second);
    findings.put(&column, "CPU per client and second, all servers", "us", Some(2.0), all);
    for (name, cost) in report.processes.iter().filter(|(name, _)| *name != LOADGEN) {
        findings.put(&column, &format!("  of it {name}"), "us", None, cost.cpu_us_per_idle_second);
    }
    let failures: u64 = report.failures.values().sum();
    findings.put(&column, "connections that ended", "", Some(0.0), Some(failures as f64));
    findings.runs.push(Run::new(column, report));
    Ok(())
}
