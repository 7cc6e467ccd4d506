//! Redis becomes unavailable and available again.

use beckon_store::{
    Answer, Store, StoreError,
    redis::{RedisOptions, RedisStore, connect},
};
use beckon_store_conformance::{late, message_steps, steps::*};
use beckon_testbed::{
    forwarder::Forwarder,
    redis::{Options, RedisCluster, RedisServer},
    until, until_within,
};
use beckon_types::{BroadcastId, BroadcastVersion, Place, PutMessageOutcome, PutVersion};
use futures_util::future::{BoxFuture, join_all};
use std::{sync::Arc, time::Duration};
use tokio::task::JoinSet;

const STEP_TIMEOUT: Duration = Duration::from_millis(600);

/// On a busy machine a step may end this much after its time limit.
const STEP_END: Duration = Duration::from_secs(5);

/// Attempts until a store must have recovered. Each ends within [`STEP_TIMEOUT`].
const RECOVERY_STEPS_MAX: u32 = 100;

async fn open(url: &str) -> RedisStore {
    connect(url, RedisOptions { step_timeout: STEP_TIMEOUT, ..RedisOptions::default() }).await.unwrap()
}

/// Waits until the store performs steps again, without help.
async fn recovers(store: &Arc<dyn Store>) {
    for _ in 0..RECOVERY_STEPS_MAX {
        // Steps of clients and what keeps a node alive have links of their own.
        if store.broadcasts(0).await.is_ok() && store.retire(new_node().node).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the store does not recover");
}

/// Checks that concurrent steps of all kinds fail within their time limit, with [`StoreError::Unavailable`].
async fn all_steps_fail(store: &Arc<dyn Store>, client: &Client) {
    let Client { id, presence, .. } = *client;
    let put = put_of(client, 9);
    let ack = beckon_types::Ack { channel: client.channels[0], version: None };
    let ask = beckon_types::Fetch { client: id, presence, after: None, max: 10 };
    let place = message_steps::plain_place(beckon_types::Sequence(1));
    let (broadcast, value) = (BroadcastId::parse("a").unwrap(), BroadcastVersion::parse("1").unwrap());
    let steps = [
        failure(store.hello(simplepush(id, presence))),
        failure(store.put_version(put)),
        failure(store.ack_versions(id, vec![ack])),
        failure(store.put_message(message_steps::message(client, "a"))),
        failure(store.find_channel(message_steps::find(client))),
        failure(store.fetch(ask)),
        failure(store.remove_messages(id, vec![place])),
        failure(store.set_broadcast(broadcast, value)),
        failure(store.broadcasts(0)),
        failure(store.announce(new_node())),
    ];
    let failures = tokio::time::timeout(STEP_END, join_all(steps)).await.expect("every step ends");
    let unavailable = |failure: &Option<StoreError>| matches!(failure, Some(StoreError::Unavailable { .. }));
    assert!(failures.iter().all(unavailable), "{failures:?}");
}

/// A version for the first channel.
fn put_of(client: &Client, number: u64) -> PutVersion {
    PutVersion { client: client.id, channel: client.channels[0], version: version(number) }
}

/// The error of a step, if it fails.
fn failure<T: 'static>(step: Answer<T>) -> BoxFuture<'static, Option<StoreError>> {
    Box::pin(async move { step.await.err() })
}

#[tokio::test]
async fn steps_fail_while_redis_is_down_and_succeed_when_it_is_up_again() {
    let mut server = RedisServer::start_with(Options { appendonly: true, ..Options::default() });
    let store: Arc<dyn Store> = Arc::new(open(&server.url()).await);
    let client = connected(&store, 1).await;
    stored(&store, client.id, client.channels[0], 7).await;
    let epoch = store.announce(new_node()).await.unwrap().epoch;
    for _ in 0..2 {
        server.kill();
        all_steps_fail(&store, &client).await;
        server.restart();
        recovers(&store).await;
        assert_eq!(pending_on(&store, &client, client.channels[0]).await, Some(7), "nothing was lost");
        assert_eq!(store.announce(new_node()).await.unwrap().epoch, epoch);
    }
}

#[tokio::test]
async fn a_step_ends_in_time_while_redis_is_paused() {
    let server = RedisServer::start();
    let store: Arc<dyn Store> = Arc::new(open(&server.url()).await);
    let client = connected(&store, 1).await;
    server.pause();
    all_steps_fail(&store, &client).await;
    server.resume();
    recovers(&store).await;
    stored(&store, client.id, client.channels[0], 1).await;
}

/// There are more steps than may be under way, and the server does not answer: all of them end, and the store works
/// afterwards.
#[tokio::test]
async fn a_crowd_of_steps_ends_in_time_while_redis_is_paused() {
    let server = RedisServer::start();
    let store: Arc<dyn Store> = Arc::new(open(&server.url()).await);
    let client = connected(&store, 1).await;
    server.pause();
    let mut steps = JoinSet::new();
    for _ in 0..10_000 {
        steps.spawn(store.snapshot(client.id, client.presence));
    }
    let outcomes = tokio::time::timeout(STEP_END, steps.join_all()).await.expect("every step ends");
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Err(StoreError::Unavailable { .. }))));
    server.resume();
    recovers(&store).await;
}

/// A step whose answer is lost is repeated, and a message is stored once all the same.
#[tokio::test]
async fn a_message_whose_answer_is_lost_is_stored_once() {
    use message_steps::{accepted, bodies, fetch, lasting, message, remove, waiting};
    let server = RedisServer::start();
    let way = Forwarder::to(server.address());
    let url = format!("redis://{}", way.address());
    let store: Arc<dyn Store> = Arc::new(connect(&url, RedisOptions::default()).await.unwrap());
    let client = subscribed(&store, 1).await;
    // From here on the server has the script.
    let (place, _) = accepted(&store, message(&client, "a")).await;
    way.lose_answer();
    let put = message(&client, "b");
    let nonce = put.nonce;
    let PutMessageOutcome::Accepted { sequence, previous, .. } = message_steps::send(&store, put).await
    else {
        panic!("expected an accepted message")
    };
    let repeated = Place { sequence, nonce, topic: None };
    assert!(way.has_lost_answer());
    assert_eq!(previous.0, sequence.0 - 1, "which write was before it is not known any more");
    let backlog = fetch(&store, &client, None, 10).await;
    assert_eq!(bodies(&backlog), ["a", "b"]);
    assert_eq!(backlog.messages[1].place, repeated, "its sender knows its place");
    way.lose_answer();
    accepted(&store, lasting(Duration::ZERO, message(&client, "c"))).await;
    assert!(way.has_lost_answer());
    way.lose_answer();
    remove(&store, client.id, &[place]).await;
    assert!(way.has_lost_answer());
    assert_eq!(waiting(&store, &client).await, ["b"]);
}

/// A store with connections through a forwarder that lets no new ones through, and loses the answer of the next step.
async fn about_to_lose_an_answer(server: &RedisServer) -> (Arc<dyn Store>, Forwarder) {
    let way = Forwarder::to(server.address());
    let url = format!("redis://{}", way.address());
    let store: Arc<dyn Store> = Arc::new(connect(&url, RedisOptions::default()).await.unwrap());
    // It is connected, and the server has the scripts.
    let other = connected(&store, 1).await;
    stored(&store, other.id, other.channels[0], 1).await;
    message_steps::accepted(&store, message_steps::message(&subscribed(&store, 1).await, "a")).await;
    way.refuse();
    way.lose_answer();
    (store, way)
}

/// The client acknowledges a message whose answer is lost before the step is repeated: it is not stored again.
#[tokio::test]
async fn a_message_that_was_acknowledged_before_its_step_is_repeated_is_not_stored_again() {
    use message_steps::{fetch, message, remove, waiting};
    let server = RedisServer::start();
    let direct: Arc<dyn Store> = Arc::new(open(&server.url()).await);
    let client = subscribed(&direct, 1).await;
    let (store, way) = about_to_lose_an_answer(&server).await;
    let put = message(&client, "b");
    let acknowledged = async {
        until("the answer is lost", async || way.has_lost_answer().then_some(())).await;
        let backlog = fetch(&direct, &client, None, 10).await;
        remove(&direct, client.id, &[backlog.messages[0].place]).await;
        way.heal();
    };
    let (answer, ()) = tokio::join!(store.put_message(put), acknowledged);
    assert!(answer.is_err(), "{answer:?}");
    assert!(waiting(&direct, &client).await.is_empty());
    message_steps::accepted(&store, message(&client, "c")).await;
}

/// Another version is stored before the step whose answer is lost is repeated: it stays, also if the clock jumps meanwhile.
#[tokio::test]
async fn a_repeated_version_replaces_no_newer_one() {
    let server = RedisServer::start_with(Options { own_clock: true, ..Options::default() });
    let direct: Arc<dyn Store> = Arc::new(open(&server.url()).await);
    let client = connected(&direct, 1).await;
    for (newer, ahead) in [(None, 0), (Some(6), 0), (Some(6), 60)] {
        let (store, way) = about_to_lose_an_answer(&server).await;
        let meanwhile = async {
            until("the answer is lost", async || way.has_lost_answer().then_some(())).await;
            if let Some(newer) = newer {
                stored(&direct, client.id, client.channels[0], newer).await;
            }
            server.set_clock(ahead);
            way.heal();
        };
        let (answer, ()) = tokio::join!(store.put_version(put_of(&client, 5)), meanwhile);
        assert_eq!(answer.is_ok(), newer.is_none(), "{answer:?}");
        assert_eq!(pending_on(&direct, &client, client.channels[0]).await, newer.or(Some(5)));
    }
}

/// A connection breaks before the server has read a step: it is repeated, and performed.
#[tokio::test]
async fn a_step_that_was_not_performed_is_repeated() {
    let server = RedisServer::start();
    let way = Forwarder::to(server.address());
    let url = format!("redis://{}", way.address());
    let store: Arc<dyn Store> = Arc::new(connect(&url, RedisOptions::default()).await.unwrap());
    let client = connected(&store, 1).await;
    stored(&store, client.id, client.channels[0], 1).await;
    // Longer than the clocks of two servers may be apart.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    way.stall();
    let broken = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        way.reset();
        way.heal();
    };
    let (answer, ()) = tokio::join!(store.put_version(put_of(&client, 2)), broken);
    answer.unwrap();
    assert_eq!(pending_on(&store, &client, client.channels[0]).await, Some(2));
}

#[tokio::test]
async fn an_emptied_redis_has_another_epoch() {
    let mut server = RedisServer::start();
    let store: Arc<dyn Store> = Arc::new(open(&server.url()).await);
    let node = new_node();
    let mut epochs = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let announced = store.announce(node.clone()).await.unwrap();
        assert!(announced.lapsed, "the lease was lost too");
        epochs.insert(announced.epoch);
        server.restart();
        recovers(&store).await;
    }
    server.command(&["FLUSHALL"]);
    epochs.insert(store.announce(node).await.unwrap().epoch);
    assert_eq!(epochs.len(), 4);
}

/// Without any step, a store notices within seconds that its primary has lost its data or is none any more, while the connections
/// stay open.
#[tokio::test]
async fn an_idle_store_notices_what_happens_to_its_primary() {
    const NOTICED: Duration = Duration::from_secs(15);
    let (server, other) = (RedisServer::start(), RedisServer::start());
    let store: Arc<dyn Store> = Arc::new(open(&server.url()).await);
    connected(&store, 1).await;
    let before = store.disturbances();
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert_eq!(store.disturbances(), before, "nothing has happened");
    server.command(&["FLUSHALL"]);
    let is_disturbed = async || (store.disturbances().losses > before.losses).then_some(());
    until_within(NOTICED, "lost data is noticed", is_disturbed).await;
    server.become_replica_of(other.address());
    tokio::time::sleep(Duration::from_secs(5)).await;
    let demoted = store.disturbances();
    server.become_primary();
    let is_found = async || (store.disturbances() != demoted).then_some(());
    until_within(NOTICED, "it is found again", is_found).await;
}

#[tokio::test]
async fn a_cluster_recovers_when_a_master_comes_back() {
    let options = Options { appendonly: true, ..Options::default() };
    let mut cluster = RedisCluster::start_with(3, options);
    let store: Arc<dyn Store> = Arc::new(open(&cluster.url()).await);
    let clients = join_all((0..60).map(|_| connected(&store, 1))).await;
    cluster.nodes()[1].kill();
    let put = |client: &Client| {
        let (client, channel) = (client.id, client.channels[0]);
        store.put_version(PutVersion { client, channel, version: version(1) })
    };
    let outcomes =
        tokio::time::timeout(STEP_END, join_all(clients.iter().map(put))).await.expect("steps end");
    assert!(outcomes.iter().any(Result::is_err), "one master has some of sixty clients");
    cluster.nodes()[1].restart();
    cluster.wait_until_all_agree();
    for client in &clients {
        let mut attempts = 0;
        while put(client).await.is_err() {
            attempts += 1;
            assert!(attempts < RECOVERY_STEPS_MAX, "the store does not recover");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(pending_on(&store, client, client.channels[0]).await, Some(1));
    }
}

#[tokio::test]
async fn opening_waits_for_a_store_that_is_not_available_yet() {
    let mut server = RedisServer::start();
    let url = server.url();
    server.kill();
    let options = crate::open_options(Default::default());
    let refused = beckon_store::open(&url, &options, false).await;
    assert!(matches!(refused, Err(beckon_store::OpenError::Unavailable(_))), "{refused:?}");
    let opening = beckon_store::open(&url, &options, true);
    let starting = tokio::task::spawn_blocking(move || {
        std::thread::sleep(Duration::from_millis(300));
        server.restart();
        server
    });
    let (store, server) = futures_util::future::join(opening, starting).await;
    assert_eq!(store.unwrap().check().await, Ok(()));
    drop(server.unwrap());
}

/// A server that is paused has received steps, and performs them when it goes on.
#[derive(Debug)]
struct Paused<'a>(&'a RedisServer);

impl late::Way for Paused<'_> {
    fn hold_up(&self) {
        self.0.pause();
    }

    fn let_go(&self) -> BoxFuture<'_, ()> {
        self.0.resume();
        Box::pin(std::future::ready(()))
    }
}

/// A network that is held up has taken steps, and brings them later.
#[derive(Debug)]
struct Stalled<'a>(&'a Forwarder);

impl late::Way for Stalled<'_> {
    fn hold_up(&self) {
        self.0.stall();
    }

    fn let_go(&self) -> BoxFuture<'_, ()> {
        self.0.heal();
        Box::pin(std::future::ready(()))
    }
}

#[tokio::test]
async fn a_step_that_was_given_up_while_redis_was_paused_changes_nothing() {
    let server = RedisServer::start();
    let held_up: Arc<dyn Store> = Arc::new(open(&server.url()).await);
    let store: Arc<dyn Store> = Arc::new(connect(&server.url(), RedisOptions::default()).await.unwrap());
    late::a_step_that_was_given_up_changes_nothing(&held_up, &store, &Paused(&server)).await;
}

#[tokio::test]
async fn a_step_that_was_given_up_while_the_network_stood_still_changes_nothing() {
    let server = RedisServer::start();
    let way = Forwarder::to(server.address());
    let held_up: Arc<dyn Store> = Arc::new(open(&server.url_at(way.address())).await);
    let store: Arc<dyn Store> = Arc::new(open(&server.url()).await);
    late::a_step_that_was_given_up_changes_nothing(&held_up, &store, &Stalled(&way)).await;
}

/// Longer than it takes to ask for the time again.
const CLOCK_LEARNED: Duration = Duration::from_secs(5);

/// Every step for a client succeeds at the first attempt.
async fn expect_steps(store: &Arc<dyn Store>) {
    let client = connected(store, 1).await;
    stored(store, client.id, client.channels[0], 1).await;
    message_steps::accepted(store, message_steps::message(&subscribed(store, 1).await, "a")).await;
}

/// The clock of Redis is set forward, back, and to what it was: nothing is refused, and a step that its caller has given up still
/// has no effect later.
#[tokio::test]
async fn a_clock_that_jumps_refuses_no_step_and_no_step_comes_late() {
    let server = RedisServer::start_with(Options { own_clock: true, ..Options::default() });
    let way = Forwarder::to(server.address());
    let held_up: Arc<dyn Store> = Arc::new(open(&server.url_at(way.address())).await);
    let store: Arc<dyn Store> = Arc::new(open(&server.url()).await);
    for ahead in [3600, 0, -3600, 0] {
        server.set_clock(ahead);
        expect_steps(&store).await;
        tokio::time::sleep(CLOCK_LEARNED).await;
        late::a_step_that_was_given_up_changes_nothing(&held_up, &store, &Stalled(&way)).await;
    }
}

/// Another server takes the place of the primary, with a clock that is an hour apart.
#[tokio::test]
async fn a_server_with_another_clock_takes_the_place_of_the_primary() {
    let options = || Options { own_clock: true, ..Options::default() };
    let servers = [(); 3].map(|()| RedisServer::start_with(options()));
    let way = Forwarder::to(servers[0].address());
    let store: Arc<dyn Store> = Arc::new(open(&servers[0].url_at(way.address())).await);
    expect_steps(&store).await;
    for (server, ahead) in servers[1..].iter().zip([3600, -3600]) {
        server.set_clock(ahead);
        way.point_to(server.address());
        way.reset();
        recovers(&store).await;
        expect_steps(&store).await;
        let direct: Arc<dyn Store> = Arc::new(open(&server.url()).await);
        late::a_step_that_was_given_up_changes_nothing(&store, &direct, &Stalled(&way)).await;
    }
}
