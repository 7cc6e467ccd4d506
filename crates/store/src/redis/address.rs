//! Where Redis is: the URL forms of `BECKON_STORE`. A password in a URL never reaches a message.

use redis::{ConnectionInfo, IntoConnectionInfo as _, ProtocolVersion, TlsMode};

/// Nodes that may be named in a `redis-cluster` URL. The others are found through them.
const CLUSTER_NODES_MAX: usize = 64;

/// A URL that was understood.
#[derive(Debug, Clone)]
pub(super) struct Address {
    /// One server, or the cluster's nodes to begin with.
    pub(super) kind: Kind,
    /// `host:port`, for messages.
    pub(super) shown: String,
}

/// What is at an address.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    /// A single server.
    Server(Box<ConnectionInfo>),
    /// A Redis Cluster, of which these nodes are known.
    Cluster(Vec<ConnectionInfo>, Option<TlsMode>),
}

/// Reads a URL. The error is a sentence for the operator, without any part of the URL that could be secret.
pub(super) fn parse(url: &str) -> Result<Address, &'static str> {
    let (scheme, rest) = url.split_once("://").ok_or("not a URL: give redis://host:port or embedded")?;
    match scheme {
        "redis" | "rediss" => {
            let info = server(scheme, rest)?;
            let shown = info.addr().to_string();
            Ok(Address { kind: Kind::Server(Box::new(info)), shown })
        }
        "redis-cluster" => cluster("redis", rest, None),
        "rediss-cluster" => cluster("rediss", rest, Some(TlsMode::Secure)),
        _ => Err("the scheme is none of redis, rediss, redis-cluster and rediss-cluster"),
    }
}

/// Reads what follows `redis://`.
fn server(scheme: &str, rest: &str) -> Result<ConnectionInfo, &'static str> {
    let info = format!("{scheme}://{rest}")
        .into_connection_info()
        .map_err(|_| "not of the form redis://[[user]:password@]host[:port][/database]")?;
    // RESP3 tells the client at once when the connection breaks; RESP2 only with the next command.
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    Ok(info.set_redis_settings(settings))
}

/// Reads what follows `redis-cluster://`: every node gets the user and the password.
fn cluster(scheme: &str, rest: &str, tls: Option<TlsMode>) -> Result<Address, &'static str> {
    const FORM: &str = "not of the form redis-cluster://[[user]:password@]host:port,host:port";
    let (user, hosts) = match rest.rsplit_once('@') {
        Some((user, hosts)) => (format!("{user}@"), hosts),
        None => (String::new(), rest),
    };
    let hosts = hosts.trim_end_matches('/');
    if hosts.contains('/') {
        return Err("a Redis Cluster has no numbered databases: leave the path out");
    }
    if hosts.split(',').count() > CLUSTER_NODES_MAX {
        return Err("more than 64 nodes: name a few, the others are found through them");
    }
    let nodes = hosts
        .split(',')
        .map(|host| server(scheme, &format!("{user}{host}")).map_err(|_| FORM))
        .collect::<Result<_, _>>()?;
    Ok(Address { kind: Kind::Cluster(nodes, tls), shown: hosts.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_forms_are_understood() {
        for (url, shown, password, database) in [
            ("redis://127.0.0.1", "127.0.0.1:6379", None, 0),
            ("redis://:hunter2@store:7000/3", "store:7000", Some("hunter2"), 3),
            ("redis://user:h%40nter2@store", "store:6379", Some("h@nter2"), 0),
            ("rediss://:hunter2@store:7000", "store:7000", Some("hunter2"), 0),
            ("redis-cluster://a:1,b:2", "a:1,b:2", None, 0),
            ("redis-cluster://user:hunter2@a:1,b:2/", "a:1,b:2", Some("hunter2"), 0),
            ("rediss-cluster://:hunter2@a:1", "a:1", Some("hunter2"), 0),
        ] {
            let address = parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
            assert_eq!(address.shown, shown, "{url}");
            let nodes = match address.kind {
                Kind::Server(info) => vec![*info],
                Kind::Cluster(nodes, _) => nodes,
            };
            for node in nodes {
                assert_eq!(node.redis_settings().password(), password, "{url}");
                assert_eq!(node.redis_settings().db(), database, "{url}");
            }
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
        ] {
            let error = parse(url).unwrap_err();
            assert!(!error.contains("hunter2"), "{url}: {error}");
        }
    }
}
