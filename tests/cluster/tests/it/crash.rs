//! What is promised of accepted notifications when programs are killed, stopped or started.

use beckon_cluster_tests::{
    stage::{Registered, Stage},
    talk::{Client, new_channel},
};
use beckon_testbed::{
    plan::{Plan, Shape, key},
    ports::Port,
    process,
    programs::Program,
    redis::{Options, RedisServer},
    until,
};
use std::collections::BTreeMap;

/// A client with these channels, and the endpoint of each.
async fn with_channels(client: &mut Client, count: usize) -> Vec<(String, String)> {
    let mut channels = Vec::new();
    for _ in 0..count {
        let channel = new_channel();
        let endpoint = client.register(&channel).await;
        channels.push((channel, endpoint));
    }
    channels
}

/// Receives until every channel has had its version, in any number of notifications, with repeats, but nothing
/// older and nothing else.
async fn expect_all(client: &mut Client, expected: &BTreeMap<&str, u64>) {
    let mut missing = expected.clone();
    while !missing.is_empty() {
        for entry in client.updates().await {
            let channel = entry["channelID"].as_str().unwrap();
            assert_eq!(entry["version"].as_u64(), expected.get(channel).copied(), "{entry}");
            missing.remove(channel);
        }
    }
}

#[tokio::test]
async fn standalone_killed_after_accepting_loses_nothing() {
    const ROUNDS: u64 = 5;
    const CHANNELS: usize = 8;
    let stage = Stage::own(Plan::new(Shape::Standalone));
    let server = &stage.nodes()[0];
    let mut client = stage.connect().await;
    let uaid = client.hello().await;
    let channels = with_channels(&mut client, CHANNELS).await;
    let listed: Vec<_> = channels.iter().map(|(channel, _)| &**channel).collect();
    let mut accepted = BTreeMap::new();
    for round in 1..=ROUNDS {
        // Every other round the client is connected, and does not acknowledge.
        if round % 2 == 0 {
            client.leave().await;
        }
        for (index, (channel, endpoint)) in channels.iter().enumerate() {
            // One channel is written in the first round only.
            if index > 0 || round == 1 {
                let status = stage.put(endpoint, round).await;
                assert_eq!(status, if round % 2 == 0 { 202 } else { 200 });
                accepted.insert(&**channel, round);
            }
        }
        server.kill();
        server.start();
        client = stage.connect().await;
        client.resume(&uaid, &listed).await;
        expect_all(&mut client, &accepted).await;
        client.expect_nothing().await;
    }
    // What was acknowledged, and followed by something that was answered, stays acknowledged.
    for (channel, version) in &accepted {
        client.ack(channel, *version).await;
    }
    client.resume(&uaid, &[]).await;
    client.expect_nothing().await;
    server.kill();
    server.start();
    let mut client = stage.connect().await;
    client.resume(&uaid, &listed).await;
    client.expect_nothing().await;
    for (channel, endpoint) in &channels {
        assert_eq!(client.register(channel).await, *endpoint);
    }
}

#[tokio::test]
async fn a_second_server_on_the_same_data_is_refused() {
    let stage = Stage::own(Plan::new(Shape::Standalone));
    let Registered { mut client, channel, endpoint, .. } = stage.registered().await;
    let data = stage.folder().join("data");
    let ports = [(); 3].map(|()| Port::free());
    let [ws, http, admin] = ports.each_ref().map(|port| port.address().to_string());
    let settings = [
        ("BECKON_WS_LISTEN", &*ws),
        ("BECKON_HTTP_LISTEN", &http),
        ("BECKON_ADMIN_LISTEN", &admin),
        ("BECKON_DATA_DIR", data.to_str().unwrap()),
    ];
    let program = Program::Beckon.path();
    let (status, output) = process::run(&program, &[], &settings);
    assert_eq!(status.code(), Some(69), "{output}");
    assert!(output.contains(data.to_str().unwrap()), "{output}");
    // The first one has not noticed.
    assert_eq!(stage.put(&endpoint, 1).await, 200);
    client.expect_update(&channel, 1).await;
}

#[tokio::test]
async fn a_killed_connection_node_loses_no_accepted_notification() {
    const CHANNELS: usize = 6;
    let stage = Stage::own(Plan::new(Shape::Cluster));
    let mut client = Stage::client_of(stage.node("c0")).await;
    let uaid = client.hello().await;
    let channels = with_channels(&mut client, CHANNELS).await;
    let mut accepted = BTreeMap::new();
    for (channel, endpoint) in &channels[..2] {
        assert_eq!(stage.put(endpoint, 1).await, 200);
        accepted.insert(&**channel, 1);
    }
    stage.node("c0").kill();
    // The store still says that the client is there; the answer is an answer all the same.
    for (channel, endpoint) in &channels[2..4] {
        assert_eq!(stage.put(endpoint, 2).await, 202);
        accepted.insert(&**channel, 2);
    }
    let mut client = Stage::client_of(stage.node("c1")).await;
    client.resume(&uaid, &[]).await;
    expect_all(&mut client, &accepted).await;
    client.expect_nothing().await;
    for (channel, endpoint) in &channels[4..] {
        assert_eq!(stage.put(endpoint, 3).await, 200);
        client.expect_update(channel, 3).await;
        accepted.insert(&**channel, 3);
    }
    // The node that comes back is another one, and does not remember.
    stage.node("c0").start();
    let mut back = Stage::client_of(stage.node("c0")).await;
    back.resume(&uaid, &[]).await;
    expect_all(&mut back, &accepted).await;
    client.expect_close(1000).await;
    let what = "PUTs reach the node that came back";
    until(what, async || (stage.put(&channels[0].1, 4).await == 200).then_some(())).await;
    back.expect_update(&channels[0].0, 4).await;
}

#[tokio::test]
async fn a_killed_endpoint_node_loses_no_answered_put() {
    let stage = Stage::own(Plan::new(Shape::Cluster));
    let Registered { client, uaid, channel, endpoint } = stage.registered().await;
    client.leave().await;
    assert_eq!(Stage::put_through(stage.node("e0"), &endpoint, 7).await, 202);
    stage.node("e0").kill();
    let mut client = stage.connect().await;
    client.resume(&uaid, &[]).await;
    client.expect_update(&channel, 7).await;
    assert_eq!(Stage::put_through(stage.node("e1"), &endpoint, 8).await, 200);
    client.expect_update(&channel, 8).await;
    stage.node("e0").start();
    let what = "the endpoint-node that came back finds the connection-nodes";
    until(what, async || (Stage::put_through(stage.node("e0"), &endpoint, 9).await == 200).then_some(()))
        .await;
    client.expect_update(&channel, 9).await;
}

#[tokio::test]
async fn a_client_that_moves_around_misses_nothing() {
    const MOVES: u64 = 12;
    let stage = Stage::own(Plan::new(Shape::Cluster));
    let Registered { mut client, uaid, channel, endpoint } = stage.registered().await;
    let mut version = 0;
    for _ in 0..MOVES {
        // Several PUTs are under way while the client moves.
        let puts = async {
            for _ in 0..5 {
                version += 1;
                let status = stage.put(&endpoint, version).await;
                assert!(status == 200 || status == 202, "{status}");
            }
        };
        let moves = async {
            let mut newer = stage.connect().await;
            newer.resume(&uaid, &[&channel]).await;
            newer
        };
        let ((), mut newer) = tokio::join!(puts, moves);
        let mut last = 0;
        while last < version {
            for entry in newer.updates().await {
                let got = entry["version"].as_u64().unwrap();
                assert!(got >= last, "version {got} after {last}");
                last = got;
            }
        }
        // Of the older socket, only what was on its way, and the end.
        loop {
            match client.socket().text_within(beckon_testbed::PATIENCE).await {
                Ok(text) => assert!(text.contains("notification"), "{text}"),
                Err(beckon_client::error::Error::Closed(close)) => break assert_eq!(close.code, 1000),
                Err(error) => panic!("{error}"),
            }
        }
        client = newer;
    }
}

#[tokio::test]
async fn endpoints_survive_a_rotation_of_keys() {
    let stage = Stage::own(Plan::new(Shape::Cluster));
    let Registered { client, uaid, channel, endpoint } = stage.registered().await;
    client.leave().await;
    for keys in [format!("{},{}", key(2), key(1)), format!("{}, {}, {}", key(3), key(2), key(1))] {
        for node in stage.nodes() {
            node.terminate();
            node.set("BECKON_TOKEN_KEYS", &keys);
            node.start();
        }
        stage.wait_until_connected();
        let mut client = stage.connect().await;
        client.resume(&uaid, &[&channel]).await;
        assert_eq!(client.register(&channel).await, endpoint);
        assert_eq!(stage.put(&endpoint, 1).await, 200);
        client.expect_update(&channel, 1).await;
        client.ack(&channel, 1).await;
        // A new channel gets an endpoint of the newest key.
        let second = new_channel();
        let second_endpoint = client.register(&second).await;
        assert_eq!(stage.put(&second_endpoint, 2).await, 200);
        client.expect_update(&second, 2).await;
        client.unregister(&second).await;
        client.leave().await;
    }
    // Without its key, an endpoint belongs to no channel.
    for node in stage.nodes() {
        node.terminate();
        node.set("BECKON_TOKEN_KEYS", key(3));
    }
    for node in stage.nodes() {
        node.start();
    }
    stage.wait_until_connected();
    assert_eq!(stage.put(&endpoint, 3).await, 404);
}

#[tokio::test]
async fn a_standalone_server_can_use_redis() {
    let options = Options { password: Some("a+password".to_owned()), appendonly: true, ..Options::default() };
    let mut redis = RedisServer::start_with(options);
    let stage = Stage::own(Plan::new(Shape::Standalone).store(redis.url()));
    let Registered { client, uaid, channel, endpoint } = stage.registered().await;
    client.leave().await;
    assert_eq!(stage.put(&endpoint, 7).await, 202);
    stage.nodes()[0].kill();
    redis.restart();
    stage.nodes()[0].start();
    let mut client = stage.connect().await;
    client.resume(&uaid, &[&channel]).await;
    client.expect_update(&channel, 7).await;
    client.ack(&channel, 7).await;
    client.resume(&uaid, &[]).await;
    client.expect_nothing().await;
}
