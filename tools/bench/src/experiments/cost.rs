//! CPU of a notification: closed loop, every one acknowledged, as few waits as possible.

use super::figures::{SENDERS, clients, cpu_of_connect, cpu_of_notification, put_loadgen, put_sends};
use crate::{
    cluster::{Cluster, programs},
    console::tell,
    findings::{Findings, Run},
    load::Load,
    settings::Settings,
};
use beckon_loadgen::report::Report;
use beckon_ops::exit::Failure;
use beckon_testbed::plan::Plan;

const CLIENTS: u32 = 15_000;

/// Measures the cluster with and without threads for each core, and the standalone server with and without fsync.
pub(super) fn conduct(settings: &Settings, findings: &mut Findings) -> Result<(), Failure> {
    let clients = clients(settings, CLIENTS)?;
    let programs = programs(settings)?;
    let shapes = [
        ("cluster", Plan::cluster(1, 1)),
        ("cluster, 1 thread each", Plan::cluster(1, 1).all("BECKON_THREADS", "1")),
        ("standalone", Plan::standalone().all("BECKON_FSYNC", "true")),
        ("standalone, no fsync", Plan::standalone().all("BECKON_FSYNC", "false")),
    ];
    for (column, shape) in shapes {
        tell(&format!("cost: {column}, {clients} clients"));
        let cluster = Cluster::start(&programs, shape);
        let report = closed_loop(settings, &cluster, clients, SENDERS).run(&cluster)?;
        put(findings, column, &report);
        findings.runs.push(Run::new(column, report));
    }
    Ok(())
}

/// A load as fast as the senders get their answers.
pub(super) fn closed_loop(settings: &Settings, cluster: &Cluster, clients: u32, senders: u32) -> Load {
    Load::on(cluster, settings.dialect)
        .with("clients", clients)
        .with("senders", senders)
        .with("send-for", settings.time(10))
}

fn put(findings: &mut Findings, column: &str, report: &Report) {
    let cpu = cpu_of_notification(report);
    findings.put(column, "CPU per notification, all servers", "us", Some(50.0), cpu);
    put_parts(findings, column, report, &["connection-node", "endpoint-node", "redis", "beckon"]);
    put_sends(findings, column, report);
    let connect = cpu_of_connect(report);
    findings.put(column, "CPU per connect, hello and register", "us", Some(120.0), connect);
    let milliseconds = report.send.delivery.p99_us as f64 / 1000.0;
    findings.put(column, "p99, due to delivered", "ms", None, Some(milliseconds));
    put_loadgen(findings, column, report);
}

/// Writes down what these kinds of processes took of it.
pub(super) fn put_parts(findings: &mut Findings, column: &str, report: &Report, parts: &[&str]) {
    for name in parts {
        let cost = report.processes.get(*name).and_then(|cost| cost.cpu_us_per_notification);
        findings.put(column, &format!("  of it {name}"), "us", None, cost);
    }
}
