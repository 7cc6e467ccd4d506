//! Messages in Redis: how much memory they take, and what remains when they are removed.

use crate::redis::{number, only_client, open};
use beckon_store::{
    Answer, Cause, Store, StoreError,
    redis::{RedisOptions, connect},
};
use beckon_store_conformance::{message_steps::*, steps::*};
use beckon_testbed::redis::{RedisCluster, RedisServer};
use beckon_types::{AddChannel, Dialect, Fetch, Hello, KeyHash, Place, PutMessage, PutMessageOutcome};
use futures_util::future::BoxFuture;
use std::{sync::Arc, time::Duration};

/// The names of all keys that begin like this.
pub(crate) fn keys(server: &RedisServer, start: &str) -> Vec<String> {
    let redis::Value::Array(keys) = server.command(&["KEYS", &format!("{start}{{*")]) else {
        panic!("keys expected")
    };
    let text = |key| {
        let redis::Value::BulkString(bytes) = key else { panic!("a key expected, not {key:?}") };
        String::from_utf8(bytes).unwrap()
    };
    keys.into_iter().map(text).collect()
}

/// Fields in the hashes whose keys begin like this.
fn fields(server: &RedisServer, start: &str) -> i64 {
    keys(server, start).iter().map(|key| number(&server.command(&["HLEN", key]))).sum()
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
    for topics in [false, true] {
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            clients.push(subscribed(&store, 1).await);
        }
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
        // A topic is one more entry.
        let budget = if topics { 210 } else { 200 };
        assert!(each <= PAYLOAD as i64 + budget, "{each} bytes, topic {topics}");
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

#[tokio::test]
async fn a_message_and_its_topic_are_removed_together() {
    let server = RedisServer::start();
    let store = open(&server, RedisOptions::default()).await;
    let client = subscribed(&store, 2).await;
    let counts = || (fields(&server, "m"), fields(&server, "t"));
    let (plain, _) = accepted(&store, message(&client, "a")).await;
    let (replaced, _) = accepted(&store, about(1, message(&client, "b"))).await;
    let (topic, _) = accepted(&store, about(1, message(&client, "c"))).await;
    assert_eq!((counts(), fields(&server, "c")), ((2, 1), 3), "the record has the head and two channels");
    remove(&store, client.id, &[plain, replaced]).await;
    assert_eq!(counts(), (1, 1), "the other was replaced");
    accepted(&store, about(2, message(&client, "d"))).await;
    accepted(&store, about(1, lasting(Duration::ZERO, message(&client, "e")))).await;
    assert_eq!(counts(), (1, 1));
    remove(&store, client.id, &[topic]).await;
    assert_eq!(counts(), (1, 1), "it was removed already");
    unregister(&store, &client, client.channels[0]).await;
    assert!(waiting(&store, &client).await.is_empty());
    assert_eq!(counts(), (0, 0), "a fetch forgets what is of an unregistered channel");
}

/// A client's messages expire in Redis with the last of them, although no step reads them. Those that expire earlier are
/// removed by the next script that comes across them.
#[tokio::test]
async fn messages_expire_without_a_step_and_are_forgotten_by_one() {
    let server = RedisServer::start();
    let store = open(&server, RedisOptions::default()).await;
    let client = subscribed(&store, 1).await;
    let put = lasting(SHORT, message(&client, "a"));
    let expired = async |kept: i64| {
        accepted(&store, put.clone()).await;
        accepted(&store, about(1, put.clone())).await;
        assert_eq!(fields(&server, "m"), kept + 2);
        let_short_pass().await;
    };
    expired(0).await;
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!((keys(&server, "m").len(), keys(&server, "t").len()), (0, 0), "the keys have expired");
    let (kept, _) = accepted(&store, message(&client, "b")).await;
    expired(1).await;
    assert_eq!(fields(&server, "m"), 3, "no script has come across them");
    assert_eq!(waiting(&store, &client).await, ["b"]);
    assert_eq!((fields(&server, "m"), fields(&server, "t")), (1, 0));
    expired(1).await;
    claim_backlog(&store, webpush(client.id, client.presence)).await;
    assert_eq!(fields(&server, "m"), 1);
    expired(1).await;
    accepted(&store, PutMessage { messages_max: 2, ..message(&client, "c") }).await;
    assert_eq!(fields(&server, "m"), 2);
    remove(&store, client.id, &[kept]).await;
    let ttl = number(&server.command(&["PTTL", &keys(&server, "m")[0]]));
    assert!(ttl > LONG.as_millis() as i64 - 60_000, "{ttl}");
}

/// The resolution is a millisecond: a message that would expire at once is not stored.
#[tokio::test]
async fn a_ttl_of_less_than_a_millisecond_counts_as_zero() {
    let server = RedisServer::start();
    let store = open(&server, RedisOptions::default()).await;
    let client = subscribed(&store, 1).await;
    for ttl in [Duration::from_nanos(1), Duration::from_micros(999)] {
        accepted(&store, lasting(ttl, message(&client, "a"))).await;
    }
    assert_eq!(fields(&server, "m"), 0);
    accepted(&store, lasting(Duration::MAX, message(&client, "b"))).await;
    assert_eq!(waiting(&store, &client).await, ["b"]);
}

/// With many messages an index has their order. It is made anew if it lacks some, and may have more than there are.
#[tokio::test]
async fn many_messages_are_read_in_order_whatever_became_of_their_index() {
    let server = RedisServer::start();
    let store = open(&server, RedisOptions::default()).await;
    let client = subscribed(&store, 1).await;
    let mut places = Vec::new();
    let mut expected: Vec<String> = Vec::new();
    for number in 0..270 {
        places.push(
            accepted(&store, PutMessage { messages_max: 1000, ..message(&client, &number.to_string()) })
                .await
                .0,
        );
        expected.push(number.to_string());
    }
    let indexed =
        || keys(&server, "i").iter().map(|key| number(&server.command(&["ZCARD", key]))).sum::<i64>();
    assert_eq!(indexed(), 270);
    remove(&store, client.id, &places[..10]).await;
    assert_eq!((fields(&server, "m"), indexed()), (260, 270));
    assert_eq!(waiting(&store, &client).await, expected[10..]);
    assert_eq!((fields(&server, "m"), indexed()), (260, 260), "a fetch forgets what is gone");
    server.command(&["DEL", &keys(&server, "i")[0]]);
    assert_eq!(waiting(&store, &client).await, expected[10..]);
    assert_eq!(indexed(), 260);
    remove(&store, client.id, &places[10..20]).await;
    assert_eq!(waiting(&store, &client).await, expected[20..]);
    assert_eq!((fields(&server, "m"), indexed()), (250, 0), "few messages need no index");
    // Messages that are written while there is no index are in the next one.
    for number in 270..285 {
        accepted(&store, PutMessage { messages_max: 1000, ..message(&client, &number.to_string()) }).await;
        expected.push(number.to_string());
    }
    assert_eq!(indexed(), 265);
    let mut read = Vec::new();
    let mut after = None;
    loop {
        let backlog = fetch(&store, &client, after, 20).await;
        read.extend(bodies(&backlog));
        after = backlog.messages.last().map(|message| message.place.position());
        if !backlog.more {
            break;
        }
    }
    assert_eq!(read, expected[20..]);
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
    remove(&store, client.id, &[place]).await;
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
    let (key, messages) = (only_client(&server), keys(&server, "m").remove(0));
    let unreadable = |error: StoreError| assert!(matches!(error, StoreError::Unreadable(_)), "{error:?}");
    let hello = || Hello { named: Some(Dialect::WebPush), ..webpush(client.id, new_presence()) };
    let ask = Fetch { client: client.id, presence: client.presence, after: None, max: 10 };
    let dump = || [server.command(&["DUMP", &key]), server.command(&["DUMP", &messages])];

    const SET: &str = "local field = redis.call('HKEYS', KEYS[1])[1]
        redis.call('HSET', KEYS[1], field, ARGV[1])";
    let newer = format!("99999999999999\u{2}{}", "x".repeat(30));
    for value in [&newer, "99999999999999\u{1}short", "x", ""] {
        server.command(&["EVAL", SET, "1", &messages, value]);
        let before = dump();
        unreadable(store.hello(hello()).await.unwrap_err());
        unreadable(store.fetch(ask).await.unwrap_err());
        assert_eq!(dump(), before, "nothing was changed");
    }
    // Removing it does not read it.
    remove(&store, client.id, &[place]).await;
    assert!(waiting(&store, &client).await.is_empty());

    const OF_NEWER_VERSION: &str = "local head = redis.call('HGET', KEYS[1], 'm')
        redis.call('HSET', KEYS[1], 'm', '\\2' .. string.sub(head, 2))";
    accepted(&store, message(&client, "a")).await;
    server.command(&["EVAL", OF_NEWER_VERSION, "1", &key]);
    let before = dump();
    unreadable(store.put_message(message(&client, "b")).await.unwrap_err());
    unreadable(store.find_channel(find(&client)).await.unwrap_err());
    unreadable(store.fetch(ask).await.unwrap_err());
    unreadable(store.remove_channel(client.id, client.presence, client.channels[0]).await.unwrap_err());
    assert_eq!(dump(), before, "nothing was changed");
}

/// A server whose data is set back: a sequence and a message id are not used again.
#[tokio::test]
async fn a_redis_that_goes_back_in_time_uses_no_sequence_again() {
    let server = RedisServer::start();
    let store = open(&server, RedisOptions::default()).await;
    let (simple, web) = (connected(&store, 1).await, subscribed(&store, 1).await);
    stored(&store, simple.id, simple.channels[0], 1).await;
    accepted(&store, message(&web, "a")).await;
    let all = [keys(&server, "c"), keys(&server, "m")].concat();
    for key in &all {
        server.command(&["COPY", key, &format!("saved:{key}")]);
    }
    let (lost, _) = stored(&store, simple.id, simple.channels[0], 2).await;
    let (lost_place, _) = accepted(&store, message(&web, "lost")).await;
    remove(&store, web.id, &[lost_place]).await;
    for key in &all {
        server.command(&["COPY", &format!("saved:{key}"), key, "REPLACE"]);
    }
    // The clock is read in milliseconds.
    tokio::time::sleep(Duration::from_millis(2)).await;
    let (again, _) = stored(&store, simple.id, simple.channels[0], 3).await;
    assert!(again > lost, "{again:?} is not above {lost:?}, which the client has seen");
    let (place, _) = accepted(&store, message(&web, "b")).await;
    assert!(place.sequence > lost_place.sequence && place.nonce != lost_place.nonce);
    // A late acknowledgement of the lost message removes no other.
    remove(&store, web.id, &[lost_place, Place { nonce: lost_place.nonce, ..place }]).await;
    assert_eq!(waiting(&store, &web).await, ["a", "b"]);
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

/// While a slot moves, some keys of a client are at one node and some at the other. Steps that need several of them fail
/// and can be tried again; no message is taken for expired, and none is kept beside the one that replaces it.
#[tokio::test]
async fn no_message_is_lost_while_a_slot_moves() {
    let mut cluster = RedisCluster::start(3);
    let store: Arc<dyn Store> = Arc::new(connect(&cluster.url(), RedisOptions::default()).await.unwrap());
    let client = subscribed(&store, 1).await;
    accepted(&store, message(&client, "a")).await;
    accepted(&store, about(1, message(&client, "t"))).await;
    let nodes = cluster.nodes();
    let source = nodes.iter().position(|node| !keys(node, "m").is_empty()).unwrap();
    let (source, target) = (&nodes[source], &nodes[(source + 1) % 3]);
    let (record, others) = (only_client(source), [keys(source, "m"), keys(source, "t")].concat());
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

    let moving = |error: StoreError| assert_eq!(error.cause(), Cause::Cluster, "{error:?}");
    migrate(&record);
    let ask = Fetch { client: client.id, presence: client.presence, after: None, max: 10 };
    let steps = [
        failure(store.hello(webpush(client.id, client.presence))),
        failure(store.fetch(ask)),
        failure(store.put_message(message(&client, "lost"))),
        failure(store.put_message(about(1, message(&client, "lost")))),
    ];
    futures_util::future::join_all(steps).await.into_iter().for_each(moving);
    // A step that is asked for before the slot has moved, and is retried until it has.
    let moved = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(others.len(), 2);
        others.iter().for_each(|key| drop(migrate(key)));
        for node in [target, source] {
            node.command(&["CLUSTER", "SETSLOT", &slot, "NODE", &id(target)]);
        }
    };
    let (retried, ()) = tokio::join!(store.put_message(message(&client, "b")), moved);
    assert!(matches!(retried, Ok(PutMessageOutcome::Accepted { .. })));
    let backlog = claim_backlog(&store, webpush(client.id, client.presence)).await;
    assert_eq!(bodies(&backlog), ["t", "a", "b"]);
    accepted(&store, about(1, message(&client, "u"))).await;
    assert_eq!(waiting(&store, &client).await, ["u", "a", "b"]);
}

/// The error of a step that has to fail.
fn failure<T: std::fmt::Debug + 'static>(step: Answer<T>) -> BoxFuture<'static, StoreError> {
    Box::pin(async move { step.await.unwrap_err() })
}
