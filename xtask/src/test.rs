//! `cargo xtask test`: all tests, on a machine that has only a Rust toolchain.

use crate::{
    browser, packages,
    run::{cargo, run},
};
use anyhow::Result;

/// Runs every test: those in Rust, and then those with a browser, also if the former have failed. With
/// arguments only the former, because they choose among those.
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
    browser::browser(&[]).and(in_rust)
}

/// Installs what tests in Rust need, builds the programs that black-box tests start, and runs `cargo test`.
///
/// # Errors
/// A package is missing, something does not build, or a test fails.
pub(crate) fn in_rust(arguments: &[&str]) -> Result<()> {
    packages::install(packages::FOR_CARGO)?;
    // Tests of whole clusters start programs of other packages, which cargo does not build for them.
    run(&mut cargo(&["build", "--workspace", "--bins"]))?;
    run(cargo(&["test", "--workspace"]).args(arguments))
}
