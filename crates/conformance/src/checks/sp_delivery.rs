//! SP-41 to SP-45, SP-50 and SP-51: notifications, live and stored.

use crate::{
    server::{Registered, Server},
    talk::new_channel,
};
use serde_json::json;

pub(crate) async fn sp_41_a_put_arrives_live_with_its_data(server: Server) {
    let Registered { mut client, channel, endpoint, .. } = server.registered().await;
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
        assert_eq!(server.put_form(&endpoint, form).await, 200, "{form}");
        // One notification with that one update, whatever else is not acknowledged.
        assert_eq!(client.updates().await, [expected], "{form}");
    }
    assert_eq!(server.put(&second_endpoint, 1).await, 200);
    client.expect_update(&second, 1).await;
    // The same version again is an update all the same.
    assert_eq!(server.put(&second_endpoint, 1).await, 200);
    client.expect_update(&second, 1).await;
    client.expect_nothing().await;
}

pub(crate) async fn sp_42_an_update_written_while_offline_follows_the_hello(server: Server) {
    let Registered { mut client, uaid, channel, endpoint } = server.registered().await;
    let second = new_channel();
    let second_endpoint = client.register(&second).await;
    client.leave().await;
    assert_eq!(server.put_data(&endpoint, 7, "look").await, 202);
    assert_eq!(server.put_data(&second_endpoint, 8, "look").await, 202);
    // On any node, until acknowledged.
    for _ in 0..3 {
        let mut client = server.connect().await;
        client.resume(&uaid, &[&channel]).await;
        client.expect_updates(&[(&channel, 7), (&second, 8)]).await;
        client.expect_nothing().await;
        client.leave().await;
    }
}

pub(crate) async fn sp_43_an_unacknowledged_update_comes_again_without_data(server: Server) {
    let Registered { mut client, uaid, channel, endpoint } = server.registered().await;
    assert_eq!(server.put_data(&endpoint, 7, "look").await, 200);
    assert_eq!(client.updates().await, [json!({"channelID": channel, "version": 7, "data": "look"})]);
    client.leave().await;
    let mut client = server.connect().await;
    client.resume(&uaid, &[]).await;
    client.expect_update(&channel, 7).await;
    // The same after a lost network.
    drop(client);
    let mut client = server.connect().await;
    client.resume(&uaid, &[]).await;
    client.expect_update(&channel, 7).await;
}

pub(crate) async fn sp_44_of_several_writes_the_last_one_counts(server: Server) {
    let Registered { client, uaid, channel, endpoint } = server.registered().await;
    client.leave().await;
    for version in [3, 12_345_789, 0, 1] {
        assert_eq!(server.put(&endpoint, version).await, 202);
    }
    let mut client = server.connect().await;
    client.resume(&uaid, &[]).await;
    client.expect_update(&channel, 1).await;
    client.expect_nothing().await;
    // Of those that were sent and not acknowledged, too.
    for version in [9, 2] {
        assert_eq!(server.put(&endpoint, version).await, 200);
        client.expect_update(&channel, version).await;
    }
    drop(client);
    let mut client = server.connect().await;
    client.resume(&uaid, &[]).await;
    client.expect_update(&channel, 2).await;
    client.expect_nothing().await;
}

pub(crate) async fn sp_50_purge_is_answered_and_changes_nothing(server: Server) {
    let mut client = server.connect().await;
    for _ in 0..20 {
        client.expect_nothing().await;
    }
    let uaid = client.hello().await;
    let channel = new_channel();
    let endpoint = client.register(&channel).await;
    assert_eq!(server.put(&endpoint, 7).await, 200);
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

pub(crate) async fn sp_45_an_unacknowledged_update_is_sent_again_by_timer(server: Server) {
    let interval = server.times().sp_retry_interval;
    let patience = server.patience() + interval;
    let Registered { client, uaid, channel, endpoint } = server.registered().await;
    let mut client = client.with_patience(patience);
    assert_eq!(server.put_data(&endpoint, 7, "look").await, 200);
    assert_eq!(client.updates().await, [json!({"channelID": channel, "version": 7, "data": "look"})]);
    client.expect_nothing_for(interval / 2).await;
    for _ in 0..3 {
        client.expect_update(&channel, 7).await;
    }
    // Also what was never sent with data, but read from the store.
    client.leave().await;
    let mut client = server.connect().await.with_patience(patience);
    client.resume(&uaid, &[]).await;
    for _ in 0..3 {
        client.expect_update(&channel, 7).await;
    }
}
