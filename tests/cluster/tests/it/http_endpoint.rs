//! HTTP-1 to HTTP-12: the SimplePush endpoint.

use beckon_client::app_server::{AppServer, SendError};
use beckon_cluster_tests::{
    requests::FORM,
    stage::{Registered, Stage},
};
use beckon_conformance::{
    parts::{body, expect_cors, status},
    refusal::header,
};
use beckon_testbed::{
    plan::{Plan, Shape},
    redis::{Options, RedisServer},
    until,
};
use beckon_types::Version;
use http::Method;
use serde_json::json;
use std::time::Duration;

on_both_shapes![http_12_a_storage_failure_is_reported_and_delivers_nothing,];

async fn http_12_a_storage_failure_is_reported_and_delivers_nothing(shape: Shape) {
    let mut redis = RedisServer::start_with(Options { appendonly: true, ..Options::default() });
    let stage = Stage::own(Plan::new(shape).store(redis.url()));
    let Registered { mut client, uaid, channel, endpoint } = stage.registered().await;
    redis.kill();
    let answer = stage.request(Method::PUT, &endpoint, &[FORM], "version=7").await;
    assert_eq!((status(&answer), body(&answer)), (503, json!("Could not update channel version")));
    assert_eq!(header(&answer, "retry-after"), Some("120"));
    expect_cors(&answer);
    match AppServer::default().put(&endpoint, Version::new(7).ok(), None).await {
        Err(SendError::Refused { status, retry_after, reason }) => {
            assert_eq!((status.as_u16(), retry_after), (503, Some(Duration::from_secs(120))));
            assert_eq!(reason, "Could not update channel version");
        }
        other => panic!("expected 503, got {other:?}"),
    }
    client.expect_nothing().await;
    redis.restart();
    stage.wait_until_well().await;
    until("the store is back", async || (stage.put(&endpoint, 8).await == 200).then_some(())).await;
    client.expect_update(&channel, 8).await;
    client.resume(&uaid, &[&channel]).await;
    client.expect_update(&channel, 8).await;
}
