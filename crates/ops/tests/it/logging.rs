//! The log of a process, as its collector reads it.

use beckon_ops::{
    config::Source,
    logging::{self, LogSettings},
};
use std::process::Command;

/// Makes the test below a program that logs and panics, in a process of its own: the log is that of the process.
const CHILD: &str = "BECKON_OPS_TESTS_CHILD";

#[test]
fn a_panic_is_one_event_without_what_was_formatted() {
    if std::env::var_os(CHILD).is_some() {
        return panic_twice();
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "logging::a_panic_is_one_event_without_what_was_formatted", "--nocapture"])
        .env_clear()
        .env(CHILD, "")
        .output()
        .unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    let events: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{log}"))).collect();
    let [literal, formatted] = &events[..] else { panic!("{log}") };
    for event in [literal, formatted] {
        assert_eq!((&event["level"], &event["message"]), (&"ERROR".into(), &"panicked".into()));
        assert_eq!(event["panic.thread"], "worker");
        assert!(event["panic.location"].as_str().unwrap().contains("logging.rs:"), "{event}");
    }
    assert_eq!(literal["panic.message"], "out of order");
    assert!(!log.contains("secret"), "{log}");
}

fn panic_twice() {
    let mut source = Source::new(["--log-format=json"], [("", ""); 0]);
    let settings = LogSettings::read(&mut source);
    logging::init(&source.finish(settings).unwrap()).unwrap();
    let secret = std::env::args().len().to_string() + " secret";
    for message in [None, Some(secret)] {
        let panics = move || match message {
            None => panic!("out of order"),
            Some(text) => panic!("cannot parse {text}"),
        };
        let thread = std::thread::Builder::new().name("worker".to_owned()).spawn(panics).unwrap();
        assert!(thread.join().is_err());
    }
    logging::flush();
}
