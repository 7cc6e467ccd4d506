//! What happens when Redis is restarted, paused, emptied, or configured differently.

use beckon_client::{
    error::Error,
    user_agent::{self, Event, UserAgent},
};
use beckon_cluster_tests::{
    stage::{Registered, Stage},
    talk::new_channel,
};
use beckon_testbed::{
    PATIENCE,
    plan::{Plan, Shape},
    redis::{Options, RedisCluster, RedisServer},
    until,
};
use serde_json::json;
use std::{collections::BTreeSet, time::Duration};

fn durable() -> Options {
    Options { appendonly: true, ..Options::default() }
}

/// A cluster is of use: a client on each node gets what is sent through each endpoint-node, live and stored.
async fn expect_a_working_cluster(stage: &Stage) {
    for node in stage.connection_nodes() {
        let mut client = Stage::client_of(node).await;
        let uaid = client.hello().await;
        let channel = new_channel();
        let endpoint = client.register(&channel).await;
        assert_eq!(stage.put(&endpoint, 1).await, 200);
        client.expect_update(&channel, 1).await;
        client.ack(&channel, 1).await;
        client.leave().await;
        assert_eq!(stage.put(&endpoint, 2).await, 202);
        let mut client = stage.connect().await;
        client.resume(&uaid, &[&channel]).await;
        client.expect_update(&channel, 2).await;
        client.unregister(&channel).await;
        assert_eq!(stage.put(&endpoint, 3).await, 410);
        client.leave().await;
    }
}

/// While the store is away: what nodes answer, and that no client is disconnected.
async fn expect_an_outage(stage: &Stage, connected: &mut Registered) {
    let Registered { client, channel, endpoint, .. } = connected;
    assert_eq!(stage.put(endpoint, 100).await, 503);
    // What needs no store is answered.
    client.expect_nothing().await;
    client
        .expect_error(&json!({"messageType": "register", "channelID": new_channel()}), 500, "Internal Error")
        .await;
    client
        .expect_error(&json!({"messageType": "unregister", "channelID": channel}), 500, "Internal Error")
        .await;
    client.expect_nothing().await;
    let mut newcomer = stage.connect().await;
    newcomer.send(&json!({"messageType": "hello", "channelIDs": []})).await;
    newcomer.expect_close(1011).await;
    for node in stage.nodes() {
        assert_eq!(node.ended(), None, "{}", node.log());
    }
}

#[tokio::test]
async fn a_restarted_redis_loses_nothing_and_is_found_again() {
    let mut redis = RedisServer::start_with(durable());
    let stage = Stage::own(Plan::new(Shape::Cluster).store(redis.url()));
    let away = stage.registered().await;
    away.client.leave().await;
    assert_eq!(stage.put(&away.endpoint, 7).await, 202);
    let mut connected = stage.registered().await;
    assert_eq!(stage.put(&connected.endpoint, 1).await, 200);
    connected.client.expect_update(&connected.channel, 1).await;
    redis.kill();
    expect_an_outage(&stage, &mut connected).await;
    redis.restart();
    stage.wait_until_well().await;
    let put = async || (stage.put(&connected.endpoint, 2).await == 200).then_some(());
    until("PUTs are accepted and delivered again", put).await;
    connected.client.expect_update(&connected.channel, 2).await;
    let mut back = until("hello works again", async || {
        let mut client = stage.connect().await;
        client.send(&json!({"messageType": "hello", "uaid": away.uaid, "channelIDs": [away.channel]})).await;
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
    back.expect_update(&away.channel, 7).await;
    expect_a_working_cluster(&stage).await;
}

#[tokio::test]
async fn a_paused_redis_is_answered_for_in_bounded_time() {
    let redis = RedisServer::start_with(durable());
    let stage = Stage::own(Plan::new(Shape::Cluster).store(redis.url()));
    let mut connected = stage.registered().await;
    redis.pause();
    expect_an_outage(&stage, &mut connected).await;
    redis.resume();
    stage.wait_until_well().await;
    let put = async || (stage.put(&connected.endpoint, 200).await == 200).then_some(());
    until("PUTs are accepted and delivered again", put).await;
    // The one that was answered with 503 may have been stored, but is older.
    let mut versions = Vec::new();
    while versions.last() != Some(&200) {
        for update in connected.client.updates().await {
            versions.push(update["version"].as_u64().unwrap());
        }
    }
    assert!(versions.is_sorted(), "{versions:?}");
    expect_a_working_cluster(&stage).await;
}

#[tokio::test]
async fn a_connection_node_logs_once_why_the_store_failed() {
    let redis = RedisServer::start();
    let plan = Plan::new(Shape::Cluster).store(redis.url()).all("BECKON_STORE_TIMEOUT", "300ms");
    let stage = Stage::own(plan);
    let known = stage.registered().await;
    known.client.leave().await;
    let node = stage.node("c0");
    let expect_refused_hellos = async || {
        for _ in 0..3 {
            let mut client = Stage::client_of(node).await;
            client.send(&json!({"messageType": "hello", "uaid": known.uaid, "channelIDs": []})).await;
            client.expect_close(1011).await;
        }
    };
    let damage = "for _, key in ipairs(redis.call('KEYS', 'c{*')) do redis.call('SET', key, 'damaged') end";
    redis.command(&["EVAL", damage, "0"]);
    expect_refused_hellos().await;
    redis.pause();
    expect_refused_hellos().await;
    redis.resume();
    let log = node.log();
    let mut logged = Vec::new();
    for line in log.lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        if event["message"] == "the store did not perform a step" {
            let (cause, _) = event["error"].as_str().unwrap().split_once(':').unwrap();
            logged.push((event["level"].as_str().unwrap().to_owned(), cause.to_owned()));
        }
    }
    assert!(logged.contains(&("ERROR".into(), "store record unreadable".into())), "{log}");
    assert!(logged.contains(&("WARN".into(), "store unavailable (timeout)".into())), "{log}");
    let once: BTreeSet<_> = logged.iter().collect();
    assert_eq!(once.len(), logged.len(), "{log}");
}

#[tokio::test]
async fn an_emptied_redis_makes_everybody_say_hello_again() {
    const CLIENTS: usize = 10;
    let redis = RedisServer::start();
    let stage = Stage::own(Plan::new(Shape::Cluster).store(redis.url()));
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(stage.registered().await);
    }
    let url = stage.node("c0").ws_url();
    let options = user_agent::Options {
        backoff: beckon_client::backoff::Backoff {
            first: Duration::from_millis(100),
            longest: Duration::from_secs(1),
        },
        ..user_agent::Options::default()
    };
    let mut agent = UserAgent::connect(&url, options).await.unwrap();
    let (channel, former_uaid) = (user_agent::new_channel(), agent.uaid());
    let former_endpoint = agent.register(channel).await.unwrap();
    redis.command(&["FLUSHALL"]);
    for registered in &mut clients {
        registered.client.expect_close(1011).await;
        // No reply says that this UAID is still known.
        let mut client = stage.connect().await;
        assert_ne!(client.hello_as(&registered.uaid, &[&registered.channel]).await, registered.uaid);
        assert_eq!(stage.put(&registered.endpoint, 1).await, 410);
    }
    // A user agent registers its channels again.
    let endpoint = tokio::time::timeout(PATIENCE, async {
        loop {
            match agent.next_event().await {
                Event::NewEndpoint { channel: of, endpoint } if of == channel => break endpoint,
                Event::NewEndpoint { .. } | Event::Connected { .. } | Event::Disconnected { .. } => {}
                Event::Notification(updates) => panic!("{updates:?}"),
            }
        }
    })
    .await
    .unwrap();
    assert_ne!(agent.uaid(), former_uaid);
    assert_ne!(endpoint, former_endpoint);
    let put = async || (stage.put(&endpoint, 1).await == 200).then_some(());
    until("nodes have announced themselves to the empty store", put).await;
    expect_a_working_cluster(&stage).await;
}

#[tokio::test]
async fn a_redis_with_password_and_database_is_used_as_its_url_says() {
    let options = Options { password: Some("a+password".to_owned()), ..Options::default() };
    let redis = RedisServer::start_with(options);
    let stage = Stage::own(Plan::new(Shape::Cluster).store(format!("{}/3", redis.url())));
    expect_a_working_cluster(&stage).await;
    let keys = |database: &str| {
        let space = format!("{:?}", redis.command(&["INFO", "keyspace"]));
        space.contains(&format!("db{database}:"))
    };
    assert!(keys("3") && !keys("0"));
    for node in stage.nodes() {
        assert!(!node.log().contains("a+password"), "the password is in the log of {}", node.name());
    }
}

#[tokio::test]
async fn a_redis_cluster_serves_a_cluster() {
    let redis = RedisCluster::start(3);
    let stage = Stage::own(Plan::new(Shape::Cluster).store(redis.url()));
    // Enough clients for all masters to have some.
    for _ in 0..10 {
        expect_a_working_cluster(&stage).await;
    }
}
