//! The program as an operator starts it: exit codes and messages (`docs/configuration.md`).

use crate::{http_client, test_node::TestNode};
use beckon_testbed::{ports::Port, redis::RedisServer};
use beckon_types::KeyRing;
use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader, Read as _},
    net::SocketAddr,
    process::{Child, Command, ExitStatus, Output, Stdio},
};

/// The program with all settings that it requires except the store, and without the environment of this test.
fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_endpoint-node"));
    command
        .env_clear()
        .env("BECKON_HTTP_LISTEN", "127.0.0.1:0")
        .env("BECKON_ADMIN_LISTEN", "127.0.0.1:0")
        .env("BECKON_ENDPOINT_URL", "http://push.example.net")
        .env("BECKON_TOKEN_KEYS", KeyRing::key_text(&[7; 32]))
        .env("BECKON_LOG_FORMAT", "json");
    command
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn wrong_settings_exit_with_64_and_all_reasons() {
    let output = program()
        .env("BECKON_STORE", "embedded")
        .args(["--delivery-timeout", "0", "--no-such-thing", "1"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(64));
    for place in ["BECKON_STORE", "--delivery-timeout", "--no-such-thing"] {
        assert!(stderr(&output).contains(place), "{place} in {}", stderr(&output));
    }
    let output = program().env("BECKON_STORE", "redis://no port").output().unwrap();
    assert_eq!(output.status.code(), Some(64), "{}", stderr(&output));
}

#[test]
fn a_missing_store_exits_with_69_and_one_sentence() {
    let port = Port::free();
    let address = port.address().to_string();
    let output = program().env("BECKON_STORE", format!("redis://{address}")).output().unwrap();
    assert_eq!(output.status.code(), Some(69));
    assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
    assert!(stderr(&output).contains(&address), "{}", stderr(&output));
}

#[test]
fn a_port_in_use_exits_with_69() {
    let redis = RedisServer::start();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output =
        program().env("BECKON_STORE", redis.url()).env("BECKON_HTTP_LISTEN", &address).output().unwrap();
    assert_eq!(output.status.code(), Some(69));
    assert!(
        stderr(&output).contains("http_listen") && stderr(&output).contains(&address),
        "{}",
        stderr(&output)
    );
}

/// A running program, killed when a test fails.
struct Running {
    process: Child,
    log: BufReader<std::process::ChildStderr>,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(process.stderr.take().unwrap());
        Self { process, log }
    }

    /// Reads the log up to an event.
    fn until(&mut self, message: &str) -> serde_json::Value {
        let mut line = String::new();
        while self.log.read_line(&mut line).unwrap() > 0 {
            let event: serde_json::Value = serde_json::from_str(&line).unwrap();
            if event["message"] == message {
                return event;
            }
            line.clear();
        }
        panic!("the program ended without {message:?}");
    }

    fn terminate(mut self) -> ExitStatus {
        self.signal();
        self.process.wait().unwrap()
    }

    fn signal(&self) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    }

    /// Stops the program and reads the rest of its log.
    fn last_events(mut self) -> Vec<serde_json::Value> {
        self.signal();
        let mut rest = String::new();
        self.log.read_to_string(&mut rest).unwrap();
        rest.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn it_waits_for_the_store_if_set_to_and_exits_with_0_on_sigterm() {
    let mut redis = RedisServer::start();
    redis.kill();
    let mut running = Running::start(program().env("BECKON_STORE", redis.url()).arg("--wait-for-store"));
    running.until("waiting for the store");
    redis.restart();
    let serving = running.until("serving endpoints");
    let http: SocketAddr = serving["http.listen"].as_str().unwrap().parse().unwrap();
    let answer = http_client::put(http, "/update/unknown", "").await;
    assert_eq!(answer.status, 503, "it knows no node that makes endpoints");
    assert_eq!(running.terminate().code(), Some(0));
}

#[test]
fn sigterm_ends_the_wait_for_the_store() {
    let mut redis = RedisServer::start();
    redis.kill();
    let mut running = Running::start(program().env("BECKON_STORE", redis.url()).arg("--wait-for-store"));
    running.until("waiting for the store");
    assert_eq!(running.terminate().code(), Some(0));
}

/// The levels and the reasons of the events that say why the store failed.
fn reasons(events: &[serde_json::Value]) -> Vec<(&str, &str)> {
    let failures = events.iter().filter(|event| event["message"] == "the store did not perform a step");
    failures.map(|event| (event["level"].as_str().unwrap(), event["error"].as_str().unwrap())).collect()
}

#[tokio::test]
async fn a_store_that_fails_is_logged_once_with_its_reason() {
    let node = TestNode::start().await;
    let (version, message) = (node.register_offline(1).await, node.subscribe_offline(2).await);
    for (damaged, level, reason) in
        [(false, "WARN", "store unavailable ("), (true, "ERROR", "store record unreadable: ")]
    {
        let mut running = Running::start(
            program().env("BECKON_STORE", node.redis.url()).env("BECKON_STORE_TIMEOUT", "300ms"),
        );
        let serving = running.until("serving endpoints");
        let http: SocketAddr = serving["http.listen"].as_str().unwrap().parse().unwrap();
        if damaged {
            damage_every_record(&node.redis);
        } else {
            node.redis.pause();
        }
        for _ in 0..3 {
            assert_eq!(http_client::put(http, &version, "version=1").await.status, 503);
            let posted = http_client::send(http, "POST", &message, "TTL: 60\r\n", b"").await;
            assert_eq!(posted.status, 503);
        }
        node.redis.resume();
        let events = running.last_events();
        // Six requests failed, for one or two causes: no answer in time, and then perhaps no connection.
        let reasons = reasons(&events);
        let causes: BTreeSet<_> = reasons.iter().map(|(_, reason)| reason).collect();
        assert!((1..=2).contains(&reasons.len()) && causes.len() == reasons.len(), "{events:?}");
        for (logged_level, logged_reason) in reasons {
            assert_eq!(logged_level, level);
            assert!(
                logged_reason.starts_with(reason) && logged_reason.len() > reason.len(),
                "{logged_reason}"
            );
        }
    }
    node.stop().await;
}

/// Replaces every record with a value that no version of the server writes.
fn damage_every_record(redis: &RedisServer) {
    let script = "for _, key in ipairs(redis.call('KEYS', '*')) do redis.call('SET', key, 'damaged') end";
    redis.command(&["EVAL", script, "0"]);
}
