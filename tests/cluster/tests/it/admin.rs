//! Who may do what on the admin listener, and what the log says about it.

use beckon_cluster_tests::{
    bare,
    host::{Host, status},
    stage::Stage,
};
use beckon_testbed::{
    PATIENCE,
    node::Node,
    plan::{ADMIN_TOKEN, Plan, Shape, key},
    ports::Port,
    process,
    programs::Program,
    redis::RedisServer,
    until,
};
use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    os::unix::fs::PermissionsExt as _,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

const METRICS_TOKEN: &str = "metrics-token-of-the-test-bed";

/// Connections that an admin listener accepts before it is busy.
const ADMIN_CONNECTIONS_MAX: usize = 256;

/// The status of the answer to a request for `address`, with these header lines, each ended by CRLF.
async fn asked(address: SocketAddr, request: &str, headers: &str) -> u16 {
    let request = format!("{request} HTTP/1.1\r\n{headers}Content-Length: 0\r\nConnection: close\r\n\r\n");
    status(&bare::request(address, &request).await.0)
}

fn shown(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

fn host(address: impl std::fmt::Display) -> String {
    format!("Host: {address}\r\n")
}

#[tokio::test]
async fn every_change_needs_the_token_and_is_logged_with_its_holder() {
    for shape in [Shape::Cluster, Shape::Standalone] {
        let alice = "token-of-alice-0123456789";
        let tokens = format!("{ADMIN_TOKEN},alice:{alice}");
        let stage = Stage::own(Plan::new(shape).all("BECKON_ADMIN_TOKEN", &tokens));
        for node in stage.nodes() {
            let admin = node.addresses().admin;
            let own = host(admin);
            for request in
                ["POST /drain", "POST /undrain", "POST /shed?count=0", "PUT /broadcasts/a", "POST /x"]
            {
                assert_eq!(asked(admin, request, &own).await, 401, "{request} of {}", node.name());
                let other = own.clone() + &shown("0123456789abcdef");
                assert_eq!(asked(admin, request, &other).await, 401, "{request} of {}", node.name());
            }
            assert!(node.is_ready(), "{} does not drain", node.name());
            assert_eq!(asked(admin, "POST /undrain?why=test", &(own + &shown(alice))).await, 200);
            let is_audit = |line: &&str| line.contains(r#""target":"beckon_audit""#);
            let changed = until("the change is logged", async || {
                let log = node.log();
                let mut audit = log.lines().filter(is_audit);
                audit.find(|line| line.contains("/undrain?why=test")).map(str::to_owned)
            })
            .await;
            for part in
                [r#""operator":"alice""#, r#""peer":"127.0.0.1""#, r#""method":"POST""#, r#""status":200"#]
            {
                assert!(changed.contains(part), "{part} in {changed}");
            }
            let log = node.log();
            assert!(log.lines().filter(is_audit).any(|line| line.contains("no_token")), "{log}");
            assert!(!log.contains(alice) && !log.contains(ADMIN_TOKEN), "{log}");
        }
    }
}

#[tokio::test]
async fn reading_by_a_name_or_from_elsewhere_needs_a_token() {
    let stage = Stage::own(Plan::new(Shape::Cluster).all("BECKON_METRICS_TOKEN", METRICS_TOKEN));
    for node in stage.nodes() {
        let admin = node.addresses().admin;
        let (own, name) = (host(admin), host("evil.example:8083"));
        let proxied = format!("{own}X-Forwarded-For: 192.0.2.1\r\n");
        for path in ["/metrics", "/realstatus", "/__version__", "/drain", "/nothing"] {
            let get = format!("GET {path}");
            let found = if path == "/nothing" { 404 } else { 200 };
            assert_eq!(asked(admin, &get, &own).await, found, "{path}");
            assert_eq!(asked(admin, &get, &name).await, 421, "{path}");
            assert_eq!(asked(admin, &get, &proxied).await, 401, "{path}");
            for headers in [&own, &name, &proxied] {
                let token = headers.clone() + &shown(ADMIN_TOKEN);
                assert_eq!(asked(admin, &get, &token).await, found, "{path}");
                let token = headers.clone() + &shown(METRICS_TOKEN);
                let expected = if path == "/metrics" { 200 } else { 401 };
                assert_eq!(asked(admin, &get, &token).await, expected, "{path}");
            }
        }
        for path in ["/live", "/ready", "/status", "/health", "/__lbheartbeat__", "/__heartbeat__"] {
            assert_eq!(
                asked(admin, &format!("GET {path}"), &(name.clone() + &proxied[own.len()..])).await,
                200,
                "{path}"
            );
        }
        let metrics = stage.get(&format!("http://{admin}/metrics")).await.into_body();
        let metrics = str::from_utf8(&metrics).unwrap();
        assert!(metrics.contains("beckon_admin_denied_total{reason=\"name\"} 5"), "{metrics}");
    }
}

/// The head of the answer to a request with this token, from a host.
async fn asked_from(host: Host, node: &Node, token: &str, signs_in: bool) -> String {
    let admin = node.addresses().admin;
    let body = format!(r#"{{"token":"{token}"}}"#);
    let request = if signs_in {
        let length = body.len();
        format!("POST /api/session HTTP/1.1\r\nHost: {admin}\r\nContent-Length: {length}\r\n\r\n{body}")
    } else {
        format!("GET /api/cluster HTTP/1.1\r\nHost: {admin}\r\n{}\r\n", shown(token))
    };
    host.ask_within(PATIENCE, admin, &request).await.0
}

#[tokio::test]
async fn guesses_at_the_token_are_limited_and_keep_no_other_host_out() {
    let stage = Stage::own(Plan::new(Shape::Cluster));
    let (guesser, honest) = (Host::new(66), Host::new(10));
    for node in stage.nodes() {
        let admin = node.addresses().admin;
        let ask = async |host, token: &str, signs_in| status(&asked_from(host, node, token, signs_in).await);
        // A program that shows an old token all the time does not guess.
        for _ in 0..30 {
            assert_eq!(ask(guesser, "an-old-token-of-a-monitor", false).await, 401);
        }
        assert_eq!(ask(guesser, ADMIN_TOKEN, false).await, 200, "{}", node.name());
        let mut answers = Vec::new();
        for number in 0..24 {
            answers.push(ask(guesser, &format!("a-guess-at-the-token-{number}"), number % 2 == 0).await);
        }
        let compared = answers.iter().filter(|status| **status == 401).count();
        assert!(answers.iter().all(|status| matches!(status, 401 | 429)), "{answers:?}");
        assert!((9..14).contains(&compared), "nine are left, and one more every six seconds: {answers:?}");
        // Not even the right token gets through, or trying on would pay.
        for signs_in in [false, true] {
            let head = asked_from(guesser, node, ADMIN_TOKEN, signs_in).await;
            assert_eq!(status(&head), 429, "{head}");
            assert!(head.contains("retry-after: 6\r\n"), "{head}");
            assert_eq!(ask(honest, ADMIN_TOKEN, signs_in).await, 200, "another host");
        }
        assert_eq!(guesser.get(admin, "/live").await, 200);
        let refused = honest.body(admin, "/metrics").await;
        let counted = |reason: &str| {
            let name = format!("beckon_admin_denied_total{{reason=\"{reason}\"}} ");
            let value = refused.lines().find_map(|line| line.strip_prefix(&name)).unwrap_or_default();
            value.parse::<usize>().unwrap_or_default()
        };
        assert_eq!((counted("other_token"), counted("guesses")), (30 + compared, 24 - compared + 2));
        let log = node.log();
        let is_logged = |line: &str| line.contains(r#""reason":"guesses""#) && line.contains("127.0.0.66");
        assert!(log.lines().any(is_logged) && !log.contains("a-guess-at-the-token"), "{log}");
    }
}

/// Signing in takes no token, so anyone can begin it.
#[tokio::test]
async fn bodies_that_do_not_come_do_not_keep_operators_out_for_long() {
    let stage = Stage::own(Plan::new(Shape::Cluster));
    let (stranger, operator) = (Host::new(66), Host::new(10));
    let head = |node: &Node, request: &str, headers: &str| {
        let host = host(node.addresses().admin);
        format!("{request} HTTP/1.1\r\n{host}{headers}Content-Length: 10\r\n\r\n")
    };
    for node in stage.nodes() {
        let admin = node.addresses().admin;
        let metrics = format!("GET /metrics HTTP/1.1\r\n{}\r\n", host(admin));
        let mut begun = Vec::new();
        until(&format!("{} is busy", node.name()), async || {
            // One whose head has not been read yet makes room.
            while begun.len() < ADMIN_CONNECTIONS_MAX || operator.status(admin, &metrics).await == 200 {
                let mut connection = stranger.connect(admin).await;
                let sign_in = head(node, "POST /api/session", "");
                connection.write_all(sign_in.as_bytes()).await.expect("there is room");
                begun.push(connection);
            }
            (operator.status(admin, &metrics).await == 503).then_some(())
        })
        .await;
        until("an operator is answered again", async || {
            (operator.status(admin, &metrics).await == 200).then_some(())
        })
        .await;
        let last = begun.last_mut().expect("there are many");
        let mut answer = [0; 12];
        let answered = timeout(PATIENCE, last.read_exact(&mut answer)).await.expect("it is answered");
        assert!(answered.is_ok() && answer == *b"HTTP/1.1 408", "{}: {answer:?}", node.name());
    }
    let (sockets, requests) = (&stage.connection_nodes()[0], &stage.endpoint_nodes()[0]);
    for (node, request) in [(sockets, "PUT /broadcasts/a"), (requests, "POST /api/client/find")] {
        let request = head(node, request, &shown(ADMIN_TOKEN));
        let (answer, _) = operator.ask_within(PATIENCE, node.addresses().admin, &request).await;
        assert_eq!(status(&answer), 408, "{request} {answer}");
    }
}

/// An address of this machine that is not a loopback address, if it has a network.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Nothing is sent.
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|address| !address.is_loopback())
}

#[tokio::test]
async fn a_listener_for_other_hosts_needs_a_token() {
    let redis = RedisServer::start();
    let ports = [(); 3].map(|()| Port::free());
    let [ws, grpc, http] = ports.each_ref().map(|port| port.address().to_string());
    let mut plan = Plan::standalone();
    let port = plan.node("beckon").addresses.admin.port();
    let admin = format!("0.0.0.0:{port}");
    let settings = [
        ("BECKON_WS_LISTEN", &*ws),
        ("BECKON_HTTP_LISTEN", &http),
        ("BECKON_GRPC_LISTEN", &grpc),
        ("BECKON_ADMIN_LISTEN", &admin),
        ("BECKON_STORE", &redis.url()),
        ("BECKON_ENDPOINT_URL", "http://127.0.0.1:1"),
        ("BECKON_TOKEN_KEYS", &key(1)),
    ];
    for program in [Program::ConnectionNode, Program::EndpointNode] {
        let (status, output) = process::run(&program.path(), &[], &settings);
        assert_eq!(status.code(), Some(64), "{output}");
        assert!(output.to_lowercase().contains("admin_token"), "{output}");
        let short = [&settings[..], &[("BECKON_ADMIN_TOKEN", "tooshort")]].concat();
        let (status, output) = process::run(&program.path(), &[], &short);
        assert_eq!(status.code(), Some(64), "{output}");
        assert!(output.contains("BECKON_ADMIN_TOKEN") && !output.contains("tooshort"), "{output}");
    }
    let Some(own) = own_address() else { return };
    let stage = Stage::own(plan.all("BECKON_ADMIN_LISTEN", &admin));
    let admin = SocketAddr::new(own, port);
    let peer = Host(match own {
        IpAddr::V4(own) => own,
        IpAddr::V6(_) => return,
    });
    let get = |path: &str, token: &str| format!("GET {path} HTTP/1.1\r\nHost: {admin}\r\n{token}\r\n");
    assert_eq!(peer.status(admin, &get("/live", "")).await, 200);
    assert_eq!(peer.status(admin, &get("/", "")).await, 200, "the try page");
    assert_eq!(peer.status(admin, &get("/metrics", "")).await, 401);
    assert_eq!(peer.status(admin, &get("/metrics", &shown(ADMIN_TOKEN))).await, 200);
    drop(stage);
}

/// On a laptop no token is set, and the commands work as if there were none.
#[tokio::test]
async fn commands_read_the_token_that_the_server_has_made() {
    let mut plan = Plan::standalone();
    plan.node("beckon").settings.remove("BECKON_ADMIN_TOKEN");
    let stage = Stage::own(plan);
    let node: &Node = &stage.nodes()[0];
    let data = stage.folder().join("data");
    let file = data.join("admin-token");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let (admin, data) = (format!("http://{}", node.addresses().admin), data.to_str().unwrap());
    let run = |arguments: &[&str], settings: &[(&str, &str)]| {
        let arguments = [arguments, &["--admin", &admin]].concat();
        let (status, output) = process::run(&Program::Beckon.path(), &arguments, settings);
        (status.code(), output)
    };
    let by_data_dir = [("BECKON_DATA_DIR", data)];
    assert_eq!(run(&["broadcast", "set", "a", "1"], &by_data_dir), (Some(0), String::new()));
    assert_eq!(run(&["broadcast", "list", "--data-dir", data], &[]), (Some(0), "a 1\n".to_owned()));
    let by_file = run(&["broadcast", "remove", "a", "--admin-token-file", file.to_str().unwrap()], &[]);
    assert_eq!(by_file, (Some(0), String::new()));
    let (code, output) = run(&["drain"], &[]);
    assert!(code == Some(1) && output.contains("admin_token"), "{output}");
    assert_eq!(run(&["drain"], &by_data_dir).0, Some(0));
    assert_eq!(run(&["undrain"], &by_data_dir), (Some(0), "serving, 0 clients\n".to_owned()));
    let token = std::fs::read_to_string(&file).unwrap();
    node.terminate();
    node.start();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), token, "it is made once");
    assert_eq!(run(&["drain"], &by_data_dir).0, Some(0));
}
