//! What the masters of a Redis Cluster cost: the same loads on one server, on one master and on three, in turn.

use super::figures::{LOADGEN, SENDERS, clients, cpu_of_notification, refused};
use crate::{
    cluster::{Cluster, RedisWork, programs},
    console::tell,
    findings::{Findings, Run},
    load::Load,
    settings::Settings,
};
use beckon_loadgen::report::Report;
use beckon_ops::exit::Failure;
use beckon_testbed::{plan::Plan, programs::Programs};

const CLIENTS: u32 = 5_000;

/// How often each shape is measured. Every second round is in the opposite order.
const ROUNDS: u32 = 3;

/// The loads: the name, the senders, and notifications per second. 0 is a closed loop, in which the senders are what keeps
/// pipelines full: so many requests are shared by all masters.
const LOADS: [(&str, u32, u32); 3] =
    [("closed loop", SENDERS, 0), ("closed loop of 128 senders", 128, 0), ("2000/s", SENDERS, 2_000)];

/// The most that a notification may cost, as a multiple of what it costs on one server.
const RATIO_MAX: f64 = 1.1;

/// What is compared: the name, and the number of masters if it is a Redis Cluster. The first is what the others are compared
/// with.
const SHAPES: [(&str, Option<usize>); 3] =
    [("one server", None), ("cluster of 1 master", Some(1)), ("of 3 masters", Some(3))];

/// What is measured of a load: the name, the unit, and the most that it may be.
const FIGURES: [(&str, &str, Option<f64>); 12] = [
    ("CPU per notification, all servers", "us", None),
    ("  as a multiple of the load generator's own", "times", None),
    ("  relative to one server", "times", Some(RATIO_MAX)),
    ("  of it connection-node", "us", None),
    ("  of it endpoint-node", "us", None),
    ("  of it redis", "us", None),
    ("reads of Redis per notification", "", None),
    ("steps per read", "", None),
    ("a step inside Redis", "us", None),
    ("p50, due to delivered", "ms", None),
    ("p99, due to delivered", "ms", None),
    ("delivered", "1/s", None),
];

/// The values of [`FIGURES`] in one round.
type Values = [f64; FIGURES.len()];

/// Measures every shape in every round. What is written down is the median of all rounds.
pub(super) fn conduct(settings: &Settings, findings: &mut Findings) -> Result<(), Failure> {
    let clients = clients(settings, CLIENTS)?;
    let programs = programs(settings)?;
    let mut rounds: Vec<[[Values; SHAPES.len()]; LOADS.len()]> = Vec::new();
    let mut faults = [[0; 2]; SHAPES.len()];
    let count = settings.scaled(ROUNDS);
    for number in 0..count {
        let mut order: Vec<usize> = (0..SHAPES.len()).collect();
        if number % 2 == 1 {
            order.reverse();
        }
        let mut round = [[[0.0; FIGURES.len()]; SHAPES.len()]; LOADS.len()];
        for shape in order {
            let (name, masters) = SHAPES[shape];
            tell(&format!("cost: {name}, {clients} clients, round {} of {count}", number + 1));
            let cluster = start(&programs, masters);
            for (load, (load_name, senders, rate)) in LOADS.into_iter().enumerate() {
                let (report, work) = measure(settings, &cluster, clients, (senders, rate))?;
                round[load][shape] = values(&report, work);
                faults[shape][0] += report.send.lost;
                faults[shape][1] += refused(&report);
                findings.runs.push(Run::new(format!("{name}, {load_name}, round {}", number + 1), report));
            }
        }
        round.iter_mut().for_each(relate);
        rounds.push(round);
    }
    for (load, (load_name, ..)) in LOADS.iter().enumerate() {
        for (shape, (column, _)) in SHAPES.iter().enumerate() {
            for (index, (name, unit, budget)) in FIGURES.iter().enumerate() {
                let value = median(rounds.iter().map(|round| round[load][shape][index]).collect());
                findings.put(column, &format!("{name}, {load_name}"), unit, *budget, Some(value));
            }
        }
    }
    for ((column, _), [lost, refused]) in SHAPES.iter().zip(faults) {
        findings.put(column, "accepted, not delivered", "", Some(0.0), Some(lost as f64));
        findings.put(column, "refused or unanswered", "", Some(0.0), Some(refused as f64));
    }
    Ok(())
}

fn start(programs: &Programs, masters: Option<usize>) -> Cluster {
    let plan = Plan::cluster(1, 1);
    match masters {
        None => Cluster::start(programs, plan),
        Some(masters) => Cluster::start_on_redis_cluster(programs, plan, masters),
    }
}

/// Runs a load of so many senders and so many notifications per second, and tells what Redis has done for it.
fn measure(
    settings: &Settings,
    cluster: &Cluster,
    clients: u32,
    (senders, rate): (u32, u32),
) -> Result<(Report, RedisWork), Failure> {
    let load = Load::on(cluster, settings.dialect)
        .with("clients", clients)
        .with("senders", senders)
        .with("rate", rate)
        .with("send-for", settings.time(5));
    let (report, [before, after]) = load.run_and_measure(cluster, || cluster.redis_work())?;
    let work = RedisWork {
        reads: after.reads - before.reads,
        steps: after.steps - before.steps,
        steps_us: after.steps_us - before.steps_us,
    };
    Ok((report, work))
}

/// All figures but the ratio. The load generator does the same for each notification whatever the store is, so its own CPU is the
/// yardstick: a machine that is shared can become slower by a quarter from one load to the next.
fn values(report: &Report, work: RedisWork) -> Values {
    let cpu = |name: &str| report.processes.get(name).and_then(|cost| cost.cpu_us_per_notification);
    let share = |amount: u64, count: u64| amount as f64 / count.max(1) as f64;
    let times = &report.send.delivery;
    let servers = cpu_of_notification(report).unwrap_or(0.0);
    [
        servers,
        cpu(LOADGEN).map_or(0.0, |own| servers / own),
        0.0,
        cpu("connection-node").unwrap_or(0.0),
        cpu("endpoint-node").unwrap_or(0.0),
        cpu("redis").unwrap_or(0.0),
        share(work.reads, report.send.delivered),
        share(work.steps, work.reads),
        share(work.steps_us, work.steps),
        times.p50_us as f64 / 1000.0,
        times.p99_us as f64 / 1000.0,
        report.send.delivered_per_second,
    ]
}

/// Adds the ratios of one round: of figures that were taken in the same minutes.
fn relate(shapes: &mut [Values; SHAPES.len()]) {
    let base = shapes[0][1];
    for values in shapes {
        values[2] = values[1] / base;
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_those_of_the_same_round() {
        let of = |multiple: f64| {
            let mut values = [0.0; FIGURES.len()];
            values[1] = multiple;
            values
        };
        let mut rounds = [[of(10.0), of(11.0), of(12.0)], [of(40.0), of(40.0), of(60.0)], [of(20.0); 3]];
        rounds.iter_mut().for_each(relate);
        let ratio = |shape: usize| median(rounds.iter().map(|round| round[shape][2]).collect());
        assert_eq!([ratio(0), ratio(1), ratio(2)], [1.0, 1.0, 1.2]);
    }
}
