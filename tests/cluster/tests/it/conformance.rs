//! `beckon conformance`: against this server, against one that deviates, and against what is no push server at all.

use beckon_cluster_tests::{
    shared::Profile,
    stage::{Registered, Stage},
};
use beckon_testbed::{
    plan::{Plan, Shape},
    process,
    programs::Program,
};
use http::header::SEC_WEBSOCKET_PROTOCOL;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    process::Command,
    time::Instant,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinSet,
};
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};

/// What became of each item, by its name, and the exit code.
async fn report(ws: &str, http: &str, options: &[&str]) -> (Option<i32>, BTreeMap<String, Value>) {
    let arguments: Vec<String> =
        [&["conformance", ws, http, "--json"], options].concat().into_iter().map(str::to_owned).collect();
    // It has a limit of its own, which is longer than those of a test's other programs.
    let run = move || Command::new(Program::Beckon.path()).args(&arguments).output().unwrap();
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let items = report["items"].as_array().unwrap().iter();
    let items: BTreeMap<String, Value> =
        items.map(|item| (item["item"].as_str().unwrap().to_owned(), item.clone())).collect();
    let count = |outcome: &str| items.values().filter(|item| item["outcome"] == outcome).count();
    for outcome in ["passed", "failed", "skipped"] {
        assert_eq!(report[outcome], count(outcome), "{report:#}");
    }
    assert_eq!(report["clients_left"], json!([]), "{report:#}");
    (output.status.code(), items)
}

#[tokio::test(flavor = "multi_thread")]
async fn this_server_passes_and_what_is_skipped_has_a_reason() {
    for shape in [Shape::Standalone, Shape::Cluster] {
        let stage = Stage::shared(shape, Profile::Defaults);
        let (code, items) = report(&stage.server().ws_urls()[0], &stage.server().http_urls()[0], &[]).await;
        let failed: Vec<_> = items.values().filter(|item| item["outcome"] == "failed").collect();
        assert!(failed.is_empty(), "{failed:#?}");
        assert_eq!(code, Some(0));
        let checked = beckon_conformance::checks().into_iter().filter(|check| !check.is_slow);
        for check in checked {
            assert_eq!(items[&check.item()]["outcome"], "passed", "{}", check.name);
        }
        for item in items.values().filter(|item| item["outcome"] == "skipped") {
            assert!(item["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{item}");
        }
    }
}

/// Forwards what the server sends, with one text in place of another of the same length.
async fn alter(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, text: &[u8], other: &[u8]) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let mut at = 0;
        while let Some(found) = buffer[at..length].windows(text.len()).position(|window| window == text) {
            at += found;
            buffer[at..at + text.len()].copy_from_slice(other);
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

/// Something that listens, until it is dropped.
struct Listening {
    address: SocketAddr,
    _connections: JoinSet<()>,
}

/// Serves each connection to an address of its own.
async fn listening<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> Listening
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut all = JoinSet::new();
    all.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((client, _)) = listener.accept().await {
            connections.spawn(serve(client));
        }
    });
    Listening { address, _connections: all }
}

/// A proxy to this address that alters what the server says.
async fn deviating(server: SocketAddr, text: &'static str, other: &'static str) -> Listening {
    assert_eq!(text.len(), other.len());
    listening(move |client| async move {
        let Ok(server) = TcpStream::connect(server).await else { return };
        let (mut from_client, to_client) = client.into_split();
        let (from_server, mut to_server) = server.into_split();
        let there = async {
            let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
            let _ = to_server.shutdown().await;
        };
        tokio::join!(there, alter(from_server, to_client, text.as_bytes(), other.as_bytes()));
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deviation_fails_the_items_that_it_is_about_and_no_other() {
    let stage = Stage::shared(Shape::Standalone, Profile::Defaults);
    let addresses = stage.nodes()[0].addresses();
    let (ws, http) = (&stage.server().ws_urls()[0], &stage.server().http_urls()[0]);
    for (is_ws, text, other, expected) in [
        (true, "\"urgency\",\"status\":200", "\"urgency\",\"status\":201", &["WP-40"][..]),
        (true, "\"encoding\":\"aesgcm\"", "\"encoding\":\"aesGCM\"", &["WP-23"]),
        (false, "\"errno\":104", "\"errno\":105", &["HTTP-21", "HTTP-31"]),
    ] {
        let address = if is_ws { addresses.ws } else { addresses.http };
        let proxy = deviating(address.unwrap(), text, other).await;
        let deviating_ws = format!("ws://{}/", proxy.address);
        let deviating_http = format!("http://{}", proxy.address);
        let (code, items) = match is_ws {
            true => report(&deviating_ws, http, &[]).await,
            false => report(ws, &deviating_http, &[]).await,
        };
        assert_eq!(code, Some(1));
        let failed: Vec<_> = items.into_iter().filter(|(_, item)| item["outcome"] == "failed").collect();
        let names: BTreeSet<&str> = failed.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, expected.iter().copied().collect(), "{failed:#?}");
        for (_, item) in &failed {
            assert!(item["place"].as_str().unwrap().contains("crates/conformance/src/checks/"), "{item:#}");
            assert!(item["reason"].as_str().is_some_and(|reason| reason.contains("expected")), "{item:#}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_the_checks_have_registered_is_left() {
    let stage = Stage::apart(Plan::new(Shape::Standalone));
    let Registered { client, uaid, channel, .. } = stage.registered().await;
    client.leave().await;
    let (ws, http) = (&stage.server().ws_urls()[0], &stage.server().http_urls()[0]);
    let (code, _) = report(ws, http, &[]).await;
    assert_eq!(code, Some(0));
    // Not even if what the server says of a registration is not understood.
    let address = stage.nodes()[0].addresses().ws.unwrap();
    let proxy = deviating(address, "\"messageType\":\"register\"", "\"messageType\":\"registeX\"").await;
    let (code, items) = report(&format!("ws://{}/", proxy.address), http, &[]).await;
    assert_eq!(code, Some(1));
    assert_eq!(items["SP-32"]["outcome"], "failed", "{}", items["SP-32"]);
    // The one that is no client of the checks is still there.
    let mut client = stage.connect().await;
    client.resume(&uaid, &[&channel]).await;
    client.leave().await;
    stage.nodes()[0].terminate();
    let [data, file] = ["data", "export"].map(|name| stage.folder().join(name).to_str().unwrap().to_owned());
    let (status, output) =
        process::run(&Program::Beckon.path(), &["export", &file], &[("BECKON_DATA_DIR", &data)]);
    assert!(status.success() && output.contains("exported 1 clients, 0 messages"), "{output}");
}

/// Sends back whatever it gets, on WebSockets.
async fn echo() -> Listening {
    listening(async |stream| {
        let Ok(socket) = tokio_tungstenite::accept_async(stream).await else { return };
        let (sink, stream) = futures_util::StreamExt::split(socket);
        let _ = futures_util::StreamExt::forward(stream, sink).await;
    })
    .await
}

/// Sends this, whatever it gets on WebSockets, of which it accepts any subprotocol.
async fn saying(text: &'static str) -> Listening {
    #[expect(clippy::result_large_err, reason = "the library has this type")]
    fn accept(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
        if let Some(offered) = request.headers().get(SEC_WEBSOCKET_PROTOCOL) {
            response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, offered.clone());
        }
        Ok(response)
    }
    listening(async |stream| {
        let Ok(mut socket) = tokio_tungstenite::accept_hdr_async(stream, accept).await else { return };
        while let Some(Ok(_)) = futures_util::StreamExt::next(&mut socket).await {
            if futures_util::SinkExt::send(&mut socket, text.into()).await.is_err() {
                return;
            }
        }
    })
    .await
}

/// Answers every request with 200 and without a body.
async fn agreeing() -> Listening {
    listening(async |mut stream: TcpStream| {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(1..) = stream.read(&mut buffer).await {
            if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.is_err() {
                return;
            }
        }
    })
    .await
}

/// Takes connections, and says nothing.
async fn silent() -> Listening {
    listening(async |mut stream: TcpStream| {
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_push_server_gets_a_report_of_failures() {
    let (echo, agreeing) = (echo().await, agreeing().await);
    let (ws, http) = (format!("ws://{}/", echo.address), format!("http://{}", agreeing.address));
    let (code, items) = report(&ws, &http, &["--patience", "1s"]).await;
    assert_eq!(code, Some(1));
    for item in ["SP-14", "SP-19", "SP-41", "WP-1", "WP-21", "HTTP-1", "HTTP-13", "HTTP-38"] {
        assert_eq!(items[item]["outcome"], "failed", "{}", items[item]);
        assert!(items[item]["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{}", items[item]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_sends_cannot_write_on_the_terminal() {
    let (saying, agreeing) = (saying("\u{1b}[2Jall is well").await, agreeing().await);
    let (ws, http) = (format!("ws://{}/", saying.address), format!("http://{}", agreeing.address));
    let run = move || {
        process::run(&Program::Beckon.path(), &["conformance", &ws, &http, "--items", "SP-14,SP-19"], &[])
    };
    let (status, output) = tokio::task::spawn_blocking(run).await.unwrap();
    assert_eq!(status.code(), Some(1), "{output}");
    assert!(output.contains("\\u001b[2Jall is well"), "{output}");
    assert!(output.lines().all(|line| !line.contains(char::is_control)), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_ends_what_a_silent_server_would_hold_up() {
    const LIMIT_S: u64 = 3;
    // The report itself, and a busy machine.
    const MARGIN_S: u64 = 15;
    let silent = silent().await;
    let (ws, http) = (format!("ws://{}/", silent.address), format!("http://{}", silent.address));
    let limit = format!("{LIMIT_S}s");
    // It is built if this is the first test.
    Program::Beckon.path();
    #[expect(clippy::disallowed_methods, reason = "how long it takes is what is asserted")]
    let started = Instant::now();
    let (code, items) = report(&ws, &http, &["--patience", "60s", "--limit", &limit]).await;
    assert!(started.elapsed().as_secs() < LIMIT_S + MARGIN_S, "{:?}", started.elapsed());
    assert_eq!(code, Some(1));
    assert!(items.values().all(|item| item["outcome"] != "passed"), "{items:#?}");
    assert_eq!(items["SP-19"]["reason"], "not done within 3s");
}

#[tokio::test]
async fn the_command_says_what_is_wrong_with_its_arguments() {
    for (arguments, code, told) in [
        (&["ws://127.0.0.1:1/", "http://127.0.0.1:1"][..], 69, "127.0.0.1:1"),
        (&["http://127.0.0.1:1/", "http://127.0.0.1:1"], 64, "ws://HOST"),
        (&["ws://127.0.0.1:1/"], 64, "<HTTP>"),
        (&["ws://127.0.0.1:1/", "http://127.0.0.1:1", "--items", "SP-19,XX-1"], 64, "no such item"),
        (&["ws://127.0.0.1:1/", "http://127.0.0.1:1", "--items", "sp-19"], 64, "no such item"),
        (&["ws://127.0.0.1:1/", "http://127.0.0.1:1", "--patience", "5"], 64, "duration"),
    ] {
        let arguments = [&["conformance"], arguments].concat();
        let (status, output) = process::run(&Program::Beckon.path(), &arguments, &[]);
        assert_eq!(status.code(), Some(code), "{arguments:?}: {output}");
        assert!(output.contains(told), "{arguments:?}: {output}");
    }
}
