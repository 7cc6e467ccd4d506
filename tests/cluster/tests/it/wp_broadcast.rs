//! WP-8 to WP-11: broadcasts.

use beckon_cluster_tests::{
    shared::Profile,
    stage::{Stage, broadcast_url},
    webpush::Client,
};
use beckon_conformance::parts::new_id;
use beckon_testbed::plan::Shape;
use http::Method;
use serde_json::{Value, json};

on_both_shapes![
    wp_9_a_hello_learns_which_broadcasts_have_changed,
    wp_10_a_subscription_is_answered_if_there_is_something_to_say,
    wp_11_a_change_reaches_subscribed_sockets_on_every_node,
    what_is_no_broadcast_is_refused_to_the_operator,
];

fn broadcast(broadcasts: Value) -> Value {
    json!({"messageType": "broadcast", "broadcasts": broadcasts})
}

async fn wp_9_a_hello_learns_which_broadcasts_have_changed(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    let (id, unknown) = (new_id(), new_id());
    for version in ["\"42\"", "v2 \u{e9}"] {
        stage.set_broadcast(&id, version).await;
        stage.until_broadcast(&id, version).await;
        for (known, expected) in [
            (json!({&id: "\"41\""}), json!({&id: version})),
            (json!({&id: version}), json!({})),
            (
                json!({&id: "\"41\"", &unknown: "1"}),
                json!({&id: version, "errors": {&unknown: "Broadcast not found"}}),
            ),
        ] {
            let mut client = stage.connect_webpush().await;
            let reply = client.hello_with(json!({"broadcasts": known})).await;
            assert_eq!(reply["broadcasts"], expected, "{known}");
            client.expect_nothing().await;
        }
    }
}

async fn wp_10_a_subscription_is_answered_if_there_is_something_to_say(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    let (id, unknown) = (new_id(), new_id());
    stage.set_broadcast(&id, "2").await;
    stage.until_broadcast(&id, "2").await;
    let mut client = stage.connect_webpush().await;
    client.hello().await;
    for silent in [json!({}), json!({&id: "2"})] {
        client.send(&json!({"messageType": "broadcast_subscribe", "broadcasts": silent})).await;
        client.expect_nothing().await;
    }
    for (asked, expected) in [
        (json!({&id: "1"}), json!({&id: "2"})),
        (json!({&unknown: "1"}), json!({"errors": {&unknown: "Broadcast not found"}})),
        (json!({&unknown: "1", &id: "1"}), json!({&id: "2", "errors": {&unknown: "Broadcast not found"}})),
    ] {
        let reply = client.ask(&json!({"messageType": "broadcast_subscribe", "broadcasts": asked})).await;
        assert_eq!(reply, broadcast(expected), "{asked}");
    }
    client.expect_nothing().await;
    for bad in [json!(null), json!([]), json!("x"), json!({&id: 1}), json!({&id: null})] {
        let mut client = stage.connect_webpush().await;
        client.hello().await;
        client.expect_401(&json!({"messageType": "broadcast_subscribe", "broadcasts": bad})).await;
    }
    let mut client = stage.connect_webpush().await;
    client.hello().await;
    client.expect_401(&json!({"messageType": "broadcast_subscribe"})).await;
}

async fn wp_11_a_change_reaches_subscribed_sockets_on_every_node(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    let (id, other) = (new_id(), new_id());
    stage.set_broadcast(&id, "1").await;
    stage.until_broadcast(&id, "1").await;
    let (mut subscribed, mut others) = (Vec::new(), Vec::new());
    for node in stage.connection_nodes() {
        let mut by_hello = Client::from(Stage::client_of(node).await);
        by_hello.hello_with(json!({"broadcasts": {&id: "1"}})).await;
        subscribed.push(by_hello);
        let mut by_message = Client::from(Stage::client_of(node).await);
        by_message.hello().await;
        let subscribe = json!({"messageType": "broadcast_subscribe", "broadcasts": {&id: "0"}});
        assert_eq!(by_message.ask(&subscribe).await, broadcast(json!({&id: "1"})));
        subscribed.push(by_message);
        let mut other = Client::from(Stage::client_of(node).await);
        other.hello().await;
        others.push(other);
    }
    for version in ["2", "3", "4"] {
        // Neither what has not changed nor what the client did not subscribe to is sent.
        stage.set_broadcast(&other, version).await;
        stage.set_broadcast(&id, version).await;
        stage.set_broadcast(&id, version).await;
        for client in &mut subscribed {
            assert_eq!(client.receive().await, broadcast(json!({&id: version})));
        }
    }
    for client in subscribed.iter_mut().chain(&mut others) {
        client.expect_nothing().await;
    }
    // What is removed is unknown again.
    let node = stage.next_connection_node();
    let answer = stage.ask(Method::DELETE, &broadcast_url(node, &id), "").await;
    assert!(answer.status().is_success(), "{answer:?}");
    for node in stage.connection_nodes() {
        beckon_testbed::until("the removal is known", async || {
            let mut client = Client::from(Stage::client_of(node).await);
            let reply = client.hello_with(json!({"broadcasts": {&id: "4"}})).await;
            (reply["broadcasts"] == json!({"errors": {&id: "Broadcast not found"}})).then_some(())
        })
        .await;
    }
}

async fn what_is_no_broadcast_is_refused_to_the_operator(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    let id = new_id();
    for node in stage.connection_nodes() {
        for (id, version) in [(&*id, ""), (&id, "a\nb"), (&id, &"x".repeat(1000)), ("errors", "1")] {
            let answer = stage.ask(Method::PUT, &broadcast_url(node, id), version.to_owned()).await;
            assert_eq!(answer.status().as_u16(), 400, "{id} {version}: {answer:?}");
        }
        let answer = stage.ask(Method::DELETE, &broadcast_url(node, &id), "").await;
        assert_eq!(answer.status().as_u16(), 404, "{answer:?}");
        stage.set_broadcast(&id, "1").await;
        let list = format!("http://{}/broadcasts", node.addresses().admin);
        let answer = stage.ask(Method::GET, &list, "").await;
        let text = String::from_utf8(answer.body().to_vec()).unwrap();
        assert!(answer.status().is_success() && text.contains(&id), "{text}");
        let answer = stage.ask(Method::DELETE, &broadcast_url(node, &id), "").await;
        assert!(answer.status().is_success(), "{answer:?}");
    }
}
