//! What all programs that use one Redis have to agree on, and what each of them may do when it is full.

use crate::redis::open;
use beckon_store::{
    Cause, Store,
    redis::{ConnectError, RedisOptions, RedisStore, connect},
};
use beckon_store_conformance::{message_steps::*, steps::*};
use beckon_testbed::redis::RedisServer;
use beckon_types::Hello;
use std::time::Duration;

async fn with_key(server: &RedisServer, uaid_key: Option<u64>) -> Result<RedisStore, ConnectError> {
    connect(&server.url(), RedisOptions { uaid_key, ..RedisOptions::default() }).await
}

fn refusal(opened: Result<RedisStore, ConnectError>) -> String {
    match opened.map(drop) {
        Err(ConnectError::Configuration(reason)) => reason,
        other => panic!("it should be refused: {other:?}"),
    }
}

#[tokio::test]
async fn a_store_belongs_to_one_uaid_key() {
    let server = RedisServer::start();
    // A process without the key may come first.
    with_key(&server, None).await.unwrap();
    with_key(&server, Some(1)).await.unwrap();
    with_key(&server, Some(1)).await.unwrap();
    with_key(&server, None).await.unwrap();
    let reason = refusal(with_key(&server, Some(2)).await);
    assert!(reason.contains("uaid_key"), "{reason}");
}

#[tokio::test]
async fn a_store_of_another_version_is_refused() {
    let server = RedisServer::start();
    with_key(&server, None).await.unwrap();
    server.command(&["HSET", "{beckon}format", "version", "2"]);
    for uaid_key in [None, Some(1)] {
        let reason = refusal(with_key(&server, uaid_key).await);
        assert!(reason.contains("format 2") && reason.contains("start that version"), "{reason}");
    }
}

/// A process that could not compare the format when it started does so with its first announcement.
#[tokio::test]
async fn a_store_ends_if_it_turns_out_not_to_fit() {
    let server = RedisServer::start();
    let store = with_key(&server, Some(1)).await.unwrap();
    store.announce(new_node()).await.unwrap();
    server.command(&["HSET", "{beckon}format", "uaid-key", "another"]);
    assert_eq!(store.announce(new_node()).await.unwrap_err().cause(), Cause::Denied);
    tokio::time::timeout(Duration::from_secs(5), store.ended()).await.expect("the store has ended");
}

/// What is announced first makes the format again after Redis has lost its data.
#[tokio::test]
async fn an_announcement_notes_the_format() {
    let server = RedisServer::start();
    let store = with_key(&server, Some(1)).await.unwrap();
    server.command(&["FLUSHALL"]);
    store.announce(new_node()).await.unwrap();
    refusal(with_key(&server, Some(2)).await);
}

#[tokio::test]
async fn clients_that_are_known_come_and_go_while_redis_is_full() {
    let server = RedisServer::start();
    let store = open(&server, RedisOptions::default()).await;
    let (simple, web) = (offline(&store, 1).await, subscribed(&store, 1).await);
    stored(&store, simple.id, simple.channels[0], 1).await;
    let (place, _) = accepted(&store, message(&web, "a")).await;
    release(&store, web.id, web.presence).await;
    server.fill_up();
    let full = |cause| assert_eq!(cause, Cause::Full);
    claim(&store, simplepush(simple.id, simple.presence)).await;
    ack(&store, simple.id, simple.channels[0], None).await;
    assert_eq!(bodies(&claim_backlog(&store, webpush(web.id, web.presence)).await), ["a"]);
    assert_eq!(bodies(&fetch(&store, &web, None, 10).await), ["a"]);
    remove(&store, web.id, &[place]).await;
    store.announce(new_node()).await.unwrap();
    store.note_missed(web.presence).await.unwrap();
    release(&store, simple.id, simple.presence).await;
    // What takes memory is refused: a new client, a channel, and anything to be stored.
    let hello = Hello { adopt: true, ..webpush(new_client_id(), new_presence()) };
    full(store.hello(hello).await.unwrap_err().cause());
    full(store.put_message(message(&web, "b")).await.unwrap_err().cause());
    full(store.check().await.unwrap_err().cause());
    server.make_room();
    release(&store, web.id, web.presence).await;
    assert!(bodies(&claim_backlog(&store, webpush(web.id, web.presence)).await).is_empty());
    claim(&store, simplepush(simple.id, simple.presence)).await;
    let pending = pending_on(&store, &simple, simple.channels[0]).await;
    assert_eq!(pending, None, "what was acknowledged stays so");
}
