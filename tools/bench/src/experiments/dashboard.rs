//! What the dashboard of a large cluster costs: the node that browsers are connected to, the nodes that it asks, the network.
//!
//! The nodes are made up ([`Program::MadeUpNodes`]): each has an address of its own and answers over gRPC. A real
//! connection-node has the dashboard, and another real one is asked along with them. A browser is a thread that asks what the
//! page asks, as often.

use crate::{
    cluster::{Cluster, programs},
    console::tell,
    findings::Findings,
    settings::Settings,
};
use beckon_ops::{clock::Clock, exit::Failure};
use beckon_testbed::{
    node::http,
    plan::{Plan, SECRET},
    process::Process,
    programs::{Program, Programs},
    wait_until,
};
use std::{
    fs,
    net::SocketAddr,
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread::{self, sleep},
    time::Duration,
};

/// Nodes in the cluster, besides the two real ones.
const NODES: u32 = 500;

/// In the last column so many of them never answer.
const SILENT: u32 = 50;

/// Browsers that look at the same time.
const BROWSERS: [u32; 4] = [0, 1, 5, 20];

/// Seconds of each measurement.
const SECONDS: u32 = 60;

/// How often the page asks, and after how many times it asks for what changes rarely.
const REFRESH: Duration = Duration::from_secs(2);
const RARELY: u64 = 5;

/// After so long without a question the connections are closed, and a few seconds more.
const CLOSED_AFTER: Duration = Duration::from_secs(75);

/// What the made-up nodes say of themselves.
#[derive(Debug, Clone, Copy, Default, serde::Deserialize)]
struct Told {
    asked: u64,
    read: u64,
    written: u64,
    connections: u64,
}

/// What browsers have seen: how many answers, their bytes, and their times in microseconds.
#[derive(Debug, Default)]
struct Seen {
    answers: AtomicU64,
    bytes: AtomicU64,
    us: AtomicU64,
    longest_us: AtomicU64,
}

/// What has been used up to now.
#[derive(Debug, Clone, Copy)]
struct Reading {
    at_us: u64,
    /// CPU of the node with the dashboard, and of the real one that is asked.
    here_us: f64,
    asked_us: f64,
    told: Told,
}

/// A cluster with made-up nodes in it.
struct Scene {
    cluster: Cluster,
    crowd: Process,
    clock: Clock,
}

/// Measures with more and more browsers, and then with nodes that never answer.
pub(super) fn conduct(settings: &Settings, findings: &mut Findings) -> Result<(), Failure> {
    let programs = programs(settings)?;
    let time = Duration::from_secs(settings.scaled(SECONDS).into());
    let nodes = settings.scaled(NODES);
    let scene = Scene::begin(&programs, nodes, 0);
    // What one look has opened is closed by then.
    sleep(CLOSED_AFTER);
    for browsers in BROWSERS {
        let column = match browsers {
            0 => "nobody".to_owned(),
            1 => "1 browser".to_owned(),
            _ => format!("{browsers} browsers"),
        };
        scene.measure(findings, &column, browsers, time);
    }
    sleep(CLOSED_AFTER);
    let left = scene.told().connections as f64;
    findings.put("nobody", "connections, 75 s after the last look", "", Some(0.0), Some(left));
    drop(scene);
    let silent = settings.scaled(SILENT);
    let scene = Scene::begin(&programs, nodes, silent);
    scene.measure(findings, &format!("1 browser, {silent} silent"), 1, time);
    Ok(())
}

impl Scene {
    /// Starts everything, and waits until the dashboard shows all nodes. The endpoint-node is stopped: it would open a stream to
    /// each made-up node, which takes none.
    fn begin(programs: &Programs, nodes: u32, silent: u32) -> Self {
        tell(&format!("dashboard: {nodes} nodes, {silent} of them silent"));
        let cluster = Cluster::start(programs, Plan::cluster(2, 1));
        cluster.nodes().iter().filter(|node| node.addresses().ws.is_none()).for_each(|node| node.kill());
        let (count, silent) = (nodes.to_string(), silent.to_string());
        let store = cluster.store().unwrap_or_default();
        let arguments =
            ["--store", &store, "--cluster-secret", SECRET, "--nodes", &count, "--silent", &silent];
        let log = cluster.folder().join("made-up-nodes.log");
        let crowd = Process::start(&programs.path(Program::MadeUpNodes), &arguments, &[], &log);
        let scene = Self { cluster, crowd, clock: Clock::start() };
        wait_until("all nodes are shown", || {
            let (_, body) = http(scene.admin(), "GET", "/api/cluster")?;
            (body.matches("\"name\":\"made-up-").count() == nodes as usize).then_some(())
        });
        scene
    }

    fn admin(&self) -> SocketAddr {
        self.cluster.nodes()[1].addresses().admin
    }

    /// What the made-up nodes have said last.
    fn told(&self) -> Told {
        let log = self.crowd.log();
        let last = log.lines().rfind(|line| line.starts_with('{') && line.ends_with('}'));
        last.and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default()
    }

    fn reading(&self) -> Reading {
        // They say it once a second.
        let before = self.crowd.log().lines().count();
        wait_until("the made-up nodes say what they were asked", || {
            (self.crowd.log().lines().count() > before).then_some(())
        });
        let [here_us, asked_us] = [1, 2].map(|index| cpu_us(self.cluster.nodes()[index].pid()));
        Reading { at_us: self.clock.now_us(), here_us, asked_us, told: self.told() }
    }

    fn measure(&self, findings: &mut Findings, column: &str, browsers: u32, time: Duration) {
        let (seen, is_over) = (Seen::default(), AtomicBool::new(false));
        let (before, after) = thread::scope(|scope| {
            for number in 0..browsers {
                let (seen, is_over) = (&seen, &is_over);
                scope.spawn(move || self.browse(REFRESH * number / browsers, seen, is_over));
            }
            sleep(REFRESH * 2);
            let before = self.reading();
            seen.reset();
            sleep(time);
            let after = self.reading();
            is_over.store(true, Ordering::Relaxed);
            (before, after)
        });
        let seconds = (after.at_us - before.at_us) as f64 / 1e6;
        let cpu = |of: fn(&Reading) -> f64| Some((of(&after) - of(&before)) / 1e3 / seconds);
        let told = |of: fn(&Told) -> u64| (of(&after.told) - of(&before.told)) as f64;
        let (asked, moved) = (told(|told| told.asked), told(|told| told.read + told.written));
        let [answers, bytes, us, longest_us] = [&seen.answers, &seen.bytes, &seen.us, &seen.longest_us]
            .map(|sum| sum.load(Ordering::Relaxed) as f64);
        let is_seen = answers > 0.0;
        for (name, unit, value) in [
            ("CPU of the node with the dashboard", "ms/s", cpu(|reading| reading.here_us)),
            ("CPU of a real node that is asked", "ms/s", cpu(|reading| reading.asked_us)),
            ("questions to made-up nodes", "1/s", Some(asked / seconds)),
            ("between nodes, both ways", "KB/s", Some(moved / 1e3 / seconds)),
            ("a question and its answer", "bytes", (asked > 0.0).then(|| moved / asked)),
            ("answers to browsers", "1/s", Some(answers / seconds)),
            ("an answer to a browser", "KB", is_seen.then(|| bytes / 1e3 / answers)),
            ("time to it, mean", "ms", is_seen.then(|| us / 1e3 / answers)),
            ("time to it, longest", "ms", is_seen.then_some(longest_us / 1e3)),
        ] {
            findings.put(column, name, unit, None, value);
        }
    }

    /// Asks as the page does, beginning after `delay`.
    fn browse(&self, delay: Duration, seen: &Seen, is_over: &AtomicBool) {
        sleep(delay);
        let mut since = 0;
        for refresh in 0.. {
            if is_over.load(Ordering::Relaxed) {
                return;
            }
            let begun_us = self.clock.now_us();
            if let Some((200, body)) = http(self.admin(), "GET", &format!("/api/cluster?since={since}")) {
                seen.add(body.len() as u64, self.clock.now_us() - begun_us);
                let at =
                    body.strip_prefix("{\"at_ms\":").and_then(|rest| rest.split(',').next()?.parse().ok());
                since = at.unwrap_or(since);
            }
            if refresh % RARELY == 0 {
                http(self.admin(), "GET", "/api/broadcasts");
                http(self.admin(), "GET", "/api/audit");
            }
            sleep(REFRESH.saturating_sub(Duration::from_micros(self.clock.now_us() - begun_us)));
        }
    }
}

impl Seen {
    fn add(&self, bytes: u64, us: u64) {
        self.answers.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.us.fetch_add(us, Ordering::Relaxed);
        self.longest_us.fetch_max(us, Ordering::Relaxed);
    }

    fn reset(&self) {
        for sum in [&self.answers, &self.bytes, &self.us, &self.longest_us] {
            sum.store(0, Ordering::Relaxed);
        }
    }
}

/// CPU time of all threads of a process, in microseconds: finer than the ticks of /proc/PID/stat.
fn cpu_us(pid: u32) -> f64 {
    let threads = fs::read_dir(Path::new("/proc").join(pid.to_string()).join("task"));
    let ns = threads.into_iter().flatten().flatten().filter_map(|thread| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    ns.sum::<u64>() as f64 / 1e3
}
