//! A device whose network is gone: nothing says that it is, and it acknowledges nothing any more.

use beckon_cluster_tests::{
    bare::{self, BareSocket, upgrade_request},
    host::{Host, SOON, status},
    stage::Stage,
    talk::new_channel,
};
use beckon_testbed::{
    PATIENCE, folder,
    node::http,
    plan::Plan,
    programs::{Program, VARIABLE},
    until_within,
};
use serde_json::{Value, json};
use std::{fs, process::Command, time::Duration};

/// Makes the test below run in a network of its own, whose packets it can drop.
const CHILD: &str = "BECKON_CLUSTER_TESTS_CHILD";

/// The setting `dead_client` of this test.
const DEAD_AFTER: Duration = Duration::from_secs(3);

#[test]
fn a_device_whose_network_is_gone_does_not_get_200_for_long() {
    if std::env::var_os(CHILD).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        return runtime.unwrap().block_on(cut());
    }
    let programs = Program::Beckon.path();
    // A user and a network namespace, which need no rights; setpriv ends it with this thread.
    let output = Command::new("setpriv")
        .args([
            "--pdeathsig",
            "KILL",
            "--",
            "unshare",
            "--user",
            "--map-root-user",
            "--net",
            "--kill-child",
            "--fork",
            "--",
        ])
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "dead_client::a_device_whose_network_is_gone_does_not_get_200_for_long",
            "--nocapture",
        ])
        .env(CHILD, "")
        .env(VARIABLE, programs.parent().unwrap())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
}

/// Runs `ip` of iproute2.
fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output().expect("iproute2");
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The next message that is not a Ping.
async fn receive(socket: &mut BareSocket) -> Value {
    let frame = socket.receive_within(PATIENCE).await.expect("the socket is open");
    assert_eq!(frame.head, bare::TEXT);
    serde_json::from_slice(&frame.payload).expect("JSON")
}

async fn cut() {
    ip("link set lo up");
    // The setting counts for sockets that come after a reload.
    let folder = folder::temporary();
    let settings = folder.path().join("beckon.toml");
    fs::write(&settings, "dead_client = \"1h\"\n").unwrap();
    let stage = Stage::own(Plan::standalone().all("BECKON_CONFIG", &settings.to_string_lossy()));
    fs::write(&settings, "dead_client = \"3s\"\n").unwrap();
    let reloaded = http(stage.nodes()[0].addresses().admin, "POST", "/reload").unwrap();
    assert!(reloaded.0 == 200 && reloaded.1.contains("dead_client"), "{reloaded:?}");
    let ws = stage.connection_nodes()[0].addresses().ws.unwrap();
    let (head, stream) = Host::new(66).ask_within(SOON, ws, &upgrade_request("/", "")).await;
    assert_eq!(status(&head), 101);
    let mut device = BareSocket::over(stream);
    let (channel, hello) = (new_channel(), json!({"messageType": "hello", "uaid": "", "channelIDs": []}));
    device.send(bare::TEXT, hello.to_string().as_bytes()).await;
    assert_eq!(receive(&mut device).await["status"], 200);
    let register = json!({"messageType": "register", "channelID": channel});
    device.send(bare::TEXT, register.to_string().as_bytes()).await;
    let endpoint = receive(&mut device).await["pushEndpoint"].as_str().unwrap().to_owned();
    assert_eq!(stage.put(&endpoint, 1).await, 200);
    assert_eq!(receive(&mut device).await["updates"][0]["version"], 1);
    // From now on whatever is sent to the device is lost.
    ip("rule add pref 10 lookup local");
    ip("rule del pref 0");
    ip("rule add pref 5 to 127.0.0.66 blackhole");
    assert_eq!(stage.put(&endpoint, 2).await, 200, "the system has taken it for the device");
    let mut version = 2;
    until_within(3 * DEAD_AFTER, "the server knows that the device is gone", async || {
        version += 1;
        (stage.put(&endpoint, version).await == 202).then_some(())
    })
    .await;
}
