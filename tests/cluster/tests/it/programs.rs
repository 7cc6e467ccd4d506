//! The programs as an operator and a newcomer meet them: settings, exit codes, signals, the command line.

use beckon_client::{
    app_server::AppServer,
    user_agent::{self, Event, UserAgent},
};
use beckon_cluster_tests::{
    stage::Stage,
    webpush::{Subscribed, new_signer},
};
use beckon_testbed::{
    PATIENCE, folder,
    node::Node,
    plan::{ADMIN_TOKEN, Plan, Planned, Shape, key},
    ports::Port,
    process::{self, Process, Signal},
    programs::Program,
    redis::RedisServer,
    until,
};
use std::time::Duration;

/// The program of every plan, with settings that are all right.
fn complete(store: &str) -> Vec<Planned> {
    let plans = [Plan::new(Shape::Cluster), Plan::new(Shape::Standalone)];
    let mut all: Vec<_> = plans.into_iter().flat_map(Plan::into_programs).collect();
    for planned in &mut all {
        planned.set("BECKON_STORE", store);
        planned.set("BECKON_UAID_KEY", &key(2));
    }
    all
}

/// Runs a program to its end, with changed settings.
fn run_with(planned: &Planned, change: &[(&str, &str)]) -> (Option<i32>, String) {
    let settings = planned.settings.iter();
    let kept = settings.filter(|(name, _)| change.iter().all(|(changed, _)| changed != name));
    let mut settings: Vec<_> = kept.map(|(name, value)| (name.as_str(), value.as_str())).collect();
    settings.extend(change);
    let (status, output) = process::run(&planned.program.path(), &[], &settings);
    (status.code(), output)
}

#[test]
fn a_bad_setting_is_named_with_its_source() {
    for planned in complete("redis://127.0.0.1:1") {
        let two = [("BECKON_ADMIN_LISTEN", "nowhere"), ("BECKON_NO_SUCH_THING", "1")];
        let (code, output) = run_with(&planned, &two);
        assert_eq!(code, Some(64), "{}: {output}", planned.name);
        for (name, _) in two {
            assert!(output.contains(name), "{} does not name {name}: {output}", planned.name);
        }
        let (code, output) = run_with(&planned, &[("BECKON_TOKEN_KEYS", "a-secret-not-a-key")]);
        assert_eq!(code, Some(64), "{}: {output}", planned.name);
        assert!(output.contains("BECKON_TOKEN_KEYS"), "{output}");
        assert!(!output.contains("a-secret-not-a-key"), "{output}");
        // In a file and as a flag.
        let folder = folder::temporary();
        let file = folder.path().join("beckon.toml");
        std::fs::write(&file, "admin_listen = \"nowhere\"\n").unwrap();
        let arguments = ["--config", file.to_str().unwrap(), "--no-such-flag", "1"];
        let none = [];
        let (status, output) = process::run(&planned.program.path(), &arguments, &none);
        assert_eq!(status.code(), Some(64), "{output}");
        for name in ["beckon.toml", "admin_listen", "--no-such-flag"] {
            assert!(output.contains(name), "{} does not name {name}: {output}", planned.name);
        }
    }
}

#[test]
fn nodes_name_what_is_missing() {
    for (program, missing) in [
        (Program::ConnectionNode, &["store", "endpoint_url", "token_keys", "uaid_key"][..]),
        (Program::EndpointNode, &["store", "endpoint_url", "token_keys"]),
    ] {
        let (status, output) = process::run(&program.path(), &[], &[]);
        assert_eq!(status.code(), Some(64), "{output}");
        for name in missing {
            assert!(
                output.to_lowercase().contains(name),
                "{} does not name {name}: {output}",
                program.name()
            );
        }
    }
}

#[test]
fn a_store_that_is_not_there_is_exit_code_69() {
    let port = Port::free();
    let nowhere = format!("redis://{}", port.address());
    for planned in complete(&nowhere) {
        let (code, output) = run_with(&planned, &[]);
        assert_eq!(code, Some(69), "{}: {output}", planned.name);
        assert!(output.contains("store"), "{output}");
    }
}

#[test]
fn a_port_in_use_is_exit_code_69() {
    let redis = RedisServer::start();
    for planned in complete(&redis.url()) {
        let port = Port::free();
        let address = port.address();
        let _listener = std::net::TcpListener::bind(address).unwrap();
        let (code, output) = run_with(&planned, &[("BECKON_ADMIN_LISTEN", &address.to_string())]);
        assert_eq!(code, Some(69), "{}: {output}", planned.name);
        assert!(output.contains(&address.to_string()), "{output}");
    }
}

#[tokio::test]
async fn a_node_can_wait_for_its_store() {
    let mut redis = RedisServer::start();
    redis.kill();
    let plan = Plan::new(Shape::Cluster).store(redis.url()).all("BECKON_WAIT_FOR_STORE", "true");
    let nodes = plan.launch();
    // They have had as much time as a node takes that gives up.
    let (code, _) = run_with(&complete(&redis.url())[0], &[]);
    assert_eq!(code, Some(69));
    for node in nodes.nodes() {
        assert_eq!(node.ended(), None, "{}", node.log());
    }
    redis.restart();
    nodes.wait_until_ready();
}

#[tokio::test]
async fn signals_end_every_program_in_good_order() {
    for signal in [Signal::TERM, Signal::INT] {
        for shape in [Shape::Standalone, Shape::Cluster] {
            let stage = Stage::own(Plan::new(shape));
            for node in stage.nodes() {
                node.signal(signal);
                assert_eq!(node.wait().code(), Some(0), "{}: {}", node.name(), node.log());
            }
        }
    }
}

#[tokio::test]
async fn a_drain_is_bounded_and_spares_a_cluster_the_loss() {
    let stage = Stage::own(Plan::new(Shape::Cluster).sockets("BECKON_DRAIN_RATE", "20"));
    let first = stage.node("c0");
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = Stage::client_of(first).await;
        let uaid = client.hello().await;
        let channel = beckon_cluster_tests::talk::new_channel();
        let endpoint = client.register(&channel).await;
        clients.push((client, uaid, channel, endpoint));
    }
    first.signal(Signal::TERM);
    for (mut client, uaid, channel, endpoint) in clients {
        client.expect_close(1001).await;
        // The test does not wait until the node is gone.
        let mut client = Stage::client_of(stage.node("c1")).await;
        client.resume(&uaid, &[&channel]).await;
        assert_eq!(stage.put(&endpoint, 1).await, 200);
        client.expect_update(&channel, 1).await;
    }
    assert_eq!(first.wait().code(), Some(0), "{}", first.log());
}

#[tokio::test]
async fn the_command_line_shows_a_notification() {
    let stage = Stage::own(Plan::new(Shape::Standalone));
    let server = &stage.nodes()[0];
    let folder = folder::temporary();
    let log = folder.path().join("listen.log");
    let program = Program::Beckon.path();
    let listener = Process::start(&program, &["listen", &server.ws_url()], &[], &log);
    let shows = async |text: String| {
        until(&text.clone(), async || listener.log().contains(&text).then(|| listener.log())).await
    };
    let shown = shows("curl -X PUT -d version=1 http://".to_owned()).await;
    let endpoint = shown.split_whitespace().last().unwrap().to_owned();
    let send = |arguments: &[&str]| {
        let (status, output) = process::run(&program, &[&["send"], arguments].concat(), &[]);
        (status.code(), output)
    };
    let delivered = (Some(0), "delivered to a connected client (200)\n".to_owned());
    assert_eq!(send(&[&endpoint, "--version", "7", "--data", "look here"]), delivered);
    shows("version 7 data \"look here\"\n".to_owned()).await;
    // It comes back by itself, with the same endpoint.
    server.kill();
    let (code, output) = send(&[&endpoint]);
    assert_eq!(code, Some(69), "{output}");
    server.start();
    shows("connected again, same UAID, same endpoint".to_owned()).await;
    assert_eq!(send(&[&endpoint, "--version=8"]), delivered);
    shows("version 8\n".to_owned()).await;
    drop(listener);
    until("the client is offline", async || (stage.put(&endpoint, 9).await == 202).then_some(())).await;
    assert_eq!(send(&[&endpoint]), (Some(0), "stored, client offline (202)\n".to_owned()));
    for (arguments, code, told) in [
        (vec![&*format!("{endpoint}x")], 1, "Invalid Token"),
        (vec!["ftp://x/"], 64, "http"),
        (vec![], 64, "ENDPOINT"),
        (vec![&endpoint, "--version", "-1"], 64, "-1"),
        (vec!["http://127.0.0.1:1/update/x"], 69, "refused"),
    ] {
        let (status, output) = send(&arguments);
        assert_eq!(status, Some(code), "{arguments:?}: {output}");
        assert!(output.contains(told), "{arguments:?}: {output}");
    }
    let (status, output) = process::run(&program, &["listen", "ws://127.0.0.1:1/"], &[]);
    assert_eq!(status.code(), Some(69), "{output}");
    let (status, output) = process::run(&program, &["listen", "http://127.0.0.1:1/"], &[]);
    assert_eq!(status.code(), Some(64), "{output}");
}

#[test]
fn the_command_line_sets_broadcasts() {
    let stage = Stage::own(Plan::new(Shape::Cluster));
    let (connection_nodes, endpoint_nodes) = (stage.connection_nodes(), stage.endpoint_nodes());
    let admin = |node: &Node| format!("http://{}", node.addresses().admin);
    let (first, second) = (&admin(connection_nodes[0]), &admin(connection_nodes[1]));
    let endpoint_node = &admin(endpoint_nodes[0]);
    let run = |arguments: &[&str], admin: &str| {
        let arguments = [&["broadcast"], arguments, &["--admin", admin]].concat();
        let token = [("BECKON_ADMIN_TOKEN", ADMIN_TOKEN)];
        let (status, output) = process::run(&Program::Beckon.path(), &arguments, &token);
        (status.code(), output)
    };
    let nothing = (Some(0), String::new());
    assert_eq!(run(&["set", "news/main", "\"42\""], first), nothing);
    assert_eq!(run(&["set", "a?b#c%", "two words"], second), nothing);
    assert_eq!(run(&["list"], first), (Some(0), "a?b#c% two words\nnews/main \"42\"\n".to_owned()));
    assert_eq!(run(&["remove", "a?b#c%"], first), nothing);
    assert_eq!(run(&["list"], second), (Some(0), "news/main \"42\"\n".to_owned()));
    for (arguments, admin, code, told) in [
        (&["remove", "a?b#c%"][..], first.as_str(), 1, "no broadcast of that id"),
        (&["set", "x"], first, 64, "<VERSION>"),
        (&["list"], "nowhere", 64, "nowhere"),
        (&["list"], "http://127.0.0.1:1", 69, "refused"),
        (&["list"], endpoint_node, 1, "nothing at this path"),
    ] {
        let (status, output) = run(arguments, admin);
        assert_eq!(status, Some(code), "{arguments:?}: {output}");
        assert!(output.contains(told), "{arguments:?}: {output}");
    }
}

#[tokio::test]
async fn genkey_makes_keys_that_nodes_take() {
    let genkey = || process::run(&Program::Beckon.path(), &["genkey"], &[]);
    let (status, first) = genkey();
    let (_, second) = genkey();
    assert_eq!(status.code(), Some(0), "{first}");
    assert_ne!(first, second);
    assert_eq!(first.trim().len(), key(1).len(), "{first}");
    let keys = format!("{},{}", first.trim(), second.trim());
    let stage = Stage::own(Plan::new(Shape::Cluster).all("BECKON_TOKEN_KEYS", &keys));
    stage.registered().await;
}

#[tokio::test]
async fn every_program_helps() {
    for program in [Program::ConnectionNode, Program::EndpointNode, Program::Beckon] {
        let (status, output) = process::run(&program.path(), &["--help"], &[]);
        assert_eq!(status.code(), Some(0), "{output}");
        assert!(output.contains("--admin-listen") && output.contains("BECKON_ADMIN_LISTEN"), "{output}");
        let (status, output) = process::run(&program.path(), &["--version"], &[]);
        assert_eq!(status.code(), Some(0), "{output}");
    }
    for command in ["listen", "send", "vapid", "broadcast"] {
        let (status, output) = process::run(&Program::Beckon.path(), &[command, "--help"], &[]);
        assert_eq!(status.code(), Some(0), "{output}");
        assert!(output.contains(&format!("beckon {command}")), "{output}");
    }
}

#[tokio::test]
async fn the_command_line_wakes_a_browser_up() {
    let stage = Stage::own(Plan::new(Shape::Standalone));
    let signer = new_signer();
    let Subscribed { mut client, endpoint, .. } = stage.subscribed().await;
    let restricted =
        client.register_for(&beckon_cluster_tests::talk::new_channel(), signer.public_key()).await;
    for (arguments, code, told) in [
        (vec![&*endpoint], 0, "accepted for 86400 s (201)\n"),
        (vec![&endpoint, "--ttl", "0"], 0, "accepted for 0 s (201)\n"),
        (vec![&restricted], 1, "401"),
        (vec![&endpoint, "--data", "x"], 64, "--p256dh"),
    ] {
        let arguments = [&["send"], &arguments[..]].concat();
        let (status, output) = process::run(&Program::Beckon.path(), &arguments, &[]);
        assert_eq!(status.code(), Some(code), "{arguments:?}: {output}");
        assert!(output.contains(told), "{arguments:?}: {output}");
        if code == 0 {
            assert_eq!(client.notification().await.get("data"), None);
        }
    }
    client.expect_nothing().await;
}

#[tokio::test]
async fn the_command_line_encrypts_signs_and_decrypts_messages() {
    let stage = Stage::own(Plan::new(Shape::Standalone));
    let server = &stage.nodes()[0];
    let folder = folder::temporary();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let program = Program::Beckon.path();
    let run = |arguments: &[&str]| {
        let (status, output) = process::run(&program, arguments, &[]);
        (status.code(), output)
    };
    let (_, key_pair) = run(&["vapid"]);
    std::fs::write(path("vapid.json"), &key_pair).unwrap();
    let key_pair: serde_json::Value = serde_json::from_str(&key_pair).unwrap();
    let vapid_key = key_pair["publicKey"].as_str().unwrap();
    let (url, state) = (server.ws_url(), path("device.json"));
    let listen = |log: &str| {
        let arguments = ["listen", "--web-push", "--state", &state, "--vapid-key", vapid_key, &url];
        Process::start(&program, &arguments, &[], &folder.path().join(log))
    };
    let shows = async |listener: &Process, text: &str| {
        until(text, async || listener.log().contains(text).then(|| listener.log())).await
    };
    let word_after = |shown: &str, name: &str| {
        let line = shown.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().to_owned()
    };
    let listener = listen("first.log");
    let shown = shows(&listener, " --data=Hello").await;
    let [endpoint, p256dh, auth] = ["endpoint ", "p256dh ", "auth "].map(|name| word_after(&shown, name));
    let keys = [endpoint.as_str(), "--p256dh", &p256dh, "--auth", &auth];
    let signed = ["--vapid", &path("vapid.json"), "--subject", "mailto:a@b.example"];
    let accepted = (Some(0), "accepted for 86400 s (201)\n".to_owned());
    assert_eq!(run(&[&["send"], &keys[..], &signed, &["--data", "Grüße"]].concat()), accepted);
    shows(&listener, "message  \"Grüße\"\n").await;

    // What is sent while the device is away arrives at the same endpoint, and nothing is shown twice.
    drop(listener);
    let subscription =
        serde_json::json!({"endpoint": endpoint, "keys": {"p256dh": p256dh, "auth": auth}}).to_string();
    std::fs::write(path("subscription.json"), subscription).unwrap();
    let script = r#""$0" send - --data later --topic news --urgency high --vapid "$1" < "$2""#;
    let program_text = program.display().to_string();
    let arguments = ["-c", script, &program_text, &path("vapid.json"), &path("subscription.json")];
    let (status, output) = process::run(std::path::Path::new("/bin/sh"), &arguments, &[]);
    assert_eq!((status.code(), output), accepted);
    let listener = listen("second.log");
    let shown = shows(&listener, "message  \"later\"\n").await;
    assert_eq!(word_after(&shown, "endpoint "), endpoint);
    assert!(!shown.contains("Grüße"), "{shown}");

    // The server is killed and started again; then a message of another library would come in.
    server.kill();
    server.start();
    shows(&listener, "connected again, same endpoint").await;
    assert_eq!(run(&[&["send"], &keys[..], &signed, &["--data", "again"]].concat()), accepted);
    shows(&listener, "message  \"again\"\n").await;

    let other_keys = [endpoint.as_str(), "--p256dh", vapid_key, "--auth", &auth];
    assert_eq!(run(&[&["send"], &other_keys[..], &signed, &["--data", "x"]].concat()), accepted);
    shows(&listener, "message  that cannot be decrypted\n").await;
    let (code, output) = run(&[&["send"], &keys[..], &["--data", "unsigned"]].concat());
    assert_eq!(code, Some(1), "{output}");
    let (code, header) = run(&["vapid", "token", &path("vapid.json"), &endpoint]);
    assert_eq!(code, Some(0), "{header}");
    let header = header.trim().strip_prefix("Authorization: ").unwrap();
    let request = http::Request::post(&endpoint).header("ttl", "60").header("authorization", header);
    let answer = AppServer::default().request(request.body(bytes::Bytes::new()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 201);
    shows(&listener, "message  without content\n").await;
}

#[tokio::test]
async fn a_user_agent_comes_back_by_itself() {
    let stage = Stage::own(Plan::new(Shape::Standalone));
    let server: &Node = &stage.nodes()[0];
    let options = user_agent::Options {
        backoff: beckon_client::backoff::Backoff {
            first: Duration::from_millis(50),
            longest: Duration::from_millis(500),
        },
        ..user_agent::Options::default()
    };
    let mut agent = UserAgent::connect(&server.ws_url(), options).await.unwrap();
    let (kept, given_up) = (user_agent::new_channel(), user_agent::new_channel());
    let endpoint = agent.register(kept).await.unwrap();
    let given_up_endpoint = agent.register(given_up).await.unwrap();
    agent.ping().await.unwrap();
    assert_eq!(stage.put_data(&endpoint, 1, "look").await, 200);
    let Event::Notification(updates) = agent.next_event().await else { panic!("a notification comes first") };
    assert_eq!((updates[0].version.number(), updates[0].data.as_deref()), (1, Some("look")));
    agent.acknowledge(&updates).await.unwrap();
    assert_eq!(stage.put(&endpoint, 2).await, 200);
    agent.unregister(given_up).await.unwrap();
    assert_eq!(stage.put(&given_up_endpoint, 1).await, 410);
    let uaid = agent.uaid();
    server.kill();
    server.start();
    let mut disconnected = false;
    let versions = tokio::time::timeout(PATIENCE, async {
        let (mut connected, mut versions) = (false, Vec::new());
        while !(connected && versions.last() == Some(&2)) {
            match agent.next_event().await {
                Event::Disconnected { .. } => disconnected = true,
                Event::Connected { new_uaid } => {
                    assert!(!new_uaid);
                    (connected, versions) = (true, Vec::new());
                }
                Event::Notification(updates) => {
                    versions.extend(updates.iter().map(|update| update.version.number()))
                }
                Event::NewEndpoint { .. } => panic!("the endpoint is the same"),
            }
        }
        versions
    })
    .await
    .unwrap();
    assert_eq!((disconnected, versions), (true, vec![2]));
    assert_eq!((agent.uaid(), agent.channels()), (uaid, &[kept][..]));
    assert_eq!(agent.register(kept).await.unwrap(), endpoint);
    agent.close().await;
    assert_eq!(stage.put(&endpoint, 3).await, 202);
}

#[tokio::test]
async fn logs_tell_no_secrets() {
    for shape in [Shape::Standalone, Shape::Cluster] {
        let stage = Stage::own(Plan::new(shape).all("BECKON_LOG", "trace"));
        let mut known = stage.registered().await;
        assert_eq!(stage.put_data(&known.endpoint, 7, "a-payload-that-is-not-logged").await, 200);
        known.client.updates().await;
        known.client.send_text("{\"messageType\":\"a-type-that-is-not-logged\"}").await;
        known.client.receive().await;
        known.client.expect_close(1008).await;
        for node in stage.nodes() {
            let log = node.log();
            let token = known.endpoint.rsplit('/').next().unwrap();
            for secret in [&known.uaid, &known.channel, token, "a-payload-that-is-not-logged"] {
                assert!(!log.contains(secret), "{} logs {secret}", node.name());
            }
            assert!(!log.contains(beckon_testbed::plan::SECRET), "{} logs the cluster secret", node.name());
        }
    }
}
