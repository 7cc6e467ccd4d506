//! What items of the checklist say of other settings than the defaults.

use beckon_cluster_tests::{
    requests::FORM,
    shared::Profile,
    stage::{Registered, Stage},
    webpush::{ENCRYPTED, KEPT, Subscribed},
};
use beckon_conformance::{
    parts::{body, status, stored},
    refusal::{expect_refusal, header},
};
use beckon_testbed::plan::Shape;
use http::Method;
use serde_json::json;
use std::time::Duration;

on_both_shapes![
    sp_7_pings_not_so_soon_are_answered,
    sp_24_a_malformed_uaid_gets_503_if_so_configured,
    sp_34_a_long_register_without_a_uuid_is_invalid,
    wp_35_a_batch_is_as_large_as_the_setting_says,
    wp_38_pings_not_so_soon_are_answered,
    http_8_the_limit_of_data_is_a_setting,
    http_15_the_longest_ttl_is_a_setting,
    http_21_the_limit_of_a_body_is_a_setting,
];

/// More than the shortest time between two pings of [`Profile::ShortTimes`].
const PING_PAUSE: Duration = Duration::from_millis(1200);

async fn sp_7_pings_not_so_soon_are_answered(shape: Shape) {
    let stage = Stage::shared(shape, Profile::ShortTimes);
    let mut client = stage.connect().await;
    client.hello().await;
    for _ in 0..3 {
        assert_eq!(client.ask(&json!({})).await, json!({}));
        client.expect_nothing_for(PING_PAUSE).await;
    }
}

async fn sp_24_a_malformed_uaid_gets_503_if_so_configured(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Strict);
    for uaid in ["!@#", "abc", "0123456789abcdef0123456789abcdef01", &"x".repeat(128_000)] {
        let mut client = stage.connect().await;
        let request = json!({"messageType": "hello", "uaid": uaid, "channelIDs": []});
        client.expect_error(&request, 503, "Invalid UAID").await;
        client.expect_close(1008).await;
    }
}

/// The public suite sends keys of this length, with a limit that allows them.
async fn sp_34_a_long_register_without_a_uuid_is_invalid(shape: Shape) {
    let mut client = Stage::shared(shape, Profile::Strict).connect().await;
    client.hello().await;
    client.expect_401(&json!({"messageType": "register", "channelID": "x".repeat(128_000)})).await;
}

async fn wp_35_a_batch_is_as_large_as_the_setting_says(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Strict);
    let Subscribed { client, uaid, channel, endpoint } = stage.subscribed().await;
    client.leave().await;
    let ids = stored(&stage, &endpoint, 3).await;
    let mut client = stage.resumed(&uaid).await;
    client.expect_ids(&channel, &ids[..2]).await;
    client.expect_nothing().await;
    client.ack_all(&channel, &ids[..2]).await;
    client.expect_ids(&channel, &ids[2..]).await;
}

async fn wp_38_pings_not_so_soon_are_answered(shape: Shape) {
    let stage = Stage::shared(shape, Profile::ShortTimes);
    let mut client = stage.connect_webpush().await;
    client.hello().await;
    for _ in 0..3 {
        assert_eq!(client.ask(&json!({})).await, json!({}));
        client.expect_nothing_for(PING_PAUSE).await;
    }
}

async fn http_8_the_limit_of_data_is_a_setting(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Strict);
    let Registered { mut client, endpoint, .. } = stage.registered().await;
    assert_eq!(stage.put_data(&endpoint, 1, "0123456789").await, 200);
    assert_eq!(client.updates().await[0]["data"], "0123456789");
    let answer = stage.request(Method::PUT, &endpoint, &[FORM], "version=2&data=0123456789a").await;
    assert_eq!((status(&answer), body(&answer)), (413, json!("Data exceeds max length of 10 bytes")));
}

async fn http_15_the_longest_ttl_is_a_setting(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Strict);
    let Subscribed { endpoint, .. } = stage.subscribed().await;
    let answer = stage.post(&endpoint, &[("ttl", "61")], "").await;
    assert_eq!((answer.status().as_u16(), header(&answer, "ttl")), (201, Some("60")));
}

async fn http_21_the_limit_of_a_body_is_a_setting(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Strict);
    let Subscribed { mut client, channel, endpoint, .. } = stage.subscribed().await;
    let body = "x".repeat(4096);
    let id = stage.message(&endpoint, &body).await;
    client.expect_message(&channel, &id, &body).await;
    let answer = stage.post(&endpoint, &[KEPT, ENCRYPTED], "x".repeat(4097)).await;
    expect_refusal(&answer, 413, Some(104));
}
