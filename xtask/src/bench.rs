//! `cargo xtask bench` and `cargo xtask million`: what it costs, measured on the programs as they are now.

use crate::{
    packages,
    run::{cargo, run},
};
use anyhow::Result;

/// Everything that an experiment starts.
const PROGRAMS: [&str; 5] =
    ["beckon-connection-node", "beckon-endpoint-node", "beckon", "beckon-loadgen", "beckon-bench"];

/// Builds all programs for release and starts an experiment of `tools/bench`, which knows the rest.
///
/// # Errors
/// Something does not build, or the experiment fails.
pub(crate) fn bench(arguments: &[&str]) -> Result<()> {
    packages::install(&[packages::REDIS])?;
    let packages = PROGRAMS.iter().flat_map(|program| ["--package", program]);
    run(cargo(&["build", "--release", "--bins"]).args(packages))?;
    run(cargo(&["run", "--release", "--quiet", "--package", "beckon-bench", "--"]).args(arguments))
}

/// The largest of the experiments.
///
/// # Errors
/// As of [`bench()`].
pub(crate) fn million(arguments: &[&str]) -> Result<()> {
    bench(&[&["million"], arguments].concat())
}
