//! `cargo xtask deploy`: the image, the cluster of docker-compose.yml and the commands of the documents, in `tests/deploy`.

use crate::{
    packages,
    run::{cargo, programs, root, run, target},
};
use anyhow::{Context as _, Result};

/// Builds the program and runs it.
///
/// # Errors
/// It does not build, and as of [`with_program`].
pub(crate) fn deploy() -> Result<()> {
    run(&mut cargo(&["build", "--package", "beckon-deploy-tests"]))?;
    with_program()
}

/// Installs what the program needs, downloads all dependencies, and runs it as root, because it creates namespaces and
/// mounts file systems.
///
/// # Errors
/// Something is missing and cannot be installed, there is no way to become root, or something does not work as documented.
pub(crate) fn with_program() -> Result<()> {
    packages::install(packages::FOR_DEPLOY)?;
    run(&mut cargo(&["fetch", "--locked"]))?;
    let program = programs().join("beckon-deploy-tests");
    let mut command =
        packages::as_root(program).context("this has to be run as root, or with sudo without a password")?;
    run(command.arg(root()).arg(target().join("deploy")))
}
