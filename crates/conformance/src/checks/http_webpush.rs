//! HTTP-13, HTTP-21 to HTTP-24, HTTP-31, HTTP-32 and HTTP-35 to HTTP-37: the Web Push endpoint.

use crate::{
    refusal::{expect_cors, expect_refusal, header, tokens_of},
    server::{Registered, Server},
    webpush::{ENCRYPTED, KEPT, Subscribed, audience_of, authorization, id_of, location_of, new_signer},
};
use beckon_client::{app_server::SendError, webpush::post::Post};
use beckon_types::{Encoding, Payload};
use http::{Method, Response};
use std::time::Duration;

/// The answer to a message that is accepted with this TTL; returns its id.
fn expect_accepted(answer: &Response<bytes::Bytes>, endpoint: &str, ttl: &str) -> String {
    let id = id_of(answer);
    assert_eq!(location_of(answer), format!("{}/m/{id}", audience_of(endpoint)));
    assert_eq!(header(answer, "ttl"), Some(ttl), "{answer:?}");
    assert!(answer.body().is_empty(), "{answer:?}");
    id
}

pub(crate) async fn http_13_a_post_is_answered_by_201_and_a_location(server: Server) {
    let Subscribed { mut client, uaid, channel, endpoint } = server.subscribed().await;
    for ttl in ["600", "0"] {
        let answer = server.post(&endpoint, &[("ttl", ttl), ENCRYPTED], "x").await;
        let id = expect_accepted(&answer, &endpoint, ttl);
        client.expect_message(&channel, &id, "x").await;
        client.ack(&channel, &id).await;
    }
    client.leave().await;
    for ttl in ["600", "0"] {
        let answer = server.post(&endpoint, &[("ttl", ttl), ENCRYPTED], "x").await;
        expect_accepted(&answer, &endpoint, ttl);
    }
    // The endpoint works as it is given out, and so does the location.
    let mut client = server.resumed(&uaid).await;
    client.notification().await;
    let app_server = server.app_server();
    let payload = Some(Payload { encoding: Encoding::Aes128gcm, body: "look".into() });
    let post = Post { ttl: Duration::from_secs(60), payload, ..Post::default() };
    let posted = app_server.post(&endpoint, &post).await.unwrap();
    assert_eq!(posted.ttl, Duration::from_secs(60));
    let (_, id) = posted.location.rsplit_once('/').unwrap();
    client.expect_message(&channel, id, "look").await;
    app_server.cancel(&posted.location).await.unwrap();
    match app_server.post(&format!("{endpoint}A"), &post).await {
        Err(SendError::Refused { status, .. }) => assert_eq!(status.as_u16(), 404),
        other => panic!("expected 404, got {other:?}"),
    }
}

pub(crate) async fn http_21_a_body_above_the_limit_is_refused(server: Server) {
    let Subscribed { mut client, uaid, channel, endpoint } = server.subscribed().await;
    let mut kept = Vec::new();
    for length in [1, 4096, 5630] {
        let body = "x".repeat(length);
        let id = server.message(&endpoint, &body).await;
        client.expect_message(&channel, &id, &body).await;
        kept.push((id, body));
    }
    for length in [5631, 70_000] {
        let answer = server.post(&endpoint, &[KEPT, ENCRYPTED], "x".repeat(length)).await;
        expect_refusal(&answer, 413, Some(104));
    }
    client.expect_nothing().await;
    let mut client = server.resumed(&uaid).await;
    for (id, body) in &kept {
        client.expect_message(&channel, id, body).await;
    }
    // A body whose length is not told beforehand has the same limit.
    for (length, status) in [(5630, "201"), (5631, "413"), (70_000, "413")] {
        let uri: http::Uri = endpoint.parse().unwrap();
        let rest = format!(
            "TTL: 600\r\nContent-Encoding: aes128gcm\r\nTransfer-Encoding: chunked\r\n\r\n\
             {length:x}\r\n{}\r\n0\r\n\r\n",
            "x".repeat(length)
        );
        let head = server.literal_request(&format!("POST {}", uri.path()), &rest).await;
        assert_eq!(head.split(' ').nth(1), Some(status), "{length}: {head}");
    }
    client.notification().await;
    client.expect_nothing().await;
}

pub(crate) async fn http_22_a_token_that_is_not_of_this_path_is_not_found(server: Server) {
    let signer = new_signer();
    let Subscribed { endpoint: open, .. } = server.subscribed().await;
    let Subscribed { endpoint: restricted, .. } = server.subscribed_for(&signer).await;
    let Registered { endpoint: simplepush, .. } = server.registered().await;
    let origin = audience_of(&open);
    let credential = authorization(&signer, &open);
    let (open, altered) = tokens_of(&open);
    let (restricted, _) = tokens_of(&restricted);
    let (simplepush, _) = tokens_of(&simplepush);
    let mut paths: Vec<_> = altered
        .iter()
        .flat_map(|token| ["/wpush/v1/", "/wpush/", "/wpush/v2/"].map(|path| format!("{path}{token}")))
        .collect();
    paths.extend([
        format!("/wpush/v1/{simplepush}"),
        format!("/wpush/v2/{simplepush}"),
        format!("/wpush/{simplepush}"),
        format!("/wpush/v2/{open}"),
        format!("/wpush/v1/{restricted}"),
        format!("/wpush/{restricted}"),
        format!("/wpush/v3/{open}"),
        format!("/wpush/v0/{open}"),
        format!("/wpush/v3/{restricted}"),
    ]);
    for path in paths {
        let headers = [KEPT, ENCRYPTED, ("authorization", &*credential)];
        let answer = server.post(&format!("{origin}{path}"), &headers, "x").await;
        expect_refusal(&answer, 404, Some(102));
        expect_cors(&answer, "POST, OPTIONS");
    }
    // Nor the other way round.
    assert_eq!(server.put(&format!("{origin}/update/{open}"), 1).await, 404);
}

pub(crate) async fn http_23_the_version_may_be_left_out_of_the_path(server: Server) {
    let Subscribed { mut client, channel, endpoint, .. } = server.subscribed().await;
    let short = endpoint.replace("/wpush/v1/", "/wpush/");
    let id = server.message(&short, "x").await;
    client.expect_message(&channel, &id, "x").await;
    expect_refusal(&server.post(&short, &[ENCRYPTED], "x").await, 400, Some(111));
}

pub(crate) async fn http_31_the_first_failure_answers(server: Server) {
    let Subscribed { client: _client, endpoint, .. } = server.subscribed().await;
    let mut other = server.subscribed().await;
    other.client.unregister(&other.channel).await;
    let gone = other.endpoint;
    let bad_token = format!("{endpoint}A");
    let v3 = endpoint.replace("/v1/", "/v3/");
    let large = "x".repeat(5631);
    let bad_vapid = ("authorization", "vapid t=x");
    let twice = [("urgency", "high"), ("urgency", "low")];
    for (method, endpoint, headers, body, status, errno) in [
        (Method::GET, &bad_token, vec![], "", 405, None),
        (Method::POST, &v3, vec![bad_vapid], &*large, 404, Some(102)),
        (Method::POST, &bad_token, vec![], &*large, 404, Some(102)),
        (Method::POST, &bad_token, vec![bad_vapid], "x", 404, Some(102)),
        (Method::POST, &gone, vec![bad_vapid], "x", 401, Some(109)),
        (Method::POST, &endpoint, vec![bad_vapid], &*large, 401, Some(109)),
        (Method::POST, &gone, vec![], &*large, 410, Some(106)),
        (Method::POST, &gone, vec![], "x", 410, Some(106)),
        (Method::POST, &endpoint, vec![("topic", "a b")], &*large, 413, Some(104)),
        (Method::POST, &endpoint, vec![("topic", "a b"), twice[0], twice[1]], "x", 400, Some(111)),
        (Method::POST, &endpoint, vec![KEPT, ("topic", "a b"), twice[0], twice[1]], "x", 400, Some(113)),
        (Method::POST, &endpoint, vec![KEPT, twice[0], twice[1]], "x", 400, None),
        (Method::POST, &endpoint, vec![KEPT], "x", 400, Some(110)),
    ] {
        let answer = server.request(method.clone(), endpoint, &headers, body.to_owned()).await;
        expect_refusal(&answer, status, errno);
    }
}

pub(crate) async fn http_32_every_error_has_the_same_members(server: Server) {
    let Subscribed { client: _client, endpoint, .. } = server.subscribed().await;
    let origin = audience_of(&endpoint);
    for (method, url, headers, status, errno) in [
        (Method::POST, endpoint.clone(), vec![], 400, Some(111)),
        (Method::POST, format!("{endpoint}A"), vec![KEPT], 404, Some(102)),
        (Method::POST, endpoint.clone(), vec![KEPT, ("authorization", "Basic x")], 401, Some(109)),
        (Method::PUT, endpoint.clone(), vec![KEPT], 405, None),
        (Method::GET, format!("{origin}/m/x"), vec![], 405, None),
        (Method::DELETE, format!("{origin}/m/x"), vec![], 400, None),
        (Method::GET, format!("{origin}/nonsense"), vec![], 404, None),
        (Method::POST, format!("{origin}/"), vec![], 404, None),
    ] {
        let answer = server.request(method, &url, &headers, "").await;
        expect_refusal(&answer, status, errno);
    }
}

pub(crate) async fn http_35_other_methods_are_not_allowed(server: Server) {
    let signer = new_signer();
    let Subscribed { mut client, endpoint, .. } = server.subscribed().await;
    let Subscribed { endpoint: restricted, .. } = server.subscribed_for(&signer).await;
    let short = endpoint.replace("/v1/", "/");
    for endpoint in [&endpoint, &restricted, &short, &format!("{endpoint}A")] {
        for method in [Method::GET, Method::PUT, Method::DELETE, Method::PATCH] {
            let answer = server.request(method.clone(), endpoint, &[KEPT, ENCRYPTED], "x").await;
            expect_refusal(&answer, 405, None);
            assert_eq!(header(&answer, "allow"), Some("POST, OPTIONS"), "{method}");
            expect_cors(&answer, "POST, OPTIONS");
        }
        let answer = server.request(Method::HEAD, endpoint, &[], "").await;
        assert_eq!((answer.status().as_u16(), header(&answer, "allow")), (405, Some("POST, OPTIONS")));
    }
    client.expect_nothing().await;
}

pub(crate) async fn http_36_options_says_who_may_come(server: Server) {
    let Subscribed { mut client, endpoint, .. } = server.subscribed().await;
    let origin = audience_of(&endpoint);
    let asked = [("origin", "https://app.example"), ("access-control-request-method", "POST")];
    for (url, methods) in [
        (endpoint.clone(), "POST, OPTIONS"),
        (format!("{endpoint}A"), "POST, OPTIONS"),
        (endpoint.replace("/v1/", "/v2/"), "POST, OPTIONS"),
        (endpoint.replace("/v1/", "/"), "POST, OPTIONS"),
        (format!("{origin}/m/x"), "DELETE, OPTIONS"),
    ] {
        let answer = server.request(Method::OPTIONS, &url, &asked, "").await;
        assert_eq!((answer.status().as_u16(), answer.body().len()), (200, 0), "{url}");
        expect_cors(&answer, methods);
    }
    client.expect_nothing().await;
    for headers in [&[KEPT, ENCRYPTED][..], &[]] {
        expect_cors(&server.post(&endpoint, headers, "x").await, "POST, OPTIONS");
    }
}

pub(crate) async fn http_37_receipts_are_not_produced(server: Server) {
    let Subscribed { mut client, channel, endpoint, .. } = server.subscribed().await;
    let headers = [KEPT, ENCRYPTED, ("prefer", "respond-async"), ("push-receipt", "https://a.example/r")];
    let answer = server.post(&endpoint, &headers, "x").await;
    let id = id_of(&answer);
    assert_eq!(header(&answer, "link"), None, "{answer:?}");
    client.expect_message(&channel, &id, "x").await;
}
