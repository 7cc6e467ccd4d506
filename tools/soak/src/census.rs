//! What the programs and the store have while nothing goes on. At the end it is what it was at the start: nothing leaks.

use crate::site::Site;
use beckon_testbed::node::http;
use std::{collections::BTreeMap, fmt, time::Duration};

/// Files and tasks that may have been added: connections between programs that are being replaced, and of this program.
const SPARE: f64 = 64.0;

/// Memory that may have been added to what all programs had, in bytes for each of them. Allocators keep what they needed once.
const SPARE_BYTES: f64 = 64.0 * 1024.0 * 1024.0;

/// What is kept longer than this is a client's that has registered a channel. Records of others go within minutes.
const LASTING: Duration = Duration::from_secs(3_600);

/// The nodes that are there, each with its field. One more field has the revision.
const DIRECTORY: &str = "{beckon}nodes";

/// Clients that are shown.
const SHOWN: usize = 3;

const MIB: f64 = 1024.0 * 1024.0;

/// One count of everything.
#[derive(Debug, Default)]
pub(crate) struct Census {
    programs: BTreeMap<String, Program>,
    /// Clients whose records last.
    clients: usize,
    /// Clients with messages that have not been acknowledged, or such messages in the embedded store.
    pending: usize,
    /// Some of them, with what the store has of them.
    waiting: Vec<String>,
    /// Nodes in the directory; `None` if the store is embedded.
    nodes: Option<usize>,
    /// Keys of the store.
    keys: usize,
    /// What the store needs: memory of Redis, or the files of the embedded store.
    store_bytes: u64,
}

/// What one program says of itself.
#[derive(Debug, Default)]
struct Program {
    memory: f64,
    files: f64,
    tasks: f64,
    /// WebSockets.
    sockets: f64,
    /// Connections of application servers, and those that have not said what they want.
    connections: f64,
    /// The connection-nodes that it knows.
    knows: Option<f64>,
    /// When it was started, in seconds since 1970.
    started: f64,
}

impl Program {
    fn read(metrics: &str) -> Self {
        let sum = |name: &str| sum(metrics, name).unwrap_or_default();
        Self {
            memory: sum("process_resident_memory_bytes"),
            files: sum("process_open_fds"),
            tasks: sum("beckon_worker_tasks"),
            sockets: sum("beckon_connections"),
            connections: sum("beckon_port_connections"),
            knows: self::sum(metrics, "beckon_endpoint_nodes"),
            started: sum("process_start_time_seconds"),
        }
    }
}

/// The sum of all samples of a metric; `None` if there are none.
fn sum(metrics: &str, name: &str) -> Option<f64> {
    let samples = metrics.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let value = rest.strip_prefix(' ').or_else(|| Some(rest.strip_prefix('{')?.rsplit_once("} ")?.1))?;
        value.parse::<f64>().ok()
    });
    samples.fold(None, |sum, sample| Some(sum.unwrap_or_default() + sample))
}

impl Census {
    /// Counts. A program that does not answer has nothing.
    pub(crate) fn take(site: &Site) -> Self {
        let mut census = Self::default();
        for node in site.nodes() {
            let metrics = http(node.addresses().admin, "GET", "/metrics").map(|(_, text)| text);
            let metrics = metrics.unwrap_or_default();
            census.programs.insert(node.name().to_owned(), Program::read(&metrics));
            let of_store = |name: &str| sum(&metrics, name).unwrap_or_default() as usize;
            census.clients += of_store("beckon_store_clients");
            census.pending += of_store("beckon_store_messages");
        }
        if let Some(store) = site.store() {
            let keys = store.keys();
            let lasts = |left: &Option<Duration>| left.is_none_or(|left| left > LASTING);
            census.clients = keys.iter().filter(|(key, left)| key.starts_with("c{") && lasts(left)).count();
            let waiting = || keys.iter().filter_map(|(key, _)| key.strip_prefix("m"));
            census.pending = waiting().filter(|client| client.starts_with('{')).count();
            let has = |client: &str| keys.iter().filter(|(key, _)| key.ends_with(client)).collect::<Vec<_>>();
            let shown = waiting().filter(|client| client.starts_with('{')).take(SHOWN);
            let messages = |client: &str| store.fields_of(&format!("m{client}"));
            census.waiting =
                shown.map(|client| format!("{:?} {:?}", has(client), messages(client))).collect();
            census.nodes = Some(store.fields(DIRECTORY).saturating_sub(1));
            census.keys = keys.len();
            census.store_bytes = store.used_memory();
        } else {
            census.store_bytes = site.file_bytes();
        }
        census
    }

    fn total(&self, of: impl Fn(&Program) -> f64) -> f64 {
        self.programs.values().map(of).sum()
    }

    /// WebSockets that are open.
    pub(crate) fn sockets(&self) -> f64 {
        self.total(|program| program.sockets)
    }

    /// The programs that have been running since an earlier count and need so many bytes more.
    pub(crate) fn grown_since(&self, earlier: &Self, spare: f64) -> Vec<String> {
        let mut grown = Vec::new();
        for (name, Program { memory, started, .. }) in &self.programs {
            let Some(before) = earlier.programs.get(name) else { continue };
            if before.started == *started && *memory > before.memory + spare {
                grown.push(format!("{name}: {:.0} MiB, {:.0} before", memory / MIB, before.memory / MIB));
            }
        }
        grown
    }

    /// What is more than there should be, with so many connected devices, or less.
    pub(crate) fn differences(&self, before: &Self, devices: usize) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        let mut expect = |is_so: bool, what: &'static str, numbers: String| {
            if !is_so {
                found.push((what, numbers));
            }
        };
        let sockets = self.sockets();
        expect(sockets == devices as f64, "sockets that no device has", format!("{sockets} of {devices}"));
        for (what, had, has) in [
            (
                "open files have leaked",
                before.total(|program| program.files),
                self.total(|program| program.files),
            ),
            ("tasks have leaked", before.total(|program| program.tasks), self.total(|program| program.tasks)),
        ] {
            let connections = self.total(|program| program.connections);
            let numbers = format!("{has}, before {had}, with {connections} further connections");
            expect(has <= had + connections + SPARE, what, numbers);
        }
        let memory = |census: &Self| census.total(|program| program.memory);
        let spare = SPARE_BYTES * self.programs.len() as f64;
        let numbers = format!("{:.0} MiB, before {:.0}", memory(self) / MIB, memory(before) / MIB);
        expect(memory(self) <= memory(before) + spare, "memory has leaked", numbers);
        let clients = format!("{} of {devices}", self.clients);
        expect(self.clients <= devices, "records of clients that no device has", clients);
        let pending = format!("{}: {:?}", self.pending, self.waiting);
        expect(self.pending == 0, "messages that were acknowledged are kept", pending);
        let nodes = self.nodes.unwrap_or(self.programs.len());
        let numbers = format!("{nodes} of {}", self.programs.len());
        expect(nodes == self.programs.len(), "nodes in the directory", numbers);
        for (name, program) in &self.programs {
            let had = before.programs.get(name).and_then(|before| before.knows);
            let numbers = format!("{name}: {:?}, before {had:?}", program.knows);
            expect(program.knows == had, "connection-nodes that an endpoint-node knows", numbers);
        }
        found
    }
}

impl fmt::Display for Census {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { clients, pending, nodes, keys, store_bytes, .. } = self;
        let store = *store_bytes as f64 / MIB;
        write!(f, "  store: {store:.1} MiB, {clients} clients, {pending} with messages")?;
        if let Some(nodes) = nodes {
            write!(f, ", {nodes} nodes, {keys} keys")?;
        }
        let newest = self.programs.values().map(|program| program.started).fold(0.0, f64::max);
        for (name, Program { memory, files, tasks, sockets, started, .. }) in &self.programs {
            let (memory, older) = (memory / MIB, newest - started);
            write!(f, "\n  {name}: {memory:.0} MiB, {files} files, {tasks} tasks, {sockets} sockets")?;
            write!(f, ", {older:.0} s older than the youngest")?;
        }
        Ok(())
    }
}
