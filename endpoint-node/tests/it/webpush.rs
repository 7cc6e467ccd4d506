//! `POST /wpush/...`, byte by byte (PROTOCOL.md section 5).

use crate::{
    http_client::{Answer, exchange, send},
    test_node::{TestNode, connected_to},
};
use beckon_types::{ChannelId, ClientId, Endpoint, KeyHash, NodeId};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const KEY: KeyHash = KeyHash([5; 32]);

/// Checks the headers that every answer on a Web Push path has.
pub(crate) fn assert_cors(answer: &Answer, methods: &str) {
    let allowed = "Authorization, Content-Encoding, Content-Type, Crypto-Key, Encryption, TTL, Topic, Urgency, Prefer, \
         traceparent, tracestate";
    for (name, value) in [
        ("access-control-allow-origin", "*"),
        ("access-control-allow-methods", methods),
        ("access-control-allow-headers", allowed),
        ("access-control-expose-headers", "Location, TTL, Retry-After, WWW-Authenticate, X-Request-Id"),
        ("access-control-max-age", "3600"),
    ] {
        assert_eq!(answer.header(name), value, "{name} of {answer:?}");
    }
}

/// Checks the status and the whole body of PROTOCOL.md section 5.8, except for the wording of its message.
pub(crate) fn assert_error(answer: &Answer, status: u16, errno: Option<u16>) {
    assert_eq!(answer.header("content-type"), "application/json", "{answer:?}");
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    let reason = match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        410 => "Gone",
        413 => "Payload Too Large",
        429 => "Too Many Requests",
        503 => "Service Unavailable",
        other => panic!("no reason for {other}"),
    };
    let expected = json!({
        "code": status,
        "errno": errno,
        "error": reason,
        "message": body["message"].as_str().filter(|message| !message.is_empty()).unwrap(),
        "more_info": beckon_types::ERRORS_PAGE,
    });
    assert_eq!((answer.status, &body), (status, &expected), "{answer:?}");
}

fn assert_post_error(answer: &Answer, status: u16, errno: Option<u16>) {
    assert_error(answer, status, errno);
    assert_cors(answer, "POST, OPTIONS");
}

#[tokio::test]
async fn an_accepted_message_is_created() {
    let node = TestNode::start().await;
    let path = node.subscribe_offline(1).await;
    let short = path.replace("/v1/", "/");
    for (path, headers, body, ttl) in [
        (&path, "TTL: 0\r\n", "", "0"),
        (&path, "TTL: 60\r\nContent-Encoding: aes128gcm\r\n", "secret", "60"),
        (&short, "TTL: 60\r\nContent-Encoding: AES128GCM\r\n", "secret", "60"),
        (&path, "TTL: 60\r\nContent-Encoding: gzip\r\nEncryption: nonsense\r\n", "", "60"),
        (&path, "TTL: 99999999999\r\n", "", "2592000"),
        (&path, "TTL: 99999999999999999999999999\r\n", "", "2592000"),
        (&path, "TTL: 60\r\nTopic: A-z_09==\r\nUrgency: high\r\n", "", "60"),
        (&path, "TTL: 60\r\nUrgency: extreme\r\n", "", "60"),
        (&path, "TTL: 60\r\nPrefer: respond-async\r\nContent-Type: text/plain\r\n", "", "60"),
    ] {
        let answer = send(node.http, "POST", path, headers, body.as_bytes()).await;
        assert_eq!((answer.status, answer.body.as_str()), (201, ""), "{headers}{answer:?}");
        assert_eq!(answer.header("ttl"), ttl, "{headers}");
        let id = answer.header("location").strip_prefix("http://push.example.net/m/").unwrap();
        assert!(id.starts_with("m1.") && !id.contains('/'), "{id}");
        assert_eq!((answer.header("link"), answer.header("strict-transport-security")), ("", ""));
        assert_cors(&answer, "POST, OPTIONS");
    }
    node.stop().await;
}

#[tokio::test]
async fn the_answer_to_an_unusable_message_says_why() {
    let node = TestNode::start().await;
    let path = node.subscribe_offline(1).await;
    let topic = format!("TTL: 1\r\nTopic: {}\r\n", "a".repeat(33));
    let dh = "TTL: 1\r\nContent-Encoding: aesgcm\r\nCrypto-Key: dh=x\r\n";
    let salt = "TTL: 1\r\nContent-Encoding: aesgcm\r\nEncryption: salt=x\r\n";
    for (headers, body, errno) in [
        ("", "", Some(111)),
        ("TTL:\r\n", "", Some(111)),
        ("TTL: soon\r\n", "", Some(112)),
        ("TTL: 1.5\r\n", "", Some(112)),
        ("TTL: 1\r\nTTL: 1\r\n", "", Some(112)),
        ("TTL: \u{661}\r\n", "", Some(112)),
        ("TTL: -1\r\n", "", Some(114)),
        (&topic, "", Some(113)),
        ("TTL: 1\r\nTopic:\r\n", "", Some(113)),
        ("TTL: 1\r\nTopic: a+b\r\n", "", Some(113)),
        ("TTL: 1\r\nTopic: a b\r\n", "", Some(113)),
        ("TTL: 1\r\nTopic: a\r\nTopic: a\r\n", "", Some(113)),
        ("TTL: 1\r\nUrgency: high, low\r\n", "", None),
        ("TTL: 1\r\nUrgency: high\r\nUrgency: high\r\n", "", None),
        ("TTL: 1\r\n", "secret", Some(110)),
        ("TTL: 1\r\nContent-Encoding: gzip\r\n", "secret", Some(110)),
        ("TTL: 1\r\nContent-Encoding: aesgcm128\r\n", "secret", Some(110)),
        ("TTL: 1\r\nContent-Encoding: aes128gcm\r\nContent-Encoding: aesgcm\r\n", "secret", Some(110)),
        (dh, "secret", Some(110)),
        (salt, "secret", Some(110)),
        ("TTL: 1\r\nContent-Encoding: aes128gcm\r\nEncryption: salt=x\r\n", "secret", Some(110)),
        ("TTL: 1\r\nContent-Encoding: aes128gcm\r\nCrypto-Key: dh=x\r\n", "secret", Some(110)),
        ("TTL: 1\r\nContent-Encoding: aes128gcm\r\nEncryption: \u{e4}=x\r\n", "secret", Some(110)),
    ] {
        let answer = send(node.http, "POST", &path, headers, body.as_bytes()).await;
        assert_post_error(&answer, 400, errno);
    }
    assert_eq!(node.stored(1).await, []);
    node.stop().await;
}

#[tokio::test]
async fn the_first_failing_check_answers() {
    let node = TestNode::start().await;
    node.expect_other_nodes().await;
    let presence = connected_to(NodeId(1), 1);
    let open = node.subscribe(1, presence, None).await;
    let restricted = node.subscribe(2, presence, Some(KEY)).await;
    let altered = format!("{open}A");
    let (too_large, fits) = (vec![7; 5631], vec![7; 5630]);
    // Each request has one fault less than the one before.
    let urgency = "TTL: 1\r\nUrgency: a,b\r\n";
    let topic = &format!("Topic: a b\r\n{urgency}");
    let ttl = &topic.replace("TTL: 1", "TTL: soon");
    let vapid = &format!("Authorization: nonsense\r\n{ttl}");
    let no_ttl = &topic.replace("TTL: 1\r\n", "");
    for (method, path, headers, body, status, errno) in [
        ("GET", &altered, vapid.as_str(), &too_large, 405, None),
        ("POST", &altered, vapid, &too_large, 404, Some(102)),
        ("POST", &restricted, vapid, &too_large, 401, Some(109)),
        ("POST", &restricted, ttl, &too_large, 401, Some(109)),
        ("POST", &open, vapid, &too_large, 401, Some(109)),
        ("POST", &open, ttl, &too_large, 413, Some(104)),
        ("POST", &open, ttl, &fits, 400, Some(112)),
        ("POST", &open, no_ttl, &fits, 400, Some(111)),
        ("POST", &open, topic, &fits, 400, Some(113)),
        ("POST", &open, urgency, &fits, 400, None),
        ("POST", &open, "TTL: 1\r\n", &fits, 400, Some(110)),
    ] {
        let answer = send(node.http, method, path, headers, body).await;
        assert_post_error(&answer, status, errno);
    }
    let answer = send(node.http, "POST", &open, "TTL: 1\r\nContent-Encoding: aes128gcm\r\n", &fits).await;
    assert_eq!(answer.status, 201);
    node.stop().await;
}

#[tokio::test]
async fn a_gone_endpoint_answers_410_whatever_is_sent() {
    let node = TestNode::start().await;
    let presence = connected_to(NodeId(1), 1);
    let unregistered = node.subscribe(1, presence, None).await;
    node.store.remove_channel(ClientId([1; 16]), presence, ChannelId([1; 16])).await.unwrap().unwrap();
    let superseded = node.subscribe(2, presence, None).await;
    node.subscribe(2, presence, Some(KEY)).await;
    let unknown =
        Endpoint::WebPush { client: ClientId([3; 16]), channel: ChannelId([3; 16]), restricted: None };
    let deleted = unknown.path(&node.keys, node.keys.newest());
    let good = "TTL: 1\r\nContent-Encoding: aes128gcm\r\n";
    for (path, errno) in [(unregistered, 106), (superseded, 106), (deleted, 103)] {
        for (headers, body) in [
            (good, vec![7; 100]),
            ("TTL: 0\r\n", Vec::new()),
            (good, vec![7; 100_000]),
            ("", Vec::new()),
            ("TTL: 1\r\nTopic: a b\r\n", Vec::new()),
            ("TTL: 1\r\nUrgency: a,b\r\n", Vec::new()),
            ("TTL: 1\r\n", vec![7; 100]),
        ] {
            let answer = send(node.http, "POST", &path, headers, &body).await;
            assert_post_error(&answer, 410, Some(errno));
            assert_eq!(answer.header("cache-control"), "max-age=86400");
        }
    }
    node.stop().await;
}

#[tokio::test]
async fn other_endpoints_do_not_exist() {
    let node = TestNode::start().await;
    node.expect_other_nodes().await;
    let presence = connected_to(NodeId(1), 1);
    let open = node.subscribe(1, presence, None).await;
    let restricted = node.subscribe(2, presence, Some(KEY)).await;
    let simplepush = node.register(3, presence).await;
    let (_, token) = open.rsplit_once('/').unwrap();
    for path in [
        open.replace("/v1/", "/v2/"),
        open.replace("/v1/", "/v3/"),
        open.replace("/v1/", "/V1/"),
        open.replace("/v1/", "/v1/v1/"),
        format!("{open}/"),
        open[..open.len() - 1].to_owned(),
        restricted.replace("/v2/", "/v1/"),
        restricted.replace("/v2/", "/"),
        simplepush.replace("/update/", "/wpush/v1/"),
        simplepush.replace("/update/", "/wpush/"),
        "/wpush/v1/".to_owned(),
        "/wpush/v1".to_owned(),
        "/wpush/%20".to_owned(),
    ] {
        let answer = node.post(&path, "", b"secret").await;
        assert_post_error(&answer, 404, Some(102));
    }
    for path in ["/wpush", "/wpush/", "/WPUSH/v1/x", "/m", "/m/", "/m/a/b"] {
        let answer = send(node.http, "DELETE", path, "", b"").await;
        assert_error(&answer, 404, None);
    }
    let answer = node.put(&format!("/update/{token}"), "version=1").await;
    assert_eq!((answer.status, answer.body.as_str()), (404, r#""Invalid Token""#));
    node.stop().await;
}

#[tokio::test]
async fn other_methods_are_not_allowed() {
    let node = TestNode::start().await;
    for path in [&node.subscribe_offline(1).await, "/wpush/v1/unknown", "/wpush/v3/unknown"] {
        for method in ["GET", "PUT", "DELETE", "PATCH"] {
            let answer = send(node.http, method, path, "", b"secret").await;
            assert_post_error(&answer, 405, None);
            assert_eq!(answer.header("allow"), "POST, OPTIONS");
        }
        let answer = send(node.http, "OPTIONS", path, "", b"").await;
        assert_eq!((answer.status, answer.body.as_str()), (200, ""));
        assert_cors(&answer, "POST, OPTIONS");
    }
    node.stop().await;
}

#[tokio::test]
async fn the_operator_limits_the_body() {
    let node = TestNode::start_with(&[("BECKON_WP_MAX_DATA", "4096")]).await;
    let path = node.subscribe_offline(1).await;
    assert_eq!(node.post(&path, "", &[7; 4096]).await.status, 201);
    for len in [4097, 100_000, 1_000_000] {
        assert_post_error(&node.post(&path, "", &vec![7; len]).await, 413, Some(104));
    }
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\nTTL: 1\r\nContent-Encoding: aes128gcm\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let chunk = format!("800\r\n{}\r\n", "x".repeat(0x800));
    let mut stream = TcpStream::connect(node.http).await.unwrap();
    for (chunks, status) in [(1, 201), (2, 201), (3, 413), (2, 201)] {
        let request = format!("{head}{}0\r\n\r\n", chunk.repeat(chunks));
        assert_eq!(exchange(&mut stream, request.as_bytes()).await.status, status, "{chunks}");
    }
    assert_eq!(node.stored(1).await.len(), 4);
    node.stop().await;
}

#[tokio::test]
async fn a_body_declared_too_large_is_refused_before_it_is_sent() {
    let node = TestNode::start().await;
    node.expect_other_nodes().await;
    let path = node.subscribe_offline(1).await;
    for (path, status) in [(path.as_str(), 413), ("/wpush/v1/x", 404)] {
        let mut stream = TcpStream::connect(node.http).await.unwrap();
        let request =
            format!("POST {path} HTTP/1.1\r\nHost: a\r\nTTL: 1\r\nContent-Length: 100000000\r\n\r\n");
        assert_eq!(exchange(&mut stream, request.as_bytes()).await.status, status);
    }
    node.stop().await;
}

#[tokio::test]
async fn a_client_that_expects_100_continue_need_not_send_the_body() {
    let node = TestNode::start().await;
    node.expect_other_nodes().await;
    let head = "HTTP/1.1\r\nHost: a\r\nTTL: 1\r\nContent-Encoding: aes128gcm\r\nContent-Length: 6\r\nExpect: 100-continue\r\n\r\n";
    let mut refused = TcpStream::connect(node.http).await.unwrap();
    let answer = exchange(&mut refused, format!("POST /wpush/v1/x {head}").as_bytes()).await;
    assert_post_error(&answer, 404, Some(102));
    let path = node.subscribe_offline(1).await;
    let mut accepted = TcpStream::connect(node.http).await.unwrap();
    assert_eq!(exchange(&mut accepted, format!("POST {path} {head}").as_bytes()).await.status, 100);
    assert_eq!(exchange(&mut accepted, b"secret").await.status, 201);
    node.stop().await;
}

#[tokio::test]
async fn a_refused_client_that_is_still_sending_receives_the_answer() {
    let node = TestNode::start().await;
    node.expect_other_nodes().await;
    let mut stream = TcpStream::connect(node.http).await.unwrap();
    let head = b"POST /wpush/v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n";
    stream.write_all(head).await.unwrap();
    for _ in 0..100 {
        stream.write_all(&[7; 10_000]).await.unwrap();
    }
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 404");
    node.stop().await;
}

#[tokio::test]
async fn a_slow_body_is_answered_and_nothing_is_stored() {
    let node = TestNode::start_with(&[("BECKON_HTTP_BODY_TIMEOUT", "100ms")]).await;
    node.expect_other_nodes().await;
    let path = node.subscribe_offline(1).await;
    for (path, status) in [(path.as_str(), 408), ("/wpush/v1/x", 404)] {
        let mut stream = TcpStream::connect(node.http).await.unwrap();
        let request = format!("POST {path} HTTP/1.1\r\nHost: a\r\nTTL: 1\r\nContent-Length: 9\r\n\r\nsecret");
        let answer = exchange(&mut stream, request.as_bytes()).await;
        assert_post_error(&answer, status, (status == 404).then_some(102));
    }
    assert_eq!(node.stored(1).await, []);
    node.stop().await;
}

#[tokio::test]
async fn with_https_answers_have_hsts() {
    let node = TestNode::start_with(&[("BECKON_ENDPOINT_URL", "https://push.example.net")]).await;
    let path = node.subscribe_offline(1).await;
    let created = node.post(&path, "", b"secret").await;
    assert!(created.header("location").starts_with("https://push.example.net/m/m1."), "{created:?}");
    let refused = node.post("/wpush/v1/x", "", b"secret").await;
    let cancelled = send(node.http, "DELETE", "/m/x", "", b"").await;
    for answer in [created, refused, cancelled] {
        assert_eq!(answer.header("strict-transport-security"), "max-age=31536000", "{answer:?}");
    }
    node.stop().await;
}

#[tokio::test]
async fn requests_are_counted() {
    let node = TestNode::start().await;
    let path = node.subscribe_offline(1).await;
    for headers in ["TTL: 1\r\n", "TTL: 0\r\n", ""] {
        send(node.http, "POST", &path, headers, b"").await;
    }
    let metrics = send(node.admin, "GET", "/metrics", "", b"").await.body;
    for line in [
        r#"beckon_endpoint_requests_total{dialect="webpush",status="201"} 2"#,
        r#"beckon_endpoint_requests_total{dialect="webpush",status="400"} 1"#,
        r#"beckon_endpoint_notifications_total{dialect="webpush",outcome="offline"} 2"#,
        "beckon_endpoint_messages_dropped_total 1",
    ] {
        assert!(metrics.lines().any(|got| got == line), "{line} in {metrics}");
    }
    node.stop().await;
}

#[tokio::test]
async fn without_a_store_nothing_is_accepted_until_it_is_back() {
    let node = TestNode::start().await;
    let path = node.subscribe_offline(1).await;
    let url = node.post(&path, "", b"first").await.header("location").to_owned();
    let id = url.strip_prefix("http://push.example.net").unwrap();
    node.redis.pause();
    let (posted, cancelled, unusable) = tokio::join!(
        node.post(&path, "", b"second"),
        send(node.http, "DELETE", id, "", b""),
        send(node.http, "POST", &path, "", b""),
    );
    for (answer, methods) in [(posted, "POST, OPTIONS"), (cancelled, "DELETE, OPTIONS")] {
        assert_error(&answer, 503, Some(201));
        assert_eq!(answer.header("retry-after"), "120");
        assert_cors(&answer, methods);
    }
    assert_post_error(&unusable, 400, Some(111));
    node.redis.resume();
    let back = async {
        while node.post(&path, "", b"third").await.status != 201 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), back).await.expect("the store is used again");
    node.stop().await;
}
