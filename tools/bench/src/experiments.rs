//! What is measured, and how.

mod cores;
mod cost;
mod dashboard;
mod figures;
mod growth;
mod handover;
mod idle;
mod latency;
mod masters;
mod memory;
mod million;
mod rolling;
mod smoke;
mod train;

use crate::{findings::Findings, settings::Settings};
use beckon_ops::exit::Failure;

/// Conducts an experiment.
pub type Conduct = fn(&Settings, &mut Findings) -> Result<(), Failure>;

/// Every experiment: its name, its purpose and duration, and the function that conducts it.
pub const EXPERIMENTS: [(&str, &str, Conduct); 12] = [
    ("smoke", "the figures that each change is compared by, both dialects; 3 minutes", smoke::conduct),
    ("memory", "bytes of a client, and what is given back; 5 minutes", memory::conduct),
    ("cost", "CPU of a notification and of a connect, cluster and standalone; 3 minutes", cost::conduct),
    ("cores", "what threads cost that a node does not need, from 1 to 16; 4 minutes", cores::conduct),
    ("latency", "from due to delivered at rising rates; 3 minutes", latency::conduct),
    ("idle", "CPU of clients that do nothing, over one round of keep-alive; 6 minutes", idle::conduct),
    ("growth", "cost and memory with more clients and more nodes; 12 minutes", growth::conduct),
    ("million", "one million clients on all nodes that they need; 12 minutes", million::conduct),
    (
        "dashboard",
        "what browsers at the dashboard of 500 nodes cost the nodes and the network; 9 minutes",
        dashboard::conduct,
    ),
    (
        "handover",
        "hand-overs of a connection-node under load: what is lost, and the pause; 3 minutes",
        handover::conduct,
    ),
    (
        "rolling",
        "restarts of every node behind HAProxy, nginx and Caddy: what is refused and lost; 12 minutes",
        rolling::conduct,
    ),
    ("train", "what `cargo xtask dist` optimizes the published programs for; 2 minutes", train::conduct),
];
