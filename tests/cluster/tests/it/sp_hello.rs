//! SP-19 to SP-30: hello, and who owns a UAID.

use beckon_client::user_agent::{self, UserAgent};
use beckon_cluster_tests::{
    stage::{Registered, Stage},
    talk::{Client, update},
    tls,
};
use beckon_testbed::{
    PATIENCE,
    plan::{Plan, Shape},
    until,
};
use serde_json::json;

on_both_shapes![sp_30_a_node_without_room_sends_clients_away,];

async fn sp_30_a_node_without_room_sends_clients_away(shape: Shape) {
    let mut plan =
        Plan::new(shape).sockets("BECKON_MAX_CONNECTIONS", "20").sockets("BECKON_REDIRECT_THRESHOLD", "0.25");
    if shape == Shape::Cluster {
        for name in ["c0", "c1"] {
            let url = format!("ws://{}/", plan.node(name).addresses.ws.unwrap());
            plan.node(name).set("BECKON_WS_ADVERTISE", &url);
        }
    }
    let stage = Stage::own(plan);
    let nodes = stage.connection_nodes();
    let Registered { client, uaid, channel, endpoint } = stage.registered().await;
    client.leave().await;
    let mut fillers = fill(&stage, 0).await;
    let hello = json!({"messageType": "hello", "uaid": uaid, "channelIDs": [channel]});
    let hello_at_first = async || {
        let mut client = Stage::client_of(nodes[0]).await;
        let reply = client.ask(&hello).await;
        client.expect_close(1000).await;
        reply
    };
    if shape == Shape::Cluster {
        let expected =
            json!({"messageType": "hello", "uaid": uaid, "status": 307, "redirect": nodes[1].ws_url()});
        // The nodes hear of each other every three seconds.
        let redirected = async || (hello_at_first().await == expected).then_some(());
        until("the first node sends clients to the second", redirected).await;
        // There, it is welcome.
        let mut client = tls::client(expected["redirect"].as_str().unwrap()).await;
        client.resume(&uaid, &[&channel]).await;
        client.leave().await;
        // A user agent follows by itself.
        let agent = UserAgent::connect(&nodes[0].ws_url(), user_agent::Options::default()).await.unwrap();
        agent.close().await;
        fillers.extend(fill(&stage, 1).await);
    }
    let expected = json!({"messageType": "hello", "uaid": uaid, "status": 429});
    // The other node tells that it is full when it announces itself the next time.
    until("429", async || (hello_at_first().await == expected).then_some(())).await;
    // Nothing was lost by being sent away.
    drop(fillers);
    assert_eq!(stage.put(&endpoint, 1).await, 202);
    until("room again", async || {
        let mut client = Stage::client_of(nodes[0]).await;
        if client.ask(&hello).await["status"] != 200 {
            return None;
        }
        assert_eq!(client.updates().await, [update(&channel, 1)]);
        Some(())
    })
    .await;
}

/// Opens more sockets than a quarter of twenty on one node.
async fn fill(stage: &Stage, node: usize) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(Stage::client_of(stage.connection_nodes()[node]).await);
    }
    // The server counts a socket from its upgrade on: it answers, so it has counted.
    for client in &mut clients {
        client.socket().send_ping("").await.unwrap();
        client.socket().receive_within(PATIENCE).await.unwrap();
    }
    clients
}
