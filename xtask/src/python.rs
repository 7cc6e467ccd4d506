//! Python with the packages that tests need, below `target`.

use crate::run::run;
use anyhow::{Context as _, Result};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A Python that has the packages of a list; it is made in `work`, unless it has been. `is_there` says whether it works.
///
/// # Errors
/// It cannot be made, or a package cannot be downloaded.
pub(crate) fn environment(
    requirements: &Path,
    work: &Path,
    is_there: impl FnOnce(&PathBuf) -> bool,
) -> Result<PathBuf> {
    fs::create_dir_all(work)?;
    let environment = work.join("python");
    let python = environment.join("bin/python");
    let is_there = is_there(&python);
    fresh(requirements, &work.join("requirements.txt"), is_there, || {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment))?;
        run(Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"])
            .arg(requirements))
    })?;
    Ok(python)
}

/// Installs, unless what is listed in `list` has been: then `stamp` is a copy of it.
pub(crate) fn fresh(
    list: &Path,
    stamp: &Path,
    is_there: bool,
    install: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let wanted = fs::read(list).with_context(|| list.display().to_string())?;
    if is_there && fs::read(stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    install()?;
    fs::write(stamp, wanted)?;
    Ok(())
}
