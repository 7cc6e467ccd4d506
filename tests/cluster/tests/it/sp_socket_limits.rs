//! SP-4 to SP-9: hello timeout, pings, keep-alive.

use beckon_client::{error::Error, raw::Frame};
use beckon_cluster_tests::{
    bare::{self, BareFrame, BareSocket},
    shared::Profile,
    stage::Stage,
};
use beckon_testbed::{PATIENCE, plan::Shape};
use serde_json::json;
use std::time::Duration;

on_both_shapes![
    sp_4_a_silent_socket_is_closed_with_1008,
    sp_5_pings_do_not_postpone_the_hello_timeout,
    sp_6_a_ping_is_answered_by_empty_braces,
    sp_7_a_second_ping_too_soon_is_an_error,
    sp_8_an_idle_socket_gets_websocket_pings_only,
    sp_9_a_socket_that_does_not_answer_is_closed_with_1011,
];

/// More than `ping_min_sp` of [`Profile::ShortTimes`].
const PING_PAUSE: Duration = Duration::from_millis(1200);

async fn sp_4_a_silent_socket_is_closed_with_1008(shape: Shape) {
    let stage = Stage::shared(shape, Profile::ShortTimes);
    let mut client = stage.connect().await;
    client.expect_nothing_for(Duration::from_secs(1)).await;
    client.expect_close(1008).await;
}

async fn sp_5_pings_do_not_postpone_the_hello_timeout(shape: Shape) {
    const PINGS_MAX: usize = 10;
    let stage = Stage::shared(shape, Profile::ShortTimes);
    let mut client = stage.connect().await;
    let closed = |error: Error| {
        let Error::Closed(close) = error else { panic!("{error}") };
        assert_eq!(close.code, 1008);
    };
    for ping in 0..PINGS_MAX {
        client.send_text("{}").await;
        match client.socket().text_within(PATIENCE).await {
            Ok(text) => assert_eq!(text.as_str(), "{}"),
            Err(error) if ping > 0 => return closed(error),
            Err(error) => panic!("the first ping: {error}"),
        }
        match client.socket().text_within(PING_PAUSE).await {
            Err(Error::TimedOut(_)) => {}
            Err(error) => return closed(error),
            Ok(text) => panic!("{text}"),
        }
    }
    panic!("open after {PINGS_MAX} pings");
}

async fn sp_6_a_ping_is_answered_by_empty_braces(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    let pings = ["{}", "{ }", "\n{\t\r}\n", r#"{"messageType":"PING","x":1}"#, r#"{"messageType":"ping"}"#];
    for ping in pings {
        for after_hello in [false, true] {
            let mut client = stage.connect().await;
            if after_hello {
                client.hello().await;
            }
            client.send_text(ping).await;
            assert_eq!(client.receive_text().await, "{}");
            client.expect_nothing().await;
        }
    }
}

async fn sp_7_a_second_ping_too_soon_is_an_error(shape: Shape) {
    let stage = Stage::shared(shape, Profile::Defaults);
    for (first, second) in [(json!({}), json!({"messageType": "PiNg", "x": [1]})), (json!({}), json!({}))] {
        for after_hello in [false, true] {
            let mut client = stage.connect().await;
            if after_hello {
                client.hello().await;
            }
            assert_eq!(client.ask(&first).await, json!({}));
            client.expect_401(&second).await;
        }
    }
    // Ping frames of WebSocket are another thing.
    let mut client = stage.connect().await;
    for _ in 0..10 {
        client.socket().send_ping("x").await.unwrap();
        assert_eq!(client.socket().receive_within(PATIENCE).await.unwrap(), Frame::Pong("x".into()));
    }
    // And not so soon, it is fine.
    let stage = Stage::shared(shape, Profile::ShortTimes);
    let mut client = stage.connect().await;
    client.hello().await;
    for _ in 0..3 {
        assert_eq!(client.ask(&json!({})).await, json!({}));
        client.expect_nothing_for(PING_PAUSE).await;
    }
}

async fn sp_8_an_idle_socket_gets_websocket_pings_only(shape: Shape) {
    let stage = Stage::shared(shape, Profile::ShortTimes);
    let mut socket = after_hello(&stage).await;
    for _ in 0..3 {
        let BareFrame { head, payload } = socket.receive_within(PATIENCE).await.unwrap();
        assert_eq!(head, bare::PING, "{payload:?}");
        socket.send(bare::PONG, &payload).await;
    }
}

async fn sp_9_a_socket_that_does_not_answer_is_closed_with_1011(shape: Shape) {
    let stage = Stage::shared(shape, Profile::ShortTimes);
    let mut socket = after_hello(&stage).await;
    assert_eq!(socket.receive_within(PATIENCE).await.unwrap().head, bare::PING);
    assert_eq!(socket.receive_within(PATIENCE).await.unwrap().close_code(), Some(1011));
    // The Close is not answered either: TCP is dropped in the end.
    socket.ended().await;
}

/// A socket that has said hello and answers nothing by itself.
async fn after_hello(stage: &Stage) -> BareSocket {
    let mut socket = BareSocket::connect(stage.next_connection_node().addresses().ws.unwrap()).await;
    socket.send(bare::TEXT, br#"{"messageType":"hello","channelIDs":[]}"#).await;
    let reply = socket.receive_within(PATIENCE).await.unwrap();
    assert_eq!(reply.head, bare::TEXT);
    socket
}
