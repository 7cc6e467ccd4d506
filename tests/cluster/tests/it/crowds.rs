//! What one host does must not keep the others from their service.

use beckon_cluster_tests::{
    bare::{self, BareSocket, upgrade_request},
    host::{Host, SOON, status},
    stage::Stage,
};
use beckon_testbed::{PATIENCE, plan::Plan, until};
use std::{net::SocketAddr, time::Duration};
use tokio::{io::AsyncReadExt as _, time::timeout};

/// The host that takes what it can.
const STRANGER: u8 = 66;

/// Hosts that want their service.
const HONEST: [u8; 3] = [10, 11, 12];

pub(crate) fn sockets(stage: &Stage) -> SocketAddr {
    stage.connection_nodes()[0].addresses().ws.expect("a program that holds WebSockets")
}

fn requests(stage: &Stage) -> SocketAddr {
    stage.endpoint_nodes()[0].addresses().http.expect("a program that accepts notifications")
}

/// Each honest host gets an upgrade, health and, on the other port, an answer to a PUT and health.
pub(crate) async fn assert_all_are_served(stage: &Stage) {
    let put = "PUT /update/none HTTP/1.1\r\nHost: push.example\r\nContent-Length: 0\r\n\r\n";
    for host in HONEST.map(Host::new) {
        assert_eq!(host.status(sockets(stage), &upgrade_request("/", "")).await, 101);
        assert_eq!(host.get(sockets(stage), "/__lbheartbeat__").await, 200);
        assert_eq!(host.status(requests(stage), put).await, 404);
        assert_eq!(host.get(requests(stage), "/__lbheartbeat__").await, 200);
        assert_eq!(host.get(requests(stage), "/health").await, 200);
    }
}

/// The value of a metric, of the program that holds WebSockets.
pub(crate) async fn metric(stage: &Stage, name: &str) -> f64 {
    let url = format!("http://{}/metrics", stage.connection_nodes()[0].addresses().admin);
    let text = stage.get(&url).await.into_body();
    let text = str::from_utf8(&text).expect("metrics are text");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or_default()
}

#[tokio::test]
async fn silent_connections_to_the_websocket_port_keep_nobody_out() {
    let stage = Stage::own(Plan::standalone());
    let _silent = Host::new(STRANGER).silent(sockets(&stage), 600).await;
    assert_all_are_served(&stage).await;
}

#[tokio::test]
async fn silent_connections_beyond_the_limit_make_room() {
    let stage =
        Stage::own(Plan::standalone().all("BECKON_WS_MAX_PENDING", "100").all("BECKON_HEAD_TIMEOUT", "60s"));
    let mut silent = Host::new(STRANGER).silent(sockets(&stage), 300).await;
    assert_all_are_served(&stage).await;
    let oldest = timeout(SOON, silent[0].read(&mut [0])).await.expect("it is closed at once");
    assert!(matches!(oldest, Ok(0) | Err(_)), "{oldest:?}");
    let crowded = metric(&stage, r#"beckon_port_refused_total{port="sockets",reason="crowded"}"#).await;
    assert!(crowded >= 200.0, "{crowded}");
}

#[tokio::test]
async fn as_many_silent_connections_as_the_http_port_has_keep_nobody_out() {
    let stage = Stage::own(Plan::standalone().all("BECKON_HTTP_MAX_CONNECTIONS", "100"));
    let _silent = Host::new(STRANGER).silent(requests(&stage), 150).await;
    assert_all_are_served(&stage).await;
    let opening = r#"beckon_port_connections{port="requests",state="opening"}"#;
    let opening = metric(&stage, opening).await;
    assert!((1.0..=100.0).contains(&opening), "{opening}");
}

#[tokio::test]
async fn connections_that_have_been_answered_keep_nobody_out() {
    let stage = Stage::own(Plan::standalone().all("BECKON_HTTP_MAX_CONNECTIONS", "100"));
    let request = "OPTIONS /update/none HTTP/1.1\r\nHost: push.example\r\n\r\n";
    let mut idle = Vec::new();
    for _ in 0..150 {
        let (head, stream) = Host::new(STRANGER).ask_within(SOON, requests(&stage), request).await;
        assert_eq!(status(&head), 200);
        idle.push(stream);
    }
    assert_all_are_served(&stage).await;
}

#[tokio::test]
async fn a_source_makes_room_for_itself_before_others_do() {
    let plan = Plan::standalone()
        .all("BECKON_LIMIT_PRIVATE_SOURCES", "true")
        .all("BECKON_SOURCE_MAX_PENDING", "20")
        .all("BECKON_HEAD_TIMEOUT", "60s");
    let stage = Stage::own(plan);
    let mut honest = Host::new(HONEST[0]).connect(sockets(&stage)).await;
    let _silent = Host::new(STRANGER).silent(sockets(&stage), 100).await;
    let reason = r#"beckon_port_refused_total{port="sockets",reason="source_crowded"}"#;
    until("the stranger's own connections are closed", async || {
        (metric(&stage, reason).await >= 80.0).then_some(())
    })
    .await;
    assert!(timeout(Duration::from_millis(100), honest.read(&mut [0])).await.is_err(), "it stays open");
}

#[tokio::test]
async fn a_slow_head_has_five_seconds() {
    let stage = Stage::own(Plan::standalone());
    for address in [sockets(&stage), requests(&stage)] {
        let mut slow = Host::new(STRANGER).connect(address).await;
        let read = timeout(Duration::from_secs(8), slow.read(&mut [0])).await.expect("it is closed");
        assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    }
}

#[tokio::test]
async fn every_answer_but_an_upgrade_ends_the_connection() {
    let stage = Stage::own(Plan::standalone());
    for path in ["/", "/status", "/__lbheartbeat__", "/nothing"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: push.example\r\n\r\n");
        let (head, mut stream) = Host::new(STRANGER).ask_within(SOON, sockets(&stage), &request).await;
        assert!(head.to_ascii_lowercase().contains("\r\nconnection: "), "{head}");
        let end = async { while stream.read(&mut [0; 1024]).await.is_ok_and(|len| len > 0) {} };
        timeout(SOON, end).await.unwrap_or_else(|_| panic!("{path} is kept alive"));
    }
}

#[tokio::test]
async fn a_target_without_a_path_is_refused_on_every_port() {
    let stage = Stage::own(Plan::standalone());
    let admin = stage.connection_nodes()[0].addresses().admin;
    for address in [sockets(&stage), requests(&stage), admin] {
        for request in ["CONNECT example:443", "GET example:443", "POST example:443"] {
            let request = format!("{request} HTTP/1.1\r\nHost: push.example\r\n\r\n");
            assert_eq!(Host::new(STRANGER).status(address, &request).await, 400, "{request}");
        }
    }
    assert!(!stage.logs().contains("panicked"), "{}", stage.logs());
}

#[tokio::test]
async fn the_proxy_protocol_is_believed_from_trusted_proxies_only() {
    let plan = Plan::standalone()
        .all("BECKON_TRUSTED_PROXIES", "127.0.0.7")
        .all("BECKON_WS_PROXY_PROTOCOL", "true")
        .all("BECKON_HTTP_PROXY_PROTOCOL", "true");
    let stage = Stage::own(plan);
    let (proxy, other) = (Host::new(7), Host::new(8));
    let get = "GET /__lbheartbeat__ HTTP/1.1\r\nHost: push.example\r\n\r\n";
    let version_2 = "\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    for address in [sockets(&stage), requests(&stage)] {
        let header = "PROXY TCP4 192.0.2.1 192.0.2.2 4711 80\r\n";
        assert_eq!(proxy.status(address, &format!("{header}{get}")).await, 200);
        assert_eq!(proxy.status(address, &format!("{version_2}{get}")).await, 200, "a health check");
        assert_eq!(proxy.status(address, get).await, 0, "a proxy has to say who it is for");
        assert_eq!(other.status(address, get).await, 200);
        assert_eq!(other.status(address, &format!("{header}{get}")).await, 400);
    }
    let upgrade = upgrade_request("/", "");
    let header = "PROXY TCP6 2001:db8::1 2001:db8::2 4711 80\r\n";
    assert_eq!(proxy.status(sockets(&stage), &format!("{header}{upgrade}")).await, 101);
}

/// A server that limits the addresses of this machine.
fn limited() -> Plan {
    Plan::standalone().all("BECKON_LIMIT_PRIVATE_SOURCES", "true")
}

#[tokio::test]
async fn a_source_has_its_share_of_sockets() {
    let stage = Stage::own(
        limited().all("BECKON_SOURCE_MAX_SOCKETS", "20").all("BECKON_SHARED_SOURCES", "127.0.0.99"),
    );
    let upgrade = upgrade_request("/", "");
    let mut open = Vec::new();
    for number in 0..25 {
        let (head, stream) = Host::new(STRANGER).ask_within(SOON, sockets(&stage), &upgrade).await;
        assert_eq!(status(&head), if number < 20 { 101 } else { 429 }, "{number}: {head}");
        assert!(number < 20 || head.contains("retry-after: "), "{head}");
        open.push(stream);
    }
    for _ in 0..25 {
        let (head, stream) = Host::new(99).ask_within(SOON, sockets(&stage), &upgrade).await;
        assert_eq!(status(&head), 101, "a shared address has more");
        open.push(stream);
    }
    assert_all_are_served(&stage).await;
    drop(open);
    until("the sockets that have ended make room", async || {
        let (head, _) = Host::new(STRANGER).ask_within(SOON, sockets(&stage), &upgrade).await;
        (status(&head) == 101).then_some(())
    })
    .await;
    assert!(stage.logs().contains("127.0.0.66"), "the log names the source");
}

#[tokio::test]
async fn a_source_has_its_share_of_upgrades_and_requests() {
    let plan = limited().all("BECKON_SOURCE_UPGRADES", "10/m").all("BECKON_SOURCE_REQUESTS", "10/m");
    let stage = Stage::own(plan);
    let upgrade = upgrade_request("/", "");
    let put = "PUT /update/none HTTP/1.1\r\nHost: push.example\r\nContent-Length: 0\r\n\r\n";
    let stranger = Host::new(STRANGER);
    for number in 0..12 {
        let (asked, refused) = (stranger.status(sockets(&stage), &upgrade).await, number >= 10);
        assert_eq!(asked, if refused { 429 } else { 101 }, "{number}");
        assert_eq!(stranger.status(requests(&stage), put).await, if refused { 429 } else { 404 }, "{number}");
    }
    assert_eq!(stranger.get(requests(&stage), "/__lbheartbeat__").await, 200, "health is always answered");
    assert_all_are_served(&stage).await;
    let refused = r#"beckon_port_refused_total{port="requests",reason="source_requests"}"#;
    assert!(metric(&stage, refused).await >= 2.0);
}

#[tokio::test]
async fn a_source_is_the_one_that_a_trusted_proxy_names() {
    let stage =
        Stage::own(limited().all("BECKON_SOURCE_UPGRADES", "5/m").all("BECKON_TRUSTED_PROXIES", "127.0.0.7"));
    let through = |client: &str| upgrade_request("/", &format!("X-Forwarded-For: 203.0.113.9, {client}\r\n"));
    for number in 0..6 {
        let asked = Host::new(7).status(sockets(&stage), &through("192.0.2.1")).await;
        assert_eq!(asked, if number < 5 { 101 } else { 429 }, "{number}");
    }
    assert_eq!(Host::new(7).status(sockets(&stage), &through("192.0.2.2")).await, 101);
    for number in 0..6 {
        let lie = through(&format!("192.0.2.{number}"));
        assert_eq!(Host::new(8).status(sockets(&stage), &lie).await, if number < 5 { 101 } else { 429 });
    }
}

#[tokio::test]
async fn a_source_has_its_share_of_hellos_and_registers() {
    let plan = limited().all("BECKON_SOURCE_HELLOS", "3/m").all("BECKON_SOURCE_REGISTERS", "2/m");
    // Nothing else says hello there.
    let stage = Stage::apart(plan);
    let mut first = stage.connect().await;
    first.hello().await;
    for _ in 0..2 {
        first.register(&beckon_cluster_tests::talk::new_channel()).await;
    }
    let channel = beckon_cluster_tests::talk::new_channel();
    let refused = serde_json::json!({"messageType": "register", "channelID": channel});
    first.expect_error(&refused, 500, "Internal Error").await;
    for _ in 0..2 {
        stage.connect().await.hello().await;
    }
    let mut fourth = stage.connect().await;
    fourth.send_text(r#"{"messageType":"hello","channelIDs":[]}"#).await;
    fourth.expect_close(1011).await;
}

#[tokio::test]
async fn a_socket_that_asks_without_end_is_read_at_its_rate() {
    let stage = Stage::own(Plan::standalone().all("BECKON_SOCKET_REQUESTS", "600/m"));
    let mut client = stage.connect().await;
    client.hello().await;
    let unregister = r#"{"messageType":"unregister","channelID":"0d9f7b52-3c41-4e8a-9a57-51e0c2b7aa10"}"#;
    for _ in 0..1200 {
        client.send_text(unregister).await;
    }
    let mut answers = 0;
    let flood = async {
        loop {
            client.receive().await;
            answers += 1;
        }
    };
    let _over = timeout(Duration::from_secs(5), flood).await;
    assert!((500..=700).contains(&answers), "{answers} answers in 5 s");
}

#[tokio::test]
async fn a_message_without_end_is_closed() {
    let stage = Stage::own(Plan::standalone().all("BECKON_MESSAGE_TIMEOUT", "2s"));
    let mut socket = BareSocket::connect(sockets(&stage)).await;
    socket.send(bare::TEXT, br#"{"messageType":"hello","use_webpush":true}"#).await;
    socket.receive_within(PATIENCE).await.unwrap();
    socket.send(bare::TEXT_BEGIN, &[b'a'; 30_000]).await;
    socket.send(bare::PING, b"").await;
    assert_eq!(socket.receive_within(PATIENCE).await.unwrap().head, bare::PONG);
    assert_eq!(socket.receive_within(PATIENCE).await.unwrap().close_code(), Some(1008));
}

#[tokio::test]
async fn an_endpoint_takes_notifications_at_its_rate() {
    let stage = Stage::own(Plan::standalone().all("BECKON_ENDPOINT_RATE", "5/m"));
    let first = stage.registered().await;
    let second = stage.registered().await;
    for version in 1..=5 {
        assert_eq!(stage.put(&first.endpoint, version).await, 200);
    }
    let answer = stage.request(http::Method::PUT, &first.endpoint, &[], "").await;
    assert_eq!((answer.status().as_u16(), answer.body().as_ref()), (429, &b"\"Too Many Requests\""[..]));
    let wait: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=18).contains(&wait), "{wait}");
    assert_eq!(stage.put(&second.endpoint, 1).await, 200, "others have their own");
}

#[tokio::test]
async fn lists_of_several_lines_are_upgraded() {
    let stage = Stage::own(Plan::standalone());
    let request = "GET / HTTP/1.1\r\nHost: push.example\r\nUpgrade: h2c\r\nUpgrade: WebSocket, other\r\n\
                   Connection: keep-alive\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    assert_eq!(Host::new(HONEST[0]).status(sockets(&stage), request).await, 101);
    assert_eq!(
        Host::new(HONEST[0]).status(sockets(&stage), &request.replace("WebSocket", "none")).await,
        400
    );
}

#[tokio::test]
async fn a_reply_is_bounded_whatever_was_asked() {
    let stage = Stage::own(Plan::standalone());
    let named: Vec<String> = (0..20_000).map(|number| format!("\"{number}\":\"\"")).collect();
    let hello =
        format!(r#"{{"messageType":"hello","use_webpush":true,"broadcasts":{{{}}}}}"#, named.join(","));
    let mut socket = BareSocket::connect(sockets(&stage)).await;
    socket.send(bare::TEXT, hello.as_bytes()).await;
    let reply = socket.receive_within(PATIENCE).await.unwrap();
    assert_eq!(reply.head, bare::TEXT);
    assert!(reply.payload.len() < 20_000, "{} bytes", reply.payload.len());
}

/// Each part of a request has a limit, and the answer says so in the body of every error.
#[tokio::test]
async fn requests_that_are_too_long_are_refused_in_json() {
    let stage = Stage::own(Plan::standalone());
    let (target, field) = ("a".repeat(9_000), "a".repeat(12_000));
    let many: String = (0..100).map(|number| format!("X-{number}: 1\r\n")).collect();
    let admin = stage.connection_nodes()[0].addresses().admin;
    for to in [sockets(&stage), requests(&stage), admin] {
        for (request, expected) in [
            (format!("GET /{target} HTTP/1.1\r\nHost: push.example\r\n\r\n"), 414),
            (format!("GET / HTTP/1.1\r\nHost: push.example\r\n{many}\r\n"), 431),
            (format!("GET / HTTP/1.1\r\nHost: push.example\r\nX-Long: {field}{field}{field}\r\n\r\n"), 431),
        ] {
            let (head, mut stream) = Host::new(STRANGER).ask_within(PATIENCE, to, &request).await;
            let mut body = String::new();
            let _ = timeout(PATIENCE, stream.read_to_string(&mut body)).await;
            assert_eq!(status(&head), expected, "{to}: {head}");
            let body: serde_json::Value =
                serde_json::from_str(&body).unwrap_or_else(|_| panic!("{head}{body}"));
            assert_eq!(body["code"], expected, "{body}");
        }
    }
}

/// Memory of the program that holds WebSockets, in bytes.
pub(crate) async fn resident(stage: &Stage) -> f64 {
    metric(stage, "process_resident_memory_bytes").await
}

/// As many sockets as a stranger may have hold as much as they can: before hello a message of `max_message` without end.
/// docs/security.md says what that may take of a node, and others are served.
#[tokio::test]
async fn what_strangers_can_make_a_node_hold_is_bounded() {
    const SOCKETS: usize = 400;
    const BUFFERED: f64 = 16.0 * 1024.0 * 1024.0;
    const IDLE: f64 = 8.0 * 1024.0;
    let plan =
        Plan::standalone().all("BECKON_MAX_BUFFERED", "16777216").all("BECKON_MESSAGE_TIMEOUT", "300s");
    let stage = Stage::own(plan.all("BECKON_HELLO_TIMEOUT", "300s"));
    let before = resident(&stage).await;
    let mut held = Vec::new();
    for _ in 0..SOCKETS {
        let mut socket = BareSocket::connect(sockets(&stage)).await;
        // The node may have dropped it already.
        socket.try_send(bare::TEXT_BEGIN, &[b' '; 250_000]).await;
        held.push(socket);
    }
    let dropped = "beckon_sockets_overdrawn_total";
    until("those that hold the most are dropped", async || {
        (metric(&stage, dropped).await >= SOCKETS as f64 / 2.0).then_some(())
    })
    .await;
    assert!(metric(&stage, "beckon_buffered_bytes").await <= BUFFERED);
    let after = resident(&stage).await;
    // The allocator keeps some of what was freed for a while.
    let bound = 2.0 * BUFFERED + SOCKETS as f64 * IDLE + 32.0 * 1024.0 * 1024.0;
    assert!(after - before <= bound, "{before} before, {after} after");
    assert_all_are_served(&stage).await;
    drop(held);
}
