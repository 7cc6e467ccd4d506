//! Options of the store in Redis, and the checks at start.

use crate::{
    log::Log,
    redis::{number, only_client},
    redis_messages::keys,
};
use beckon_store::{
    Newcomers, Store,
    redis::{Access, ConnectError, RedisOptions, TlsFiles, TlsIdentity, connect},
};
use beckon_store_conformance::{message_steps, run_all, steps::*};
use beckon_testbed::{
    certificates::Certificates,
    redis::{Options, RedisCluster, RedisServer},
};
use beckon_types::{BroadcastId, BroadcastVersion, PutVersionOutcome};
use std::{fs, sync::Arc, time::Duration};

/// The documentation, which contains the ACL rule.
const DOCUMENTED: &str = include_str!("../../../../docs/configuration.md");

fn reached_with(access: Access) -> RedisOptions {
    RedisOptions { access, ..RedisOptions::default() }
}

async fn open(url: &str, access: Access) -> Arc<dyn Store> {
    Arc::new(connect(url, reached_with(access)).await.unwrap_or_else(|error| panic!("{url}: {error}")))
}

/// Checks that the configuration is refused for this reason.
async fn is_misconfigured(url: &str, access: Access, reason: &str) {
    let error = connect(url, reached_with(access)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Configuration(_) | ConnectError::Password(_)), "{error:?}");
    assert!(error.to_string().contains(reason), "{error}");
}

/// The rights in the documented rule, after the password.
fn documented_rights() -> Vec<&'static str> {
    let rule =
        DOCUMENTED.lines().find_map(|line| line.strip_prefix("ACL SETUSER beckon on ")).expect("the rule");
    let rights: Vec<_> = rule.split(' ').skip(1).collect();
    assert!(rights.len() > 20, "{rights:?}");
    rights
}

/// The suite also lists clients, as `beckon export` does, for which the document names one more right.
fn rights_with_export() -> Vec<&'static str> {
    documented_rights().into_iter().chain(["+scan"]).collect()
}

#[tokio::test]
async fn the_documented_rule_is_enough_on_a_server() {
    let server = RedisServer::start();
    let url = server.add_user("beckon", &rights_with_export());
    run_all(&open(&url, Access::default()).await).await;
    assert_eq!(denials(&server), 0);
}

#[tokio::test]
async fn the_documented_rule_is_enough_on_a_cluster() {
    let mut cluster = RedisCluster::start(3);
    let url = with_user(&mut cluster, &rights_with_export());
    run_all(&open(&url, Access::default()).await).await;
    assert_eq!(cluster.nodes().iter().map(denials).sum::<i64>(), 0);
}

/// What is not at its node any more is asked for at the other one.
#[tokio::test]
async fn the_documented_rule_is_enough_while_a_slot_moves() {
    let mut cluster = RedisCluster::start(3);
    let url = with_user(&mut cluster, &documented_rights());
    let store = open(&url, Access::default()).await;
    let client = connected(&store, 1).await;
    let nodes = cluster.nodes();
    let source = nodes.iter().position(|node| !keys(node, "c").is_empty()).unwrap();
    let (source, target) = (&nodes[source], &nodes[(source + 1) % 3]);
    let record = only_client(source);
    let id = |node: &RedisServer| redis::from_redis_value(node.command(&["CLUSTER", "MYID"])).unwrap();
    let (from, to): (String, String) = (id(source), id(target));
    let slot = number(&source.command(&["CLUSTER", "KEYSLOT", &record])).to_string();
    target.command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from]);
    source.command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to]);
    source.command(&["MIGRATE", "127.0.0.1", &target.port().to_string(), &record, "0", "5000"]);
    store.snapshot(client.id, client.presence).await.unwrap().unwrap();
    assert_eq!(cluster.nodes().iter().map(denials).sum::<i64>(), 0);
    for node in cluster.nodes() {
        node.command(&["ACL", "SETUSER", "beckon", "-asking"]);
    }
    is_misconfigured(&url, Access::default(), "+asking").await;
}

/// The URL of a Redis Cluster for a user that has these rights at each node.
fn with_user(cluster: &mut RedisCluster, rights: &[&str]) -> String {
    let url = cluster.url();
    let users: Vec<_> = cluster.nodes().iter().map(|node| node.add_user("beckon", rights)).collect();
    let (user, _) = users[0].rsplit_once('@').unwrap();
    let user = user.replace("redis://", "redis-cluster://");
    url.replace("redis-cluster://", &user).replacen("127.0.0.1", "@127.0.0.1", 1)
}

/// How often a user was refused a command or a key.
fn denials(server: &RedisServer) -> i64 {
    let redis::Value::Array(entries) = server.command(&["ACL", "LOG"]) else { panic!("entries expected") };
    entries.len() as i64
}

/// Not only at the first step that needs it.
#[tokio::test]
async fn a_user_that_lacks_a_right_is_refused_at_start_with_the_rule() {
    let server = RedisServer::start();
    let rights = documented_rights();
    // Without INFO there is only a warning. The others are for Redis Clusters and numbered databases.
    let optional = ["+info", "+cluster|slots", "+asking", "+select"];
    let mut needed = 0;
    for (index, right) in rights.iter().enumerate() {
        if optional.contains(right) || *right == "-@all" || *right == "~{beckon}*" {
            continue;
        }
        let mut others = rights.clone();
        others.remove(index);
        server.command(&["ACL", "SETUSER", "beckon", "reset"]);
        let url = server.add_user("beckon", &others);
        // With a store that does not wait for replicas, +wait is optional, too.
        let access = Access { replicas: 1, ..Access::default() };
        let options = RedisOptions { access, ..RedisOptions::default() };
        let error = connect(&url, options).await.expect_err(right).to_string();
        assert!(error.contains("~c{* ~m{* ~t{* ~i{* ~n{* ~{beckon}* ~check{* "), "{right}: {error}");
        for right in &rights {
            assert!(error.contains(*right) || *right == "-@all", "{right} is missing in {error}");
        }
        needed += 1;
    }
    assert!(needed > 18, "{needed}");
}

#[tokio::test]
async fn a_user_that_may_not_send_info_is_warned_about_a_full_memory() {
    let server = RedisServer::start();
    let rights: Vec<_> = documented_rights().into_iter().filter(|right| *right != "+info").collect();
    let url = server.add_user("beckon", &rights);
    for (memory_high, is_warned) in [(0.8, true), (1.0, false)] {
        let log = Log::default();
        let newcomers = Newcomers { memory_high, ..Newcomers::default() };
        let options = RedisOptions { newcomers, ..RedisOptions::default() };
        let store = {
            let _guard = log.begin();
            connect(&url, options).await.expect("it can do without")
        };
        assert_eq!(log.text().contains("+info"), is_warned, "{}", log.text());
        assert_eq!(store.fullness().await.unwrap(), None, "nobody says");
    }
}

#[tokio::test]
async fn a_user_without_the_keys_of_the_directory_is_refused_at_start() {
    let server = RedisServer::start();
    let rights: Vec<_> = documented_rights().into_iter().filter(|right| *right != "~{beckon}*").collect();
    let url = server.add_user("beckon", &rights);
    is_misconfigured(&url, Access::default(), "~{beckon}*").await;
}

#[tokio::test]
async fn a_password_file_is_read_for_each_connection() {
    let mut server = RedisServer::start_with(Options { password: Some("one".into()), ..Options::default() });
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "one\n").unwrap();
    let url = format!("redis://:not-this-one@{}", server.address());
    let access = Access { password_file: Some(file.path().to_owned()), ..Access::default() };
    let store = open(&url, access.clone()).await;
    let client = connected(&store, 1).await;
    server.set_password(Some("two"));
    fs::write(file.path(), "two").unwrap();
    server.drop_clients();
    let works = async {
        while store.snapshot(client.id, client.presence).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(15), works).await.expect("the new password is used");
    let path = file.path().to_owned();
    drop(file);
    is_misconfigured(&url, access, &path.display().to_string()).await;
}

#[tokio::test]
async fn the_user_can_be_set_apart_from_the_url() {
    let server = RedisServer::start();
    server.command(&["ACL", "SETUSER", "somebody", "on", ">hunter2", "~*", "+@all"]);
    server.command(&["ACL", "SETUSER", "default", "off"]);
    let url = format!("redis://:hunter2@{}", server.address());
    let named = Access { user: Some("somebody".into()), ..Access::default() };
    open(&url, named).await.check().await.unwrap();
    is_misconfigured(&url, Access::default(), "WRONGPASS").await;
}

#[tokio::test]
async fn a_client_certificate_is_presented() {
    let client = Certificates::make();
    // Clients must present a certificate, which another authority than the server's has signed.
    let arguments = ["--tls-auth-clients", "yes", "--tls-ca-cert-file"].map(str::to_owned);
    let arguments = arguments.into_iter().chain([client.authority().display().to_string()]).collect();
    let server = RedisServer::start_with(Options { tls: true, arguments, ..Options::default() });
    let authority = tempfile::NamedTempFile::new().unwrap();
    fs::write(authority.path(), server.root_certificate()).unwrap();
    let ca = Some(authority.path().to_owned());
    let identity = Some(TlsIdentity { cert: client.certificate(), key: client.key() });
    let store =
        open(&server.url(), Access { tls: TlsFiles { ca: ca.clone(), identity }, ..Access::default() }).await;
    connected(&store, 1).await;

    let none = Access { tls: TlsFiles { ca: ca.clone(), identity: None }, ..Access::default() };
    let error = connect(&server.url(), reached_with(none)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error:?}");
    let swapped = TlsIdentity { cert: client.key(), key: client.certificate() };
    let wrong = Access { tls: TlsFiles { ca, identity: Some(swapped) }, ..Access::default() };
    is_misconfigured(&server.url(), wrong, "private key").await;
}

#[tokio::test]
async fn stores_with_different_prefixes_are_independent() {
    let server = RedisServer::start();
    let with = |prefix: &str| Access { key_prefix: prefix.parse().unwrap(), ..Access::default() };
    let one = open(&server.url(), with("one:")).await;
    run_all(&one).await;
    let client = subscribed(&one, 1).await;
    message_steps::accepted(&one, message_steps::message(&client, "a")).await;
    let id = BroadcastId::parse("a").unwrap();
    one.set_broadcast(id, BroadcastVersion::parse("1").unwrap()).await.unwrap().unwrap();
    let redis::Value::Array(keys) = server.command(&["KEYS", "*"]) else { panic!("keys expected") };
    assert!(keys.len() >= 5, "{keys:?}");
    for key in keys {
        let key: Vec<u8> = redis::from_redis_value(key).unwrap();
        assert!(key.starts_with(b"one:"), "{key:?}");
    }

    let two = open(&server.url(), with("two:")).await;
    let client = connected(&one, 1).await;
    assert_eq!(put(&two, client.id, client.channels[0], 1).await, PutVersionOutcome::Gone);
    assert_eq!(two.broadcasts(0).await, Ok(None));
    let (in_one, in_two) = (one.announce(new_node()).await.unwrap(), two.announce(new_node()).await.unwrap());
    assert_ne!(in_one.epoch, in_two.epoch);
    assert_eq!(in_two.nodes.len(), 1);
    assert_eq!(number(&server.command(&["EXISTS", "{beckon}nodes"])), 0);
}

#[tokio::test]
async fn with_a_prefix_its_key_pattern_is_enough() {
    let server = RedisServer::start();
    let access = Access { key_prefix: "beckon:".parse().unwrap(), ..Access::default() };
    let commands = rights_with_export().into_iter().filter(|right| !right.starts_with('~'));
    let rights: Vec<_> = ["~beckon:*"].into_iter().chain(commands).collect();
    run_all(&open(&server.add_user("beckon", &rights), access.clone()).await).await;
    let url = server.add_user("other", &["~c{*", "+@all"]);
    is_misconfigured(&url, access, "~beckon:*").await;
}

#[tokio::test]
async fn a_server_without_resp3_is_refused_at_start() {
    let arguments = ["--rename-command", "HELLO", ""].map(str::to_owned).to_vec();
    let server = RedisServer::start_with(Options { arguments, ..Options::default() });
    is_misconfigured(&server.url(), Access::default(), "HELLO").await;
}

#[tokio::test]
async fn a_sentinel_is_not_used_as_a_server() {
    let watched = beckon_testbed::redis::RedisSentinel::start(0, &Options::default());
    let url = watched.url().replace("redis-sentinel://", "redis://");
    let (url, _) = url.split_once(',').unwrap();
    is_misconfigured(url, Access::default(), "redis-sentinel://").await;
    let unknown = watched.url().rsplit_once('/').unwrap().0.to_owned() + "/nobody";
    let error = connect(&unknown, RedisOptions::default()).await.unwrap_err();
    assert!(error.to_string().contains("nobody"), "{error}");
}
