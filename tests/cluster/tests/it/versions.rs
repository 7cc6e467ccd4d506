//! This version beside the next one, as far as a test can imagine it ([`Programs::next`]): it adds to what nodes say to each
//! other and to what they store. Their nodes may be mixed in any order, and any of them may become the other one.

use beckon_cluster_tests::{
    device::{DIALECTS, Device},
    site::HEARING,
    stage::Stage,
};
use beckon_testbed::{
    PATIENCE, POLL,
    node::Node,
    plan::{Plan, Shape},
    process,
    programs::{Program, Programs},
    until,
};
use beckon_types::Dialect;
use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};
use tokio::{
    sync::RwLock,
    task::JoinSet,
    time::{sleep, timeout},
};

/// What the next version adds has this in it.
const ADDED: &str = "of the next version";

/// Notifications for one device.
const NOTIFICATIONS: usize = 10;

fn become_another(node: &Node, build: &Programs) {
    assert!(node.terminate().success(), "{}", node.log());
    node.install(build);
    node.start();
}

/// How often an endpoint-node has opened a stream.
fn streams_opened(node: &Node) -> usize {
    node.log().matches("stream to node open").count()
}

/// No node complains. The next version is no reason for more than a warning.
fn expect_no_errors(stage: &Stage) {
    for node in stage.nodes() {
        let log = node.log();
        let error = log.lines().find(|line| line.contains("ERROR") || line.contains("left out"));
        assert_eq!(error, None, "{}", node.name());
    }
}

/// How many notifications an endpoint-node has taken, by their outcomes.
async fn outcomes(stage: &Stage, node: &Node) -> BTreeMap<String, usize> {
    let answer = stage.get(&format!("http://{}/metrics", node.addresses().admin)).await;
    let mut outcomes = BTreeMap::new();
    for line in str::from_utf8(answer.body()).unwrap().lines() {
        let Some(rest) = line.strip_prefix("beckon_endpoint_notifications_total{") else { continue };
        let (labels, count) = rest.split_once("} ").unwrap();
        let (_, outcome) = labels.split_once("outcome=\"").unwrap();
        let (outcome, _) = outcome.split_once('"').unwrap();
        *outcomes.entry(outcome.to_owned()).or_default() += count.parse::<usize>().unwrap();
    }
    outcomes
}

/// Sends to a new device, and returns the outcomes. Then the device moves to the other node.
async fn sent(stage: &Stage, sender: &Node, receiver: &Node, dialect: Dialect) -> BTreeMap<String, usize> {
    let before = outcomes(stage, sender).await;
    let mut device = Device::join(receiver, dialect).await;
    for _ in 0..NOTIFICATIONS {
        let sent = device.send(sender).await;
        device.receive(&sent, HEARING).await;
    }
    let mut outcomes = outcomes(stage, sender).await;
    outcomes.iter_mut().for_each(|(outcome, count)| *count -= before.get(outcome).unwrap_or(&0));
    outcomes.retain(|_, count| *count > 0);
    let other = stage.connection_nodes().into_iter().find(|other| other.name() != receiver.name()).unwrap();
    let mut newer = device.begin_hello(other).await.unwrap();
    newer.text_within(HEARING).await.unwrap();
    assert_eq!(device.try_await_close(HEARING).await, Ok(1000), "the older socket is closed");
    outcomes
}

#[tokio::test]
async fn every_parcel_between_two_versions_has_a_receipt() {
    let next = Programs::next();
    let stage = Stage::own(Plan::new(Shape::Cluster));
    become_another(stage.node("c1"), &next);
    become_another(stage.node("e1"), &next);
    stage.wait_until_connected();
    let opened = |stage: &Stage| stage.endpoint_nodes().into_iter().map(streams_opened).collect::<Vec<_>>();
    let before = opened(&stage);
    for sender in stage.endpoint_nodes() {
        for receiver in stage.connection_nodes() {
            for dialect in DIALECTS {
                let outcomes = sent(&stage, sender, receiver, dialect).await;
                let case = format!("{dialect:?} from {} to {}: {outcomes:?}", sender.name(), receiver.name());
                assert_eq!(outcomes.values().sum::<usize>(), NOTIFICATIONS, "{case}");
                let mut found: Vec<_> = outcomes.keys().map(String::as_str).collect();
                found.retain(|outcome| *outcome != "delivered");
                let expected: &[&str] = match (sender.name(), receiver.name()) {
                    // A kind that the receiver does not know: the connection re-reads the store.
                    ("e1", "c0") => &["busy"],
                    // An outcome that the sender does not know.
                    ("e0", "c1") => &["unreadable"],
                    _ => &[],
                };
                assert_eq!(found, expected, "{case}");
            }
        }
    }
    assert_eq!(opened(&stage), before, "no stream has ended");
    expect_no_errors(&stage);
}

/// A cluster under traffic, each node of which becomes another version in its turn.
struct Rolling {
    stage: Stage,
    /// Held for writing while the endpoint-node of this number restarts: a sender does not choose it then.
    endpoint_nodes: [RwLock<()>; 2],
    is_over: AtomicBool,
    /// Notifications that were accepted and have arrived.
    heard: AtomicUsize,
}

impl Rolling {
    /// A device that is sent notifications until all is over, through both endpoint-nodes in turn, and connects again
    /// whenever its socket is closed.
    async fn keep_hearing(self: Arc<Self>, mut device: Device) {
        for turn in 0.. {
            if self.is_over.load(Ordering::Relaxed) {
                return;
            }
            let number = turn % 2;
            // The other one's turn comes anyway.
            let Ok(_serves) = self.endpoint_nodes[number].try_read() else { continue };
            let sent = device.send(self.stage.node(&format!("e{number}"))).await;
            while let Err(reason) = device.try_receive(&sent, HEARING).await {
                assert!(!reason.contains("not arrived"), "{:?}: {reason}", device.dialect());
                self.connect_again(&mut device).await;
            }
            self.heard.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn connect_again(&self, device: &mut Device) {
        let connected = async {
            for node in self.stage.connection_nodes().into_iter().cycle() {
                if device.try_hello(node).await.is_ok() {
                    return;
                }
                sleep(POLL).await;
            }
        };
        timeout(PATIENCE, connected).await.expect("a device is connected again");
    }

    /// Makes a node another version, while notifications are pending for devices that are not connected.
    async fn step(&self, name: &str, build: &Programs) {
        let connection_nodes = self.stage.connection_nodes();
        let mut offline = Vec::new();
        for (dialect, node) in DIALECTS.into_iter().zip(&connection_nodes) {
            let mut device = Device::join(node, dialect).await;
            device.leave().await;
            let mut pending = Vec::new();
            for node in self.stage.endpoint_nodes() {
                pending.push(device.send(node).await);
            }
            offline.push((device, pending));
        }
        let restarting = match name.strip_prefix('e') {
            Some(number) => Some(self.endpoint_nodes[number.parse::<usize>().unwrap()].write().await),
            None => None,
        };
        // The traffic goes on in other threads.
        tokio::task::block_in_place(|| become_another(self.stage.node(name), build));
        self.stage.wait_until_well().await;
        drop(restarting);
        for ((mut device, pending), node) in offline.into_iter().zip(connection_nodes.iter().rev()) {
            device.hello(node).await;
            for sent in pending {
                device.receive(&sent, HEARING).await;
            }
        }
    }
}

/// All nodes become the next version in this order, and this version again in the reverse order.
async fn roll_up_and_back(order: [&str; 4]) {
    const DEVICES: usize = 4;
    let (this, next) = (Programs::built(), Programs::next());
    let rolling = Arc::new(Rolling {
        stage: Stage::own(Plan::new(Shape::Cluster)),
        endpoint_nodes: Default::default(),
        is_over: AtomicBool::new(false),
        heard: AtomicUsize::new(0),
    });
    let mut devices = JoinSet::new();
    for node in rolling.stage.connection_nodes() {
        for dialect in DIALECTS {
            for _ in 0..DEVICES / 4 {
                devices.spawn(rolling.clone().keep_hearing(Device::join(node, dialect).await));
            }
        }
    }
    let up = order.into_iter().map(|name| (name, &next));
    let back = order.into_iter().rev().map(|name| (name, &this));
    for (name, build) in up.chain(back) {
        let heard = rolling.heard.load(Ordering::Relaxed);
        rolling.step(name, build).await;
        let is_heard = async || (rolling.heard.load(Ordering::Relaxed) > heard + DEVICES).then_some(());
        until(&format!("devices hear after {name} has changed"), is_heard).await;
    }
    rolling.is_over.store(true, Ordering::Relaxed);
    while let Some(device) = devices.join_next().await {
        device.unwrap();
    }
    expect_no_errors(&rolling.stage);
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_nodes_are_upgraded_first() {
    roll_up_and_back(["c0", "c1", "e0", "e1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoint_nodes_are_upgraded_first() {
    roll_up_and_back(["e0", "e1", "c0", "c1"]).await;
}

/// The embedded store of either version is opened by the other one, after a stop and after a crash.
#[tokio::test]
async fn an_embedded_store_is_rolled_up_and_back() {
    let (this, next) = (Programs::built(), Programs::next());
    let stage = Stage::own(Plan::new(Shape::Standalone));
    let node = stage.node("beckon");
    let mut devices = Vec::new();
    for dialect in DIALECTS {
        devices.push(Device::join(node, dialect).await);
    }
    let has_added = |file: &str| {
        let bytes = fs::read(stage.folder().join("data").join(file)).unwrap();
        bytes.windows(ADDED.len()).any(|window| window == ADDED.as_bytes())
    };
    for (build, is_crash) in [(&next, false), (&this, false), (&next, true), (&this, true)] {
        let mut pending = Vec::new();
        for device in &mut devices {
            device.leave().await;
            pending.push(device.send(node).await);
        }
        if is_crash {
            node.kill()
        } else {
            assert!(node.terminate().success())
        }
        node.install(build);
        node.start();
        for (device, pending) in devices.iter_mut().zip(pending) {
            device.hello(node).await;
            device.receive(&pending, HEARING).await;
            let sent = device.send(node).await;
            device.receive(&sent, HEARING).await;
        }
    }
    assert!(has_added("store.redb") && has_added("store.log"), "the next version has written");
    expect_no_errors(&stage);
}

/// A backup that the next version has made can be restored by this one.
#[tokio::test]
async fn a_backup_of_the_next_version_is_restored() {
    let next = Programs::next();
    let stage = Stage::own(Plan::new(Shape::Standalone));
    let node = stage.node("beckon");
    become_another(node, &next);
    let mut devices = Vec::new();
    for dialect in DIALECTS {
        let mut device = Device::join(node, dialect).await;
        device.leave().await;
        let pending = device.send(node).await;
        devices.push((device, pending));
    }
    let (data, file) = (stage.folder().join("data"), stage.folder().join("backup"));
    let run = |program: &Path, command: &str| {
        let arguments = [command, file.to_str().unwrap()];
        let (status, output) =
            process::run(program, &arguments, &[("BECKON_DATA_DIR", data.to_str().unwrap())]);
        assert!(status.success(), "{output}");
    };
    run(&next.path(Program::Beckon), "backup");
    node.terminate();
    fs::remove_dir_all(&data).unwrap();
    run(&Program::Beckon.path(), "restore");
    node.install(&Programs::built());
    node.start();
    for (device, pending) in &mut devices {
        device.hello(node).await;
        device.receive(pending, HEARING).await;
    }
}
