//! What operators see of the whole cluster through any node, and what they do with its nodes: the API below the dashboard.

mod crowd;
mod numbers;

use beckon_cluster_tests::{
    bare,
    stage::{Registered, Stage},
};
use beckon_testbed::{
    node::Node,
    now,
    plan::{ADMIN_TOKEN, Plan, Shape},
    until,
};
use http::Method;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::AsyncReadExt as _;

/// The answer of a node to a request with the token.
async fn ask(stage: &Stage, method: Method, node: &Node, path: &str, body: Value) -> (u16, Value) {
    let url = format!("http://{}{path}", node.addresses().admin);
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = stage.ask(method, &url, body).await;
    (answer.status().as_u16(), serde_json::from_slice(answer.body()).unwrap_or_default())
}

async fn post(stage: &Stage, node: &Node, path: &str, body: Value) -> (u16, Value) {
    ask(stage, Method::POST, node, path, body).await
}

async fn get(stage: &Stage, node: &Node, path: &str) -> Value {
    let (status, answer) = ask(stage, Method::GET, node, path, Value::Null).await;
    assert_eq!(status, 200, "{path} of {}: {answer}", node.name());
    answer
}

async fn overview(stage: &Stage, node: &Node) -> Value {
    get(stage, node, "/api/cluster").await
}

/// A fleet whose nodes have names.
fn named(plan: Plan) -> Stage {
    let mut plan = plan;
    if plan.programs_mut().len() > 1 {
        for node in plan.programs_mut() {
            let name = node.name.clone();
            node.set("BECKON_NODE_NAME", &name);
        }
    }
    Stage::own(plan)
}

/// What the cluster calls a node.
fn known_as(stage: &Stage, node: &Node) -> String {
    if stage.nodes().len() == 1 { "standalone".into() } else { node.name().into() }
}

fn names(stage: &Stage) -> Vec<String> {
    stage.nodes().iter().map(|node| known_as(stage, node)).collect()
}

fn node_of<'a>(overview: &'a Value, name: &str) -> Option<&'a Value> {
    overview["nodes"].as_array()?.iter().find(|node| node["name"] == *name)
}

/// Waits until this node sees all nodes of the cluster in this state.
async fn until_all_are(stage: &Stage, node: &Node, state: &str) -> Value {
    let names = names(stage);
    until(&format!("{} sees all nodes", node.name()), async || {
        let overview = overview(stage, node).await;
        let is_there = |name: &String| node_of(&overview, name).is_some_and(|found| found["state"] == *state);
        names.iter().all(is_there).then_some(overview)
    })
    .await
}

/// A counter or a gauge of a node, added up over its labels.
async fn metric(stage: &Stage, node: &Node, name: &str, label: &str) -> f64 {
    let answer = stage.get(&format!("http://{}/metrics", node.addresses().admin)).await;
    let text = String::from_utf8(answer.into_body().to_vec()).unwrap();
    let of_name =
        text.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
    let values = of_name.filter(|line| line.contains(label)).filter_map(|line| line.rsplit_once(' '));
    values.map(|(_, value)| value.parse::<f64>().unwrap()).sum()
}

#[tokio::test]
async fn any_node_shows_all_nodes_and_what_their_metrics_say() {
    for shape in [Shape::Cluster, Shape::Standalone] {
        let stage = named(Plan::new(shape));
        let Registered { client: mut first, endpoint, channel, .. } = stage.registered().await;
        let _second = stage.registered().await;
        for version in 1..=5 {
            assert_eq!(stage.put(&endpoint, version).await, 200);
            first.expect_update(&channel, version).await;
        }
        for asked in stage.nodes() {
            let overview = until_all_are(&stage, asked, "ok").await;
            assert_eq!(overview["partial"], false, "{overview}");
            assert_eq!(overview["by"], known_as(&stage, asked));
            for node in stage.nodes() {
                let view = node_of(&overview, &known_as(&stage, node)).unwrap();
                assert_eq!((&view["phase"], &view["unready"]), (&json!("serving"), &json!("")), "{view}");
                assert_eq!(view["version"], env!("CARGO_PKG_VERSION"));
                for (figure, name, label) in [
                    ("accepted", "beckon_endpoint_notifications_total", ""),
                    ("delivered", "beckon_endpoint_notifications_total", "delivered"),
                    ("hellos", "beckon_hellos_total", "claimed"),
                    ("sent", "beckon_messages_sent_total", ""),
                    ("streams_closed", "beckon_endpoint_node_streams", "closed"),
                ] {
                    let expected = metric(&stage, node, name, label).await;
                    let shown = view["figures"][figure].as_f64().unwrap_or(0.0);
                    assert_eq!(shown, expected, "{figure} of {} in {view}", node.name());
                }
                let open = metric(&stage, node, "beckon_connections", "").await;
                assert_eq!(view["sockets"].as_f64(), Some(open), "{view}");
            }
        }
    }
}

#[tokio::test]
async fn rates_follow_from_two_readings() {
    let stage = named(Plan::new(Shape::Cluster));
    let Registered { client: mut device, endpoint, channel, .. } = stage.registered().await;
    let node = stage.node("e0");
    until_all_are(&stage, node, "ok").await;
    let mut version = 0;
    let point = until("a point has what happened", async || {
        version += 1;
        assert_eq!(stage.put(&endpoint, version).await, 200);
        device.expect_update(&channel, version).await;
        device.ack(&channel, version).await;
        let overview = overview(&stage, node).await;
        let points = overview["history"].as_array().unwrap().clone();
        points.into_iter().find(|point| point["quantiles"]["ack"].is_object())
    })
    .await;
    assert!(point["rates"]["accepted"].as_f64().unwrap() > 0.0, "{point}");
    assert!(point["quantiles"]["request"]["p99"].as_f64().unwrap() > 0.0, "{point}");
    assert_eq!(point["sockets"], 1, "{point}");
    // Only what is newer is sent again.
    let since = overview(&stage, node).await["at_ms"].as_u64().unwrap();
    let rest = get(&stage, node, &format!("/api/cluster?since={since}")).await;
    assert!(rest["history"].as_array().unwrap().len() <= 1, "{rest}");
}

#[tokio::test]
async fn a_node_that_hangs_is_marked_and_holds_nothing_up() {
    let stage = named(Plan::new(Shape::Cluster));
    for (asked, hanging) in [("c0", "c1"), ("e0", "c0"), ("c0", "e1"), ("e0", "e1")] {
        let (asked, hanging) = (stage.node(asked), stage.node(hanging));
        until_all_are(&stage, asked, "ok").await;
        let name = known_as(&stage, hanging);
        hanging.pause();
        // Its lease is valid for ten seconds, so the directory has it.
        let overview = until("the node is marked", async || {
            let begun = now();
            let overview = overview(&stage, asked).await;
            assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
            (node_of(&overview, &name)?["state"] == "silent").then_some(overview)
        })
        .await;
        assert_eq!(overview["partial"], true, "{overview}");
        let states = names(&stage).into_iter().filter(|other| *other != name);
        for other in states {
            assert_eq!(node_of(&overview, &other).unwrap()["state"], "ok", "{other} in {overview}");
        }
        let view = node_of(&overview, &name).unwrap();
        assert!(view["failure"].is_string() && view["age_ms"].is_u64(), "{view}");
        let (status, answer) = post(&stage, asked, "/api/nodes/drain", json!({ "node": name })).await;
        assert_eq!(status, 504, "{answer}");
        hanging.resume();
        // It may have been asked, and do it late: that is what 504 says.
        until("the node answers", async || {
            let (status, _) = post(&stage, asked, "/api/nodes/undrain", json!({ "node": name })).await;
            (status == 200).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn any_node_drains_and_sheds_any_other() {
    let stage = named(Plan::new(Shape::Cluster).all("BECKON_DRAIN_DELAY", "60s"));
    for asked in ["c0", "e0"] {
        let asked = stage.node(asked);
        until_all_are(&stage, asked, "ok").await;
        for node in stage.nodes() {
            let name = known_as(&stage, node);
            let (status, answer) = post(&stage, asked, "/api/nodes/drain", json!({ "node": name })).await;
            assert_eq!(status, 200, "{answer}");
            assert!(!node.is_ready(), "{} drains", node.name());
            let view = until("the phase is shown", async || {
                let overview = overview(&stage, asked).await;
                node_of(&overview, &name).filter(|view| view["phase"] == "leaving").cloned()
            })
            .await;
            assert_eq!(view["unready"], "draining", "{view}");
            let id = view["id"].as_str().unwrap();
            assert_eq!(post(&stage, asked, "/api/nodes/undrain", json!({ "node": id })).await.0, 200);
            assert!(node.is_ready(), "{} serves", node.name());
        }
        let mut client = Stage::client_of(stage.node("c1")).await;
        client.hello().await;
        let name = known_as(&stage, stage.node("c1"));
        let (status, answer) =
            post(&stage, asked, "/api/nodes/shed", json!({ "node": name, "share": 1.0 })).await;
        assert_eq!((status, &answer["sockets"]), (200, &json!(1)), "{answer}");
        client.expect_close(1001).await;
        for (node, body, expected) in [
            (&*name, json!({ "share": 1.5 }), 400),
            (&*name, json!({}), 400),
            ("nobody", json!({ "count": 1 }), 404),
            (&*known_as(&stage, stage.node("e1")), json!({ "count": 1 }), 409),
        ] {
            let mut body = body;
            body["node"] = node.into();
            assert_eq!(post(&stage, asked, "/api/nodes/shed", body.clone()).await.0, expected, "{body}");
        }
        let audit = get(&stage, stage.node("c1"), "/api/audit").await;
        assert_eq!(audit["silent"], 0);
        let shed = format!("shed 1 of {name}");
        let lines = audit["lines"].as_array().unwrap();
        let line = lines.iter().find(|line| line["change"] == *shed && line["status"] == 200);
        assert_eq!(line.unwrap()["operator"], "admin_token", "any node shows what was done through another");
    }
}

#[tokio::test]
async fn an_endpoint_node_is_reached_again_after_the_node_that_it_attends_at_was_killed() {
    let stage = named(Plan::new(Shape::Cluster));
    until_all_are(&stage, stage.node("c0"), "ok").await;
    stage.node("c0").kill();
    stage.node("c0").start();
    for asked in ["c0", "e0"] {
        until_all_are(&stage, stage.node(asked), "ok").await;
    }
}

#[tokio::test]
async fn broadcasts_are_set_through_any_node() {
    for shape in [Shape::Cluster, Shape::Standalone] {
        let stage = named(Plan::new(shape));
        for node in stage.nodes() {
            let set = json!({ "id": "news/\"main\"", "version": node.name() });
            assert_eq!(post(&stage, node, "/api/broadcasts/set", set).await.0, 200);
            for other in stage.nodes() {
                let listed = get(&stage, other, "/api/broadcasts").await;
                assert_eq!(listed["broadcasts"]["news/\"main\""], *node.name(), "{listed}");
            }
        }
        let node = &stage.nodes()[0];
        let id = json!({ "id": "news/\"main\"" });
        assert_eq!(post(&stage, node, "/api/broadcasts/remove", id.clone()).await.0, 200);
        assert_eq!(post(&stage, node, "/api/broadcasts/remove", id).await.0, 404);
        assert_eq!(
            post(&stage, node, "/api/broadcasts/set", json!({ "id": "a b", "version": "1" })).await.0,
            400
        );
    }
}

/// The head and the body of the answer to a request with these header lines, each ended by CRLF.
async fn raw(node: &Node, request: &str, headers: &str, body: &str) -> (String, String) {
    let admin = node.addresses().admin;
    let length = body.len();
    let request = format!(
        "{request} HTTP/1.1\r\nHost: {admin}\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n{body}"
    );
    let (head, mut rest) = bare::request(admin, &request).await;
    let mut answer = String::new();
    rest.read_to_string(&mut answer).await.unwrap();
    (head, answer)
}

fn status(head: &str) -> u16 {
    head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
}

#[tokio::test]
async fn a_session_takes_the_place_of_the_token_for_a_while_and_on_every_node() {
    let alice = "token-of-alice-0123456789";
    let tokens = format!("{ADMIN_TOKEN},alice:{alice}");
    let plan = Plan::new(Shape::Cluster);
    let stage = named(plan.all("BECKON_ADMIN_TOKEN", &tokens).all("BECKON_ADMIN_SESSION", "15s"));
    let node = stage.node("c0");
    let origin = format!("Origin: http://{}\r\n", node.addresses().admin);
    let begun = now();
    let wrong = raw(node, "POST /api/session", &origin, r#"{"token":"token-of-nobody-0123456789"}"#).await;
    assert_eq!(status(&wrong.0), 401);
    let body = format!(r#"{{"token":"{alice}"}}"#);
    let foreign = raw(node, "POST /api/session", "Origin: http://evil.example\r\n", &body).await;
    assert_eq!(status(&foreign.0), 403);
    let (head, answer) = raw(node, "POST /api/session", &origin, &body).await;
    assert_eq!(status(&head), 200, "{head}");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["operator"], "alice");
    let set = head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    for part in ["HttpOnly", "SameSite=Strict", "Max-Age=15", "Path=/api/"] {
        assert!(set.contains(part), "{set}");
    }
    assert!(!set.contains(alice));
    let cookie = format!("Cookie: {}\r\n", set.split(';').next().unwrap());
    for node in stage.nodes() {
        let own = format!("Origin: http://{}\r\n", node.addresses().admin);
        let with = async |request: &str, headers: String| status(&raw(node, request, &headers, "{}").await.0);
        assert_eq!(with("GET /api/cluster", cookie.clone()).await, 200, "{}", node.name());
        assert_eq!(with("GET /api/cluster", String::new()).await, 401, "also from the same host");
        for (headers, expected) in [
            // The body lacks the node, so nothing is done.
            (cookie.clone() + &own, 400),
            (cookie.clone(), 403),
            (cookie.clone() + "Origin: http://evil.example\r\n", 403),
            (cookie.clone() + &own + "Sec-Fetch-Site: same-site\r\n", 403),
            (own.clone(), 401),
        ] {
            assert_eq!(with("POST /api/nodes/drain", headers.clone()).await, expected, "{headers}");
        }
        assert_eq!(with("POST /drain", cookie.clone() + &own).await, 401, "the token is needed elsewhere");
    }
    assert!(begun.elapsed() < Duration::from_secs(15), "the machine is too slow for this test");
    until("the session ends", async || {
        let (head, body) = raw(node, "GET /api/cluster", &cookie, "").await;
        (status(&head) == 401).then(|| assert!(!body.contains("nodes"), "{body}"))
    })
    .await;
    let out = raw(node, "DELETE /api/session", &(cookie + &origin), "").await;
    assert_eq!(status(&out.0), 401, "it has ended");
    let log = node.log();
    assert!(log.contains(r#""operator":"alice""#) && !log.contains(alice), "{log}");
}

#[tokio::test]
async fn the_files_of_the_page_are_for_everybody_and_say_nothing() {
    let stage = named(Plan::new(Shape::Cluster));
    for node in stage.nodes() {
        let (head, page) = raw(node, "GET /dashboard/", "X-Forwarded-For: 192.0.2.1\r\n", "").await;
        assert_eq!(status(&head), 200);
        assert!(head.contains("content-security-policy: default-src 'none'; script-src 'self'"), "{head}");
        assert!(!head.contains("unsafe") && head.contains("x-frame-options: DENY"), "{head}");
        assert!(!page.contains("<script>") && !page.contains("style=") && !page.contains("onclick"));
        for file in page.split('"').filter(|part| part.starts_with("/dashboard/")) {
            assert_eq!(status(&raw(node, &format!("GET {file}"), "", "").await.0), 200, "{file}");
        }
        assert_eq!(status(&raw(node, "GET /dashboard", "", "").await.0), 308);
        assert_eq!(status(&raw(node, "GET /dashboard/nothing", "", "").await.0), 404);
    }
}
