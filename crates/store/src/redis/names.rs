//! Servers that have several names: a host name and an IP address, as while the Sentinels are told to announce host names, one
//! after the other.

use super::address::Node;
use futures_util::future::join_all;
use std::{collections::HashSet, net::SocketAddr, time::Duration};
use tokio::{net::lookup_host, time::timeout};

/// A name whose addresses are not found within this time is the name of no other server.
const LOOKUP_TIME: Duration = Duration::from_secs(1);

/// A server.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Server {
    /// By which it is named. The first is the name by which it was connected to, if it was.
    pub(super) names: Vec<Node>,
    /// How often it is named.
    pub(super) votes: usize,
}

/// The servers that are named, the one that is named most first. Nothing is looked up as long as all use the same name, the
/// one of `before`.
pub(super) async fn by_server(named: Vec<Node>, before: Option<&Node>) -> Vec<Server> {
    let names: HashSet<&Node> = named.iter().chain(before).collect();
    let mut servers: Vec<Server> = Vec::new();
    if names.len() <= 1 {
        servers.extend(named.first().map(|name| Server { names: vec![name.clone()], votes: named.len() }));
        return servers;
    }
    let found = join_all(names.into_iter().map(async |name| (name, addresses(name).await))).await;
    let is_same = |one: &Node, other: &Node| {
        let of = |name| found.iter().find(|(known, _)| *known == name).map(|(_, addresses)| addresses);
        one == other || of(one).zip(of(other)).is_some_and(|(some, others)| !some.is_disjoint(others))
    };
    for name in &named {
        match servers.iter_mut().find(|server| is_same(&server.names[0], name)) {
            Some(server) => {
                server.votes += 1;
                if !server.names.contains(name) {
                    server.names.push(name.clone());
                }
            }
            None => servers.push(Server { names: vec![name.clone()], votes: 1 }),
        }
    }
    for server in &mut servers {
        if let Some(before) = before.filter(|before| is_same(&server.names[0], before)) {
            server.names.retain(|name| name != before);
            server.names.insert(0, before.clone());
        }
    }
    servers.sort_by_key(|server| std::cmp::Reverse(server.votes));
    servers
}

async fn addresses(name: &Node) -> HashSet<SocketAddr> {
    match timeout(LOOKUP_TIME, lookup_host((name.host.as_str(), name.port))).await {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(_)) | Err(_) => HashSet::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_host_name_and_its_address_are_names_of_one_server() {
        let node = |host: &str, port| Node { host: host.into(), port };
        let (name, address) = (node("localhost", 1), node("127.0.0.1", 1));
        let (other, lost) = (node("127.0.0.1", 2), node("host.invalid", 1));
        let server =
            |names: &[&Node], votes| Server { names: names.iter().copied().cloned().collect(), votes };
        for (named, before, servers) in [
            (vec![], Some(&name), vec![]),
            (vec![&name, &name], None, vec![server(&[&name], 2)]),
            (vec![&name, &address], None, vec![server(&[&name, &address], 2)]),
            (vec![&name, &address], Some(&address), vec![server(&[&address, &name], 2)]),
            (vec![&address], Some(&name), vec![server(&[&name, &address], 1)]),
            (vec![&other, &name, &address], None, vec![server(&[&name, &address], 2), server(&[&other], 1)]),
            (vec![&address], Some(&other), vec![server(&[&address], 1)]),
            (vec![&address, &lost], None, vec![server(&[&address], 1), server(&[&lost], 1)]),
        ] {
            let owned = named.into_iter().cloned().collect();
            assert_eq!(by_server(owned, before).await, servers);
        }
    }
}
