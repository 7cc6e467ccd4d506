//! Draining and shedding, as docs/operations.md promises them: what load balancers see, what is served meanwhile,
//! and how fast sockets are closed.

use beckon_cluster_tests::{
    bare::{self, BareSocket, upgrade_request},
    stage::{Registered, Stage},
};
use beckon_testbed::{
    PATIENCE,
    node::Node,
    now,
    plan::{ADMIN_TOKEN, Plan, Shape},
    process::{self, Signal},
    programs::Program,
    until,
};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::{io::AsyncReadExt as _, task::JoinSet, time::sleep};

/// A delay that a test can use, also on a busy machine.
const DELAY: Duration = Duration::from_secs(4);

fn delayed(shape: Shape) -> Stage {
    Stage::own(Plan::new(shape).all("BECKON_DRAIN_DELAY", "4s"))
}

async fn ask(stage: &Stage, method: http::Method, node: &Node, path: &str) -> (u16, Value) {
    let url = format!("http://{}{path}", node.addresses().admin);
    let answer = stage.ask(method, &url, "").await;
    (answer.status().as_u16(), serde_json::from_slice(answer.body()).unwrap_or_default())
}

async fn post(stage: &Stage, node: &Node, path: &str) -> (u16, Value) {
    ask(stage, http::Method::POST, node, path).await
}

async fn status(stage: &Stage, node: &Node, path: &str) -> u16 {
    ask(stage, http::Method::GET, node, path).await.0
}

async fn phase(stage: &Stage, node: &Node) -> String {
    ask(stage, http::Method::GET, node, "/drain").await.1["phase"].as_str().unwrap().to_owned()
}

/// The head of the answer to an upgrade request.
async fn upgrade(node: &Node) -> String {
    bare::request(node.addresses().ws.unwrap(), &upgrade_request("/", "")).await.0
}

/// The head of the answer to a request on a new connection to the public HTTP port.
async fn plain(node: &Node) -> String {
    bare::request(node.addresses().http.unwrap(), "GET /status HTTP/1.1\r\nHost: h\r\n\r\n").await.0
}

/// A drain that an operator begins: first everything is served, then sockets are closed; requests are served all the
/// time, and the drain can be taken back.
async fn check_verb(shape: Shape) {
    let stage = delayed(shape);
    let Registered { mut client, uaid, channel, endpoint } = stage.registered().await;
    let node = stage.connection_nodes()[0];
    assert_eq!(phase(&stage, node).await, "serving");
    assert_eq!(status(&stage, node, "/ready").await, 200);
    let begun = now();
    assert_eq!(post(&stage, node, "/drain").await.1["phase"], "leaving");
    for path in ["/ready", "/__lbheartbeat__"] {
        assert_eq!(status(&stage, node, path).await, 503, "{path}");
    }
    for path in ["/live", "/status"] {
        assert_eq!(status(&stage, node, path).await, 200, "{path}");
    }
    assert!(upgrade(node).await.starts_with("HTTP/1.1 101 "), "it still serves");
    assert_eq!(stage.put(&endpoint, 1).await, 200);
    client.expect_update(&channel, 1).await;
    client.expect_close(1001).await;
    assert!(begun.elapsed() >= DELAY - Duration::from_millis(100), "{:?}", begun.elapsed());
    assert_eq!(phase(&stage, node).await, "closing");
    let refused = upgrade(node).await;
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("retry-after: 5"), "{refused}");
    assert_eq!(stage.put(&endpoint, 2).await, 202);
    assert_eq!(post(&stage, node, "/undrain").await.1["phase"], "serving");
    assert_eq!(status(&stage, node, "/ready").await, 200);
    let mut client = Stage::client_of(node).await;
    client.resume(&uaid, &[&channel]).await;
    client.expect_update(&channel, 2).await;
    assert_eq!(node.ended(), None);
}

#[tokio::test]
async fn a_connection_node_drains_by_request_and_serves_again() {
    check_verb(Shape::Cluster).await;
}

#[tokio::test]
async fn a_standalone_server_drains_by_request_and_serves_again() {
    check_verb(Shape::Standalone).await;
}

#[tokio::test]
async fn an_endpoint_node_serves_through_its_drain_and_asks_for_new_connections() {
    let stage = delayed(Shape::Cluster);
    let Registered { mut client, channel, endpoint, .. } = stage.registered().await;
    let node = stage.node("e0");
    assert!(!plain(node).await.contains("connection: close"));
    assert_eq!(post(&stage, node, "/drain").await.1["phase"], "leaving");
    assert_eq!(status(&stage, node, "/ready").await, 503);
    for version in 1..=3 {
        let head = plain(node).await;
        assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("connection: close"), "{head}");
        assert_eq!(Stage::put_through(node, &endpoint, version).await, 200);
        client.expect_update(&channel, version).await;
        sleep(DELAY / 2).await;
    }
    // The delay is over, and there is no shutdown.
    assert_eq!(phase(&stage, node).await, "closing");
    assert_eq!(Stage::put_through(node, &endpoint, 4).await, 200);
    post(&stage, node, "/undrain").await;
    assert!(!plain(node).await.contains("connection: close"));
}

#[tokio::test]
async fn an_endpoint_node_that_stops_accepts_through_the_delay() {
    let stage = delayed(Shape::Cluster);
    let Registered { client: _client, endpoint, .. } = stage.registered().await;
    let node = stage.node("e1");
    let begun = now();
    node.signal(Signal::TERM);
    until("it drains", async || (status(&stage, node, "/ready").await == 503).then_some(())).await;
    let mut version = 0;
    while begun.elapsed() < DELAY - Duration::from_secs(1) {
        version += 1;
        assert_eq!(Stage::put_through(node, &endpoint, version).await, 200);
        let head = plain(node).await;
        assert!(head.contains("connection: close"), "{head}");
        assert_eq!(post(&stage, node, "/undrain").await.0, 409, "the program is stopping");
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(node.wait().code(), Some(0), "{}", node.log());
}

#[tokio::test]
async fn a_node_that_was_drained_stops_without_a_second_delay() {
    let stage = delayed(Shape::Cluster);
    let node = stage.node("c1");
    post(&stage, node, "/drain").await;
    until("it closes", async || (phase(&stage, node).await == "closing").then_some(())).await;
    let stopping = now();
    assert_eq!(node.terminate().code(), Some(0), "{}", node.log());
    assert!(stopping.elapsed() < DELAY, "{:?}", stopping.elapsed());
}

/// In a standalone server the store and the application servers are as well as before.
#[tokio::test]
async fn a_standalone_server_takes_requests_until_its_sockets_are_gone() {
    let plan = Plan::new(Shape::Standalone).all("BECKON_DRAIN_RATE", "5");
    let stage = Stage::own(plan);
    let node = stage.connection_nodes()[0];
    let mut sockets = Vec::new();
    for _ in 0..20 {
        sockets.push(BareSocket::connect(node.addresses().ws.unwrap()).await);
    }
    let Registered { endpoint, uaid, channel, .. } = stage.registered().await;
    node.signal(Signal::TERM);
    until("it drains", async || (status(&stage, node, "/ready").await == 503).then_some(())).await;
    let mut version = 0;
    for mut socket in sockets {
        version += 1;
        assert!([200, 202].contains(&stage.put(&endpoint, version).await));
        let frame = socket.receive_within(PATIENCE).await.expect("a Close frame");
        assert_eq!(frame.close_code(), Some(1001));
    }
    assert_eq!(node.wait().code(), Some(0), "{}", node.log());
    node.start();
    let mut client = Stage::client_of(node).await;
    client.resume(&uaid, &[&channel]).await;
    client.expect_update(&channel, version).await;
}

/// Bare sockets, whose peers do not answer the Close frame.
async fn connect(node: &Node, sockets: usize) -> Vec<BareSocket> {
    let address = node.addresses().ws.unwrap();
    let mut tasks = JoinSet::new();
    for _ in 0..sockets {
        tasks.spawn(BareSocket::connect(address));
        if tasks.len() == 64 {
            break;
        }
    }
    let mut open = Vec::with_capacity(sockets);
    while let Some(socket) = tasks.join_next().await {
        open.push(socket.unwrap());
        if open.len() + tasks.len() < sockets {
            tasks.spawn(BareSocket::connect(address));
        }
    }
    open
}

/// When each socket gets its Close frame, from now, in order.
async fn closes(sockets: Vec<BareSocket>) -> Vec<Duration> {
    let begun = now();
    let mut tasks = JoinSet::new();
    for mut socket in sockets {
        tasks.spawn(async move {
            let frame = socket.receive_within(PATIENCE).await.expect("a Close frame");
            assert_eq!(frame.close_code(), Some(1001));
            begun.elapsed()
        });
    }
    let mut closes = tasks.join_all().await;
    closes.sort();
    closes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_are_closed_at_the_promised_pace() {
    for (sockets, rate) in [(20_usize, 4_u64), (1_000, 200)] {
        let stage = Stage::own(Plan::new(Shape::Cluster).sockets("BECKON_DRAIN_RATE", &rate.to_string()));
        let node = stage.node("c0");
        let open = connect(node, sockets).await;
        post(&stage, node, "/drain").await;
        let closes = closes(open).await;
        let expected = Duration::from_secs(sockets as u64 / rate);
        for quarter in [1, 2, 3, 4] {
            let at = closes[sockets * quarter / 4 - 1];
            let due = expected * quarter as u32 / 4;
            assert!(
                at + Duration::from_millis(400) >= due,
                "{sockets} at {rate}/s: {quarter}/4 after {at:?}"
            );
            assert!(at <= due + Duration::from_secs(2), "{sockets} at {rate}/s: {quarter}/4 after {at:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_sheds_a_share_or_a_number_and_serves_on() {
    let stage = Stage::own(Plan::new(Shape::Cluster).sockets("BECKON_DRAIN_RATE", "100"));
    let node = stage.node("c0");
    let open = async || ask(&stage, http::Method::GET, node, "/drain").await.1["clients"].as_u64();
    let _sockets = connect(node, 200).await;
    assert_eq!(post(&stage, node, "/shed?share=0.25").await, (202, json!({"sockets": 50})));
    assert_eq!(post(&stage, node, "/shed?share=0.25").await.0, 409, "one at a time");
    assert_eq!(status(&stage, node, "/ready").await, 200);
    until("50 are closed", async || (open().await == Some(150)).then_some(())).await;
    assert!(upgrade(node).await.starts_with("HTTP/1.1 101 "));
    // Otherwise it may be one of those that are shed.
    until("that one has left", async || (open().await == Some(150)).then_some(())).await;
    until("a number is shed", async || {
        let (status, answer) = post(&stage, node, "/shed?count=20").await;
        (status == 202).then(|| assert_eq!(answer, json!({"sockets": 20})))
    })
    .await;
    until("20 more are closed", async || (open().await == Some(130)).then_some(())).await;
    for query in ["", "?share=2", "?share=x", "?count=-1", "?count=1&share=1"] {
        assert_eq!(post(&stage, node, &format!("/shed{query}")).await.0, 400, "{query}");
    }
    assert_eq!(status(&stage, node, "/shed").await, 405);
    assert_eq!(post(&stage, stage.node("e0"), "/shed?share=1").await.0, 404);
    post(&stage, node, "/drain").await;
    assert_eq!(post(&stage, node, "/shed?share=1").await.0, 409);
}

/// More clients come back than may be on their way to an upgrade, and none of them keeps its connection to itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_come_back_to_a_draining_node_do_not_block_it() {
    const CLIENTS: usize = 700;
    let stage = Stage::own(Plan::new(Shape::Cluster));
    let node = stage.node("c0");
    let address = node.addresses().ws.unwrap();
    post(&stage, node, "/drain").await;
    until("it closes", async || (phase(&stage, node).await == "closing").then_some(())).await;
    let mut refused = JoinSet::new();
    for _ in 0..CLIENTS {
        refused.spawn(async move {
            let (head, mut connection) = bare::request(address, &upgrade_request("/", "")).await;
            assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
            (head.contains("connection: close"), connection.read_to_end(&mut Vec::new()).await.is_ok())
        });
    }
    for (is_announced, is_closed) in refused.join_all().await {
        assert!(is_announced && is_closed);
    }
}

#[tokio::test]
async fn the_command_line_drains_and_sheds() {
    let stage = Stage::own(Plan::new(Shape::Cluster));
    let node = stage.node("c0");
    let admin = format!("http://{}", node.addresses().admin);
    let _sockets = connect(node, 4).await;
    let run = |arguments: &[&str]| {
        let arguments = [arguments, &["--admin", &admin]].concat();
        let token = [("BECKON_ADMIN_TOKEN", ADMIN_TOKEN)];
        let (status, output) = process::run(&Program::Beckon.path(), &arguments, &token);
        (status.code(), output)
    };
    assert_eq!(run(&["shed", "--share=0.5"]), (Some(0), "closing 2 sockets\n".to_owned()));
    assert_eq!(run(&["shed", "--count=0"]).0, Some(0));
    assert_eq!(run(&["drain", "--wait"]), (Some(0), "drained\n".to_owned()));
    assert_eq!(run(&["drain"]), (Some(0), "closing, 0 clients\n".to_owned()));
    assert_eq!(run(&["shed", "--count=1"]).0, Some(1));
    assert_eq!(run(&["undrain"]), (Some(0), "serving, 0 clients\n".to_owned()));
    assert_eq!(status(&stage, node, "/ready").await, 200);
    assert_eq!(run(&["shed"]).0, Some(64));
    assert_eq!(run(&["drain", "--now"]).0, Some(64));
}

/// The name resolves to the listener's address (DNS rebinding), or the page is of another origin.
#[tokio::test]
async fn a_web_page_of_others_cannot_change_anything() {
    for shape in [Shape::Cluster, Shape::Standalone] {
        let stage = Stage::own(Plan::new(shape));
        for node in stage.nodes() {
            let admin = node.addresses().admin;
            let own = (format!("http://{admin}"), admin.to_string(), false);
            let other = ("http://evil.example".to_owned(), admin.to_string(), true);
            let rebound = ("http://evil.example:8083".to_owned(), "evil.example:8083".to_owned(), true);
            for (origin, host, refused) in [other, rebound, own] {
                let fields =
                    format!("host: {host}\r\norigin: {origin}\r\ncontent-length: 0\r\nconnection: close");
                let fields = format!("{fields}\r\nauthorization: Bearer {ADMIN_TOKEN}");
                let request = format!("POST /drain HTTP/1.1\r\n{fields}\r\n\r\n");
                let (head, _) = bare::request(admin, &request).await;
                let is_refused = head.starts_with("HTTP/1.1 403");
                assert_eq!(is_refused, refused, "{origin} {}: {head}", node.name());
                let is_serving = phase(&stage, node).await == "serving";
                assert_eq!(is_serving, refused, "{origin} {}", node.name());
            }
        }
    }
}
