//! `cargo xtask bench` and `cargo xtask million`: what it costs, measured on the programs as they are now.

use crate::{
    packages,
    run::{build, cargo, programs, root, run, target},
};
use anyhow::Result;
use std::process::Command;

/// Everything that an experiment starts.
const PROGRAMS: [&str; 6] = [
    "beckon-connection-node",
    "beckon-endpoint-node",
    "beckon",
    "beckon-loadgen",
    "beckon-bench",
    "beckon-made-up-nodes",
];

/// Builds all programs as they are published and starts an experiment of `tools/bench`, which knows the rest.
///
/// # Errors
/// Something does not build, or the experiment fails.
pub(crate) fn bench(arguments: &[&str]) -> Result<()> {
    run(&mut experiment(arguments)?)
}

/// The same, to be run.
fn experiment(arguments: &[&str]) -> Result<Command> {
    packages::install(&[packages::REDIS])?;
    let packages = PROGRAMS.iter().flat_map(|program| ["--package", program]);
    run(cargo(&["build", "--profile", "dist", "--bins"]).args(packages))?;
    let mut command = cargo(&["run", "--profile", "dist", "--quiet", "--package", "beckon-bench", "--"]);
    command.args(arguments);
    Ok(command)
}

/// Restarts every node behind the shipped balancers. `--small` is for CI: a tenth of the clients, and programs that are not
/// optimized, which the tests have built already.
///
/// # Errors
/// Something does not build, or the experiment fails: a request did, or a notification was lost or stored twice.
pub(crate) fn rolling(arguments: &[&str]) -> Result<()> {
    packages::install(&packages::BALANCERS)?;
    let caddy = packages::unpacked("caddy", "caddy", &target().join("browser/packages"))?;
    let mut command = if arguments.contains(&"--small") {
        packages::install(&[packages::REDIS])?;
        build()?;
        let mut command = Command::new(programs().join("bench"));
        command.arg("rolling").args(arguments).current_dir(root());
        command
    } else {
        experiment(&[&["rolling"], arguments].concat())?
    };
    run(command.env("BECKON_CADDY", caddy))
}

/// Breaks a cluster in every known way, with books of every notification. `--small` is for CI: few devices, each fault
/// once, and programs that are not optimized, which the tests have built already.
///
/// # Errors
/// Something does not build, or a promise was broken.
pub(crate) fn soak(arguments: &[&str]) -> Result<()> {
    /// What `--small` stands for.
    const SMALL: [&str; 10] =
        ["--clients", "100", "--rate", "40", "--seconds", "0", "--each", "1", "--pause", "4s"];
    packages::install(&[packages::REDIS])?;
    if arguments.contains(&"--small") {
        build()?;
        let rest = arguments.iter().copied().filter(|argument| *argument != "--small");
        let mut command = Command::new(programs().join("soak"));
        return run(command.args(SMALL).args(rest).current_dir(root()));
    }
    let packages = PROGRAMS.iter().chain(&["beckon-soak"]).flat_map(|program| ["--package", program]);
    run(cargo(&["build", "--profile", "dist", "--bins"]).args(packages))?;
    run(cargo(&["run", "--profile", "dist", "--quiet", "--package", "beckon-soak", "--"]).args(arguments))
}

/// The largest of the experiments.
///
/// # Errors
/// As of [`bench()`].
pub(crate) fn million(arguments: &[&str]) -> Result<()> {
    bench(&[&["million"], arguments].concat())
}
