//! `cargo xtask ci`: what has to hold before a change is merged. CI runs exactly this.

use crate::{
    browser,
    run::{cargo, run, succeeds},
    test,
};
use anyhow::{Result, bail};
use std::process::Command;

/// One thing that has to hold.
type Check = fn() -> Result<()>;

/// Runs every check, also after one has failed, so that one run tells all that is wrong. The tests come last.
///
/// # Errors
/// The checks that failed.
pub(crate) fn ci() -> Result<()> {
    let checks: [(&str, Check); 6] = [
        ("format", format),
        ("lints", lints),
        ("documentation", documentation),
        ("dependencies", dependencies),
        ("tests", tests),
        ("browser", with_a_browser),
    ];
    let mut failed = Vec::new();
    for (name, check) in checks {
        if let Err(error) = check() {
            eprintln!("xtask: {error:#}");
            failed.push(name);
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    bail!("failed: {}", failed.join(", "));
}

fn format() -> Result<()> {
    component("rustfmt", "fmt")?;
    run(&mut cargo(&["fmt", "--all", "--check"]))
}

fn lints() -> Result<()> {
    component("clippy", "clippy")?;
    run(&mut cargo(&["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]))
}

fn documentation() -> Result<()> {
    run(cargo(&["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "--deny warnings"))
}

/// Advisories need a database from the network, so they are checked where cargo-deny is installed. Licences,
/// sources and duplicates are checked by tests of xtask, everywhere.
fn dependencies() -> Result<()> {
    if !succeeds("cargo", &["deny", "--version"]) {
        eprintln!("xtask: cargo-deny is not installed, so advisories are not checked");
        return Ok(());
    }
    run(&mut cargo(&["deny", "check"]))
}

fn tests() -> Result<()> {
    test::in_rust(&["--no-fail-fast"])
}

fn with_a_browser() -> Result<()> {
    browser::browser(&[])
}

/// Installs a part of the toolchain that a minimal installation leaves out.
fn component(name: &str, subcommand: &str) -> Result<()> {
    if succeeds("cargo", &[subcommand, "--version"]) {
        return Ok(());
    }
    run(Command::new("rustup").args(["component", "add", name]))
}
