//! The load balancers' configuration, as far as it has to agree with the rest.

use crate::{defaults::silence_max_seconds, tree::read};

/// One configuration file.
#[derive(Debug)]
struct Balancer {
    lines: Vec<Vec<String>>,
}

impl Balancer {
    fn read(path: &str) -> Self {
        let text = read(path);
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default()).map(words);
        Self { lines: lines.filter(|words| !words.is_empty()).collect() }
    }

    /// What follows a keyword, for every line that begins with it.
    fn after<'a>(&'a self, keyword: &[&str]) -> Vec<&'a [String]> {
        let begins =
            |line: &&Vec<String>| line.len() > keyword.len() && line.iter().zip(keyword).all(|(a, b)| a == b);
        self.lines.iter().filter(begins).map(|line| &line[keyword.len()..]).collect()
    }

    /// What it asks servers for, to see whether they take new clients.
    fn check_path(&self) -> &str {
        &self.after(&["option", "httpchk", "GET"])[0][0]
    }

    /// A time limit, in seconds.
    fn timeout(&self, name: &str) -> Option<u64> {
        let value = &self.after(&["timeout", name]).first()?[0];
        let (number, seconds) = match value.split_at(value.len() - 1) {
            (number, "s") => (number, 1),
            (number, "m") => (number, 60),
            (number, "h") => (number, 3600),
            _ => panic!("a time with a unit: {value}"),
        };
        Some(number.parse::<u64>().unwrap() * seconds)
    }
}

#[test]
fn an_open_websocket_is_left_to_the_server() {
    let balancer = Balancer::read("deploy/haproxy/websocket.cfg");
    assert!(balancer.timeout("tunnel").unwrap() > silence_max_seconds());
    assert_eq!(balancer.timeout("tunne"), None);
}

#[test]
fn a_node_that_drains_gets_no_new_clients() {
    for path in ["deploy/haproxy/websocket.cfg", "deploy/haproxy/endpoint.cfg"] {
        assert_eq!(Balancer::read(path).check_path(), "/ready", "{path}");
    }
}
