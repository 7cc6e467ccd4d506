//! HTTP-38 to HTTP-40, and the paths of section 1.3: what monitors and load balancers ask.

use beckon_cluster_tests::{shared::Profile, stage::Stage};
use beckon_conformance::parts::expect_status;
use beckon_testbed::{
    node::Node,
    plan::{Addresses, Plan, Shape},
    redis::RedisServer,
    until,
};
use http::{Method, Response};
use serde_json::{Value, json};

on_both_shapes![
    http_38_status_and_lbheartbeat_answer_without_the_store,
    http_39_health_tells_whether_the_store_is_there,
    http_40_version_and_metrics_can_be_read,
    unknown_paths_and_plain_requests_are_refused_as_documented,
];

type Answer = Response<bytes::Bytes>;

fn json_of(answer: &Answer) -> Value {
    assert_eq!(answer.headers()["content-type"], "application/json");
    serde_json::from_slice(answer.body()).unwrap()
}

/// The base URLs at which load balancers look, the admin listener first.
fn public(node: &Node) -> Vec<String> {
    let addresses = node.addresses();
    let all = [Some(addresses.admin), addresses.ws, addresses.http];
    all.into_iter().flatten().map(|address| format!("http://{address}")).collect()
}

fn admin(node: &Node) -> String {
    format!("http://{}", node.addresses().admin)
}

async fn http_38_status_and_lbheartbeat_answer_without_the_store(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    let _client = stage.registered().await;
    for node in stage.nodes() {
        for base in public(node) {
            expect_status(&stage, &base).await;
            let answer = stage.get(&format!("{base}/live")).await;
            let answered = (answer.status().as_u16(), answer.body().len());
            assert_eq!(answered, (200, 0), "{} {base}", node.name());
            let answer = stage.get(&format!("{base}/ready")).await;
            assert_eq!((answer.status().as_u16(), json_of(&answer)), (200, json!({"status": "OK"})));
        }
    }
    let first = stage.connection_nodes()[0];
    let clients = json_of(&stage.get(&format!("{}/status", admin(first))).await)["clients"].as_u64();
    assert!(clients >= Some(1), "{clients:?}");
}

async fn http_39_health_tells_whether_the_store_is_there(shape: Shape) {
    let mut redis = RedisServer::start();
    let stage = Stage::own(Plan::new(shape).store(redis.url()));
    let expect = async |is_ok: bool| {
        let (code, text) = if is_ok { (200, "OK") } else { (503, "ERROR") };
        for node in stage.nodes() {
            let mut urls: Vec<_> = public(node).iter().map(|base| format!("{base}/health")).collect();
            urls.push(format!("{}/__heartbeat__", admin(node)));
            for url in urls {
                // The answer of the store is remembered for a moment.
                let health = until(&format!("{code} from {url}"), async || {
                    let answer = stage.get(&url).await;
                    (answer.status() == code).then(|| json_of(&answer))
                })
                .await;
                assert_eq!((&health["status"], &health["storage"]["status"]), (&json!(text), &json!(text)));
                assert!(health["version"].is_string() && health["connections"].is_u64(), "{health}");
            }
            for path in ["/realstatus", "/realstatus/"] {
                let answer = stage.get(&format!("{}{path}", admin(node))).await;
                assert_eq!(answer.status(), code);
                let status = json_of(&answer);
                assert_eq!(status["ok"], is_ok, "{status}");
                assert_eq!(status["plugins"], json!([{"name": "storage", "ok": is_ok}]));
                for number in ["clientCount", "maxClients", "maxEndpointConns"] {
                    assert!(status[number].is_u64(), "{number} in {status}");
                }
                assert!(status["version"].is_string() && status["instance"].is_string(), "{status}");
            }
            // The process is as alive as before.
            for path in ["/live", "/__lbheartbeat__", "/status"] {
                assert_eq!(stage.get(&format!("{}{path}", admin(node))).await.status(), 200, "{path}");
            }
        }
    };
    expect(true).await;
    redis.kill();
    expect(false).await;
    redis.restart();
    expect(true).await;
}

async fn http_40_version_and_metrics_can_be_read(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    let client = stage.registered().await;
    assert_eq!(stage.put(&client.endpoint, 1).await, 200);
    for node in stage.nodes() {
        let version = json_of(&stage.get(&format!("{}/__version__", admin(node))).await);
        for member in ["source", "version", "commit", "build"] {
            assert!(version[member].is_string(), "{member} in {version}");
        }
        let program = match node.addresses() {
            Addresses { ws: Some(_), http: Some(_), .. } => "beckon",
            Addresses { ws: Some(_), .. } => "connection-node",
            _ => "endpoint-node",
        };
        assert_eq!(version["source"], program, "{}", node.name());
        for path in ["/metrics", "/metrics/"] {
            let answer = stage.get(&format!("{}{path}", admin(node))).await;
            assert_eq!(answer.status(), 200);
            let text = std::str::from_utf8(answer.body()).unwrap();
            expect_prometheus(text);
            assert!(text.contains(&format!("beckon_build_info{{program=\"{program}\",")), "{text}");
            for secret in [&client.uaid, &client.channel, client.endpoint.rsplit('/').next().unwrap()] {
                assert!(!text.contains(secret), "{secret} in the metrics of {}", node.name());
            }
        }
        // Not where the world looks.
        for base in &public(node)[1..] {
            for path in ["/metrics", "/__version__", "/realstatus"] {
                assert_eq!(stage.get(&format!("{base}{path}")).await.status(), 404, "{base}{path}");
            }
        }
    }
}

/// Every line is a comment or `name{labels} value`, and there are some of each.
fn expect_prometheus(text: &str) {
    let (comments, samples): (Vec<_>, Vec<_>) = text.lines().partition(|line| line.starts_with('#'));
    assert!(comments.iter().any(|line| line.starts_with("# HELP ")), "{text}");
    assert!(comments.iter().any(|line| line.starts_with("# TYPE ")), "{text}");
    assert!(!samples.is_empty(), "{text}");
    for sample in samples {
        let value = sample.rsplit(' ').next().unwrap();
        assert!(value.parse::<f64>().is_ok(), "{sample}");
        assert!(sample.starts_with(|first: char| first.is_ascii_lowercase()), "{sample}");
    }
}

async fn unknown_paths_and_plain_requests_are_refused_as_documented(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    for node in stage.nodes() {
        for base in public(node) {
            let answer = stage.get(&format!("{base}/no/such/path")).await;
            let error = json_of(&answer);
            assert_eq!(answer.status(), 404, "{} {base}", node.name());
            assert_eq!((&error["code"], &error["errno"]), (&json!(404), &Value::Null), "{error}");
            assert_eq!(error["error"], "Not Found");
            assert!(error["message"].is_string() && error["more_info"].is_string(), "{error}");
        }
        let answer = stage.get(&format!("{}/health?x=y", admin(node))).await;
        assert_eq!(answer.status(), 200);
    }
    for node in stage.connection_nodes() {
        let answer = stage.get(&format!("http://{}/", node.addresses().ws.unwrap())).await;
        assert_eq!(answer.status(), 426);
        assert_eq!(answer.headers()["upgrade"], "websocket");
    }
    let answer = stage.request(Method::POST, "http://x/status", &[], "").await;
    assert_eq!((answer.status().as_u16(), answer.headers().contains_key("allow")), (405, true));
}
