//! `cargo xtask browser`: the tests with Firefox, in `tests/browser`.

use crate::{
    packages, python,
    run::{PROGRAMS, build, programs, root, run, succeeds, target},
};
use anyhow::{Context as _, Result, ensure};
use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

/// The oldest Node.js that they run with: Debian 12 has it.
const NODE_MIN: (u32, u32) = (18, 19);

/// Builds the programs and runs the tests with a browser. The arguments go to `node --test`.
///
/// # Errors
/// Something is missing and cannot be installed, does not build, or a test fails.
pub(crate) fn browser(arguments: &[&str]) -> Result<()> {
    build()?;
    with_programs(arguments)
}

/// Installs what the tests with a browser need, and runs them on programs that have been built.
///
/// # Errors
/// Something is missing and cannot be installed, or a test fails.
pub(crate) fn with_programs(arguments: &[&str]) -> Result<()> {
    packages::install(packages::FOR_BROWSER)?;
    check_node()?;
    let work = target().join("browser");
    fs::create_dir_all(&work)?;
    let unpacked = work.join("packages");
    let nginx = packages::unpacked("nginx", "nginx", &unpacked)?;
    let caddy = packages::unpacked("caddy", "caddy", &unpacked)?;
    node_modules(&work)?;
    let python = python(&work)?;
    let mut node = Command::new("node");
    node.current_dir(folder())
        // One file after the other: each has a browser and servers.
        .args(["--test", "--test-concurrency=1", "--test-reporter=spec"])
        .args(arguments)
        .args(test_files()?)
        .env(PROGRAMS, programs())
        .env("BECKON_PYTHON", python)
        .env("BECKON_NGINX", nginx)
        .env("BECKON_CADDY", caddy)
        .env("BECKON_PICTURES", &work);
    run(&mut node)
}

fn folder() -> PathBuf {
    root().join("tests/browser")
}

/// Not every version of Node.js takes a folder, so each file is named.
fn test_files() -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder().join("tests"))?;
    let mut files = entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
    files.retain(|path| path.to_string_lossy().ends_with(".test.js"));
    files.sort();
    Ok(files)
}

fn check_node() -> Result<()> {
    let output = Command::new("node").arg("--version").output().context("cannot start node")?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let version = version(&text).with_context(|| format!("node calls its version {text}"))?;
    let (major, minor) = NODE_MIN;
    ensure!(
        version >= NODE_MIN,
        "the browser tests need Node.js {major}.{minor} or newer, and this is {text}"
    );
    Ok(())
}

/// v18.20.4
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.strip_prefix('v')?.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Packages of npm, exactly those of the lock file.
fn node_modules(work: &Path) -> Result<()> {
    let is_there = folder().join("node_modules").is_dir();
    python::fresh(&folder().join("package-lock.json"), &work.join("package-lock.json"), is_there, || {
        run(Command::new("npm").args(["ci", "--no-progress"]).current_dir(folder()))
    })
}

/// A Python that has the packages of requirements.txt.
fn python(work: &Path) -> Result<PathBuf> {
    // A link to a Python that has been removed is a file, too.
    let is_there = |python: &PathBuf| succeeds(&python.to_string_lossy(), &["-c", "import pywebpush"]);
    python::environment(&folder().join("requirements.txt"), work, is_there)
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn versions_are_read() {
        assert_eq!(version("v18.20.4"), Some((18, 20)));
        assert_eq!(version("v22.1.0-nightly"), Some((22, 1)));
        for other in ["", "18.20.4", "v18", "vx.1"] {
            assert_eq!(version(other), None, "{other}");
        }
    }
}
