//! Every attack, for a short while, against a server that limits the addresses of this machine.

use beckon_testbed::plan::Plan;
use std::process::Command;

#[test]
fn one_host_cannot_crowd_others_out() {
    let server = Plan::standalone()
        .all("BECKON_FSYNC", "false")
        .all("BECKON_LOG", "error")
        .all("BECKON_LIMIT_PRIVATE_SOURCES", "true")
        .all("BECKON_MSG_LIMIT", "20")
        .all("BECKON_WS_MAX_PENDING", "300")
        .all("BECKON_HTTP_MAX_CONNECTIONS", "300")
        .start();
    let addresses = server.nodes()[0].addresses();
    let [ws, http] = [addresses.ws, addresses.http].map(|address| address.expect("it listens").to_string());
    let output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(["abuse", "--ws", &ws, "--http", &http, "--admin", &addresses.admin.to_string()])
        .args([
            "--stranger",
            "127.0.0.66",
            "--honest",
            "127.0.0.10",
            "--attack-for",
            "2s",
            "--connections",
            "400",
        ])
        .output()
        .expect("loadgen starts");
    let (table, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{table}{errors}");
    for attack in [
        "silent-sockets",
        "silent-requests",
        "idle-requests",
        "unfinished-messages",
        "register-churn",
        "new-clients",
        "full-client",
        "upgrade-storm",
        "authority-targets",
        "admin-writes",
    ] {
        let line = table
            .lines()
            .find(|line| line.starts_with(attack))
            .unwrap_or_else(|| panic!("{attack} in {table}"));
        let done: u64 = line.split_whitespace().nth(1).and_then(|done| done.parse().ok()).expect("a number");
        assert!(done > 0, "{line}");
    }
}

/// The report tells a server that does not answer from one that does.
#[test]
fn a_server_that_does_not_answer_has_failed() {
    let output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(["abuse", "--ws", "127.0.0.1:1", "--http", "127.0.0.1:1", "--only", "silent-sockets"])
        .args(["--attack-for", "500ms"])
        .output()
        .expect("loadgen starts");
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(String::from_utf8_lossy(&output.stdout).contains("no answer within"));
}
