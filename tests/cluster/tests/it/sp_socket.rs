//! SP-1 to SP-3 and SP-10 to SP-18: the upgrade, frames, and messages that are none.

use beckon_client::{error::Error, raw};
use beckon_cluster_tests::{
    bare::{self},
    shared::Profile,
    stage::Stage,
    talk::Client,
};
use beckon_testbed::{
    plan::{Plan, Shape},
    until,
};
use serde_json::json;
use std::time::Duration;

on_both_shapes![
    sp_2_a_foreign_origin_is_refused,
    sp_3_a_full_node_refuses_the_upgrade,
    sp_18_a_bare_hello_is_rejected_if_so_configured,
];

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
