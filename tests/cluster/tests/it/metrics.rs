//! docs/metrics.md has every metric that the programs export, and no other; and what some of them count.

use crate::{probe::Probe, revoking::done};
use beckon_cluster_tests::{
    bare::BareSocket,
    stage::{Registered, Stage},
    tls,
};
use beckon_testbed::{
    plan::{Plan, Shape},
    until,
};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::Path,
};

/// Labels whose values depend on the cluster. Of all others the documentation lists the values.
const OPEN: [&str; 8] = ["commit", "node", "program", "protocol", "resumed", "status", "version", "worker"];

/// The programs that are nodes.
const NODES: [&str; 3] = ["beckon", "connection-node", "endpoint-node"];

/// What one program, or several, say of a metric.
#[derive(Debug, Default, PartialEq, Eq)]
struct Metric {
    kind: String,
    help: String,
    /// Each label with its values.
    labels: BTreeMap<String, BTreeSet<String>>,
    programs: BTreeSet<&'static str>,
}

/// Reads the OpenMetrics text of a program into `metrics`, by the names that queries use.
fn read(text: &str, program: &'static str, metrics: &mut BTreeMap<String, Metric>) {
    let (mut family, mut help, mut name) = (String::new(), String::new(), String::new());
    for line in text.lines() {
        if let Some((of, said)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            (family, help) = (of.to_owned(), said.trim_end_matches('.').to_owned());
        } else if let Some((of, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            assert_eq!(of, family, "a type follows its help");
            let suffix = match kind {
                "counter" => "_total",
                "info" => "_info",
                _ => "",
            };
            name = format!("{of}{suffix}");
            let metric = metrics.entry(name.clone()).or_default();
            metric.programs.insert(program);
            (metric.kind, metric.help) = (kind.to_owned(), help.clone());
        } else if !line.starts_with('#') {
            assert!(line.starts_with(&family), "{line} is not of {family}");
            let metric = metrics.get_mut(&name).unwrap();
            let labels =
                line.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(labels, _)| labels);
            for label in
                labels.into_iter().flat_map(|labels| labels.split("\",")).filter(|label| !label.is_empty())
            {
                let (label, value) = label.split_once("=\"").unwrap();
                metric
                    .labels
                    .entry(label.to_owned())
                    .or_default()
                    .insert(value.trim_end_matches('"').to_owned());
            }
        }
    }
}

fn row(name: &str, metric: &Metric) -> String {
    let Metric { kind, help, labels, programs } = metric;
    let mut row = format!("| `{name}` | {kind} | ");
    let mut separator = "";
    for (label, values) in labels.iter().filter(|(label, _)| *label != "le") {
        write!(row, "{separator}`{label}`").unwrap();
        separator = "; ";
        if !OPEN.contains(&label.as_str()) {
            let values: Vec<String> =
                values.iter().filter(|value| !value.is_empty()).map(|value| format!("`{value}`")).collect();
            write!(row, ": {}", values.join(", ")).unwrap();
        }
    }
    let programs: Vec<&str> = programs.iter().copied().collect();
    let programs = if programs == NODES { "all".to_owned() } else { programs.join(", ") };
    write!(row, " | {programs} | {help} |").unwrap();
    row
}

async fn scrape(stage: &Stage, metrics: &mut BTreeMap<String, Metric>) {
    for node in stage.nodes() {
        let answer = stage.get(&format!("http://{}/metrics", node.addresses().admin)).await;
        let text = str::from_utf8(answer.body()).unwrap();
        assert!(text.ends_with("# EOF\n"), "{text}");
        let program = match (node.addresses().ws, node.addresses().http) {
            (Some(_), Some(_)) => "beckon",
            (Some(_), None) => "connection-node",
            (None, _) => "endpoint-node",
        };
        read(text, program, metrics);
    }
}

#[tokio::test]
async fn the_documentation_has_every_metric_and_the_programs_have_every_documented_one() {
    let mut metrics = BTreeMap::new();
    for shape in [Shape::Standalone, Shape::Cluster] {
        // A client has connected to each node, and been sent something through each.
        let stage = Stage::own(Plan::new(shape).tls(tls::certificates()));
        scrape(&stage, &mut metrics).await;
    }
    let stage = Stage::own(Plan::standalone());
    let probe = Probe::start(&stage);
    read(&probe.metrics_when_successful(&stage).await, "beckon probe", &mut metrics);
    let expected: BTreeSet<String> = metrics.iter().map(|(name, metric)| row(name, metric)).collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().join("docs/metrics.md");
    let text = fs::read_to_string(&path).unwrap();
    let found: BTreeSet<String> =
        text.lines().filter(|line| line.starts_with("| `")).map(str::to_owned).collect();
    let missing: Vec<_> = expected.difference(&found).map(String::as_str).collect();
    assert!(missing.is_empty(), "docs/metrics.md does not have\n{}", missing.join("\n"));
    let stale: Vec<_> = found.difference(&expected).map(String::as_str).collect();
    assert!(stale.is_empty(), "docs/metrics.md still has\n{}", stale.join("\n"));
}

/// The values of `beckon_connection_ends_total` that are not zero, as `by/reason`.
async fn ends(stage: &Stage) -> BTreeMap<String, u64> {
    let url = format!("http://{}/metrics", stage.nodes()[0].addresses().admin);
    let text = String::from_utf8(stage.get(&url).await.body().to_vec()).unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix("beckon_connection_ends_total{by=\""));
    let read = |line: &str| {
        let (by, rest) = line.split_once("\",reason=\"").unwrap();
        let (reason, count) = rest.split_once("\"} ").unwrap();
        (format!("{by}/{reason}"), count.parse().unwrap())
    };
    lines.map(read).filter(|(_, count)| *count > 0).collect()
}

#[tokio::test]
async fn the_end_of_each_connection_is_counted_once_by_whom_and_why() {
    let plan = Plan::standalone()
        .all("BECKON_HELLO_TIMEOUT", "1s")
        .all("BECKON_KEEPALIVE_INTERVAL", "2s")
        .all("BECKON_KEEPALIVE_TIMEOUT", "1s");
    let stage = Stage::own(plan);
    let address = stage.connection_nodes()[0].addresses().ws.unwrap();
    // The clients that waited for the server have left.
    until("those have left", async || {
        let url = format!("http://{}/metrics", stage.nodes()[0].addresses().admin);
        let text = String::from_utf8(stage.get(&url).await.body().to_vec()).unwrap();
        text.contains("\nbeckon_connections 0\n").then_some(())
    })
    .await;
    let before = ends(&stage).await;
    let Registered { client, .. } = stage.registered().await;
    client.leave().await;
    let Registered { client, .. } = stage.registered().await;
    drop(client);
    let Registered { mut client, uaid, channel, .. } = stage.registered().await;
    let mut newer = stage.connect().await;
    newer.resume(&uaid, &[&channel]).await;
    client.expect_close(1000).await;
    newer.send_text("no JSON").await;
    newer.expect_close(1007).await;
    let mut stranger = stage.connect().await;
    stranger.expect_close(1008).await;
    let node = stage.connection_nodes()[0];
    let blocked = "6fa1c3e2d40b4f5a8c7e9b1032a4d5f6";
    done(&stage, node, "block", json!({ "uaid": blocked })).await;
    let mut refused = stage.connect().await;
    refused.send_text(&json!({"messageType": "hello", "uaid": blocked, "channelIDs": []}).to_string()).await;
    refused.expect_close(1008).await;
    // This one answers no pings.
    let mut silent = BareSocket::connect(address).await;
    silent.send(0x81, br#"{"messageType":"hello","use_webpush":true}"#).await;
    until("the keep-alive has failed", async || {
        ends(&stage).await.contains_key("server/keepalive").then_some(())
    })
    .await;
    let mut after = ends(&stage).await;
    for (end, count) in before {
        *after.get_mut(&end).unwrap() -= count;
    }
    after.retain(|_, count| *count > 0);
    let expected = [
        "network/lost",
        "peer/closed",
        "server/blocked",
        "server/hello_timeout",
        "server/keepalive",
        "server/malformed",
        "server/replaced",
    ];
    assert_eq!(after, expected.map(|end| (end.to_owned(), 1)).into());
}
