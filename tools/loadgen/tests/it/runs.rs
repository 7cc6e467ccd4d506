//! What a run finds out, and that it does what it was told to.

use beckon_loadgen::report::Report;
use beckon_testbed::{certificates::Certificates, fleet::Fleet, folder, plan::Plan, process::Process};
use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

fn loadgen(arguments: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("loadgen starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn read(path: &Path) -> Report {
    let text = std::fs::read_to_string(path).expect("a report");
    serde_json::from_str(&text).expect("a report")
}

/// A standalone server that does not wait for its disk.
fn start_server() -> Fleet {
    Plan::standalone().all("BECKON_FSYNC", "false").all("BECKON_LOG", "error").start()
}

/// Runs a load of few clients and few notifications, with further settings.
fn run(server: &Fleet, arguments: &[&str]) -> Report {
    let folder = folder::temporary();
    let json = folder.path().join("report.json");
    let (ws, json_text) = (server.nodes()[0].ws_url(), json.display().to_string());
    let usual = ["--ws", &ws, "--json", &json_text, "--settle", "0", "--senders", "4", "--grace", "30s"];
    loadgen(&[&usual, arguments].concat());
    read(&json)
}

/// Everything that was accepted has arrived, and nothing else.
#[track_caller]
fn assert_complete(report: &Report, sent: u64) {
    let send = &report.send;
    assert_eq!((send.sent, send.delivered + send.replaced, send.lost), (sent, sent, 0), "{send:?}");
    assert_eq!((send.foreign, send.disordered, send.unanswered), (0, 0, 0), "{send:?}");
    assert!(send.answers.keys().all(|status| (200..=202).contains(status)), "{send:?}");
}

#[test]
fn every_notification_of_simplepush_is_followed_to_its_client() {
    let server = start_server();
    let pid = format!("beckon={}", server.nodes()[0].pid());
    let report = run(&server, &["--clients", "20", "--channels", "2", "--sends", "200", "--pid", &pid]);
    assert_complete(&report, 200);
    assert_eq!((report.send.delivery.count, report.connect.connect.count), (report.send.delivered, 20));
    assert!(report.processes.contains_key("beckon") && report.processes.contains_key("loadgen"));
    let large = run(&server, &["--clients", "5", "--sends", "20", "--data", "4096"]);
    assert_complete(&large, 20);
}

#[test]
fn every_message_of_web_push_is_followed_to_its_client() {
    let server = start_server();
    for vapid in ["none", "each", "restricted"] {
        let flags = ["--dialect", "webpush", "--clients", "20", "--sends", "100", "--vapid", vapid];
        let report = run(&server, &flags);
        assert_complete(&report, 100);
        assert_eq!((report.send.replaced, report.send.answers.len()), (0, 1), "{vapid}: {:?}", report.send);
    }
}

#[test]
fn what_a_server_cannot_store_is_sent_again_later() {
    let cluster = Plan::cluster(1, 1).all("BECKON_LOG", "error").all("BECKON_STORE_TIMEOUT", "300ms").start();
    let redis = cluster.redis().expect("a cluster has one");
    for dialect in ["simplepush", "webpush"] {
        let folder = folder::temporary();
        let json = folder.path().join("report.json");
        let (ws, json_text) = (cluster.connection_nodes()[0].ws_url(), json.display().to_string());
        let arguments =
            ["--ws", &ws, "--json", &json_text, "--dialect", dialect, "--clients", "20", "--grace", "30s"];
        let sending = ["--rate", "100", "--send-for", "4s", "--retry", "200ms", "--wait-stdin", "true"];
        let arguments = [&arguments[..], &sending[..]].concat();
        let log = json.with_extension("log");
        let mut load =
            Process::start_talking(Path::new(env!("CARGO_BIN_EXE_loadgen")), &arguments, &[], &log);
        load.wait_for_line("ready").expect("the word");
        load.write_line("go").expect("it reads");
        redis.command(&["CLIENT", "PAUSE", "1500", "ALL"]);
        load.wait_for_line("done").expect("the word");
        load.write_line("go").expect("it reads");
        load.finish().expect("success");
        let send = read(&json).send;
        assert!(send.answers[&503] > 0, "{send:?}");
        assert_eq!((send.refused, send.unanswered, send.lost), (0, 0, 0), "{send:?}");
        // Of SimplePush a newer one may have come first.
        let accepted: u64 = (200..=202).filter_map(|status| send.answers.get(&status)).sum();
        assert!(dialect == "simplepush" || (accepted == send.sent && send.retried > 0), "{send:?}");
    }
}

#[test]
fn a_server_with_tls_gets_the_same_load() {
    let certificates = Certificates::make();
    let plan = Plan::standalone().all("BECKON_FSYNC", "false").all("BECKON_LOG", "error");
    let server = plan.tls(&certificates).start();
    let (http, authority) = (server.nodes()[0].http_url(), certificates.authority().display().to_string());
    let flags =
        ["--http", &http, "--tls-ca", &authority, "--clients", "50", "--sends", "200", "--data", "4000"];
    let report = run(&server, &[&flags[..], &["--send-for", "30s", "--churn", "0.2"]].concat());
    assert_complete(&report, 200);
}

#[test]
fn clients_that_come_back_lose_nothing() {
    let server = start_server();
    let flags = ["--clients", "50", "--rate", "200", "--send-for", "2s", "--churn", "0.2", "--storm", "0.5"];
    let report = run(&server, &[&flags[..], &["--storm-at", "1s"]].concat());
    assert_complete(&report, report.send.sent);
    assert!(report.connect.dropped >= 25, "{:?}", report.connect);
    assert_eq!((report.connect.reconnect.count, report.connect.renamed), (report.connect.dropped, 0));
}

#[test]
fn reports_of_processes_that_ran_together_become_one() {
    let server = start_server();
    let folder = folder::temporary();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let ws = server.nodes()[0].ws_url();
    let names = ["1.json", "2.json"].map(file);
    let start = |json: &String| {
        let arguments = ["--ws", &ws, "--clients", "10", "--sends", "30", "--senders", "2", "--settle", "0"];
        let further = ["--wait-stdin", "true", "--leave", "0.5", "--json", json];
        let arguments = [&arguments[..], &further[..]].concat();
        let log = Path::new(json).with_extension("log");
        Process::start_talking(Path::new(env!("CARGO_BIN_EXE_loadgen")), &arguments, &[], &log)
    };
    let mut both = names.each_ref().map(start);
    for word in ["ready", "done"] {
        both.iter_mut().for_each(|process| process.wait_for_line(word).expect("the word"));
        both.iter_mut().for_each(|process| process.write_line("go").expect("it reads"));
    }
    both.iter_mut().for_each(|process| process.finish().expect("success"));
    let (json, plot) = (file("both.json"), file("both.svg"));
    let table = loadgen(&["merge", &names[0], &names[1], "--json", &json, "--plot", &plot]).stdout;
    assert!(String::from_utf8_lossy(&table).contains("clients 20"), "{}", String::from_utf8_lossy(&table));
    let whole = read(json.as_ref());
    assert_complete(&whole, 60);
    let left = whole.samples.iter().find(|sample| sample.label == "left").expect("who has left");
    assert_eq!((whole.plan.clients, left.clients), (20, 10));
    assert!(std::fs::read_to_string(plot).expect("a drawing").starts_with("<svg"));
}
