//! `DELETE /m/<message-id>` (PROTOCOL.md section 5.6).

use crate::{
    http_client::send,
    test_node::TestNode,
    webpush::{assert_cors, assert_error},
};
use beckon_types::{KeyRing, MessageId};

const METHODS: &str = "DELETE, OPTIONS";

#[tokio::test]
async fn a_cancelled_message_is_no_longer_stored() {
    let node = TestNode::start().await;
    let path = node.subscribe_offline(1).await;
    let mut urls = Vec::new();
    for (headers, body) in [("", "a"), ("Topic: t\r\n", "b"), ("", "c"), ("Topic: t\r\n", "d")] {
        let answer = node.post(&path, headers, body.as_bytes()).await;
        urls.push(answer.header("location").strip_prefix("http://push.example.net").unwrap().to_owned());
    }
    // The second is not stored, because the fourth has replaced it; cancelling it leaves the fourth alone.
    for (url, left) in [(1, 3), (1, 3), (0, 2), (0, 2), (3, 1), (3, 1), (2, 0)] {
        let answer = send(node.http, "DELETE", &urls[url], "", b"").await;
        assert_eq!((answer.status, answer.body.as_str()), (204, ""), "{url}");
        assert_cors(&answer, METHODS);
        assert_eq!(node.stored(1).await.len(), left, "{url}");
    }
    node.stop().await;
}

#[tokio::test]
async fn a_message_that_was_never_stored_is_cancelled_too() {
    let node = TestNode::start().await;
    let path = node.subscribe_offline(1).await;
    let answer = send(node.http, "POST", &path, "TTL: 0\r\n", b"").await;
    let url = answer.header("location").strip_prefix("http://push.example.net").unwrap();
    assert_eq!(send(node.http, "DELETE", url, "", b"").await.status, 204);
    node.stop().await;
}

#[tokio::test]
async fn an_unknown_id_cancels_nothing() {
    let node = TestNode::start().await;
    node.expect_other_nodes().await;
    let path = node.subscribe_offline(1).await;
    let answer = node.post(&path, "", b"a").await;
    let id = answer.header("location").strip_prefix("http://push.example.net/m/").unwrap();
    let place = MessageId::open(&node.keys, id).unwrap();
    let foreign: KeyRing = KeyRing::key_text(&[8; 32]).parse().unwrap();
    let foreign = place.seal(&foreign, foreign.newest());
    let (_, token) = path.rsplit_once('/').unwrap();
    for id in ["x", "m1.", &id[3..], &id[..id.len() - 1], &format!("{id}A"), &foreign, token] {
        let answer = send(node.http, "DELETE", &format!("/m/{id}"), "", b"").await;
        assert_error(&answer, 400, None);
        assert_cors(&answer, METHODS);
    }
    assert_eq!(node.stored(1).await.len(), 1);
    node.stop().await;
}

#[tokio::test]
async fn other_methods_are_not_allowed() {
    let node = TestNode::start().await;
    for method in ["GET", "PUT", "POST"] {
        let answer = send(node.http, method, "/m/x", "", b"").await;
        assert_error(&answer, 405, None);
        assert_eq!(answer.header("allow"), METHODS);
        assert_cors(&answer, METHODS);
    }
    let answer = send(node.http, "OPTIONS", "/m/x", "", b"").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    assert_cors(&answer, METHODS);
    node.stop().await;
}
