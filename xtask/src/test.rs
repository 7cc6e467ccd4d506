//! `cargo xtask test`: all tests, on a machine that has only a Rust toolchain.

use crate::{
    browser, packages,
    run::{FEATURES, PROGRAMS, build, cargo, programs, run},
};
use anyhow::Result;
use std::process::Command;

/// Runs every test: the Rust tests, and then those with a browser, even if the former have failed. With arguments only
/// the Rust tests, because the arguments select among those.
///
/// # Errors
/// A package is missing, something does not build, or a test fails.
pub(crate) fn test(arguments: &[&str]) -> Result<()> {
    if !arguments.is_empty() {
        return in_rust(arguments);
    }
    let in_rust = in_rust(&[]);
    if let Err(error) = &in_rust {
        eprintln!("xtask: {error:#}");
    }
    browser::with_programs(&[]).and(in_rust)
}

/// Installs what the Rust tests need, builds the programs that black-box tests start, and runs `cargo test`.
///
/// # Errors
/// A package is missing, something does not build, or a test fails.
pub(crate) fn in_rust(arguments: &[&str]) -> Result<()> {
    packages::install(packages::FOR_CARGO)?;
    build()?;
    run(command().args(arguments))
}

/// Tests at a time, on a machine with fewer processors: most wait for a server most of the time.
const TESTS_MIN: usize = 4;

/// The variable that tells `cargo test` how many tests run at a time.
const TESTS: &str = "RUST_TEST_THREADS";

/// `cargo test` of what [`build`] has built: arguments follow.
pub(crate) fn command() -> Command {
    let mut command = cargo(&["test", "--workspace", "--features", FEATURES]);
    command.env(PROGRAMS, programs());
    if std::env::var_os(TESTS).is_none() {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        command.env(TESTS, processors.max(TESTS_MIN).to_string());
    }
    command
}
