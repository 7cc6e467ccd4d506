//! The figures that each change is compared by, in little time: of one build, or of two in turn.

use super::figures::{
    SENDERS, clients, cpu_of_connect, cpu_of_notification, put_loadgen, put_sends, put_units, unit,
};
use crate::{
    cluster::{Cluster, programs, programs_in},
    console::tell,
    findings::{Findings, Run},
    load::Load,
    settings::Settings,
    unit::{Arrivals, Unit},
};
use beckon_loadgen::{dialect::Dialect, report::Report};
use beckon_ops::exit::Failure;
use beckon_testbed::{plan::Plan, programs::Programs};

const CLIENTS: u32 = 6_000;

/// Clients at the lower end of the slope.
const CLIENTS_FIRST: u32 = 1_000;

/// Notifications per second of the open loops: a quiet server, one with something to do, and one that is busy.
const RATES: [u32; 3] = [500, 2_000, 8_000];

/// Seconds after the clients have connected, before their memory is read: the allocator gives back within 10 s what hellos
/// needed that waited for the store.
const REST_S: u32 = 12;

/// The rate at which the median is compared with that of an echo.
const RATE_OF_MEDIAN: u32 = 2_000;

/// A load and the unit that was measured beside it.
struct Measured {
    load: String,
    report: Report,
    unit: Unit,
}

/// One side of a comparison.
struct Side {
    name: &'static str,
    programs: Programs,
}

/// Measures every dialect of every side. Two sides take turns, and the second round is in the opposite order: what
/// else the machine does meets both.
pub(super) fn conduct(settings: &Settings, findings: &mut Findings) -> Result<(), Failure> {
    let clients = clients(settings, CLIENTS)?;
    let own = Side { name: "", programs: programs(settings)? };
    let sides = match &settings.against {
        Some(folder) => vec![own, Side { name: ", against", programs: programs_in(folder)? }],
        None => vec![own],
    };
    for dialect in [Dialect::SimplePush, Dialect::WebPush] {
        let mut turns: Vec<&Side> = sides.iter().collect();
        if sides.len() > 1 {
            turns.extend(sides.iter().rev());
        }
        let mut measured: Vec<(&'static str, Vec<Measured>)> = Vec::new();
        for side in turns {
            let column = format!("{}{}", dialect.name(), side.name);
            tell(&format!("smoke: {column}, {clients} clients"));
            let loads = measure(settings, &side.programs, dialect, clients)?;
            match measured.iter_mut().find(|(name, _)| *name == side.name) {
                Some((_, best)) => {
                    best.iter_mut().zip(loads).for_each(|(best, other)| best.keep_better(other))
                }
                None => measured.push((side.name, loads)),
            }
        }
        for (side, loads) in measured {
            let column = format!("{}{side}", dialect.name());
            put(findings, &column, dialect, &loads);
            for Measured { load, report, .. } in loads {
                findings.runs.push(Run::new(format!("{column}, {load}"), report));
            }
        }
    }
    Ok(())
}

impl Measured {
    /// Keeps the one of two that cost less, in units.
    fn keep_better(&mut self, other: Self) {
        if other.cost() < self.cost() {
            *self = other;
        }
    }

    fn cost(&self) -> f64 {
        cpu_of_notification(&self.report).unwrap_or(f64::MAX) / self.unit.cpu_us
    }
}

/// A closed loop for the cost, then open ones for cost and latency at rates that do not depend on the servers.
fn measure(
    settings: &Settings,
    programs: &Programs,
    dialect: Dialect,
    clients: u32,
) -> Result<Vec<Measured>, Failure> {
    let cluster = Cluster::start(programs, Plan::cluster(1, 1));
    let load = || Load::on(&cluster, dialect).with("clients", clients).with("senders", SENDERS);
    let closed = load()
        .with("measure-at", settings.scaled(CLIENTS_FIRST))
        .with("send-for", settings.time(8))
        .with("settle", settings.time(REST_S))
        .run(&cluster)?;
    let closed_unit = unit(settings, Arrivals::Closed, cluster.folder())?;
    let mut all = vec![Measured { load: "closed loop".to_owned(), report: closed, unit: closed_unit }];
    for rate in RATES {
        let open = load().with("rate", rate).with("send-for", settings.time(8)).with("settle", "1s");
        let report = open.run(&cluster)?;
        let unit = unit(settings, Arrivals::PerSecond(rate), cluster.folder())?;
        all.push(Measured { load: format!("{rate}/s"), report, unit });
    }
    Ok(all)
}

/// What a notification may cost, in units.
fn budget(dialect: Dialect, load: &str) -> Option<f64> {
    match (dialect, load) {
        (Dialect::SimplePush, "closed loop") => Some(10.5),
        (Dialect::SimplePush, "500/s" | "2000/s") => Some(9.0),
        (Dialect::WebPush, "closed loop") => Some(15.0),
        (Dialect::SimplePush | Dialect::WebPush, _) => None,
    }
}

fn put(findings: &mut Findings, column: &str, dialect: Dialect, loads: &[Measured]) {
    for Measured { load, report, unit } in loads {
        put_units(findings, column, load, budget(dialect, load), report, unit);
        let times = &report.send.delivery;
        for (name, us) in [("p50", times.p50_us), ("p99", times.p99_us), ("p99.9", times.p999_us)] {
            let milliseconds = Some(us as f64 / 1000.0);
            findings.put(column, &format!("due to delivered, {load}, {name}"), "ms", None, milliseconds);
        }
        if *load == format!("{RATE_OF_MEDIAN}/s") {
            let ratio = times.p50_us as f64 / unit.times.p50_us.max(1) as f64;
            findings.put(column, &format!("  p50 of an echo, {load}"), "times", Some(5.0), Some(ratio));
        }
    }
    let Some(Measured { report: closed, .. }) = loads.first() else { return };
    put_sends(findings, column, closed);
    findings.put(column, "CPU per notification, all servers", "us", None, cpu_of_notification(closed));
    findings.put(column, "CPU per connect, hello and register", "us", Some(120.0), cpu_of_connect(closed));
    let node = closed.processes.get("connection-node").copied().unwrap_or_default();
    findings.put(column, "memory of an idle client", "bytes", Some(2_048.0), node.rss_per_client);
    findings.put(column, "memory after notifications", "bytes", Some(2_560.0), node.rss_per_client_after);
    put_loadgen(findings, column, closed);
}
