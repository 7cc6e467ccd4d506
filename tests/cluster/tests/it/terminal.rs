//! Commands whose server is hostile: whatever it says, none of it controls the terminal of who has called it.

use beckon_testbed::{
    folder,
    process::{self, Process},
    programs::Program,
    wait_until,
};
use http::header::SEC_WEBSOCKET_PROTOCOL;
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_tungstenite::tungstenite::{
    Message,
    handshake::server::{ErrorResponse, Request, Response},
    protocol::{CloseFrame, frame::coding::CloseCode},
};

/// Clears the screen, in both encodings, sets the title of the window, and goes to the beginning of another line.
const HOSTILE: &str = "\u{1b}[2J\u{9b}2J\u{1b}]0;owned\u{7}\r\nall is well";

/// The same as a part of a line that is printed.
const HARMLESS: &str = "\\u001b[2J\\u009b2J\\u001b]0;owned\\u0007\\r\\nall is well";

/// Says [`HOSTILE`] wherever a server can say something: on WebSockets in the endpoint, and in the reason for which it closes
/// them after that, unless it refuses the register with it.
async fn user_agents_server(refuses: bool, all: &mut JoinSet<()>) -> SocketAddr {
    #[expect(clippy::result_large_err, reason = "the library has this type")]
    fn accept(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
        if let Some(offered) = request.headers().get(SEC_WEBSOCKET_PROTOCOL) {
            response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, offered.clone());
        }
        Ok(response)
    }
    let talk = move |stream: TcpStream| async move {
        let Ok(mut socket) = tokio_tungstenite::accept_hdr_async(stream, accept).await else { return };
        while let Some(Ok(message)) = futures_util::StreamExt::next(&mut socket).await {
            let request: Value =
                serde_json::from_str(message.to_text().unwrap_or_default()).unwrap_or_default();
            let answer = match request["messageType"].as_str() {
                Some("hello") => {
                    let (uaid, is_web_push) = ("0".repeat(32), request["use_webpush"] == true);
                    json!({"messageType": "hello", "status": 200, "uaid": uaid, "use_webpush": is_web_push, "broadcasts": {}})
                }
                Some("register") if refuses => {
                    json!({"messageType": "register", "status": 500, "error": HOSTILE})
                }
                Some("register") => {
                    let endpoint = format!("http://127.0.0.1:1/update/{HOSTILE}");
                    json!({"messageType": "register", "channelID": request["channelID"], "status": 200, "pushEndpoint": endpoint})
                }
                Some("unregister") => {
                    json!({"messageType": "unregister", "channelID": request["channelID"], "status": 200})
                }
                _ => json!({}),
            };
            let mut messages = vec![Message::text(answer.to_string())];
            if request["messageType"] == "register" && !refuses {
                let reason = HOSTILE.into();
                messages.push(Message::Close(Some(CloseFrame { code: CloseCode::Away, reason })));
            }
            for message in messages {
                if futures_util::SinkExt::send(&mut socket, message).await.is_err() {
                    return;
                }
            }
        }
    };
    serve(talk, all).await
}

/// Says [`HOSTILE`] in every text of its answers to operators, and refuses everything else with it.
async fn operators_server(all: &mut JoinSet<()>) -> SocketAddr {
    let talk = |mut stream: TcpStream| async move {
        let mut buffer = vec![0; 1 << 16];
        let Ok(length @ 1..) = stream.read(&mut buffer).await else { return };
        let request = String::from_utf8_lossy(&buffer[..length]).into_owned();
        let path = request.split([' ', '?']).nth(1).unwrap_or_default();
        let (status, body) = answer(path);
        let body = body.to_string();
        let length = body.len();
        let text =
            format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
        let _ = stream.write_all(text.as_bytes()).await;
        // Whatever is left of the request, so that the answer is not lost with it.
        let _ = stream.shutdown().await;
        while let Ok(1..) = stream.read(&mut buffer).await {}
    };
    serve(talk, all).await
}

fn answer(path: &str) -> (&'static str, Value) {
    let body = match path {
        "/live" => json!({}),
        "/broadcasts" => json!({"broadcasts": {HOSTILE: HOSTILE}}),
        "/drain" => json!({"phase": HOSTILE, "clients": 1}),
        "/reload" => json!({"changed": [HOSTILE], "needs_restart": [HOSTILE]}),
        "/api/client/find" => json!({
            "client": HOSTILE,
            "state": HOSTILE,
            "socket": {"name": HOSTILE, "open_s": 1},
            "stored": {"dialect": HOSTILE, "channels": 1, "pending": 1, "message_bytes": 1, "unseen_s": 1},
        }),
        "/api/cluster" => json!({
            "at_ms": 1,
            "by": HOSTILE,
            "directory_failure": HOSTILE,
            "nodes": [{
                "name": HOSTILE, "state": "silent", "failure": HOSTILE, "program": HOSTILE, "version": HOSTILE,
                "commit": HOSTILE, "phase": HOSTILE, "unready": HOSTILE, "sockets": 0, "sockets_max": 0, "figures": {},
                "rates": {"hellos": 1.0}, "quantiles": {},
            }],
            "history": [],
        }),
        _ => return ("503 Service Unavailable", json!(HOSTILE)),
    };
    ("200 OK", body)
}

async fn serve<F>(talk: impl Fn(TcpStream) -> F + Send + 'static, all: &mut JoinSet<()>) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    all.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((client, _)) = listener.accept().await {
            connections.spawn(talk(client));
        }
    });
    address
}

/// Whether the server has had a say, and the terminal has not heard it.
fn check(command: &str, output: &str) {
    assert!(output.contains(HARMLESS), "beckon {command}: {output:?}");
    let controls = output.chars().any(|character| character.is_control() && character != '\n');
    assert!(!controls, "beckon {command}: {output:?}");
    assert!(!output.lines().any(|line| line.starts_with("all is well")), "beckon {command}: {output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_command_lets_a_server_control_the_terminal() {
    let mut all = JoinSet::new();
    let http = operators_server(&mut all).await;
    let ws = user_agents_server(false, &mut all).await;
    let refusing = user_agents_server(true, &mut all).await;
    let data = folder::temporary();
    let data = data.path().display();
    for command in [
        format!("broadcast list --admin http://{http}"),
        format!("broadcast set x 1 --admin http://{http}"),
        format!("client show 0000 --admin http://{http}"),
        format!("client block 0000 --admin http://{http}"),
        format!("drain --admin http://{http}"),
        format!("shed --count 1 --admin http://{http}"),
        format!("reload --admin http://{http}"),
        format!("hand-over --admin http://{http}"),
        format!("top --once --admin http://{http}"),
        format!("send http://{http}/update/x"),
        format!("send http://{http}/wpush/v2/x"),
        format!("probe ws://{ws}/ --once"),
        format!("probe ws://{refusing}/ --once"),
        format!(
            "doctor --admin-listen {http} --endpoint-url http://{http} --data-dir {data} --ws ws://{ws}/"
        ),
        format!(
            "doctor --admin-listen {http} --endpoint-url http://{http} --data-dir {data} --ws ws://{refusing}/"
        ),
        format!("listen ws://{refusing}/"),
        format!("listen --web-push ws://{refusing}/"),
    ] {
        let words: Vec<String> = command.split(' ').map(str::to_owned).collect();
        let run = move || {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            process::run(&Program::Beckon.path(), &words, &[]).1
        };
        check(&command, &tokio::task::spawn_blocking(run).await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_listens_on_shows_what_a_server_says_and_obeys_none_of_it() {
    let mut all = JoinSet::new();
    let ws = user_agents_server(false, &mut all).await;
    for flags in [&["listen"][..], &["listen", "--web-push"]] {
        let url = format!("ws://{ws}/");
        let listened = move || {
            let folder = folder::temporary();
            let arguments = [flags, &[&url]].concat();
            let listening =
                Process::start(&Program::Beckon.path(), &arguments, &[], &folder.path().join("listen.log"));
            wait_until("the endpoint and the end of the connection are shown", || {
                let log = listening.log();
                (log.contains("endpoint ") && log.contains("not connected: ")).then_some(log)
            })
        };
        let output = tokio::task::spawn_blocking(listened).await.unwrap();
        check("listen", &output);
        let shown =
            |start: &str| output.lines().any(|line| line.starts_with(start) && line.contains(HARMLESS));
        assert!(shown("endpoint ") && shown("try ") && shown("beckon listen: not connected"), "{output}");
    }
}
