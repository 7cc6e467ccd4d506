//! `cargo xtask deploy`: the image, the cluster of docker-compose.yml and the commands of the documents, in `tests/deploy`.

use crate::{
    packages,
    run::{cargo, root, run, target},
};
use anyhow::{Context as _, Result};

/// Installs what that needs, downloads all dependencies, and runs it as root: it makes namespaces and mounts file systems.
///
/// # Errors
/// Something is missing and cannot be installed, root's rights cannot be had, or something does not work as documented.
pub(crate) fn deploy() -> Result<()> {
    packages::install(packages::FOR_DEPLOY)?;
    run(&mut cargo(&["fetch", "--locked"]))?;
    run(&mut cargo(&["build", "--package", "beckon-deploy-tests"]))?;
    let program = target().join("debug/beckon-deploy-tests");
    let mut command =
        packages::as_root(program).context("this has to be run as root, or with sudo without a password")?;
    run(command.arg(root()).arg(target().join("deploy")))
}
