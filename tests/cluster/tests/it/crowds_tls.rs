//! What strangers can make a node hold below its protocols: parts of TLS records. docs/security.md says what that may take.

use crate::crowds::{metric, resident, sockets};
use beckon_cluster_tests::{bare::upgrade_request, stage::Stage, tls};
use beckon_testbed::{PATIENCE, plan::Plan, until};
use rustls::pki_types::ServerName;
use std::net::SocketAddr;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

const STRANGERS: usize = 300;

/// The beginning of a record of application data, the longest that there may be.
const APPLICATION_DATA: [u8; 5] = [23, 3, 3, 0x40, 0];

/// The beginning of a record of a handshake that is as long, and of the ClientHello in it, which goes on in further records.
const CLIENT_HELLO: [u8; 9] = [22, 3, 1, 0x40, 0, 1, 0, 0xff, 0];

/// What follows of a record, all but its end.
const PART_LEN: usize = 16_000;

/// The allocator keeps some of what was freed for a while, and a program takes some at its first requests.
const SPARE: f64 = 16.0 * 1024.0 * 1024.0;

const KIB: f64 = 1024.0;

async fn handshake(address: SocketAddr) -> TlsStream<TcpStream> {
    let tcp = TcpStream::connect(address).await.expect("the port accepts");
    let name = ServerName::try_from("localhost").expect("a name");
    let connecting = TlsConnector::from(tls::trust()).connect(name, tcp);
    timeout(PATIENCE, connecting).await.expect("in time").expect("a handshake")
}

async fn upgrade(address: SocketAddr) -> TlsStream<TcpStream> {
    let mut stream = handshake(address).await;
    stream.write_all(upgrade_request("/", "").as_bytes()).await.expect("it is read");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(timeout(PATIENCE, stream.read_u8()).await.expect("in time").expect("an answer"));
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    stream
}

/// Sends all of a record but its end.
async fn send_part(tcp: &mut TcpStream, beginning: &[u8]) {
    // The node may have closed the connection already.
    let _ = tcp.write_all(&[beginning, &[0; PART_LEN]].concat()).await;
}

/// Sockets that keep a record from ending hold no more than `max_buffered` together, as those that keep a message from ending.
#[tokio::test]
async fn parts_of_records_count_as_what_sockets_hold() {
    const BUFFERED: f64 = 2.0 * 1024.0 * 1024.0;
    let plan = Plan::standalone().tls(tls::certificates()).all("BECKON_MAX_BUFFERED", "2097152");
    let plan = plan.all("BECKON_MESSAGE_TIMEOUT", "300s").all("BECKON_HELLO_TIMEOUT", "300s");
    let stage = Stage::own(plan);
    let before = resident(&stage).await;
    let mut held = Vec::new();
    for _ in 0..STRANGERS {
        let mut stream = upgrade(sockets(&stage)).await;
        send_part(stream.get_mut().0, &APPLICATION_DATA).await;
        held.push(stream);
    }
    until("those that hold the most are dropped", async || {
        let dropped = metric(&stage, "beckon_sockets_overdrawn_total").await;
        (dropped >= STRANGERS as f64 / 2.0).then_some(())
    })
    .await;
    assert!(metric(&stage, "beckon_buffered_bytes").await <= BUFFERED);
    let after = resident(&stage).await;
    let bound = 2.0 * BUFFERED + STRANGERS as f64 * 5.0 * KIB + SPARE;
    assert!(after - before <= bound, "{before} before, {after} after");
    stage.registered().await.client.leave().await;
}

/// Handshakes that do not end, on both ports.
#[tokio::test]
async fn what_handshakes_hold_is_bounded() {
    let stage =
        Stage::own(Plan::standalone().tls(tls::certificates()).all("BECKON_TLS_HANDSHAKE_TIMEOUT", "60s"));
    let http = stage.endpoint_nodes()[0].addresses().http.expect("a port for requests");
    stage.registered().await.client.leave().await;
    let before = resident(&stage).await;
    let mut held = Vec::new();
    for address in [sockets(&stage), http] {
        for _ in 0..STRANGERS {
            let mut tcp = TcpStream::connect(address).await.expect("the port accepts");
            send_part(&mut tcp, &CLIENT_HELLO).await;
            held.push(tcp);
        }
    }
    stage.registered().await.client.leave().await;
    let bound = held.len() as f64 * 48.0 * KIB + SPARE;
    let after = resident(&stage).await;
    assert!(after - before <= bound, "{before} before, {after} after");
    assert!(
        after - before >= held.len() as f64 * 16.0 * KIB,
        "{before} before, {after} after: nothing is held"
    );
}

/// Connections of application servers that keep a record from ending.
#[tokio::test]
async fn what_connections_of_application_servers_hold_below_http_is_bounded() {
    let stage = Stage::own(Plan::standalone().tls(tls::certificates()).all("BECKON_HEAD_TIMEOUT", "60s"));
    let http = stage.endpoint_nodes()[0].addresses().http.expect("a port for requests");
    stage.registered().await.client.leave().await;
    let before = resident(&stage).await;
    let mut held = Vec::new();
    for _ in 0..STRANGERS {
        let mut stream = handshake(http).await;
        send_part(stream.get_mut().0, &APPLICATION_DATA).await;
        held.push(stream);
    }
    let bound = held.len() as f64 * 64.0 * KIB + SPARE;
    let after = resident(&stage).await;
    assert!(after - before <= bound, "{before} before, {after} after");
    stage.registered().await.client.leave().await;
}
