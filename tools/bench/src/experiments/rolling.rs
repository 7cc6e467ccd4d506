//! A rolling restart of both tiers behind the shipped balancers, with clients and senders that keep books: what is
//! refused, what is lost, and how long everybody takes to be back.

use crate::{
    balancer::{Balancers, Kind},
    cluster::{Cluster, programs},
    console::tell,
    findings::{Findings, Run},
    load::{Load, Loader},
    settings::Settings,
};
use beckon_loadgen::{dialect::Dialect, merge::merge, report::Report};
use beckon_ops::{clock::Clock, exit::Failure};
use beckon_testbed::{
    node::{Node, http},
    plan::Plan,
};
use std::{thread, time::Duration};

/// Clients, half of them of each dialect.
const CLIENTS: u32 = 2_000;

/// Notifications per second, half of them of each dialect.
const RATE: u32 = 200;

/// Time for a drain, and for all clients to be back.
const PATIENCE: Duration = Duration::from_secs(120);

/// Time for the balancers to use a node that was restarted, before the next one is stopped.
const IN_USE_AFTER: Duration = Duration::from_secs(5);

/// Seconds in which the load generators send, if nothing else is asked for: longer than all restarts of one column take.
const SECONDS: u32 = 120;

/// How a node is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// By SIGTERM alone.
    Signal,
    /// Drained by `POST /drain` first.
    Drain,
}

/// Restarts every node behind each balancer, in both ways.
pub(crate) fn conduct(settings: &Settings, findings: &mut Findings) -> Result<(), Failure> {
    for kind in [Kind::Haproxy, Kind::Nginx, Kind::Caddy] {
        for (way, name) in [(Way::Signal, "SIGTERM"), (Way::Drain, "drain")] {
            let column = format!("{}, {name}", kind.name());
            tell(&column);
            conduct_one(settings, findings, kind, way, &column)?;
        }
    }
    let broken = |row: &&crate::findings::Row| {
        row.budget.is_some_and(|budget| row.values.iter().flatten().any(|value| *value > budget))
    };
    let broken: Vec<&str> = findings.rows.iter().filter(broken).map(|row| row.name.as_str()).collect();
    if broken.is_empty() {
        return Ok(());
    }
    tell(&findings.table());
    Err(Failure::unavailable(format!("above the budget: {}", broken.join(", "))))
}

fn conduct_one(
    settings: &Settings,
    findings: &mut Findings,
    kind: Kind,
    way: Way,
    column: &str,
) -> Result<(), Failure> {
    let clients = settings.scaled(CLIENTS) / 2 * 2;
    let plan = Plan::cluster(2, 2)
        .all("BECKON_DRAIN_DELAY", "5s")
        .sockets("BECKON_DRAIN_RATE", &(clients / 4).max(1).to_string());
    let mut cluster = Cluster::start(&programs(settings)?, plan);
    let mut balancers = Balancers::start(kind, &cluster)?;
    let rate = f64::from(settings.scaled(RATE)) / 2.0;
    let seconds = settings.seconds.unwrap_or(SECONDS);
    let mut loaders = Vec::new();
    for (dialect, senders) in [(Dialect::SimplePush, 16), (Dialect::WebPush, 16)] {
        let load = Load::through(balancers.ws, balancers.http, dialect)
            .with("clients", clients / 2)
            .with("senders", senders)
            .with("rate", rate)
            .with("send-for", format!("{seconds}s"))
            .with("grace", "15s")
            .with("wait-stdin", true);
        loaders.push(load.start(cluster.folder(), &format!("loadgen-{}", dialect.name()))?);
    }
    loaders.iter_mut().try_for_each(|loader| loader.wait_for_word("ready"))?;
    loaders.iter_mut().try_for_each(Loader::go_on)?;
    let sending = Clock::start();
    let mut back = Duration::ZERO;
    for node in cluster.nodes() {
        let took = restart(node, way, cluster.nodes(), u64::from(clients))?;
        tell(&format!("  {} restarted, everybody is back after {:.1} s", node.name(), took.as_secs_f64()));
        back = back.max(took);
        thread::sleep(IN_USE_AFTER);
    }
    let fewest = fill(cluster.nodes(), u64::from(clients))?;
    if sending.now_ms() > u64::from(seconds) * 1000 {
        let reason = format!("the restarts took longer than {seconds} s of sending: say --seconds");
        return Err(Failure::unavailable(reason));
    }
    balancers.check()?;
    cluster.check()?;
    let reports = finish(loaders)?;
    put(findings, column, &reports, back, fewest, clients);
    Ok(())
}

/// Stops and starts a node. Returns how long it took from the first step until every client was connected again.
fn restart(node: &Node, way: Way, nodes: &[Node], clients: u64) -> Result<Duration, Failure> {
    let clock = Clock::start();
    if way == Way::Drain {
        ask(node, "POST", "/drain")?;
        wait("the node has drained", || {
            let (phase, clients) = state(node)?;
            Some(phase == "closing" && clients == 0)
        })?;
    }
    let status = node.terminate();
    if !status.success() {
        return Err(Failure::unavailable(format!("{} ends with {status}", node.name())));
    }
    node.start();
    wait_for_all(nodes, clients)?;
    Ok(Duration::from_millis(clock.now_ms()))
}

/// Sheds half of the fullest node's clients, as docs/operations.md says, and returns how many the emptiest node has then.
fn fill(nodes: &[Node], clients: u64) -> Result<u64, Failure> {
    let with_sockets = || nodes.iter().filter(|node| node.addresses().ws.is_some());
    let fullest = with_sockets().max_by_key(|node| state(node).map(|(_, clients)| clients));
    if let Some(node) = fullest {
        ask(node, "POST", "/shed?share=0.5")?;
    }
    // They go, and come back.
    thread::sleep(Duration::from_secs(6));
    wait_for_all(nodes, clients)?;
    Ok(connected(nodes).unwrap_or_default().into_iter().min().unwrap_or(0))
}

fn wait_for_all(nodes: &[Node], clients: u64) -> Result<(), Failure> {
    let waited = wait("everybody is back", || Some(connected(nodes)?.iter().sum::<u64>() >= clients));
    waited.map_err(|failure| {
        let counts = connected(nodes);
        Failure::unavailable(format!("{}: of {clients} the nodes have {counts:?}", failure.message))
    })
}

/// How many clients each node has. `None`: one does not answer.
fn connected(nodes: &[Node]) -> Option<Vec<u64>> {
    let with_sockets = nodes.iter().filter(|node| node.addresses().ws.is_some());
    with_sockets.map(|node| state(node).map(|(_, clients)| clients)).collect()
}

/// The phase of a node's drain, and how many clients it has.
fn state(node: &Node) -> Option<(String, u64)> {
    let (_, body) = http(node.addresses().admin, "GET", "/drain")?;
    let value: serde_json::Value = serde_json::from_str(&body).ok()?;
    Some((value["phase"].as_str()?.to_owned(), value["clients"].as_u64()?))
}

fn ask(node: &Node, method: &str, path: &str) -> Result<(), Failure> {
    match http(node.addresses().admin, method, path) {
        Some((200 | 202, _)) => Ok(()),
        answer => Err(Failure::unavailable(format!("{} {path}: {answer:?}", node.name()))),
    }
}

fn wait(what: &str, is_so: impl Fn() -> Option<bool>) -> Result<(), Failure> {
    let clock = Clock::start();
    while is_so() != Some(true) {
        if clock.now_ms() > PATIENCE.as_millis() as u64 {
            return Err(Failure::unavailable(format!("not within {PATIENCE:?}: {what}")));
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn finish(mut loaders: Vec<Loader>) -> Result<Vec<Report>, Failure> {
    loaders.iter_mut().try_for_each(|loader| loader.wait_for_word("done"))?;
    loaders.iter_mut().try_for_each(Loader::go_on)?;
    loaders.into_iter().map(Loader::report).collect()
}

fn put(findings: &mut Findings, column: &str, reports: &[Report], back: Duration, fewest: u64, clients: u32) {
    let Some(report) = merge(reports) else { return };
    let send = &report.send;
    let failed: u64 = send.answers.iter().filter(|(status, _)| **status >= 300).map(|(_, count)| count).sum();
    let of = |word: &str| -> u64 {
        report.failures.iter().filter(|(reason, _)| reason.contains(word)).map(|(_, count)| count).sum()
    };
    let mut zero = |name: &str, value: u64| findings.put(column, name, "", Some(0.0), Some(value as f64));
    zero("requests that failed", failed + send.unanswered);
    zero("accepted and lost", send.lost);
    zero("stored twice", send.stored_twice);
    zero("upgrades refused", of("upgrade answered") + of("connect:"));
    zero("upgrades that hung", of("no answer while"));
    zero("clients given another UAID", report.connect.renamed);
    let mut show = |name: &str, unit: &str, value: f64| findings.put(column, name, unit, None, Some(value));
    show("clients", "", f64::from(clients));
    show("requests", "", send.sent as f64);
    show("delivered again, not acknowledged", "", send.duplicated as f64);
    show("answer, p99", "ms", send.answer.p99_us as f64 / 1000.0);
    show("answer, max", "ms", send.answer.max_us as f64 / 1000.0);
    show("restart until everybody is back, longest", "s", back.as_secs_f64());
    show("clients of the emptiest node after shedding", "", fewest as f64);
    findings.runs.push(Run::new(column, report));
}
