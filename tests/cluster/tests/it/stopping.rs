//! Stopping, as docs/operations.md promises it: the first signal drains, the second one ends the program at once, and
//! no stop takes longer than documented.

use beckon_cluster_tests::{
    bare::{self, BareSocket},
    stage::{Registered, Stage},
};
use beckon_testbed::{
    PATIENCE, POLL,
    node::{Node, http_status},
    plan::{Plan, Shape},
    process::Signal,
    until,
};
use std::{net::SocketAddr, process::ExitStatus, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{sleep, timeout},
};

/// WebSockets on a program that has any: at one in a second, a drain takes 200 s to close them.
const SOCKETS: usize = 200;

/// Time limit for a program to end after the second signal: one second, and what a busy machine adds to it.
const AT_ONCE: Duration = Duration::from_secs(5);

/// What a drain has to wait for: sockets that do not answer a Close frame, and a request whose body never comes.
struct Busy {
    sockets: Vec<BareSocket>,
    _request: Option<TcpStream>,
}

impl Busy {
    async fn keep(node: &Node) -> Self {
        let mut sockets = Vec::new();
        if let Some(address) = node.addresses().ws {
            for _ in 0..SOCKETS {
                sockets.push(BareSocket::connect(address).await);
            }
        }
        let request = match node.addresses().http {
            Some(address) => Some(begun_request(address, "/update/x").await),
            None => None,
        };
        Self { sockets, _request: request }
    }

    /// How many sockets have got a Close frame before their end.
    async fn closed(self) -> usize {
        let mut closed = 0;
        for mut socket in self.sockets {
            while let Some(frame) = socket.receive_within(PATIENCE).await {
                closed += usize::from(frame.head == bare::CLOSE);
            }
        }
        closed
    }
}

/// A request that the server is reading: it has asked for the body.
async fn begun_request(address: SocketAddr, path: &str) -> TcpStream {
    let head = format!(
        "PUT {path} HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: 9\r\nExpect: 100-continue\r\n\r\n"
    );
    let (answer, stream) = bare::request(address, &head).await;
    assert!(answer.starts_with("HTTP/1.1 100 "), "{answer}");
    stream
}

/// Sends SIGTERM and waits until load balancers are sent away.
async fn drain(node: &Node) {
    node.signal(Signal::TERM);
    let is_draining = || http_status(node.addresses().admin, "/__lbheartbeat__") == Some(503);
    until(&format!("{} drains", node.name()), async || is_draining().then_some(())).await;
}

/// Waits for the end of a program, without blocking the thread.
async fn ended(node: &Node) -> ExitStatus {
    loop {
        if let Some(status) = node.ended() {
            return status;
        }
        sleep(POLL).await;
    }
}

async fn check_second_signal(shape: Shape, name: &str, second: Signal) {
    let plan = Plan::new(shape).sockets("BECKON_DRAIN_RATE", "1").http("BECKON_HTTP_BODY_TIMEOUT", "10m");
    let stage = Stage::own(plan);
    let node = stage.node(name);
    let busy = Busy::keep(node).await;
    let sockets = busy.sockets.len();
    drain(node).await;
    assert_eq!(node.ended(), None, "{name} does not wait: {}", node.log());
    node.signal(second);
    let Ok(status) = timeout(AT_ONCE, ended(node)).await else {
        panic!("{name} goes on after the second signal: {}", node.log())
    };
    assert_eq!(status.code(), Some(0), "{name}: {}", node.log());
    let closed = busy.closed().await;
    assert!(sockets == 0 || closed < sockets, "{name} has closed all of its sockets first");
}

#[tokio::test]
async fn a_second_signal_ends_a_connection_node_at_once() {
    check_second_signal(Shape::Cluster, "c0", Signal::TERM).await;
}

#[tokio::test]
async fn a_second_signal_ends_an_endpoint_node_at_once() {
    check_second_signal(Shape::Cluster, "e0", Signal::INT).await;
}

#[tokio::test]
async fn a_second_signal_ends_a_standalone_server_at_once() {
    check_second_signal(Shape::Standalone, "beckon", Signal::INT).await;
}

/// The server waits for the body of a request when it is asked to stop. It closes its listener, and answers the request.
async fn check_last_request(shape: Shape, name: &str) {
    let stage = Stage::own(Plan::new(shape));
    let Registered { client: _client, endpoint, .. } = stage.registered().await;
    let node = stage.node(name);
    let address = node.addresses().http.unwrap();
    let path = endpoint.split_once("/update/").map(|(_, token)| format!("/update/{token}")).unwrap();
    let mut request = begun_request(address, &path).await;
    node.signal(Signal::TERM);
    until("no more connections are accepted", async || TcpStream::connect(address).await.err()).await;
    assert_eq!(node.ended(), None, "{name} waits for the request");
    request.write_all(b"version=1").await.unwrap();
    let mut answer = Vec::new();
    request.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
    assert_eq!(ended(node).await.code(), Some(0), "{}", node.log());
}

#[tokio::test]
async fn an_endpoint_node_that_stops_answers_a_request_that_has_begun() {
    check_last_request(Shape::Cluster, "e1").await;
}

#[tokio::test]
async fn a_standalone_server_that_stops_answers_a_request_that_has_begun() {
    check_last_request(Shape::Standalone, "beckon").await;
}

/// Sockets that do not close, requests that do not end and a store that does not answer: each takes all of its time.
#[tokio::test]
async fn a_stop_takes_no_longer_than_delay_and_rate_say_and_30_seconds() {
    let plan = Plan::new(Shape::Cluster)
        .all("BECKON_DRAIN_DELAY", "1s")
        .sockets("BECKON_DRAIN_RATE", "200")
        .http("BECKON_HTTP_BODY_TIMEOUT", "10m");
    let stage = Stage::own(plan);
    let nodes = [stage.node("c0"), stage.node("e0")];
    let mut busy = Vec::new();
    for node in nodes {
        busy.push(Busy::keep(node).await);
    }
    let redis = stage.redis().expect("a cluster has one");
    redis.pause();
    for node in nodes {
        node.signal(Signal::TERM);
    }
    for node in nodes {
        let Ok(status) = timeout(Duration::from_secs(32), ended(node)).await else {
            panic!("{} does not end: {}", node.name(), node.log())
        };
        assert_eq!(status.code(), Some(0), "{}: {}", node.name(), node.log());
    }
    redis.resume();
}
