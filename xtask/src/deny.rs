//! `cargo deny`: bans, licences, sources and advisories of all dependencies, as deny.toml has them.

use crate::{
    run::{root, run},
    tool::{Tool, installed},
};
use anyhow::{Result, bail};
use std::process::Command;

/// Without what it needs for registries that are not public.
const DENY: Tool = Tool { name: "cargo-deny", version: "0.20.2", features: Some("") };

/// If this variable is `required`, advisories have to be checked. Otherwise they are skipped where their database cannot
/// be reached.
const ADVISORIES: &str = "BECKON_CI_ADVISORIES";

/// Checks all dependencies; installs cargo-deny below `target` if it is not there.
///
/// # Errors
/// It cannot be installed, a dependency is not allowed, or advisories are required and cannot be checked.
pub(crate) fn check() -> Result<()> {
    let program = installed(&DENY)?;
    let deny = |arguments: &[&str]| {
        let mut command = Command::new(&program);
        command.args(arguments).current_dir(root());
        command
    };
    run(&mut deny(&["check", "bans", "licenses", "sources"]))?;
    if run(&mut deny(&["fetch", "db"])).is_ok() {
        return run(&mut deny(&["check", "--disable-fetch", "advisories"]));
    }
    if std::env::var_os(ADVISORIES).is_some_and(|value| value == "required") {
        bail!("the database of advisories cannot be reached, and {ADVISORIES} is `required`");
    }
    eprintln!("xtask: ADVISORIES ARE NOT CHECKED: their database cannot be reached from here");
    Ok(())
}
