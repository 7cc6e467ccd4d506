//! SP-4 to SP-9: hello timeout, pings, keep-alive.

use crate::{
    bare::{self, BareFrame, BareSocket},
    server::{Server, Times},
};
use beckon_client::{error::Error, raw::Frame};
use serde_json::json;

pub(crate) async fn sp_6_a_ping_is_answered_by_empty_braces(server: Server) {
    let pings = ["{}", "{ }", "\n{\t\r}\n", r#"{"messageType":"PING","x":1}"#, r#"{"messageType":"ping"}"#];
    for ping in pings {
        for after_hello in [false, true] {
            let mut client = server.connect().await;
            if after_hello {
                client.hello().await;
            }
            client.send_text(ping).await;
            assert_eq!(client.receive_text().await, "{}");
            client.expect_nothing().await;
        }
    }
}

pub(crate) async fn sp_7_a_second_ping_too_soon_is_an_error(server: Server) {
    for (first, second) in [(json!({}), json!({"messageType": "PiNg", "x": [1]})), (json!({}), json!({}))] {
        for after_hello in [false, true] {
            let mut client = server.connect().await;
            if after_hello {
                client.hello().await;
            }
            assert_eq!(client.ask(&first).await, json!({}));
            client.expect_401(&second).await;
        }
    }
    // Ping frames of WebSocket are another thing.
    let mut client = server.connect().await;
    for _ in 0..10 {
        client.socket().send_ping("x").await.unwrap();
        assert_eq!(client.socket().receive_within(server.patience()).await.unwrap(), Frame::Pong("x".into()));
    }
}

pub(crate) async fn sp_4_a_silent_socket_is_closed_with_1008(server: Server) {
    let hello_timeout = server.times().hello_timeout;
    let mut client = server.connect().await.with_patience(server.patience() + hello_timeout);
    client.expect_nothing_for(hello_timeout / 2).await;
    client.expect_close(1008).await;
}

pub(crate) async fn sp_5_pings_do_not_postpone_the_hello_timeout(server: Server) {
    const PINGS_MAX: usize = 10;
    // More than it has to be.
    let pause = server.times().ping_min_sp * 6 / 5;
    let mut client = server.connect().await;
    let closed = |error: Error| {
        let Error::Closed(close) = error else { panic!("{error}") };
        assert_eq!(close.code, 1008);
    };
    for ping in 0..PINGS_MAX {
        client.send_text("{}").await;
        match client.socket().text_within(server.patience()).await {
            Ok(text) => assert_eq!(text.as_str(), "{}"),
            Err(error) if ping > 0 => return closed(error),
            Err(error) => panic!("the first ping: {error}"),
        }
        match client.socket().text_within(pause).await {
            Err(Error::TimedOut(_)) => {}
            Err(error) => return closed(error),
            Ok(text) => panic!("{text}"),
        }
    }
    panic!("open after {PINGS_MAX} pings");
}

pub(crate) async fn sp_8_an_idle_socket_gets_websocket_pings_only(server: Server) {
    let mut socket = after_hello(&server).await;
    for _ in 0..3 {
        let limit = server.patience() + server.times().keepalive_interval;
        let BareFrame { head, payload } = socket.receive_within(limit).await.unwrap();
        assert_eq!(head, bare::PING, "{payload:?}");
        socket.send(bare::PONG, &payload).await;
    }
}

pub(crate) async fn sp_9_a_socket_that_does_not_answer_is_closed_with_1011(server: Server) {
    let mut socket = after_hello(&server).await;
    let Times { keepalive_interval, keepalive_timeout, .. } = server.times();
    let ping = socket.receive_within(server.patience() + keepalive_interval).await;
    assert_eq!(ping.unwrap().head, bare::PING);
    let close = socket.receive_within(server.patience() + keepalive_timeout).await;
    assert_eq!(close.unwrap().close_code(), Some(1011));
    // The Close is not answered either: TCP is dropped in the end.
    socket.ended().await;
}

/// A socket that has said hello and answers nothing by itself.
async fn after_hello(server: &Server) -> BareSocket {
    let mut socket = server.bare().await;
    socket.send(bare::TEXT, br#"{"messageType":"hello","channelIDs":[]}"#).await;
    let reply = socket.receive_within(server.patience()).await.unwrap();
    assert_eq!(reply.head, bare::TEXT);
    socket
}
