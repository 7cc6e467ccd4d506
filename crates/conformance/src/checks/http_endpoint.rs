//! HTTP-1 to HTTP-12: the SimplePush endpoint.

use crate::{
    refusal::header,
    server::{FORM, Registered, Server},
    talk::{Client, new_channel},
};
use beckon_client::app_server::Accepted;
use beckon_types::Version;
use http::{Method, Response};
use serde_json::{Value, json};
use std::time::SystemTime;

/// The status as a number.
pub fn status(response: &Response<bytes::Bytes>) -> u16 {
    response.status().as_u16()
}

/// The body as JSON.
pub fn body(response: &Response<bytes::Bytes>) -> Value {
    let text = std::str::from_utf8(response.body()).unwrap();
    assert_eq!(header(response, "content-type"), Some("application/json"), "{text}");
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in `{text}`"))
}

/// Pages of any origin may send, and may see the answer (PROTOCOL.md section 3).
pub fn expect_cors(response: &Response<bytes::Bytes>) {
    for (name, value) in [
        ("access-control-allow-origin", "*"),
        ("access-control-allow-methods", "PUT, OPTIONS"),
        ("access-control-allow-headers", "Content-Type, traceparent, tracestate"),
        ("access-control-expose-headers", "Retry-After, X-Request-Id"),
        ("access-control-max-age", "3600"),
    ] {
        assert_eq!(header(response, name), Some(value), "{name} of {response:?}");
    }
}

#[expect(clippy::disallowed_methods, reason = "the version that a server makes up is the time")]
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

/// Receives one update, whose version is the time.
pub(crate) async fn expect_time(client: &mut Client, channel: &str, data: Option<&str>) {
    let updates = client.updates().await;
    let [update] = &updates[..] else { panic!("{updates:?}") };
    let version = update["version"].as_u64().unwrap();
    let now = unix_seconds();
    assert!((now - 100..=now + 1).contains(&version), "{version} at {now}");
    let mut expected = json!({"channelID": channel, "version": version});
    if let Some(data) = data {
        expected["data"] = json!(data);
    }
    assert_eq!(*update, expected);
}

pub(crate) async fn http_1_a_put_says_whether_the_client_is_connected(server: Server) {
    let Registered { mut client, uaid, channel, endpoint } = server.registered().await;
    let answer = server.request(Method::PUT, &endpoint, &[FORM], "version=7").await;
    assert_eq!((status(&answer), body(&answer)), (200, json!({})));
    expect_cors(&answer);
    client.expect_update(&channel, 7).await;
    client.leave().await;
    let answer = server.request(Method::PUT, &endpoint, &[FORM], "version=8").await;
    assert_eq!((status(&answer), body(&answer)), (202, json!({})));
    expect_cors(&answer);
    let mut client = server.connect().await;
    client.resume(&uaid, &[&channel]).await;
    client.expect_update(&channel, 8).await;
    // The endpoint works as it is given out.
    let put = server.app_server().put(&endpoint, Version::new(9).ok(), Some("look")).await;
    assert_eq!(put.unwrap(), Accepted::Delivered);
    assert_eq!(client.updates().await[0]["data"], "look");
}

pub(crate) async fn http_2_without_a_version_it_is_the_time(server: Server) {
    let Registered { mut client, channel, endpoint, .. } = server.registered().await;
    let answer = server.request(Method::PUT, &endpoint, &[], "").await;
    assert_eq!(status(&answer), 200);
    expect_time(&mut client, &channel, None).await;
    for (form, data) in
        [("", None), ("version=", None), ("data=look", Some("look")), ("version=&data=look", Some("look"))]
    {
        assert_eq!(server.put_form(&endpoint, form).await, 200, "{form}");
        expect_time(&mut client, &channel, data).await;
    }
}

pub(crate) async fn http_3_the_smallest_and_the_largest_version_are_accepted(server: Server) {
    let Registered { mut client, uaid, channel, endpoint } = server.registered().await;
    for version in [0, 1, u64::from(u32::MAX) + 1, 9_223_372_036_854_775_807] {
        assert_eq!(server.put(&endpoint, version).await, 200);
        client.expect_update(&channel, version).await;
        client.resume(&uaid, &[]).await;
        client.expect_update(&channel, version).await;
    }
    assert_eq!(server.put_form(&endpoint, "version=0007").await, 200);
    client.expect_update(&channel, 7).await;
}

pub(crate) async fn http_4_what_is_no_version_is_refused(server: Server) {
    let Registered { mut client, endpoint, .. } = server.registered().await;
    for version in [
        "-1",
        "%2B1",
        "1.5",
        "abc",
        "0x1",
        "9223372036854775808",
        "99999999999999999999",
        "1+",
        "+1",
        "%D9%A1",
    ] {
        let form = format!("version={version}&data=x");
        let answer = server.request(Method::PUT, &endpoint, &[FORM], form).await;
        assert_eq!((status(&answer), body(&answer)), (400, json!("Invalid Version")), "{version}");
        expect_cors(&answer);
        let in_query = format!("{endpoint}?version={version}");
        let answer = server.request(Method::PUT, &in_query, &[], "").await;
        assert_eq!((status(&answer), body(&answer)), (400, json!("Invalid Version")), "{version}");
    }
    let multipart = ("content-type", "multipart/form-data; boundary=b");
    for unreadable in ["--b\r\nContent-Dis", "no boundary at all"] {
        let answer = server.request(Method::PUT, &endpoint, &[multipart], unreadable).await;
        assert_eq!((status(&answer), body(&answer)), (400, json!("Invalid Version")), "{unreadable}");
    }
    client.expect_nothing().await;
}

pub(crate) async fn http_5_a_body_without_a_type_is_a_form(server: Server) {
    let Registered { mut client, channel, endpoint, .. } = server.registered().await;
    let multipart = "--b\r\nContent-Disposition: form-data; name=\"version\"\r\n\r\n7\r\n\
                     --b\r\nContent-Disposition: form-data; name=\"data\"\r\n\r\nlook & see\r\n--b--\r\n";
    for (content_type, form) in [
        (None, "version=7&data=look+%26%20see"),
        (Some(""), "version=7&data=look+%26%20see"),
        (Some("application/x-www-form-urlencoded; charset=UTF-8"), "data=look+%26%20see&version=7&x=y"),
        (Some("APPLICATION/X-WWW-Form-Urlencoded"), "version=7&data=look+%26%20see"),
        (Some("multipart/form-data; boundary=b"), multipart),
    ] {
        let headers: Vec<_> = content_type.iter().map(|value| ("content-type", *value)).collect();
        let answer = server.request(Method::PUT, &endpoint, &headers, form).await;
        assert_eq!(status(&answer), 200, "{content_type:?}");
        let expected = json!({"channelID": channel, "version": 7, "data": "look & see"});
        assert_eq!(client.updates().await, [expected], "{content_type:?}");
    }
}

pub(crate) async fn http_6_a_body_of_another_type_is_ignored(server: Server) {
    let Registered { mut client, channel, endpoint, .. } = server.registered().await;
    for content_type in ["text/plain", "application/json", "application/octet-stream", "nonsense"] {
        let headers = [("content-type", content_type)];
        let answer = server.request(Method::PUT, &endpoint, &headers, "version=7&data=x").await;
        assert_eq!(status(&answer), 200, "{content_type}");
        expect_time(&mut client, &channel, None).await;
        let in_query = format!("{endpoint}?version=7");
        let answer = server.request(Method::PUT, &in_query, &headers, "version=-1").await;
        assert_eq!(status(&answer), 200, "{content_type}");
        client.expect_update(&channel, 7).await;
    }
}

pub(crate) async fn http_7_the_version_may_be_in_the_query(server: Server) {
    let Registered { mut client, channel, endpoint, .. } = server.registered().await;
    for (query, form, expected) in [
        ("version=5", "", json!({"channelID": channel, "version": 5})),
        ("version=5&data=q", "", json!({"channelID": channel, "version": 5, "data": "q"})),
        ("version=5&data=q", "version=6", json!({"channelID": channel, "version": 6, "data": "q"})),
        ("version=5&data=q", "data=b", json!({"channelID": channel, "version": 5, "data": "b"})),
        ("version=abc", "version=6", json!({"channelID": channel, "version": 6})),
    ] {
        let answer = server.request(Method::PUT, &format!("{endpoint}?{query}"), &[FORM], form).await;
        assert_eq!(status(&answer), 200, "{query} {form}");
        assert_eq!(client.updates().await, [expected], "{query} {form}");
    }
}

pub(crate) async fn http_8_data_above_the_limit_is_refused(server: Server) {
    let Registered { mut client, channel, endpoint, .. } = server.registered().await;
    for data in ["x".repeat(4096), "\u{e9}".repeat(2048)] {
        let encoded = data.replace('\u{e9}', "%C3%A9");
        assert_eq!(server.put_data(&endpoint, 1, &encoded).await, 200);
        assert_eq!(client.updates().await, [json!({"channelID": channel, "version": 1, "data": data})]);
    }
    for data in ["x".repeat(4097), "%C3%A9".repeat(2049), "x".repeat(70_000)] {
        let form = format!("version=2&data={data}");
        let answer = server.request(Method::PUT, &endpoint, &[FORM], form).await;
        let reason = "Data exceeds max length of 4096 bytes";
        assert_eq!((status(&answer), body(&answer)), (413, json!(reason)), "{} bytes", data.len());
        expect_cors(&answer);
    }
    client.expect_nothing().await;
}

pub(crate) async fn http_9_an_unusable_token_is_not_found_or_gone(server: Server) {
    let Registered { mut client, uaid, channel, endpoint } = server.registered().await;
    let (base, token) = endpoint.rsplit_once('/').unwrap();
    let altered = |position: usize| {
        let letter = if token.as_bytes()[position] == b'A' { "B" } else { "A" };
        format!("{}{letter}{}", &token[..position], &token[position + 1..])
    };
    let last = token.len() - 1;
    for token in [
        altered(0),
        altered(token.len() / 2),
        token[..last].to_owned(),
        format!("{token}A"),
        "x".to_owned(),
        "q7Zt1mX0cD".to_owned(),
        "%00".to_owned(),
        token.to_lowercase() + "A",
        "A".repeat(4000),
    ] {
        let answer = server.request(Method::PUT, &format!("{base}/{token}"), &[FORM], "version=1").await;
        assert_eq!((status(&answer), body(&answer)), (404, json!("Invalid Token")), "{token}");
        expect_cors(&answer);
    }
    let gone = async || {
        let answer = server.request(Method::PUT, &endpoint, &[FORM], "version=1").await;
        assert_eq!((status(&answer), body(&answer)), (410, json!("Channel Not Registered")));
        expect_cors(&answer);
    };
    client.unregister(&channel).await;
    gone().await;
    assert_eq!(client.register(&channel).await, endpoint);
    assert_eq!(server.put(&endpoint, 1).await, 200);
    // A list with a stranger in it deletes the UAID.
    server.connect().await.hello_as(&uaid, &[&new_channel()]).await;
    gone().await;
    // The first failure answers: the version is looked at before the token.
    let answer = server.request(Method::PUT, &format!("{base}/x"), &[FORM], "version=-1").await;
    assert_eq!(status(&answer), 400);
}

pub(crate) async fn http_10_other_methods_are_not_allowed(server: Server) {
    let Registered { mut client, endpoint, .. } = server.registered().await;
    for method in [Method::GET, Method::POST, Method::DELETE, Method::PATCH] {
        for endpoint in [endpoint.clone(), format!("{endpoint}A")] {
            let answer = server.request(method.clone(), &endpoint, &[FORM], "version=1").await;
            assert_eq!((status(&answer), body(&answer)), (405, json!("Method Not Allowed")), "{method}");
            assert_eq!(header(&answer, "allow"), Some("PUT, OPTIONS"), "{method}");
            expect_cors(&answer);
        }
    }
    let answer = server.request(Method::HEAD, &endpoint, &[], "").await;
    assert_eq!((status(&answer), header(&answer, "allow")), (405, Some("PUT, OPTIONS")));
    client.expect_nothing().await;
}

pub(crate) async fn http_11_options_says_who_may_come(server: Server) {
    let Registered { mut client, endpoint, .. } = server.registered().await;
    for endpoint in [endpoint.clone(), format!("{endpoint}A"), endpoint.replace("/update/", "/update/x")] {
        let headers = [("origin", "https://app.example"), ("access-control-request-method", "PUT")];
        let answer = server.request(Method::OPTIONS, &endpoint, &headers, "").await;
        assert_eq!((status(&answer), answer.body().len()), (200, 0), "{endpoint}");
        expect_cors(&answer);
    }
    client.expect_nothing().await;
}
