//! What operators see of one client, and what they take from it: SP-52 and WP-41.

use beckon_cluster_tests::{
    stage::{Registered, Stage},
    webpush::{Client, Subscribed, expect_hello_reply},
};
use beckon_testbed::{
    node::Node,
    plan::{Plan, Shape},
    until,
};
use http::Method;
use serde_json::{Value, json};

on_both_shapes![sp_52_a_client_is_blocked_and_forgotten, wp_41_a_client_is_blocked_and_forgotten];

/// The answer of a node to a verb on a client.
async fn ask(stage: &Stage, node: &Node, verb: &str, named: Value) -> (u16, Value) {
    let url = format!("http://{}/api/client/{verb}", node.addresses().admin);
    let answer = stage.ask(Method::POST, &url, named.to_string()).await;
    (answer.status().as_u16(), serde_json::from_slice(answer.body()).unwrap_or_default())
}

pub(crate) async fn done(stage: &Stage, node: &Node, verb: &str, named: Value) -> Value {
    let (status, answer) = ask(stage, node, verb, named).await;
    assert_eq!(status, 200, "{verb} at {}: {answer}", node.name());
    answer
}

/// A node that knows UAIDs.
fn knowing(stage: &Stage) -> &Node {
    stage.connection_nodes()[0]
}

async fn sp_52_a_client_is_blocked_and_forgotten(shape: Shape) {
    let stage = Stage::own(Plan::new(shape));
    let node = knowing(&stage);
    for (verb, is_blocked) in [("forget", false), ("block", true)] {
        let Registered { mut client, uaid, endpoint, .. } = stage.registered().await;
        let revoked = done(&stage, node, verb, json!({ "uaid": uaid })).await;
        assert_eq!(revoked["changed"], true, "{revoked}");
        assert_eq!(revoked["state"], if is_blocked { "blocked" } else { "unknown" });
        client.expect_close(1000).await;
        assert_eq!(stage.put(&endpoint, 1).await, 410);
        if is_blocked {
            let mut client = stage.connect().await;
            client.send(&json!({"messageType": "hello", "uaid": uaid, "channelIDs": []})).await;
            client.expect_close(1008).await;
            let again = done(&stage, node, "block", json!({ "uaid": uaid })).await;
            assert_eq!(again["changed"], false, "{again}");
            assert_eq!(ask(&stage, node, "test", json!({ "uaid": uaid })).await.0, 409);
            let unblocked = done(&stage, node, "unblock", json!({ "uaid": uaid })).await;
            assert_eq!((&unblocked["changed"], &unblocked["state"]), (&json!(true), &json!("unknown")));
        }
        let mut client = stage.connect().await;
        assert_eq!(client.hello_as(&uaid, &[]).await, uaid, "it is adopted again");
        assert_eq!(stage.put(&endpoint, 2).await, 410, "its channels are gone");
    }
}

async fn wp_41_a_client_is_blocked_and_forgotten(shape: Shape) {
    let stage = Stage::own(Plan::new(shape));
    let node = knowing(&stage);
    for (verb, is_blocked) in [("forget", false), ("block", true)] {
        let Subscribed { mut client, uaid, endpoint, .. } = stage.subscribed().await;
        done(&stage, node, verb, json!({ "endpoint": endpoint })).await;
        client.expect_close(1000).await;
        let posted = stage.post(&endpoint, &[("ttl", "60")], "x").await;
        assert_eq!(posted.status(), 410);
        let hello = json!({"messageType": "hello", "use_webpush": true, "uaid": uaid});
        let mut client: Client = stage.connect_webpush().await;
        if is_blocked {
            client.send(&hello).await;
            client.expect_close(1008).await;
        } else {
            let reply = client.ask(&hello).await;
            expect_hello_reply(&reply);
            assert_ne!(reply["uaid"], *uaid);
        }
    }
}

#[tokio::test]
async fn a_client_is_found_tested_and_disconnected_through_any_node() {
    for shape in [Shape::Cluster, Shape::Standalone] {
        let stage = Stage::own(Plan::new(shape));
        let Registered { mut client, uaid, channel, endpoint } = stage.registered().await;
        for node in stage.nodes() {
            let named = json!({ "endpoint": endpoint });
            let view = done(&stage, node, "find", named.clone()).await;
            assert_eq!((&view["state"], &view["stored"]["channels"]), (&json!("connected"), &json!(1)));
            assert!(view["socket"]["open_s"].is_u64(), "{view}");
            assert!(!view.to_string().contains(&uaid), "a UAID is a secret");
            // The id that the answer has finds it, too.
            let same = done(&stage, node, "find", json!({ "client": view["client"] })).await;
            assert_eq!(same["state"], "connected");
            let knows_uaids = node.addresses().ws.is_some();
            let expected = if knows_uaids { 200 } else { 409 };
            assert_eq!(ask(&stage, node, "find", json!({ "uaid": uaid })).await.0, expected);
            let device = async {
                let version = client.updates().await[0]["version"].as_u64().unwrap();
                client.ack(&channel, version).await;
            };
            let (test, ()) = tokio::join!(done(&stage, node, "test", named.clone()), device);
            assert!(test["test"]["acknowledged_ms"].is_u64(), "{test}");
            done(&stage, node, "disconnect", named.clone()).await;
            client.expect_close(1001).await;
            until("it is offline", async || {
                let view = done(&stage, node, "find", named.clone()).await;
                (view["state"] == "offline").then_some(())
            })
            .await;
            assert_eq!(ask(&stage, node, "disconnect", named.clone()).await.0, 409);
            let waiting = done(&stage, node, "test", named).await;
            assert_eq!(
                (&waiting["test"]["acknowledged_ms"], &waiting["stored"]["pending"]),
                (&Value::Null, &json!(1))
            );
            client = stage.connect().await;
            client.resume(&uaid, &[&channel]).await;
            let version = client.updates().await[0]["version"].as_u64().unwrap();
            client.ack(&channel, version).await;
        }
        let log: String = stage.nodes().iter().map(Node::log).collect();
        assert!(log.contains("disconnect client") && !log.contains(&uaid) && !log.contains(&endpoint));
    }
}

#[tokio::test]
async fn a_web_push_client_is_tested_although_its_channel_is_restricted() {
    let stage = Stage::own(Plan::new(Shape::Cluster));
    let signer = beckon_cluster_tests::webpush::new_signer();
    let Subscribed { mut client, channel, endpoint, .. } = stage.subscribed_for(&signer).await;
    for named in ["endpoint", "client"] {
        let view = done(&stage, stage.node("e0"), "find", json!({ "endpoint": endpoint })).await;
        let named = if named == "endpoint" {
            json!({ "endpoint": endpoint })
        } else {
            json!({ "client": view["client"] })
        };
        let device = async {
            let notification = client.notification().await;
            client.ack(&channel, notification["version"].as_str().unwrap()).await;
        };
        let (test, ()) = tokio::join!(done(&stage, stage.node("e0"), "test", named), device);
        assert!(test["test"]["acknowledged_ms"].is_u64(), "{test}");
    }
}

#[tokio::test]
async fn what_does_not_name_a_client_is_refused() {
    let stage = Stage::own(Plan::new(Shape::Cluster));
    let node = knowing(&stage);
    let nobody = "00000000000000000000000000000000";
    for (named, expected) in [
        (json!({}), 400),
        (json!({ "uaid": nobody, "endpoint": "x" }), 400),
        (json!({ "uaid": "x" }), 400),
        (json!({ "endpoint": "https://push.example/update/x" }), 400),
        (json!({ "client": "x" }), 400),
    ] {
        assert_eq!(ask(&stage, node, "find", named.clone()).await.0, expected, "{named}");
    }
    let unknown = json!({ "uaid": nobody });
    assert_eq!(done(&stage, node, "find", unknown.clone()).await["state"], "unknown");
    assert_eq!(ask(&stage, node, "disconnect", unknown.clone()).await.0, 404);
    assert_eq!(done(&stage, node, "forget", unknown.clone()).await["changed"], false);
    // A UAID is blocked before it comes.
    done(&stage, node, "block", unknown).await;
    let mut client = Stage::client_of(node).await;
    client.send(&json!({"messageType": "hello", "uaid": nobody, "channelIDs": []})).await;
    client.expect_close(1008).await;
}
