//! `cargo xtask faults`: every fault on every topology of Redis that it applies to.

use crate::{
    packages,
    run::{build, run},
    servers, test,
};
use anyhow::{Result, bail, ensure};

/// What `tests/cluster` calls its topologies.
const TOPOLOGIES: [&str; 3] = ["server", "sentinel", "cluster"];

/// Rows at a time: each has a dozen processes.
const THREADS: &str = "--test-threads=2";

/// Runs the rows of `tests/cluster/tests/it/faults.rs` on all topologies, or on the one of `--topology`, with the Redis of this
/// machine or with the one of `--server`. Another argument selects rows by the beginning of their names.
///
/// # Errors
/// A package is missing, something does not build, or a row fails.
pub(crate) fn faults(arguments: &[&str]) -> Result<()> {
    let (mut topologies, mut row) = (TOPOLOGIES.to_vec(), "faults::".to_owned());
    let mut server = None;
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match *word {
            "--topology" => {
                let name = words.next().copied().unwrap_or_default();
                ensure!(TOPOLOGIES.contains(&name), "--topology is one of {}", TOPOLOGIES.join(", "));
                topologies = vec![name];
            }
            "--server" => {
                let name = words.next().copied().unwrap_or_default();
                ensure!(
                    servers::PACKAGES.contains(&name),
                    "--server is one of {}",
                    servers::PACKAGES.join(", ")
                );
                server = Some(servers::unpacked(name)?);
            }
            word if word.starts_with('-') => bail!("unknown option {word}"),
            word => row = format!("row::{word}"),
        }
    }
    packages::install(packages::FOR_CARGO)?;
    build()?;
    let mut failed = Vec::new();
    for topology in topologies {
        eprintln!("xtask: faults on {topology}");
        let mut command = test::command();
        command.args(["--test", "it", "--", &row, THREADS]).env("BECKON_FAULTS_TOPOLOGY", topology);
        command.envs(server.iter().map(|server| (servers::VARIABLE, server)));
        if let Err(error) = run(&mut command) {
            eprintln!("xtask: {error:#}");
            failed.push(topology);
        }
    }
    ensure!(failed.is_empty(), "faults failed on {}", failed.join(", "));
    Ok(())
}
