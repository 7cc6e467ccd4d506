//! Which topology a row runs on.

use beckon_testbed::redis::Topology;
use std::io::Write as _;

/// Names the topology that rows run on. Without it, each runs on the first that it applies to.
const TOPOLOGY: &str = "BECKON_FAULTS_TOPOLOGY";

/// Whether a topology was chosen by hand, so that there is time for rows with large numbers.
pub(super) fn is_thorough() -> bool {
    std::env::var_os(TOPOLOGY).is_some()
}

/// Runs a row on one topology, unless it does not apply there.
///
/// # Panics
/// The row fails.
pub(super) fn run<F: Future<Output = ()>>(row: &str, applies: &[Topology], work: fn(Topology) -> F) {
    let chosen = std::env::var_os(TOPOLOGY).map(|text| {
        let text = text.to_string_lossy().into_owned();
        text.parse().unwrap_or_else(|error| panic!("{TOPOLOGY}: {error}"))
    });
    let topology = chosen.unwrap_or(applies[0]);
    if !applies.contains(&topology) {
        // Past the capture of what tests print. If it cannot be written, it cannot be read either.
        let _ = writeln!(std::io::stderr(), "faults: {row} does not apply to {topology}");
        return;
    }
    // Several threads, because the harness blocks while it changes the store.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(work(topology));
}
