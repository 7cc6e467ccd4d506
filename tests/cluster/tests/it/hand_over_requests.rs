//! A new process takes the port and the connections of an endpoint-node over: application servers notice nothing.

use crate::hand_over::{CASES, Case, Orphan, STOPS_AT, Victim, either_process_may_die, hand_over, kill};
use beckon_cluster_tests::{
    device::{DIALECTS, Device, Sent},
    kept::{Answered, KeptConnection},
    stage::{Registered, Stage},
};
use beckon_testbed::{
    PATIENCE,
    node::{Node, http},
    plan::Plan,
    process::Signal,
    wait_until,
};
use std::{
    io::ErrorKind,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    task::{JoinSet, block_in_place},
    time::{sleep, timeout},
};

/// The answer to a PUT that was delivered, on a connection that goes on.
const DELIVERED: Answered = Answered { status: 200, is_last: false };

/// A cluster whose endpoint-node hands over in this folder.
fn plan() -> (Plan, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hand-over");
    (Plan::cluster(1, 1).http("BECKON_HAND_OVER", &path.to_string_lossy()), folder)
}

/// The answer to a request that is accepted, whether or not it is delivered at once, on a connection that goes on.
fn is_accepted(answered: Answered) -> bool {
    answered.status / 100 == 2 && !answered.is_last
}

/// Sends one version after the other until told to stop, on one connection or on a new one for each. Returns how many.
async fn send(stage: &Stage, is_kept: bool, is_over: &AtomicBool) -> usize {
    let node = stage.node("e0");
    let mut device = Device::join(stage.node("c0"), DIALECTS[0]).await;
    let mut connection = KeptConnection::open(node).await;
    let mut version = 0;
    while !is_over.load(Ordering::Relaxed) {
        version += 1;
        let answered = connection.put(device.endpoint(), version).await.expect("the connection lives");
        assert!(is_accepted(answered), "version {version}: {answered:?}");
        device.receive(&Sent::Version(version), PATIENCE).await;
        if !is_kept {
            connection = KeptConnection::open(node).await;
        }
    }
    version as usize
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn application_servers_notice_nothing() {
    const SENDERS: usize = 40;
    let (plan, _folder) = plan();
    let stage = Arc::new(Stage::own(plan));
    let is_over = Arc::new(AtomicBool::new(false));
    let mut running = JoinSet::new();
    for number in 0..SENDERS {
        let (stage, is_over) = (stage.clone(), is_over.clone());
        running.spawn(async move { send(&stage, number % 2 == 0, &is_over).await });
    }
    for _ in 0..3 {
        sleep(Duration::from_millis(700)).await;
        block_in_place(|| hand_over(stage.node("e0")));
    }
    sleep(Duration::from_millis(300)).await;
    is_over.store(true, Ordering::Relaxed);
    while let Some(count) = running.join_next().await {
        assert!(count.unwrap() > 0);
    }
}

/// Connections that were answered before are idle in the new process as well: none of them owes its first request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_stay_open_as_they_did_before() {
    let (plan, _folder) = plan();
    let plan = plan.http("BECKON_HEAD_TIMEOUT", "1s").http("BECKON_SOURCE_MAX_PENDING", "2");
    let stage = Stage::own(plan.http("BECKON_LIMIT_PRIVATE_SOURCES", "true"));
    let node = stage.node("e0");
    let Registered { endpoint, .. } = stage.registered().await;
    let mut used = Vec::new();
    for version in 1..6 {
        let mut connection = KeptConnection::open(node).await;
        assert!(is_accepted(connection.put(&endpoint, version).await.unwrap()));
        used.push(connection);
    }
    block_in_place(|| hand_over(node));
    let mut unused = KeptConnection::open(node).await;
    block_in_place(|| hand_over(node));
    sleep(Duration::from_secs(2)).await;
    for (version, connection) in (6..).zip(&mut used) {
        assert!(is_accepted(connection.put(&endpoint, version).await.unwrap()));
    }
    // It still owes its first request.
    assert_eq!(unused.answer().await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
}

/// A request of which a part has come in is answered, whichever part that is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_half_there_is_answered() {
    let (plan, _folder) = plan();
    let stage = Stage::own(plan);
    let node = stage.node("e0");
    let mut device = Device::join(stage.node("c0"), DIALECTS[0]).await;
    // All versions have as many digits, so all requests are equally long.
    let first = KeptConnection::request(device.endpoint(), 100);
    let body_at = first.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
    // None of it, a part of the first line, all but the end of the head, the head, and a part of the body.
    for (index, len) in [0, 7, body_at - 1, body_at, body_at + 3].into_iter().enumerate() {
        let version = 100 + 3 * index as u64;
        // One that was used before, and a new one.
        let mut connections = [KeptConnection::open(node).await, KeptConnection::open(node).await];
        assert!(is_accepted(connections[0].put(device.endpoint(), version).await.unwrap()));
        let requests =
            [version + 1, version + 2].map(|version| KeptConnection::request(device.endpoint(), version));
        for (connection, request) in connections.iter_mut().zip(&requests) {
            connection.send(&request[..len]).await.unwrap();
        }
        sleep(Duration::from_millis(200)).await;
        let mut former = node.launch_successor();
        block_in_place(|| {
            wait_until("another process serves", || {
                (node.log().matches("another process serves now").count() > index).then_some(())
            });
        });
        for (connection, request) in connections.iter_mut().zip(&requests) {
            connection.send(&request[len..]).await.unwrap();
            // The old process answers what it has begun to read.
            let answered = connection.answer().await.unwrap();
            assert_eq!((answered.status / 100, answered.is_last), (2, len >= body_at), "{len} bytes");
        }
        device.receive(&Sent::Version(version + 2), PATIENCE).await;
        assert_eq!(block_in_place(|| former.wait()).code(), Some(0));
        block_in_place(|| node.wait_until_ready());
    }
}

/// What is left of the body of a request that was refused early must not be taken for the next request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rest_of_a_body_is_not_a_request() {
    let (plan, _folder) = plan();
    let stage = Stage::own(plan);
    let node = stage.node("e0");
    let mut connection = KeptConnection::open(node).await;
    // Refused before its body is read.
    let head = "POST /wpush/v2/none HTTP/1.1\r\nHost: push\r\nTTL: 0\r\nContent-Length: 4000\r\n\r\n";
    connection.send(head.as_bytes()).await.unwrap();
    let answered = connection.answer().await.unwrap();
    assert_eq!(answered.status / 100, 4, "{answered:?}");
    block_in_place(|| hand_over(node));
    let _ = connection.send(b"GET /status HTTP/1.1\r\nHost: push\r\n\r\n").await;
    assert!(connection.answer().await.is_err(), "a part of the body was answered");
}

either_process_may_die!(check_all);

async fn check_all(stops: Victim) {
    let (plan, _folder) = plan();
    let stage = Stage::own(plan);
    let Registered { endpoint, .. } = stage.registered().await;
    for (index, case) in CASES.iter().filter(|case| case.stops == stops).enumerate() {
        check(stage.node("e0"), &endpoint, 1 + 10 * index as u64, case).await;
    }
}

/// A request that comes while nothing is served is answered afterwards.
async fn check(node: &Node, endpoint: &str, version: u64, case: &Case) {
    let name = case.name();
    block_in_place(|| case.start(node));
    let mut connections = [KeptConnection::open(node).await, KeptConnection::open(node).await];
    for (index, connection) in (0..).zip(&mut connections) {
        assert!(is_accepted(connection.put(endpoint, version + index).await.unwrap()), "{name}");
    }
    let mut old = block_in_place(|| case.begin(node));
    let [idle, busy] = &mut connections;
    busy.send(&KeptConnection::request(endpoint, version + 2)).await.unwrap();
    // In the backlog of the port.
    let mut new = KeptConnection::open(node).await;
    new.send(&KeptConnection::request(endpoint, version + 3)).await.unwrap();
    let serves_after = block_in_place(|| kill(case, node, &mut old));
    assert_eq!(serves_after, case.is_served, "{name}: {}", node.log());
    if !case.is_served {
        node.set(STOPS_AT, "");
        block_in_place(|| node.start());
    }
    if case.sockets_survive {
        for connection in [busy, &mut new] {
            let answered = connection.answer().await.unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(is_accepted(answered), "{name}: {answered:?}");
        }
        assert!(is_accepted(idle.put(endpoint, version + 4).await.unwrap()), "{name}");
    }
    let mut next = KeptConnection::open(node).await;
    assert!(is_accepted(next.put(endpoint, version + 5).await.unwrap()), "{name}");
    block_in_place(|| {
        old.kill();
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_asks_for_it() {
    let (plan, _folder) = plan();
    let stage = Stage::own(plan);
    let node = stage.node("e0");
    let Registered { mut client, channel, endpoint, .. } = stage.registered().await;
    let mut connection = KeptConnection::open(node).await;
    assert_eq!(connection.put(&endpoint, 1).await.unwrap(), DELIVERED);
    client.expect_update(&channel, 1).await;
    let (status, answer) =
        block_in_place(|| http(node.addresses().admin, "POST", "/hand-over")).expect("an answer");
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(status, 200, "{answer}");
    assert!(answer["http_connections"].as_u64().is_some_and(|connections| connections >= 1), "{answer}");
    let process = answer["process"].as_u64().and_then(|process| u32::try_from(process).ok()).unwrap();
    let _orphan = Orphan(process);
    assert_eq!(block_in_place(|| node.wait()).code(), Some(0));
    assert!(is_accepted(connection.put(&endpoint, 2).await.unwrap()));
}

/// What a process closes when it stops is closed for whoever has taken it over. So it hands nothing over then, and the next one
/// waits for its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_stopping_hands_nothing_over() {
    let (plan, _folder) = plan();
    let stage = Stage::own(plan);
    let node = stage.node("e0");
    let Registered { endpoint, .. } = stage.registered().await;
    node.set(STOPS_AT, "offered");
    let mut old = node.launch_successor();
    block_in_place(|| node.wait_until_stopped());
    old.signal(Signal::TERM);
    // Its port is closed by then, unless it waits for the next process.
    sleep(Duration::from_secs(1)).await;
    node.resume();
    assert_eq!(block_in_place(|| old.wait()).code(), Some(0));
    block_in_place(|| node.wait_until_ready());
    let open = timeout(PATIENCE, KeptConnection::open(node)).await;
    let mut connection = open.expect("the port is open");
    assert!(is_accepted(connection.put(&endpoint, 1).await.unwrap()));
    assert!(node.log().contains("this one starts over"), "{}", node.log());
}

/// Programs of a host may share a file of settings.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_program_at_the_same_path_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hand-over");
    let stage = Stage::launch(Plan::cluster(1, 1).all("BECKON_HAND_OVER", &path.to_string_lossy()));
    let nodes = [stage.node("c0"), stage.node("e0")];
    let refused = block_in_place(|| {
        wait_until("one of them is refused", || nodes.iter().find(|node| node.ended().is_some()))
    });
    assert_eq!(block_in_place(|| refused.wait()).code(), Some(69));
    assert!(refused.log().contains("give each a path of its own"), "{}", refused.log());
}
