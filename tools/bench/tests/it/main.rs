//! Experiments on real clusters, in small: that they come to an end, lose nothing and leave findings.
#![expect(clippy::expect_used, reason = "a test that cannot start its programs has failed")]

use beckon_bench::findings::{Findings, read_all};
use beckon_testbed::programs::Program;
use std::process::{Command, Stdio};

/// Runs an experiment under a limit of open files and returns its findings.
fn experiment(name: &str, files: u32, arguments: &[&str]) -> (Findings, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let output = Command::new("sh")
        .args(["-c", "ulimit -n \"$1\"; shift; exec \"$@\"", "sh"])
        .arg(files.to_string())
        .arg(Program::Bench.path())
        .arg(name)
        .args(arguments)
        .arg("--out")
        .arg(folder.path())
        .stdin(Stdio::null())
        .output()
        .expect("sh starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut all: Vec<Findings> = read_all(folder.path()).expect("findings");
    assert_eq!(all.len(), 1);
    let findings = all.remove(0);
    assert_eq!(String::from_utf8_lossy(&output.stdout), findings.table(), "what is shown is what is kept");
    (findings, folder)
}

/// The figure of that name in a column.
#[track_caller]
fn value(findings: &Findings, column: usize, name: &str) -> f64 {
    let row = findings.rows.iter().find(|row| row.name == name).expect(name);
    row.values[column].expect(name)
}

#[test]
fn a_smoke_run_has_a_column_for_each_dialect() {
    let (findings, folder) = experiment("smoke", 2_000, &["--small", "true"]);
    assert_eq!(findings.columns, ["simplepush", "webpush"]);
    for column in [0, 1] {
        assert!(value(&findings, column, "CPU per notification, all servers") > 0.0);
        assert!(value(&findings, column, "memory of an idle client") > 0.0);
        assert_eq!(value(&findings, column, "accepted, not delivered"), 0.0);
        assert_eq!(value(&findings, column, "refused or unanswered"), 0.0);
    }
    assert!(folder.path().join("smoke.txt").is_file());
}

#[test]
fn masters_of_a_redis_cluster_are_compared_with_one_server() {
    let (findings, _folder) = experiment("cost", 2_000, &["--small", "true", "--redis-cluster", "true"]);
    assert_eq!(findings.columns.len(), 3);
    let loads = ["closed loop", "closed loop of 128 senders", "2000/s"];
    assert_eq!(findings.runs.len(), loads.len() * findings.columns.len());
    for load in loads {
        assert_eq!(value(&findings, 0, &format!("  relative to one server, {load}")), 1.0);
        for column in 0..3 {
            let reads = value(&findings, column, &format!("reads of Redis per notification, {load}"));
            let steps = value(&findings, column, &format!("steps per read, {load}"));
            // At least one that stores it. The step that removes it may have been shared or come too late.
            assert!(reads * steps > 0.9, "{reads} {steps}");
        }
    }
    for column in 0..3 {
        assert_eq!(value(&findings, column, "accepted, not delivered"), 0.0);
    }
}

#[test]
fn many_clients_are_spread_over_the_nodes_that_the_limit_of_files_asks_for() {
    let flags = ["--clients", "600", "--seconds", "5", "--rate", "50"];
    // Room for 300 clients of each node, so that there are two of everything.
    let (findings, folder) = experiment("million", 1_400, &flags);
    let nodes = &findings.runs[0].report.plan.ws;
    assert_eq!(nodes.len(), 2, "{nodes:?}");
    let sent = value(&findings, 0, "sent");
    assert!(sent > 0.0);
    assert_eq!(value(&findings, 0, "delivered"), sent);
    assert_eq!(value(&findings, 0, "accepted, not delivered"), 0.0);
    assert_eq!(value(&findings, 0, "given another UAID then"), 0.0);
    assert!(value(&findings, 0, "connected: TCP sockets, both ends") >= 1_200.0);
    let drawings = ["million-rate.svg", "million-latency.svg"].map(|name| folder.path().join(name));
    for drawing in &drawings {
        std::fs::remove_file(drawing).expect("it was drawn");
    }
    let plots = Command::new(Program::Bench.path()).args(["plots", "--out"]).arg(folder.path()).status();
    assert!(plots.expect("bench starts").success());
    assert!(drawings.iter().all(|drawing| drawing.is_file()), "drawn again from the findings");
}

#[test]
fn too_few_files_are_complained_about_before_anything_starts() {
    let output = Command::new("sh")
        .args(["-c", "ulimit -n 500; exec \"$0\" cost"])
        .arg(Program::Bench.path())
        .stdin(Stdio::null())
        .output()
        .expect("sh starts");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(69), "{complaint}");
    assert!(complaint.contains("the limit is 500") && complaint.contains("ulimit -n 15400"), "{complaint}");
}
