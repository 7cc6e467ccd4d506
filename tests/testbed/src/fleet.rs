//! The running servers of one deployment.

use crate::{
    folder,
    node::Node,
    plan::{Plan, Shape},
    process::Ended,
    programs::{Program, Programs},
    redis::RedisServer,
};
use std::path::Path;
use tempfile::TempDir;

/// How many lines of a log [`Fleet::logs`] shows.
const LOG_LINES: usize = 40;

/// Running servers. Killed when dropped.
#[derive(Debug)]
pub struct Fleet {
    shape: Shape,
    nodes: Vec<Node>,
    /// After the nodes, which would only complain about its end.
    redis: Option<RedisServer>,
    folder: TempDir,
}

impl Plan {
    /// Starts all programs without waiting for them.
    pub fn launch(self) -> Fleet {
        let Self { shape, programs, mut store, build } = self;
        let needs_store = programs.iter().any(|planned| !planned.settings.contains_key("BECKON_STORE"));
        let redis = (shape == Shape::Cluster && store.is_none() && needs_store).then(RedisServer::start);
        if let Some(redis) = &redis {
            store = Some(redis.url());
        }
        let build = build.unwrap_or_else(Programs::built);
        let folder = folder::temporary();
        let mut nodes = Vec::new();
        for mut planned in programs {
            if planned.program == Program::Beckon {
                let data = folder.path().join("data").to_string_lossy().into_owned();
                planned.settings.entry("BECKON_DATA_DIR".to_owned()).or_insert(data);
            }
            if let Some(store) = &store {
                planned.settings.entry("BECKON_STORE".to_owned()).or_insert_with(|| store.clone());
            }
            let log = folder.path().join(format!("{}.log", planned.name));
            let node = Node::new(&build, planned, log);
            node.launch();
            nodes.push(node);
        }
        Fleet { shape, nodes, redis, folder }
    }

    /// Starts all programs and waits until each is ready, whether or not they have found each other.
    pub fn start(self) -> Fleet {
        let fleet = self.launch();
        fleet.wait_until_ready();
        fleet
    }
}

impl Fleet {
    /// How it is run.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Where the programs keep what they keep, and their logs.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The Redis server that was started with it; none if the plan named a store.
    pub fn redis(&self) -> Option<&RedisServer> {
        self.redis.as_ref()
    }

    /// All programs.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// A program by its name in the plan.
    ///
    /// # Panics
    /// If the plan had none of this name.
    pub fn node(&self, name: &str) -> &Node {
        self.nodes.iter().find(|node| node.name() == name).unwrap_or_else(|| panic!("no {name} in the fleet"))
    }

    /// The programs that hold WebSockets.
    pub fn connection_nodes(&self) -> Vec<&Node> {
        self.nodes.iter().filter(|node| node.addresses().ws.is_some()).collect()
    }

    /// The programs that accept notifications.
    pub fn endpoint_nodes(&self) -> Vec<&Node> {
        self.nodes.iter().filter(|node| node.addresses().http.is_some()).collect()
    }

    /// Waits until every program is ready, whether or not they have found each other.
    pub fn wait_until_ready(&self) {
        self.nodes.iter().for_each(Node::wait_until_ready);
    }

    /// Fails if a program has ended.
    ///
    /// # Errors
    /// One has ended.
    pub fn check(&mut self) -> Result<(), Ended> {
        self.nodes.iter().try_for_each(Node::check)?;
        self.redis.as_mut().map_or(Ok(()), |redis| redis.process_mut().check())
    }

    /// The last lines of every program's log.
    pub fn logs(&self) -> String {
        let mut text = String::new();
        for node in &self.nodes {
            let log = node.log();
            let lines: Vec<_> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(LOG_LINES)..];
            text.push_str(&format!("--- {}, last {} lines\n{}\n", node.name(), tail.len(), tail.join("\n")));
        }
        text
    }
}
