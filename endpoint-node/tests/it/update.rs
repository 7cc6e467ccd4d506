//! `PUT /update/<token>`, byte by byte (PROTOCOL.md section 3).

use crate::{
    http_client::{Answer, exchange, put, read_answer, send},
    test_node::{TestNode, connected_to},
};
use beckon_types::{ChannelId, ClientId, HelloOutcome, NodeId, PutVersion, PutVersionOutcome, Version};
use std::time::Duration;
use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::timeout};

fn assert_cors(answer: &Answer) {
    for (name, value) in [
        ("access-control-allow-origin", "*"),
        ("access-control-allow-methods", "PUT, OPTIONS"),
        ("access-control-allow-headers", "Content-Type, traceparent, tracestate"),
        ("access-control-expose-headers", "Retry-After, X-Request-Id"),
        ("access-control-max-age", "3600"),
    ] {
        assert_eq!(answer.header(name), value, "{name} of {answer:?}");
    }
}

#[tokio::test]
async fn the_first_failing_check_answers() {
    let node = TestNode::start().await;
    node.expect_other_nodes().await;
    let path = node.register_offline(1).await;
    let long = format!("data={}", "x".repeat(4097));
    let long_and_bad = format!("{long}&version=x");
    let fits = format!("data={}", "x".repeat(4096));
    let huge = "x".repeat(65_537);
    let large = "x".repeat(65_536);
    let exceeds = r#""Data exceeds max length of 4096 bytes""#;
    let altered = format!("{path}A");
    for (path, form, status, body) in [
        (&path, "version=7", 202, "{}"),
        (&path, "", 202, "{}"),
        (&path, "version=", 202, "{}"),
        (&path, &fits, 202, "{}"),
        (&path, &large, 202, "{}"),
        (&path, &huge, 413, exceeds),
        (&altered, &huge, 413, exceeds),
        (&path, "version=-1", 400, r#""Invalid Version""#),
        (&altered, "version=-1", 400, r#""Invalid Version""#),
        (&path, &long_and_bad, 400, r#""Invalid Version""#),
        (&path, &long, 413, exceeds),
        (&altered, &long, 413, exceeds),
        (&altered, "version=1", 404, r#""Invalid Token""#),
        (&"/update/nonsense".to_owned(), "version=1", 404, r#""Invalid Token""#),
    ] {
        let answer = node.put(path, form).await;
        assert_eq!((answer.status, answer.body.as_str()), (status, body), "{form:.40} {answer:?}");
        assert_eq!(answer.header("content-type"), "application/json");
        assert_cors(&answer);
    }
    node.stop().await;
}

#[tokio::test]
async fn a_channel_that_is_not_registered_is_gone() {
    let node = TestNode::start().await;
    let presence = connected_to(NodeId(1), 1);
    let path = node.register(1, presence).await;
    node.store.remove_channel(ClientId([1; 16]), presence, ChannelId([1; 16])).await.unwrap().unwrap();
    let answer = node.put(&path, "version=1").await;
    assert_eq!((answer.status, answer.body.as_str()), (410, r#""Channel Not Registered""#));
    assert_cors(&answer);
    node.stop().await;
}

#[tokio::test]
async fn other_methods_are_not_allowed() {
    let node = TestNode::start().await;
    for path in [node.register_offline(1).await, "/update/unknown".to_owned()] {
        for method in ["GET", "POST", "DELETE", "PATCH"] {
            let answer = send(node.http, method, &path, "", b"").await;
            assert_eq!((answer.status, answer.body.as_str()), (405, r#""Method Not Allowed""#), "{method}");
            assert_eq!(answer.header("allow"), "PUT, OPTIONS");
            assert_cors(&answer);
        }
        let answer = send(node.http, "OPTIONS", &path, "", b"").await;
        assert_eq!((answer.status, answer.body.as_str()), (200, ""));
        assert_cors(&answer);
    }
    node.stop().await;
}

#[tokio::test]
async fn the_stored_version_is_the_requested_one() {
    let node = TestNode::start().await;
    let path = node.register_offline(1).await;
    let multipart = "--X\r\nContent-Disposition: form-data; name=\"version\"\r\n\r\n8\r\n--X--\r\n";
    let query = format!("{path}?version=5");
    for (path, headers, body, version) in [
        (&path, "", "version=6", 6),
        (&path, "Content-Type:\r\n", "version=7", 7),
        (&path, "Content-Type: multipart/form-data; boundary=X\r\n", multipart, 8),
        (&path, "content-type: application/x-www-form-urlencoded;charset=utf-8\r\n", "version=0", 0),
        (&query, "", "", 5),
        (&query, "", "version=9", 9),
        (&query, "Content-Type: text/plain\r\n", "version=9", 5),
        (&query, "Content-Type: t\u{e9}xt\r\n", "version=9", 5),
    ] {
        let answer = send(node.http, "PUT", path, headers, body.as_bytes()).await;
        assert_eq!((answer.status, answer.body.as_str()), (202, "{}"), "{headers}{body}");
        assert_eq!(pending(&node).await, version, "{headers}{body}");
    }
    let before = beckon_ops::clock::Clock::start().unix_seconds();
    let json = "Content-Type: application/json\r\n";
    assert_eq!(send(node.http, "PUT", &path, json, b"{\"version\": 3}").await.status, 202);
    let now = pending(&node).await;
    assert!(now >= before && now < before + 60, "{now} is the time");
    node.stop().await;
}

/// What is pending for client 1.
async fn pending(node: &TestNode) -> u64 {
    let presence = connected_to(NodeId(9), 1);
    let hello = beckon_types::Hello {
        client: ClientId([1; 16]),
        presence,
        named: None,
        otherwise: beckon_types::Dialect::SimplePush,
        listed: Some(beckon_types::Listed::Channels(Vec::new())),
        adopt: true,
        room: true,
        backlog_max: 0,
    };
    let HelloOutcome::Claimed { snapshot, .. } = node.store.hello(hello).await.unwrap() else {
        panic!("client 1 is known");
    };
    node.store.release(ClientId([1; 16]), presence, None).await.unwrap();
    snapshot.channels[0].pending.unwrap().number()
}

#[tokio::test]
async fn requests_follow_each_other_on_one_connection() {
    let node = TestNode::start().await;
    let path = node.register_offline(1).await;
    let mut stream = TcpStream::connect(node.http).await.unwrap();
    for (body, status) in [("version=1", 202), ("version=x", 400), ("version=3", 202)] {
        let request =
            format!("PUT {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        assert_eq!(exchange(&mut stream, request.as_bytes()).await.status, status, "{body}");
    }
    let chunked = format!(
        "PUT {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nvers\r\n5\r\nion=4\r\n0\r\n\r\n"
    );
    assert_eq!(exchange(&mut stream, chunked.as_bytes()).await.status, 202);
    assert_eq!(pending(&node).await, 4);
    node.stop().await;
}

#[tokio::test]
async fn a_body_declared_too_large_is_refused_before_it_is_sent() {
    let node = TestNode::start().await;
    let mut stream = TcpStream::connect(node.http).await.unwrap();
    let request = b"PUT /update/x HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n";
    assert_eq!(exchange(&mut stream, request).await.status, 413);
    node.stop().await;
}

#[tokio::test]
async fn a_slow_body_is_answered_and_nothing_is_stored() {
    let node = TestNode::start_with(&[("BECKON_HTTP_BODY_TIMEOUT", "100ms")]).await;
    let path = node.register_offline(1).await;
    let mut stream = TcpStream::connect(node.http).await.unwrap();
    let request = format!("PUT {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nversion");
    let answer = exchange(&mut stream, request.as_bytes()).await;
    assert_eq!((answer.status, answer.body.as_str()), (408, r#""Request Timeout""#));
    assert_cors(&answer);
    node.stop().await;
}

#[tokio::test]
async fn an_unknown_path_has_a_json_body() {
    let node = TestNode::start().await;
    for path in ["/", "/update", "/update/", "/update/a/b", "/metrics", "/__version__", "/UPDATE/x"] {
        let answer = send(node.http, "PUT", path, "", b"").await;
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.header("content-type"), "application/json");
        let start = r#"{"code":404,"errno":null,"error":"Not Found","message":""#;
        assert!(answer.body.starts_with(start) && answer.body.contains("more_info"), "{}", answer.body);
    }
    node.stop().await;
}

#[tokio::test]
async fn load_balancers_are_answered_on_both_ports() {
    let node = TestNode::start().await;
    for port in [node.http, node.admin] {
        for (path, start) in [
            ("/status", r#"{"status":"OK","clients":0,"version":""#),
            ("/status/", r#"{"status":"OK","clients":0,"version":""#),
            ("/health", r#"{"status":"OK","#),
            ("/__lbheartbeat__", ""),
        ] {
            let answer = send(port, "GET", path, "", b"").await;
            assert_eq!(answer.status, 200, "{path}");
            assert!(answer.body.starts_with(start), "{path} {}", answer.body);
        }
    }
    let metrics = send(node.admin, "GET", "/metrics", "", b"").await.body;
    assert!(metrics.contains("beckon_endpoint_nodes 0"), "{metrics}");
    node.stop().await;
}

#[tokio::test]
async fn requests_are_counted_and_timed() {
    let node = TestNode::start().await;
    let path = node.register_offline(1).await;
    for form in ["version=1", "version=2", "version=x"] {
        node.put(&path, form).await;
    }
    let metrics = send(node.admin, "GET", "/metrics", "", b"").await.body;
    for line in [
        r#"beckon_endpoint_requests_total{dialect="simplepush",status="202"} 2"#,
        r#"beckon_endpoint_requests_total{dialect="simplepush",status="400"} 1"#,
        r#"beckon_endpoint_notifications_total{dialect="simplepush",outcome="offline"} 2"#,
        "beckon_endpoint_store_duration_seconds_count 2",
        "beckon_endpoint_delivery_duration_seconds_count 0",
    ] {
        assert!(metrics.lines().any(|got| got == line), "{line} in {metrics}");
    }
    node.stop().await;
}

/// Nobody asks for anything but the node itself, which reads the directory.
#[tokio::test]
async fn a_step_of_the_node_that_fails_is_counted() {
    let node = TestNode::start().await;
    let failed = async || {
        let metrics = send(node.admin, "GET", "/metrics", "", b"").await.body;
        let timeouts = r#"beckon_endpoint_steps_failed_total{cause="timeout"} "#;
        let line = metrics.lines().find_map(|line| line.strip_prefix(timeouts)).map(str::to_owned);
        line.expect("every cause is there").parse::<u64>().expect("a number")
    };
    assert_eq!(failed().await, 0);
    node.redis.pause();
    let counted = async {
        while failed().await == 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(Duration::from_secs(30), counted).await.expect("the announcement that failed is counted");
    node.redis.resume();
    node.stop().await;
}

#[tokio::test]
async fn without_a_store_nothing_is_accepted_until_it_is_back() {
    let node = TestNode::start().await;
    let path = node.register_offline(1).await;
    node.redis.pause();
    let (answer, health) =
        tokio::join!(node.put(&path, "version=1"), send(node.http, "GET", "/health", "", b""));
    assert_eq!((answer.status, answer.body.as_str()), (503, r#""Could not update channel version""#));
    assert_eq!(answer.header("retry-after"), "120");
    assert_cors(&answer);
    assert_eq!(health.status, 503);
    node.redis.resume();
    let back = async {
        while node.put(&path, "version=2").await.status != 202 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(20), back).await.expect("the store is used again");
    node.stop().await;
}

#[tokio::test]
async fn a_request_that_has_begun_is_answered_in_the_drain() {
    let node = TestNode::start().await;
    let path = node.register_offline(1).await;
    let mut stream = TcpStream::connect(node.http).await.unwrap();
    let head = format!("PUT {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n");
    // The interim response shows that the request has begun.
    assert_eq!(exchange(&mut stream, head.as_bytes()).await.status, 100);
    node.shutdown.request();
    let refused = async {
        while TcpStream::connect(node.http).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(5), refused).await.expect("no new connections are taken");
    assert_eq!(send(node.admin, "GET", "/__lbheartbeat__", "", b"").await.status, 503);
    stream.write_all(b"version=1").await.unwrap();
    assert_eq!(read_answer(&mut stream).await.status, 202);
    node.stop().await;
}

#[tokio::test]
async fn a_version_is_stored_before_the_answer() {
    let node = TestNode::start().await;
    let path = node.register_offline(1).await;
    for version in [5, 3, 4] {
        assert_eq!(put(node.http, &path, &format!("version={version}")).await.status, 202);
        assert_eq!(pending(&node).await, version);
    }
    let put = PutVersion {
        client: ClientId([1; 16]),
        channel: ChannelId([1; 16]),
        version: Version::new(1).unwrap(),
    };
    let stored = node.store.put_version(put).await.unwrap();
    assert!(matches!(stored, PutVersionOutcome::Stored { presence: None, .. }), "{stored:?}");
    node.stop().await;
}
