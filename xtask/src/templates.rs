//! `cargo xtask templates`: the alerts, dashboards, manifests and templates of `deploy/`, in `tests/templates`.

use crate::{
    packages, python,
    run::{PROGRAMS, build, programs, root, run, succeeds, target},
};
use anyhow::{Result, bail};
use std::{path::PathBuf, process::Command};

/// If this variable is `required`, [`in_ci`] fails where it would otherwise skip the check.
const REQUIRED: &str = "BECKON_CI_TEMPLATES";

/// Builds the programs and runs the tests. The arguments go to `python -m unittest`.
///
/// # Errors
/// Something is missing and cannot be installed, does not build, or a test fails.
pub(crate) fn templates(arguments: &[&str]) -> Result<()> {
    build()?;
    with_programs(arguments)
}

/// As [`with_programs`], but skips the check where Python's packages cannot be downloaded.
///
/// # Errors
/// As of [`with_programs`]; the check would be skipped, and the variable [`REQUIRED`] forbids that.
pub(crate) fn in_ci() -> Result<()> {
    if python(&work()).is_ok() {
        return with_programs(&[]);
    }
    if std::env::var_os(REQUIRED).is_some_and(|value| value == "required") {
        bail!("the templates cannot be checked, and {REQUIRED} is `required`");
    }
    eprintln!("xtask: THE TEMPLATES ARE NOT CHECKED: Python's packages cannot be installed");
    Ok(())
}

fn work() -> PathBuf {
    target().join("templates")
}

fn folder() -> PathBuf {
    root().join("tests/templates")
}

/// Installs what the tests need below `target`, and runs them on programs that have been built.
fn with_programs(arguments: &[&str]) -> Result<()> {
    packages::install(packages::FOR_TEMPLATES)?;
    let prometheus = packages::unpacked("prometheus", "prometheus", &work().join("packages"))?;
    let all: &[&str] = if arguments.is_empty() { &["discover", "--verbose"] } else { arguments };
    run(Command::new(python(&work())?)
        .args(["-m", "unittest"])
        .args(all)
        .current_dir(folder())
        .env(PROGRAMS, programs())
        .env("BECKON_PROMETHEUS", prometheus)
        .env("PYTHONDONTWRITEBYTECODE", "1"))
}

/// A Python that has the packages of requirements.txt.
fn python(work: &std::path::Path) -> Result<PathBuf> {
    let is_there =
        |python: &PathBuf| succeeds(&python.to_string_lossy(), &["-c", "import cfnlint, helm_python"]);
    python::environment(&folder().join("requirements.txt"), work, is_there)
}
