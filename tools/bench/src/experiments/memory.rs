//! Bytes of a client: while it waits, after it has got notifications, and when it has left.

use super::figures::{SENDERS, clients, put_loadgen, rss};
use crate::{
    chart::{Chart, Series},
    cluster::{Cluster, programs},
    console::tell,
    findings::{Findings, Run},
    load::Load,
    settings::Settings,
};
use beckon_loadgen::report::Report;
use beckon_ops::exit::Failure;
use beckon_testbed::plan::Plan;

/// Clients, and the numbers of them at which everybody rests; the slope is from the first to the last.
const CLIENTS: u32 = 18_000;
const STEPS: [u32; 4] = [2_000, 6_000, 10_000, 14_000];

/// Seconds of rest before each measurement: allocators give memory back only some time after it was freed.
const REST_S: u32 = 15;

/// Share of the clients that leave in the end.
const LEAVE: f64 = 0.9;

/// The most data that SimplePush takes, and about the most of Web Push.
const LARGE: u32 = 4_096;

const NODE: &str = "connection-node";

/// The most memory of an idle client, with TLS and without, in bytes.
const CLIENT_MAX: f64 = 2_048.0;
const TLS_CLIENT_MAX: f64 = CLIENT_MAX + 4_096.0;

/// Measures with notifications of the usual size, then with large ones; with `--tls` with those of the usual size, without TLS and
/// with it.
pub(super) fn conduct(settings: &Settings, findings: &mut Findings) -> Result<(), Failure> {
    let clients = clients(settings, CLIENTS)?;
    let programs = programs(settings)?;
    let usual = settings.dialect.usual_data();
    let columns = if settings.tls {
        [("without TLS", usual, false), ("with TLS", usual, true)]
    } else {
        [("usual notifications", usual, false), ("large notifications", LARGE, false)]
    };
    for (column, data, has_tls) in columns {
        tell(&format!("memory: {clients} clients, {column}"));
        let start = if has_tls { Cluster::start_with_tls } else { Cluster::start };
        let cluster = start(&programs, Plan::cluster(1, 1));
        let (report, redis) = measure(settings, &cluster, clients, data)?;
        put(findings, column, if has_tls { TLS_CLIENT_MAX } else { CLIENT_MAX }, &report);
        findings.put(column, "Redis, of a connected client", "bytes", Some(300.0), Some(redis));
        put_loadgen(findings, column, &report);
        if data == usual && !has_tls {
            findings.charts.push(slope(&report));
        }
        findings.runs.push(Run::new(column, report));
    }
    Ok(())
}

/// Connects step by step, sends each client two notifications, and has most of them leave. Returns the memory
/// that Redis has for a connected client as well.
fn measure(
    settings: &Settings,
    cluster: &Cluster,
    clients: u32,
    data: u32,
) -> Result<(Report, f64), Failure> {
    let steps = STEPS.map(|count| settings.scaled(count).to_string()).join(",");
    let load = Load::on(cluster, settings.dialect)
        .with("clients", clients)
        .with("measure-at", steps)
        .with("settle", settings.time(REST_S))
        .with("senders", SENDERS)
        .with("data", data)
        .with("sends", clients * 2)
        .with("send-for", "60s")
        .with("leave", LEAVE);
    let empty = cluster.redis_memory();
    let (report, [full, _]) = load.run_and_measure(cluster, || cluster.redis_memory())?;
    Ok((report, full.saturating_sub(empty) as f64 / f64::from(clients)))
}

fn put(findings: &mut Findings, column: &str, client_max: f64, report: &Report) {
    let cost = report.processes.get(NODE).copied().unwrap_or_default();
    let clients = f64::from(report.plan.clients);
    let at = |label| rss(report, label, NODE);
    let share = |bytes: Option<f64>| bytes.map(|bytes| bytes / clients);
    findings.put(column, "idle, slope", "bytes", Some(client_max), cost.rss_per_client);
    findings.put(column, "idle, all memory of the node", "bytes", None, share(at("settled")));
    findings.put(column, "after notifications, slope", "bytes", Some(2_560.0), cost.rss_per_client_after);
    findings.put(column, "after notifications, all memory", "bytes", None, share(at("rested")));
    let mebibytes = |bytes: Option<f64>| bytes.map(|bytes| bytes / f64::from(1 << 20));
    findings.put(column, "node without clients", "MiB", None, mebibytes(at("start")));
    findings.put(column, "node with all clients", "MiB", None, mebibytes(at("rested")));
    findings.put(column, "node when 90 % have left", "MiB", None, mebibytes(at("left")));
    let gained = at("rested").zip(at("start")).map(|(rested, start)| rested - start);
    let kept = at("left").zip(at("start")).map(|(left, start)| left - start);
    let share = kept.zip(gained).map(|(kept, gained)| 100.0 * kept / gained);
    findings.put(column, "of what clients took, still held", "%", None, share);
    findings.put(column, "accepted, not delivered", "", Some(0.0), Some(report.send.lost as f64));
}

fn slope(report: &Report) -> Chart {
    let curve = |name: &str| {
        let settled =
            report.samples.iter().filter(|sample| sample.label == "settled" || sample.label == "start");
        let point = |sample: &beckon_loadgen::measure::Sample| {
            let rss = sample.processes.get(name)?.rss;
            Some((sample.clients as f64, rss as f64 / f64::from(1 << 20)))
        };
        Series { name: name.to_owned(), points: settled.filter_map(point).collect() }
    };
    let curves = vec![curve(NODE), curve("redis"), curve("endpoint-node"), curve("loadgen")];
    Chart::new("clients", "Memory of idle clients", "clients", "MiB of RSS", curves)
}
