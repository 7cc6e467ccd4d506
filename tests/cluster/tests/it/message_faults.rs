//! What is promised of accepted messages when programs are killed, when Redis is away, and when the tiers cannot
//! reach each other.

use beckon_client::error::Error;
use beckon_cluster_tests::{
    stage::Stage,
    talk::new_channel,
    webpush::{Client, ENCRYPTED, KEPT, NOT_KEPT, Subscribed, authorization, id_of, location_of, new_signer},
};
use beckon_conformance::refusal::{expect_refusal, header};
use beckon_testbed::{
    PATIENCE,
    forwarder::Forwarder,
    plan::{Plan, Shape, key},
    redis::{Options, RedisCluster, RedisServer},
    until,
};
use http::Method;
use serde_json::json;
use std::collections::BTreeSet;

on_both_shapes![
    an_unavailable_store_is_reported_and_loses_nothing,
    a_paused_store_is_answered_for_in_bounded_time,
    an_emptied_store_makes_everybody_say_hello_again,
    messages_survive_a_rotation_of_keys,
    broadcasts_survive_a_restart,
];

fn durable() -> Options {
    Options { appendonly: true, ..Options::default() }
}

/// Receives until every message of the channel has come, with repeats, but nothing else. Acknowledges, so that the
/// next batch follows.
async fn expect_all(client: &mut Client, channel: &str, expected: &BTreeSet<String>) {
    expect_all_among(client, channel, expected, expected.clone()).await;
}

/// Receives until all missing messages have come, and others of those that can be expected.
async fn expect_all_among(
    client: &mut Client,
    channel: &str,
    expected: &BTreeSet<String>,
    mut missing: BTreeSet<String>,
) {
    while !missing.is_empty() {
        let message = client.notification().await;
        let id = message["version"].as_str().unwrap();
        assert!(expected.contains(id) && message["channelID"] == *channel, "{message}");
        missing.remove(id);
        client.ack(channel, id).await;
    }
}

#[tokio::test]
async fn standalone_killed_after_accepting_loses_no_message() {
    const ROUNDS: usize = 4;
    const MESSAGES: usize = 8;
    let stage = Stage::own(Plan::new(Shape::Standalone));
    let server = &stage.nodes()[0];
    let Subscribed { mut client, uaid, channel, endpoint } = stage.subscribed().await;
    for round in 0..ROUNDS {
        // Every other round the client is connected, and does not acknowledge.
        let connected = round % 2 == 1;
        if !connected {
            client.leave().await;
        }
        let mut accepted = BTreeSet::new();
        for index in 0..MESSAGES {
            let topic = format!("t{index}");
            let mut headers = vec![KEPT, ENCRYPTED];
            if index % 2 == 1 {
                headers.push(("topic", &topic));
            }
            accepted.insert(stage.accepted(&endpoint, &headers, "x").await);
        }
        server.kill();
        server.start();
        client = stage.resumed(&uaid).await;
        expect_all(&mut client, &channel, &accepted).await;
        client.settle(&channel).await;
        client.expect_nothing().await;
    }
    // What was acknowledged, and followed by something that was answered, stays acknowledged.
    server.kill();
    server.start();
    let mut client = stage.resumed(&uaid).await;
    assert_eq!(client.register(&channel).await, endpoint);
    client.expect_nothing().await;
}

#[tokio::test]
async fn a_killed_connection_node_loses_no_message() {
    let stage = Stage::own(Plan::new(Shape::Cluster));
    let mut client = Client::from(Stage::client_of(stage.node("c0")).await);
    let (uaid, channel) = (client.hello().await, new_channel());
    let endpoint = client.register(&channel).await;
    let mut accepted = BTreeSet::new();
    for _ in 0..3 {
        accepted.insert(stage.message(&endpoint, "x").await);
        client.notification().await;
    }
    stage.node("c0").kill();
    // The store still says that the client is there; the answer is an answer all the same.
    for _ in 0..3 {
        accepted.insert(stage.message(&endpoint, "x").await);
        stage.accepted(&endpoint, &[NOT_KEPT, ENCRYPTED], "x").await;
    }
    let mut client = Client::from(Stage::client_of(stage.node("c1")).await);
    client.resume(&uaid).await;
    expect_all(&mut client, &channel, &accepted).await;
    client.settle(&channel).await;
    client.expect_nothing().await;
    let live = stage.message(&endpoint, "live").await;
    client.expect_message(&channel, &live, "live").await;
    // The node that comes back is another one, and does not remember.
    stage.node("c0").start();
    let mut back = Client::from(Stage::client_of(stage.node("c0")).await);
    back.resume(&uaid).await;
    back.expect_message(&channel, &live, "live").await;
    client.expect_close(1000).await;
    let sent = async || {
        let id = stage.accepted(&endpoint, &[NOT_KEPT, ENCRYPTED], "x").await;
        // A message that is not kept comes live or never.
        let arrived = back.socket().text_within(beckon_testbed::POLL).await;
        arrived.is_ok_and(|text| text.contains(&id)).then_some(())
    };
    until("messages reach the node that came back", sent).await;
}

#[tokio::test]
async fn a_killed_endpoint_node_loses_no_answered_message() {
    let stage = Stage::own(Plan::new(Shape::Cluster));
    let Subscribed { client, uaid, channel, endpoint } = stage.subscribed().await;
    client.leave().await;
    let mut accepted = BTreeSet::new();
    // Through both, in turn.
    for _ in 0..4 {
        accepted.insert(stage.message(&endpoint, "x").await);
    }
    stage.node("e0").kill();
    let mut client = stage.resumed(&uaid).await;
    expect_all(&mut client, &channel, &accepted).await;
    stage.node("e0").start();
    for _ in 0..4 {
        let id = stage.message(&endpoint, "x").await;
        expect_all(&mut client, &channel, &BTreeSet::from([id])).await;
    }
}

#[tokio::test]
async fn a_client_that_moves_around_misses_no_message() {
    const MOVES: usize = 12;
    const MESSAGES: usize = 3;
    let stage = Stage::own(Plan::new(Shape::Cluster));
    let Subscribed { mut client, uaid, channel, endpoint } = stage.subscribed().await;
    let mut accepted = BTreeSet::new();
    for _ in 0..MOVES {
        // Several POSTs are under way while the client moves.
        let posts = async {
            let mut ids = BTreeSet::new();
            for _ in 0..MESSAGES {
                ids.insert(stage.message(&endpoint, "x").await);
            }
            ids
        };
        let (ids, mut newer) = tokio::join!(posts, stage.resumed(&uaid));
        accepted.extend(ids.clone());
        // Earlier ones come again if they were acknowledged too late.
        expect_all_among(&mut newer, &channel, &accepted, ids).await;
        // Of the older socket, only what was on its way, and the end.
        loop {
            match client.socket().text_within(PATIENCE).await {
                Ok(text) => assert!(text.contains("notification"), "{text}"),
                Err(Error::Closed(close)) => break assert_eq!(close.code, 1000),
                Err(error) => panic!("{error}"),
            }
        }
        client = newer;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_between_the_tiers_delays_and_loses_no_message() {
    let mut plan = Plan::new(Shape::Cluster);
    let proxy = Forwarder::to(plan.node("c0").addresses.grpc.unwrap());
    plan.node("c0").set("BECKON_GRPC_ADVERTISE", &proxy.address().to_string());
    let stage = Stage::own(plan);
    let mut client = Client::from(Stage::client_of(stage.node("c0")).await);
    client.hello().await;
    let channel = new_channel();
    let endpoint = client.register(&channel).await;
    for _ in 0..2 {
        let live = stage.message(&endpoint, "live").await;
        expect_all(&mut client, &channel, &BTreeSet::from([live])).await;
        proxy.cut();
        // Through both endpoint-nodes.
        let mut accepted = BTreeSet::new();
        for _ in 0..4 {
            accepted.insert(stage.message(&endpoint, "x").await);
        }
        client.expect_nothing().await;
        proxy.heal();
        // On the same socket, without a hello.
        expect_all(&mut client, &channel, &accepted).await;
        // Each endpoint-node has its own stream; let both be back before the next cut.
        stage.wait_until_connected();
    }
}

#[tokio::test]
async fn a_redis_cluster_keeps_messages_of_all_clients() {
    const CLIENTS: usize = 10;
    let redis = RedisCluster::start(3);
    let stage = Stage::own(Plan::new(Shape::Cluster).store(redis.url()));
    stage.set_broadcast("test/a", "1").await;
    stage.until_broadcast("test/a", "1").await;
    // Enough clients for all masters to have some.
    for _ in 0..CLIENTS {
        let Subscribed { mut client, uaid, channel, endpoint } = stage.subscribed().await;
        let mut accepted = BTreeSet::from([stage.message(&endpoint, "x").await]);
        client.notification().await;
        client.leave().await;
        let topic = [KEPT, ENCRYPTED, ("topic", "t")];
        stage.accepted(&endpoint, &topic, "replaced").await;
        accepted.insert(stage.accepted(&endpoint, &topic, "x").await);
        let cancelled = stage.post(&endpoint, &[KEPT, ENCRYPTED], "x").await;
        let deleted = stage.request(Method::DELETE, location_of(&cancelled), &[], "").await;
        assert_eq!(deleted.status().as_u16(), 204);
        let mut client = stage.resumed(&uaid).await;
        expect_all(&mut client, &channel, &accepted).await;
        client.settle(&channel).await;
        let mut client = stage.resumed(&uaid).await;
        client.expect_nothing().await;
        client.unregister(&channel).await;
        assert_eq!(stage.post(&endpoint, &[KEPT], "").await.status().as_u16(), 410);
    }
}

/// While the store is away: what nodes answer, and that no client is disconnected. A step that is answered with an error
/// may be taken all the same, so what is taken away is `spare`.
async fn expect_an_outage(stage: &Stage, connected: &mut Subscribed, spare: &str, location: &str) {
    let Subscribed { client, endpoint, .. } = connected;
    let retry = |answer: &http::Response<bytes::Bytes>| {
        expect_refusal(answer, 503, Some(201));
        assert_eq!(header(answer, "retry-after"), Some("120"), "{answer:?}");
    };
    retry(&stage.post(endpoint, &[KEPT, ENCRYPTED], "lost").await);
    retry(&stage.request(Method::DELETE, location, &[], "").await);
    // What needs no store is answered, and refused before it is asked.
    client.expect_nothing().await;
    let unauthorized = [KEPT, ("authorization", "Basic x")];
    expect_refusal(&stage.post(endpoint, &unauthorized, "").await, 401, Some(109));
    let register = json!({"messageType": "register", "channelID": new_channel()});
    client.expect_error(&register, 500, "Internal Error").await;
    let unregister = json!({"messageType": "unregister", "channelID": spare});
    client.expect_error(&unregister, 500, "Internal Error").await;
    client.expect_nothing().await;
    let mut newcomer = stage.connect_webpush().await;
    newcomer.send(&json!({"messageType": "hello", "use_webpush": true})).await;
    newcomer.expect_close(1011).await;
    for node in stage.nodes() {
        assert_eq!(node.ended(), None, "{}", node.log());
    }
}

/// Sends until a message is accepted again, and returns its id.
async fn accepted_again(stage: &Stage, endpoint: &str) -> String {
    until("messages are accepted again", async || {
        let answer = stage.post(endpoint, &[KEPT, ENCRYPTED], "again").await;
        (answer.status().as_u16() == 201).then(|| id_of(&answer))
    })
    .await
}

async fn an_unavailable_store_is_reported_and_loses_nothing(shape: Shape) {
    let mut redis = RedisServer::start_with(durable());
    let stage = Stage::own(Plan::new(shape).store(redis.url()));
    let away = stage.subscribed().await;
    away.client.leave().await;
    let mut accepted = BTreeSet::new();
    for _ in 0..3 {
        accepted.insert(stage.message(&away.endpoint, "x").await);
    }
    let mut connected = stage.subscribed().await;
    let kept = stage.post(&connected.endpoint, &[KEPT, ENCRYPTED], "x").await;
    connected.client.notification().await;
    let spare = new_channel();
    connected.client.register(&spare).await;
    redis.kill();
    expect_an_outage(&stage, &mut connected, &spare, location_of(&kept)).await;
    redis.restart();
    stage.wait_until_well().await;
    let again = accepted_again(&stage, &connected.endpoint).await;
    connected.client.expect_message(&connected.channel, &again, "again").await;
    let mut back = until("hello works again", async || {
        let mut client = stage.connect_webpush().await;
        client.send(&json!({"messageType": "hello", "use_webpush": true, "uaid": away.uaid})).await;
        match client.socket().text_within(PATIENCE).await {
            Ok(reply) => {
                assert!(reply.contains(&away.uaid), "{reply}");
                Some(client)
            }
            Err(Error::Closed(close)) => {
                assert_eq!(close.code, 1011);
                None
            }
            Err(error) => panic!("{error}"),
        }
    })
    .await;
    expect_all(&mut back, &away.channel, &accepted).await;
    // What was refused was not stored.
    let mut client = stage.resumed(&connected.uaid).await;
    client.expect_ids(&connected.channel, &[id_of(&kept), again]).await;
    client.settle(&connected.channel).await;
    client.expect_nothing().await;
}

async fn a_paused_store_is_answered_for_in_bounded_time(shape: Shape) {
    let redis = RedisServer::start_with(durable());
    let stage = Stage::own(Plan::new(shape).store(redis.url()));
    let mut connected = stage.subscribed().await;
    let kept = stage.post(&connected.endpoint, &[KEPT, ENCRYPTED], "x").await;
    connected.client.notification().await;
    let spare = new_channel();
    connected.client.register(&spare).await;
    redis.pause();
    expect_an_outage(&stage, &mut connected, &spare, location_of(&kept)).await;
    redis.resume();
    stage.wait_until_well().await;
    let again = accepted_again(&stage, &connected.endpoint).await;
    // The one that was answered with 503 may have been stored.
    while connected.client.notification().await["version"] != *again {}
    let live = stage.message(&connected.endpoint, "live").await;
    while connected.client.notification().await["version"] != *live {}
}

async fn an_emptied_store_makes_everybody_say_hello_again(shape: Shape) {
    let redis = RedisServer::start();
    let stage = Stage::own(Plan::new(shape).store(redis.url()));
    let Subscribed { mut client, uaid, endpoint, .. } = stage.subscribed().await;
    let answer = stage.post(&endpoint, &[KEPT, ENCRYPTED], "x").await;
    client.notification().await;
    let mut on_every_node = Vec::new();
    for node in stage.connection_nodes() {
        let mut client = Client::from(Stage::client_of(node).await);
        client.hello().await;
        on_every_node.push(client);
    }
    redis.command(&["FLUSHALL"]);
    for client in on_every_node.iter_mut().chain([&mut client]) {
        client.expect_close(1011).await;
    }
    // No reply says that this UAID is still known.
    let mut client = stage.connect_webpush().await;
    let reply = client.hello_with(json!({"uaid": uaid})).await;
    assert_ne!(reply["uaid"], uaid);
    expect_refusal(&stage.post(&endpoint, &[KEPT, ENCRYPTED], "x").await, 410, Some(103));
    let deleted = stage.request(Method::DELETE, location_of(&answer), &[], "").await;
    assert_eq!(deleted.status().as_u16(), 204);
    let channel = new_channel();
    let endpoint = client.register(&channel).await;
    let id = accepted_again(&stage, &endpoint).await;
    client.expect_message(&channel, &id, "again").await;
}

async fn messages_survive_a_rotation_of_keys(shape: Shape) {
    let stage = Stage::own(Plan::new(shape).all("BECKON_TOKEN_KEYS", &key(1)));
    let signer = new_signer();
    let Subscribed { client, uaid, channel, endpoint } = stage.subscribed_for(&signer).await;
    client.leave().await;
    let credential = authorization(&signer, &endpoint);
    let headers = [KEPT, ENCRYPTED, ("authorization", &*credential)];
    let acknowledged = stage.accepted(&endpoint, &headers, "0").await;
    let cancelled = stage.post(&endpoint, &headers, "1").await;
    for node in stage.nodes() {
        node.terminate();
        node.set("BECKON_TOKEN_KEYS", format!("{},{}", key(2), key(1)));
        node.start();
    }
    stage.wait_until_connected();
    let mut client = stage.resumed(&uaid).await;
    // Under the id that its sender was told.
    client.expect_message(&channel, &acknowledged, "0").await;
    client.expect_message(&channel, &id_of(&cancelled), "1").await;
    let live = stage.accepted(&endpoint, &headers, "2").await;
    client.expect_message(&channel, &live, "2").await;
    client.ack(&channel, &acknowledged).await;
    assert_eq!(client.register_for(&channel, signer.public_key()).await, endpoint);
    let deleted = stage.request(Method::DELETE, location_of(&cancelled), &[], "").await;
    assert_eq!(deleted.status().as_u16(), 204);
    let mut client = stage.resumed(&uaid).await;
    client.expect_message(&channel, &live, "2").await;
    client.expect_nothing().await;
}

async fn broadcasts_survive_a_restart(shape: Shape) {
    let stage = Stage::own(Plan::new(shape));
    stage.set_broadcast("test/a", "1").await;
    stage.set_broadcast("test/b", "1").await;
    stage.set_broadcast("test/a", "2").await;
    stage.until_broadcast("test/a", "2").await;
    for node in stage.connection_nodes() {
        node.kill();
        node.start();
    }
    // At once: a node asks for them before it takes sockets.
    let mut known = "1";
    for node in stage.connection_nodes() {
        let mut client = Client::from(Stage::client_of(node).await);
        let reply = client.hello_with(json!({"broadcasts": {"test/a": "1", "test/b": known}})).await;
        assert_eq!(reply["broadcasts"], json!({"test/a": "2"}));
        stage.set_broadcast("test/b", node.name()).await;
        stage.until_broadcast("test/b", node.name()).await;
        let change = json!({"messageType": "broadcast", "broadcasts": {"test/b": node.name()}});
        assert_eq!(client.receive().await, change);
        known = node.name();
    }
}
