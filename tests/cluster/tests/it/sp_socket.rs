//! SP-1 to SP-3 and SP-10 to SP-18: the upgrade, frames, and messages that are none.

use beckon_client::{error::Error, raw};
use beckon_cluster_tests::{
    bare::{self, BareSocket},
    shared::Profile,
    stage::Stage,
    talk::Client,
};
use beckon_testbed::{
    PATIENCE,
    plan::{Plan, Shape},
    until,
};
use serde_json::{Value, json};
use std::time::Duration;

on_both_shapes![
    sp_1_an_offered_push_notification_is_selected,
    sp_2_a_foreign_origin_is_refused,
    sp_3_a_full_node_refuses_the_upgrade,
    sp_10_what_is_no_json_object_is_closed_with_1007,
    sp_11_a_message_above_the_limit_is_closed_with_1009,
    sp_12_an_empty_message_is_ignored,
    sp_13_a_binary_hello_works,
    sp_14_an_unknown_message_type_is_an_invalid_command,
    sp_15_an_error_reply_copies_the_request,
    sp_16_member_names_are_compared_exactly,
    sp_17_message_types_are_compared_without_case,
    sp_18_a_bare_hello_is_rejected_if_so_configured,
];

async fn sp_1_an_offered_push_notification_is_selected(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
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
        let address = stage.next_connection_node().addresses().ws.unwrap();
        let (head, _stream) = bare::request(address, &bare::upgrade_request("/", offered)).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{offered}: {head}");
        assert_eq!(header(&head, "sec-websocket-protocol"), selected, "{offered}: {head}");
        assert_eq!(header(&head, "sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
        assert_eq!(header(&head, "sec-websocket-extensions"), None, "{head}");
    }
}

async fn sp_2_a_foreign_origin_is_refused(shape: Shape) {
    let strict = Stage::shared(shape, Profile::Strict);
    let open = Stage::shared(shape, Profile::Defaults);
    for (origin, status) in [
        ("", "101"),
        ("Origin: https://app.example\r\n", "101"),
        ("Origin: https://other.example:8443\r\n", "101"),
        ("Origin: https://app.example:443\r\n", "101"),
        ("Origin: https://evil.example\r\n", "403"),
        ("Origin: http://app.example\r\n", "403"),
        ("Origin: https://app.example:8443\r\n", "403"),
        ("Origin: https://app.example.evil.example\r\n", "403"),
        ("Origin: null\r\n", "403"),
    ] {
        let request = bare::upgrade_request("/", origin);
        let (head, _stream) =
            bare::request(strict.next_connection_node().addresses().ws.unwrap(), &request).await;
        assert_eq!(head.split(' ').nth(1), Some(status), "{origin}: {head}");
        let (head, _stream) =
            bare::request(open.next_connection_node().addresses().ws.unwrap(), &request).await;
        assert_eq!(head.split(' ').nth(1), Some("101"), "{origin}: {head}");
    }
}

async fn sp_3_a_full_node_refuses_the_upgrade(shape: Shape) {
    let stage = Stage::own(Plan::new(shape).sockets("BECKON_MAX_CONNECTIONS", "3"));
    let node = stage.next_connection_node();
    let connect = async || Client::connect_with(&node.ws_url(), &raw::Options::default()).await;
    let mut sockets = Vec::new();
    for _ in 0..3 {
        sockets.push(connect().await.unwrap());
    }
    for _ in 0..2 {
        match connect().await {
            Err(Error::Refused { status: 503, retry_after }) => {
                assert_eq!(retry_after, Some(Duration::from_secs(120)));
            }
            other => panic!("expected 503, got {other:?}"),
        }
    }
    sockets.pop().unwrap().leave().await;
    until("room for another", async || connect().await.ok()).await;
}

async fn sp_10_what_is_no_json_object_is_closed_with_1007(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    for text in [r#"{"messageType":"#, "[]", r#""x""#, "1", "null", "{} {}", r#"{"a":}"#, " ", "{'a':1}"] {
        for after_hello in [false, true] {
            let mut client = stage.connect().await;
            if after_hello {
                client.hello().await;
            }
            client.send_text(text).await;
            client.expect_close(1007).await;
        }
    }
    for head in [bare::TEXT, 0x82] {
        let mut socket = BareSocket::connect(stage.next_connection_node().addresses().ws.unwrap()).await;
        socket.send(head, b"{\"messageType\":\"hello\",\"channelIDs\":[],\"x\":\"\xff\xfe\"}").await;
        assert_eq!(socket.receive_within(PATIENCE).await.unwrap().close_code(), Some(1007));
    }
}

async fn sp_11_a_message_above_the_limit_is_closed_with_1009(shape: Shape) {
    const LIMIT: usize = 256 * 1024;
    let hello = |length: usize| {
        let frame = r#"{"messageType":"hello","channelIDs":[],"x":""}"#.len();
        json!({"messageType": "hello", "channelIDs": [], "x": "y".repeat(length - frame)}).to_string()
    };
    let stage = Stage::shared(shape, Profile::Defaults);
    for length in [200_000, LIMIT] {
        let mut client = stage.connect().await;
        let text = hello(length);
        assert_eq!(text.len(), length);
        client.send_text(text).await;
        assert_eq!(client.receive().await["status"], 200);
    }
    for length in [LIMIT + 1, 400_000] {
        let mut client = stage.connect().await;
        client.send_text(hello(length)).await;
        client.expect_close(1009).await;
    }
    for (length, is_taken) in [(32 * 1024, true), (32 * 1024 + 1, false)] {
        let mut client = stage.connect().await;
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
        let mut socket = BareSocket::connect(stage.next_connection_node().addresses().ws.unwrap()).await;
        let text = hello(length);
        let (first, second) = text.as_bytes().split_at(length / 2);
        socket.send(bare::TEXT_BEGIN, first).await;
        socket.send(bare::CONTINUATION_END, second).await;
        assert_eq!(socket.receive_within(PATIENCE).await.unwrap().close_code(), closed);
    }
}

async fn sp_12_an_empty_message_is_ignored(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    let mut client = stage.connect().await;
    client.send_text("").await;
    client.socket().send_binary("").await.unwrap();
    client.hello().await;
    client.send_text("").await;
    client.socket().send_binary("").await.unwrap();
    client.expect_nothing().await;
}

async fn sp_13_a_binary_hello_works(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    let mut client = stage.connect().await;
    client.socket().send_binary(r#"{"messageType":"hello","channelIDs":[]}"#).await.unwrap();
    assert_eq!(client.receive().await["status"], 200);
    client.socket().send_binary(r#"{"messageType":"purge"}"#).await.unwrap();
    assert_eq!(client.receive_text().await, "{}");
}

async fn sp_14_an_unknown_message_type_is_an_invalid_command(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    let requests = [json!(123), Value::Null, json!(""), json!("nonsense"), json!(" hello"), json!(["hello"])]
        .map(|message_type| json!({"messageType": message_type, "channelIDs": []}));
    let others = ["nack", "broadcast_subscribe", "urgency"].map(|name| json!({"messageType": name}));
    for request in requests.into_iter().chain(others).chain([json!({"channelIDs": []})]) {
        stage.connect().await.expect_401(&request).await;
        let mut client = stage.connect().await;
        client.hello().await;
        client.expect_401(&request).await;
    }
}

async fn sp_15_an_error_reply_copies_the_request(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    let request = json!({
        "messageType": "NonSense", "status": "mine", "error": {"mine": true}, "uaid": "x", "channelID": null,
        "list": [1, -5, 1.5, 18_446_744_073_709_551_615_u64, "\u{e9}\u{1f600}\"\\\u{0}", [], {}],
        "object": {"status": 1, "deep": {"er": [null, true]}}, "": "empty name",
    });
    stage.connect().await.expect_401(&request).await;
    // A copied endpoint would be taken for a working one.
    let mut client = stage.connect().await;
    let reply = client.ask(&json!({"messageType": "register", "pushEndpoint": "http://x/"})).await;
    assert_eq!(reply, json!({"messageType": "register", "status": 401, "error": "Invalid Command"}));
    client.expect_close(1008).await;
}

async fn sp_16_member_names_are_compared_exactly(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    for name in ["messagetype", " messageType ", "MessageType"] {
        stage.connect().await.expect_401(&json!({name: "hello", "channelIDs": []})).await;
    }
}

async fn sp_17_message_types_are_compared_without_case(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    let mut client = stage.connect().await;
    let reply = client.ask(&json!({"messageType": "HELLO", "channelIDs": []})).await;
    assert_eq!((&reply["messageType"], &reply["status"]), (&json!("hello"), &json!(200)));
    let channel = beckon_cluster_tests::talk::new_channel();
    for (sent, canonical) in [("registeR", "register"), ("UnRegister", "unregister")] {
        let reply = client.ask(&json!({"messageType": sent, "channelID": channel})).await;
        assert_eq!((&reply["messageType"], &reply["status"]), (&json!(canonical), &json!(200)));
    }
    client.send(&json!({"messageType": "acK", "updates": [{"channelID": channel}]})).await;
    client.expect_nothing().await;
    // The last of repeated names counts.
    let mut client = stage.connect().await;
    client
        .send_text(r#"{"messageType":"nonsense","messageType":"hello","channelIDs":[1],"channelIDs":[]}"#)
        .await;
    assert_eq!(client.receive().await["status"], 200);
}

async fn sp_18_a_bare_hello_is_rejected_if_so_configured(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Strict);
    for request in [
        json!({"messageType": "hello", "ChannelIds": []}),
        json!({"messageType": "hello"}),
        json!({"messageType": "hello", "uaid": ""}),
        json!({"messageType": "hello", "use_webpush": "true"}),
    ] {
        stage.connect().await.expect_401(&request).await;
    }
}

/// The value of a header line, by its lower-case name.
fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .find_map(|(found, value)| (found.to_ascii_lowercase() == name).then_some(value))
}
