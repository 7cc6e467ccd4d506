//! The gRPC service of all nodes: the metadata of a call says which one is asked.

use beckon_ops::clock::Clock;
use beckon_proto::{
    admin::{Answer, Question, Status},
    push_v1::{self, Attendance, Call, admin_server::Admin},
    status::Failure,
    target,
};
use beckon_store::NodeEntry;
use beckon_types::NodeId;
use futures_util::stream::BoxStream;
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tonic::{Request, Response, Streaming};

/// What each node does in a second, by the names of the figures that count it.
const RATES: [(&str, f64); 4] = [("hellos", 12.0), ("ends", 11.0), ("sent", 400.0), ("cpu", 0.07)];

/// Entries that each histogram gets in a second.
const TIMES_PER_SECOND: f64 = 400.0;

/// The sockets of each node, and how many it may have.
const SOCKETS: (u64, u64) = (40_000, 50_000);

/// How a node is silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Silence {
    /// It answers.
    None,
    /// It takes questions and never answers them.
    NoAnswer,
    /// It reads nothing.
    Deaf,
}

/// A node.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    pub(crate) silence: Silence,
}

/// All nodes. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Answers(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    nodes: HashMap<NodeId, Node>,
    model: Status,
    keys: Vec<u64>,
    clock: Clock,
    asked: AtomicU64,
    announced: AtomicU64,
}

impl Answers {
    /// These nodes, which answer as the model does and have its token keys.
    pub(crate) fn new(nodes: Vec<Node>, model: Status, keys: Vec<u64>, clock: Clock) -> Self {
        let nodes = nodes.into_iter().map(|node| (node.id, node)).collect();
        let (asked, announced) = (AtomicU64::new(0), AtomicU64::new(0));
        Self(Arc::new(Shared { nodes, model, keys, clock, asked, announced }))
    }

    /// How many questions there were.
    pub(crate) fn asked(&self) -> u64 {
        self.0.asked.load(Ordering::Relaxed)
    }

    /// How many announcements have succeeded.
    pub(crate) fn announced(&self) -> u64 {
        self.0.announced.load(Ordering::Relaxed)
    }

    /// Notes one that has.
    pub(crate) fn count_announced(&self) {
        self.0.announced.fetch_add(1, Ordering::Relaxed);
    }

    /// What the directory has of them.
    pub(crate) fn entries(&self) -> Vec<NodeEntry> {
        let entry = |node: &Node| NodeEntry {
            node: node.id,
            name: node.name.clone(),
            grpc_address: node.address.to_string(),
            workers: 1,
            ws_url: None,
            room: false,
            keys: self.0.keys.clone(),
        };
        self.0.nodes.values().map(entry).collect()
    }

    fn status(&self, node: &Node) -> Status {
        let clock_us = self.0.clock.now_us();
        let seconds = clock_us as f64 / 1e6;
        let mut status = Status { name: node.name.clone(), clock_us, ..self.0.model.clone() };
        (status.sockets, status.sockets_max) = SOCKETS;
        for (name, rate) in RATES {
            *status.figures.entry(name.to_owned()).or_default() += rate * seconds;
        }
        for histogram in status.histograms.values_mut() {
            let buckets = histogram.counts.len() as f64;
            for (index, count) in histogram.counts.iter_mut().enumerate() {
                *count += (TIMES_PER_SECOND * seconds * (index + 1) as f64 / buckets) as u64;
            }
        }
        status
    }
}

#[tonic::async_trait]
impl Admin for Answers {
    async fn ask(
        &self,
        request: Request<push_v1::Question>,
    ) -> Result<Response<push_v1::Answer>, tonic::Status> {
        let node = target::read(request.metadata()).and_then(|id| self.0.nodes.get(&id));
        let node = node.ok_or(Failure::WrongNode)?;
        self.0.asked.fetch_add(1, Ordering::Relaxed);
        if node.silence != Silence::None {
            std::future::pending::<()>().await;
        }
        let answer = match Question::try_from(request.into_inner()) {
            Ok(Question::Status) => Answer::Status(Box::new(self.status(node))),
            Ok(Question::Audit) => Answer::Audit(Vec::new()),
            Ok(_) => Answer::Refused("the node is made up".into()),
            Err(unknown) => return Err(Failure::Unsupported(unknown.to_string()).into()),
        };
        Ok(Response::new(answer.into()))
    }

    type AttendStream = BoxStream<'static, Result<Call, tonic::Status>>;

    async fn attend(
        &self,
        _: Request<Streaming<Attendance>>,
    ) -> Result<Response<Self::AttendStream>, tonic::Status> {
        Err(Failure::Unsupported("no node attends here".into()).into())
    }
}
