//! SP-41 to SP-45, SP-50 and SP-51: notifications, live and stored.

use beckon_client::error::Error;
use beckon_cluster_tests::{
    shared::Profile,
    stage::{Registered, Stage},
    talk::{Client, new_channel, update},
};
use beckon_testbed::plan::{Plan, Shape};
use serde_json::json;
use std::{collections::BTreeMap, time::Duration};

on_both_shapes![
    sp_51_a_graceful_shutdown_loses_nothing,
    a_flush_of_many_updates_is_split,
    one_client_of_many_sockets_has_one_owner,
];

async fn sp_51_a_graceful_shutdown_loses_nothing(shape: Shape) {
    let stage = Stage::own(Plan::new(shape));
    let Registered { mut client, uaid, channel, endpoint } = stage.registered().await;
    let second = new_channel();
    let second_endpoint = client.register(&second).await;
    let mut silent = stage.connect().await;
    assert_eq!(stage.put(&endpoint, 7).await, 200);
    client.expect_update(&channel, 7).await;
    for node in stage.connection_nodes() {
        node.signal(beckon_testbed::process::Signal::TERM);
    }
    client.expect_close(1001).await;
    silent.expect_close(1001).await;
    for node in stage.connection_nodes() {
        assert_eq!(node.wait().code(), Some(0), "{}", node.log());
    }
    if shape == Shape::Cluster {
        assert_eq!(stage.put(&second_endpoint, 8).await, 202);
    }
    for node in stage.connection_nodes() {
        node.start();
    }
    let mut client = stage.connect().await;
    client.resume(&uaid, &[&channel, &second]).await;
    let mut expected = vec![update(&channel, 7)];
    if shape == Shape::Cluster {
        expected.push(update(&second, 8));
    }
    let mut updates = client.updates().await;
    updates.sort_by_key(|update| update["version"].as_u64());
    assert_eq!(updates, expected);
    assert_eq!(client.register(&channel).await, endpoint);
}

async fn a_flush_of_many_updates_is_split(shape: Shape) {
    const CHANNELS: usize = 150;
    const UPDATES_MAX: usize = 100;
    let stage = Stage::shared(shape, Profile::Defaults);
    let mut client = stage.connect().await;
    let uaid = client.hello().await;
    let mut channels = BTreeMap::new();
    for version in 0..CHANNELS {
        let channel = new_channel();
        let endpoint = client.register(&channel).await;
        channels.insert(channel, (endpoint, version as u64));
    }
    client.leave().await;
    for (endpoint, version) in channels.values() {
        assert_eq!(stage.put(endpoint, *version).await, 202);
    }
    let mut client = stage.connect().await;
    client.resume(&uaid, &[]).await;
    while !channels.is_empty() {
        let updates = client.updates().await;
        assert!((1..=UPDATES_MAX).contains(&updates.len()), "{} updates", updates.len());
        for entry in updates {
            let (_, version) =
                channels.remove(entry["channelID"].as_str().unwrap()).expect("each channel once");
            assert_eq!(entry["version"], version);
        }
    }
    client.expect_nothing().await;
}

async fn one_client_of_many_sockets_has_one_owner(shape: Shape) {
    const SOCKETS: usize = 8;
    let stage = Stage::shared(shape, Profile::Defaults);
    let Registered { client, uaid, channel, endpoint } = stage.registered().await;
    client.leave().await;
    // All say hello at the same time, on all nodes.
    let mut sockets = Vec::new();
    for _ in 0..SOCKETS {
        sockets.push(stage.connect().await);
    }
    for client in &mut sockets {
        client.send(&json!({"messageType": "hello", "uaid": uaid, "channelIDs": [channel]})).await;
    }
    // All but one are closed; some before they got a reply.
    let mut owners = Vec::new();
    for mut client in sockets {
        match until_quiet(&mut client).await {
            Some(code) => assert_eq!(code, 1000),
            None => owners.push(client),
        }
    }
    let [owner] = &mut owners[..] else { panic!("{} owners", owners.len()) };
    assert_eq!(stage.put(&endpoint, 7).await, 200);
    owner.expect_update(&channel, 7).await;
}

/// Reads hello replies until the socket is closed (its code) or stays quiet.
async fn until_quiet(client: &mut Client) -> Option<u16> {
    /// Long enough for a node to tell another that it has lost a client.
    const QUIET: Duration = Duration::from_secs(2);
    loop {
        match client.socket().text_within(QUIET).await {
            Ok(text) => assert!(text.contains("hello"), "{text}"),
            Err(Error::Closed(close)) => return Some(close.code),
            Err(Error::TimedOut(_)) => return None,
            Err(error) => panic!("{error}"),
        }
    }
}
