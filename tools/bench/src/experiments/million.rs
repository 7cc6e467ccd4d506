//! One million clients, or fewer, on as many nodes as the limit of open files asks for, all on one machine.

use super::handover::{self, Costs};
use crate::{
    chart::{Chart, Series},
    cluster::{Cluster, programs},
    console::tell,
    findings::{Findings, Run},
    load::{Load, Loader},
    machine,
    settings::Settings,
};
use beckon_loadgen::{
    measure::{Kernel, Usage},
    merge::merge,
    report::Report,
};
use beckon_ops::{clock::Clock, exit::Failure};
use beckon_testbed::plan::Plan;
use std::{fs, ops::Range, thread, time::Duration};

/// Clients that a node has room for beyond its share: who comes back goes to the next node, and not all nodes are
/// left by as many as come.
const ROOM: u32 = 700;

/// Endpoint-nodes.
const ENDPOINT_NODES: usize = 2;

/// Senders of each load generator: some for each endpoint-node, so that one slow answer delays nothing.
const SENDERS: usize = ENDPOINT_NODES * 3;

/// Share of the clients that drop their connections and come back, per second.
const CHURN: f64 = 0.001;

/// Clients that are connecting at a time, in all.
const CONNECTING_MAX: usize = 1_024;

/// Seconds of sending, if nothing else is asked for.
const SECONDS: u32 = 120;

/// The budget in bytes for each client, with both ends of its connection and everything else: for the check before the
/// start, and for the whole.
const BYTES_PER_CLIENT: u64 = 16_000;

/// Addresses of this machine that each load generator connects from: more than one, so that those ports of an
/// address that wait to be used again do not run out.
const SOURCES: u32 = 2;

/// Nodes whose load generators have source addresses of their own.
const NODES_MAX: u32 = 200;

/// Time of sending before the first node is handed over, and between two hand-overs.
const BETWEEN: Duration = Duration::from_secs(5);

const MEBIBYTE: f64 = 1024.0 * 1024.0;

/// Brings everybody in, sends to all of them while some move, and adds up what it took.
pub(crate) fn conduct(settings: &Settings, findings: &mut Findings) -> Result<(), Failure> {
    let clock = Clock::start();
    let per_node = machine::clients_max().saturating_sub(ROOM).max(1);
    let nodes = settings.clients.div_ceil(per_node);
    check_machine(settings.clients, nodes)?;
    let programs = programs(settings)?;
    let bare = Kernel::now();
    tell(&format!(
        "million: {nodes} connection-nodes, {ENDPOINT_NODES} endpoint-nodes, {nodes} load generators"
    ));
    let places = tempfile::tempdir().map_err(Failure::unavailable)?;
    let mut shape = Plan::cluster(nodes as usize, ENDPOINT_NODES)
        // Each of them has a fraction of a processor.
        .all("BECKON_THREADS", "1");
    for node in shape.programs_mut() {
        let place = places.path().join(&node.name);
        node.set("BECKON_HAND_OVER", &place.to_string_lossy());
    }
    let mut cluster = Cluster::start(&programs, shape);
    let empty = Look::at(&cluster, &[]);
    let mut loaders = (0..nodes)
        .map(|index| loader(settings, &cluster, index, nodes))
        .collect::<Result<Vec<Loader>, Failure>>()?;
    let all = everybody(&mut loaders, &mut cluster, "ready", &clock)?;
    let connected = Look::at(&cluster, &loaders);
    tell(&format!("{all} load generators have all their clients after {} s; sending", clock.now_ms() / 1000));
    loaders.iter_mut().try_for_each(Loader::go_on)?;
    let handed_over = hand_over(&cluster, settings.hand_over)?;
    everybody(&mut loaders, &mut cluster, "done", &clock)?;
    let done = Look::at(&cluster, &loaders);
    loaders.iter_mut().try_for_each(Loader::go_on)?;
    let reports = loaders.into_iter().map(Loader::report).collect::<Result<Vec<Report>, Failure>>()?;
    let report = merge(&reports).ok_or_else(|| Failure::software("no reports"))?;
    let column = format!("{} clients", settings.clients);
    put_memory(
        findings,
        &column,
        settings.clients,
        &bare,
        &[("connected", &connected), ("after sending", &done)],
    );
    put_work(findings, &column, &report, &[&empty, &connected, &done]);
    put_hand_overs(findings, &column, &report, &handed_over);
    findings.charts.extend(draw(&report));
    findings.runs.push(Run::new(column, report));
    Ok(())
}

/// Hands so many connection-nodes over, one after the other.
fn hand_over(cluster: &Cluster, count: usize) -> Result<Vec<Costs>, Failure> {
    let nodes = cluster.nodes().iter().filter(|node| node.addresses().ws.is_some()).take(count);
    let hand_over = |node| {
        thread::sleep(BETWEEN);
        let costs = handover::hand_over(node)?;
        tell(&format!("  {} handed over with a pause of {:.0} ms", node.name(), costs.pause_s * 1000.0));
        Ok(costs)
    };
    nodes.map(hand_over).collect()
}

/// Nothing may be lost, and no client may be disconnected but those that come back on purpose.
fn put_hand_overs(findings: &mut Findings, column: &str, report: &Report, costs: &[Costs]) {
    if costs.is_empty() {
        return;
    }
    let failures: u64 = report.failures.values().sum();
    let closed: f64 = costs.iter().map(|costs| costs.closed).sum();
    let pause = costs.iter().map(|costs| costs.pause_s * 1000.0).fold(0.0, f64::max);
    findings.put(column, "nodes handed over", "", None, Some(costs.len() as f64));
    findings.put(column, "pause, longest", "ms", None, Some(pause));
    findings.put(column, "sockets closed by hand-overs", "", Some(0.0), Some(closed));
    findings.put(column, "clients disconnected, or refused", "", Some(0.0), Some(failures as f64));
    findings.put(column, "accepted and lost", "", Some(0.0), Some(report.send.lost as f64));
    findings.put(column, "delivered again", "", Some(0.0), Some(report.send.duplicated as f64));
}

/// One load generator of many: as many clients as the others, another first node, addresses of its own.
fn loader(settings: &Settings, cluster: &Cluster, index: u32, nodes: u32) -> Result<Loader, Failure> {
    let Range { start, end } = share(settings.clients, index, nodes);
    let first = 1 + index % 250;
    let net = 10 + index / 250;
    let source = format!("127.{net}.{first}.1-127.{net}.{first}.{SOURCES}");
    let seconds = settings.seconds.unwrap_or(SECONDS);
    Load::from(cluster, settings.dialect, index as usize)
        .with("clients", end - start)
        .with("source", source)
        .with("connecting-max", (CONNECTING_MAX / nodes as usize).max(4))
        .with("connect-limit", "30m")
        .with("settle", "5s")
        .with("senders", SENDERS)
        .with("rate", f64::from(settings.rate) / f64::from(nodes))
        .with("send-for", format!("{seconds}s"))
        .with("churn", CHURN)
        .with("grace", "20s")
        .with("wait-stdin", true)
        .start(cluster.folder(), &format!("loadgen-{index}"))
}

/// The clients of one load generator.
fn share(clients: u32, index: u32, nodes: u32) -> Range<u32> {
    let bound = |index: u32| (u64::from(clients) * u64::from(index) / u64::from(nodes)) as u32;
    bound(index)..bound(index + 1)
}

/// Waits until every load generator has come so far, and returns how many they are.
fn everybody(
    loaders: &mut [Loader],
    cluster: &mut Cluster,
    word: &str,
    clock: &Clock,
) -> Result<usize, Failure> {
    let count = loaders.len();
    for (index, loader) in loaders.iter_mut().enumerate() {
        loader.wait_for_word(word)?;
        cluster.check()?;
        let sockets = Kernel::now().tcp_open;
        let seconds = clock.now_ms() / 1000;
        tell(&format!(
            "{seconds:>5} s  {word}: {} of {count} load generators, {sockets} TCP sockets",
            index + 1
        ));
    }
    Ok(count)
}

/// Refuses what this machine cannot hold, and says why.
fn check_machine(clients: u32, nodes: u32) -> Result<(), Failure> {
    let number = |path: &str| -> Option<u64> {
        fs::read_to_string(path).ok()?.split_whitespace().next()?.parse().ok()
    };
    let sockets = u64::from(clients) * 2;
    let refuse = |reason: String| Err(Failure::unavailable(reason));
    if nodes > NODES_MAX {
        let limit = machine::clients_max();
        return refuse(format!(
            "{nodes} nodes of {limit} clients each are more than {NODES_MAX}: raise the limit of open files (ulimit -n)"
        ));
    }
    let needed = u64::from(clients) * BYTES_PER_CLIENT;
    let available = Kernel::now().available;
    if needed > available {
        return refuse(format!("{clients} clients need up to {needed} bytes, and {available} are free"));
    }
    if number("/proc/sys/fs/file-max").is_some_and(|files| files < sockets) {
        return refuse(format!("the system's limit of open files is below {sockets}: sysctl fs.file-max"));
    }
    // Where no rule of a firewall needs it, nothing is tracked, and the limit does not matter.
    let is_tracked = number("/proc/sys/net/netfilter/nf_conntrack_count").is_some_and(|count| count > 0);
    let tracked_max = number("/proc/sys/net/netfilter/nf_conntrack_max");
    if is_tracked && tracked_max.is_some_and(|most| most < u64::from(clients)) {
        return refuse(
            "connections are tracked, and fewer than that: sysctl net.netfilter.nf_conntrack_max".to_owned(),
        );
    }
    let ports = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut bounds = ports.split_whitespace().filter_map(|bound| bound.parse::<u32>().ok());
    let count = bounds.next().zip(bounds.next()).map_or(u32::MAX, |(first, last)| last.saturating_sub(first));
    if count.saturating_mul(SOURCES) < machine::clients_max().min(clients) {
        return refuse(format!(
            "{count} ports of an address are too few: sysctl net.ipv4.ip_local_port_range"
        ));
    }
    Ok(())
}

/// What everything uses at one moment.
struct Look {
    kernel: Kernel,
    parts: Vec<(&'static str, Usage)>,
}

/// The parts of the whole, as the report has them.
const PARTS: [&str; 3] = ["connection-node", "endpoint-node", "redis"];

impl Look {
    fn at(cluster: &Cluster, loaders: &[Loader]) -> Self {
        let mut parts: Vec<(&str, Usage)> = PARTS.iter().map(|name| (*name, cluster.usage(name))).collect();
        let mut load = Usage::default();
        loaders.iter().filter_map(|loader| Usage::of(loader.pid())).for_each(|usage| load.add(&usage));
        parts.push(("loadgen", load));
        Self { kernel: Kernel::now(), parts }
    }

    fn cpu_us(&self, name: &str) -> f64 {
        self.parts.iter().filter(|(part, _)| *part == name).map(|(_, usage)| usage.cpu_us() as f64).sum()
    }
}

fn put_memory(findings: &mut Findings, column: &str, clients: u32, bare: &Kernel, looks: &[(&str, &Look)]) {
    for (when, look) in looks {
        let mut put = |name: &str, bytes: u64, budget: Option<u64>| {
            let budget = budget.map(|bytes| bytes as f64 / MEBIBYTE);
            findings.put(column, &format!("{when}: {name}"), "MiB", budget, Some(bytes as f64 / MEBIBYTE));
            let title = format!("{when}: {name}, per client");
            findings.put(column, &title, "bytes", None, Some(bytes as f64 / f64::from(clients)));
        };
        let slab = look.kernel.slab.saturating_sub(bare.slab);
        let buffers = look.kernel.sockets.saturating_sub(bare.sockets);
        put("kernel, its own objects", slab, None);
        put("kernel, buffers of sockets", buffers, None);
        for (name, usage) in &look.parts {
            put(name, usage.rss, None);
        }
        let programs: u64 = look.parts.iter().map(|(_, usage)| usage.rss).sum();
        put("all of these", slab + buffers + programs, Some(u64::from(clients) * BYTES_PER_CLIENT));
        // What programs share is counted once here, and what the rest of the machine does is in it.
        put("less left of the machine", bare.available.saturating_sub(look.kernel.available), None);
        let tcp = look.kernel.tcp_open as f64;
        findings.put(column, &format!("{when}: TCP sockets, both ends"), "", None, Some(tcp));
    }
}

fn put_work(findings: &mut Findings, column: &str, report: &Report, looks: &[&Look; 3]) {
    let [empty, connected, done] = looks;
    let (connect, send) = (&report.connect, &report.send);
    let mut put = |name: &str, unit: &str, value: f64| findings.put(column, name, unit, None, Some(value));
    put("connecting took", "s", connect.took_us as f64 / 1e6);
    put("connects with hello and register", "1/s", connect.per_second);
    put("hello, p99", "ms", connect.hello.p99_us as f64 / 1000.0);
    put("sent", "", send.sent as f64);
    put("delivered", "", send.delivered as f64);
    put("delivered per second", "1/s", send.delivered_per_second);
    for (name, us) in [
        ("p50", send.delivery.p50_us),
        ("p99", send.delivery.p99_us),
        ("p99.9", send.delivery.p999_us),
        ("max", send.delivery.max_us),
    ] {
        put(&format!("due to delivered, {name}"), "ms", us as f64 / 1000.0);
    }
    put("due to sent by loadgen, p99", "ms", send.lateness.p99_us as f64 / 1000.0);
    put("due, and not sent in time", "", send.overdue as f64);
    put("accepted, not delivered", "", send.lost as f64);
    put("delivered twice", "", send.duplicated as f64);
    put("delivered after a newer one", "", send.disordered as f64);
    let refused: u64 =
        send.answers.iter().filter(|(status, _)| **status >= 300).map(|(_, count)| count).sum();
    put("refused or unanswered", "", (refused + send.unanswered) as f64);
    put("dropped and came back", "", connect.dropped as f64);
    put("given another UAID then", "", connect.renamed as f64);
    put("back until ready, p99", "ms", connect.reconnect.p99_us as f64 / 1000.0);
    let clients = f64::from(report.plan.clients);
    for name in PARTS.iter().copied().chain(["loadgen"]) {
        let spent = |from: &Look, to: &Look| to.cpu_us(name) - from.cpu_us(name);
        put(&format!("CPU per connect, {name}"), "us", spent(empty, connected) / clients);
        // Who comes back is in it too.
        let sending = spent(connected, done) / (send.delivered as f64).max(1.0);
        put(&format!("CPU of sending, per notification, {name}"), "us", sending);
    }
}

/// Rates and latencies over the time of sending.
fn draw(report: &Report) -> [Chart; 2] {
    let busy: Vec<_> = report.timeline.iter().filter(|tick| tick.sent + tick.delivered > 0).collect();
    let start_us = busy.first().map_or(0, |tick| tick.at_us);
    let curve = |name: &str, value: &dyn Fn(&beckon_loadgen::stats::Tick) -> f64| Series {
        name: name.to_owned(),
        points: busy.iter().map(|tick| ((tick.at_us - start_us) as f64 / 1e6, value(tick))).collect(),
    };
    let rates =
        vec![curve("sent", &|tick| tick.sent as f64), curve("delivered", &|tick| tick.delivered as f64)];
    let latencies = vec![
        curve("p50, mean of the load generators", &|tick| tick.latency.p50_us as f64 / 1000.0),
        curve("p99, of the slowest of them", &|tick| tick.latency.p99_us as f64 / 1000.0),
    ];
    let title = |what: &str| format!("{what}, {} clients", report.plan.clients);
    [
        Chart::new("rate", &title("Notifications"), "seconds", "per second", rates),
        Chart::new("latency", &title("Latency"), "seconds", "ms from due to delivered", latencies),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_belongs_to_one_load_generator() {
        let shares: Vec<Range<u32>> = (0..54).map(|index| share(1_000_000, index, 54)).collect();
        assert_eq!((shares[0].start, shares[53].end), (0, 1_000_000));
        assert!(shares.windows(2).all(|pair| pair[0].end == pair[1].start));
        assert!(shares.iter().all(|share| (18_518..=18_519).contains(&(share.end - share.start))));
    }

    #[test]
    fn what_the_machine_cannot_hold_is_refused() {
        assert!(check_machine(u32::MAX, 1).unwrap_err().message.contains("are free"));
        assert!(check_machine(1, NODES_MAX + 1).unwrap_err().message.contains("ulimit -n"));
    }
}
