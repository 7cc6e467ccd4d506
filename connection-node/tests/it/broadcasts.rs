//! Broadcasts, from an operator's request to the sockets.

use crate::{
    node::{ADMIN_TOKEN, TestNode},
    wire::{TEXT, Wire},
};
use beckon_testbed::redis::{Options, RedisServer};
use beckon_types::{
    BROADCAST_ID_LEN_MAX, BROADCAST_VERSION_LEN_MAX, BROADCASTS_MAX, BroadcastId, BroadcastVersion,
};
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Sends a request on a connection of its own. Returns the status, head and body of the response.
async fn request(admin: SocketAddr, method: &str, path: &str, body: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(admin).await.unwrap();
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {ADMIN_TOKEN}\r\nconnection: close\r\n\
         content-length: {length}\r\n\r\n"
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_lowercase(), body.to_owned())
}

async fn set(node: &TestNode, id: &str, version: &str) {
    let (status, _, body) = request(node.admin, "PUT", &format!("/broadcasts/{id}"), version).await;
    assert_eq!((status, body.as_str()), (204, ""));
}

/// Waits until the node has seen this many changes.
async fn found(node: &TestNode, changes: u64) {
    node.until("beckon_broadcast_changes_total", |found| found >= changes).await;
}

/// A Web Push socket that subscribes with these versions in its hello, and the broadcasts in the reply.
async fn subscriber(node: &TestNode, broadcasts: &str) -> (Wire, serde_json::Value) {
    let mut wire = Wire::upgraded(node.address).await;
    let hello = format!(r#"{{"messageType":"hello","use_webpush":true,"broadcasts":{broadcasts}}}"#);
    wire.send(TEXT, hello.as_bytes()).await;
    let mut reply: serde_json::Value = serde_json::from_str(&wire.text().await).unwrap();
    assert_eq!(reply["status"], 200);
    (wire, reply["broadcasts"].take())
}

#[tokio::test]
async fn broadcasts_are_set_listed_and_removed() {
    let node = TestNode::start(&[]).await;
    let list = async || request(node.admin, "GET", "/broadcasts", "").await;
    let (status, head, body) = list().await;
    assert_eq!((status, body.as_str()), (200, r#"{"broadcasts":{}}"#));
    assert!(
        head.contains("cache-control: no-store") && head.contains("content-type: application/json"),
        "{head}"
    );
    set(&node, "news/main", "\"41\"").await;
    set(&node, "a%2Fb%3Fc%25", "with space").await;
    set(&node, "news/main", "\"42\"").await;
    assert_eq!(list().await.2, r#"{"broadcasts":{"a/b?c%":"with space","news/main":"\"42\""}}"#);
    assert_eq!(request(node.admin, "DELETE", "/broadcasts/a/b%3fc%25", "").await.0, 204);
    assert_eq!(request(node.admin, "DELETE", "/broadcasts/a/b%3fc%25", "").await.0, 404);
    assert_eq!(list().await.2, r#"{"broadcasts":{"news/main":"\"42\""}}"#);
    node.stop().await;
}

#[tokio::test]
async fn a_refused_request_says_why() {
    let node = TestNode::start(&[]).await;
    let (id, version) = ("i".repeat(BROADCAST_ID_LEN_MAX + 1), "v".repeat(BROADCAST_VERSION_LEN_MAX + 1));
    for (method, path, body, status, reason) in [
        ("PUT", format!("/broadcasts/{id}"), "1", 400, "a broadcast id has"),
        ("PUT", "/broadcasts/errors".into(), "1", 400, "a broadcast id has"),
        ("PUT", "/broadcasts/a%20b".into(), "1", 400, "a broadcast id has"),
        ("PUT", "/broadcasts/a%ff".into(), "1", 400, "a broadcast id has"),
        ("PUT", "/broadcasts/a".into(), "", 400, "a broadcast version has"),
        ("PUT", "/broadcasts/a".into(), "1\n", 400, "a broadcast version has"),
        ("PUT", "/broadcasts/a".into(), version.as_str(), 400, "a broadcast version has"),
        ("DELETE", "/broadcasts/a".into(), "", 404, "no broadcast of that id"),
        ("GET", "/broadcasts/a".into(), "", 405, "This path takes only PUT, DELETE"),
        ("PUT", "/broadcasts".into(), "1", 405, "This path takes only GET, HEAD"),
        ("GET", "/broadcastss".into(), "", 404, "nothing at this path"),
    ] {
        let (answered, head, text) = request(node.admin, method, &path, body).await;
        assert_eq!(answered, status, "{method} {path}: {text}");
        let body: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(body["code"], status);
        assert!(body["message"].as_str().unwrap().contains(reason), "{method} {path}: {text}");
        assert_eq!(status == 405, head.contains("allow: "), "{head}");
    }
    node.stop().await;
}

#[tokio::test]
async fn the_number_of_broadcasts_is_limited() {
    let node = TestNode::start(&[]).await;
    for number in 0..BROADCASTS_MAX {
        let id = BroadcastId::parse(&format!("id/{number}")).unwrap();
        let version = BroadcastVersion::parse("1").unwrap();
        node.store.set_broadcast(id, version).await.unwrap().unwrap();
    }
    let (status, _, body) = request(node.admin, "PUT", "/broadcasts/one-more", "1").await;
    assert_eq!(status, 507, "{body}");
    set(&node, "id/0", "2").await;
    node.stop().await;
}

#[tokio::test]
async fn a_change_reaches_only_its_subscribers() {
    let node = TestNode::start(&[]).await;
    set(&node, "news/main", "\"41\"").await;
    found(&node, 1).await;
    let (mut current, reply) = subscriber(&node, r#"{"news/main":"\"41\"","x/y":"1"}"#).await;
    assert_eq!(reply, serde_json::json!({"errors": {"x/y": "Broadcast not found"}}));
    let (mut behind, reply) = subscriber(&node, r#"{"news/main":"\"40\""}"#).await;
    assert_eq!(reply, serde_json::json!({"news/main": "\"41\""}));
    let (mut other, reply) = subscriber(&node, "{}").await;
    assert_eq!(reply, serde_json::json!({}));
    set(&node, "news/main", "\"42\"").await;
    let change = r#"{"messageType":"broadcast","broadcasts":{"news/main":"\"42\""}}"#;
    assert_eq!(current.text().await, change);
    assert_eq!(behind.text().await, change);
    set(&node, "x/y", "7").await;
    found(&node, 3).await;
    // A socket can subscribe after its hello. That this reply comes first shows that nothing was sent before.
    let subscribe = r#"{"messageType":"broadcast_subscribe","broadcasts":{"x/y":"6"}}"#;
    other.send(TEXT, subscribe.as_bytes()).await;
    assert_eq!(other.text().await, r#"{"messageType":"broadcast","broadcasts":{"x/y":"7"}}"#);
    set(&node, "x/y", "8").await;
    assert_eq!(other.text().await, r#"{"messageType":"broadcast","broadcasts":{"x/y":"8"}}"#);
    for wire in [&mut current, &mut behind] {
        wire.send(TEXT, b"{}").await;
        assert_eq!(wire.text().await, "{}");
    }
    drop([current, behind, other]);
    node.stop().await;
}

#[tokio::test]
async fn all_subscribers_receive_the_last_of_many_changes() {
    let node = TestNode::start(&[]).await;
    set(&node, "a", "0").await;
    found(&node, 1).await;
    let mut wires = Vec::new();
    for _ in 0..100 {
        wires.push(subscriber(&node, r#"{"a":"0"}"#).await.0);
    }
    for number in 1..=20 {
        set(&node, "a", &number.to_string()).await;
    }
    let last = r#"{"messageType":"broadcast","broadcasts":{"a":"20"}}"#;
    for wire in &mut wires {
        while wire.text().await != last {}
    }
    drop(wires);
    node.stop().await;
}

#[tokio::test]
async fn a_node_that_starts_knows_the_broadcasts_before_its_first_hello() {
    let node = TestNode::start_over("embedded", &[], async |store| {
        let (id, version) = (BroadcastId::parse("a").unwrap(), BroadcastVersion::parse("1").unwrap());
        store.set_broadcast(id, version).await.unwrap().unwrap();
    })
    .await;
    let (wire, reply) = subscriber(&node, r#"{"a":"0"}"#).await;
    assert_eq!(reply, serde_json::json!({"a": "1"}));
    drop(wire);
    node.stop().await;
}

#[tokio::test]
async fn the_node_keeps_its_broadcasts_while_the_store_is_unavailable() {
    let mut redis = RedisServer::start_with(Options { appendonly: true, ..Options::default() });
    let node = TestNode::start_over(&redis.url(), &[("BECKON_STORE_TIMEOUT", "2s")], async |_| {}).await;
    set(&node, "a", "1").await;
    found(&node, 1).await;
    let (mut wire, _) = subscriber(&node, "{}").await;
    redis.kill();
    node.until(r#"beckon_steps_failed_total{cause="unreachable"}"#, |failed| failed >= 1).await;
    let subscribe = r#"{"messageType":"broadcast_subscribe","broadcasts":{"a":"0"}}"#;
    wire.send(TEXT, subscribe.as_bytes()).await;
    assert_eq!(wire.text().await, r#"{"messageType":"broadcast","broadcasts":{"a":"1"}}"#);
    for (method, path, body) in
        [("GET", "/broadcasts", ""), ("PUT", "/broadcasts/a", "2"), ("DELETE", "/broadcasts/a", "")]
    {
        let (status, _, body) = request(node.admin, method, path, body).await;
        assert_eq!(status, 503, "{method} {path}: {body}");
    }
    redis.restart();
    while request(node.admin, "PUT", "/broadcasts/a", "2").await.0 != 204 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(wire.text().await, r#"{"messageType":"broadcast","broadcasts":{"a":"2"}}"#);
    drop(wire);
    node.stop().await;
}
