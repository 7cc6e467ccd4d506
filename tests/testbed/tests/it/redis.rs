//! Redis servers, and what happens to them.

use beckon_testbed::{
    forwarder::Forwarder,
    now,
    redis::{
        ClusterOptions, Deployment, Options, RedisCluster, RedisSentinel, RedisServer, Takeover, Topology,
        Watch,
    },
    wait_until,
};
use redis::Value;
use std::{
    net::SocketAddr,
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
        mpsc,
    },
    thread,
    time::Duration,
};

fn text(value: &str) -> Value {
    Value::BulkString(value.as_bytes().to_vec())
}

#[test]
fn a_server_is_restarted_with_what_it_kept() {
    for (appendonly, kept) in [(false, Value::Nil), (true, text("b"))] {
        let mut redis = RedisServer::start_with(Options { appendonly, ..Options::default() });
        redis.command(&["SET", "a", "b"]);
        redis.restart();
        assert_eq!(redis.command(&["GET", "a"]), kept);
    }
}

#[test]
fn a_server_with_a_password_is_asked_with_it() {
    let password = Some("a b/c@d".to_owned());
    let redis = RedisServer::start_with(Options { password, ..Options::default() });
    assert!(redis.info("used_memory").parse::<u64>().unwrap() > 100_000);
}

/// Its link to the primary stays up.
#[test]
fn a_replica_that_lags_is_waited_for() {
    let primary = RedisServer::start();
    let link = Forwarder::to(primary.address());
    let replica = primary.start_replica_through(link.address());
    link.stall();
    primary.command(&["SET", "a", "b"]);
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(500));
            link.heal();
        });
        replica.wait_until_replicated();
        assert_eq!(replica.command(&["GET", "a"]), text("b"));
    });
}

/// Two that write have been answered without a pause while the servers changed places: the new primary has it all.
#[test]
fn nothing_is_lost_when_a_primary_gives_way() {
    for _ in 0..2 {
        let primary = RedisServer::start();
        let replica = primary.start_replica();
        let (is_over, written) = (AtomicBool::new(false), AtomicU64::new(0));
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !is_over.load(Relaxed) {
                        written.fetch_add(u64::from(primary.try_command(&["INCR", "a"]).is_ok()), Relaxed);
                    }
                });
            }
            thread::sleep(Duration::from_millis(50));
            primary.give_way_to(&replica);
            is_over.store(true, Relaxed);
        });
        let written = written.into_inner();
        assert!(written > 0);
        assert_eq!(replica.command(&["GET", "a"]), text(&written.to_string()));
        assert!(replica.is_primary() && !primary.is_primary());
    }
}

#[test]
fn a_throttled_server_still_answers() {
    let redis = RedisServer::start();
    let throttled = redis.throttle(20);
    for _ in 0..10 {
        assert_eq!(redis.command(&["ECHO", "a"]), text("a"));
    }
    drop(throttled);
    assert_eq!(redis.command(&["ECHO", "a"]), text("a"));
}

#[test]
fn a_cluster_has_all_slots_again_after_a_restart() {
    let mut cluster = RedisCluster::start(3);
    cluster.nodes()[1].restart();
    cluster.wait_until_all_agree();
    assert_eq!(cluster.nodes()[1].info("cluster_enabled"), "1");
}

/// The code with which a command is refused.
fn refusal(redis: &RedisServer, words: &[&str]) -> String {
    redis.try_command(words).unwrap_err().code().unwrap().to_owned()
}

#[test]
fn a_restored_server_knows_what_it_knew_then() {
    for appendonly in [false, true] {
        let mut redis = RedisServer::start_with(Options { appendonly, ..Options::default() });
        redis.command(&["SET", "a", "old"]);
        let snapshot = redis.snapshot();
        redis.command(&["SET", "a", "new"]);
        redis.command(&["SET", "b", "new"]);
        redis.restore(&snapshot);
        assert_eq!(redis.command(&["GET", "a"]), text("old"), "appendonly {appendonly}");
        assert_eq!(redis.command(&["GET", "b"]), Value::Nil, "appendonly {appendonly}");
        redis.lose_data();
        assert_eq!(redis.command(&["GET", "a"]), Value::Nil, "appendonly {appendonly}");
    }
}

#[test]
fn a_full_server_refuses_what_needs_memory() {
    let redis = RedisServer::start();
    redis.command(&["SET", "a", "b"]);
    redis.fill_up();
    assert_eq!(refusal(&redis, &["SET", "a", "c"]), "OOM");
    assert_eq!(redis.command(&["GET", "a"]), text("b"));
    assert_eq!(redis.command(&["DEL", "a"]), Value::Int(1));
    redis.make_room();
    redis.command(&["SET", "a", "c"]);
}

#[test]
fn a_replica_follows_lags_and_takes_over() {
    let primary = RedisServer::start();
    let link = Forwarder::to(primary.address());
    let replica = primary.start_replica_through(link.address());
    assert!(primary.is_primary() && !replica.is_primary());
    primary.command(&["SET", "a", "1"]);
    let reaches = |value: &str| {
        wait_until("it is replicated", || (replica.command(&["GET", "a"]) == text(value)).then_some(()));
    };
    reaches("1");
    assert_eq!(refusal(&replica, &["SET", "a", "2"]), "READONLY");
    link.stall();
    primary.command(&["SET", "a", "2"]);
    assert_eq!(replica.command(&["GET", "a"]), text("1"), "it lags");
    replica.become_primary();
    link.heal();
    primary.become_replica_of(replica.address());
    assert_eq!(primary.command(&["GET", "a"]), text("1"), "what the replica lacked is lost");
    assert_eq!(refusal(&primary, &["SET", "a", "3"]), "READONLY");
}

#[test]
fn a_password_changes_and_a_user_lacks_rights() {
    let mut redis = RedisServer::start();
    let url = redis.url();
    redis.set_password(Some("other"));
    let ask = |url: &str| {
        let mut connection = redis::Client::open(url)?.get_connection()?;
        redis::cmd("SET").arg("a").arg("b").exec(&mut connection)
    };
    assert_eq!(ask(&url).unwrap_err().code(), Some("NOAUTH"));
    ask(&redis.url()).unwrap();
    redis.set_password(None);
    ask(&url).unwrap();
    let url = redis.add_user("reader", &["~*", "+@read", "+@connection"]);
    assert_eq!(ask(&url).unwrap_err().code(), Some("NOPERM"));
}

#[test]
fn dropped_clients_have_to_connect_again() {
    let redis = RedisServer::start();
    let mut connection = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
    redis.drop_clients();
    assert!(redis::cmd("PING").exec(&mut connection).is_err());
    assert!(redis::Client::open(redis.url()).unwrap().get_connection().is_ok());
}

/// A key of each shard of three.
const KEYS: [&str; 3] = ["{3}", "{1}", "{0}"];

fn ask(url: &str, words: &[&str]) -> redis::RedisResult<Value> {
    let nodes: Vec<_> = url.strip_prefix("redis-cluster://").unwrap().split(',').collect();
    let client = redis::cluster::ClusterClient::new(nodes.iter().map(|node| format!("redis://{node}")))?;
    redis::cmd(words[0]).arg(&words[1..]).query(&mut client.get_connection()?)
}

#[test]
fn a_cluster_is_reached_over_links_of_ones_own() {
    let mut cluster = RedisCluster::start_as(ClusterOptions { forwarded: true, ..ClusterOptions::default() });
    let (ours, theirs) = (cluster.links(), cluster.links());
    for (shard, key) in KEYS.iter().enumerate() {
        ask(ours.url(), &["SET", key, "a"]).unwrap();
        assert_eq!(cluster.nodes()[shard].command(&["GET", key]), text("a"));
    }
    ours.shard(1).cut();
    assert!(ask(ours.url(), &["GET", KEYS[1]]).is_err());
    assert_eq!(ask(theirs.url(), &["GET", KEYS[1]]).unwrap(), text("a"));
    ours.heal();
    assert_eq!(ask(ours.url(), &["GET", KEYS[1]]).unwrap(), text("a"));
}

#[test]
fn a_shard_fails_over_on_order_and_by_kill() {
    let server = Options {
        arguments: ["--cluster-node-timeout", "3000"].map(str::to_owned).to_vec(),
        ..Options::default()
    };
    let options = ClusterOptions { replicas: 1, forwarded: true, server, ..ClusterOptions::default() };
    let mut cluster = RedisCluster::start_as(options);
    let links = cluster.links();
    assert_eq!(cluster.primary(1), 1);
    ask(links.url(), &["SET", KEYS[1], "a"]).unwrap();
    cluster.fail_over(1);
    assert_eq!(cluster.primary(1), 4);
    assert_eq!(ask(links.url(), &["GET", KEYS[1]]).unwrap(), text("a"));
    assert_eq!(cluster.fail_over_by_kill(1), 4);
    assert_eq!(cluster.primary(1), 1);
    cluster.nodes()[4].restart();
    cluster.wait_until_all_agree();
    assert_eq!(ask(links.url(), &["GET", KEYS[1]]).unwrap(), text("a"));
    ask(links.url(), &["SET", KEYS[0], "a"]).unwrap();
    cluster.lose_data(1);
    assert_eq!(ask(links.url(), &["GET", KEYS[1]]).unwrap(), Value::Nil);
    assert_eq!(ask(links.url(), &["GET", KEYS[0]]).unwrap(), text("a"));
}

#[test]
fn sentinels_fail_over_on_order_and_by_kill() {
    let mut watched = RedisSentinel::start(1, &Options::default());
    assert_eq!(watched.primary(), 0);
    watched.servers()[0].command(&["SET", "a", "b"]);
    watched.fail_over();
    assert_eq!(watched.primary(), 1);
    wait_until("the former primary is a replica", || (!watched.servers()[0].is_primary()).then_some(()));
    watched.servers()[0].wait_until_replicated();
    assert_eq!(watched.fail_over_by_kill(), 1);
    assert_eq!(watched.primary(), 0);
    assert_eq!(watched.servers()[0].command(&["GET", "a"]), text("b"));
    assert!(watched.url().starts_with("redis-sentinel://127.0.0.1:"), "{}", watched.url());
}

/// Asks the primary that the first Sentinel of a URL names.
fn ask_watched(url: &str, words: &[&str]) -> redis::RedisResult<Value> {
    let (sentinels, name) = url.strip_prefix("redis-sentinel://").unwrap().split_once('/').unwrap();
    let sentinel = sentinels.split(',').next().unwrap();
    let mut sentinel = redis::Client::open(format!("redis://{sentinel}"))?.get_connection()?;
    let primary = redis::cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(name).query(&mut sentinel)?;
    let (host, port): (String, u16) = primary;
    let mut primary = redis::Client::open(format!("redis://{host}:{port}"))?.get_connection()?;
    redis::cmd(words[0]).arg(&words[1..]).query(&mut primary)
}

#[test]
fn a_server_that_sentinels_watch_is_reached_over_links_of_ones_own() {
    let mut watched = RedisSentinel::start(1, &Options::default());
    let (ours, theirs) = (watched.links(), watched.links());
    ask_watched(ours.url(), &["SET", "a", "b"]).unwrap();
    ours.cut();
    assert!(ask_watched(ours.url(), &["GET", "a"]).is_err());
    assert_eq!(ask_watched(theirs.url(), &["GET", "a"]).unwrap(), text("b"));
    ours.heal();
    assert_eq!(ask_watched(ours.url(), &["GET", "a"]).unwrap(), text("b"));
    watched.fail_over();
    assert_eq!(ask_watched(ours.url(), &["GET", "a"]).unwrap(), text("b"));
}

/// What a client that follows its store finds there.
fn get(store: &Deployment, key: &str) -> Value {
    store.primary(0).command(&["GET", key])
}

#[test]
fn every_deployment_fails_over_in_order_loses_what_was_not_replicated_and_all_its_data() {
    for topology in Topology::ALL {
        let mut store = Deployment::start(topology);
        let key = KEYS[0];
        let former = store.primary(0).port();
        store.primary(0).command(&["SET", key, "replicated"]);
        store.fail_over();
        assert_ne!(store.primary(0).port(), former, "{topology}");
        assert_eq!(get(&store, key), text("replicated"), "{topology}");
        let current = store.primary(0).port();
        store.stop_replication();
        store.primary(0).command(&["SET", key, "not replicated"]);
        store.fail_over_by_kill(0);
        assert_ne!(store.primary(0).port(), current, "{topology}");
        assert_eq!(get(&store, key), text("replicated"), "{topology}");
        store.lose_data(0);
        assert_eq!(get(&store, key), Value::Nil, "{topology}");
        store.fill_up();
        assert_eq!(refusal(store.primary(0), &["SET", key, "a"]), "OOM", "{topology}");
        store.make_room();
        store.primary(0).command(&["SET", key, "a"]);
    }
}

/// What a watch has reported so far.
fn watch(store: &Deployment) -> (Watch, impl FnMut() -> Option<Takeover> + use<>) {
    let (report, reports) = mpsc::channel();
    let watch = store.watch(move |takeover| report.send(takeover).unwrap_or_default());
    (watch, move || reports.try_recv().ok())
}

/// The next takeover that is done.
fn wait_until_done(
    what: &str,
    next: &mut impl FnMut() -> Option<Takeover>,
) -> (SocketAddr, Duration, Duration) {
    wait_until(what, || match next()? {
        Takeover::Done { server, followed, accepted } => Some((server, followed, accepted)),
        Takeover::Begins { .. } | Takeover::WasNone { .. } => None,
    })
}

#[test]
fn a_watch_tells_of_other_primaries_and_of_nothing_else() {
    for topology in [Topology::Sentinel, Topology::Cluster] {
        let mut store = Deployment::start(topology);
        let (_watch, mut next) = watch(&store);
        store.fail_over();
        for _ in 0..store.shards() {
            let (server, _, accepted) = wait_until_done("an order is carried out", &mut next);
            let is_primary = store.primaries().any(|primary| primary.address() == server);
            assert!(is_primary && accepted.is_zero(), "{topology}: {server}, {accepted:?}");
        }
        store.lose_data(0);
        wait_until("the replicas follow again", || store.is_replicated().then_some(()));
        let former = store.kill_primary(0);
        let killed = now();
        let (server, _, accepted) = wait_until_done("a primary that was killed is replaced", &mut next);
        assert!(
            !accepted.is_zero() && accepted <= killed.elapsed() + Duration::from_secs(1),
            "{topology}: it ended {accepted:?} ago"
        );
        // It would accept again.
        store.replace_killed(0, former);
        assert_eq!(server, store.primary(0).address(), "{topology}");
    }
}

#[test]
fn sentinels_replace_a_primary_that_refuses_their_password() {
    let mut store = Deployment::start(Topology::Sentinel);
    let (former, right) = (store.primary(0).port(), store.password());
    let (_watch, mut next) = watch(&store);
    store.set_password(Some("another"));
    // Those of Sentinels, too.
    store.drop_clients();
    wait_until("the Sentinels promote the replica", || store.primary(0).port().ne(&former).then_some(()));
    store.set_password_everywhere(Some(&right));
    let (server, ..) = wait_until_done("they agree", &mut next);
    assert_eq!(server, store.primary(0).address());
}
