//! `beckon probe`: what it finds when everything works, when something does not, and when it works again.

use beckon_cluster_tests::stage::Stage;
use beckon_testbed::{
    forwarder::Forwarder,
    plan::Plan,
    ports::Port,
    process::{Process, Signal},
    programs::Program,
    redis::RedisServer,
    until,
};
use std::{fs, path::PathBuf, process::Command};
use tempfile::TempDir;

/// A running probe.
pub(crate) struct Probe {
    process: Process,
    log: PathBuf,
    _folder: TempDir,
}

impl Probe {
    /// A probe of the first connection-node of a stage.
    pub(crate) fn start(stage: &Stage) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("probe.log");
        let url = stage.connection_nodes()[0].ws_url();
        let arguments = ["probe", &url, "--interval", "1s", "--timeout", "3s", "--listen", "127.0.0.1:0"];
        let process = Process::start(&Program::Beckon.path(), &arguments, &[], &log);
        Self { process, log, _folder: folder }
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// What it exports.
    pub(crate) async fn metrics(&self, stage: &Stage) -> String {
        let url = until("the probe says where its metrics are", async || {
            self.said().lines().find_map(|line| line.strip_prefix("metrics ").map(str::to_owned))
        })
        .await;
        String::from_utf8(stage.get(&url).await.body().to_vec()).unwrap()
    }

    /// What it exports once a round has succeeded in each dialect.
    pub(crate) async fn metrics_when_successful(&self, stage: &Stage) -> String {
        until("the probe succeeds", async || {
            let text = self.metrics(stage).await;
            let is_well =
                |dialect| text.contains(&format!("beckon_probe_success{{dialect=\"{dialect}\"}} 1\n"));
            (is_well("simplepush") && is_well("webpush")).then_some(text)
        })
        .await
    }
}

/// A counter of one dialect.
fn rounds(text: &str, dialect: &str, result: &str) -> u64 {
    count(text, &format!("beckon_probe_rounds_total{{dialect=\"{dialect}\",result=\"{result}\"}}"))
}

fn count(text: &str, series: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(series));
    line.unwrap_or_else(|| panic!("no {series} in\n{text}")).trim().parse().unwrap()
}

/// What the metric of the alert says.
fn success(text: &str, dialect: &str) -> u64 {
    count(text, &format!("beckon_probe_success{{dialect=\"{dialect}\"}}"))
}

/// Runs `beckon probe --once`. Returns its exit code and what it has printed.
fn once(stage: &Stage, more: &[&str]) -> (i32, String) {
    let url = stage.connection_nodes()[0].ws_url();
    let arguments = [&["probe", "--once", "--timeout", "3s", &url], more].concat();
    let output = Command::new(Program::Beckon.path()).args(arguments).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

async fn metrics_of(stage: &Stage) -> String {
    let url = format!("http://{}/metrics", stage.connection_nodes()[0].addresses().admin);
    String::from_utf8(stage.get(&url).await.body().to_vec()).unwrap()
}

#[tokio::test]
async fn the_probe_finds_that_everything_works_and_leaves_nothing_behind() {
    let stage = Stage::own(Plan::standalone());
    let (code, said) = once(&stage, &[]);
    assert_eq!(code, 0, "{said}");
    for (line, dialect) in said.lines().zip(["simplepush: ", "webpush: "]) {
        assert!(line.starts_with(dialect), "{said}");
        for stage in ["connect ", "hello ", "register ", "send ", "arrival "] {
            assert!(line.contains(stage), "{said}");
        }
    }
    let mut probe = Probe::start(&stage);
    let text = until("many rounds have succeeded, on new sockets and on old ones", async || {
        let text = probe.metrics(&stage).await;
        let enough = |dialect| rounds(&text, dialect, "ok") >= 7;
        (enough("simplepush") && enough("webpush")).then_some(text)
    })
    .await;
    for dialect in ["simplepush", "webpush"] {
        for result in ["connect", "hello", "register", "send", "arrival", "content"] {
            assert_eq!(rounds(&text, dialect, result), 0, "{}", probe.said());
        }
        assert_eq!(success(&text, dialect), 1);
        let took = |stage| {
            count(
                &text,
                &format!("beckon_probe_duration_seconds_count{{dialect=\"{dialect}\",stage=\"{stage}\"}}"),
            )
        };
        assert!(took("connect") >= 3 && took("connect") < took("arrival"), "{text}");
    }
    // One that waited for the server, two of the single round, and one for each dialect, which had four sockets or more.
    assert!(count(&metrics_of(&stage).await, "beckon_store_clients") <= 5, "records grow with the rounds");
    let removed = "beckon_step_duration_seconds_count{step=\"remove_channel\"}";
    let removed_before = count(&metrics_of(&stage).await, removed);
    probe.process.signal(Signal::TERM);
    assert!(probe.process.wait().success(), "{}", probe.said());
    assert_eq!(count(&metrics_of(&stage).await, removed), removed_before + 2, "both have unregistered");
    assert_eq!(probe.said().lines().count(), 1, "{}", probe.said());
}

/// How often rounds of a dialect have failed at these stages.
fn failures(text: &str, dialect: &str, stages: &[&str]) -> u64 {
    stages.iter().map(|result| rounds(text, dialect, result)).sum()
}

/// Waits until the metric of the alert shows that a dialect fails at one of these stages.
async fn expect_failure(probe: &Probe, stage: &Stage, dialect: &str, stages: &[&str]) {
    let before = failures(&probe.metrics(stage).await, dialect, stages);
    until(&format!("{dialect} fails at {stages:?}"), async || {
        let text = probe.metrics(stage).await;
        (failures(&text, dialect, stages) > before && success(&text, dialect) == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_probe_finds_what_fails_in_a_cluster_and_that_it_is_cured() {
    let redis = RedisServer::start();
    let way = Forwarder::to(redis.address());
    let stage = Stage::own(Plan::cluster(1, 1).store(format!("redis://{}", way.address())));
    let probe = Probe::start(&stage);
    probe.metrics_when_successful(&stage).await;
    let [sockets, endpoints] = ["c0", "e0"].map(|name| stage.node(name));
    // Nobody takes devices.
    sockets.kill();
    expect_failure(&probe, &stage, "webpush", &["connect"]).await;
    sockets.start();
    probe.metrics_when_successful(&stage).await;
    // Nobody takes what is sent.
    endpoints.kill();
    expect_failure(&probe, &stage, "simplepush", &["send"]).await;
    endpoints.start();
    probe.metrics_when_successful(&stage).await;
    // No node reaches the store.
    way.cut();
    expect_failure(&probe, &stage, "webpush", &["hello", "register", "send"]).await;
    way.heal();
    probe.metrics_when_successful(&stage).await;
    assert!(probe.said().contains("webpush: connect failed: "), "{}", probe.said());
    for dialect in ["simplepush", "webpush"] {
        assert_eq!(rounds(&probe.metrics(&stage).await, dialect, "content"), 0, "{}", probe.said());
    }
}

#[tokio::test]
async fn one_round_says_where_it_failed() {
    let stage = Stage::own(Plan::standalone());
    let port = Port::free();
    let nobody = format!("http://{}", port.address());
    let (code, said) = once(&stage, &["--endpoint-url", &nobody, "--dialect", "webpush"]);
    assert_eq!(code, 69);
    assert!(said.starts_with("webpush: connect ") && said.contains(", send failed: "), "{said}");
    stage.nodes()[0].pause();
    let (code, said) = once(&stage, &["--dialect", "simplepush"]);
    stage.nodes()[0].resume();
    assert_eq!((code, said.as_str()), (69, "simplepush: connect failed: not done within 3 s\n"));
}
