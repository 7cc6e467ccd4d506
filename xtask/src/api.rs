//! `cargo xtask api`: the descriptions in `docs/api` against a running server, in `tests/api`.

use crate::{
    python,
    run::{PROGRAMS, build, programs, root, run, succeeds, target},
};
use anyhow::{Result, bail};
use std::{path::PathBuf, process::Command};

/// If this variable is `required`, [`in_ci`] fails where it would otherwise skip the check.
const REQUIRED: &str = "BECKON_CI_API";

/// Builds the program and runs the tests. The arguments go to `python -m unittest`.
///
/// # Errors
/// Something is missing and cannot be installed, does not build, or a test fails.
pub(crate) fn api(arguments: &[&str]) -> Result<()> {
    build()?;
    with_programs(arguments)
}

/// As [`with_programs`], but skips the check where Python's packages cannot be downloaded.
///
/// # Errors
/// As of [`with_programs`]; the check would be skipped, and the variable [`REQUIRED`] forbids that.
pub(crate) fn in_ci() -> Result<()> {
    if python().is_ok() {
        return with_programs(&[]);
    }
    if std::env::var_os(REQUIRED).is_some_and(|value| value == "required") {
        bail!("docs/api cannot be checked, and {REQUIRED} is `required`");
    }
    eprintln!("xtask: THE DESCRIPTIONS IN docs/api ARE NOT CHECKED: Python's packages cannot be installed");
    Ok(())
}

fn folder() -> PathBuf {
    root().join("tests/api")
}

/// Runs the tests on programs that have been built.
fn with_programs(arguments: &[&str]) -> Result<()> {
    let all: &[&str] = if arguments.is_empty() { &["discover", "--verbose"] } else { arguments };
    run(Command::new(python()?)
        .args(["-m", "unittest"])
        .args(all)
        .current_dir(folder())
        .env(PROGRAMS, programs())
        .env("PYTHONDONTWRITEBYTECODE", "1"))
}

/// A Python that has the packages of requirements.txt.
fn python() -> Result<PathBuf> {
    let is_there = |python: &PathBuf| succeeds(&python.to_string_lossy(), &["-c", "import schemathesis"]);
    python::environment(&folder().join("requirements.txt"), &target().join("api"), is_there)
}
