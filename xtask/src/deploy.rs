//! `cargo xtask deploy` and `cargo xtask package`: the image, the cluster of docker-compose.yml, the commands of the
//! documents,
//! and the Debian package, in `tests/deploy`.

use crate::{
    packages,
    run::{cargo, programs, root, run, target},
};
use anyhow::{Context as _, Result, bail};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Builds the program and runs it.
///
/// # Errors
/// It does not build, and as of [`with_program`].
pub(crate) fn deploy() -> Result<()> {
    run(&mut cargo(&["build", "--package", "beckon-deploy-tests"]))?;
    with_program()
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
    let program = programs().join("beckon-deploy-tests");
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
