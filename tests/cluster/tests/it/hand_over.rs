//! A new process takes over what another one serves, with all sockets, and either of them may die meanwhile.

use beckon_cluster_tests::{
    bare::{BareSocket, PING, PONG},
    device::{DIALECTS, Device, Sent},
    stage::{Registered, Stage},
    tls,
};
use beckon_testbed::{
    PATIENCE,
    node::{Node, http},
    plan::Plan,
    process::{Process, Signal},
};
use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    task::{JoinSet, block_in_place},
    time::sleep,
};

/// Where the process stops itself, by this variable.
pub(crate) const STOPS_AT: &str = "HAND_OVER_STOPS_AT";

/// A cluster with one connection-node, which hands over in this folder.
pub(crate) fn plan() -> (Plan, TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hand-over");
    let plan = Plan::cluster(1, 1).sockets("BECKON_HAND_OVER", &path.to_string_lossy());
    (plan, folder, path)
}

/// Starts the next process of a node and waits until the former one has ended well.
pub(crate) fn hand_over(node: &Node) {
    let mut former = node.launch_successor();
    let status = former.wait();
    assert_eq!(status.code(), Some(0), "{}", former.log());
    node.wait_until_ready();
}

/// The value of a metric of a node.
pub(crate) fn metric(node: &Node, name: &str) -> Option<f64> {
    let (_, metrics) = http(node.addresses().admin, "GET", "/metrics")?;
    metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

/// Devices of both dialects.
pub(crate) async fn devices(node: &Node, count: usize) -> Vec<Device> {
    let mut devices = Vec::new();
    for index in 0..count {
        devices.push(Device::join(node, DIALECTS[index % DIALECTS.len()]).await);
    }
    devices
}

/// Sends through a node and receives until told to stop. Returns how often.
pub(crate) async fn traffic(
    mut device: Device,
    stage: Arc<Stage>,
    sender: &'static str,
    is_over: Arc<AtomicBool>,
) -> usize {
    let mut count = 0;
    while !is_over.load(Ordering::Relaxed) {
        let sent = device.send(stage.node(sender)).await;
        device.receive(&sent, PATIENCE).await;
        count += 1;
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(device.repeats(), 0, "{device:?}");
    count
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_notice_nothing_under_load() {
    const DEVICES: usize = 200;
    const ROUNDS: usize = 3;
    let (plan, _folder, _) = plan();
    let stage = Arc::new(Stage::own(plan));
    let node = stage.node("c0");
    let id = |node: &Node| node.log().lines().filter(|line| line.contains("serving WebSockets")).count();
    let is_over = Arc::new(AtomicBool::new(false));
    let mut running = JoinSet::new();
    for device in devices(node, DEVICES).await {
        running.spawn(traffic(device, stage.clone(), "e0", is_over.clone()));
    }
    // Sockets without a hello move as well, and those whose keep-alive nobody has asked for yet.
    let mut strangers = Vec::new();
    for _ in 0..20 {
        strangers.push(BareSocket::connect(node.addresses().ws.unwrap()).await);
    }
    // Others come all the time.
    let newcomers = Arc::new(AtomicUsize::new(0));
    let (coming, over, joined) = (stage.clone(), is_over.clone(), newcomers.clone());
    running.spawn(async move {
        let mut devices = Vec::new();
        while !over.load(Ordering::Relaxed) {
            let dialect = DIALECTS[devices.len() % DIALECTS.len()];
            devices.push(Device::join(coming.node("c0"), dialect).await);
            joined.fetch_add(1, Ordering::Relaxed);
            sleep(Duration::from_millis(20)).await;
        }
        for device in &mut devices {
            device.settle().await;
        }
        devices.len()
    });
    for round in 1..=ROUNDS {
        sleep(Duration::from_millis(500)).await;
        let before = newcomers.load(Ordering::Relaxed);
        block_in_place(|| hand_over(node));
        assert_eq!(id(node), round + 1);
        let taken = metric(node, r#"beckon_hand_over_sockets_total{outcome="taken"}"#).unwrap();
        assert!(taken as usize >= DEVICES + before, "{taken} of {DEVICES} and {before}");
        for outcome in ["busy", "tls"] {
            let name = format!(r#"beckon_hand_over_sockets_total{{outcome="{outcome}"}}"#);
            assert_eq!(metric(node, &name), Some(0.0), "{outcome}");
        }
    }
    for stranger in &mut strangers {
        stranger.send(PING, b"still there").await;
        let answer = stranger.receive_within(PATIENCE).await.expect("the socket is open");
        assert_eq!((answer.head, answer.payload.as_slice()), (PONG, &b"still there"[..]));
    }
    is_over.store(true, Ordering::Relaxed);
    while let Some(count) = running.join_next().await {
        assert!(count.unwrap() > 0);
    }
}

/// What only a connected client gets arrives too: data of SimplePush, which is not stored. Acknowledgements that the old process
/// has read count, and what it has sent is not sent again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_session_knows_goes_with_it() {
    let (plan, _folder, _) = plan();
    let stage = Stage::own(plan.sockets("BECKON_SP_RETRY_INTERVAL", "3s"));
    let Registered { mut client, channel, endpoint, .. } = stage.registered().await;
    assert_eq!(stage.put(&endpoint, 1).await, 200);
    client.expect_update(&channel, 1).await;
    block_in_place(|| hand_over(stage.node("c0")));
    client.expect_nothing().await;
    // Its time has come: it was not acknowledged.
    client.expect_update(&channel, 1).await;
    client.ack(&channel, 1).await;
    assert_eq!(stage.put_data(&endpoint, 2, "data").await, 200);
    let updates = client.updates().await;
    assert_eq!((&updates[0]["version"], &updates[0]["data"]), (&2.into(), &"data".into()));
    client.ack(&channel, 2).await;
    client.expect_nothing().await;
    block_in_place(|| hand_over(stage.node("c0")));
    client.expect_nothing_for(Duration::from_secs(4)).await;
    // The same socket keeps its channels and its rules.
    client.unregister(&channel).await;
    assert_eq!(stage.put(&endpoint, 3).await, 410);
}

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Victim {
    Old,
    New,
}

/// A process that stops itself at a step, and who is killed then; whether the sockets survive it, and whether a process serves
/// afterwards.
pub(crate) struct Case {
    pub(crate) stops: Victim,
    pub(crate) at: &'static str,
    pub(crate) victim: Victim,
    pub(crate) sockets_survive: bool,
    pub(crate) is_served: bool,
}

impl Case {
    pub(crate) fn name(&self) -> String {
        format!("{:?} stops at `{}`, {:?} dies", self.stops, self.at, self.victim)
    }

    /// Starts the node, which stops where the case says.
    pub(crate) fn start(&self, node: &Node) {
        node.kill();
        node.set(STOPS_AT, if self.stops == Victim::Old { self.at } else { "" });
        node.start();
    }

    /// Starts the next process, waits until one of them has stopped, and returns the old one.
    pub(crate) fn begin(&self, node: &Node) -> Process {
        node.set(STOPS_AT, if self.stops == Victim::New { self.at } else { "" });
        let old = node.launch_successor();
        match self.stops {
            Victim::Old => old.wait_until_stopped(),
            Victim::New => node.wait_until_stopped(),
        }
        old
    }
}

const fn case(
    stops: Victim,
    at: &'static str,
    victim: Victim,
    sockets_survive: bool,
    is_served: bool,
) -> Case {
    Case { stops, at, victim, sockets_survive, is_served }
}

pub(crate) const CASES: [Case; 18] = [
    case(Victim::Old, "offered", Victim::New, true, true),
    case(Victim::Old, "offered", Victim::Old, false, true),
    case(Victim::Old, "frozen", Victim::New, true, true),
    case(Victim::Old, "frozen", Victim::Old, false, true),
    case(Victim::Old, "complete", Victim::New, true, true),
    case(Victim::Old, "complete", Victim::Old, true, true),
    case(Victim::Old, "prepared", Victim::New, true, true),
    case(Victim::Old, "prepared", Victim::Old, true, true),
    case(Victim::Old, "committed", Victim::New, false, false),
    case(Victim::Old, "committed", Victim::Old, true, true),
    case(Victim::New, "offered", Victim::New, true, true),
    case(Victim::New, "offered", Victim::Old, false, true),
    case(Victim::New, "complete", Victim::New, true, true),
    case(Victim::New, "complete", Victim::Old, true, true),
    case(Victim::New, "prepared", Victim::New, false, false),
    case(Victim::New, "prepared", Victim::Old, true, true),
    case(Victim::New, "committed", Victim::New, false, false),
    case(Victim::New, "committed", Victim::Old, true, true),
];

/// Two tests of a function that checks all cases in which the given process stops itself.
macro_rules! either_process_may_die {
    ($check_all:path) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn either_process_may_die_at_any_step_of_the_old_one() {
            $check_all($crate::hand_over::Victim::Old).await;
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn either_process_may_die_at_any_step_of_the_new_one() {
            $check_all($crate::hand_over::Victim::New).await;
        }
    };
}
pub(crate) use either_process_may_die;

either_process_may_die!(check_all);

/// Whichever process dies at whichever step: no notification is lost, and the sockets live on whenever either process has all of
/// them.
async fn check_all(stops: Victim) {
    let (plan, _folder, _) = plan();
    let stage = Arc::new(Stage::own(plan));
    for case in CASES.iter().filter(|case| case.stops == stops) {
        check(&stage, case).await;
    }
}

/// Sends to all devices at once, because a process that is stopped is not waited for for long.
async fn send_to_all(stage: &Arc<Stage>, devices: Vec<Device>) -> (Vec<Device>, Vec<Sent>) {
    let mut sending = JoinSet::new();
    for mut device in devices {
        let stage = stage.clone();
        sending.spawn(async move {
            let sent = device.send(stage.node("e0")).await;
            (device, sent)
        });
    }
    sending.join_all().await.into_iter().unzip()
}

async fn check(stage: &Arc<Stage>, case: &Case) {
    let (node, endpoint_node) = (stage.node("c0"), stage.node("e0"));
    let name = case.name();
    block_in_place(|| case.start(node));
    let mut devices = devices(node, 6).await;
    for device in &mut devices {
        let sent = device.send(endpoint_node).await;
        device.receive(&sent, PATIENCE).await;
    }
    let mut old = block_in_place(|| case.begin(node));
    // Accepted while nobody knows who serves.
    let (mut devices, sent) = send_to_all(stage, devices).await;
    let serves_after = block_in_place(|| kill(case, node, &mut old));
    assert_eq!(serves_after, case.is_served, "{name}");
    if !case.is_served {
        node.set(STOPS_AT, "");
        block_in_place(|| node.start());
    }
    for (device, sent) in devices.iter_mut().zip(&sent) {
        if !case.sockets_survive {
            device.hello(node).await;
        }
        let received = device.try_receive(sent, PATIENCE).await;
        received.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(device.repeats(), 0, "{name}");
        let next = device.send(endpoint_node).await;
        let received = device.try_receive(&next, PATIENCE).await;
        received.unwrap_or_else(|error| panic!("{name}, afterwards: {error}"));
    }
    block_in_place(|| {
        old.kill();
    });
}

/// Kills a process, lets the other one go on, and returns whether a process serves afterwards.
pub(crate) fn kill(case: &Case, node: &Node, old: &mut Process) -> bool {
    match case.victim {
        Victim::Old => {
            old.kill();
            node.resume();
            node.wait_until_ready();
            true
        }
        Victim::New => {
            node.kill();
            old.signal(Signal::CONT);
            let deadline = std::iter::repeat_n(Duration::from_millis(50), 100);
            // One that has handed over ends.
            for pause in deadline {
                if old.ended().is_some() {
                    return false;
                }
                let is_ready = http(node.addresses().admin, "GET", "/__lbheartbeat__");
                if is_ready.is_some_and(|(status, _)| status == 200) {
                    return true;
                }
                std::thread::sleep(pause);
            }
            false
        }
    }
}

/// A new process that hangs does not keep the old one from serving, and does not serve when it goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_process_that_hangs_is_not_waited_for() {
    let (plan, _folder, _) = plan();
    let stage = Stage::own(plan);
    let (node, endpoint_node) = (stage.node("c0"), stage.node("e0"));
    let mut devices = devices(node, 4).await;
    for at in ["offered", "complete"] {
        node.set(STOPS_AT, at);
        let old = node.launch_successor();
        block_in_place(|| node.wait_until_stopped());
        // Longer than the old one waits.
        sleep(Duration::from_secs(7)).await;
        for device in &mut devices {
            let sent = device.send(endpoint_node).await;
            device.receive(&sent, PATIENCE).await;
        }
        if at == "complete" {
            node.resume();
            let status = block_in_place(|| node.wait());
            assert_eq!(status.code(), Some(69), "{}", node.log());
        }
        node.set(STOPS_AT, "");
        // The old process goes on as that of the node.
        block_in_place(|| node.replace(old));
    }
    block_in_place(|| hand_over(node));
    for device in &mut devices {
        let sent = device.send(endpoint_node).await;
        device.receive(&sent, PATIENCE).await;
        assert_eq!(device.repeats(), 0);
    }
}

/// The frame, without files, in which a connection-node says that it reads this format.
pub(crate) fn greeting(format: u8) -> Vec<u8> {
    let program = b"connection-node";
    let mut greeting = vec![0x0a, 1, format, 0x1a, program.len() as u8];
    greeting.extend(program);
    let mut frame = vec![greeting.len() as u8 + 2, 0, 0, 0, 0, 0, 0x0a, greeting.len() as u8];
    frame.extend(greeting);
    frame
}

/// Says something to the process that serves, and returns what it answers.
fn say(path: &Path, bytes: &[u8]) -> Vec<u8> {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_not_a_process_of_the_program_gets_nothing() {
    let (plan, _folder, path) = plan();
    let stage = Stage::own(plan);
    let node = stage.node("c0");
    let Registered { mut client, channel, endpoint, .. } = stage.registered().await;
    let answer = block_in_place(|| {
        assert_eq!(say(&path, b"GET / HTTP/1.1\r\n\r\n"), b"");
        say(&path, &greeting(99))
    });
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.contains("the new one reads [99]; restart instead"), "{answer:?}");
    assert_eq!(stage.put(&endpoint, 1).await, 200);
    client.expect_update(&channel, 1).await;
    // A process that should be somewhere else cannot go on as this node.
    node.set("BECKON_GRPC_ADVERTISE", "127.0.0.1:1");
    let old = node.launch_successor();
    let status = block_in_place(|| node.wait());
    assert_eq!(status.code(), Some(64), "{}", node.log());
    block_in_place(|| node.replace(old));
    client.ack(&channel, 1).await;
    assert_eq!(stage.put(&endpoint, 2).await, 200);
    client.expect_update(&channel, 2).await;
}

/// The state of TLS cannot leave its process, so those sockets are closed as in a drain, and the port is never closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_with_tls_are_closed_and_counted() {
    let (plan, _folder, _) = plan();
    let stage = Stage::own(plan.tls(tls::certificates()));
    let node = stage.node("c0");
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = tls::client(&node.ws_url()).await;
        client.hello().await;
        clients.push(client);
    }
    block_in_place(|| hand_over(node));
    for client in &mut clients {
        client.expect_close(1001).await;
    }
    let name = r#"beckon_hand_over_sockets_total{outcome="tls"}"#;
    assert_eq!(metric(node, name), Some(5.0));
    tls::client(&node.ws_url()).await.hello().await;
}

/// Ends a process that is no child of this one.
pub(crate) struct Orphan(pub(crate) u32);

impl Drop for Orphan {
    fn drop(&mut self) {
        let pid = i32::try_from(self.0).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_asks_for_it() {
    let (plan, _folder, _) = plan();
    let stage = Stage::own(plan);
    let node = stage.node("c0");
    let Registered { mut client, channel, endpoint, .. } = stage.registered().await;
    let (status, answer) =
        block_in_place(|| http(node.addresses().admin, "POST", "/hand-over")).expect("an answer");
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(status, 200, "{answer}");
    let process = answer["process"].as_u64().and_then(|process| u32::try_from(process).ok()).unwrap();
    let _orphan = Orphan(process);
    assert_ne!(process, node.pid());
    assert_eq!((&answer["sockets"], &answer["closed"]), (&1.into(), &0.into()), "{answer}");
    assert_eq!(block_in_place(|| node.wait()).code(), Some(0));
    assert_eq!(stage.put(&endpoint, 1).await, 200);
    client.expect_update(&channel, 1).await;
}

/// Without the setting there is nothing to take over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_has_to_be_set() {
    let stage = Stage::own(Plan::cluster(1, 1));
    let admin = stage.node("c0").addresses().admin;
    let (status, answer) = block_in_place(|| http(admin, "POST", "/hand-over")).expect("an answer");
    assert_eq!(status, 409, "{answer}");
    assert!(answer.contains("hand_over is not set"), "{answer}");
}
