//! Programs that are started, talked to, paused and ended.

use beckon_testbed::{
    folder,
    process::{Process, Signal},
    wait_until,
};
use std::path::Path;
use tempfile::TempDir;

fn talking(script: &str, folder: &TempDir) -> Process {
    let log = folder.path().join("script.log");
    Process::start_talking(Path::new("sh"), &["-c", script], &[], &log)
}

fn plain(script: &str, folder: &TempDir) -> Process {
    Process::start(Path::new("sh"), &["-c", script], &[], &folder.path().join("script.log"))
}

/// The state of a process, as proc(5) has it: `R`, `S`, `T` for stopped.
fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

#[test]
fn a_program_is_talked_to() {
    let folder = folder::temporary();
    let mut process = talking("echo before; echo ready; read answer; test \"$answer\" = go", &folder);
    process.wait_for_line("ready").unwrap();
    process.check().unwrap();
    process.write_line("go").unwrap();
    process.finish().unwrap();
}

#[test]
fn a_failure_quotes_the_last_words() {
    let folder = folder::temporary();
    let mut process = talking("echo no such thing >&2; exit 3", &folder);
    let error = process.wait_for_line("ready").unwrap_err().to_string();
    assert!(error.contains("script has ended too early"), "{error}");
    let error = process.finish().unwrap_err().to_string();
    assert!(error.contains("exit status: 3") && error.contains("no such thing"), "{error}");
    assert!(process.check().is_err());
}

#[test]
fn a_program_has_no_environment_but_what_it_is_given() {
    let folder = folder::temporary();
    let settings = [("GIVEN".to_owned(), "yes".to_owned())];
    let log = folder.path().join("env.log");
    let mut process = Process::start(Path::new("env"), &[""; 0], &settings, &log);
    assert!(process.wait().success());
    let log = process.log();
    let mut names: Vec<_> = log.lines().map(|line| line.split('=').next().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["GIVEN", "PATH"]);
}

#[test]
fn a_paused_program_does_nothing_until_it_is_resumed() {
    let folder = folder::temporary();
    let mut process = plain("while :; do :; done", &folder);
    process.pause();
    wait_until("it is stopped", || (state(process.pid()) == Some('T')).then_some(()));
    process.resume();
    wait_until("it runs", || (state(process.pid()) == Some('R')).then_some(()));
    process.signal(Signal::TERM);
    assert!(!process.wait().success());
}

#[test]
fn a_dropped_program_is_gone_even_if_it_is_paused() {
    let folder = folder::temporary();
    let process = plain("while :; do :; done", &folder);
    let pid = process.pid();
    process.pause();
    drop(process);
    assert_eq!(state(pid), None);
}
