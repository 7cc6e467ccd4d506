//! The suite on Redis, and what is special about Redis.

use beckon_store::{
    Cause, Newcomers, OpenError, Store, StoreError,
    redis::{Access, ConnectError, RedisOptions, TlsFiles, connect},
};
use beckon_store_conformance::{Fixture, run_all, steps::*};
use beckon_testbed::redis::{Options, RedisCluster, RedisServer};
use beckon_types::{Hello, HelloOutcome, PutVersionOutcome, UNREGISTERED_LIFETIME};
use std::{sync::Arc, time::Duration};

async fn single() -> Fixture {
    let server = RedisServer::start();
    let store = connect(&server.url(), RedisOptions::default()).await.unwrap();
    Fixture { store: Arc::new(store), holds: Box::new(server) }
}

mod conformance {
    beckon_store_conformance::suite!(super::single);
}

fn reached_with(access: Access) -> RedisOptions {
    RedisOptions { access, ..RedisOptions::default() }
}

pub(crate) async fn open(server: &RedisServer, limits: RedisOptions) -> Arc<dyn Store> {
    Arc::new(connect(&server.url(), limits).await.unwrap())
}

pub(crate) fn number(value: &redis::Value) -> i64 {
    let redis::Value::Int(number) = value else { panic!("a number expected, not {value:?}") };
    *number
}

/// The key of the only client.
pub(crate) fn only_client(server: &RedisServer) -> String {
    let redis::Value::Array(keys) = server.command(&["KEYS", "c{*"]) else { panic!("keys expected") };
    let [redis::Value::BulkString(key)] = &keys[..] else { panic!("one key expected: {keys:?}") };
    String::from_utf8(key.clone()).unwrap()
}

#[tokio::test]
async fn a_cluster_of_three_masters_passes_the_suite() {
    let cluster = RedisCluster::start(3);
    let store: Arc<dyn Store> = Arc::new(connect(&cluster.url(), RedisOptions::default()).await.unwrap());
    run_all(&store).await;
}

/// The budget of `docs/performance.md` for a record in Redis.
#[tokio::test]
async fn a_connected_client_with_one_channel_takes_no_more_than_300_bytes() {
    let server = RedisServer::start();
    let store = open(&server, RedisOptions::default()).await;
    let client = connected(&store, 1).await;
    let usage = || number(&server.command(&["MEMORY", "USAGE", &only_client(&server)]));
    let idle = usage();
    stored(&store, client.id, client.channels[0], beckon_types::Version::MAX).await;
    let pending = usage();
    println!("MEMORY USAGE of a client: {idle} bytes, with a pending version {pending} bytes");
    assert!(idle <= 300, "{idle} bytes");
    assert!(pending <= 300, "{pending} bytes with a pending version");
}

#[tokio::test]
async fn hello_release_and_snapshot_renew_the_time_until_a_record_expires() {
    let server = RedisServer::start();
    let idle = Duration::from_secs(1000);
    let store = open(&server, RedisOptions { uaid_idle: idle, ..RedisOptions::default() }).await;
    let client = connected(&store, 1).await;
    let key = only_client(&server);
    let left = || number(&server.command(&["PTTL", &key]));
    let age = || server.command(&["PEXPIRE", &key, "500000"]);
    let renewed = 900_000..=1_000_000;
    assert!(renewed.contains(&left()), "hello");
    age();
    stored(&store, client.id, client.channels[0], 1).await;
    ack(&store, client.id, client.channels[0], None).await;
    assert!(!renewed.contains(&left()), "neither a put nor an acknowledgement is a sign of life");
    snapshot(&store, &client).await;
    assert!(renewed.contains(&left()), "snapshot");
    age();
    release(&store, client.id, client.presence).await;
    assert!(renewed.contains(&left()), "release");
    age();
    claim(&store, simplepush(client.id, client.presence)).await;
    assert!(renewed.contains(&left()), "hello again");
}

#[tokio::test]
async fn a_client_without_channels_expires_within_minutes_after_its_last_verification() {
    let server = RedisServer::start();
    let store = open(&server, RedisOptions::default()).await;
    for hello in [webpush(new_client_id(), new_presence()), simplepush(new_client_id(), new_presence())] {
        let (id, presence) = (hello.client, hello.presence);
        claim(&store, Hello { adopt: true, ..hello }).await;
        let key = only_client(&server);
        let minutes = i64::try_from(UNREGISTERED_LIFETIME.as_millis()).unwrap();
        let left = || number(&server.command(&["PTTL", &key]));
        let is_renewed = || (minutes - 60_000..=minutes).contains(&left());
        assert!(is_renewed(), "hello: {}", left());
        server.command(&["PEXPIRE", &key, "100000"]);
        store.verify(id, presence).await.unwrap();
        assert!(is_renewed(), "verify: {}", left());
        let client = Client { id, presence, channels: vec![new_channel()] };
        add(&store, addition(&client, client.channels[0])).await;
        assert!(left() > minutes, "with a channel: {}", left());
        store.verify(id, presence).await.unwrap();
        assert!(left() > minutes, "with a channel that was verified: {}", left());
        store.remove_channel(id, presence, client.channels[0]).await.unwrap().unwrap();
        store.verify(id, presence).await.unwrap();
        assert!(is_renewed(), "without the channel: {}", left());
        release(&store, id, presence).await;
        assert_eq!(server.command(&["EXISTS", &key]), server.command(&["EXISTS", "nothing"]));
    }
}

#[tokio::test]
async fn a_client_that_never_came_back_expires_sooner() {
    let (idle, newcomers) =
        (Duration::from_secs(10_000), Newcomers { idle: Duration::from_secs(700), memory_high: 0.8 });
    let (as_newcomer, as_known) = (650_000..=700_000, 9_950_000..=10_000_000);
    let options = RedisOptions { uaid_idle: idle, newcomers, ..RedisOptions::default() };
    for comes_back in [true, false] {
        let server = RedisServer::start();
        let store = open(&server, options.clone()).await;
        let client = connected(&store, 1).await;
        let key = only_client(&server);
        let left = || number(&server.command(&["PTTL", &key]));
        assert!(as_newcomer.contains(&left()), "hello: {}", left());
        store.verify(client.id, client.presence).await.unwrap();
        snapshot(&store, &client).await;
        release(&store, client.id, client.presence).await;
        assert!(as_newcomer.contains(&left()), "release: {}", left());
        if comes_back {
            claim(&store, simplepush(client.id, client.presence)).await;
        } else {
            stored(&store, client.id, client.channels[0], 1).await;
        }
        assert!(as_known.contains(&left()), "known: {}", left());
        release(&store, client.id, client.presence).await;
        assert!(as_known.contains(&left()), "released: {}", left());
    }
    let server = RedisServer::start();
    let store = open(&server, options).await;
    assert_eq!(store.fullness().await.unwrap(), None, "it has no limit");
    let used: u64 = server.info("used_memory").parse().unwrap();
    server.command(&["CONFIG", "SET", "maxmemory", &(used * 10 / 9).to_string()]);
    let fullness = store.fullness().await.unwrap().unwrap();
    assert!((0.85..0.95).contains(&fullness), "{fullness}");
    connected(&store, 1).await;
    let left = number(&server.command(&["PTTL", &only_client(&server)]));
    assert!((90_000..=100_000).contains(&left), "{left}");

    server.pause();
    let error = store.fullness().await.expect_err("Redis does not answer");
    assert_eq!(error.cause(), Cause::Timeout, "{error}");
    server.resume();
    server.command(&["DEL", &only_client(&server)]);
    connected(&store, 1).await;
    let left = number(&server.command(&["PTTL", &only_client(&server)]));
    assert!((90_000..=100_000).contains(&left), "it is as full as before: {left}");
}

#[tokio::test]
async fn an_expired_client_is_gone() {
    let server = RedisServer::start();
    let store =
        open(&server, RedisOptions { uaid_idle: Duration::from_millis(300), ..RedisOptions::default() })
            .await;
    let client = connected(&store, 1).await;
    let mut polls = 0;
    while put(&store, client.id, client.channels[0], 1).await != PutVersionOutcome::Gone {
        polls += 1;
        assert!(polls < 1000, "the record does not expire");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let hello = Hello { adopt: false, ..simplepush(client.id, new_presence()) };
    assert!(matches!(say(&store, hello).await, HelloOutcome::Unknown { .. }));
}

#[tokio::test]
async fn a_lapsed_lease_is_not_listed_and_is_reported_to_its_node() {
    let server = RedisServer::start();
    let store = open(&server, RedisOptions::default()).await;
    let (node, other) = (new_node(), new_node());
    store.announce(node.clone()).await.unwrap();
    // Ten seconds pass for the leases.
    const LAPSE: &str = "for _, node in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
        redis.call('ZINCRBY', KEYS[1], -10000, node)
        end";
    server.command(&["EVAL", LAPSE, "1", "{beckon}leases"]);
    assert_eq!(store.nodes().await.unwrap(), []);
    assert_eq!(store.announce(other.clone()).await.unwrap().nodes, [other]);
    assert_eq!(number(&server.command(&["ZCARD", "{beckon}leases"])), 1, "lapsed leases are removed");
    let announced = store.announce(node).await.unwrap();
    assert!(announced.lapsed);
    assert_eq!(announced.nodes.len(), 2);
}

#[tokio::test]
async fn a_directory_entry_of_a_newer_version_is_left_out() {
    let server = RedisServer::start();
    let store = open(&server, RedisOptions::default()).await;
    let node = new_node();
    store.announce(node.clone()).await.unwrap();
    server.command(&["HSET", "{beckon}nodes", "12345678", "\u{4}newer", "short", "\u{1}"]);
    assert_eq!(store.nodes().await.unwrap(), std::slice::from_ref(&node));
    let another = open(&server, RedisOptions::default()).await;
    assert_eq!(another.announce(node.clone()).await.unwrap().nodes, [node]);
}

#[tokio::test]
async fn an_unreadable_record_is_reported_and_kept() {
    let server = RedisServer::start();
    let store = open(&server, RedisOptions::default()).await;
    let client = connected(&store, 1).await;
    let key = only_client(&server);
    const DAMAGE: &str = "for i, field in ipairs(redis.call('HKEYS', KEYS[1])) do
        if (field == 'm') == (ARGV[1] == 'head') then redis.call('HSET', KEYS[1], field, ARGV[2]) end
        end";
    for (part, value) in [
        ("head", "\u{2}\u{1}\u{0}0123456789abcdef0"),
        ("head", "\u{1}"),
        ("head", "\u{1}\u{1}\u{0}0123456789abcdefx"),
        ("channel", "\u{9}\u{1}"),
        ("channel", "\u{2}\u{1}"),
    ] {
        claim(&store, simplepush(client.id, client.presence)).await;
        server.command(&["EVAL", DAMAGE, "1", &key, part, value]);
        let before = server.command(&["DUMP", &key]);
        let hello = store.hello(simplepush(client.id, new_presence())).await;
        assert!(matches!(hello, Err(StoreError::Unreadable(_))), "{hello:?}");
        let put =
            beckon_types::PutVersion { client: client.id, channel: client.channels[0], version: version(1) };
        let put = store.put_version(put).await;
        assert!(matches!(put, Err(StoreError::Unreadable(_))), "{put:?}");
        let ack = beckon_types::Ack { channel: client.channels[0], version: None };
        let ack = store.ack_versions(client.id, vec![ack]).await;
        // An acknowledgement reads only the version of the head.
        let needless = part == "head" && value.starts_with('\u{1}');
        assert!(needless || matches!(ack, Err(StoreError::Unreadable(_))), "{ack:?}");
        assert_eq!(server.command(&["DUMP", &key]), before, "nothing was changed");
        server.command(&["DEL", &key]);
        claim(&store, simplepush(client.id, client.presence)).await;
        register(&store, &client, client.channels[0]).await;
    }
    server.command(&["DEL", &key]);
    server.command(&["SET", &key, "of another program"]);
    let hello = store.hello(simplepush(client.id, new_presence())).await;
    assert!(matches!(hello, Err(StoreError::Unreadable(_))), "{hello:?}");
}

#[tokio::test]
async fn password_and_database_of_the_url_are_used() {
    let server =
        RedisServer::start_with(Options { password: Some("hunt/er@2".into()), ..Options::default() });
    let url = format!("redis://:hunt%2Fer%402@127.0.0.1:{}", server.port());
    let store: Arc<dyn Store> =
        Arc::new(connect(&format!("{url}/3"), RedisOptions::default()).await.unwrap());
    let client = connected(&store, 1).await;
    let elsewhere: Arc<dyn Store> = Arc::new(connect(&url, RedisOptions::default()).await.unwrap());
    assert_eq!(put(&elsewhere, client.id, client.channels[0], 1).await, PutVersionOutcome::Gone);
    stored(&store, client.id, client.channels[0], 1).await;
    for wrong in ["redis://:hunter3@", "redis://"] {
        let error = connect(&format!("{wrong}127.0.0.1:{}", server.port()), RedisOptions::default())
            .await
            .unwrap_err();
        assert!(matches!(error, ConnectError::Password(_)), "{error:?}");
        assert!(!error.to_string().contains("hunt"), "{error}");
    }
    let error = connect(&format!("{url}/99"), RedisOptions::default()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Configuration(_)), "{error:?}");
}

#[tokio::test]
async fn a_cluster_takes_a_password_and_is_not_mistaken_for_a_single_server() {
    let cluster =
        RedisCluster::start_with(3, Options { password: Some("hunter2".into()), ..Options::default() });
    let store: Arc<dyn Store> = Arc::new(connect(&cluster.url(), RedisOptions::default()).await.unwrap());
    let clients = futures_util::future::join_all((0..8).map(|_| connected(&store, 1))).await;
    for client in &clients {
        stored(&store, client.id, client.channels[0], 1).await;
    }
    let (user, hosts) = cluster
        .url()
        .replace("redis-cluster", "redis")
        .rsplit_once('@')
        .map(|(user, hosts)| (user.to_owned(), hosts.to_owned()))
        .unwrap();
    for host in hosts.split(',') {
        let error = connect(&format!("{user}@{host}"), RedisOptions::default()).await.unwrap_err();
        assert!(matches!(error, ConnectError::Configuration(_)), "{error:?}");
        assert!(error.to_string().contains("use redis-cluster://"), "{error}");
    }
}

#[tokio::test]
async fn a_single_server_is_not_mistaken_for_a_cluster() {
    let server = RedisServer::start();
    let url = server.url().replace("redis://", "redis-cluster://");
    let error = connect(&url, RedisOptions::default()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Configuration(_)), "{error:?}");
    assert!(error.to_string().contains("use redis://"), "{error}");
}

#[tokio::test]
async fn tls_is_used_and_the_certificate_is_verified() {
    let server = RedisServer::start_with(Options { tls: true, ..Options::default() });
    let authority = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(authority.path(), server.root_certificate()).unwrap();
    let tls = TlsFiles { ca: Some(authority.path().to_owned()), identity: None };
    let store: Arc<dyn Store> = open(&server, reached_with(Access { tls, ..Access::default() })).await;
    let client = connected(&store, 1).await;
    stored(&store, client.id, client.channels[0], 1).await;
    let error = connect(&server.url(), RedisOptions::default()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_redis_that_cannot_write_fails_the_check_and_the_steps() {
    let server = RedisServer::start();
    let store = open(&server, RedisOptions::default()).await;
    let client = connected(&store, 1).await;
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    assert!(matches!(store.check().await, Err(StoreError::Unavailable { .. })));
    let put =
        beckon_types::PutVersion { client: client.id, channel: client.channels[0], version: version(1) };
    assert!(matches!(store.put_version(put).await, Err(StoreError::Unavailable { .. })));
    server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(pending_on(&store, &client, client.channels[0]).await, None);
    stored(&store, client.id, client.channels[0], 1).await;
    let healthy = async {
        while store.check().await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(15), healthy).await.expect("well again");
}

#[tokio::test]
async fn scripts_that_redis_has_forgotten_are_sent_again() {
    let server = RedisServer::start();
    let store = open(&server, RedisOptions::default()).await;
    let client = connected(&store, 1).await;
    server.command(&["SCRIPT", "FLUSH"]);
    stored(&store, client.id, client.channels[0], 1).await;
    assert_eq!(pending_on(&store, &client, client.channels[0]).await, Some(1));
}

#[tokio::test]
async fn a_closed_store_is_unavailable() {
    let server = RedisServer::start();
    let store = open(&server, RedisOptions::default()).await;
    store.close().await.unwrap();
    assert!(matches!(store.check().await, Err(StoreError::Unavailable { .. })));
}

#[tokio::test]
async fn the_setting_names_the_store() {
    let directory = tempfile::tempdir().unwrap();
    let options = crate::open_options(directory.path().join("data"));
    let embedded = beckon_store::open("embedded", &options, false).await.unwrap();
    assert_eq!(embedded.check().await, Ok(()));
    let in_use = beckon_store::open("embedded", &options, false).await;
    assert!(matches!(in_use, Err(OpenError::Unavailable(_))), "{in_use:?}");
    let server = RedisServer::start();
    assert_eq!(beckon_store::open(&server.url(), &options, false).await.unwrap().check().await, Ok(()));
    let wrong = beckon_store::open("memcached://store", &options, true).await;
    assert!(matches!(wrong, Err(OpenError::Configuration(_))), "{wrong:?}");
    let nowhere = crate::open_options("/proc/nowhere/data".into());
    let nowhere = beckon_store::open("embedded", &nowhere, true).await;
    assert!(matches!(nowhere, Err(OpenError::Configuration(_))), "{nowhere:?}");
}
