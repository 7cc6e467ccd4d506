//! SP-1 to SP-3 and SP-10 to SP-18: the upgrade, frames, and messages that are none.

use crate::{
    bare::{self},
    server::Server,
    talk::new_channel,
};
use serde_json::{Value, json};

/// The value of a header line, by its lower-case name.
pub(crate) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .find_map(|(found, value)| (found.to_ascii_lowercase() == name).then_some(value))
}

pub(crate) async fn sp_1_an_offered_push_notification_is_selected(server: Server) {
    for (offered, selected) in [
        ("", None),
        ("Sec-WebSocket-Protocol: push-notification\r\n", Some("push-notification")),
        ("Sec-WebSocket-Protocol: other, push-notification\r\n", Some("push-notification")),
        (
            "Sec-WebSocket-Protocol: other\r\nSec-WebSocket-Protocol: push-notification\r\n",
            Some("push-notification"),
        ),
        ("Sec-WebSocket-Protocol: other\r\n", None),
    ] {
        let (head, _stream) = server.upgrade(offered).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{offered}: {head}");
        assert_eq!(header(&head, "sec-websocket-protocol"), selected, "{offered}: {head}");
        assert_eq!(header(&head, "sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
        assert_eq!(header(&head, "sec-websocket-extensions"), None, "{head}");
    }
}

pub(crate) async fn sp_10_what_is_no_json_object_is_closed_with_1007(server: Server) {
    for text in [r#"{"messageType":"#, "[]", r#""x""#, "1", "null", "{} {}", r#"{"a":}"#, " ", "{'a':1}"] {
        for after_hello in [false, true] {
            let mut client = server.connect().await;
            if after_hello {
                client.hello().await;
            }
            client.send_text(text).await;
            client.expect_close(1007).await;
        }
    }
    for head in [bare::TEXT, 0x82] {
        let mut socket = server.bare().await;
        socket.send(head, b"{\"messageType\":\"hello\",\"channelIDs\":[],\"x\":\"\xff\xfe\"}").await;
        assert_eq!(socket.receive_within(server.patience()).await.unwrap().close_code(), Some(1007));
    }
}

pub(crate) async fn sp_11_a_message_above_the_limit_is_closed_with_1009(server: Server) {
    const LIMIT: usize = 256 * 1024;
    let hello = |length: usize| {
        let frame = r#"{"messageType":"hello","channelIDs":[],"x":""}"#.len();
        json!({"messageType": "hello", "channelIDs": [], "x": "y".repeat(length - frame)}).to_string()
    };
    for length in [200_000, LIMIT] {
        let mut client = server.connect().await;
        let text = hello(length);
        assert_eq!(text.len(), length);
        client.send_text(text).await;
        assert_eq!(client.receive().await["status"], 200);
    }
    for length in [LIMIT + 1, 400_000] {
        let mut client = server.connect().await;
        client.send_text(hello(length)).await;
        client.expect_close(1009).await;
    }
    for (length, is_taken) in [(32 * 1024, true), (32 * 1024 + 1, false)] {
        let mut client = server.connect().await;
        client.hello().await;
        let frame = r#"{"messageType":"purge","x":""}"#.len();
        client.send(&json!({"messageType": "purge", "x": "y".repeat(length - frame)})).await;
        if is_taken {
            assert_eq!(client.receive().await, json!({}));
        } else {
            client.expect_close(1009).await;
        }
    }
    // The limit is for the message, in however many frames it comes.
    for (length, closed) in [(200_000, None), (400_000, Some(1009))] {
        let mut socket = server.bare().await;
        let text = hello(length);
        let (first, second) = text.as_bytes().split_at(length / 2);
        socket.send(bare::TEXT_BEGIN, first).await;
        socket.send(bare::CONTINUATION_END, second).await;
        assert_eq!(socket.receive_within(server.patience()).await.unwrap().close_code(), closed);
    }
}

pub(crate) async fn sp_12_an_empty_message_is_ignored(server: Server) {
    let mut client = server.connect().await;
    client.send_text("").await;
    client.socket().send_binary("").await.unwrap();
    client.hello().await;
    client.send_text("").await;
    client.socket().send_binary("").await.unwrap();
    client.expect_nothing().await;
}

pub(crate) async fn sp_13_a_binary_hello_works(server: Server) {
    let mut client = server.connect().await;
    client.socket().send_binary(r#"{"messageType":"hello","channelIDs":[]}"#).await.unwrap();
    assert_eq!(client.receive().await["status"], 200);
    client.socket().send_binary(r#"{"messageType":"purge"}"#).await.unwrap();
    assert_eq!(client.receive_text().await, "{}");
}

pub(crate) async fn sp_14_an_unknown_message_type_is_an_invalid_command(server: Server) {
    let requests = [json!(123), Value::Null, json!(""), json!("nonsense"), json!(" hello"), json!(["hello"])]
        .map(|message_type| json!({"messageType": message_type, "channelIDs": []}));
    let others = ["nack", "broadcast_subscribe", "urgency"].map(|name| json!({"messageType": name}));
    for request in requests.into_iter().chain(others).chain([json!({"channelIDs": []})]) {
        server.connect().await.expect_401(&request).await;
        let mut client = server.connect().await;
        client.hello().await;
        client.expect_401(&request).await;
    }
}

pub(crate) async fn sp_15_an_error_reply_copies_the_request(server: Server) {
    let request = json!({
        "messageType": "NonSense", "status": "mine", "error": {"mine": true}, "uaid": "x", "channelID": null,
        "list": [1, -5, 1.5, 18_446_744_073_709_551_615_u64, "\u{e9}\u{1f600}\"\\\u{0}", [], {}],
        "object": {"status": 1, "deep": {"er": [null, true]}}, "": "empty name",
    });
    server.connect().await.expect_401(&request).await;
    // A copied endpoint would be taken for a working one.
    let mut client = server.connect().await;
    let reply = client.ask(&json!({"messageType": "register", "pushEndpoint": "http://x/"})).await;
    assert_eq!(reply, json!({"messageType": "register", "status": 401, "error": "Invalid Command"}));
    client.expect_close(1008).await;
}

pub(crate) async fn sp_16_member_names_are_compared_exactly(server: Server) {
    for name in ["messagetype", " messageType ", "MessageType"] {
        server.connect().await.expect_401(&json!({name: "hello", "channelIDs": []})).await;
    }
}

pub(crate) async fn sp_17_message_types_are_compared_without_case(server: Server) {
    let mut client = server.connect().await;
    let reply = client.ask(&json!({"messageType": "HELLO", "channelIDs": []})).await;
    assert_eq!((&reply["messageType"], &reply["status"]), (&json!("hello"), &json!(200)));
    let channel = new_channel();
    for (sent, canonical) in [("registeR", "register"), ("UnRegister", "unregister")] {
        let reply = client.ask(&json!({"messageType": sent, "channelID": channel})).await;
        assert_eq!((&reply["messageType"], &reply["status"]), (&json!(canonical), &json!(200)));
    }
    client.send(&json!({"messageType": "acK", "updates": [{"channelID": channel}]})).await;
    client.expect_nothing().await;
    // The last of repeated names counts.
    let mut client = server.connect().await;
    client
        .send_text(r#"{"messageType":"nonsense","messageType":"hello","channelIDs":[1],"channelIDs":[]}"#)
        .await;
    assert_eq!(client.receive().await["status"], 200);
}
