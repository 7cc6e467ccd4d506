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
    sp_41_a_put_arrives_live_with_its_data,
    sp_42_an_update_written_while_offline_follows_the_hello,
    sp_43_an_unacknowledged_update_comes_again_without_data,
    sp_44_of_several_writes_the_last_one_counts,
    sp_45_an_unacknowledged_update_is_sent_again_by_timer,
    sp_50_purge_is_answered_and_changes_nothing,
    sp_51_a_graceful_shutdown_loses_nothing,
    a_flush_of_many_updates_is_split,
    one_client_of_many_sockets_has_one_owner,
];

async fn sp_41_a_put_arrives_live_with_its_data(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    let Registered { mut client, channel, endpoint, .. } = stage.registered().await;
    let second = new_channel();
    let second_endpoint = client.register(&second).await;
    for (form, expected) in [
        ("version=1", json!({"channelID": channel, "version": 1})),
        ("version=2&data=look", json!({"channelID": channel, "version": 2, "data": "look"})),
        ("version=3&data=", json!({"channelID": channel, "version": 3})),
        (
            "version=4&data=%22%C3%A9%F0%9F%98%80%5C%00+%0A",
            json!({"channelID": channel, "version": 4, "data": "\"\u{e9}\u{1f600}\\\u{0} \n"}),
        ),
        (
            "version=9223372036854775807",
            json!({"channelID": channel, "version": 9_223_372_036_854_775_807_u64}),
        ),
    ] {
        assert_eq!(stage.put_form(&endpoint, form).await, 200, "{form}");
        // One notification with that one update, whatever else is not acknowledged.
        assert_eq!(client.updates().await, [expected], "{form}");
    }
    assert_eq!(stage.put(&second_endpoint, 1).await, 200);
    client.expect_update(&second, 1).await;
    // The same version again is an update all the same.
    assert_eq!(stage.put(&second_endpoint, 1).await, 200);
    client.expect_update(&second, 1).await;
    client.expect_nothing().await;
}

async fn sp_42_an_update_written_while_offline_follows_the_hello(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    let Registered { mut client, uaid, channel, endpoint } = stage.registered().await;
    let second = new_channel();
    let second_endpoint = client.register(&second).await;
    client.leave().await;
    assert_eq!(stage.put_data(&endpoint, 7, "look").await, 202);
    assert_eq!(stage.put_data(&second_endpoint, 8, "look").await, 202);
    // On any node, until acknowledged.
    for _ in 0..3 {
        let mut client = stage.connect().await;
        client.resume(&uaid, &[&channel]).await;
        client.expect_updates(&[(&channel, 7), (&second, 8)]).await;
        client.expect_nothing().await;
        client.leave().await;
    }
}

async fn sp_43_an_unacknowledged_update_comes_again_without_data(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    let Registered { mut client, uaid, channel, endpoint } = stage.registered().await;
    assert_eq!(stage.put_data(&endpoint, 7, "look").await, 200);
    assert_eq!(client.updates().await, [json!({"channelID": channel, "version": 7, "data": "look"})]);
    client.leave().await;
    let mut client = stage.connect().await;
    client.resume(&uaid, &[]).await;
    client.expect_update(&channel, 7).await;
    // The same after a lost network.
    drop(client);
    let mut client = stage.connect().await;
    client.resume(&uaid, &[]).await;
    client.expect_update(&channel, 7).await;
}

async fn sp_44_of_several_writes_the_last_one_counts(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    let Registered { client, uaid, channel, endpoint } = stage.registered().await;
    client.leave().await;
    for version in [3, 12_345_789, 0, 1] {
        assert_eq!(stage.put(&endpoint, version).await, 202);
    }
    let mut client = stage.connect().await;
    client.resume(&uaid, &[]).await;
    client.expect_update(&channel, 1).await;
    client.expect_nothing().await;
    // Of those that were sent and not acknowledged, too.
    for version in [9, 2] {
        assert_eq!(stage.put(&endpoint, version).await, 200);
        client.expect_update(&channel, version).await;
    }
    drop(client);
    let mut client = stage.connect().await;
    client.resume(&uaid, &[]).await;
    client.expect_update(&channel, 2).await;
    client.expect_nothing().await;
}

async fn sp_45_an_unacknowledged_update_is_sent_again_by_timer(shape: Shape) {
    let stage = Stage::shared(shape, Profile::ShortTimes);
    let Registered { mut client, uaid, channel, endpoint } = stage.registered().await;
    assert_eq!(stage.put_data(&endpoint, 7, "look").await, 200);
    assert_eq!(client.updates().await, [json!({"channelID": channel, "version": 7, "data": "look"})]);
    client.expect_nothing_for(Duration::from_millis(500)).await;
    for _ in 0..3 {
        client.expect_update(&channel, 7).await;
    }
    // Also what was never sent with data, but read from the store.
    client.leave().await;
    let mut client = stage.connect().await;
    client.resume(&uaid, &[]).await;
    for _ in 0..3 {
        client.expect_update(&channel, 7).await;
    }
}

async fn sp_50_purge_is_answered_and_changes_nothing(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    let mut client = stage.connect().await;
    for _ in 0..20 {
        client.expect_nothing().await;
    }
    let uaid = client.hello().await;
    let channel = new_channel();
    let endpoint = client.register(&channel).await;
    assert_eq!(stage.put(&endpoint, 7).await, 200);
    client.expect_update(&channel, 7).await;
    for purge in [json!({"messageType": "purge"}), json!({"messageType": "PURGE", "uaid": uaid, "x": [1]})] {
        for _ in 0..20 {
            assert_eq!(client.ask(&purge).await, json!({}));
        }
    }
    // It is no ping either: the first ping is still allowed.
    assert_eq!(client.ask(&json!({})).await, json!({}));
    client.resume(&uaid, &[&channel]).await;
    client.expect_update(&channel, 7).await;
}

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
