//! Servers that are not the primary any more and do not know it: nothing that the primary has is called unknown.

use beckon_store::{
    Cause, Store,
    redis::{Access, RedisOptions, connect},
};
use beckon_store_conformance::{message_steps, steps::*};
use beckon_testbed::redis::{ClusterOptions, Options, RedisCluster, RedisSentinel, RedisServer};
use beckon_types::{
    FindChannelOutcome, Hello, HelloOutcome, PutMessageOutcome, PutVersion, PutVersionOutcome,
};
use std::{sync::Arc, time::Duration};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

/// Everything works again this long after what failed.
const RECOVERY_TIME: Duration = Duration::from_secs(15);

#[expect(clippy::disallowed_methods, reason = "a test measures how long something takes")]
fn now() -> Instant {
    Instant::now()
}

async fn open(url: &str) -> Arc<dyn Store> {
    let opened = connect(url, RedisOptions::default()).await;
    Arc::new(opened.unwrap_or_else(|error| panic!("{url}: {error}")))
}

/// Puts a version to the first channel of a client.
async fn put_to(store: &Arc<dyn Store>, client: &Client) -> Result<PutVersionOutcome, Cause> {
    let put = PutVersion { client: client.id, channel: client.channels[0], version: version(1) };
    store.put_version(put).await.map_err(|error| error.cause())
}

/// A client that is not stored, but could be.
fn stranger() -> Client {
    Client { id: new_client_id(), presence: new_presence(), channels: vec![new_channel()] }
}

/// A client of each dialect that the primary of one store has is known through another.
async fn knows(store: &Arc<dyn Store>, simplepush_client: &Client, webpush_client: &Client) {
    let put = put_to(store, simplepush_client).await.unwrap();
    assert!(matches!(put, PutVersionOutcome::Stored { .. }), "{put:?}");
    let found = store.find_channel(message_steps::find(webpush_client)).await.unwrap();
    assert_eq!(found, FindChannelOutcome::Registered);
    let sent = store.put_message(message_steps::message(webpush_client, "m")).await.unwrap();
    assert!(matches!(sent, PutMessageOutcome::Accepted { .. }), "{sent:?}");
    let hello = store.hello(webpush(webpush_client.id, new_presence())).await.unwrap();
    assert!(matches!(hello, HelloOutcome::Claimed { .. }), "{hello:?}");
    let hello = Hello { adopt: false, ..simplepush(simplepush_client.id, new_presence()) };
    let hello = store.hello(hello).await.unwrap();
    assert!(matches!(hello, HelloOutcome::Claimed { .. }), "{hello:?}");
}

/// Nobody is known who is not stored.
async fn does_not_know(store: &Arc<dyn Store>, stranger: &Client) {
    assert_eq!(put_to(store, stranger).await, Ok(PutVersionOutcome::Gone));
    let found = store.find_channel(message_steps::find(stranger)).await.unwrap();
    assert_eq!(found, FindChannelOutcome::UaidGone);
    let sent = store.put_message(message_steps::message(stranger, "m")).await.unwrap();
    assert_eq!(sent, PutMessageOutcome::UaidGone);
    let hello = store.hello(webpush(stranger.id, new_presence())).await.unwrap();
    assert!(matches!(hello, HelloOutcome::Unknown { .. }), "{hello:?}");
}

/// Sentinels demote the former primary only after about ten seconds. Until then it takes itself for the primary, and links to
/// it stay open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_an_ordered_failover_the_former_primary_is_left_at_once() {
    let watched = RedisSentinel::start(1, &Options::default());
    let (early, url) = (open(&watched.url()).await, watched.url());
    let known = connected(&early, 1).await;
    let former = watched.primary();
    watched.fail_over();
    let late = open(&url).await;
    let (first, second) = (connected(&late, 1).await, subscribed(&late, 1).await);
    knows(&early, &first, &second).await;
    does_not_know(&early, &stranger()).await;
    put_to(&early, &known).await.unwrap();
    assert_eq!(pending_on(&late, &known, known.channels[0]).await, Some(1), "what was accepted is there");
    assert!(watched.server(former).is_primary(), "the former primary was demoted too early to show anything");
}

/// Only what more than half of the Sentinels say counts. Everything else goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_most_sentinels_are_silent_no_client_is_called_unknown() {
    let watched = RedisSentinel::start(1, &Options::default());
    let store = open(&watched.url()).await;
    let known = connected(&store, 1).await;
    does_not_know(&store, &stranger()).await;
    watched.pause_sentinels_but(2);
    does_not_know(&store, &stranger()).await;
    watched.resume_sentinels();
    watched.pause_sentinels_but(1);
    for _ in 0..3 {
        assert_eq!(put_to(&store, &stranger()).await, Err(Cause::Unconfirmed));
        assert!(matches!(put_to(&store, &known).await, Ok(PutVersionOutcome::Stored { .. })));
    }
    let hello = store.hello(webpush(new_client_id(), new_presence())).await;
    assert_eq!(hello.unwrap_err().cause(), Cause::Unconfirmed);
    // A node can start, and serves the clients that are known.
    let other = timeout(RECOVERY_TIME, open(&watched.url())).await.expect("it opens in time");
    assert!(matches!(put_to(&other, &known).await, Ok(PutVersionOutcome::Stored { .. })));
    assert_eq!(put_to(&other, &stranger()).await, Err(Cause::Unconfirmed));
    watched.resume_sentinels();
    let again = async {
        while put_to(&store, &stranger()).await != Ok(PutVersionOutcome::Gone) {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(RECOVERY_TIME, again).await.expect("strangers are unknown again");
}

/// Most Sentinels are lost with the primary, and an operator orders a failover: nodes follow the Sentinel that is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_by_the_last_sentinel_is_followed() {
    let mut watched = RedisSentinel::start(1, &Options::default());
    let store = open(&watched.url()).await;
    let client = connected(&store, 1).await;
    let former = watched.primary();
    // The replica has the client.
    let replica = watched.server(1 - former);
    replica.wait_until_replicated();
    watched.pause_sentinels_but(1);
    watched.order_fail_over();
    timeout(RECOVERY_TIME, async {
        while watched.primary() == former {
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .expect("the Sentinel names the replica");
    watched.servers()[former].kill();
    let again = async {
        while put_to(&store, &client).await.is_err() {
            sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(put_to(&store, &stranger()).await, Err(Cause::Unconfirmed));
    };
    timeout(RECOVERY_TIME, again).await.expect("the new primary is used");
    for _ in 0..10 {
        put_to(&store, &client).await.expect("and stays in use");
        sleep(Duration::from_millis(200)).await;
    }
}

/// As while Sentinels are told to announce host names, one after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_may_name_a_primary_differently() {
    let watched = RedisSentinel::start(1, &Options::default());
    let early = open(&watched.url()).await;
    let client = connected(&early, 1).await;
    watched.name_by_host(0);
    // One of them names the host, one the address, and the third says nothing.
    watched.pause_sentinels_but(2);
    let connections = || watched.server(0).info("total_connections_received").parse::<u64>().unwrap();
    let late = timeout(RECOVERY_TIME, open(&watched.url())).await.expect("a node starts");
    for store in [&early, &late] {
        does_not_know(store, &stranger()).await;
        put_to(store, &client).await.unwrap();
    }
    let before = connections();
    // The others are asked once a second, too.
    watched.resume_sentinels();
    for _ in 0..30 {
        does_not_know(&early, &stranger()).await;
        does_not_know(&late, &stranger()).await;
        sleep(Duration::from_millis(100)).await;
    }
    assert!(connections() - before < 10, "{} connections", connections() - before);
    watched.name_by_host(1);
    watched.name_by_host(2);
    let former = watched.primary();
    watched.fail_over();
    let later = open(&watched.url()).await;
    let (first, second) = (connected(&later, 1).await, subscribed(&later, 1).await);
    knows(&early, &first, &second).await;
    does_not_know(&early, &stranger()).await;
    assert!(watched.server(former).is_primary(), "the former primary was demoted too early to show anything");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_unknown_clients_is_no_flood_of_questions_to_sentinels() {
    const CALLERS: usize = 200;
    const STRANGERS: usize = 20;
    /// Questions of this process, and what Sentinels ask each other.
    const PER_SECOND: f64 = 30.0;
    let watched = RedisSentinel::start(1, &Options::default());
    let store = open(&watched.url()).await;
    let (before, start) = (watched.questions(), now());
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let store = store.clone();
        callers.spawn(async move {
            for _ in 0..STRANGERS {
                assert_eq!(put_to(&store, &stranger()).await, Ok(PutVersionOutcome::Gone));
            }
        });
    }
    callers.join_all().await;
    let (questions, seconds) = (watched.questions() - before, start.elapsed().as_secs_f64());
    let limit = (PER_SECOND * (seconds + 1.0)) as u64;
    assert!(
        questions < limit,
        "{questions} questions about {} strangers in {seconds} s",
        CALLERS * STRANGERS
    );
}

/// A replica may lag, or serve what it had before: it must not say that anything is gone.
#[tokio::test]
async fn a_replica_calls_no_client_unknown() {
    const NOWHERE: &str = "1";
    let server = RedisServer::start();
    let store = open(&server.url()).await;
    does_not_know(&store, &stranger()).await;
    let (first, second) = (connected(&store, 1).await, subscribed(&store, 1).await);
    server.command(&["REPLICAOF", "127.0.0.1", NOWHERE]);
    let other = new_channel();
    let without = |client: &Client| Client { channels: vec![other], ..client.clone() };
    for client in [&stranger(), &without(&first), &without(&second)] {
        assert_eq!(put_to(&store, client).await, Err(Cause::ReadOnly));
        let sent = store.put_message(message_steps::message(client, "m")).await;
        assert_eq!(sent.unwrap_err().cause(), Cause::ReadOnly);
        let found = store.find_channel(message_steps::find(client)).await;
        assert_eq!(found.unwrap_err().cause(), Cause::ReadOnly);
    }
    let other_dialect = webpush(first.id, new_presence());
    for hello in [webpush(new_client_id(), new_presence()), other_dialect] {
        assert_eq!(store.hello(hello).await.unwrap_err().cause(), Cause::ReadOnly);
    }
}

/// A replica was promoted, and the former primary goes on: as when a DNS name moves while a network is cut.
#[tokio::test]
async fn a_primary_whose_replicas_have_left_calls_no_client_unknown() {
    let former = RedisServer::start();
    let next = former.start_replica();
    let access = Access { replicas: 1, ..Access::default() };
    let options = RedisOptions { access, ..RedisOptions::default() };
    let early: Arc<dyn Store> = Arc::new(connect(&former.url(), options).await.unwrap());
    does_not_know(&early, &stranger()).await;
    next.become_primary();
    for _ in 0..3 {
        assert_eq!(put_to(&early, &stranger()).await, Err(Cause::NotDurable));
    }
    let hello = early.hello(webpush(new_client_id(), new_presence())).await;
    assert_eq!(hello.unwrap_err().cause(), Cause::NotDurable);
}

/// The same, if the primary itself is told to refuse writes then. Nodes can start all the same.
#[tokio::test]
async fn a_primary_that_may_not_write_calls_no_client_unknown() {
    let server = RedisServer::start();
    open(&server.url()).await.announce(new_node()).await.unwrap();
    server.command(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    let store = open(&server.url()).await;
    assert_eq!(put_to(&store, &stranger()).await, Err(Cause::NotDurable));
    let sent = store.put_message(message_steps::message(&stranger(), "m")).await;
    assert_eq!(sent.unwrap_err().cause(), Cause::NotDurable);
}

/// A primary of a Redis Cluster that has not heard that a replica has taken its place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_was_cut_off_from_its_cluster_is_not_believed() {
    for shards in [3, 1] {
        let cluster =
            RedisCluster::start_as(ClusterOptions { shards, replicas: 1, ..ClusterOptions::default() });
        cluster.wait_until_replicas_are_listed();
        let early = open(&cluster.url()).await;
        does_not_know(&early, &stranger()).await;
        let former = cluster.primary(0);
        let next = cluster.fail_over_unnoticed(0);
        // This one meets the new primary first.
        let late = open(&format!("redis-cluster://{}", cluster.server(next).address())).await;
        for _ in 0..4 * shards {
            knows(&early, &connected(&late, 1).await, &subscribed(&late, 1).await).await;
            does_not_know(&early, &stranger()).await;
        }
        assert!(cluster.server(former).is_primary(), "it has heard too early to show anything");
    }
}

/// Replicas of a Redis Cluster say who the primary is if there is no other primary. They have no replicas to wait for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_confirms_something_has_nothing_to_replicate() {
    for shards in [1, 2] {
        let cluster =
            RedisCluster::start_as(ClusterOptions { shards, replicas: 1, ..ClusterOptions::default() });
        cluster.wait_until_replicas_are_listed();
        let access = Access { replicas: 1, ..Access::default() };
        let options = RedisOptions { access, ..RedisOptions::default() };
        let store: Arc<dyn Store> = Arc::new(connect(&cluster.url(), options).await.unwrap());
        for _ in 0..5 {
            does_not_know(&store, &stranger()).await;
        }
    }
}

/// Clients that are gone are asked for all the time, and each reading of the slots is a connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_confirmation_is_no_reason_to_read_the_slots_again() {
    let cluster = RedisCluster::start(3);
    let store = open(&cluster.url()).await;
    let readings = || -> u64 {
        let of = |server| {
            let stats = cluster.server(server).command(&["INFO", "commandstats"]);
            let stats: String = redis::from_redis_value(stats).unwrap();
            let calls =
                stats.split_once("cmdstat_cluster|slots:calls=").and_then(|(_, rest)| rest.split_once(','));
            calls.map_or(0, |(calls, _)| calls.parse().unwrap())
        };
        (0..3).map(of).sum()
    };
    does_not_know(&store, &stranger()).await;
    // Steps before may have found the cluster not ready.
    sleep(Duration::from_secs(2)).await;
    let before = readings();
    for _ in 0..20 {
        assert_eq!(put_to(&store, &stranger()).await, Ok(PutVersionOutcome::Gone));
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(readings(), before);
}

/// As while `cluster-preferred-endpoint-type` is changed: some name a host name, others an IP address.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_may_have_different_names_at_different_nodes() {
    let cluster = RedisCluster::start(3);
    let names = |server: usize| {
        let slots = redis::from_redis_value::<Vec<Vec<redis::Value>>>(
            cluster.server(server).command(&["CLUSTER", "SLOTS"]),
        );
        format!("{:?}", slots.unwrap())
    };
    for server in 0..3 {
        cluster.server(server).command(&["CONFIG", "SET", "cluster-announce-hostname", "localhost"]);
    }
    cluster.server(0).command(&["CONFIG", "SET", "cluster-preferred-endpoint-type", "hostname"]);
    let known = async {
        while names(0).matches("localhost").count() < 3 {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(RECOVERY_TIME, known).await.expect("the first node knows all host names");
    for server in 0..3 {
        let store = open(&format!("redis-cluster://{}", cluster.server(server).address())).await;
        for _ in 0..10 {
            does_not_know(&store, &stranger()).await;
            put_to(&store, &connected(&store, 1).await).await.unwrap();
        }
    }
}
