//! Redis servers, and what happens to them.

use beckon_testbed::redis::{Options, RedisCluster, RedisServer};
use redis::Value;

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
