//! Hand-overs of a connection-node or a standalone server under load, with clients and senders that keep books: what is lost or refused, how long nothing
//! is served, and what both processes take.

use crate::{
    cluster::{Cluster, programs, programs_in},
    console::tell,
    findings::{Findings, Run},
    load::{Load, Loader},
    machine,
    settings::Settings,
};
use beckon_loadgen::{dialect::Dialect, measure::Usage, merge::merge, report::Report};
use beckon_ops::{clock::Clock, exit::Failure};
use beckon_testbed::{
    node::{Node, http},
    plan::Plan,
};
use std::{thread, time::Duration};

/// Clients, half of them of each dialect: as many as 20 000 open files allow.
const CLIENTS: u32 = 15_000;

/// Notifications per second, half of them of each dialect.
const RATE: u32 = 1_000;

/// Hand-overs in a row.
const ROUNDS: u32 = 10;

/// From the end of one to the beginning of the next.
const BETWEEN: Duration = Duration::from_secs(5);

/// Seconds in which the load generators send: longer than all rounds take.
const SECONDS: u32 = 120;

/// Time for a hand-over.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often memory is measured during a hand-over.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(10);

const COLUMN: &str = "hand-over";

/// What a hand-over took.
#[derive(Debug, Default)]
pub(super) struct Costs {
    pub(super) pause_s: f64,
    whole: Duration,
    /// Of the old process before it, in bytes.
    memory: u64,
    /// Of both processes during it, in bytes.
    memory_both: u64,
    /// Sockets that were closed.
    pub(super) closed: f64,
}

/// Hands a node over again and again. If there are programs of another build, every other hand-over is to the other build.
pub(crate) fn conduct(settings: &Settings, findings: &mut Findings) -> Result<(), Failure> {
    let clients = settings.scaled(CLIENTS) / 2 * 2;
    machine::need_files(clients)?;
    let folder = tempfile::tempdir().map_err(Failure::unavailable)?;
    let path = folder.path().join("hand-over");
    let plan = match settings.standalone {
        true => Plan::standalone().all("BECKON_HTTP_MAX_CONNECTIONS", "1000"),
        false => Plan::cluster(1, 1),
    };
    let mut plan = plan.sockets("BECKON_HAND_OVER", &path.to_string_lossy());
    if let Some(data_dir) = &settings.data_dir {
        plan = plan.sockets("BECKON_DATA_DIR", &data_dir.to_string_lossy());
    }
    let own = programs(settings)?;
    let other = settings.against.as_deref().map_or_else(|| Ok(own.clone()), programs_in)?;
    let mut cluster = Cluster::start(&own, plan);
    let loaders = start(settings, &cluster, clients)?;
    let sending = Clock::start();
    let node = cluster.nodes().iter().find(|node| node.addresses().ws.is_some());
    let node = node.ok_or_else(|| Failure::software("a cluster without a connection-node"))?;
    let mut rounds = Vec::new();
    for round in 1..=settings.scaled(ROUNDS) {
        thread::sleep(BETWEEN);
        node.install(if round / 2 % 2 == 0 { &own } else { &other });
        let costs = hand_over(node)?;
        let Costs { pause_s, whole, memory, memory_both, closed } = &costs;
        tell(&format!(
            "  {round}: {:.0} ms of pause in {whole:?}, {} MB before, {} MB for both, {closed} closed",
            pause_s * 1000.0,
            memory / 1_000_000,
            memory_both / 1_000_000
        ));
        rounds.push(costs);
    }
    let seconds = settings.seconds.unwrap_or(SECONDS);
    if sending.now_ms() > u64::from(seconds) * 1000 {
        let reason = format!("the hand-overs took longer than {seconds} s of sending: say --seconds");
        return Err(Failure::unavailable(reason));
    }
    cluster.check()?;
    let reports = finish(loaders)?;
    put(findings, &reports, &rounds, clients);
    Ok(())
}

fn start(settings: &Settings, cluster: &Cluster, clients: u32) -> Result<Vec<Loader>, Failure> {
    let rate = f64::from(settings.scaled(RATE)) / 2.0;
    let seconds = settings.seconds.unwrap_or(SECONDS);
    let mut loaders = Vec::new();
    for dialect in [Dialect::SimplePush, Dialect::WebPush] {
        let load = Load::from(cluster, dialect, 0)
            .with("clients", clients / 2)
            .with("senders", 64)
            .with("rate", rate)
            .with("send-for", format!("{seconds}s"))
            .with("grace", "15s")
            .with("wait-stdin", true);
        loaders.push(load.start(cluster.folder(), &format!("loadgen-{}", dialect.name()))?);
    }
    loaders.iter_mut().try_for_each(|loader| loader.wait_for_word("ready"))?;
    loaders.iter_mut().try_for_each(Loader::go_on)?;
    Ok(loaders)
}

/// Hands a node over, and measures what that takes.
pub(super) fn hand_over(node: &Node) -> Result<Costs, Failure> {
    let clock = Clock::start();
    let memory = memory(node.pid());
    let mut former = node.launch_successor();
    let mut both = memory;
    while former.ended().is_none() {
        node.check().map_err(Failure::unavailable)?;
        if clock.now_ms() > PATIENCE.as_millis() as u64 {
            return Err(Failure::unavailable(format!("no hand-over within {PATIENCE:?}: {}", node.log())));
        }
        both = both.max(self::memory(former.pid()) + self::memory(node.pid()));
        thread::sleep(SAMPLE_INTERVAL);
    }
    let whole = Duration::from_millis(clock.now_ms());
    node.wait_until_ready();
    let (_, metrics) = http(node.addresses().admin, "GET", "/metrics").unwrap_or_default();
    let metric = |name: &str| {
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
        value.ok_or_else(|| Failure::unavailable(format!("no metric {name}")))
    };
    let sockets = |outcome: &str| metric(&format!("beckon_hand_over_sockets_total{{outcome=\"{outcome}\"}}"));
    let closed = sockets("busy")? + sockets("tls")?;
    Ok(Costs { pause_s: metric("beckon_hand_over_pause_seconds")?, whole, memory, memory_both: both, closed })
}

/// Memory of a process in RAM, in bytes; 0 if it has ended.
fn memory(pid: u32) -> u64 {
    Usage::of(pid).map_or(0, |usage| usage.rss)
}

fn finish(mut loaders: Vec<Loader>) -> Result<Vec<Report>, Failure> {
    loaders.iter_mut().try_for_each(|loader| loader.wait_for_word("done"))?;
    loaders.iter_mut().try_for_each(Loader::go_on)?;
    loaders.into_iter().map(Loader::report).collect()
}

fn put(findings: &mut Findings, reports: &[Report], rounds: &[Costs], clients: u32) {
    let Some(report) = merge(reports) else { return };
    let send = &report.send;
    let refused: u64 =
        send.answers.iter().filter(|(status, _)| **status >= 300).map(|(_, count)| count).sum();
    let failures: u64 = report.failures.values().sum();
    let closed: f64 = rounds.iter().map(|costs| costs.closed).sum();
    let mut zero = |name: &str, value: f64| findings.put(COLUMN, name, "", Some(0.0), Some(value));
    zero("clients disconnected, or refused", failures as f64);
    zero("sockets closed", closed);
    zero("requests that failed", (refused + send.unanswered) as f64);
    zero("accepted and lost", send.lost as f64);
    zero("stored twice", send.stored_twice as f64);
    zero("delivered again", send.duplicated as f64);
    let most = |of: fn(&Costs) -> f64| rounds.iter().map(of).fold(0.0, f64::max);
    let mut show = |name: &str, unit: &str, value: f64| findings.put(COLUMN, name, unit, None, Some(value));
    show("clients", "", f64::from(clients));
    show("hand-overs", "", rounds.len() as f64);
    show("requests", "", send.sent as f64);
    show("answered with 202", "", send.answers.get(&202).copied().unwrap_or_default() as f64);
    show("pause, longest", "ms", most(|costs| costs.pause_s * 1000.0));
    show("from start to the end of the old process, longest", "s", most(|costs| costs.whole.as_secs_f64()));
    show("answer, p99", "ms", send.answer.p99_us as f64 / 1000.0);
    show("answer, max", "ms", send.answer.max_us as f64 / 1000.0);
    show("memory before, most", "MB", most(|costs| costs.memory as f64 / 1e6));
    show("memory of both processes, most", "MB", most(|costs| costs.memory_both as f64 / 1e6));
    findings.runs.push(Run::new(COLUMN, report));
}
