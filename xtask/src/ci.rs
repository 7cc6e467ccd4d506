//! `cargo xtask ci`: everything that has to pass before a change is merged. CI runs exactly this.

use crate::{
    api, bench, browser, deny, deploy, fuzz,
    run::{cargo, run, succeeds},
    site, templates, test,
};
use anyhow::{Result, bail, ensure};
use std::{process::Command, time::Instant};

/// One of the checks.
type Check = fn() -> Result<()>;

/// Runs every check, even after one has failed, so that a single run reports every problem. Quick checks come first.
///
/// # Errors
/// At least one check failed; the message names them.
pub(crate) fn ci() -> Result<()> {
    let checks: [(&str, Check); 12] = [
        ("format", format),
        ("lints", lints),
        ("documentation", documentation),
        ("dependencies", deny::check),
        ("site", site::site),
        ("tests", tests),
        ("strangers", fuzz::strangers_in_ci),
        ("parsers", fuzz::check),
        ("restarts and templates", restarts_and_templates),
        ("browser", with_a_browser),
        ("api", api::in_ci),
        ("deploy", deploy::in_ci),
    ];
    let (mut failed, mut times) = (Vec::new(), Vec::new());
    for (name, check) in checks {
        let start = now();
        if let Err(error) = check() {
            eprintln!("xtask: {error:#}");
            failed.push(name);
        }
        let time = format!("{name} took {} s", start.elapsed().as_secs());
        eprintln!("xtask: {time}");
        times.push(time);
    }
    // Again at the end, which is what is shown of a long log.
    eprintln!("xtask: {}", times.join(", "));
    if failed.is_empty() {
        return Ok(());
    }
    bail!("failed: {}", failed.join(", "));
}

#[expect(clippy::disallowed_methods, reason = "this is the edge: how long checks take is only shown")]
fn now() -> Instant {
    Instant::now()
}

fn format() -> Result<()> {
    component("rustfmt", "fmt")?;
    run(&mut cargo(&["fmt", "--all", "--check"]))
}

fn lints() -> Result<()> {
    component("clippy", "clippy")?;
    let lint = |selection: &[&str]| {
        run(&mut cargo(&[&["clippy"], selection, &["--all-targets", "--", "--deny", "warnings"]].concat()))
    };
    lint(&["--workspace"])?;
    lint(&["--package", "beckon-node", "--features", "otlp"])
}

fn documentation() -> Result<()> {
    run(cargo(&["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "--deny warnings"))
}

fn tests() -> Result<()> {
    test::in_rust(&["--no-fail-fast"])
}

/// Checks that wait most of the time, two at a time: a small rolling restart and then a small soak, beside the templates. Each takes
/// four to twelve minutes.
fn restarts_and_templates() -> Result<()> {
    let outcomes = std::thread::scope(|scope| {
        let templates = scope.spawn(templates::in_ci);
        let rolling = bench::rolling(&["--small", "--seconds", "65"]);
        let soak = bench::soak(&["--small"]);
        let templates = templates.join().unwrap_or_else(|_| bail!("it has panicked"));
        [("rolling restart", rolling), ("soak", soak), ("templates", templates)]
    });
    let mut failed = Vec::new();
    for (name, outcome) in outcomes {
        if let Err(error) = outcome {
            eprintln!("xtask: {name}: {error:#}");
            failed.push(name);
        }
    }
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(())
}

fn with_a_browser() -> Result<()> {
    browser::with_programs(&[])
}

/// Installs a part of the toolchain that a minimal installation leaves out.
fn component(name: &str, subcommand: &str) -> Result<()> {
    if succeeds("cargo", &[subcommand, "--version"]) {
        return Ok(());
    }
    run(Command::new("rustup").args(["component", "add", name]))
}
