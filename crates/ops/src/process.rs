//! Limits and usage of this process, read from `/proc`. On a system without it, every value is `None`. And starting the same
//! program once more.

use crate::logging;
use std::{
    env, fs, io,
    os::unix::{fs::MetadataExt as _, process::CommandExt as _},
    path::PathBuf,
    process::Stdio,
    sync::OnceLock,
};
use tokio::process::{Child, Command};

/// The kernel's clock ticks per second in `/proc`: 100 on every architecture Linux has (`USER_HZ`).
const TICKS_PER_SECOND: u64 = 100;

/// Where this program was when it started. Another version may be there since.
static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();

/// Remembers where this program is, for [`start_again`]. To be called before the current directory changes.
pub(crate) fn remember_program() {
    PROGRAM.get_or_init(program);
}

/// The path by which this program was called: a symbolic link to the current version stays one. Found in `PATH`, it is the
/// file that runs.
fn program() -> Option<PathBuf> {
    let called = PathBuf::from(env::args_os().next()?);
    if called.components().count() > 1 { std::path::absolute(called).ok() } else { env::current_exe().ok() }
}

/// Whether this is the first process of a container (of a PID namespace): when it ends, the kernel ends all others.
pub fn is_first() -> bool {
    std::process::id() == 1
}

/// Starts the program that is now where this one was, with the same arguments, environment, directory and output. It goes on
/// when the child is dropped. Must be called inside a tokio runtime.
///
/// # Errors
/// It cannot be started, or it is not known where it was.
pub fn start_again() -> io::Result<Child> {
    let program = PROGRAM.get_or_init(program).as_ref().ok_or(io::ErrorKind::NotFound)?;
    // systemd names the process that has to give signs of life. The next one has to as well.
    Command::new(program).args(env::args_os().skip(1)).env_remove("WATCHDOG_PID").stdin(Stdio::null()).spawn()
}

/// Replaces this process by the program that is now where this one was, with the same arguments and environment. Returns only the
/// reason why it cannot.
pub fn start_over() -> io::Error {
    logging::flush();
    match PROGRAM.get_or_init(program) {
        Some(program) => std::process::Command::new(program).args(env::args_os().skip(1)).exec(),
        None => io::ErrorKind::NotFound.into(),
    }
}

/// In a debug build, stops this process as SIGSTOP does if the environment variable `HAND_OVER_STOPS_AT` has this name: the
/// tests of hand-overs kill processes there.
pub fn stop_at(name: &str) {
    #[cfg(debug_assertions)]
    if env::var_os("HAND_OVER_STOPS_AT").is_some_and(|stops_at| stops_at == name) {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP);
    }
    #[cfg(not(debug_assertions))]
    let _ = name;
}

/// How many files (and so sockets) this process may have open: the soft limit. `None` if unlimited or unknown.
pub fn open_files_max() -> Option<u64> {
    open_files_limit(&fs::read_to_string("/proc/self/limits").ok()?)
}

/// Raises the soft limit of open files to the hard limit, because every client is a file. If that fails, it is logged
/// and nothing changes.
pub fn raise_open_files_max() {
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::warn!(%error, "could not raise the limit of open files");
    }
}

/// How many files this process has open. Since Linux 6.2 the kernel says it; before, they are listed, which takes most of a
/// second for a million.
pub fn open_files() -> Option<u64> {
    const FOLDER: &str = "/proc/self/fd";
    if let Some(said) = fs::metadata(FOLDER).ok().map(|metadata| metadata.size()).filter(|size| *size > 0) {
        return Some(said);
    }
    // The listing itself is one of them.
    Some((fs::read_dir(FOLDER).ok()?.count() as u64).saturating_sub(1))
}

/// Memory of this process that is in RAM, in bytes.
pub fn resident_bytes() -> Option<u64> {
    resident(&fs::read_to_string("/proc/self/status").ok()?)
}

/// How much memory this process may have: that of the machine, or the limit of its control group if that is less, in bytes.
pub fn memory_max() -> Option<u64> {
    // Not from `/proc/meminfo`, which a unit with `ProcSubset=pid` does not show.
    let machine = rustix::system::sysinfo();
    let machine = (machine.totalram as u64).checked_mul(u64::from(machine.mem_unit));
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    // In a container the group is the root of what can be seen.
    let paths = groups.lines().filter_map(|line| line.strip_prefix("0::")).chain(["/"]);
    let limits = paths.filter_map(|path| {
        fs::read_to_string(format!("/sys/fs/cgroup{path}/memory.max")).ok()?.trim().parse().ok()
    });
    limits.chain(machine).min()
}

/// CPU time this process has used, user and system, in seconds.
pub fn cpu_seconds() -> Option<f64> {
    cpu_ticks(&fs::read_to_string("/proc/self/stat").ok()?)
        .map(|ticks| ticks as f64 / TICKS_PER_SECOND as f64)
}

/// When this process started, in Unix seconds.
pub fn start_seconds() -> Option<u64> {
    let ticks = start_ticks(&fs::read_to_string("/proc/self/stat").ok()?)?;
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let booted: u64 = stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(booted + ticks / TICKS_PER_SECOND)
}

fn open_files_limit(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn resident(status: &str) -> Option<u64> {
    kibibytes(status, "VmRSS:")
}

/// The bytes of a line such as `VmRSS:     4096 kB`.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// Field 22 of proc(5) stat: clock ticks from the start of the system to that of the process.
fn start_ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(19)?.parse().ok()
}

/// Fields 14 and 15 of proc(5) stat. The second field is the program's name, which may contain spaces.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::{cpu_ticks, open_files_limit, resident, start_ticks};

    #[test]
    fn files_of_proc_are_parsed() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max processes             unlimited            unlimited            processes \n\
                      Max open files            20000                1048576              files     \n";
        assert_eq!(open_files_limit(limits), Some(20_000));
        assert_eq!(open_files_limit("Max open files            unlimited unlimited files"), None);
        assert_eq!(resident("Name:\tx\nVmRSS:\t    1234 kB\nThreads:\t3\n"), Some(1234 * 1024));
        assert_eq!(resident("Name:\tx\n"), None);
        let stat = "42 (a) b) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 4 0 1 1 1";
        assert_eq!(cpu_ticks(stat), Some(300));
        assert_eq!(cpu_ticks("nonsense"), None);
        assert_eq!(
            start_ticks("42 (a) b) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 4 0 777 1 1"),
            Some(777)
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_is_measured() {
        assert!(super::open_files().is_some_and(|open| open >= 3));
        assert!(super::resident_bytes().is_some_and(|bytes| bytes > 100_000));
        let before = super::open_files().expect("it is known");
        let files: Vec<_> = (0..10).filter_map(|_| std::fs::File::open("/dev/null").ok()).collect();
        let after = super::open_files().expect("it is known");
        assert!(after + 5 >= before + files.len() as u64, "{before}, {after}");
        let now = crate::clock::Clock::start().unix_seconds();
        assert!(super::start_seconds().is_some_and(|start| start.abs_diff(now) < 3600));
        assert!(super::cpu_seconds().is_some_and(|seconds| seconds >= 0.0));
    }
}
