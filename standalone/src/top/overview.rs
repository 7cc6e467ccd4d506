//! What a node answers to `GET /api/cluster`: as much of it as `beckon top` shows.

use serde::Deserialize;
use std::collections::BTreeMap;

/// The cluster, as one node has read it.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Overview {
    /// When it was read, in milliseconds since 1970.
    pub(super) at_ms: u64,
    /// The name of the node that has read it.
    pub(super) by: String,
    /// Why the directory is that of an earlier reading.
    pub(super) directory_failure: Option<String>,
    pub(super) nodes: Vec<Node>,
    /// Sums, oldest first; the last one is of this reading.
    pub(super) history: Vec<Point>,
}

/// A node.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Node {
    pub(super) name: String,
    /// `ok`, `silent`, or `gone` from the directory.
    pub(super) state: String,
    /// Why it is silent.
    pub(super) failure: Option<String>,
    /// How old its figures are.
    pub(super) age_ms: Option<u64>,
    pub(super) program: String,
    pub(super) version: String,
    pub(super) commit: String,
    /// `serving`, `leaving` or `closing`.
    pub(super) phase: String,
    /// Why it is not ready; empty if it is.
    pub(super) unready: String,
    pub(super) sockets: u64,
    /// 0 where there are none.
    pub(super) sockets_max: u64,
    pub(super) figures: BTreeMap<String, f64>,
    /// Each in a second; empty until there are two readings.
    pub(super) rates: BTreeMap<String, f64>,
    pub(super) quantiles: BTreeMap<String, Quantiles>,
}

/// Sums over all nodes that have answered.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Point {
    pub(super) sockets: u64,
    pub(super) rates: BTreeMap<String, f64>,
    pub(super) quantiles: BTreeMap<String, Quantiles>,
}

/// How long something took, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub(super) struct Quantiles {
    pub(super) p50: f64,
    pub(super) p99: f64,
}

impl Overview {
    /// Whether all nodes that have answered have done so twice.
    pub(super) fn has_rates(&self) -> bool {
        self.nodes.iter().filter(|node| node.state == "ok").all(|node| !node.rates.is_empty())
    }
}

impl Node {
    /// In one word: how it is.
    pub(super) fn condition(&self) -> &str {
        match (&*self.state, &*self.phase, &*self.unready) {
            ("ok", "serving", "") => "ready",
            ("ok", "serving", unready) => unready,
            ("ok", phase, _) => phase,
            (state, _, _) => state,
        }
    }

    /// Whether it serves and is ready for new work.
    pub(super) fn is_ready(&self) -> bool {
        self.condition() == "ready"
    }

    /// Notifications in a second: those accepted on an endpoint-node, those handed to sockets on a connection-node.
    pub(super) fn messages(&self) -> Option<f64> {
        self.rates.get("accepted").or_else(|| self.rates.get("sent")).copied()
    }

    /// How long a sender waits for an answer; on a connection-node, how long a client takes to acknowledge.
    pub(super) fn times(&self) -> Option<Quantiles> {
        self.quantiles.get("request").or_else(|| self.quantiles.get("ack")).copied()
    }

    /// The share of its sockets that are open; `None` where there are none.
    pub(super) fn fullness(&self) -> Option<f64> {
        (self.sockets_max > 0).then(|| self.sockets as f64 / self.sockets_max as f64)
    }
}
