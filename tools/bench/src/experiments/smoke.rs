//! The figures that each change is compared by, in little time: of one build, or of two in turn.

use super::{
    cost::put_parts,
    figures::{SENDERS, clients, cpu_of_connect, cpu_of_notification, put_loadgen, put_sends},
};
use crate::{
    cluster::{Cluster, programs, programs_in},
    console::tell,
    findings::{Findings, Run},
    load::Load,
    settings::Settings,
};
use beckon_loadgen::{dialect::Dialect, report::Report};
use beckon_ops::exit::Failure;
use beckon_testbed::{plan::Plan, programs::Programs};

const CLIENTS: u32 = 6_000;

/// Clients at the lower end of the slope.
const CLIENTS_FIRST: u32 = 1_000;

/// Notifications per second of the open loop.
const RATE: u32 = 2_000;

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
        let mut measured: Vec<(&'static str, [Report; 2])> = Vec::new();
        for side in turns {
            let column = format!("{}{}", dialect.name(), side.name);
            tell(&format!("smoke: {column}, {clients} clients"));
            let reports = measure(settings, &side.programs, dialect, clients)?;
            let former = measured.iter().position(|(name, _)| *name == side.name);
            match former.map(|index| &mut measured[index].1) {
                Some(best) if cost(&reports) < cost(best) => *best = reports,
                Some(_) => {}
                None => measured.push((side.name, reports)),
            }
        }
        for (side, [closed, open]) in measured {
            let column = format!("{}{side}", dialect.name());
            put(findings, &column, &closed, &open);
            findings.runs.push(Run::new(format!("{column}, closed loop"), closed));
            findings.runs.push(Run::new(format!("{column}, open loop"), open));
        }
    }
    Ok(())
}

fn cost(reports: &[Report; 2]) -> f64 {
    cpu_of_notification(&reports[0]).unwrap_or(f64::MAX)
}

/// A closed loop for the cost, then an open one for the latency.
fn measure(
    settings: &Settings,
    programs: &Programs,
    dialect: Dialect,
    clients: u32,
) -> Result<[Report; 2], Failure> {
    let cluster = Cluster::start(programs, Plan::cluster(1, 1));
    let load = || Load::on(&cluster, dialect).with("clients", clients).with("senders", SENDERS);
    let closed = load()
        .with("measure-at", settings.scaled(CLIENTS_FIRST))
        .with("send-for", settings.time(8))
        .run(&cluster)?;
    let open =
        load().with("rate", RATE).with("send-for", settings.time(5)).with("settle", "1s").run(&cluster)?;
    Ok([closed, open])
}

fn put(findings: &mut Findings, column: &str, closed: &Report, open: &Report) {
    findings.put(column, "CPU per notification, all servers", "us", Some(50.0), cpu_of_notification(closed));
    put_parts(findings, column, closed, &["connection-node", "endpoint-node", "redis"]);
    put_sends(findings, column, closed);
    let milliseconds = |us: u64| Some(us as f64 / 1000.0);
    let (closed_times, open_times) = (&closed.send.delivery, &open.send.delivery);
    findings.put(column, "p50, closed loop", "ms", None, milliseconds(closed_times.p50_us));
    findings.put(column, "p99, closed loop", "ms", None, milliseconds(closed_times.p99_us));
    findings.put(column, "p50 at 2000/s", "ms", None, milliseconds(open_times.p50_us));
    findings.put(column, "p99 at 2000/s", "ms", Some(5.0), milliseconds(open_times.p99_us));
    let connect = cpu_of_connect(closed);
    findings.put(column, "CPU per connect, hello and register", "us", Some(120.0), connect);
    let node = closed.processes.get("connection-node").copied().unwrap_or_default();
    findings.put(column, "memory of an idle client", "bytes", Some(2_048.0), node.rss_per_client);
    findings.put(column, "memory after notifications", "bytes", Some(2_560.0), node.rss_per_client_after);
    put_loadgen(findings, column, closed);
}
