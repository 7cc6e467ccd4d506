//! Folders for what programs write while a test runs.

use std::{path::Path, sync::Once};
use tempfile::TempDir;

/// Names of folders begin with this and the process id.
const PREFIX: &str = "beckon-test-";

/// A new folder, removed when dropped.
///
/// What a process shares between its tests is never dropped, and neither are its folders. So the first call of a
/// process removes those of processes that have ended.
///
/// # Panics
/// If the folder cannot be made.
pub fn temporary() -> TempDir {
    static SWEEP: Once = Once::new();
    SWEEP.call_once(remove_those_of_ended_processes);
    tempfile::Builder::new()
        .prefix(&format!("{PREFIX}{}-", std::process::id()))
        .tempdir()
        .unwrap_or_else(|error| panic!("no temporary folder: {error}"))
}

fn remove_those_of_ended_processes() {
    let Ok(entries) = std::fs::read_dir(std::env::temp_dir()) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            // Another process may be removing it too.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
