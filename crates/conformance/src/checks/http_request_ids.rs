//! HTTP-41: the id of a request.

use crate::{
    server::{FORM, Registered, Server},
    webpush::{KEPT, location_of},
};
use bytes::Bytes;
use http::{Method, Response};
use std::collections::BTreeSet;

/// A request and the status of its answer: method, URL, headers, body, status.
type Case<'a> = (Method, &'a str, &'a [(&'a str, &'a str)], &'a str, u16);

/// The id of a request in its answer.
pub fn request_id_of(answer: &Response<Bytes>) -> String {
    let id = answer.headers().get("x-request-id").and_then(|id| id.to_str().ok());
    let id = id.unwrap_or_else(|| panic!("no id in {answer:?}"));
    let is_hex = id.len() == 16 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    assert!(is_hex, "{id}");
    id.to_owned()
}

pub(crate) async fn http_41_every_answer_names_its_request(server: Server) {
    let Registered { mut client, channel, endpoint, .. } = server.registered().await;
    let subscribed = server.subscribed().await;
    let location = location_of(&server.post(&subscribed.endpoint, &[KEPT], "").await).to_owned();
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
        let answer = server.request(method.clone(), url, headers, body.to_owned()).await;
        assert_eq!(answer.status().as_u16(), status, "{method} {url}");
        assert!(ids.insert(request_id_of(&answer)), "an id comes again");
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
        let answer = server.request(Method::PUT, &endpoint, &headers, format!("version={version}")).await;
        assert_eq!((answer.status().as_u16(), &answer.body()[..]), (200, &b"{}"[..]), "{parents:?}");
        assert!(ids.insert(request_id_of(&answer)), "an id comes again");
        client.expect_update(&channel, version).await;
    }
}
