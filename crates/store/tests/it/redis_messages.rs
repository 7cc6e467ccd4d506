//! Messages in Redis: how much memory they take, and what remains when they are removed.

use crate::redis::{number, only_client, open};
use beckon_store::{
    Store, StoreError,
    redis::{RedisOptions, connect},
};
use beckon_store_conformance::{message_steps::*, steps::*};
use beckon_testbed::redis::{RedisCluster, RedisServer};
use beckon_types::{AddChannel, Dialect, Fetch, Hello, KeyHash, PutMessage, PutMessageOutcome};
use std::{sync::Arc, time::Duration};

/// All keys of messages.
fn message_keys(server: &RedisServer) -> Vec<Vec<u8>> {
    let redis::Value::Array(keys) = server.command(&["KEYS", "m{*"]) else { panic!("keys expected") };
    let bytes = |key| {
        let redis::Value::BulkString(bytes) = key else { panic!("a key expected, not {key:?}") };
        bytes
    };
    keys.into_iter().map(bytes).collect()
}

/// Bytes that Redis has allocated, without those of connections.
fn used_memory(server: &RedisServer) -> i64 {
    let redis::Value::BulkString(info) = server.command(&["INFO", "memory"]) else { panic!("text expected") };
    let info = String::from_utf8(info).unwrap();
    let field = |name: &str| -> i64 {
        let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap().trim().parse().unwrap()
    };
    field("used_memory") - field("mem_clients_normal")
}

async fn restricted(store: &Arc<dyn Store>) -> (Client, KeyHash) {
    let (client, key) = (subscribed(store, 1).await, KeyHash([0xfe; 32]));
    add(store, AddChannel { restricted: Some(key), ..addition(&client, client.channels[0]) }).await;
    (client, key)
}

/// The budget is 200 bytes beside the payload. It includes keys, fields and the table of expiries, because everything
/// that the server has allocated is counted, over many messages of many clients.
#[tokio::test]
async fn a_stored_message_takes_no_more_than_200_bytes_beside_its_payload() {
    const CLIENTS: usize = 100;
    const MESSAGES: usize = 80;
    const PAYLOAD: usize = 200;
    let server = RedisServer::start();
    let store = open(&server, RedisOptions::default()).await;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(subscribed(&store, 1).await);
    }
    for topics in [false, true] {
        let before = used_memory(&server);
        for client in &clients {
            let send = |number: usize| {
                let topic = topics.then(|| tag(number as u8));
                accepted(
                    &store,
                    PutMessage { topic, messages_max: 1000, ..message(client, &"x".repeat(PAYLOAD)) },
                )
            };
            futures_util::future::join_all((0..MESSAGES).map(send)).await;
        }
        let each = (used_memory(&server) - before) / (CLIENTS * MESSAGES) as i64;
        println!("a message of {PAYLOAD} bytes takes {each} bytes, topic {topics}");
        assert!(each <= PAYLOAD as i64 + 200, "{each} bytes, topic {topics}");
    }
}

/// The budget of `docs/performance.md` for a record in Redis holds for Web Push too.
#[tokio::test]
async fn a_client_with_one_restricted_channel_takes_no_more_than_300_bytes() {
    let server = RedisServer::start();
    let store = open(&server, RedisOptions::default()).await;
    let (client, key) = restricted(&store).await;
    let usage = || number(&server.command(&["MEMORY", "USAGE", &only_client(&server)]));
    let idle = usage();
    accepted(&store, PutMessage { restricted: Some(key), ..message(&client, "a") }).await;
    println!("MEMORY USAGE of a restricted client: {idle} bytes, with a message's field {} bytes", usage());
    assert!(idle <= 300, "{idle} bytes");
}

/// Small hashes are one block of memory.
#[tokio::test]
async fn a_record_with_a_hundred_messages_is_one_block() {
    let server = RedisServer::start();
    let store = open(&server, RedisOptions::default()).await;
    let (client, key) = restricted(&store).await;
    for number in 0..100 {
        let put = PutMessage { restricted: Some(key), ..message(&client, "a") };
        accepted(&store, if number % 2 == 0 { put } else { about(number, put) }).await;
    }
    let encoding = server.command(&["OBJECT", "ENCODING", &only_client(&server)]);
    assert_eq!(encoding, redis::Value::BulkString(b"listpack".to_vec()));
}

#[tokio::test]
async fn a_message_and_its_field_are_removed_together() {
    let server = RedisServer::start();
    let store = open(&server, RedisOptions::default()).await;
    let client = subscribed(&store, 2).await;
    let fields = || number(&server.command(&["HLEN", &only_client(&server)]));
    let (plain, _) = accepted(&store, message(&client, "a")).await;
    let (topic, _) = accepted(&store, about(1, message(&client, "b"))).await;
    accepted(&store, about(1, message(&client, "c"))).await;
    assert_eq!((message_keys(&server).len(), fields()), (2, 5), "head, two channels and two messages");
    remove(&store, client.uaid, &[plain, topic]).await;
    assert_eq!((message_keys(&server).len(), fields()), (1, 4), "the other was replaced");
    accepted(&store, about(1, lasting(Duration::ZERO, message(&client, "d")))).await;
    assert_eq!((message_keys(&server).len(), fields()), (0, 3));
    accepted(&store, message(&client, "e")).await;
    accepted(&store, about(2, message(&client, "f"))).await;
    unregister(&store, &client, client.channels[0]).await;
    assert_eq!((message_keys(&server).len(), fields()), (0, 2));
}

/// Only the key has the expiry of a message, so the message is removed although no step reads it.
#[tokio::test]
async fn a_message_expires_in_redis_and_its_field_is_removed_by_the_next_script() {
    let server = RedisServer::start();
    let store = open(&server, RedisOptions::default()).await;
    let client = subscribed(&store, 1).await;
    let fields = || number(&server.command(&["HLEN", &only_client(&server)]));
    let expired = async |kept: i64| {
        let put = lasting(SHORT, message(&client, "a"));
        accepted(&store, put.clone()).await;
        accepted(&store, about(1, put)).await;
        assert_eq!(fields(), kept + 2);
        let_short_pass().await;
        assert_eq!(fields(), kept + 2, "no script has come across them");
    };
    expired(2).await;
    assert_eq!(fetch(&store, &client, None, 10).await, Default::default());
    assert_eq!(fields(), 2);
    expired(2).await;
    claim_backlog(&store, webpush(client.uaid, client.presence)).await;
    assert_eq!(fields(), 2);
    expired(2).await;
    accepted(&store, PutMessage { messages_max: 1, ..message(&client, "b") }).await;
    assert_eq!(fields(), 3);
    expired(3).await;
    unregister(&store, &client, client.channels[0]).await;
    assert_eq!(fields(), 1);
}

/// A key still exists in the millisecond in which its time is over, and a message must not. The difference only shows
/// if a step takes less than a millisecond, which many of these do.
#[tokio::test]
async fn a_key_expires_one_millisecond_before_its_message_would() {
    let server = RedisServer::start();
    let store = open(&server, RedisOptions::default()).await;
    let client = subscribed(&store, 1).await;
    let now_ms = || {
        const NOW: &str =
            "local time = redis.call('TIME') return time[1] * 1000 + math.floor(time[2] / 1000)";
        number(&server.command(&["EVAL", NOW, "0"]))
    };
    let long_ms = LONG.as_millis() as i64;
    for _ in 0..100 {
        let before = now_ms();
        let (place, _) = accepted(&store, message(&client, "a")).await;
        let after = now_ms();
        let key = String::from_utf8(message_keys(&server).remove(0)).unwrap();
        let gone = number(&server.command(&["PEXPIRETIME", &key])) + 1;
        assert!((before + long_ms..=after + long_ms).contains(&gone), "{gone}, {before} to {after}");
        let before = now_ms();
        let left = fetch(&store, &client, None, 1).await.messages[0].draft.ttl.as_millis() as i64;
        let after = now_ms();
        assert!((gone - after..=gone - before).contains(&left), "{left} of {gone}, {before} to {after}");
        remove(&store, client.uaid, &[place]).await;
    }
}

/// The resolution is a millisecond: a message that would expire at once is not stored.
#[tokio::test]
async fn a_ttl_of_less_than_two_milliseconds_counts_as_zero() {
    let server = RedisServer::start();
    let store = open(&server, RedisOptions::default()).await;
    let client = subscribed(&store, 1).await;
    for ttl in [Duration::from_nanos(1), Duration::from_millis(1), Duration::from_micros(1999)] {
        accepted(&store, lasting(ttl, message(&client, "a"))).await;
    }
    assert_eq!(number(&server.command(&["HLEN", &only_client(&server)])), 2);
    accepted(&store, lasting(Duration::MAX, message(&client, "b"))).await;
    assert_eq!(waiting(&store, &client).await, ["b"]);
}

#[tokio::test]
async fn a_fetch_renews_the_time_until_a_record_expires_and_a_message_does_not() {
    let server = RedisServer::start();
    let store =
        open(&server, RedisOptions { uaid_idle: Duration::from_secs(1000), ..RedisOptions::default() }).await;
    let client = subscribed(&store, 1).await;
    let key = only_client(&server);
    let left = || number(&server.command(&["PTTL", &key]));
    server.command(&["PEXPIRE", &key, "500000"]);
    let (place, _) = accepted(&store, message(&client, "a")).await;
    remove(&store, client.uaid, &[place]).await;
    assert!(left() <= 500_000, "neither is a sign of life");
    fetch(&store, &client, None, 10).await;
    assert!((900_000..=1_000_000).contains(&left()));
}

/// Every step on a record or a message that this version cannot read fails, and changes nothing.
#[tokio::test]
async fn an_unreadable_message_is_reported_and_kept() {
    let server = RedisServer::start();
    let store = open(&server, RedisOptions::default()).await;
    let client = subscribed(&store, 1).await;
    let (place, _) = accepted(&store, message(&client, "a")).await;
    let (key, message_key) =
        (only_client(&server), String::from_utf8(message_keys(&server).remove(0)).unwrap());
    let unreadable = |error: StoreError| assert!(matches!(error, StoreError::Unreadable(_)), "{error:?}");
    let hello = || Hello { named: Some(Dialect::WebPush), ..webpush(client.uaid, new_presence()) };
    let ask = Fetch { uaid: client.uaid, presence: client.presence, after: None, max: 10 };
    let dump = || [server.command(&["DUMP", &key]), server.command(&["DUMP", &message_key])];

    server.command(&["SETRANGE", &message_key, "0", "\u{2}"]);
    let before = dump();
    unreadable(store.hello(hello()).await.unwrap_err());
    unreadable(store.fetch(ask).await.unwrap_err());
    let removing = store.remove_channel(client.uaid, client.presence, client.channels[0]);
    unreadable(removing.await.unwrap_err());
    assert_eq!(dump(), before, "nothing was changed");
    // Removing it does not read it.
    remove(&store, client.uaid, &[place]).await;

    for (field, value) in [("7x", ""), ("7", "x"), ("txxxxxxxxxxxx", "x"), ("txxxxxxxxxxxx", "")] {
        server.command(&["HSET", &key, field, value]);
        let before = server.command(&["DUMP", &key]);
        unreadable(store.hello(hello()).await.unwrap_err());
        unreadable(store.fetch(ask).await.unwrap_err());
        assert_eq!(server.command(&["DUMP", &key]), before, "nothing was changed");
        server.command(&["HDEL", &key, field]);
    }

    const OF_NEWER_VERSION: &str = "local head = redis.call('HGET', KEYS[1], 'm')
        redis.call('HSET', KEYS[1], 'm', '\\2' .. string.sub(head, 2))";
    let (place, _) = accepted(&store, message(&client, "a")).await;
    server.command(&["EVAL", OF_NEWER_VERSION, "1", &key]);
    let before = server.command(&["DUMP", &key]);
    unreadable(store.put_message(message(&client, "b")).await.unwrap_err());
    unreadable(store.find_channel(find(&client)).await.unwrap_err());
    unreadable(store.remove_messages(client.uaid, vec![place]).await.unwrap_err());
    unreadable(store.fetch(ask).await.unwrap_err());
    assert_eq!((server.command(&["DUMP", &key]), message_keys(&server).len()), (before, 1));
}

/// If Redis is emptied while nodes know a revision, they still read what is set afterwards.
#[tokio::test]
async fn an_emptied_redis_has_other_revisions() {
    use beckon_types::{BroadcastId, BroadcastVersion};
    let server = RedisServer::start();
    let store = open(&server, RedisOptions::default()).await;
    let id = || BroadcastId::parse("a").unwrap();
    let set = |text: &str| store.set_broadcast(id(), BroadcastVersion::parse(text).unwrap());
    assert_eq!(store.broadcasts(0).await, Ok(None));
    assert_eq!(set("1").await, Ok(Ok(())));
    let known = store.broadcasts(0).await.unwrap().unwrap().revision;
    server.command(&["FLUSHALL"]);
    assert_eq!(store.broadcasts(known).await, Ok(Some(Default::default())));
    // The revision comes from the clock.
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert_eq!(set("2").await, Ok(Ok(())));
    assert!(store.broadcasts(known).await.unwrap().unwrap().revision > known);
}

#[tokio::test]
async fn a_redis_that_cannot_write_refuses_messages() {
    let server = RedisServer::start();
    let store = open(&server, RedisOptions::default()).await;
    let client = subscribed(&store, 1).await;
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let refused = store.put_message(message(&client, "a")).await;
    assert!(matches!(refused, Err(StoreError::Unavailable { .. })), "{refused:?}");
    server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    assert!(waiting(&store, &client).await.is_empty());
    assert!(matches!(send(&store, message(&client, "a")).await, PutMessageOutcome::Accepted { .. }));
}

/// The record has moved to another node of the cluster, and its messages have not. Steps that need them fail and can
/// be tried again; no message is mistaken for an expired one, and none is kept beside the one that replaces it.
#[tokio::test]
async fn no_message_is_lost_while_a_slot_moves() {
    let mut cluster = RedisCluster::start(3);
    let store: Arc<dyn Store> = Arc::new(connect(&cluster.url(), RedisOptions::default()).await.unwrap());
    let client = subscribed(&store, 1).await;
    accepted(&store, message(&client, "a")).await;
    accepted(&store, about(1, message(&client, "t"))).await;
    let nodes = cluster.nodes();
    let source = nodes.iter().position(|node| !message_keys(node).is_empty()).unwrap();
    let (source, target) = (&nodes[source], &nodes[(source + 1) % 3]);
    let (record, keys) = (only_client(source), message_keys(source));
    let slot = number(&source.command(&["CLUSTER", "KEYSLOT", &record])).to_string();
    let id = |node: &RedisServer| {
        let redis::Value::BulkString(id) = node.command(&["CLUSTER", "MYID"]) else {
            panic!("an id expected")
        };
        String::from_utf8(id).unwrap()
    };
    let port = target.port().to_string();
    let migrate = |key: &str| source.command(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]);
    target.command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &id(source)]);
    source.command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &id(target)]);

    let unavailable =
        |error: StoreError| assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    unavailable(store.put_message(message(&client, "b")).await.unwrap_err());
    assert_eq!(waiting(&store, &client).await, ["t", "a"], "what is there can be read");
    migrate(&record);
    unavailable(store.hello(webpush(client.uaid, client.presence)).await.unwrap_err());
    let ask = Fetch { uaid: client.uaid, presence: client.presence, after: None, max: 10 };
    unavailable(store.fetch(ask).await.unwrap_err());
    let full = PutMessage { messages_max: 1, ..message(&client, "b") };
    unavailable(store.put_message(full).await.unwrap_err());
    unavailable(store.put_message(about(1, message(&client, "lost"))).await.unwrap_err());
    unavailable(store.remove_channel(client.uaid, client.presence, client.channels[0]).await.unwrap_err());
    // A message that replaces nothing is accepted by the new node.
    accepted(&store, message(&client, "b")).await;

    assert_eq!(keys.len(), 2);
    for key in keys {
        migrate(str::from_utf8(&key).unwrap());
    }
    for node in [target, source] {
        node.command(&["CLUSTER", "SETSLOT", &slot, "NODE", &id(target)]);
    }
    let backlog = claim_backlog(&store, webpush(client.uaid, client.presence)).await;
    assert_eq!(bodies(&backlog), ["t", "a", "b"]);
    accepted(&store, about(1, message(&client, "u"))).await;
    assert_eq!(waiting(&store, &client).await, ["u", "a", "b"]);
}
