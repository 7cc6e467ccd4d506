//! The id of a request: in its answer, and in the logs of the nodes that had to do with it.

use beckon_cluster_tests::{
    requests::FORM,
    shared::Profile,
    stage::{Registered, Stage},
    webpush::{self, KEPT, Subscribed, location_of},
};
use beckon_testbed::{
    node::Node,
    plan::{Plan, Shape},
    redis::RedisServer,
    until,
};
use bytes::Bytes;
use http::{Method, Response};
use std::collections::BTreeSet;

on_both_shapes![http_41_every_answer_names_its_request];

/// A request and the status of its answer: method, URL, headers, body, status.
type Case<'a> = (Method, &'a str, &'a [(&'a str, &'a str)], &'a str, u16);

/// The id in an answer.
fn id_of(answer: &Response<Bytes>) -> String {
    let id = answer.headers().get("x-request-id").and_then(|id| id.to_str().ok());
    let id = id.unwrap_or_else(|| panic!("no id in {answer:?}"));
    let is_hex = id.len() == 16 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    assert!(is_hex, "{id}");
    id.to_owned()
}

async fn http_41_every_answer_names_its_request(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    let Registered { mut client, channel, endpoint, .. } = stage.registered().await;
    let subscribed = stage.subscribed().await;
    let location = location_of(&stage.post(&subscribed.endpoint, &[KEPT], "").await).to_owned();
    let mut ids = BTreeSet::new();
    let requests: [Case<'_>; 8] = [
        (Method::OPTIONS, &endpoint, &[], "", 200),
        (Method::PUT, &format!("{endpoint}A"), &[FORM], "version=1", 404),
        (Method::GET, &endpoint, &[], "", 405),
        (Method::POST, &subscribed.endpoint, &[KEPT], "", 201),
        (Method::POST, &subscribed.endpoint, &[], "", 400),
        (Method::OPTIONS, &subscribed.endpoint, &[], "", 200),
        (Method::DELETE, &location, &[], "", 204),
        (Method::DELETE, &format!("{location}A"), &[], "", 400),
    ];
    for (method, url, headers, body, status) in requests {
        let answer = stage.request(method.clone(), url, headers, body.to_owned()).await;
        assert_eq!(answer.status().as_u16(), status, "{method} {url}");
        assert!(ids.insert(id_of(&answer)), "an id comes again");
    }
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let parents: [&[(&str, &str)]; 5] = [
        &[("traceparent", traceparent)],
        &[("traceparent", traceparent), ("tracestate", "a=1,b=2")],
        &[("traceparent", "nonsense"), ("tracestate", "nonsense")],
        &[("traceparent", traceparent), ("traceparent", traceparent)],
        &[("tracestate", "a=1")],
    ];
    for (version, parents) in (1..).zip(parents) {
        let headers = [&[FORM], parents].concat();
        let answer = stage.request(Method::PUT, &endpoint, &headers, format!("version={version}")).await;
        assert_eq!((answer.status().as_u16(), &answer.body()[..]), (200, &b"{}"[..]), "{parents:?}");
        assert!(ids.insert(id_of(&answer)), "an id comes again");
        client.expect_update(&channel, version).await;
    }
}

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
    for id in [id_of(&answer), id_of(&message)] {
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
    let id = id_of(&answer);
    until("the id is in the log", async || {
        let log = stage.endpoint_nodes()[0].log();
        log.lines()
            .any(|line| line.contains(&id) && line.contains("a request was not performed"))
            .then_some(())
    })
    .await;
}
