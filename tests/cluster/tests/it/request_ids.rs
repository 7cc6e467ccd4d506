//! The id of a request: in its answer, and in the logs of the nodes that had to do with it.

use beckon_cluster_tests::{
    requests::FORM,
    stage::{Registered, Stage},
    webpush::{self, KEPT, Subscribed},
};
use beckon_conformance::parts::request_id_of;
use beckon_testbed::{
    node::Node,
    plan::{Plan, Shape},
    redis::RedisServer,
    until,
};
use http::Method;

#[tokio::test]
async fn the_logs_of_both_tiers_have_the_id_of_a_request() {
    let stage = Stage::own(Plan::new(Shape::Cluster).all("BECKON_LOG", "info,beckon_requests=debug"));
    let Registered { mut client, channel, endpoint, .. } = stage.registered().await;
    let Subscribed { client: mut other, channel: other_channel, endpoint: other_endpoint, .. } =
        stage.subscribed().await;
    let answer = stage.request(Method::PUT, &endpoint, &[FORM], "version=1").await;
    client.expect_update(&channel, 1).await;
    let message = stage.post(&other_endpoint, &[KEPT], "").await;
    other.expect_ids(&other_channel, &[webpush::id_of(&message)]).await;
    for id in [request_id_of(&answer), request_id_of(&message)] {
        until("the id is in the log of a node of each tier", async || {
            let has = |nodes: Vec<&Node>, what: &str| {
                let logs: String = nodes.into_iter().map(Node::log).collect();
                logs.lines().any(|line| line.contains(&id) && line.contains(what))
            };
            let is_found = has(stage.endpoint_nodes(), "answered")
                && has(stage.connection_nodes(), "taken by its connection");
            is_found.then_some(())
        })
        .await;
    }
    for node in stage.nodes() {
        let log = node.log();
        for secret in [&channel, &other_channel, endpoint.rsplit_once('/').unwrap().1] {
            assert!(!log.contains(secret), "{} logs {secret}", node.name());
        }
    }
}

#[tokio::test]
async fn a_request_that_failed_is_in_the_log_without_being_asked_for() {
    let redis = RedisServer::start();
    let stage = Stage::own(Plan::cluster(1, 1).store(redis.url()));
    let Registered { endpoint, .. } = stage.registered().await;
    drop(redis);
    let answer = stage.request(Method::PUT, &endpoint, &[FORM], "version=1").await;
    assert_eq!(answer.status().as_u16(), 503);
    let id = request_id_of(&answer);
    until("the id is in the log", async || {
        let log = stage.endpoint_nodes()[0].log();
        log.lines()
            .any(|line| line.contains(&id) && line.contains("a request was not performed"))
            .then_some(())
    })
    .await;
}
