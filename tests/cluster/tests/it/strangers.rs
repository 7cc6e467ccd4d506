//! Strangers that send anything, from many sockets: raw bytes, damaged requests and frames, and valid messages in any order,
//! over TLS and without.
//!
//! What has to hold: no panic, the right answer to what is well formed, and no error of the server; meanwhile a device and an
//! application server are served; afterwards the programs have no more files open, not much more memory, and the store has a
//! record for each client that said hello and hardly anything else.
//!
//! Each test takes a few seconds. `cargo xtask fuzz strangers --seconds 600` takes longer.

use beckon_cluster_tests::{stage::Stage, stranger::Ports, tls, webpush::KEPT};
use beckon_testbed::{
    node::{Node, http},
    plan::{Plan, Shape},
    until,
};
use fastrand::Rng;
use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{task::JoinSet, time::timeout};

on_both_shapes![strangers_harm_no_one, strangers_harm_no_one_over_tls];

/// Strangers at the same time.
const STRANGERS: u64 = 24;

/// How long they send in an ordinary run of the tests, in seconds.
const SECONDS: u64 = 3;

/// How much a program may grow besides what it keeps of clients, in bytes: caches, and buffers of the allocator.
const GROWTH_MAX: u64 = 64 << 20;

/// How much a store may grow besides the records of clients, in bytes.
const STORE_GROWTH_MAX: u64 = 32 << 20;

/// The most bytes of one client, in the store and in the memory of a program.
const CLIENT_LEN_MAX: u64 = 4096;

/// Keys in Redis besides one for each client.
const KEYS_MAX: u64 = 64;

async fn strangers_harm_no_one(shape: Shape) {
    let_loose(Stage::own(plan(shape))).await;
}

async fn strangers_harm_no_one_over_tls(shape: Shape) {
    let_loose(Stage::own(plan(shape).tls(tls::certificates()))).await;
}

/// A fleet that waits for requests and handshakes for as long as a test does: strangers share the machine with other tests, and
/// a connection that was closed because they had no processor has not got a wrong answer.
fn plan(shape: Shape) -> Plan {
    Plan::new(shape).all("BECKON_HEAD_TIMEOUT", "60s").all("BECKON_TLS_HANDSHAKE_TIMEOUT", "60s")
}

/// How long strangers send, and the seed of what they send.
fn order() -> (Duration, u64) {
    let number = |name: &str| std::env::var_os(name).and_then(|text| text.to_str()?.parse().ok());
    let seconds = number("BECKON_STRANGERS_SECONDS").unwrap_or(SECONDS);
    (Duration::from_secs(seconds), number("BECKON_STRANGERS_SEED").unwrap_or(1))
}

#[expect(clippy::print_stdout, reason = "the summary of a run by hand")]
async fn let_loose(stage: Stage) {
    let (time, seed) = order();
    let registered = stage.registered().await;
    let ports = Arc::new(Ports::of(&stage, &registered.endpoint));
    // What the first strangers leave behind is what programs keep anyway.
    attack(&ports, time.min(Duration::from_secs(SECONDS)), seed).await;
    let before = measure(&stage);
    let is_over = AtomicBool::new(false);
    let attack = async {
        let visits = attack(&ports, time, seed + 1).await;
        is_over.store(true, Ordering::Relaxed);
        visits
    };
    let (visits, served) = tokio::join!(attack, serve_others(&stage, &is_over));
    assert!(served > 0 && visits > STRANGERS, "{served} served, {visits} visits");
    drop(registered);
    let summary = check(&stage, &before, seed).await;
    println!("seed {seed}: {visits} visits of strangers, {served} others served; {summary}");
}

/// Lets strangers loose for this long, and returns how often they have come.
async fn attack(ports: &Arc<Ports>, time: Duration, seed: u64) -> u64 {
    let is_over = Arc::new(AtomicBool::new(false));
    let mut strangers = JoinSet::new();
    for number in 0..STRANGERS {
        let (ports, is_over, mut random) =
            (ports.clone(), is_over.clone(), Rng::with_seed(seed << 32 | number));
        strangers.spawn(async move {
            let mut visits = 0;
            while !is_over.load(Ordering::Relaxed) {
                ports.visit(&mut random).await;
                visits += 1;
            }
            visits
        });
    }
    // One that ends before has panicked.
    let early = timeout(time, strangers.join_next()).await;
    is_over.store(true, Ordering::Relaxed);
    assert!(early.is_err(), "seed {seed}: {early:?}");
    strangers.join_all().await.iter().sum()
}

/// Devices and application servers of both dialects, one after another. Returns how many were served.
async fn serve_others(stage: &Stage, is_over: &AtomicBool) -> u64 {
    let mut served = 0;
    while !is_over.load(Ordering::Relaxed) {
        let mut device = stage.registered().await;
        for version in 1..4 {
            let status = stage.put(&device.endpoint, version).await;
            assert!(status == 200 || status == 202, "{status}");
            device.client.expect_update(&device.channel, version).await;
            device.client.ack(&device.channel, version).await;
        }
        device.client.leave().await;
        let mut browser = stage.subscribed().await;
        let id = stage.message(&browser.endpoint, "hello").await;
        browser.client.expect_message(&browser.channel, &id, "hello").await;
        browser.client.ack(&browser.channel, &id).await;
        browser.client.leave().await;
        // One that is read after the next hello.
        let id = stage.accepted(&browser.endpoint, &[KEPT], "").await;
        let mut again = stage.resumed(&browser.uaid).await;
        assert_eq!(again.notification().await["version"], id);
        served += 1;
    }
    served
}

/// What a fleet uses.
struct Usage {
    nodes: Vec<NodeUsage>,
    /// Clients that have said hello.
    claims: u64,
    /// Keys in Redis; 0 without it.
    keys: u64,
    /// Bytes of the store.
    store: u64,
}

struct NodeUsage {
    files: usize,
    memory: u64,
}

fn measure(stage: &Stage) -> Usage {
    let claims = stage.connection_nodes().into_iter().map(|node| {
        let (_, text) = http(node.addresses().admin, "GET", "/metrics").expect("metrics");
        let lines = text
            .lines()
            .filter(|line| line.starts_with("beckon_hellos_total") && line.contains("\"claimed\""));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64).sum::<u64>()
    });
    let (keys, store) = match stage.redis() {
        Some(redis) => {
            // keys=7,expires=3
            let keys = redis.info("db0");
            let keys = keys.split(['=', ',']).nth(1).map_or(0, |keys| keys.parse().unwrap());
            (keys, redis.info("used_memory").parse().unwrap())
        }
        None => (0, bytes_of_store(stage.folder())),
    };
    Usage { nodes: stage.nodes().iter().map(usage).collect(), claims: claims.sum(), keys, store }
}

/// The bytes of the embedded store's files, wherever they are.
fn bytes_of_store(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap().flatten();
    entries
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => bytes_of_store(&entry.path()),
            _ if entry.file_name().to_string_lossy().starts_with("store.") => entry.metadata().unwrap().len(),
            _ => 0,
        })
        .sum()
}

fn usage(node: &Node) -> NodeUsage {
    let folder = format!("/proc/{}", node.pid());
    let files = fs::read_dir(format!("{folder}/fd")).map_or(0, Iterator::count);
    let status = fs::read_to_string(format!("{folder}/status")).unwrap();
    let kibibytes =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")).unwrap();
    NodeUsage { files, memory: kibibytes.parse::<u64>().unwrap() << 10 }
}

/// Checks what strangers have left behind, and says it.
async fn check(stage: &Stage, before: &Usage, seed: u64) -> String {
    let after = measure(stage);
    let claims = after.claims - before.claims;
    let mut grown = Vec::new();
    for (node, (before, after)) in stage.nodes().iter().zip(before.nodes.iter().zip(&after.nodes)) {
        let name = node.name();
        assert!(node.check().is_ok(), "seed {seed}: {name} has ended");
        let (_, metrics) = http(node.addresses().admin, "GET", "/metrics").expect("metrics");
        let is_calm =
            metrics.lines().any(|line| line == "beckon_panics_total 0") && !node.log().contains("panicked");
        assert!(is_calm, "seed {seed}: a panic of {name}:\n{}", node.log());
        let files = before.files + 8;
        let what = format!("seed {seed}: {name} has closed what strangers have opened");
        until(&what, async || (usage(node).files <= files).then_some(())).await;
        let memory = after.memory.saturating_sub(before.memory);
        assert!(
            memory < GROWTH_MAX + CLIENT_LEN_MAX * claims,
            "seed {seed}: {name} has grown by {memory} bytes"
        );
        grown.push(format!("{name} +{} KiB", memory >> 10));
    }
    let keys = after.keys.saturating_sub(before.keys);
    assert!(keys <= claims + KEYS_MAX, "seed {seed}: {keys} further keys in Redis for {claims} clients");
    let store = after.store.saturating_sub(before.store);
    assert!(
        store < STORE_GROWTH_MAX + CLIENT_LEN_MAX * claims,
        "seed {seed}: the store has grown by {store} bytes"
    );
    format!("{claims} hellos, store +{} KiB and {keys} keys, {}", store >> 10, grown.join(", "))
}
