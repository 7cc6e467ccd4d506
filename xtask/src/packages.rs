//! What the tests need besides the Rust toolchain.

use crate::run::{run, succeeds};
use anyhow::{Result, bail};
use std::process::Command;

/// Programs that tests start, how to see that one is there, and the Debian package it is in.
const NEEDED: &[(&str, &str, &str)] =
    &[("redis-server", "--version", "redis-server"), ("openssl", "version", "openssl")];

/// Installs what is missing, if that is possible without asking for a password.
///
/// # Errors
/// Something is missing and cannot be installed; the message tells what to install.
pub(crate) fn install() -> Result<()> {
    let missing: Vec<&str> = NEEDED
        .iter()
        .filter(|(program, question, _)| !succeeds(program, &[question]))
        .map(|(_, _, package)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let wanted = missing.join(" ");
    eprintln!("xtask: the tests need what is not installed: {wanted}");
    let Some(mut apt_get) = apt_get() else {
        bail!("install {wanted} (on Debian and Ubuntu: sudo apt-get install {wanted}), then run this again");
    };
    // An index that is old or empty is why a package would not be found.
    run(apt_get().args(["update", "--quiet"]))?;
    run(apt_get().args(["install", "--quiet", "--yes", "--no-install-recommends"]).args(missing))
}

/// A way to run apt-get that needs nobody at the terminal.
fn apt_get() -> Option<impl FnMut() -> Command> {
    let is_root = std::fs::metadata("/proc/self").ok().is_some_and(|own| {
        use std::os::unix::fs::MetadataExt as _;
        own.uid() == 0
    });
    let with_sudo = !is_root && succeeds("sudo", &["--non-interactive", "true"]);
    let is_there = succeeds("apt-get", &["--version"]) && (is_root || with_sudo);
    is_there.then_some(move || {
        // sudo would drop a variable that is set before it.
        let mut command = if with_sudo { Command::new("sudo") } else { Command::new("env") };
        if with_sudo {
            command.args(["--non-interactive", "env"]);
        }
        command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        command
    })
}
