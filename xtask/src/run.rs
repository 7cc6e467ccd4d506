//! Running other programs, showing what is run.

use anyhow::{Context as _, Result, ensure};
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    // xtask is a folder of the root.
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    // A relative one is meant from where cargo runs, which is the root.
    root().join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// The features that the programs are published with, besides the usual ones.
pub(crate) const FEATURES: &str = "otlp";

/// The variable that tells tests in which folder the programs are, so that they do not build them.
pub(crate) const PROGRAMS: &str = "BECKON_PROGRAMS";

/// Where cargo puts the programs that tests start.
pub(crate) fn programs() -> PathBuf {
    target().join("debug")
}

/// A command of cargo, in the root of the repository.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.args(arguments).current_dir(root());
    command
}

/// Builds all programs and all tests.
///
/// Cargo unifies the features of dependencies over what it is asked to build, so programs without tests would have other
/// features than tests, and everything from tokio upwards would be compiled once for each selection. So there is one
/// selection: this one, of which `cargo test --workspace` is a part. [`PROGRAMS`] tells tests to start what it has built.
///
/// # Errors
/// Something does not build.
pub(crate) fn build() -> Result<()> {
    run(&mut cargo(&["build", "--workspace", "--bins", "--tests", "--features", FEATURES]))
}

/// Shows a command, runs it and wants it to succeed.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = line_of(command);
    eprintln!("xtask: {line}");
    let status = command.status().with_context(|| format!("cannot start {line}"))?;
    ensure!(status.success(), "{line} failed: {status}");
    Ok(())
}

/// Whether a command can be started and succeeds. What it prints is not shown.
pub(crate) fn succeeds(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(root())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Runs a command, wants it to succeed, and returns what it has printed, without the end of the last line.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let line = line_of(command);
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {line}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{line} failed: {}\n{errors}", output.status);
    let text =
        String::from_utf8(output.stdout).with_context(|| format!("{line} prints what is not UTF-8"))?;
    Ok(text.trim_end().to_owned())
}

fn line_of(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
