//! What a run can be asked for.

use beckon_testbed::redis::Topology;
use std::{path::PathBuf, time::Duration};

beckon_ops::settings! {
    /// One run.
    pub(crate) struct Settings {
        /// The servers: server, sentinel or cluster (three connection-nodes and three endpoint-nodes on a Redis of that
        /// kind), or beckon (one process with the embedded store).
        topology: Servers = "server" => beckon_ops::config::parsed,
        /// How many replicas must have what is accepted (the setting of this name). With 1 no loss is excused, and no shard is
        /// lost.
        store_replicas: u32 = "0",
        /// Devices, half of them of each dialect.
        clients: u32 = "2000",
        /// Notifications per second.
        rate: u32 = "300",
        /// Seconds in which faults happen. The run goes on until each fault has happened `each` times. SIGTERM ends the faults earlier.
        seconds: u64 = "600",
        /// How often each fault happens at least.
        each: u32 = "1",
        /// The longest pause between two faults of which one follows the other. Half of them overlap.
        pause: Duration = "25s",
        /// The faults are drawn from it. Empty: it is drawn, and printed.
        seed: Option<u64> = "",
        /// Faults to draw from, by the beginnings of their names, separated by commas. Empty: all.
        faults: Vec<String> = "",
        /// File for the report.
        out: Option<PathBuf> = "",
    }
}

/// What serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Servers {
    /// One process with the embedded store.
    Beckon,
    /// A cluster on a Redis.
    Cluster(Topology),
}

impl std::str::FromStr for Servers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "beckon" {
            return Ok(Self::Beckon);
        }
        let topology =
            text.parse().map_err(|_| format!("`{text}` is not server, sentinel, cluster or beckon"));
        topology.map(Self::Cluster)
    }
}

impl Servers {
    /// As on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Beckon => "beckon",
            Self::Cluster(topology) => topology.name(),
        }
    }
}
