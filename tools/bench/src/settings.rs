//! What can be chosen.

use beckon_loadgen::dialect::Dialect;
use beckon_ops::config::{Source, parsed};
use std::path::PathBuf;

beckon_ops::settings! {
    /// An experiment: with which programs, how large, and where its findings go.
    pub struct Settings {
        /// Folder for the findings and the charts.
        out: PathBuf = "target/bench",
        /// Folder of the programs to measure. Empty: the one that this program is in.
        programs: Option<PathBuf> = "",
        /// smoke: folder of other programs to measure in turn with these. handover: half of the hand-overs are between the two.
        against: Option<PathBuf> = "",
        /// The dialect: simplepush or webpush. smoke measures both.
        dialect: Dialect = "simplepush" => parsed,
        /// memory and cost: measure servers with TLS beside those without.
        tls: bool = "false",
        /// cost: measure servers on a Redis Cluster of one and of three masters beside those on one Redis server.
        redis_cluster: bool = "false",
        /// Run a tenth of the clients for a tenth of the time: to try the tools, not for figures.
        small: bool = "false",
        /// handover: a standalone server with its embedded store, instead of a connection-node.
        standalone: bool = "false",
        /// handover: a data directory for the standalone server, to hand over what is in it besides. Empty: a new one.
        data_dir: Option<PathBuf> = "",
        /// million: connection-nodes that are handed over while notifications are sent.
        hand_over: usize = "0",
        /// million: clients.
        clients: u32 = "1000000",
        /// million: notifications per second.
        rate: u32 = "2000",
        /// million, rolling and handover: seconds of sending. Empty: 120.
        seconds: Option<u32> = "",
    }
}

impl Settings {
    /// Reads everything.
    ///
    /// # Errors
    /// Everything that is wrong, together.
    pub fn read_all(mut source: Source) -> Result<Self, beckon_ops::config::ConfigErrors> {
        let settings = Self::read(&mut source);
        if settings.as_ref().is_some_and(|settings| settings.clients == 0 || settings.rate == 0) {
            source.reject("clients", "and rate must be at least 1");
        }
        source.finish(settings)
    }

    /// A number of clients, or a tenth of it with `--small`.
    pub fn scaled(&self, clients: u32) -> u32 {
        if self.small { clients.div_ceil(SMALL) } else { clients }
    }

    /// A time as loadgen reads it, or a tenth of it with `--small`.
    pub fn time(&self, seconds: u32) -> String {
        format!("{}s", self.scaled(seconds))
    }
}

/// The divisor of `--small`.
const SMALL: u32 = 10;
