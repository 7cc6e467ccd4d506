//! WP-38 and WP-39: pings, frames, and messages that are none.

use crate::server::Server;
use beckon_client::raw::Frame;
use serde_json::{Value, json};

pub(crate) async fn wp_38_a_second_ping_too_soon_is_closed_with_4774(server: Server) {
    for second in [json!({}), json!({"messageType": "PiNg", "x": [1]})] {
        let mut client = server.connect_webpush().await;
        client.hello().await;
        assert_eq!(client.ask(&json!({})).await, json!({}));
        client.send(&second).await;
        client.expect_close(4774).await;
    }
    // Ping frames of WebSocket are another thing.
    let mut client = server.connect_webpush().await;
    client.hello().await;
    for _ in 0..10 {
        client.socket().send_ping("x").await.unwrap();
        assert_eq!(client.socket().receive_within(server.patience()).await.unwrap(), Frame::Pong("x".into()));
    }
    assert_eq!(client.ask(&json!({"messageType": "ping"})).await, json!({}));
}

pub(crate) async fn wp_39_what_is_not_understood_is_closed(server: Server) {
    for binary in [r#"{"messageType":"purge"}"#, "{}", "x"] {
        let mut client = server.connect_webpush().await;
        client.hello().await;
        // An empty one is ignored.
        client.socket().send_binary("").await.unwrap();
        client.expect_nothing().await;
        client.socket().send_binary(binary).await.unwrap();
        client.expect_close(1003).await;
    }
    // The dialect is not known before hello.
    let mut client = server.connect_webpush().await;
    client.socket().send_binary(r#"{"messageType":"hello","use_webpush":true}"#).await.unwrap();
    assert_eq!(client.receive().await["status"], 200);
    let requests = [json!(123), Value::Null, json!(""), json!("nonsense"), json!(" ping"), json!(["ack"])]
        .map(|message_type| json!({"messageType": message_type, "uaid": "x", "list": [1, null, {"a": 1.5}]}));
    for request in requests.into_iter().chain([json!({"channelIDs": []})]) {
        let mut client = server.connect_webpush().await;
        client.hello().await;
        client.expect_401(&request).await;
    }
    for text in [r#"{"messageType":"#, "[]", r#""x""#, "1", " "] {
        let mut client = server.connect_webpush().await;
        client.hello().await;
        client.send_text(text).await;
        client.expect_close(1007).await;
    }
    let mut client = server.connect_webpush().await;
    client.hello().await;
    client.send(&json!({"messageType": "purge", "x": "y".repeat(256 * 1024)})).await;
    client.expect_close(1009).await;
}
