//! A directory with a thousand nodes, four of which are real.

use beckon_cluster_tests::{
    device::{DIALECTS, Device},
    stage::Stage,
};
use beckon_testbed::{
    node::Node,
    plan::{Plan, Shape},
    redis::RedisServer,
    until,
};
use std::time::{Duration, Instant};

/// Nodes of either tier that are made up.
const MADE_UP: usize = 500;

/// Clients of the node that crashes.
const CLIENTS: usize = 100;

/// The time between two announcements of a node.
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(3);

/// How often a node may announce itself in addition because another has crashed.
const EXTRA: u64 = 2;

/// Adds ARGV[1] copies of the entry of a node of each tier, as nodes that keep their leases for an hour. Nothing listens where
/// the copies of the connection-node do, and an address has as many bytes as before.
const MAKE_UP: &str = "
    local function nowhere(port) return '127.0.0.1:' .. string.rep('0', #port - 1) .. '1' end
    local now = redis.call('TIME')[1] * 1000
    local entries = {}
    for _, entry in ipairs(redis.call('HVALS', KEYS[1])) do
        local copy, addresses = string.gsub(entry, '127%.0%.0%.1:(%d+)', nowhere)
        if string.byte(entry) < 32 then entries[addresses > 0 and 'c' or 'e'] = copy end
    end
    local revision = redis.call('HGET', KEYS[1], '')
    for tier, entry in pairs(entries) do
        for number = 1, ARGV[1] do
            local node = string.format('%s%07d', tier, number)
            revision = revision + 1
            redis.call('HSET', KEYS[1], node, entry)
            redis.call('ZADD', KEYS[2], now + 3600000, node)
            redis.call('ZADD', KEYS[3], revision, node)
        end
    end
    redis.call('HSET', KEYS[1], '', string.format('%.0f', revision))";

/// Gives all clients to connections of a node that was made up, and ends its lease.
const CRASH: &str = "
    local node = 'c0000001'
    for number, client in ipairs(redis.call('KEYS', 'c{*')) do
        local head = redis.call('HGET', client, 'm')
        local presence = node .. string.rep('\\0', 6) .. string.char(number / 256, number % 256)
        redis.call('HSET', client, 'm', string.sub(head, 1, 3) .. presence .. string.sub(head, 20))
    end
    redis.call('ZADD', KEYS[2], 1, node)";

fn eval(redis: &RedisServer, script: &str, argument: &str) {
    let keys = ["{beckon}nodes", "{beckon}leases", "{beckon}changes"];
    redis.command(&[&["EVAL", script, "3"], &keys[..], &[argument]].concat());
}

/// What Redis has done for all nodes so far.
#[derive(Debug, Clone, Copy)]
struct Spent {
    at: Instant,
    /// Leases that were renewed, and changes of the directory.
    announcements: u64,
    bytes: u64,
}

impl Spent {
    #[expect(clippy::disallowed_methods, reason = "work per second is what is asserted")]
    fn by(redis: &RedisServer) -> Self {
        let calls = redis.info("cmdstat_zadd");
        let calls = calls.strip_prefix("calls=").and_then(|calls| calls.split(',').next());
        Self {
            at: Instant::now(),
            announcements: calls.unwrap().parse().unwrap(),
            bytes: redis.info("total_net_output_bytes").parse().unwrap(),
        }
    }

    fn since(&self, before: &Self) -> (Duration, u64, u64) {
        (self.at - before.at, self.announcements - before.announcements, self.bytes - before.bytes)
    }
}

/// The number in a sample of a node's metrics.
async fn metric(stage: &Stage, node: &Node, sample: &str) -> usize {
    let answer = stage.get(&format!("http://{}/metrics", node.addresses().admin)).await;
    let text = String::from_utf8_lossy(answer.body()).into_owned();
    let value = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' ')?.parse().ok());
    value.unwrap_or_else(|| panic!("{} has no {sample}", node.name()))
}

/// The number of connection-nodes that an endpoint-node knows.
async fn known(stage: &Stage, node: &Node) -> usize {
    metric(stage, node, "beckon_endpoint_nodes").await
}

/// How often a connection-node has been announced.
async fn announced(stage: &Stage, node: &Node) -> usize {
    metric(stage, node, "beckon_announcements_total{result=\"ok\"}").await
}

/// A node with many clients crashes in a large cluster: each of its clients is sent something, and comes back to another node. The
/// directory is not read more often because of that, and never as a whole.
#[tokio::test]
async fn a_crash_in_a_large_cluster_does_not_load_the_directory() {
    let redis = RedisServer::start();
    let stage = Stage::own(Plan::new(Shape::Cluster).store(redis.url()));
    let nodes = stage.nodes().len() as u64;
    let mut devices = Vec::new();
    for client in 0..CLIENTS {
        let node = stage.connection_nodes()[client % 2];
        let mut device = Device::join(node, DIALECTS[client / 2 % 2]).await;
        device.leave().await;
        devices.push(device);
    }
    eval(&redis, MAKE_UP, &MADE_UP.to_string());
    for node in stage.connection_nodes() {
        // The first of them may have been answered before there were so many nodes.
        let enough = announced(&stage, node).await + 2;
        let reads = async || (announced(&stage, node).await >= enough).then_some(());
        until(&format!("{} has read all nodes", node.name()), reads).await;
    }
    for node in stage.endpoint_nodes() {
        let knows = async || (known(&stage, node).await == MADE_UP + 2).then_some(());
        until(&format!("{} knows all nodes", node.name()), knows).await;
    }
    let begin = Spent::by(&redis);
    tokio::time::sleep(4 * ANNOUNCE_INTERVAL).await;
    let quiet = Spent::by(&redis);
    let (_, announcements, bytes) = quiet.since(&begin);
    let whole = announcements * 2 * MADE_UP as u64 * 50;
    println!("{announcements} announcements while nothing happens: {bytes} bytes from Redis");
    assert!(bytes * 4 < whole, "{announcements} announcements read {bytes} bytes; the directory has {whole}");
    eval(&redis, CRASH, "");
    for (client, device) in devices.iter_mut().enumerate() {
        let sent = device.send(stage.endpoint_nodes()[client % 2]).await;
        device.hello(stage.connection_nodes()[client / 2 % 2]).await;
        device.receive(&sent, ANNOUNCE_INTERVAL).await;
    }
    let (time, announcements, bytes) = Spent::by(&redis).since(&quiet);
    println!(
        "{CLIENTS} clients came back in {time:?}: {announcements} announcements, {bytes} bytes from Redis"
    );
    let regular = nodes * (time.as_secs() / ANNOUNCE_INTERVAL.as_secs() + 1);
    assert!(announcements <= regular + nodes * EXTRA, "{announcements} announcements in {time:?}");
    for node in stage.endpoint_nodes() {
        let forgets = async || (known(&stage, node).await == MADE_UP + 1).then_some(());
        until(&format!("{} has learnt of the crash", node.name()), forgets).await;
    }
}
