//! The URL of the setting `store`. Errors never contain a password.

use redis::{ConnectionInfo, IntoConnectionInfo as _};
use std::fmt;

/// Most nodes in a `redis-cluster` or `redis-sentinel` URL. The others are found through them.
const NODES_MAX: usize = 64;

/// The port of a Sentinel if the URL has none.
const SENTINEL_PORT: u16 = 26379;

/// A parsed URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// How the primaries are found.
    pub(super) seeds: Seeds,
    /// Whether connections are encrypted.
    pub(super) encrypted: bool,
    /// The user of the URL.
    pub(super) user: Option<String>,
    /// The password of the URL.
    pub(super) password: Option<Password>,
    /// The numbered database.
    pub(super) database: i64,
}

/// How the primaries are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seeds {
    /// There is one primary, at this address.
    Server(Node),
    /// There is one primary, and each of these Sentinels knows its address.
    Sentinel {
        /// Some or all of the Sentinels.
        sentinels: Vec<Node>,
        /// The name of the primary.
        name: String,
    },
    /// There are several primaries, and each node of the Redis Cluster knows their addresses.
    Cluster(Vec<Node>),
}

/// The address of a server.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Node {
    pub(super) host: String,
    pub(super) port: u16,
}

/// A password. It is not shown.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Password(pub(super) String);

impl Node {
    /// An address as a node of a Redis Cluster gives it. An empty host, or `?`, stands for the host of the node that was
    /// asked.
    pub(super) fn beside(asked: &Self, host: &str, port: u16) -> Self {
        let host = if matches!(host, "" | "?") { asked.host.clone() } else { host.to_owned() };
        Self { host, port }
    }
}

impl Seeds {
    /// The nodes that the URL names.
    pub(super) fn nodes(&self) -> Vec<Node> {
        match self {
            Self::Server(node) => vec![node.clone()],
            Self::Sentinel { sentinels: nodes, .. } | Self::Cluster(nodes) => nodes.clone(),
        }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(not shown)")
    }
}

impl fmt::Display for Seeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, node) in self.nodes().iter().enumerate() {
            write!(f, "{}{node}", if index > 0 { "," } else { "" })?;
        }
        match self {
            Self::Sentinel { name, .. } => write!(f, "/{name}"),
            Self::Server(_) | Self::Cluster(_) => Ok(()),
        }
    }
}

/// Parses a URL. The error is a sentence for the operator, without any part of the URL that could be secret.
pub(super) fn parse(url: &str) -> Result<Address, &'static str> {
    // What parses the parts drops line ends and tabs anywhere, so that a password would be another one.
    if url.contains(|character: char| character.is_whitespace() || character.is_control()) {
        return Err("a URL has neither spaces nor line ends: in a password, write %20 for a space");
    }
    let (scheme, rest) = url.split_once("://").ok_or("not a URL: give redis://host:port or embedded")?;
    let encrypted = scheme.starts_with("rediss");
    match scheme {
        "redis" | "rediss" => server(rest, encrypted),
        "redis-sentinel" | "rediss-sentinel" => sentinel(rest, encrypted),
        "redis-cluster" | "rediss-cluster" => cluster(rest, encrypted),
        _ => Err("the scheme is none of redis, redis-sentinel and redis-cluster, with rediss for TLS"),
    }
}

/// Reads what follows `redis://`.
fn server(rest: &str, encrypted: bool) -> Result<Address, &'static str> {
    const FORM: &str = "not of the form redis://[[user]:password@]host[:port][/database]";
    address(rest, encrypted, Seeds::Server).ok_or(FORM)
}

/// Reads what follows `redis-sentinel://`.
fn sentinel(rest: &str, encrypted: bool) -> Result<Address, &'static str> {
    const FORM: &str = "not of the form redis-sentinel://[[user]:password@]host[:port],…/name[/database]";
    let (user, rest) = split_user(rest);
    let (hosts, path) = rest.split_once('/').ok_or(FORM)?;
    let (name, database) = path.split_once('/').unwrap_or((path, ""));
    if name.is_empty() {
        return Err(FORM);
    }
    let mut sentinels = Vec::new();
    for host in hosts.split(',') {
        let seed = format!("{user}{}/{database}", with_port(host, SENTINEL_PORT));
        sentinels.push(address(&seed, encrypted, Seeds::Server).ok_or(FORM)?);
    }
    one(sentinels, |sentinels| Seeds::Sentinel { sentinels, name: name.to_owned() }).ok_or(FORM)?
}

/// Reads what follows `redis-cluster://`.
fn cluster(rest: &str, encrypted: bool) -> Result<Address, &'static str> {
    const FORM: &str = "not of the form redis-cluster://[[user]:password@]host:port,host:port";
    let (user, hosts) = split_user(rest);
    let hosts = hosts.trim_end_matches('/');
    if hosts.contains('/') {
        return Err("a Redis Cluster has no numbered databases: leave the path out");
    }
    let mut nodes = Vec::new();
    for host in hosts.split(',') {
        nodes.push(address(&format!("{user}{host}"), encrypted, Seeds::Server).ok_or(FORM)?);
    }
    one(nodes, Seeds::Cluster).ok_or(FORM)?
}

/// The user and the password with the `@`, and the hosts.
fn split_user(rest: &str) -> (&str, &str) {
    rest.rfind('@').map_or(("", rest), |at| rest.split_at(at + 1))
}

/// The host with a port.
fn with_port(host: &str, port: u16) -> String {
    let has_port = host.rsplit_once(':').is_some_and(|(_, end)| !end.ends_with(']'));
    if has_port || host.is_empty() { host.to_owned() } else { format!("{host}:{port}") }
}

/// Parses one host, as the URL of a single server.
fn address(rest: &str, encrypted: bool, seeds: impl FnOnce(Node) -> Seeds) -> Option<Address> {
    let info: ConnectionInfo = format!("redis://{rest}").into_connection_info().ok()?;
    let redis::ConnectionAddr::Tcp(host, port) = info.addr() else { return None };
    let settings = info.redis_settings();
    Some(Address {
        seeds: seeds(Node { host: host.clone(), port: *port }),
        encrypted,
        user: settings.username().map(str::to_owned),
        password: settings.password().map(|password| Password(password.to_owned())),
        database: settings.db(),
    })
}

/// Joins the hosts into one address. The error is that there are too many.
fn one(
    addresses: Vec<Address>,
    seeds: impl FnOnce(Vec<Node>) -> Seeds,
) -> Option<Result<Address, &'static str>> {
    if addresses.len() > NODES_MAX {
        return Some(Err("more than 64 nodes: name a few, the others are found through them"));
    }
    let first = addresses.first()?.clone();
    let nodes = addresses.into_iter().filter_map(|address| match address.seeds {
        Seeds::Server(node) => Some(node),
        Seeds::Sentinel { .. } | Seeds::Cluster(_) => None,
    });
    Some(Ok(Address { seeds: seeds(nodes.collect()), ..first }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_forms_are_parsed() {
        for (url, seeds, user, password, database, encrypted) in [
            ("redis://127.0.0.1", "127.0.0.1:6379", None, None, 0, false),
            ("redis://[::1]:7000", "[::1]:7000", None, None, 0, false),
            ("redis://:hunter2@store:7000/3", "store:7000", None, Some("hunter2"), 3, false),
            ("redis://user:h%40nter2@store", "store:6379", Some("user"), Some("h@nter2"), 0, false),
            ("rediss://:hunter2@store:7000", "store:7000", None, Some("hunter2"), 0, true),
            ("redis-cluster://a:1,b:2", "a:1,b:2", None, None, 0, false),
            ("redis-cluster://user:hunter2@a:1,b:2/", "a:1,b:2", Some("user"), Some("hunter2"), 0, false),
            ("rediss-cluster://:hunter2@a:1", "a:1", None, Some("hunter2"), 0, true),
            ("redis-sentinel://a,b:2,[::1]/main", "a:26379,b:2,[::1]:26379/main", None, None, 0, false),
            ("redis-sentinel://u:p@a/main/3", "a:26379/main", Some("u"), Some("p"), 3, false),
            ("rediss-sentinel://a/main/", "a:26379/main", None, None, 0, true),
        ] {
            let address = parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
            assert_eq!(address.seeds.to_string(), seeds, "{url}");
            assert_eq!(address.user.as_deref(), user, "{url}");
            assert_eq!(address.password, password.map(|text| Password(text.into())), "{url}");
            assert_eq!((address.database, address.encrypted), (database, encrypted), "{url}");
            assert!(!format!("{address:?}").contains("hunter2"), "{address:?}");
        }
    }

    #[test]
    fn other_texts_are_refused_without_showing_a_password() {
        for url in [
            "",
            "localhost:6379",
            "http://:hunter2@store",
            "unix:///run/hunter2",
            "redis://",
            "redis://:hunter2@",
            "redis://:hunter2@store/hunter2",
            "redis://:hunter2@store:99999",
            "redis-cluster://:hunter2@",
            "redis-cluster://:hunter2@a:1,,b:2",
            "redis-cluster://:hunter2@a:1/2",
            "redis-sentinel://:hunter2@a",
            "redis-sentinel://:hunter2@a/",
            "redis-sentinel://:hunter2@/main",
            "redis-sentinel://:hunter2@a,,b/main",
            "redis-sentinel://:hunter2@a/main/hunter2",
            "redis-sentinel://:hunter2@a/ma in",
            "redis://:hunt\ner2hunter2@store",
            "redis://:hunter2@store\r\n",
            "redis://:hunter2@st\tore",
            "redis-cluster://:hunter2@a:1, b:2",
        ] {
            let error = parse(url).unwrap_err();
            assert!(!error.contains("hunter2"), "{url}: {error}");
        }
    }
}
