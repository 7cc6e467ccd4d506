//! `cargo deny`: bans, licences, sources and advisories of all dependencies, as deny.toml has them.

use crate::run::{cargo, root, run, target};
use anyhow::{Result, bail};
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// The version that is installed.
const VERSION: &str = "0.20.2";

/// If this variable is `required`, advisories have to be checked. Otherwise they are skipped where their database cannot
/// be reached.
const ADVISORIES: &str = "BECKON_CI_ADVISORIES";

/// Checks all dependencies; installs cargo-deny below `target` if it is not there.
///
/// # Errors
/// It cannot be installed, a dependency is not allowed, or advisories are required and cannot be checked.
pub(crate) fn check() -> Result<()> {
    let program = installed()?;
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

/// Builds cargo-deny once for each version: in about a minute and a half of processor time, without optimizations and
/// without what it needs for registries that are not public.
fn installed() -> Result<PathBuf> {
    let folder = target().join("tools");
    let program = folder.join("bin/cargo-deny");
    if !is_there(&program) {
        let folder = folder.to_string_lossy();
        let install =
            ["install", "cargo-deny", "--version", VERSION, "--locked", "--debug", "--no-default-features"];
        run(cargo(&install)
            .args(["--root", &folder, "--target-dir", &format!("{folder}/build")])
            .env("CARGO_PROFILE_DEV_DEBUG", "0"))?;
    }
    Ok(program)
}

fn is_there(program: &Path) -> bool {
    let is_of = format!("cargo-deny {VERSION}");
    let output = Command::new(program).arg("--version").output();
    output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).trim() == is_of)
}
