//! Links to Redis while servers or networks fail: nothing is lost, other servers are not affected, and everything recovers
//! by itself.

use beckon_store::{
    Cause, Store, StoreError,
    redis::{RedisOptions, RedisStore, connect},
};
use beckon_store_conformance::{message_steps, run_all, steps::*};
use beckon_testbed::{
    forwarder::Forwarder,
    redis::{ClusterOptions, Options, RedisCluster, RedisSentinel, RedisServer},
};
use beckon_types::PutVersion;
use futures_util::future::join_all;
use std::{sync::Arc, time::Duration};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

/// Everything works again this long after a server does.
const RECOVERY_TIME: Duration = Duration::from_secs(15);

#[expect(clippy::disallowed_methods, reason = "these tests measure how long something takes")]
fn now() -> Instant {
    Instant::now()
}

async fn open(url: &str) -> Arc<dyn Store> {
    Arc::new(redis_store(url).await)
}

async fn redis_store(url: &str) -> RedisStore {
    connect(url, RedisOptions::default()).await.unwrap_or_else(|error| panic!("{url}: {error}"))
}

fn put_to(store: &Arc<dyn Store>, client: &Client) -> beckon_store::Answer<beckon_types::PutVersionOutcome> {
    store.put_version(PutVersion { client: client.id, channel: client.channels[0], version: version(1) })
}

/// Why a put fails, if it does.
async fn fault(store: &Arc<dyn Store>, client: &Client) -> Option<Cause> {
    put_to(store, client).await.err().map(|error| error.cause())
}

/// Waits until a put fails with this cause.
async fn fails(store: &Arc<dyn Store>, client: &Client, cause: Cause) {
    let failing = async {
        while fault(store, client).await != Some(cause) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(RECOVERY_TIME, failing).await.unwrap_or_else(|_| panic!("no step fails with the cause {cause}"));
}

/// Waits until puts to all clients succeed, a node can announce itself, and the store is healthy.
async fn recovers(store: &Arc<dyn Store>, clients: &[Client]) {
    let well = async {
        for client in clients {
            while fault(store, client).await.is_some() {
                sleep(Duration::from_millis(20)).await;
            }
        }
        while store.announce(new_node()).await.is_err() || store.check().await.is_err() {
            sleep(Duration::from_millis(100)).await;
        }
    };
    if timeout(RECOVERY_TIME, well).await.is_err() {
        panic!("no recovery within {RECOVERY_TIME:?}: {:?}", store.check().await);
    }
}

/// Enough clients for some of them to be on each of three shards.
async fn some_clients(store: &Arc<dyn Store>) -> Vec<Client> {
    join_all((0..48).map(|_| connected(store, 1))).await
}

/// As when a DNS name or a virtual address moves to a replica: the former primary keeps its connections open.
#[tokio::test]
async fn the_connection_to_a_demoted_primary_is_replaced() {
    let former = RedisServer::start();
    let next = former.start_replica();
    let forwarder = Forwarder::to(former.address());
    let store = open(&former.url_at(forwarder.address())).await;
    let client = connected(&store, 1).await;
    stored(&store, client.id, client.channels[0], 7).await;
    next.wait_until_replicated();

    next.become_primary();
    former.become_replica_of(next.address());
    fails(&store, &client, Cause::ReadOnly).await;
    assert_eq!(store.check().await.unwrap_err().cause(), Cause::ReadOnly);
    forwarder.point_to(next.address());
    recovers(&store, std::slice::from_ref(&client)).await;
    assert_eq!(pending_on(&store, &client, client.channels[0]).await, Some(1));
}

#[tokio::test]
async fn a_stale_replica_is_not_used() {
    let primary = RedisServer::start();
    let arguments = ["--replica-serve-stale-data", "no"].map(str::to_owned).to_vec();
    let stale = RedisServer::start_with(Options { arguments, ..Options::default() });
    let forwarder = Forwarder::to(primary.address());
    let store = open(&primary.url_at(forwarder.address())).await;
    let client = connected(&store, 1).await;
    let nowhere = "1";
    stale.command(&["REPLICAOF", "127.0.0.1", nowhere]);
    forwarder.point_to(stale.address());
    forwarder.reset();
    fails(&store, &client, Cause::ReadOnly).await;
    forwarder.point_to(primary.address());
    recovers(&store, &[client]).await;
}

#[tokio::test]
async fn a_connection_is_made_again_when_a_wrong_password_is_right_again() {
    let mut server = RedisServer::start_with(Options { password: Some("one".into()), ..Options::default() });
    let store = open(&server.url()).await;
    let client = connected(&store, 1).await;
    server.set_password(Some("another"));
    server.drop_clients();
    fails(&store, &client, Cause::Denied).await;
    sleep(Duration::from_secs(5)).await;
    let denied = put_to(&store, &client).await.unwrap_err().to_string();
    assert!(denied.contains("WRONGPASS") && !denied.contains("one"), "{denied}");
    server.set_password(Some("one"));
    recovers(&store, &[client]).await;
}

#[tokio::test]
async fn a_lack_of_rights_is_reported_and_ends_with_them() {
    let server = RedisServer::start();
    let url = server.add_user("beckon", &["~*", "+@all"]);
    let store = open(&url).await;
    let client = connected(&store, 1).await;
    server.command(&["ACL", "SETUSER", "beckon", "-evalsha"]);
    let denied = put_to(&store, &client).await.unwrap_err();
    assert_eq!(denied.cause(), Cause::Denied);
    assert!(denied.to_string().contains("evalsha"), "{denied}");
    server.command(&["ACL", "SETUSER", "beckon", "+evalsha"]);
    recovers(&store, &[client]).await;
}

#[tokio::test]
async fn a_server_that_is_loading_is_used_when_it_has_loaded() {
    // Each key takes 20 ms to load. The server answers meanwhile.
    let arguments = ["--key-load-delay", "20000", "--loading-process-events-interval-bytes", "1024"];
    let arguments = arguments.map(str::to_owned).to_vec();
    let mut server = RedisServer::start_with(Options { arguments, ..Options::default() });
    let store = open(&server.url()).await;
    let clients = join_all((0..400).map(|_| connected(&store, 1))).await;
    let snapshot = server.snapshot();
    let restoring = std::thread::spawn(move || {
        server.restore(&snapshot);
        server
    });
    fails(&store, &clients[0], Cause::Loading).await;
    let _server = restoring.join().unwrap();
    recovers(&store, &clients[..1]).await;
}

#[tokio::test]
async fn a_server_that_is_blocked_by_a_script_is_reported() {
    let server = RedisServer::start();
    let store = open(&server.url()).await;
    let client = connected(&store, 1).await;
    server.command(&["CONFIG", "SET", "busy-reply-threshold", "50"]);
    let port = server.port();
    let holding = std::thread::spawn(move || {
        let client = redis::Client::open(("127.0.0.1", port)).unwrap();
        let mut connection = client.get_connection().unwrap();
        redis::cmd("EVAL").arg("while true do end").arg(0).exec(&mut connection).unwrap_err();
    });
    fails(&store, &client, Cause::Busy).await;
    server.command(&["SCRIPT", "KILL"]);
    holding.join().unwrap();
    recovers(&store, &[client]).await;
}

/// While senders go on, small writes succeed now and then. The health check must not.
#[tokio::test]
async fn a_full_server_is_unhealthy_while_writes_are_refused() {
    let server = RedisServer::start();
    let store = open(&server.url()).await;
    let client = subscribed(&store, 1).await;
    server.command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    let used: u64 = server.info("used_memory").parse().unwrap();
    server.command(&["CONFIG", "SET", "maxmemory", &(used + 200_000).to_string()]);
    let (mut refused, mut healthy) = (0, 0);
    for round in 0..400 {
        let message = message_steps::message(&client, &"x".repeat(3000));
        let message = beckon_types::PutMessage { messages_max: 10_000, ..message };
        match store.put_message(message).await {
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error.cause(), Cause::Full, "{error}");
                refused += 1;
            }
        }
        if refused > 0 && round % 10 == 0 {
            healthy += u32::from(store.check().await.is_ok());
            sleep(Duration::from_millis(150)).await;
        }
    }
    assert!(refused > 100, "{refused}");
    // Outcomes of health checks are valid for a second.
    assert!(healthy <= 10, "healthy {healthy} times while full");
    assert_eq!(store.check().await.unwrap_err().cause(), Cause::Full);
    server.make_room();
    recovers(&store, &[client]).await;
}

/// One primary is unreachable: its connections are reset and new ones get no answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_primary_does_not_affect_the_steps_of_others() {
    let mut cluster = RedisCluster::start_as(ClusterOptions { forwarded: true, ..ClusterOptions::default() });
    let links = cluster.links();
    let store = open(links.url()).await;
    let clients = Arc::new(some_clients(&store).await);
    for round in 0..2 {
        let shard = links.shard(round);
        // In the second round the connections stay open.
        if round == 0 {
            shard.silence()
        } else {
            shard.stall()
        }
        let sick = sick_clients(&store, &clients).await;
        assert!(!sick.is_empty() && sick.len() < clients.len(), "{} of {}", sick.len(), clients.len());
        let mut callers = JoinSet::new();
        for caller in 0..64 {
            let (store, clients, sick) = (store.clone(), clients.clone(), sick.clone());
            callers.spawn(async move {
                let (mut slowest, mut failed, mut steps) = (Duration::ZERO, 0, 0);
                for step in 0..200 {
                    let index = (caller + step) % clients.len();
                    let start = now();
                    let outcome = put_to(&store, &clients[index]).await;
                    if !sick.contains(&index) {
                        slowest = slowest.max(start.elapsed());
                        failed += usize::from(outcome.is_err());
                        steps += 1;
                    }
                }
                (slowest, failed, steps)
            });
        }
        let outcomes = callers.join_all().await;
        let (failed, steps) =
            outcomes.iter().fold((0, 0), |(f, s), (_, failed, steps)| (f + failed, s + steps));
        let slowest = outcomes.iter().map(|(slowest, ..)| *slowest).max().unwrap();
        println!("{failed} of {steps} steps of others failed; the slowest took {slowest:?}");
        assert_eq!(failed, 0, "of {steps} steps of others");
        assert!(slowest < Duration::from_secs(1), "{slowest:?}");
        assert_eq!(fault(&store, &clients[sick[0]]).await, Some(Cause::Timeout));
        let unhealthy = store.check().await.unwrap_err().to_string();
        assert!(unhealthy.contains("1 of 3 primaries"), "{unhealthy}");
        shard.heal();
        recovers(&store, &clients).await;
    }
}

/// The indices of the clients whose shard does not answer.
async fn sick_clients(store: &Arc<dyn Store>, clients: &[Client]) -> Vec<usize> {
    let faults = join_all(clients.iter().map(|client| fault(store, client))).await;
    faults.iter().enumerate().filter_map(|(index, fault)| fault.is_some().then_some(index)).collect()
}

#[tokio::test]
async fn a_store_opens_while_one_of_three_hosts_is_silent() {
    let mut cluster = RedisCluster::start_as(ClusterOptions { forwarded: true, ..ClusterOptions::default() });
    let links = cluster.links();
    for shard in 0..3 {
        links.shard(shard).silence();
        let store: Arc<dyn Store> =
            timeout(RECOVERY_TIME, open(links.url())).await.expect("it opens in time");
        let made = join_all((0..48).map(|_| store.hello(simplepush(new_client_id(), new_presence())))).await;
        let failed = made.iter().filter(|outcome| outcome.is_err()).count();
        assert!((1..48).contains(&failed), "{failed} of 48");
        links.shard(shard).heal();
        let clients = timeout(RECOVERY_TIME, async {
            loop {
                let outcome = store.hello(simplepush(new_client_id(), new_presence())).await;
                if outcome.is_ok() && store.check().await.is_ok() {
                    break some_clients(&store).await;
                }
                sleep(Duration::from_millis(100)).await;
            }
        });
        recovers(&store, &clients.await.expect("it recovers")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failovers_of_a_cluster_are_followed() {
    let options = ClusterOptions { replicas: 1, ..ClusterOptions::default() };
    let mut cluster = RedisCluster::start_as(options);
    let store = open(&cluster.url()).await;
    let clients = some_clients(&store).await;
    cluster.fail_over(0);
    // The servers redirect after a planned failover, so no step fails.
    for outcome in join_all(clients.iter().map(|client| put_to(&store, client))).await {
        outcome.unwrap();
    }
    let former = cluster.fail_over_by_kill(1);
    recovers(&store, &clients).await;
    cluster.nodes()[former].restart();
    cluster.wait_until_all_agree();
    recovers(&store, &clients).await;
    for client in &clients {
        assert_eq!(pending_on(&store, client, client.channels[0]).await, Some(1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_with_sentinels_passes_the_suite_and_its_failovers_are_followed() {
    let mut watched =
        RedisSentinel::start(2, &Options { password: Some("hunter2".into()), ..Options::default() });
    let store = open(&watched.url()).await;
    run_all(&store).await;
    let client = connected(&store, 1).await;
    watched.fail_over();
    recovers(&store, std::slice::from_ref(&client)).await;
    let former = watched.fail_over_by_kill();
    recovers(&store, std::slice::from_ref(&client)).await;
    watched.servers()[former].restart();
    recovers(&store, &[client]).await;
}

#[tokio::test]
async fn steps_are_refused_at_once_while_a_link_stalls() {
    let server = RedisServer::start();
    let forwarder = Forwarder::to(server.address());
    let store = open(&server.url_at(forwarder.address())).await;
    let client = connected(&store, 1).await;
    forwarder.stall();
    fails(&store, &client, Cause::Timeout).await;
    let start = now();
    assert_eq!(fault(&store, &client).await, Some(Cause::Timeout));
    assert!(start.elapsed() < Duration::from_secs(1), "steps are refused at once");
    forwarder.heal();
    recovers(&store, &[client]).await;
}

/// A link that stalls is given up when its oldest step has waited too long. Those that were sent after that one have time left.
#[tokio::test]
async fn a_step_that_has_failed_is_not_performed_later() {
    const STEP_TIMEOUT: Duration = Duration::from_secs(3);
    let server = RedisServer::start();
    let forwarder = Forwarder::to(server.address());
    let options = RedisOptions { step_timeout: STEP_TIMEOUT, ..RedisOptions::default() };
    let held_up: Arc<dyn Store> =
        Arc::new(connect(&server.url_at(forwarder.address()), options).await.unwrap());
    let store = open(&server.url()).await;
    let (earlier, later) = (connected(&held_up, 1).await, connected(&held_up, 1).await);
    assert_eq!(fault(&held_up, &earlier).await, None);
    forwarder.stall();
    let gives_up = put_to(&held_up, &earlier);
    let put = async {
        sleep(STEP_TIMEOUT / 2).await;
        let failed = fault(&held_up, &later).await;
        forwarder.heal();
        failed
    };
    let (given_up, failed) = tokio::join!(gives_up, put);
    assert!(given_up.is_err() && failed == Some(Cause::Timeout), "{given_up:?} {failed:?}");
    recovers(&held_up, std::slice::from_ref(&earlier)).await;
    sleep(STEP_TIMEOUT).await;
    assert_eq!(pending_on(&store, &later, later.channels[0]).await, None);
}

/// Far more steps than a slow server can perform.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overload_neither_delays_announcements_nor_wastes_work() {
    let server = RedisServer::start();
    let store = open(&server.url()).await;
    let client = connected(&store, 1).await;
    let node = new_node();
    store.announce(node.clone()).await.unwrap();
    let executed = || -> u64 {
        let stats = server.command(&["INFO", "commandstats"]);
        let stats: String = redis::from_redis_value(stats).unwrap();
        let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls=")).unwrap();
        line.split(',').next().unwrap().parse().unwrap()
    };
    let throttled = server.throttle(10);
    let before = executed();
    let crowd: Vec<_> = (0..4000)
        .map(|_| {
            let (store, client) = (store.clone(), client.clone());
            async move {
                let mut done = 0;
                let end = now() + Duration::from_secs(8);
                while now() < end {
                    match store.snapshot(client.id, client.presence).await {
                        Ok(_) => done += 1,
                        Err(StoreError::Unavailable { .. }) => sleep(Duration::from_millis(200)).await,
                        Err(error) => panic!("{error}"),
                    }
                }
                done
            }
        })
        .collect();
    let mut tasks = JoinSet::new();
    crowd.into_iter().for_each(|caller| {
        tasks.spawn(caller);
    });
    for _ in 0..3 {
        sleep(Duration::from_secs(2)).await;
        let announced = store.announce(node.clone()).await;
        assert!(announced.is_ok_and(|announced| !announced.lapsed));
    }
    let done: u64 = tasks.join_all().await.iter().sum();
    drop(throttled);
    recovers(&store, &[client]).await;
    let executed = executed() - before;
    println!("{done} of {executed} executed steps were answered in time");
    assert!(done > 1000 && executed <= done + done / 5, "{done} of {executed}");
}

#[tokio::test]
async fn a_store_on_another_runtime_has_a_connection_of_its_own_and_closes_with_the_first() {
    let server = RedisServer::start();
    let store: Arc<dyn Store> = Arc::new(redis_store(&server.url()).await);
    let connections = || {
        let list: String = redis::from_redis_value(server.command(&["CLIENT", "LIST"])).unwrap();
        // One of them is that of this command.
        list.lines().count() - 1
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let own = store.clone().on_runtime(runtime.handle());
    let client = connected(&store, 1).await;
    store.announce(new_node()).await.unwrap();
    assert_eq!(connections(), 2, "one for steps, one for leases and health");
    let (id, channel, stepping) = (client.id, client.channels[0], own.clone());
    runtime.spawn(async move { stored(&stepping, id, channel, 5).await }).await.unwrap();
    // Also from here its steps go over its own connection.
    stored(&own, id, channel, 6).await;
    own.announce(new_node()).await.unwrap();
    assert_eq!(connections(), 3);
    assert_eq!(pending_on(&store, &client, channel).await, Some(6));
    own.close().await.unwrap();
    for store in [&own, &store] {
        assert_eq!(store.check().await.unwrap_err().cause(), Cause::Closed);
    }
    // A runtime may not be dropped inside another one.
    runtime.shutdown_background();
}
