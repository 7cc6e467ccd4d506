//! The program as an operator starts it: exit codes and messages (`docs/configuration.md`).

use crate::http_client;
use beckon_store::harness::RedisServer;
use beckon_types::KeyRing;
use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, Command, ExitStatus, Output, Stdio},
};

/// The program, with what it needs but for a store, and nothing of this test's own environment.
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

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn wrong_settings_end_it_with_64_and_all_reasons() {
    let output = program()
        .env("BECKON_STORE", "embedded")
        .args(["--delivery-timeout", "0", "--no-such-thing", "1"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(64));
    for place in ["BECKON_STORE", "--delivery-timeout", "--no-such-thing"] {
        assert!(told(&output).contains(place), "{place} in {}", told(&output));
    }
    let output = program().env("BECKON_STORE", "redis://no port").output().unwrap();
    assert_eq!(output.status.code(), Some(64), "{}", told(&output));
}

#[test]
fn a_store_that_is_not_there_ends_it_with_69_in_one_sentence() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let output = program().env("BECKON_STORE", format!("redis://127.0.0.1:{port}")).output().unwrap();
    assert_eq!(output.status.code(), Some(69));
    assert_eq!(told(&output).lines().count(), 1, "{}", told(&output));
    assert!(told(&output).contains(&format!("127.0.0.1:{port}")), "{}", told(&output));
}

#[test]
fn a_port_that_is_taken_ends_it_with_69() {
    let redis = RedisServer::start();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output =
        program().env("BECKON_STORE", redis.url()).env("BECKON_HTTP_LISTEN", &address).output().unwrap();
    assert_eq!(output.status.code(), Some(69));
    assert!(told(&output).contains("http_listen") && told(&output).contains(&address), "{}", told(&output));
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
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.process.wait().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn it_waits_for_the_store_if_told_to_and_ends_with_0_when_asked() {
    let mut redis = RedisServer::start();
    redis.kill();
    let mut running = Running::start(program().env("BECKON_STORE", redis.url()).arg("--wait-for-store"));
    running.until("waiting for the store");
    redis.restart();
    let serving = running.until("serving endpoints");
    let http: SocketAddr = serving["http.listen"].as_str().unwrap().parse().unwrap();
    let answer = http_client::put(http, "/update/unknown", "").await;
    assert_eq!(answer.status, 404);
    assert_eq!(running.terminate().code(), Some(0));
}

#[test]
fn a_wait_for_the_store_can_be_ended() {
    let mut redis = RedisServer::start();
    redis.kill();
    let mut running = Running::start(program().env("BECKON_STORE", redis.url()).arg("--wait-for-store"));
    running.until("waiting for the store");
    assert_eq!(running.terminate().code(), Some(0));
}
