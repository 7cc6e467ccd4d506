//! A new process takes a standalone server over, with its embedded store, and either of them may die meanwhile.

use crate::hand_over::{
    CASES, Case, STOPS_AT, Victim, devices, either_process_may_die, hand_over, kill, metric, traffic,
};
use beckon_cluster_tests::{
    device::{DIALECTS, Device, Sent},
    kept::{Answered, KeptConnection},
    stage::Stage,
};
use beckon_testbed::{
    PATIENCE,
    node::Node,
    plan::{Plan, key},
    process,
    programs::Program,
    redis::RedisServer,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    task::{JoinSet, block_in_place},
    time::sleep,
};

/// The name of the server in its plan.
const SERVER: &str = "beckon";

/// The answer to a PUT that has reached the socket, on a connection that goes on.
const DELIVERED: Answered = Answered { status: 200, is_last: false };

/// A server that hands over in this folder.
fn plan() -> (Plan, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hand-over");
    (Plan::standalone().all("BECKON_HAND_OVER", &path.to_string_lossy()), folder)
}

/// A device of SimplePush, and an application server that keeps its connection: it sends until told to stop.
async fn keep_sending(node: &Node, is_over: &AtomicBool) -> usize {
    let mut device = Device::join(node, DIALECTS[0]).await;
    let mut connection = KeptConnection::open(node).await;
    let mut version = 0;
    while !is_over.load(Ordering::Relaxed) {
        version += 1;
        let answered = connection.put(device.endpoint(), version).await.expect("the connection lives");
        assert_eq!(answered, DELIVERED, "version {version}");
        device.receive(&Sent::Version(version), PATIENCE).await;
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(device.repeats(), 0);
    version as usize
}

/// Hands over several times while devices are sent to, over connections that are kept and over new ones.
async fn nothing_is_noticed(stage: Stage) {
    const DEVICES: usize = 60;
    const KEPT: usize = 20;
    let stage = Arc::new(stage);
    let node = stage.node(SERVER);
    let is_over = Arc::new(AtomicBool::new(false));
    let mut running = JoinSet::new();
    for device in devices(node, DEVICES).await {
        running.spawn(traffic(device, stage.clone(), SERVER, is_over.clone()));
    }
    for _ in 0..KEPT {
        let (stage, is_over) = (stage.clone(), is_over.clone());
        running.spawn(async move { keep_sending(stage.node(SERVER), &is_over).await });
    }
    // One that sends nothing until all is over.
    let mut idle = KeptConnection::open(node).await;
    for _ in 0..3 {
        sleep(Duration::from_millis(700)).await;
        block_in_place(|| hand_over(node));
        let taken = metric(node, r#"beckon_hand_over_sockets_total{outcome="taken"}"#);
        assert_eq!(taken, Some((DEVICES + KEPT) as f64));
    }
    sleep(Duration::from_millis(300)).await;
    is_over.store(true, Ordering::Relaxed);
    while let Some(count) = running.join_next().await {
        assert!(count.unwrap() > 0);
    }
    let mut device = Device::join(node, DIALECTS[0]).await;
    assert_eq!(idle.put(device.endpoint(), 1).await.unwrap(), DELIVERED);
    device.receive(&Sent::Version(1), PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_and_application_servers_notice_nothing() {
    let (plan, _folder) = plan();
    nothing_is_noticed(Stage::own(plan)).await;
}

/// The same with a store that both processes can have open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_redis_is_handed_over_as_well() {
    let (plan, _folder) = plan();
    let redis = RedisServer::start();
    nothing_is_noticed(Stage::own(plan.store(redis.url()))).await;
}

/// Which socket owns a client is in memory only: the new process has to know it, to find the socket of a client that is sent
/// something, and to close it when the client says hello on another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_the_memory_of_the_store_had_is_there() {
    let (plan, _folder) = plan();
    let stage = Stage::own(plan);
    let node = stage.node(SERVER);
    let mut devices = devices(node, 4).await;
    block_in_place(|| hand_over(node));
    for device in &mut devices {
        let sent = device.send(node).await;
        device.receive(&sent, PATIENCE).await;
        let mut newer = device.begin_hello(node).await.unwrap();
        newer.text_within(PATIENCE).await.unwrap();
        assert_eq!(device.try_await_close(PATIENCE).await, Ok(1000));
    }
    // The new process gives backups.
    let (data, file) = (stage.folder().join("data"), stage.folder().join("backup"));
    let (status, output) = process::run(
        &Program::Beckon.path(),
        &["backup", file.to_str().unwrap()],
        &[("BECKON_DATA_DIR", data.to_str().unwrap())],
    );
    assert!(status.success(), "{output}");
}

either_process_may_die!(check_all);

async fn check_all(stops: Victim) {
    let (plan, _folder) = plan();
    let stage = Arc::new(Stage::own(plan));
    for case in CASES.iter().filter(|case| case.stops == stops) {
        check(&stage, case).await;
    }
}

/// What is sent while nothing is served waits, and is accepted by whichever process serves afterwards.
async fn check(stage: &Arc<Stage>, case: &Case) {
    let (node, name) = (stage.node(SERVER), case.name());
    block_in_place(|| case.start(node));
    let mut devices = devices(node, 6).await;
    let mut connection = KeptConnection::open(node).await;
    let mut kept = Device::join(node, DIALECTS[0]).await;
    assert_eq!(connection.put(kept.endpoint(), 1).await.unwrap(), DELIVERED, "{name}");
    kept.receive(&Sent::Version(1), PATIENCE).await;
    for device in &mut devices {
        let sent = device.send(node).await;
        device.receive(&sent, PATIENCE).await;
    }
    let mut old = block_in_place(|| case.begin(node));
    let mut sending = JoinSet::new();
    for mut device in devices {
        let stage = stage.clone();
        sending.spawn(async move {
            let sent = device.send_persistently(stage.node(SERVER), PATIENCE).await;
            (device, sent)
        });
    }
    connection.send(&KeptConnection::request(kept.endpoint(), 2)).await.unwrap();
    sleep(Duration::from_millis(200)).await;
    let serves_after = block_in_place(|| kill(case, node, &mut old));
    assert_eq!(serves_after, case.is_served, "{name}: {}", node.log());
    if !case.is_served {
        node.set(STOPS_AT, "");
        block_in_place(|| node.start());
    }
    if case.sockets_survive {
        assert_eq!(connection.answer().await.ok(), Some(DELIVERED), "{name}");
        kept.receive(&Sent::Version(2), PATIENCE).await;
    }
    for (mut device, sent) in sending.join_all().await {
        let sent = sent.unwrap_or_else(|error| panic!("{name}: {error}"));
        if !case.sockets_survive {
            device.hello(node).await;
        }
        for sent in [sent, device.send(node).await] {
            let received = device.try_receive(&sent, PATIENCE).await;
            received.unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        if case.sockets_survive {
            assert_eq!(device.repeats(), 0, "{name}");
        }
    }
    block_in_place(|| {
        old.kill();
    });
}

async fn goes_on(node: &Node, devices: &mut [Device]) {
    for device in devices {
        let sent = device.send_persistently(node, PATIENCE).await.unwrap();
        device.receive(&sent, PATIENCE).await;
    }
}

/// A new process that hangs with the store open gives it back when it goes on, and does not serve then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_process_that_hangs_is_not_waited_for() {
    let (plan, _folder) = plan();
    let stage = Stage::own(plan);
    let node = stage.node(SERVER);
    let mut devices = devices(node, 4).await;
    node.set(STOPS_AT, "complete");
    let old = node.launch_successor();
    block_in_place(|| node.wait_until_stopped());
    sleep(Duration::from_secs(7)).await;
    node.resume();
    let status = block_in_place(|| node.wait());
    assert_eq!(status.code(), Some(69), "{}", node.log());
    node.set(STOPS_AT, "");
    block_in_place(|| node.replace(old));
    goes_on(node, &mut devices).await;
    block_in_place(|| hand_over(node));
    goes_on(node, &mut devices).await;
}

/// A new process that cannot use the store finds that out when the old one has closed it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_the_new_process_cannot_use_is_opened_again_by_the_old_one() {
    let (plan, _folder) = plan();
    let stage = Arc::new(Stage::own(plan));
    let node = stage.node(SERVER);
    let is_over = Arc::new(AtomicBool::new(false));
    let mut running = JoinSet::new();
    for device in devices(node, 20).await {
        running.spawn(traffic(device, stage.clone(), SERVER, is_over.clone()));
    }
    sleep(Duration::from_millis(500)).await;
    for variable in ["BECKON_UAID_KEY", "BECKON_TOKEN_KEYS"] {
        node.set(variable, key(77));
        let old = node.launch_successor();
        let status = block_in_place(|| node.wait());
        assert_eq!(status.code(), Some(64), "{variable}: {}", node.log());
        block_in_place(|| node.replace(old));
        node.unset(variable);
    }
    block_in_place(|| hand_over(node));
    sleep(Duration::from_millis(300)).await;
    is_over.store(true, Ordering::Relaxed);
    while let Some(count) = running.join_next().await {
        assert!(count.unwrap() > 0);
    }
}
