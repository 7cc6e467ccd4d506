//! `cargo xtask test`: all tests, on a machine that has only a Rust toolchain.

use crate::{
    packages,
    run::{cargo, run},
};
use anyhow::Result;

/// Installs what tests need, builds the programs that black-box tests start, and runs every test.
///
/// # Errors
/// A package is missing, something does not build, or a test fails.
pub(crate) fn test(arguments: &[&str]) -> Result<()> {
    packages::install()?;
    // Tests of whole clusters start programs of other packages, which cargo does not build for them.
    run(&mut cargo(&["build", "--workspace", "--bins"]))?;
    run(cargo(&["test", "--workspace"]).args(arguments))
}
