//! The running programs that a test talks to.

use crate::{
    node::Node,
    plan::Plan,
    process::{DIE_WITH_PARENT, on_launcher},
    stage::Stage,
    until,
};
use beckon_store::{harness::Options, harness::RedisServer};
use std::{
    path::Path,
    sync::{Arc, OnceLock},
    thread,
};
use tempfile::TempDir;

/// How the server is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One process with the embedded store.
    Standalone,
    /// Two connection-nodes, two endpoint-nodes and Redis, each a process.
    Cluster,
}

/// Settings that many tests share, so that they can share the programs too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// The defaults of PROTOCOL.md section 1.10.
    Defaults,
    /// Times of seconds instead of minutes.
    ShortTimes,
    /// What the public SimplePush suite wants, low limits, and few origins.
    Strict,
}

const PROFILES: usize = 3;
const SHAPES: usize = 2;

impl Profile {
    fn plan(self, shape: Shape) -> Plan {
        let plan = Plan::new(shape);
        match self {
            Self::Defaults => plan,
            Self::ShortTimes => plan
                .sockets("BECKON_HELLO_TIMEOUT", "2s")
                .sockets("BECKON_PING_MIN_SP", "1s")
                .sockets("BECKON_PING_MIN_WP", "1s")
                .sockets("BECKON_KEEPALIVE_INTERVAL", "2s")
                .sockets("BECKON_KEEPALIVE_TIMEOUT", "1s")
                .sockets("BECKON_SP_RETRY_INTERVAL", "1s"),
            Self::Strict => plan
                .sockets("BECKON_ALLOWED_ORIGINS", "https://app.example, https://other.example:8443")
                .sockets("BECKON_BARE_HELLO", "reject")
                .sockets("BECKON_INVALID_UAID", "503")
                .sockets("BECKON_MAX_CHANNELS_SP", "5")
                .sockets("BECKON_MAX_CHANNELS_WP", "5")
                .sockets("BECKON_BATCH_SIZE", "2")
                .http("BECKON_SP_MAX_DATA", "10")
                .http("BECKON_WP_MAX_DATA", "4096")
                .http("BECKON_MAX_TTL", "60s")
                .http("BECKON_MSG_LIMIT", "4"),
        }
    }
}

/// Running programs. Killed when dropped.
#[derive(Debug)]
pub struct Fleet {
    shape: Shape,
    nodes: Vec<Node>,
    /// Held for its end: the nodes are killed first.
    _redis: Option<RedisServer>,
    directory: TempDir,
}

impl Fleet {
    /// The fleet that all tests of a profile share; the first one starts it. It lives as long as the process,
    /// so a test must not stop anything in it.
    pub fn shared(shape: Shape, profile: Profile) -> Arc<Self> {
        static FLEETS: [[OnceLock<Arc<Fleet>>; PROFILES]; SHAPES] =
            [const { [const { OnceLock::new() }; PROFILES] }; SHAPES];
        let fleet = &FLEETS[shape as usize][profile as usize];
        Arc::clone(fleet.get_or_init(|| {
            forget_former_runs();
            Arc::new(profile.plan(shape).start())
        }))
    }

    /// Starts all programs without waiting for anything.
    pub fn launch(plan: Plan) -> Self {
        let Plan { shape, programs, mut store } = plan;
        let redis = (shape == Shape::Cluster && store.is_none()).then(redis_of_launcher);
        if let Some(redis) = &redis {
            store = Some(redis.url());
        }
        let directory = tempfile::Builder::new()
            .prefix(&format!("{DIRECTORY_PREFIX}{}-", std::process::id()))
            .tempdir()
            .expect("a temporary directory");
        let mut nodes = Vec::new();
        for mut planned in programs {
            if planned.program == crate::programs::Program::Beckon {
                planned.set("BECKON_DATA_DIR", &directory.path().join("data").to_string_lossy());
            }
            if let Some(store) = &store {
                planned.settings.entry("BECKON_STORE".to_owned()).or_insert_with(|| store.clone());
            }
            let log = directory.path().join(format!("{}.log", planned.name));
            nodes.push(Node::new(planned.program, planned.name, planned.addresses, planned.settings, log));
        }
        for node in &nodes {
            node.launch();
        }
        Self { shape, nodes, _redis: redis, directory }
    }

    /// How it is run.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Where the programs keep what they keep.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// All programs.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// A program by its name in the plan.
    pub fn node(&self, name: &str) -> &Node {
        self.nodes.iter().find(|node| node.name() == name).unwrap_or_else(|| panic!("no {name} in the fleet"))
    }

    /// The programs that hold WebSockets.
    pub fn connection_nodes(&self) -> Vec<&Node> {
        self.nodes.iter().filter(|node| node.addresses().ws.is_some()).collect()
    }

    /// The programs that take PUTs.
    pub fn endpoint_nodes(&self) -> Vec<&Node> {
        self.nodes.iter().filter(|node| node.addresses().http.is_some()).collect()
    }

    /// Waits until every program is ready and has found the others: until a PUT to any node that takes PUTs
    /// reaches a client on any node that holds WebSockets.
    pub fn wait_until_ready(&self) {
        for node in &self.nodes {
            node.wait_until_ready();
        }
        // In a thread of its own, because a test that waits here is in a runtime already.
        thread::scope(|scope| {
            let ready = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.expect("a runtime").block_on(self.wait_until_connected());
            });
            if let Err(panic) = ready.join() {
                std::panic::resume_unwind(panic);
            }
        });
    }

    async fn wait_until_connected(&self) {
        for node in self.connection_nodes() {
            let mut client = Stage::client_of(node).await;
            client.hello().await;
            let channel = crate::talk::new_channel();
            let endpoint = client.register(&channel).await;
            for endpoint_node in self.endpoint_nodes() {
                let what = format!("{} reaches {}", endpoint_node.name(), node.name());
                until(&what, async || {
                    (Stage::put_through(endpoint_node, &endpoint, 1).await == 200).then_some(())
                })
                .await;
            }
            client.leave().await;
        }
    }

    /// The last lines of every program's log.
    pub fn logs(&self) -> String {
        const LINES: usize = 40;
        let mut text = String::new();
        for node in &self.nodes {
            let log = node.log();
            let lines: Vec<_> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(LINES)..];
            text.push_str(&format!("--- {}, last {} lines\n{}\n", node.name(), tail.len(), tail.join("\n")));
        }
        text
    }
}

/// A Redis that lives as long as this process or its handle, whichever ends first.
fn redis_of_launcher() -> RedisServer {
    on_launcher(|| {
        let launcher = DIE_WITH_PARENT.map(str::to_owned).to_vec();
        RedisServer::start_with(Options { launcher, ..Options::default() })
    })
}

/// Directories of fleets begin with this and the process id.
const DIRECTORY_PREFIX: &str = "beckon-test-";

/// Shared fleets are never dropped, so their directories stay: removes those of runs that have ended.
fn forget_former_runs() {
    let Ok(entries) = std::fs::read_dir(std::env::temp_dir()) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix(DIRECTORY_PREFIX).and_then(|rest| rest.split('-').next());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            // Another run may be removing it too.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
