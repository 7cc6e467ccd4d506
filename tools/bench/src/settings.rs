//! What can be chosen.

use beckon_loadgen::dialect::Dialect;
use beckon_ops::config::{Source, parsed};
use std::path::PathBuf;

beckon_ops::settings! {
    /// An experiment: with which programs, how large, and where its findings go.
    pub struct Settings {
        /// Folder for the findings and drawings. Empty: docs/performance, but nothing is written with --small.
        out: Option<PathBuf> = "",
        /// Folder of the programs to measure. Empty: the one that this program is in.
        programs: Option<PathBuf> = "",
        /// smoke: folder of other programs to measure in turn with these.
        against: Option<PathBuf> = "",
        /// What is spoken: simplepush or webpush. smoke does both.
        dialect: Dialect = "simplepush" => parsed,
        /// A tenth of the clients and of the time: to try the tools, not to believe the figures.
        small: bool = "false",
        /// million: clients.
        clients: u32 = "1000000",
        /// million: notifications per second.
        rate: u32 = "2000",
        /// million: seconds of sending. Empty: 120.
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

    /// A number of clients, or what is left of it with `--small`.
    pub fn scaled(&self, clients: u32) -> u32 {
        if self.small { clients.div_ceil(SMALL) } else { clients }
    }

    /// A time, or what is left of it with `--small`, in the way loadgen reads it.
    pub fn time(&self, seconds: u32) -> String {
        format!("{}s", self.scaled(seconds))
    }

    /// Where the findings go. `None`: nowhere.
    pub fn folder(&self) -> Option<PathBuf> {
        let usual = || (!self.small).then(|| PathBuf::from("docs/performance"));
        self.out.clone().or_else(usual)
    }
}

const SMALL: u32 = 10;
