//! What everything runs on.

use beckon_ops::{clock::Clock, exit::Failure};
use serde::{Deserialize, Serialize};
use std::{fs, process::Command};

/// Where and when something was measured, and what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The commit that was built, and whether something was changed since.
    pub commit: String,
    /// When, seconds since 1970.
    pub unix_s: u64,
    /// Processors that may be used.
    pub processors: usize,
    /// Their name.
    pub processor: String,
    /// Memory, bytes.
    pub memory: u64,
    /// The release of Linux.
    pub kernel: String,
    /// The load average of the last minute before: whether the machine was quiet.
    pub load: String,
}

impl Machine {
    /// This one, now.
    pub fn here() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let after = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
        };
        let memory = after(&read("/proc/meminfo"), "MemTotal");
        let kibibytes: u64 = memory.trim_end_matches(" kB").parse().unwrap_or(0);
        Self {
            commit: commit(),
            unix_s: Clock::start().unix_seconds(),
            processors: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            processor: after(&read("/proc/cpuinfo"), "model name"),
            memory: kibibytes * 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load: read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
        }
    }

    /// One line about it.
    pub fn line(&self) -> String {
        format!(
            "commit {}, {} x {}, {:.0} GiB, Linux {}, load {} before",
            self.commit,
            self.processors,
            self.processor,
            self.memory as f64 / f64::from(1 << 30),
            self.kernel,
            self.load
        )
    }
}

/// The commit, and whether files have been changed since.
fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "unknown".to_owned() };
    let is_changed =
        git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|list| !list.is_empty());
    if is_changed { format!("{commit}, changed") } else { commit }
}

/// Most files besides the sockets of clients that a node or a load generator has open.
pub const OTHER_FILES: u64 = 400;

/// Clients that one process can have under the limit of open files.
pub fn clients_max() -> u32 {
    let limit = beckon_ops::process::open_files_max().unwrap_or(u64::from(u32::MAX));
    u32::try_from(limit.saturating_sub(OTHER_FILES)).unwrap_or(u32::MAX)
}

/// Refuses what the limit of open files does not allow.
///
/// # Errors
/// It does not.
pub fn need_files(clients: u32) -> Result<(), Failure> {
    if clients <= clients_max() {
        return Ok(());
    }
    let needed = u64::from(clients) + OTHER_FILES;
    let limit = beckon_ops::process::open_files_max().unwrap_or(0);
    Err(Failure::unavailable(format!(
        "{clients} clients of one process need {needed} open files, and the limit is {limit}: raise it with \
         `ulimit -n {needed}`, or try a smaller run with --small"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_known() {
        let machine = Machine::here();
        assert!(machine.processors > 0 && machine.memory > 1 << 28, "{machine:?}");
        assert!(machine.line().contains(&machine.kernel));
    }

    #[test]
    fn more_clients_than_files_are_refused() {
        assert!(need_files(1).is_ok());
        let failure = need_files(u32::MAX).unwrap_err();
        assert!(failure.message.contains("ulimit -n 4294967695"), "{failure}");
    }
}
