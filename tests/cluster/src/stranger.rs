//! Strangers: peers that send anything to the ports of a fleet. What they get in return is checked, as far as it is known.

use crate::{
    bare::{CLOSE, CONTINUATION_END, PING, PONG, TEXT, TEXT_BEGIN, masked, upgrade_request},
    damaging::Damaging,
    host::Host,
    stage::Stage,
    tls,
};
use beckon_replay::damage::{bytes, damage};
use beckon_testbed::{PATIENCE, node::Node, plan::ADMIN_TOKEN};
use fastrand::Rng;
use rustls::pki_types::ServerName;
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_rustls::TlsConnector;

/// How long an answer to something damaged is waited for: there may be none.
const A_MOMENT: Duration = Duration::from_millis(100);

/// The last number of the address from which operators seem to come.
const STRANGER: u8 = 66;

/// Bytes of an answer that are read.
const ANSWER_LEN_MAX: usize = 100_000;

/// What a fleet offers to strangers.
#[derive(Debug)]
pub struct Ports {
    sockets: Vec<SocketAddr>,
    requests: Vec<SocketAddr>,
    /// For other nodes.
    internal: Vec<SocketAddr>,
    /// For operators.
    admin: Vec<SocketAddr>,
    /// The path of an endpoint that exists.
    endpoint: String,
    has_tls: bool,
}

/// A request of an application server or a browser, and what it may be answered with.
type Known = (String, &'static [u16]);

trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

impl Ports {
    /// Those of this fleet, where `endpoint` is registered.
    pub fn of(stage: &Stage, endpoint: &str) -> Self {
        let all =
            |address: fn(&Node) -> Option<SocketAddr>| stage.nodes().iter().filter_map(address).collect();
        let path = endpoint.split('/').skip(3).collect::<Vec<_>>().join("/");
        Self {
            sockets: all(|node| node.addresses().ws),
            requests: all(|node| node.addresses().http),
            internal: all(|node| node.addresses().grpc),
            admin: all(|node| Some(node.addresses().admin)),
            endpoint: format!("/{path}"),
            has_tls: stage.endpoint_nodes()[0].http_url().starts_with("https:"),
        }
    }

    /// Does one thing that strangers do.
    ///
    /// # Panics
    /// If the answer is one that must not be.
    pub async fn visit(&self, random: &mut Rng) {
        match random.u8(..9) {
            0 => {
                let all = [&self.sockets[..], &self.requests, &self.internal, &self.admin].concat();
                let sent = bytes(random, 2000);
                self.exchange(pick(random, &all), &sent, A_MOMENT, random).await;
            }
            1 => {
                let others = [&self.internal[..], &self.admin].concat();
                let mut sent = pick(random, &self.to_requests()).0.into_bytes();
                damage(random, &mut sent);
                let answer = self.exchange(pick(random, &others), &sent, A_MOMENT, random).await;
                check_status(&answer, &sent);
            }
            2 | 3 => self.ask(pick(random, &self.requests), &self.to_requests(), random).await,
            4 => self.ask(pick(random, &self.admin), &self.to_admin(), random).await,
            5 => self.ask(pick(random, &self.sockets), &to_sockets(), random).await,
            _ => self.talk(pick(random, &self.sockets), random).await,
        }
    }

    /// Sends a request that is known, damaged more often than not.
    async fn ask(&self, port: SocketAddr, known: &[Known], random: &mut Rng) {
        let (request, expected) = pick(random, known);
        if random.u8(..4) == 0 {
            let mut wire = self.connect(port, 0, random).await.expect("the port accepts");
            let answer = converse(&mut wire, request.as_bytes(), PATIENCE, random).await;
            let status = check_status(&answer, request.as_bytes());
            assert!(status.is_some_and(|status| expected.contains(&status)), "{status:?} after\n{request}");
            return;
        }
        let mut sent = request.into_bytes();
        damage(random, &mut sent);
        let answer = self.exchange(port, &sent, A_MOMENT, random).await;
        check_status(&answer, &sent);
    }

    /// Sends an upgrade and messages, in any order, some of them damaged. What comes back are frames with JSON.
    async fn talk(&self, port: SocketAddr, random: &mut Rng) {
        const HEADS: [u8; 12] =
            [TEXT, TEXT, TEXT, TEXT, TEXT, TEXT_BEGIN, CONTINUATION_END, PING, PONG, CLOSE, 0x82, 0xf1];
        let messages = messages();
        let mut sent = upgrade_request("/", "").into_bytes();
        if random.u8(..6) == 0 {
            damage(random, &mut sent);
        }
        // Half of them begin well.
        if random.bool() {
            sent.extend(masked(TEXT, messages[random.usize(..3)].as_bytes()));
        }
        for _ in 0..random.usize(..12) {
            let mut text = pick(random, &messages).into_bytes();
            if random.u8(..4) == 0 {
                damage(random, &mut text);
            }
            let mut frame = masked(pick(random, &HEADS), &text);
            if random.u8(..8) == 0 {
                damage(random, &mut frame);
            }
            sent.extend(frame);
        }
        let answer = self.exchange(port, &sent, A_MOMENT, random).await;
        if let Some(frames) = after_head(&answer).filter(|_| answer.starts_with(b"HTTP/1.1 101 ")) {
            check_frames(frames, &sent);
        } else {
            check_status(&answer, &sent);
        }
    }

    /// Connects, sometimes on a network that damages TLS, and sends and reads for a while.
    async fn exchange(&self, port: SocketAddr, sent: &[u8], patience: Duration, random: &mut Rng) -> Vec<u8> {
        let one_of = if random.u8(..4) == 0 { random.u32(1..6) } else { 0 };
        match self.connect(port, one_of, random).await {
            Some(mut wire) => converse(&mut wire, sent, patience, random).await,
            None => Vec::new(),
        }
    }

    /// A connection, with TLS if the port has it; then one of `one_of` writes is damaged below TLS. `None` if there is no
    /// agreement on TLS.
    async fn connect(&self, port: SocketAddr, one_of: u32, random: &mut Rng) -> Option<Box<dyn Wire>> {
        if self.admin.contains(&port) {
            // From another address than the tests: it is refused after some wrong tokens.
            return Some(Box::new(Host::new(STRANGER).connect(port).await));
        }
        let tcp =
            timeout(PATIENCE, TcpStream::connect(port)).await.expect("in time").expect("the port accepts");
        if !self.has_tls || self.internal.contains(&port) {
            return Some(Box::new(tcp));
        }
        if one_of == 1 {
            // Not TLS at all.
            return Some(Box::new(tcp));
        }
        let damaging = Damaging::new(tcp, random.fork(), one_of);
        let name = ServerName::try_from("localhost").expect("a name");
        let handshake = TlsConnector::from(tls::trust()).connect(name, damaging);
        // A damaged length can make both sides wait.
        let patience = if one_of == 0 { PATIENCE } else { A_MOMENT };
        let stream = timeout(patience, handshake).await;
        assert!(one_of > 0 || matches!(stream, Ok(Ok(_))), "a handshake fails: {stream:?}");
        Some(Box::new(stream.ok()?.ok()?))
    }

    fn to_requests(&self) -> Vec<Known> {
        let head = "Connection: close\r\nHost: x\r\n";
        let put = |target: &str, fields: &str, body: &str| {
            format!("PUT {target} HTTP/1.1\r\n{fields}Content-Length: {}\r\n{head}\r\n{body}", body.len())
        };
        let part = "--X\r\nContent-Disposition: form-data; name=\"version\"\r\n\r\n7\r\n--X--\r\n";
        // Strangers may send more often than one endpoint may be sent to.
        let accepted: &[u16] = &[200, 202, 429];
        let (path, form) = (self.endpoint.as_str(), "Content-Type: application/x-www-form-urlencoded\r\n");
        vec![
            (put(path, form, "version=1"), accepted),
            (put(path, form, "version=2&data=x%20y"), accepted),
            (put(&format!("{path}?version=3"), "", ""), accepted),
            (put(path, "Content-Type: multipart/form-data; boundary=X\r\n", part), accepted),
            (put(path, form, "version=-1"), &[400, 429]),
            (put("/update/AAAA", form, "version=1"), &[404, 410]),
            (
                format!(
                    "PUT {path} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n{head}\r\n9\r\nversion=4\r\n0\r\n\r\n"
                ),
                accepted,
            ),
            (
                format!(
                    "POST /wpush/v2/gAAAAA HTTP/1.1\r\nTTL: 60\r\nUrgency: high\r\nTopic: t\r\nContent-Encoding: aes128gcm\r\n\
                     Authorization: vapid t=a.b.c, k=BA\r\nContent-Length: 3\r\n{head}\r\nabc"
                ),
                &[404, 410],
            ),
            (format!("DELETE /m/m1.AAAA HTTP/1.1\r\n{head}\r\n"), &[400]),
            (format!("OPTIONS {path} HTTP/1.1\r\n{head}\r\n"), &[200, 204]),
            ("CONNECT host:443 HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), &[400]),
            (format!("GET http://x/status HTTP/1.1\r\n{head}\r\n"), &[200]),
            (format!("OPTIONS * HTTP/1.1\r\n{head}\r\n"), &[404]),
            ("GET /health HTTP/1.0\r\n\r\n".to_owned(), &[200]),
        ]
    }
}

impl Ports {
    /// Requests that change nothing, with a token and without. After some wrong tokens all of them are answered with 429.
    fn to_admin(&self) -> Vec<Known> {
        let get = |path: &str, fields: &str| {
            format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{fields}Connection: close\r\n\r\n")
        };
        let post = |path: &str, fields: &str, body: &str| {
            format!(
                "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{fields}Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
        };
        let token = format!("Authorization: Bearer {ADMIN_TOKEN}\r\n");
        let session = "Cookie: beckon_session=1900000000.AAAA.admin_token\r\nOrigin: http://127.0.0.1\r\n";
        let path = &self.endpoint;
        vec![
            (get("/metrics", ""), &[200]),
            (get("/dashboard/", ""), &[200]),
            (get("/api/cluster?since=1", &token), &[200, 429]),
            (get("/api/cluster", session), &[401, 429]),
            (post("/api/session", "", r#"{"token":"0123456789abcdef"}"#), &[401, 429]),
            (
                post("/api/client/find", &token, &format!(r#"{{"endpoint":"https://push.example{path}"}}"#)),
                &[200, 429],
            ),
            (post("/api/client/find", &token, r#"{"client":"ABEiM0RVZneImaq7zN3u_w"}"#), &[200, 429]),
            (post("/api/nodes/shed", &token, r#"{"node":"none","share":0.5}"#), &[404, 429]),
            (post("/api/nodes/shed", &token, r#"{"node":"none","count":-1}"#), &[400, 429]),
            (post("/api/broadcasts/remove", &token, r#"{"id":"none"}"#), &[404, 429]),
            (post("/drain", "", ""), &[401]),
        ]
    }
}

fn to_sockets() -> Vec<Known> {
    let request = |start: &str| format!("{start} HTTP/1.1\r\nHost: x\r\n\r\n");
    vec![
        (request("GET /"), &[426]),
        (request("POST /"), &[405]),
        (request("GET /nothing"), &[404]),
        (request("GET /status"), &[200]),
        (request("CONNECT host:443"), &[400]),
        (upgrade_request("/", "").replace("Version: 13", "Version: 8"), &[400]),
    ]
}

fn messages() -> Vec<String> {
    const CHANNEL: &str = "0d9f7b52-3c41-4e8a-9a57-51e0c2b7aa10";
    let on_channel =
        |kind: &str, more: &str| format!(r#"{{"messageType":"{kind}","channelID":"{CHANNEL}"{more}}}"#);
    let with = |kind: &str, members: &str| format!(r#"{{"messageType":"{kind}",{members}}}"#);
    vec![
        with("hello", r#""uaid":"","channelIDs":[]"#),
        with("hello", r#""use_webpush":true,"uaid":null,"broadcasts":{"a":"b"}"#),
        with("hello", r#""use_webpush":true,"uaid":"0d9f7b523c414e8a9a5751e0c2b7aa10""#),
        on_channel("register", ""),
        on_channel("register", r#","key":"BAAA""#),
        on_channel("unregister", r#","code":200"#),
        on_channel("nack", r#","version":"m","code":302"#),
        with("ack", &format!(r#""updates":[{{"channelID":"{CHANNEL}","version":1}}]"#)),
        with("ack", &format!(r#""updates":[{{"channelID":"{CHANNEL}","version":"m1.AAAA","code":100}}]"#)),
        with("broadcast_subscribe", r#""broadcasts":{"x":"y"}"#),
        with("urgency", r#""min":"high""#),
        r#"{"messageType":"ping"}"#.to_owned(),
        r#"{"messageType":"purge"}"#.to_owned(),
        "{}".to_owned(),
        "[".repeat(100),
    ]
}

fn pick<T: Clone>(random: &mut Rng, all: &[T]) -> T {
    all[random.usize(..all.len())].clone()
}

/// Sends bytes, sometimes in pieces, and reads what comes until the end, or until patience ends.
async fn converse(wire: &mut dyn Wire, sent: &[u8], patience: Duration, random: &mut Rng) -> Vec<u8> {
    let mut answer = Vec::new();
    let piece_len = if random.u8(..4) == 0 { random.usize(1..200) } else { sent.len().max(1) };
    let talk = async {
        for piece in sent.chunks(piece_len) {
            // A server that has heard enough does not read on, and may have answered.
            if wire.write_all(piece).await.is_err() || wire.flush().await.is_err() {
                break;
            }
            if piece.len() < sent.len() {
                sleep(Duration::from_millis(1)).await;
            }
        }
        let mut part = [0; 4096];
        while let Ok(count @ 1..) = wire.read(&mut part).await
            && answer.len() < ANSWER_LEN_MAX
        {
            answer.extend_from_slice(&part[..count]);
        }
    };
    let _ = timeout(patience, talk).await;
    answer
}

/// The status of an answer, if there is one. It is never the server's fault; nor is it busy, because there are few strangers.
fn check_status(answer: &[u8], sent: &[u8]) -> Option<u16> {
    let text = String::from_utf8_lossy(answer);
    let after_version = text.strip_prefix("HTTP/1.1 ").or_else(|| text.strip_prefix("HTTP/1.0 "))?;
    let status = after_version.get(..3)?.parse().ok()?;
    let sent = String::from_utf8_lossy(sent);
    assert!((200..500).contains(&status) || matches!(status, 101 | 501 | 505), "{text}\nafter\n{sent}");
    Some(status)
}

fn after_head(answer: &[u8]) -> Option<&[u8]> {
    const END: &[u8] = b"\r\n\r\n";
    let end = answer.windows(END.len()).position(|window| window == END)?;
    Some(&answer[end + END.len()..])
}

/// Whole frames of a server: not masked, JSON in text, and no close code for an error of the server.
fn check_frames(mut frames: &[u8], sent: &[u8]) {
    let sent = String::from_utf8_lossy(sent);
    while let [head, len, rest @ ..] = frames {
        let (payload_len, rest) = match (len, rest) {
            (..=125, rest) => (usize::from(*len), rest),
            (126, [high, low, rest @ ..]) => (usize::from(u16::from_be_bytes([*high, *low])), rest),
            // Cut off by the end of patience.
            (126, _) => return,
            (127.., _) => panic!("a masked frame, or one of more than 64 KiB, after\n{sent}"),
        };
        let Some((payload, after)) = rest.split_at_checked(payload_len) else { return };
        match *head {
            TEXT => {
                let is_json = serde_json::from_slice::<serde_json::Value>(payload).is_ok();
                assert!(is_json, "{}\nafter\n{sent}", String::from_utf8_lossy(payload));
            }
            CLOSE => assert_ne!(
                payload.first_chunk(),
                Some(&1011_u16.to_be_bytes()),
                "an error of the server after\n{sent}"
            ),
            PING | PONG => {}
            other => panic!("a frame that begins with {other:#x} after\n{sent}"),
        }
        frames = after;
    }
}
