//! The health paths of PROTOCOL.md section 6, over a real socket.

use crate::wire::{self, Answer};
use beckon_node::{
    access::Access,
    admin::{Admin, Audience, StorageCheck, Vitals},
    drain::Drain,
    guard::Guard,
    routes::Route,
};
use beckon_ops::{
    clock::Clock,
    listener, metrics,
    program::Build,
    shutdown::Shutdown,
    stage::{Stage, Stopped},
};
use hyper::{Method, Response, StatusCode, body::Bytes};
use serde_json::json;
use std::{
    future::pending,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use warp::Filter as _;

const BUILD: Build =
    Build { source: "https://example.net/beckon", version: "1.2.3", commit: "abc", build: "today" };

/// A node whose state a test sets.
#[derive(Debug, Default)]
struct Node {
    full: AtomicBool,
    storage_fails: AtomicBool,
    /// Some of it answers even if it fails.
    storage_is_partial: AtomicBool,
    storage_hangs: AtomicBool,
    storage_checks: AtomicU64,
}

impl Vitals for Node {
    fn clients(&self) -> u64 {
        if self.full.load(Ordering::SeqCst) { 1000 } else { 12 }
    }

    fn clients_max(&self) -> u64 {
        1000
    }

    fn endpoint_connections_max(&self) -> u64 {
        500
    }

    fn instance(&self) -> &str {
        "node-a"
    }

    fn reach_store(&self) -> StorageCheck<'_> {
        let reaches =
            !self.storage_fails.load(Ordering::SeqCst) || self.storage_is_partial.load(Ordering::SeqCst);
        Box::pin(async move { if reaches { Ok(()) } else { Err("refused".to_owned()) } })
    }

    fn check_store(&self) -> StorageCheck<'_> {
        Box::pin(async {
            self.storage_checks.fetch_add(1, Ordering::SeqCst);
            if self.storage_hangs.load(Ordering::SeqCst) {
                pending::<()>().await;
            }
            if self.storage_fails.load(Ordering::SeqCst) { Err("refused".to_owned()) } else { Ok(()) }
        })
    }
}

fn admin() -> (Arc<Node>, Arc<Admin>, Shutdown) {
    let node = Arc::new(Node::default());
    let shutdown = Shutdown::new();
    let drain = Drain::new(&shutdown, Duration::ZERO);
    let registry = metrics::registry("test", "1.2.3", "abc");
    (node.clone(), Arc::new(Admin::new(node, drain, BUILD, registry, Clock::start())), shutdown)
}

/// Admits [`wire::TOKEN`].
fn guard() -> Arc<Guard> {
    let access = Access { operators: wire::TOKEN.parse().unwrap(), ..Access::default() };
    Arc::new(Guard::new(access, Clock::start(), &mut metrics::registry("test", "1.2.3", "abc")))
}

/// Runs the admin listener for one test.
async fn served<T>(test: impl AsyncFnOnce(SocketAddr, &Node, &Shutdown) -> T) -> T {
    let (node, admin, shutdown) = admin();
    let stage = Stage::new(&Shutdown::new(), "admin");
    let listener = listener::bind("admin_listen", ([127, 0, 0, 1], 0).into()).unwrap();
    let address = listener.local_addr().unwrap();
    let none = warp::any().and_then(async || Err::<Response<Bytes>, _>(warp::reject::not_found()));
    stage.spawn(admin.serve_with(listener, guard(), none, Vec::new(), stage.clone()));
    let result = test(address, &node, &shutdown).await;
    assert_eq!(stage.stop(Duration::from_secs(10)).await, Stopped::Complete);
    result
}

async fn get(address: SocketAddr, path: &str) -> Answer {
    let answer = wire::request(address, "GET", path).await;
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
    answer
}

#[tokio::test]
async fn a_healthy_node_answers_every_path() {
    served(async |address, _, _| {
        let health =
            json!({"status": "OK", "version": "1.2.3", "connections": 12, "storage": {"status": "OK"}});
        let real = json!({
            "ok": true, "clientCount": 12, "maxClients": 1000, "maxEndpointConns": 500,
            "plugins": [{"name": "storage", "ok": true}], "version": "1.2.3", "instance": "node-a"
        });
        let version = json!({
            "source": "https://example.net/beckon", "version": "1.2.3", "commit": "abc", "build": "today"
        });
        let status = json!({"status": "OK", "clients": 12, "version": "1.2.3"});
        for (path, expected) in [
            ("/status", &status),
            ("/status/", &status),
            ("/health", &health),
            ("/__heartbeat__", &health),
            ("/realstatus", &real),
            ("/realstatus/", &real),
            ("/__version__", &version),
        ] {
            let answer = get(address, path).await;
            assert_eq!((answer.status, &answer.json()), (200, expected), "{path}");
            assert_eq!(answer.header("content-type"), Some("application/json"), "{path}");
        }
        let answer = get(address, "/__lbheartbeat__").await;
        assert_eq!((answer.status, answer.body.as_str()), (200, ""));
        for path in ["/metrics", "/metrics/"] {
            let answer = get(address, path).await;
            assert_eq!(answer.status, 200);
            assert!(answer.body.contains("beckon_build_info{"), "{}", answer.body);
            assert!(answer.body.ends_with("# EOF\n"), "{}", answer.body);
        }
    })
    .await;
}

#[tokio::test]
async fn paths_that_a_node_adds_take_precedence() {
    let (_, admin, _) = admin();
    let added = warp::path!("more").or(warp::path!("status")).unify();
    let added = added.map(|| beckon_node::admin::json(StatusCode::OK, &"added"));
    let stage = Stage::new(&Shutdown::new(), "admin");
    let listener = listener::bind("admin_listen", ([127, 0, 0, 1], 0).into()).unwrap();
    let address = listener.local_addr().unwrap();
    const ROUTES: &[Route] = &[Route::new("GET, HEAD", "/more")];
    stage.spawn(admin.serve_with(listener, guard(), added, vec![ROUTES], stage.clone()));
    for (path, status, body) in
        [("/more", 200, "\"added\""), ("/status", 200, "\"added\""), ("/__lbheartbeat__", 200, "")]
    {
        let answer = get(address, path).await;
        assert_eq!((answer.status, answer.body.as_str()), (status, body), "{path}");
    }
    assert_eq!(get(address, "/more/there").await.status, 404);
    assert_eq!(stage.stop(Duration::from_secs(10)).await, Stopped::Complete);
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    served(async |address, _, _| {
        for path in ["/status", "/health", "/__version__", "/metrics", "/nowhere"] {
            let (get, head) = (get(address, path).await, wire::request(address, "HEAD", path).await);
            assert_eq!(head.status, get.status, "{path}");
            assert_eq!(head.body, "", "{path}");
            assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_failing_store_fails_the_health_check_but_not_the_status() {
    served(async |address, node, _| {
        node.storage_fails.store(true, Ordering::SeqCst);
        let health = get(address, "/health").await;
        assert_eq!(health.status, 503);
        let expected =
            json!({"status": "ERROR", "version": "1.2.3", "connections": 12, "storage": {"status": "ERROR"}});
        assert_eq!(health.json(), expected);
        let real = get(address, "/realstatus").await;
        assert_eq!((real.status, &real.json()["ok"]), (503, &json!(false)));
        assert_eq!(real.json()["plugins"][0]["ok"], false);
        assert_eq!(get(address, "/status").await.status, 200);
        assert_eq!(get(address, "/__lbheartbeat__").await.status, 200);
    })
    .await;
}

#[tokio::test]
async fn a_draining_node_sends_load_balancers_away_until_the_drain_is_taken_back() {
    served(async |address, _, shutdown| {
        let post = async |path| wire::request(address, "POST", path).await;
        assert_eq!(get(address, "/drain").await.json(), json!({"phase": "serving", "clients": 12}));
        for _ in 0..2 {
            let state = post("/drain").await;
            assert_eq!((state.status, state.json()), (200, json!({"phase": "leaving", "clients": 12})));
        }
        let answer = get(address, "/__lbheartbeat__").await;
        assert_eq!((answer.status, answer.body.as_str()), (503, ""));
        let ready = get(address, "/ready").await;
        assert_eq!((ready.status, ready.json()), (503, json!({"status": "ERROR", "reason": "draining"})));
        assert_eq!(get(address, "/status").await.status, 200);
        assert_eq!(get(address, "/live").await.status, 200);
        assert!(get(address, "/metrics").await.body.contains("# EOF"));
        let state = post("/undrain").await;
        assert_eq!((state.status, state.json()), (200, json!({"phase": "serving", "clients": 12})));
        let ready = get(address, "/ready").await;
        assert_eq!((ready.status, ready.json()), (200, json!({"status": "OK"})));
        assert_eq!(get(address, "/__lbheartbeat__").await.status, 200);
        shutdown.request();
        assert_eq!(get(address, "/ready").await.status, 503);
        assert_eq!(post("/undrain").await.status, 409);
        for (method, path, allowed) in [("GET", "/undrain", "POST"), ("PUT", "/drain", "GET, HEAD, POST")] {
            let answer = wire::request(address, method, path).await;
            assert_eq!((answer.status, answer.header("allow")), (405, Some(allowed)), "{method} {path}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_full_node_is_not_ready_and_keeps_its_place_in_the_balancer() {
    served(async |address, node, _| {
        node.full.store(true, Ordering::SeqCst);
        let ready = get(address, "/ready").await;
        assert_eq!((ready.status, ready.json()), (503, json!({"status": "ERROR", "reason": "full"})));
        for path in ["/live", "/__lbheartbeat__", "/status"] {
            assert_eq!(get(address, path).await.status, 200, "{path}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_node_without_its_store_stays_ready_for_a_while() {
    served(async |address, node, _| {
        node.storage_fails.store(true, Ordering::SeqCst);
        assert_eq!(get(address, "/ready").await.status, 200);
        let limit = beckon_node::admin::STORE_AWAY_MAX + Duration::from_secs(5);
        let reason = tokio::time::timeout(limit, async {
            loop {
                let ready = get(address, "/ready").await;
                if ready.status == 503 {
                    return ready.json();
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        });
        assert_eq!(reason.await.expect("not ready in time"), json!({"status": "ERROR", "reason": "store"}));
        for path in ["/live", "/__lbheartbeat__", "/status"] {
            assert_eq!(get(address, path).await.status, 200, "{path}");
        }
        node.storage_is_partial.store(true, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(1100)).await;
        assert_eq!(get(address, "/ready").await.status, 200);
        assert_eq!(get(address, "/health").await.status, 503);
    })
    .await;
}

#[tokio::test]
async fn other_methods_and_paths_are_refused_in_json() {
    served(async |address, _, _| {
        for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
            let answer = wire::request(address, method, "/status").await;
            assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{method}");
            assert_eq!(answer.json()["code"], 405);
        }
        for path in ["/", "/nowhere", "/health/", "/status/x", "/__version__/"] {
            let answer = get(address, path).await;
            assert_eq!(answer.status, 404, "{path}");
            let expected = json!({
                "code": 404, "errno": null, "error": "Not Found", "message": "There is nothing at this path",
                "more_info": beckon_types::ERRORS_PAGE
            });
            assert_eq!(answer.json(), expected, "{path}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_public_listener_has_only_what_load_balancers_need() {
    let (_node, admin, _) = admin();
    for (path, public) in [
        ("/status", true),
        ("/status/", true),
        ("/health", true),
        ("/__lbheartbeat__", true),
        ("/__heartbeat__", false),
        ("/realstatus", false),
        ("/__version__", false),
        ("/metrics", false),
        ("/", false),
    ] {
        let answer = admin.answer(Audience::Public, &Method::GET, path).await;
        assert_eq!(answer.is_some(), public, "{path}");
    }
    let refused = admin.answer(Audience::Public, &Method::POST, "/status").await.unwrap();
    assert_eq!(refused.status(), 405);
}

#[tokio::test(start_paused = true)]
async fn many_requests_at_once_ask_the_store_once() {
    let (node, admin, _) = admin();
    let health = async || admin.answer(Audience::Public, &Method::GET, "/health").await.unwrap().status();
    let (first, second) = tokio::join!(health(), health());
    assert_eq!((first.as_u16(), second.as_u16()), (200, 200));
    assert_eq!(node.storage_checks.load(Ordering::SeqCst), 1);

    node.storage_fails.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(health().await.as_u16(), 503);
    assert_eq!(node.storage_checks.load(Ordering::SeqCst), 2);

    node.storage_fails.store(false, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(health().await.as_u16(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_counts_as_down_after_two_seconds() {
    let (node, admin, _) = admin();
    node.storage_hangs.store(true, Ordering::SeqCst);
    let clock = Clock::start();
    let answer = admin.answer(Audience::Public, &Method::GET, "/health").await.unwrap();
    assert_eq!(answer.status(), 503);
    assert_eq!(clock.now_ms(), 2000);
}
