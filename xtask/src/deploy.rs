//! `cargo xtask deploy` and `cargo xtask package`: the image, the cluster of docker-compose.yml, the commands of the
//! documents, and the Debian package, in `tests/deploy`.

use crate::{
    packages,
    run::{build, cargo, programs, root, run, succeeds, target},
};
use anyhow::{Context as _, Result, bail};
use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Builds the program and runs it. With `documents`, only their commands are run, on this machine.
///
/// # Errors
/// It does not build, and as of [`with_program`].
pub(crate) fn deploy(documents: &[&str]) -> Result<()> {
    if documents.is_empty() {
        run(&mut cargo(&["build", "--package", "beckon-deploy-tests"]))?;
        return with_program();
    }
    build()?;
    let mut command = as_root()?;
    command.arg("documents").arg(root()).arg(target().join("deploy")).arg(programs());
    run(command.args(documents))
}

/// If this variable is `required`, [`in_ci`] fails where it would otherwise skip the check.
const REQUIRED: &str = "BECKON_CI_DEPLOY";

/// What root file systems are made from.
const MIRROR: &str = "http://deb.debian.org/debian/dists/bookworm/InRelease";

/// As [`with_program`], but skips the check where namespaces cannot be created or Debian's packages cannot be downloaded.
///
/// # Errors
/// As of [`with_program`]; the check would be skipped, and the variable [`REQUIRED`] forbids that.
pub(crate) fn in_ci() -> Result<()> {
    let Some(missing) = missing()? else { return with_program() };
    if std::env::var_os(REQUIRED).is_some_and(|value| value == "required") {
        bail!("the deployment cannot be checked: {missing}, and {REQUIRED} is `required`");
    }
    eprintln!("xtask: THE DEPLOYMENT IS NOT CHECKED: {missing}");
    Ok(())
}

/// What this machine lacks for [`with_program`].
fn missing() -> Result<Option<&'static str>> {
    packages::install(packages::FOR_DEPLOY)?;
    let Ok(mut unshare) = as_root_command("unshare") else { return Ok(Some("it has to run as root")) };
    if run(unshare.args(["--mount", "--pid", "--fork", "mount", "-t", "tmpfs", "tmpfs", "/run"])).is_err() {
        return Ok(Some("namespaces cannot be created here"));
    }
    let reached = succeeds("wget", &["--quiet", "--tries=1", "--timeout=20", "--spider", MIRROR]);
    Ok((!reached).then_some("Debian's mirror cannot be reached from here"))
}

/// Installs, starts, upgrades and removes the Debian package that `cargo xtask dist` has made. `arguments` may name it.
///
/// # Errors
/// As of [`deploy`]; there is no package, or several.
pub(crate) fn package(arguments: &[&str]) -> Result<()> {
    let package = match arguments {
        [] => the_package(&target().join("artefacts"))?,
        [package] => package.into(),
        _ => bail!("usage: cargo xtask package [FILE.deb]"),
    };
    run(&mut cargo(&["build", "--package", "beckon-deploy-tests"]))?;
    packages::install(packages::FOR_DEPLOY)?;
    run(as_root()?.arg("package").arg(root()).arg(target().join("deploy")).arg(package))
}

/// The only Debian package below a folder.
fn the_package(folder: &Path) -> Result<PathBuf> {
    let mut found = Vec::new();
    for target in fs::read_dir(folder).context("nothing was built: cargo xtask dist")? {
        for file in fs::read_dir(target?.path())? {
            let path = file?.path();
            if path.extension().is_some_and(|extension| extension == "deb") {
                found.push(path);
            }
        }
    }
    match found.as_slice() {
        [package] => Ok(package.clone()),
        _ => bail!("{} packages in {}; name the one that is meant", found.len(), folder.display()),
    }
}

fn as_root() -> Result<Command> {
    as_root_command(programs().join("beckon-deploy-tests"))
}

fn as_root_command(program: impl AsRef<OsStr>) -> Result<Command> {
    packages::as_root(program).context("this has to be run as root, or with sudo without a password")
}

/// Installs what the program needs, downloads all dependencies, and runs it as root, because it creates namespaces and
/// mounts file systems.
///
/// # Errors
/// Something is missing and cannot be installed, there is no way to become root, or something does not work as documented.
pub(crate) fn with_program() -> Result<()> {
    packages::install(packages::FOR_DEPLOY)?;
    run(&mut cargo(&["fetch", "--locked"]))?;
    run(as_root()?.arg(root()).arg(target().join("deploy")))
}
