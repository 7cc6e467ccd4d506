//! The dashboard of a cluster of 500 nodes, each of which answers over gRPC at an address of its own.

use super::{get, now, overview};
use beckon_cluster_tests::stage::Stage;
use beckon_testbed::{
    plan::{Plan, SECRET},
    process::Process,
    programs::Program,
    until,
};
use futures_util::future::join_all;
use serde_json::Value;
use std::{collections::BTreeSet, time::Duration};

const NODES: usize = 500;
const SILENT: usize = 50;

/// Operators that look at the same time, and for how long.
const BROWSERS: u32 = 5;
const TIME: Duration = Duration::from_secs(8);

/// How many questions the made-up nodes were asked.
fn asked(crowd: &Process) -> u64 {
    let log = crowd.log();
    let last = log.lines().rfind(|line| line.starts_with('{') && line.ends_with('}')).unwrap_or("{}");
    serde_json::from_str::<Value>(last).unwrap()["asked"].as_u64().unwrap_or(0)
}

/// The made-up nodes in this state.
fn states<'a>(overview: &'a Value, state: &'a str) -> impl Iterator<Item = &'a Value> {
    let nodes = overview["nodes"].as_array().unwrap().iter();
    nodes.filter(move |node| node["state"] == state && node["name"].as_str().unwrap().starts_with("made-up-"))
}

#[tokio::test]
async fn five_hundred_nodes_are_shown_to_many_and_asked_by_one() {
    let stage = Stage::own(Plan::cluster(2, 1));
    let node = stage.node("c0");
    let store = stage.redis().unwrap().url();
    let (nodes, silent) = (NODES.to_string(), SILENT.to_string());
    let arguments =
        ["--store", &*store, "--cluster-secret", SECRET, "--nodes", &*nodes, "--silent", &*silent];
    let log = stage.folder().join("made-up-nodes.log");
    let mut crowd = Process::start(&Program::MadeUpNodes.path(), &arguments, &[], &log);
    // On a busy machine not all of them answer within a second each time.
    let mut answered = BTreeSet::new();
    let shown = until("all nodes are shown", async || {
        let overview = overview(&stage, node).await;
        answered.extend(states(&overview, "ok").map(|node| node["name"].as_str().unwrap().to_owned()));
        (answered.len() == NODES - SILENT).then_some(overview)
    })
    .await;
    let numbers = answered.iter().map(|name| name.rsplit('-').next().unwrap().parse::<usize>().unwrap());
    assert!(numbers.min() >= Some(SILENT), "the first ones never answer");
    assert_eq!(shown["partial"], true, "some do not answer");
    for silent in states(&shown, "silent") {
        assert!(silent["failure"].is_string(), "{silent}");
    }
    let point = shown["history"].as_array().unwrap().last().unwrap();
    let sockets: u64 = states(&shown, "ok").map(|node| node["sockets"].as_u64().unwrap()).sum();
    assert_eq!(point["sockets"].as_u64(), Some(sockets), "the real nodes have none");

    // Many look: each gets an answer in time, and no node is asked the same more than once a second.
    let (before, began) = (asked(&crowd), now());
    let looking = (0..BROWSERS).map(|_| async {
        let mut longest = Duration::ZERO;
        while began.elapsed() < TIME {
            let asked = now();
            let overview = overview(&stage, node).await;
            longest = longest.max(asked.elapsed());
            get(&stage, node, "/api/audit").await;
            assert_eq!(states(&overview, "ok").count() + states(&overview, "silent").count(), NODES);
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        longest
    });
    let longest = join_all(looking).await.into_iter().max().unwrap();
    // They say once a second what they were asked.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (asked, seconds) = (asked(&crowd) - before, began.elapsed().as_secs_f64());
    assert!(asked as f64 <= (seconds + 1.0) * 2.0 * NODES as f64, "{asked} questions in {seconds} s");
    assert!(asked >= NODES as u64, "{asked} questions");
    assert!(longest < Duration::from_secs(10), "an answer took {longest:?}");

    // Their process dies: they are silent, and gone when their leases have lapsed.
    crowd.kill();
    until("none answers", async || {
        let overview = overview(&stage, node).await;
        (states(&overview, "ok").count() == 0).then_some(())
    })
    .await;
    let last = until("they are gone", async || {
        let overview = overview(&stage, node).await;
        (states(&overview, "gone").count() == NODES).then_some(overview)
    })
    .await;
    assert_eq!(last["partial"], false, "what is gone is not missing");
}
