//! `beckon export` and `beckon import`: from the embedded store to Redis and back.

use beckon_cluster_tests::{
    requests::send_until_gone,
    stage::{Registered, Stage},
    webpush::{self, ENCRYPTED, KEPT, Subscribed, authorization, id_of, location_of, new_signer},
};
use beckon_testbed::{
    plan::{self, Plan, Shape},
    process,
    programs::Program,
    redis::RedisServer,
};
use http::Method;
use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt as _, path::Path};
use tokio::task::JoinSet;

/// Runs a command with these settings: its exit code and what it has written.
fn command(arguments: &[&str], settings: &[(&str, &str)]) -> (Option<i32>, String) {
    let (status, output) = process::run(&Program::Beckon.path(), arguments, settings);
    (status.code(), output)
}

/// A command that succeeds and says this.
fn succeed(arguments: &[&str], settings: &[(&str, &str)], expected: &str) {
    let (code, output) = command(arguments, settings);
    assert!(code == Some(0) && output.contains(expected), "{arguments:?}: {code:?} {output}");
}

/// A command that is refused with exit code 64 and says this.
fn refuse(arguments: &[&str], settings: &[(&str, &str)], expected: &str) {
    let (code, output) = command(arguments, settings);
    assert!(code == Some(64) && output.contains(expected), "{arguments:?}: {code:?} {output}");
}

/// A cluster on this Redis that serves the endpoints of another server with its keys.
fn cluster_at(redis: &RedisServer, endpoint_url: &str, keys: &Keys) -> Plan {
    let plan = Plan::new(Shape::Cluster).store(redis.url()).all("BECKON_ENDPOINT_URL", endpoint_url);
    plan.all("BECKON_TOKEN_KEYS", &keys.token_keys).all("BECKON_UAID_KEY", &keys.uaid_key)
}

/// The keys in a data directory.
struct Keys {
    token_keys: String,
    uaid_key: String,
}

impl Keys {
    fn read(data_dir: &Path) -> Self {
        let read = |name| fs::read_to_string(data_dir.join(name)).unwrap().trim().to_owned();
        Self { token_keys: read("token-keys"), uaid_key: read("uaid-key") }
    }
}

/// The URL in front of the path of an endpoint.
fn origin(endpoint: &str) -> &str {
    endpoint.match_indices('/').nth(2).map_or(endpoint, |(path, _)| &endpoint[..path])
}

/// A SimplePush device with a pending version, and a browser with messages.
struct Devices {
    uaid: String,
    channel: String,
    endpoint: String,
    browser: String,
    subscription: String,
    messages: String,
    /// What the browser has not acknowledged.
    ids: BTreeSet<String>,
}

impl Devices {
    /// Both have left, and 7 is pending. The browser has received the first message and has not acknowledged it.
    async fn join(stage: &Stage) -> Self {
        let Registered { mut client, uaid, channel, endpoint } = stage.registered().await;
        assert_eq!(stage.put(&endpoint, 6).await, 200);
        client.expect_update(&channel, 6).await;
        client.ack(&channel, 6).await;
        client.leave().await;
        assert_eq!(stage.put(&endpoint, 7).await, 202);
        let Subscribed { client: mut browser, uaid: browser_uaid, channel: subscription, endpoint: messages } =
            stage.subscribed().await;
        let [acknowledged, first] =
            [stage.message(&messages, "a").await, stage.message(&messages, "b").await];
        browser.expect_ids(&subscription, &[acknowledged.clone(), first.clone()]).await;
        browser.ack(&subscription, &acknowledged).await;
        browser.leave().await;
        let topic = ("topic", "t");
        stage.accepted(&messages, &[KEPT, ENCRYPTED, topic], "replaced").await;
        let second = stage.accepted(&messages, &[KEPT, ENCRYPTED, topic], "c").await;
        let ids = [first, second].into();
        Self { uaid, channel, endpoint, browser: browser_uaid, subscription, messages, ids }
    }

    /// Both come back: they get what is pending, under the names that it had, and their endpoints are what they were.
    async fn come_back(&self, stage: &Stage) -> webpush::Client {
        let mut client = stage.connect().await;
        client.resume(&self.uaid, &[&self.channel]).await;
        client.expect_update(&self.channel, 7).await;
        assert_eq!(client.register(&self.channel).await, self.endpoint);
        client.leave().await;
        let mut browser = stage.resumed(&self.browser).await;
        let mut missing = self.ids.clone();
        while !missing.is_empty() {
            let message = browser.notification().await;
            let id = message["version"].as_str().unwrap();
            assert!(missing.remove(id), "received twice, or acknowledged before: {message}");
        }
        assert_eq!(browser.register(&self.subscription).await, self.messages);
        browser
    }
}

#[tokio::test]
async fn devices_move_to_a_cluster_and_back_and_notice_a_reconnect_only() {
    let alone = Stage::apart(Plan::new(Shape::Standalone).http("BECKON_MSG_LIMIT", "10000"));
    let mut devices = Devices::join(&alone).await;
    alone.set_broadcast("news/main", "42").await;
    let signer = new_signer();
    let Subscribed { client, uaid, channel, endpoint } = alone.subscribed_for(&signer).await;
    client.leave().await;
    // While the server stops, application servers go on.
    let Subscribed { client: busy, uaid: busy_uaid, channel: busy_channel, endpoint: busy_endpoint } =
        alone.subscribed().await;
    busy.leave().await;
    let mut senders: JoinSet<_> = (0..4).map(|_| send_until_gone(busy_endpoint.clone())).collect();
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    alone.nodes()[0].terminate();
    let mut accepted = BTreeSet::new();
    while let Some(ids) = senders.join_next().await {
        accepted.extend(ids.unwrap());
    }

    let redis = RedisServer::start();
    let [data, file, other] = ["data", "export", "other"].map(|name| alone.folder().join(name));
    let file = file.to_str().unwrap();
    let keys = Keys::read(&data);
    succeed(&["export", file], &[("BECKON_DATA_DIR", data.to_str().unwrap())], "exported 4 clients");
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    let url = redis.url();
    let store = [
        ("BECKON_STORE", url.as_str()),
        ("BECKON_TOKEN_KEYS", keys.token_keys.as_str()),
        ("BECKON_UAID_KEY", keys.uaid_key.as_str()),
    ];
    succeed(&["import", file], &store, "imported 4 clients");

    let cluster = Stage::own(cluster_at(&redis, origin(&devices.endpoint), &keys));
    let mut browser = devices.come_back(&cluster).await;
    cluster.until_broadcast("news/main", "42").await;
    // Ids that were given out before are good: one message is acknowledged, one is taken back.
    let [first, second] = devices.ids.iter().cloned().collect::<Vec<_>>().try_into().unwrap();
    browser.ack(&devices.subscription, &first).await;
    browser.leave().await;
    let location = format!("{}/m/{second}", origin(&devices.messages));
    assert_eq!(cluster.request(Method::DELETE, &location, &[], "").await.status(), 204);
    let third = cluster.message(&devices.messages, "d").await;
    devices.ids = [third].into();
    let authorized = ("authorization", &*authorization(&signer, &endpoint));
    let restricted = cluster.post(&endpoint, &[KEPT, ENCRYPTED, authorized], "e").await;
    assert!(location_of(&restricted).starts_with(origin(&endpoint)), "{restricted:?}");
    let mut busy = cluster.resumed(&busy_uaid).await;
    busy.receive_all(accepted).await;
    busy.settle(&busy_channel).await;
    busy.leave().await;
    for node in cluster.nodes() {
        node.terminate();
    }

    let back = alone.folder().join("back");
    succeed(&["export", back.to_str().unwrap()], &store, "clients, 2 messages");
    let other = other.to_str().unwrap();
    succeed(&["import", back.to_str().unwrap()], &[("BECKON_DATA_DIR", other)], "clients, 2 messages");
    let node = &alone.nodes()[0];
    node.set("BECKON_DATA_DIR", other);
    node.start();
    devices.come_back(&alone).await.leave().await;
    alone.until_broadcast("news/main", "42").await;
    let mut client = alone.resumed(&uaid).await;
    client.expect_message(&channel, &id_of(&restricted), "e").await;
}

/// An import into a new data directory that is refused makes no key files there.
fn expect_no_key_files(file: &str, data: &Path, other_key: &str) {
    let settings = [("BECKON_DATA_DIR", data.to_str().unwrap()), ("BECKON_UAID_KEY", other_key)];
    refuse(&["import", file], &settings, "no client would be known");
    assert!(!data.join("token-keys").exists(), "a key file was made");
}

#[tokio::test]
async fn an_import_says_what_it_cannot_do_and_changes_nothing() {
    let alone = Stage::apart(Plan::new(Shape::Standalone));
    let devices = Devices::join(&alone).await;
    let [data, file, bad] = ["data", "export", "bad"].map(|name| alone.folder().join(name));
    let [data, file, bad] = [&data, &file, &bad].map(|path| path.to_str().unwrap());
    let at = [("BECKON_DATA_DIR", data)];
    let (code, output) = command(&["export", file], &at);
    assert!(code == Some(69) && output.contains("in use by another process"), "{output}");
    alone.nodes()[0].terminate();
    succeed(&["export", file], &at, "exported 2 clients, 2 messages");
    refuse(&["export", file], &at, "there already");
    refuse(&["export"], &at, "<FILE>");
    refuse(&["import", file], &at, "has clients already");
    succeed(&["import", file, "--add"], &at, "2 clients were there already");

    let redis = RedisServer::start();
    let (url, keys, other_key) = (redis.url(), Keys::read(Path::new(data)), plan::key(9));
    let store = [
        ("BECKON_STORE", url.as_str()),
        ("BECKON_TOKEN_KEYS", keys.token_keys.as_str()),
        ("BECKON_UAID_KEY", keys.uaid_key.as_str()),
    ];
    let whole = fs::read(file).unwrap();
    let mut flipped = whole.clone();
    let last_seen = String::from_utf8_lossy(&whole).find("\"last_seen\":1").unwrap() + "\"last_seen\":".len();
    flipped[last_seen] = b'2';
    let newer = String::from_utf8_lossy(&whole).replacen("\"version\":1", "\"version\":2", 1).into_bytes();
    let unended = whole[..whole.len() - 20].to_owned();
    let lines: Vec<_> = whole.split_inclusive(|byte| *byte == b'\n').collect();
    for (content, expected) in [
        (unended, "ends before its end"),
        ([&whole[..], b"\n"].concat(), "follows the end"),
        (flipped, "was changed"),
        (newer, "has format 2"),
        ([&lines[..lines.len() - 2], &lines[lines.len() - 1..]].concat().concat(), "line "),
        (b"something else".to_vec(), "does not begin as an export"),
    ] {
        fs::write(bad, content).unwrap();
        refuse(&["import", bad], &store, expected);
    }
    refuse(&["import", file], &store[..1], "set token_keys");
    refuse(&["import", file], &store[..2], "set token_keys and uaid_key");
    refuse(&["import", file], &[store[0], ("BECKON_TOKEN_KEYS", &other_key), store[2]], "would be lost");
    refuse(
        &["import", file],
        &[store[0], store[1], ("BECKON_UAID_KEY", &other_key)],
        "no client would be known",
    );
    expect_no_key_files(file, &Path::new(data).with_file_name("new"), &other_key);
    refuse(&["import", bad, "--no-such-setting"], &store, "--no-such-setting");
    assert_eq!(redis.command(&["KEYS", "c{*"]), redis.command(&["KEYS", "nothing"]));

    // A part arrives, as from a pipe that breaks; then all of it, through a pipe.
    let part = [&lines[..3], &[]].concat().concat();
    fs::write(bad, part).unwrap();
    let beckon = Program::Beckon.path();
    let beckon = beckon.to_str().unwrap();
    let run = |line: &str| {
        let (status, output) =
            process::run(Path::new("/bin/sh"), &["-c", line], &[at[0], store[1], store[2]]);
        (status.code(), output)
    };
    let (code, output) = run(&format!("{beckon} import - --store {url} < {bad}"));
    assert!(code == Some(64) && output.contains("--add to go on"), "{output}");
    let pipe = format!("{beckon} export - | {beckon} import - --add --store {url}");
    let (code, output) = run(&pipe);
    assert!(code == Some(0) && output.contains("imported"), "{output}");
    let cluster = Stage::own(cluster_at(&redis, origin(&devices.endpoint), &keys));
    refuse(&["export", bad, "--store", &url], &store, "there already");
    fs::remove_file(bad).unwrap();
    refuse(&["export", bad], &store, "nodes use the store");
    refuse(&["import", file, "--add"], &store, "nodes use the store");
    succeed(&["export", bad, "--live"], &store, "exported");
    devices.come_back(&cluster).await.leave().await;
}
