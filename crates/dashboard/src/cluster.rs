//! The whole cluster as it is now: one reading of each node for all operators who look, and none while nobody does.
//!
//! A reading is made when it is asked for and the last one is older than [`FRESH_MS`]. So a node answers one question in that
//! time, and the store one reading of the directory, however many browsers are open at this node.

use crate::{
    others::Others,
    rates::{Difference, Quantiles},
};
use beckon_ops::clock::Clock;
use beckon_proto::admin::{Answer, AuditLine, Question, Status};
use beckon_store::{NodeEntry, Store};
use beckon_types::NodeId;
use futures_util::{StreamExt as _, future::BoxFuture, stream};
use serde::Serialize;
use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
};
use tokio::sync::Mutex;

/// For so long a reading is shown to all who ask.
const FRESH_MS: u64 = 1000;

/// Points of the charts that are kept.
const HISTORY_LEN: usize = 300;

/// A node that has left the directory is shown for so long, unless another run of it is there.
const LEFT_SHOWN_MS: u64 = 5 * 60 * 1000;

/// Nodes that are asked at the same time.
const ASKED_AT_ONCE: usize = 1024;

/// Changes of operators that are shown.
const AUDIT_LINES_MAX: usize = 100;

/// Reads the cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    others: Arc<Others>,
    store: Arc<dyn Store>,
    clock: Clock,
    state: Mutex<State>,
    audit: Mutex<AuditReading>,
}

/// What operators have changed, as it was read last.
#[derive(Debug, Default)]
struct AuditReading {
    /// When, in milliseconds of the clock.
    read_ms: Option<u64>,
    lines: Vec<AuditLine>,
    /// Nodes that have not answered.
    silent: usize,
}

#[derive(Debug, Default)]
struct State {
    /// When the last reading was made, in milliseconds of the clock.
    read_ms: Option<u64>,
    directory: Vec<NodeEntry>,
    nodes: HashMap<NodeId, Known>,
    history: VecDeque<Point>,
    /// Why the directory is that of an earlier reading.
    directory_failure: Option<String>,
}

/// A node that has been in the directory.
#[derive(Debug, Clone)]
struct Known {
    name: String,
    /// Its last answer.
    status: Option<Box<Status>>,
    /// What it did between its last two answers.
    difference: Option<Difference>,
    /// When it answered last, in milliseconds of the clock.
    answered_ms: Option<u64>,
    /// Why it has not answered this time.
    failure: Option<String>,
    /// When the directory had it last.
    listed_ms: u64,
}

/// The cluster, for operators.
#[derive(Debug, Serialize)]
pub(crate) struct Overview {
    /// When it was read, in milliseconds since 1970.
    at_ms: u64,
    /// The name of the node that has read it.
    by: String,
    /// Whether some of it is missing or old.
    partial: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    directory_failure: Option<String>,
    nodes: Vec<NodeView>,
    /// The points of the charts that are newer than the one that was named, oldest first.
    history: Vec<Point>,
}

/// A node, for operators.
#[derive(Debug, Clone, Serialize)]
struct NodeView {
    id: String,
    name: String,
    /// `ok`, `silent`, or `gone` from the directory.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
    /// How old its figures are.
    #[serde(skip_serializing_if = "Option::is_none")]
    age_ms: Option<u64>,
    program: String,
    version: String,
    commit: String,
    phase: String,
    unready: String,
    sockets: u64,
    sockets_max: u64,
    figures: BTreeMap<String, f64>,
    rates: BTreeMap<String, f64>,
    quantiles: BTreeMap<String, Quantiles>,
}

/// The cluster at one moment, for the charts.
#[derive(Debug, Clone, Serialize)]
struct Point {
    at_ms: u64,
    sockets: u64,
    /// Whether a node is missing in it.
    partial: bool,
    rates: BTreeMap<String, f64>,
    quantiles: BTreeMap<String, Quantiles>,
}

impl Cluster {
    /// A cluster that has not been read yet.
    pub(crate) fn new(others: Arc<Others>, store: Arc<dyn Store>, clock: Clock) -> Self {
        Self { others, store, clock, state: Mutex::default(), audit: Mutex::default() }
    }

    /// The cluster as it is now, or was [`FRESH_MS`] ago, with the points of the charts that are newer than `since_ms`.
    pub(crate) async fn overview(&self, since_ms: u64) -> Overview {
        let mut state = self.state.lock().await;
        self.refresh(&mut state).await;
        state.overview(since_ms, self.clock.now_ms(), self.others.local.id())
    }

    /// The nodes in the directory, as read for the last overview or now.
    pub(crate) async fn directory(&self) -> Vec<NodeEntry> {
        let mut state = self.state.lock().await;
        if state.is_due(self.clock.now_ms()) {
            self.read_directory(&mut state).await;
        }
        state.directory.clone()
    }

    /// What operators have changed through any node, newest first, now or [`FRESH_MS`] ago; and how many nodes have not
    /// answered.
    pub(crate) async fn audit(&self) -> (Vec<AuditLine>, usize) {
        let mut audit = self.audit.lock().await;
        if is_due(audit.read_ms, self.clock.now_ms()) {
            *audit = self.read_audit().await;
        }
        (audit.lines.clone(), audit.silent)
    }

    async fn read_audit(&self) -> AuditReading {
        let directory = self.directory().await;
        let mut silent = 0;
        let mut lines = Vec::new();
        for (_, answer) in self.ask_all(&directory, Question::Audit).await {
            match answer {
                Ok(Answer::Audit(of_node)) => lines.extend(of_node),
                Ok(Answer::Status(_) | Answer::Done { .. } | Answer::Refused(_) | Answer::Socket { .. })
                | Err(_) => silent += 1,
            }
        }
        lines.sort_by_key(|line| std::cmp::Reverse(line.at_ms));
        lines.truncate(AUDIT_LINES_MAX);
        AuditReading { read_ms: Some(self.clock.now_ms()), lines, silent }
    }

    async fn ask_all(
        &self,
        directory: &[NodeEntry],
        question: Question,
    ) -> Vec<(NodeId, Result<Answer, String>)> {
        let ask = |node: NodeId| -> BoxFuture<'_, _> {
            let asked = self.others.ask(directory, node, question);
            Box::pin(async move { (node, asked.await.map_err(|unanswered| unanswered.to_string())) })
        };
        let nodes: Vec<NodeId> = directory.iter().map(|entry| entry.node).collect();
        let asked = stream::iter(nodes).map(ask);
        asked.buffer_unordered(ASKED_AT_ONCE).collect().await
    }

    async fn refresh(&self, state: &mut State) {
        if !state.is_due(self.clock.now_ms()) {
            return;
        }
        self.read_directory(state).await;
        let answers = self.ask_all(&state.directory, Question::Status).await;
        let (now_ms, at_ms) = (self.clock.now_ms(), self.clock.unix_ms());
        state.read_ms = Some(now_ms);
        for (node, answer) in answers {
            state.take(node, answer, now_ms);
        }
        state.forget(now_ms);
        state.add_point(at_ms);
    }

    async fn read_directory(&self, state: &mut State) {
        match self.store.nodes().await {
            Ok(nodes) => {
                self.others.forget_others(&nodes);
                (state.directory, state.directory_failure) = (nodes, None);
            }
            Err(error) => state.directory_failure = Some(error.to_string()),
        }
        // Before its first announcement, and while the store is away, this node can still show itself.
        let local = &self.others.local;
        if !state.directory.iter().any(|entry| entry.node == local.id()) {
            state.directory.push(NodeEntry {
                node: local.id(),
                name: local.admin().name().to_owned(),
                grpc_address: String::new(),
                workers: 1,
                ws_url: None,
                room: false,
                keys: Vec::new(),
            });
        }
        let now_ms = self.clock.now_ms();
        for NodeEntry { node, name, .. } in &state.directory {
            state.nodes.entry(*node).or_insert_with(|| Known::new(name)).listed_ms = now_ms;
        }
    }
}

/// Whether a reading is older than [`FRESH_MS`], or there is none.
fn is_due(read_ms: Option<u64>, now_ms: u64) -> bool {
    read_ms.is_none_or(|read_ms| now_ms.saturating_sub(read_ms) >= FRESH_MS)
}

impl State {
    fn is_due(&self, now_ms: u64) -> bool {
        is_due(self.read_ms, now_ms)
    }

    /// Takes what a node has answered.
    fn take(&mut self, node: NodeId, answer: Result<Answer, String>, now_ms: u64) {
        let Some(known) = self.nodes.get_mut(&node) else { return };
        known.failure = match answer {
            Ok(Answer::Status(status)) => {
                let before = known.status.as_deref();
                known.difference = before.and_then(|before| Difference::between(before, &status));
                known.status = Some(status);
                known.answered_ms = Some(now_ms);
                None
            }
            Ok(Answer::Refused(reason)) => Some(reason),
            Ok(Answer::Done { .. } | Answer::Audit(_) | Answer::Socket { .. }) => {
                Some("the node is of another version".into())
            }
            Err(reason) => Some(reason),
        };
        if known.failure.is_some() {
            known.difference = None;
        }
    }

    /// Forgets nodes that left the directory long ago, or have come back as another run.
    fn forget(&mut self, now_ms: u64) {
        let listed: HashSet<NodeId> = self.directory.iter().map(|entry| entry.node).collect();
        let names: HashSet<&str> = self.directory.iter().map(|entry| &*entry.name).collect();
        self.nodes.retain(|node, known| {
            let is_back = names.contains(&*known.name);
            listed.contains(node) || (!is_back && now_ms.saturating_sub(known.listed_ms) < LEFT_SHOWN_MS)
        });
    }

    fn is_listed(&self, node: NodeId) -> bool {
        self.directory.iter().any(|entry| entry.node == node)
    }

    fn is_partial(&self) -> bool {
        let mut listed = self.nodes.iter().filter(|(node, _)| self.is_listed(**node));
        self.directory_failure.is_some() || listed.any(|(_, known)| known.failure.is_some())
    }

    fn add_point(&mut self, at_ms: u64) {
        let mut sum = Difference::default();
        let mut sockets = 0_u64;
        for (node, known) in &self.nodes {
            if self.is_listed(*node) && known.failure.is_none() {
                let of_node = known.status.as_ref().map_or(0, |status| status.sockets);
                sockets = sockets.saturating_add(of_node);
            }
            if let Some(difference) = &known.difference {
                sum.add(difference);
            }
        }
        let (partial, quantiles) = (self.is_partial(), sum.quantiles());
        if self.history.len() >= HISTORY_LEN {
            self.history.pop_front();
        }
        self.history.push_back(Point { at_ms, sockets, partial, rates: sum.rates, quantiles });
    }

    fn overview(&self, since_ms: u64, now_ms: u64, by: NodeId) -> Overview {
        let mut nodes: Vec<NodeView> =
            self.nodes.iter().map(|(node, known)| known.view(*node, self.is_listed(*node), now_ms)).collect();
        nodes.sort_by(|a, b| (&a.program, &a.name, &a.id).cmp(&(&b.program, &b.name, &b.id)));
        let newer = self.history.iter().filter(|point| point.at_ms > since_ms);
        Overview {
            at_ms: self.history.back().map_or(0, |point| point.at_ms),
            by: self.nodes.get(&by).map(|known| known.name.clone()).unwrap_or_default(),
            partial: self.is_partial(),
            directory_failure: self.directory_failure.clone(),
            nodes,
            history: newer.cloned().collect(),
        }
    }
}

impl Known {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            status: None,
            difference: None,
            answered_ms: None,
            failure: None,
            listed_ms: 0,
        }
    }

    fn view(&self, node: NodeId, is_listed: bool, now_ms: u64) -> NodeView {
        let status = self.status.as_deref().cloned().unwrap_or_default();
        let state = match (is_listed, &self.failure) {
            (false, _) => "gone",
            (true, Some(_)) => "silent",
            (true, None) => "ok",
        };
        NodeView {
            id: node.to_string(),
            name: self.name.clone(),
            state,
            failure: self.failure.clone(),
            age_ms: self.answered_ms.map(|answered_ms| now_ms.saturating_sub(answered_ms)),
            program: status.program,
            version: status.version,
            commit: status.commit,
            phase: status.phase,
            unready: status.unready,
            sockets: status.sockets,
            sockets_max: status.sockets_max,
            figures: status.figures,
            rates: self.difference.as_ref().map(|difference| difference.rates.clone()).unwrap_or_default(),
            quantiles: self.difference.as_ref().map(Difference::quantiles).unwrap_or_default(),
        }
    }
}

/// A node of which nothing but its name matters.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn named(node: u64, name: &str) -> NodeEntry {
    NodeEntry {
        node: NodeId(node),
        name: name.to_owned(),
        grpc_address: String::new(),
        workers: 1,
        ws_url: None,
        room: true,
        keys: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(sockets: u64, hellos: f64, clock_us: u64) -> Result<Answer, String> {
        let figures = [("hellos".to_owned(), hellos)].into();
        Ok(Answer::Status(Box::new(Status { sockets, clock_us, figures, ..Status::default() })))
    }

    /// A state whose directory has these nodes, which have answered this.
    fn read(state: &mut State, now_ms: u64, nodes: &[(u64, &str, Result<Answer, String>)]) {
        state.directory = nodes.iter().map(|(node, name, _)| named(*node, name)).collect();
        for (node, name, answer) in nodes {
            let known = state.nodes.entry(NodeId(*node)).or_insert_with(|| Known::new(name));
            known.listed_ms = now_ms;
            state.take(NodeId(*node), answer.clone(), now_ms);
        }
        state.forget(now_ms);
        state.add_point(now_ms);
    }

    #[test]
    fn a_silent_node_is_marked_and_counts_for_nothing() {
        let mut state = State::default();
        read(&mut state, 1000, &[(1, "a", answered(5, 0.0, 0)), (2, "b", answered(7, 0.0, 0))]);
        let both = [(1, "a", answered(5, 10.0, 1_000_000)), (2, "b", answered(8, 20.0, 1_000_000))];
        read(&mut state, 2000, &both);
        let overview = state.overview(1000, 2000, NodeId(1));
        assert!(!overview.partial);
        assert_eq!(overview.history.len(), 1, "the points that are newer");
        assert_eq!((overview.history[0].sockets, overview.history[0].rates["hellos"]), (13, 30.0));
        read(&mut state, 3000, &[(1, "a", answered(5, 20.0, 2_000_000)), (2, "b", Err("silent".into()))]);
        let overview = state.overview(2000, 3500, NodeId(1));
        assert!(overview.partial && overview.history[0].partial);
        assert_eq!((overview.history[0].sockets, overview.history[0].rates["hellos"]), (5, 10.0));
        let silent = &overview.nodes[1];
        assert_eq!((silent.state, silent.age_ms, silent.sockets), ("silent", Some(1500), 8));
        assert!(silent.rates.is_empty(), "what it did before is not what it does now");
    }

    #[test]
    fn a_node_that_left_is_shown_for_a_while() {
        let mut state = State::default();
        read(&mut state, 1000, &[(1, "a", answered(5, 0.0, 0)), (2, "b", answered(7, 0.0, 0))]);
        read(&mut state, 2000, &[(1, "a", answered(5, 0.0, 1_000_000))]);
        let states = |state: &State| {
            let overview = state.overview(0, 2000, NodeId(1));
            assert!(!overview.partial, "what is gone is not missing");
            let views = overview.nodes.into_iter().map(|node| (node.name, node.state));
            views.collect::<Vec<_>>()
        };
        assert_eq!(states(&state), [("a".to_owned(), "ok"), ("b".to_owned(), "gone")]);
        assert_eq!(state.history[1].sockets, 5);
        let late = 2000 + LEFT_SHOWN_MS;
        read(&mut state, late, &[(1, "a", answered(5, 0.0, 2_000_000))]);
        assert_eq!(states(&state), [("a".to_owned(), "ok")]);
        // Another run of a node takes the place of the former one at once.
        read(&mut state, late + 1, &[(3, "a", answered(0, 0.0, 0))]);
        assert_eq!(states(&state), [("a".to_owned(), "ok")]);
    }

    #[test]
    fn the_history_has_a_bound() {
        let mut state = State::default();
        for now_ms in 0..HISTORY_LEN as u64 + 7 {
            state.add_point(now_ms);
        }
        assert_eq!((state.history.len(), state.history[0].at_ms), (HISTORY_LEN, 7));
    }
}
