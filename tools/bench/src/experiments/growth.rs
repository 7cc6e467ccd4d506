//! What changes with more clients and more nodes: nothing should, per client and per notification.

use super::{
    cost::closed_loop,
    figures::{LOADGEN, SENDERS, clients, cpu_of_connect, cpu_of_notification, rss},
};
use crate::{
    chart::{Chart, Series},
    cluster::{Cluster, programs},
    console::tell,
    findings::{Findings, Run},
    settings::Settings,
};
use beckon_loadgen::report::Report;
use beckon_ops::exit::Failure;
use beckon_testbed::{plan::Plan, programs::Programs};

/// Clients of one connection-node.
const CLIENTS: [u32; 5] = [1_000, 2_000, 5_000, 10_000, 18_000];

/// Clients where the number of nodes grows.
const CLIENTS_OF_NODES: u32 = 15_000;

/// Every point is measured so often, all points before any again, and the lowest counts: noise only adds.
const ROUNDS: usize = 2;

/// Percent by which the cost may grow.
const GROWTH_MAX: f64 = 10.0;

/// A point: how many of what grows, with how many clients and senders, on what.
struct Point {
    x: f64,
    clients: u32,
    senders: u32,
    connection_nodes: usize,
    endpoint_nodes: usize,
}

/// What was found at a point.
struct Found {
    report: Report,
    redis_per_client: f64,
}

/// Measures more clients, and more nodes of either kind: for these twice, once with as much load for each node as one
/// has, and once with the load of one spread over all, where fewer notifications share the system calls of each.
pub(super) fn conduct(settings: &Settings, findings: &mut Findings) -> Result<(), Failure> {
    let counts = CLIENTS.map(|count| clients(settings, count));
    let mut along_clients = Vec::new();
    for clients in counts {
        let clients = clients?;
        along_clients.push(Point {
            x: f64::from(clients),
            clients,
            senders: SENDERS,
            connection_nodes: 1,
            endpoint_nodes: 1,
        });
    }
    axis(settings, findings, "clients", along_clients)?;
    let clients = clients(settings, CLIENTS_OF_NODES)?;
    for (load, senders_of_node) in [("", SENDERS), (", one load", 0)] {
        let point = |count: u32, connection_nodes: usize, endpoint_nodes: usize| Point {
            x: f64::from(count),
            clients,
            senders: SENDERS.max(senders_of_node * count),
            connection_nodes,
            endpoint_nodes,
        };
        let connection_nodes = (1..=4).map(|count| point(count, count as usize, 1)).collect();
        let endpoint_nodes = (1..=3).map(|count| point(count, 1, count as usize)).collect();
        axis(settings, findings, &format!("connection-nodes{load}"), connection_nodes)?;
        axis(settings, findings, &format!("endpoint-nodes{load}"), endpoint_nodes)?;
    }
    Ok(())
}

/// Measures every point of an axis.
fn axis(settings: &Settings, findings: &mut Findings, name: &str, points: Vec<Point>) -> Result<(), Failure> {
    let programs = programs(settings)?;
    let mut best: Vec<Option<Found>> = points.iter().map(|_| None).collect();
    let rounds = if settings.small { 1 } else { ROUNDS };
    for _ in 0..rounds {
        for (point, best) in points.iter().zip(&mut best) {
            tell(&format!("growth: {} {name}, {} clients", point.x, point.clients));
            let found = measure(settings, &programs, point)?;
            let cost = |found: &Found| cpu_of_notification(&found.report).unwrap_or(f64::MAX);
            if best.as_ref().is_none_or(|best| cost(&found) < cost(best)) {
                *best = Some(found);
            }
        }
    }
    let found: Vec<(f64, Found)> =
        points.iter().map(|point| point.x).zip(best).filter_map(|(x, found)| Some((x, found?))).collect();
    put(findings, name, &found);
    draw(findings, name, &found);
    for (x, found) in found {
        findings.runs.push(Run::new(format!("{x} {name}"), found.report));
    }
    Ok(())
}

fn measure(settings: &Settings, programs: &Programs, point: &Point) -> Result<Found, Failure> {
    let cluster = Cluster::start(programs, Plan::cluster(point.connection_nodes, point.endpoint_nodes));
    let empty = cluster.redis_memory();
    let load = closed_loop(settings, &cluster, point.clients, point.senders);
    let (report, [full, _]) = load.run_and_measure(&cluster, || cluster.redis_memory())?;
    let redis_per_client = full.saturating_sub(empty) as f64 / f64::from(point.clients);
    Ok(Found { report, redis_per_client })
}

fn put(findings: &mut Findings, name: &str, found: &[(f64, Found)]) {
    let first = found.first().and_then(|(_, found)| cpu_of_notification(&found.report));
    for (x, Found { report, redis_per_client }) in found {
        let column = format!("{x} {name}");
        let cost = cpu_of_notification(report);
        findings.put(&column, "CPU per notification, all servers", "us", Some(50.0), cost);
        let growth = cost.zip(first).map(|(cost, first)| 100.0 * (cost / first - 1.0));
        findings.put(&column, "  more than the first of its kind", "%", Some(GROWTH_MAX), growth);
        let connect = cpu_of_connect(report);
        findings.put(&column, "CPU per connect, hello and register", "us", Some(120.0), connect);
        let rate = report.send.delivered_per_second;
        findings.put(&column, "delivered", "1/s", None, Some(rate));
        findings.put(&column, "Redis, of a connected client", "bytes", Some(300.0), Some(*redis_per_client));
        let memory = rss(report, "settled", "connection-node").map(|bytes| bytes / f64::from(1 << 20));
        findings.put(&column, "connection-nodes, memory", "MiB", None, memory);
        findings.put(&column, "accepted, not delivered", "", Some(0.0), Some(report.send.lost as f64));
    }
}

fn draw(findings: &mut Findings, name: &str, found: &[(f64, Found)]) {
    let curve = |name: &str, value: &dyn Fn(&Found) -> Option<f64>| Series {
        name: name.to_owned(),
        points: found.iter().filter_map(|(x, found)| Some((*x, value(found)?))).collect(),
    };
    let of = |process: &'static str| {
        move |found: &Found| found.report.processes.get(process)?.cpu_us_per_notification
    };
    let costs = vec![
        curve("all servers", &|found| cpu_of_notification(&found.report)),
        curve("connection-nodes", &of("connection-node")),
        curve("endpoint-nodes", &of("endpoint-node")),
        curve("redis", &of("redis")),
        curve(LOADGEN, &of(LOADGEN)),
    ];
    let title = format!("CPU of a notification over {name}");
    let file = format!("cost-{name}").replace(", ", "-").replace(' ', "-");
    findings.charts.push(Chart::new(&file, &title, name, "us of CPU", costs));
    if name == "clients" {
        let mebibytes = |process: &'static str| {
            move |found: &Found| Some(rss(&found.report, "settled", process)? / f64::from(1 << 20))
        };
        let memory = vec![
            curve("connection-node", &mebibytes("connection-node")),
            curve("redis", &mebibytes("redis")),
        ];
        findings.charts.push(Chart::new("memory-clients", "Memory over clients", name, "MiB of RSS", memory));
        let redis = vec![curve("redis", &|found| Some(found.redis_per_client))];
        let title = "Redis memory of a connected client";
        findings.charts.push(Chart::new("redis-clients", title, name, "bytes", redis));
    }
}
