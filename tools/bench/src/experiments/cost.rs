//! CPU of a notification: closed loop, every one acknowledged, as few waits as possible.

use super::{
    figures::{SENDERS, clients, cpu_of_connect, cpu_of_notification, put_loadgen, put_sends},
    masters,
};
use crate::{
    cluster::{Cluster, programs},
    console::tell,
    findings::{Findings, Run},
    load::Load,
    settings::Settings,
};
use beckon_loadgen::report::Report;
use beckon_ops::exit::Failure;
use beckon_testbed::{plan::Plan, programs::Programs};

const CLIENTS: u32 = 15_000;

/// The most CPU for connect, hello and register, in microseconds. With TLS there is no budget: most of it is the handshake.
const CONNECT_US_MAX: f64 = 120.0;

/// Measures the cluster with and without threads for each core, and the standalone server with and without fsync.
pub(super) fn conduct(settings: &Settings, findings: &mut Findings) -> Result<(), Failure> {
    if settings.redis_cluster {
        return masters::conduct(settings, findings);
    }
    let clients = clients(settings, CLIENTS)?;
    let programs = programs(settings)?;
    if settings.tls {
        return with_tls(settings, findings, clients, &programs);
    }
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
        put(findings, column, Some(CONNECT_US_MAX), &report);
        findings.runs.push(Run::new(column, report));
    }
    Ok(())
}

/// Measures the cluster without TLS and with it, twice in turn: noise only adds.
fn with_tls(
    settings: &Settings,
    findings: &mut Findings,
    clients: u32,
    programs: &Programs,
) -> Result<(), Failure> {
    for round in ["", ", again"] {
        for (name, has_tls) in [("without TLS", false), ("with TLS", true)] {
            let column = format!("{name}{round}");
            tell(&format!("cost: {column}, {clients} clients"));
            let start = if has_tls { Cluster::start_with_tls } else { Cluster::start };
            let cluster = start(programs, Plan::cluster(1, 1));
            let report = closed_loop(settings, &cluster, clients, SENDERS).run(&cluster)?;
            put(findings, &column, (!has_tls).then_some(CONNECT_US_MAX), &report);
            findings.runs.push(Run::new(&column, report));
        }
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

fn put(findings: &mut Findings, column: &str, connect_us_max: Option<f64>, report: &Report) {
    let cpu = cpu_of_notification(report);
    findings.put(column, "CPU per notification, all servers", "us", Some(50.0), cpu);
    put_parts(findings, column, report, &["connection-node", "endpoint-node", "redis", "beckon"]);
    put_sends(findings, column, report);
    let connect = cpu_of_connect(report);
    findings.put(column, "CPU per connect, hello and register", "us", connect_us_max, connect);
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
