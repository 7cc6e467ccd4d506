//! The machine: open files, limits of the kernel, the data directory.

use super::{report::Report, subject::Subject};
use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
};

/// With fewer open files than these, a server is for trying only.
const OPEN_FILES: u64 = 20_000;

/// The length of the queue of accepted connections that the programs ask for.
const BACKLOG: u64 = 4096;

/// Examines the machine.
pub(super) fn examine(subject: &Subject, report: &mut Report) {
    beckon_ops::process::raise_open_files_max();
    open_files(subject, report);
    kernel(subject, report);
    if let Some(folder) = &subject.data_dir {
        data_dir(folder, report);
    }
}

fn open_files(subject: &Subject, report: &mut Report) {
    const NAME: &str = "open files";
    const CURE: &str =
        "raise it with LimitNOFILE= in the unit, `ulimits` of the container, or /etc/security/limits.conf";
    let Some(files) = beckon_ops::process::open_files_max() else {
        return report.fine(NAME, "this process may have any number of files open");
    };
    let sockets = subject.connections_max.unwrap_or_default();
    if files < sockets {
        report.fault(
            NAME,
            format!("max_connections is {sockets}, but a process may have {files} files open: {CURE}"),
        );
    } else {
        let advice = format!("a process may have {files} files open, and each client is one: {CURE}");
        report.weigh(files >= OPEN_FILES, NAME, format!("a process may have {files}"), advice);
    }
}

fn kernel(subject: &Subject, report: &mut Report) {
    for (name, why) in [
        ("net.core.somaxconn", "connections that arrive at once wait in this queue, or are refused"),
        (
            "net.ipv4.tcp_max_syn_backlog",
            "more handshakes than this are not remembered while many devices come back",
        ),
    ] {
        let Some(value) = sysctl(name) else { continue };
        let fine = value >= if name.ends_with("somaxconn") { BACKLOG } else { 1024 };
        report.weigh(fine, name, value.to_string(), format!("{value}; {why}: sysctl -w {name}={BACKLOG}"));
    }
    let wanted = subject.connections_max.or_else(beckon_ops::process::open_files_max).unwrap_or(1_000_000);
    if let Some(tracked) = sysctl("net.netfilter.nf_conntrack_max") {
        let advice = format!(
            "the firewall remembers {tracked} connections, and there may be {wanted} sockets; further ones are dropped: \
             sysctl -w net.netfilter.nf_conntrack_max={}, or do not track the ports (NOTRACK)",
            wanted.saturating_mul(2)
        );
        report.weigh(tracked >= wanted, "net.netfilter.nf_conntrack_max", tracked.to_string(), advice);
    }
}

/// A number below `/proc/sys`. `None` if this system does not have it.
fn sysctl(name: &str) -> Option<u64> {
    fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/"))).ok()?.trim().parse().ok()
}

fn data_dir(folder: &Path, report: &mut Report) {
    const NAME: &str = "data_dir";
    let shown = folder.display();
    let metadata = match fs::metadata(folder) {
        Ok(metadata) if metadata.is_dir() => metadata,
        Ok(_) => return report.fault(NAME, format!("{shown} is not a directory")),
        Err(_) => {
            return report.fine(NAME, format!("{shown} does not exist yet; the first start creates it"));
        }
    };
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        report.advice(
            NAME,
            format!("{shown} can be entered by other users (mode {mode:03o}): chmod 700 {shown}"),
        );
    } else {
        report.fine(NAME, format!("{shown}, mode {mode:03o}, user {}", metadata.uid()));
    }
    let is_there = |name| folder.join(name).exists();
    for (file, setting, loss) in [
        (
            "token-keys",
            "token_keys",
            "endpoints that were given out can only be opened with the keys they were made with",
        ),
        ("uaid-key", "uaid_key", "clients are only known with the key that made their ids"),
    ] {
        if is_there("store.redb") && !is_there(file) {
            let put_back = format!("Put the file back, or set {setting}");
            report.fault(NAME, format!("there is a database but no {file} file: {loss}. {put_back}"));
        }
    }
}
