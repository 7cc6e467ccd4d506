//! Memory and CPU of processes, and memory of the kernel, read from `/proc`.

use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fs, str::FromStr};

/// The kernel's clock ticks are 10 ms on every architecture Linux has (`USER_HZ`).
const TICK_US: u64 = 10_000;

/// Bytes of a page, in which the kernel counts the memory of sockets.
const PAGE: u64 = 4096;

/// A process to measure, and what to call it. Several may have one name; they are added up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// As in the report.
    pub name: String,
    /// Of the process.
    pub pid: u32,
}

impl FromStr for Watched {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let reason = || format!("`{text}` is not NAME=PID");
        let (name, pid) = text.split_once('=').ok_or_else(reason)?;
        let pid = pid.parse().map_err(|_| reason())?;
        if name.is_empty() { Err(reason()) } else { Ok(Self { name: name.to_owned(), pid }) }
    }
}

/// What a process uses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Memory in RAM, bytes.
    pub rss: u64,
    /// CPU time since it started, in its own code, microseconds.
    pub user_us: u64,
    /// CPU time since it started, in the kernel, microseconds.
    pub system_us: u64,
    /// CPU time by the name of the thread, microseconds.
    pub threads_us: BTreeMap<String, u64>,
}

impl Usage {
    /// CPU time, microseconds.
    pub fn cpu_us(&self) -> u64 {
        self.user_us + self.system_us
    }

    /// Adds what another process uses.
    pub fn add(&mut self, other: &Self) {
        self.rss += other.rss;
        self.user_us += other.user_us;
        self.system_us += other.system_us;
        for (name, us) in &other.threads_us {
            *self.threads_us.entry(name.clone()).or_default() += us;
        }
    }

    /// Of a running process. `None`: there is none.
    pub fn of(pid: u32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let rss = kibibytes(&status, "VmRSS:")? * 1024;
        let (_, user_us, system_us) = times(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?;
        let mut threads_us = BTreeMap::<String, u64>::new();
        for entry in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
            // A thread may end meanwhile.
            let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            if let Some((name, user_us, system_us)) = times(&stat) {
                *threads_us.entry(name.to_owned()).or_default() += user_us + system_us;
            }
        }
        Some(Self { rss, user_us, system_us, threads_us })
    }
}

/// Memory that the kernel uses, bytes; of the whole machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kernel {
    /// Of its own objects, sockets among them.
    pub slab: u64,
    /// The part of them that it cannot give back.
    pub slab_unreclaimable: u64,
    /// Of buffers that sockets hold.
    pub sockets: u64,
    /// TCP sockets, each end counted.
    pub tcp_open: u64,
    /// Left for programs without swapping.
    pub available: u64,
}

impl Kernel {
    /// Looks.
    pub fn now() -> Self {
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let sockstat = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
        Self {
            slab: kibibytes(&meminfo, "Slab:").unwrap_or(0) * 1024,
            slab_unreclaimable: kibibytes(&meminfo, "SUnreclaim:").unwrap_or(0) * 1024,
            sockets: socket_number(&sockstat, "mem").unwrap_or(0) * PAGE,
            tcp_open: socket_number(&sockstat, "inuse").unwrap_or(0),
            available: kibibytes(&meminfo, "MemAvailable:").unwrap_or(0) * 1024,
        }
    }
}

/// One look at everything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// What has just happened.
    pub label: String,
    /// Since the run began.
    pub at_us: u64,
    /// Clients with all their endpoints.
    pub clients: u64,
    /// By name.
    pub processes: BTreeMap<String, Usage>,
    /// Of the machine.
    pub kernel: Kernel,
}

impl Sample {
    /// Looks. A process that is gone is missing.
    pub fn take(label: &str, at_us: u64, clients: u64, watched: &[Watched]) -> Self {
        let mut processes = BTreeMap::<String, Usage>::new();
        let own = Watched { name: "loadgen".to_owned(), pid: std::process::id() };
        for process in watched.iter().chain([&own]) {
            if let Some(usage) = Usage::of(process.pid) {
                processes.entry(process.name.clone()).or_default().add(&usage);
            }
        }
        Self { label: label.to_owned(), at_us, clients, processes, kernel: Kernel::now() }
    }
}

fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

fn socket_number(sockstat: &str, name: &str) -> Option<u64> {
    let line = sockstat.lines().find_map(|line| line.strip_prefix("TCP:"))?;
    let mut words = line.split_whitespace().skip_while(|word| *word != name);
    words.nth(1)?.parse().ok()
}

/// Name, user and system time of a proc(5) stat. The name may contain spaces and brackets.
fn times(stat: &str) -> Option<(&str, u64, u64)> {
    let (start, rest) = stat.rsplit_once(')')?;
    let (_, name) = start.split_once('(')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((name, user * TICK_US, system * TICK_US))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_files_are_understood() {
        let stat = "42 (a) b) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 4 0 1 1 1";
        assert_eq!(times(stat), Some(("a) b", 2_500_000, 500_000)));
        assert_eq!(times("nonsense"), None);
        let sockstat = "sockets: used 300\nTCP: inuse 7 orphan 0 tw 1 alloc 9 mem 3\nUDP: inuse 2 mem 1\n";
        assert_eq!(socket_number(sockstat, "inuse"), Some(7));
        assert_eq!(socket_number(sockstat, "mem"), Some(3));
        assert_eq!(kibibytes("Slab:\t  10 kB\n", "Slab:"), Some(10));
    }

    #[test]
    fn a_process_has_a_name_and_a_number() {
        assert_eq!("redis=12".parse(), Ok(Watched { name: "redis".to_owned(), pid: 12 }));
        for wrong in ["redis", "=12", "redis=x"] {
            assert!(wrong.parse::<Watched>().is_err(), "{wrong}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn processes_of_one_name_are_added_up() {
        let own = Watched { name: "test".to_owned(), pid: std::process::id() };
        let sample = Sample::take("now", 0, 0, &[own.clone(), own]);
        let (test, loadgen) = (&sample.processes["test"], &sample.processes["loadgen"]);
        assert!(test.rss > loadgen.rss && loadgen.rss > 100_000, "{sample:?}");
        assert!(sample.kernel.slab > 0, "{sample:?}");
        let gone = Watched { name: "gone".to_owned(), pid: u32::MAX };
        assert!(!Sample::take("now", 0, 0, &[gone]).processes.contains_key("gone"));
    }
}
