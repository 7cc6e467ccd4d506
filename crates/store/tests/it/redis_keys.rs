//! Scripts declare the keys that they use. Some servers refuse those that do not: a Redis Cluster if the keys are in different
//! slots, and others in any case.

use crate::redis::open;
use beckon_store::redis::RedisOptions;
use beckon_store_conformance::run_all;
use beckon_testbed::redis::RedisServer;
use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
};

/// Everything that a server performs, as its command `MONITOR` shows it.
struct Monitor(BufReader<TcpStream>);

/// What scripts were called, and what they did.
#[derive(Debug, Default)]
struct Seen {
    /// By their SHA-1.
    scripts: BTreeSet<String>,
    /// Commands inside scripts.
    commands: usize,
    /// Commands on keys that the script had not declared.
    undeclared: Vec<String>,
}

impl Monitor {
    fn of(server: &RedisServer) -> Self {
        let mut connection = TcpStream::connect(server.address()).unwrap();
        connection.write_all(b"MONITOR\r\n").unwrap();
        let mut monitor = Self(BufReader::new(connection));
        assert_eq!(monitor.line(), "+OK");
        monitor
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.0.read_line(&mut line).unwrap() > 0, "the server has ended");
        line.trim_end().to_owned()
    }

    /// Reads up to now.
    fn seen(mut self, server: &RedisServer) -> Seen {
        const END: &str = "the end of what is looked at";
        server.command(&["ECHO", END]);
        let (mut seen, mut declared) = (Seen::default(), Vec::new());
        loop {
            let line = self.line();
            // Its time, its database and its client, and then its words.
            let (client, words) = line.split_once("] ").unwrap();
            let words = words_of(words);
            let name = words[0].to_ascii_uppercase();
            if client.ends_with(" lua") {
                seen.commands += 1;
                if !keys_of(&name, &words[1..]).iter().all(|key| declared.contains(key)) {
                    seen.undeclared.push(line);
                }
            } else if matches!(&*name, "EVAL" | "EVALSHA") {
                let keys: usize = words[2].parse().unwrap();
                declared = words[3..3 + keys].to_vec();
                if name == "EVALSHA" {
                    seen.scripts.insert(words[1].clone());
                }
            } else if words.last().is_some_and(|word| word == END) {
                return seen;
            }
        }
    }
}

/// Quoted words, as they are written.
fn words_of(line: &str) -> Vec<String> {
    let (mut words, mut word, mut is_inside, mut is_escaped) = (Vec::new(), String::new(), false, false);
    for letter in line.chars() {
        match letter {
            '"' if !is_escaped => {
                if is_inside {
                    words.push(std::mem::take(&mut word));
                }
                is_inside = !is_inside;
            }
            _ if is_inside => word.push(letter),
            _ => {}
        }
        is_escaped = letter == '\\' && !is_escaped;
    }
    words
}

/// The keys among the arguments of a command.
fn keys_of<'a>(name: &str, arguments: &'a [String]) -> &'a [String] {
    match name {
        "TIME" | "SCAN" => &[],
        "DEL" => arguments,
        "SET" | "GET" | "PEXPIRE" | "PTTL" => &arguments[..1],
        _ if name.starts_with('H') || name.starts_with('Z') => &arguments[..1],
        _ => panic!("which of the arguments of {name} are keys?"),
    }
}

#[tokio::test]
async fn no_script_uses_a_key_that_it_does_not_declare() {
    let server = RedisServer::start();
    let monitor = Monitor::of(&server);
    // Opening it calls the script that tries all commands.
    let store = open(&server, RedisOptions::default()).await;
    run_all(&store).await;
    let seen = monitor.seen(&server);
    assert_eq!(seen.undeclared, Vec::<String>::new());
    println!("{} scripts, {} commands in them", seen.scripts.len(), seen.commands);
    assert!(seen.scripts.len() >= 25 && seen.commands > 1000, "{} {}", seen.scripts.len(), seen.commands);
}

#[test]
fn a_key_that_is_not_declared_is_seen() {
    let server = RedisServer::start();
    let monitor = Monitor::of(&server);
    let script = "redis.call('SET', KEYS[1], 'a \"\\\\') redis.call('DEL', KEYS[1], 'other\"')";
    server.command(&["EVAL", script, "1", "a \"key\\"]);
    let seen = monitor.seen(&server);
    assert_eq!((seen.scripts.len(), seen.commands), (0, 2));
    assert_eq!(seen.undeclared.len(), 1, "{seen:?}");
    assert!(seen.undeclared[0].contains("other"), "{seen:?}");
}
