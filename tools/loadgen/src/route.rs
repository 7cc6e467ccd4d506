//! Where to connect to, and from which addresses.

use std::{
    net::{Ipv4Addr, SocketAddr, ToSocketAddrs as _},
    str::FromStr,
};

/// A server, as its URL names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// The first address that its name has.
    pub address: SocketAddr,
    /// `host:port`, for the `Host` header.
    pub authority: String,
    /// The path, for WebSockets.
    pub path: String,
    /// Whether the URL wants TLS.
    pub has_tls: bool,
}

/// Splits a URL of this scheme into authority and path.
pub fn split<'a>(url: &'a str, scheme: &str) -> Option<(&'a str, &'a str)> {
    let rest = url.strip_prefix(scheme)?.strip_prefix("://")?;
    let path_at = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(path_at);
    (!authority.is_empty()).then_some((authority, path))
}

impl Server {
    /// The server of a `ws` or `wss` URL.
    ///
    /// # Errors
    /// It is none, or its host has no address.
    pub fn of_ws_url(url: &str) -> Result<Self, String> {
        Self::of_url(url, "ws")
    }

    /// The server of an `http` or `https` URL.
    ///
    /// # Errors
    /// It is none, or its host has no address.
    pub fn of_http_url(url: &str) -> Result<Self, String> {
        Self::of_url(url, "http")
    }

    fn of_url(url: &str, scheme: &str) -> Result<Self, String> {
        let secure = format!("{scheme}s");
        let has_tls = split(url, &secure).is_some();
        let parts = split(url, if has_tls { &secure } else { scheme });
        let (authority, path) = parts.ok_or_else(|| format!("`{url}` is not a {scheme} or {secure} URL"))?;
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let target = if has_port {
            authority.to_owned()
        } else {
            format!("{authority}:{}", if has_tls { 443 } else { 80 })
        };
        let mut addresses = target.to_socket_addrs().map_err(|error| format!("`{authority}`: {error}"))?;
        let address = addresses.next().ok_or_else(|| format!("`{authority}` has no address"))?;
        let path = if path.is_empty() { "/" } else { path };
        Ok(Self { address, authority: authority.to_owned(), path: path.to_owned(), has_tls })
    }
}

/// `127.1.0.1` or `127.1.0.1-127.1.0.16`: addresses of this machine to connect from. One gives some 28 000
/// connections, as many as there are ports for them (`net.ipv4.ip_local_port_range`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sources {
    first: u32,
    last: u32,
}

impl FromStr for Sources {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address = |text: &str| {
            let address: Result<Ipv4Addr, _> = text.trim().parse();
            address.map(u32::from).map_err(|_| format!("`{text}` is no IPv4 address"))
        };
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let sources = Self { first: address(first)?, last: address(last)? };
        if sources.first > sources.last {
            return Err(format!("`{text}` ends before it begins"));
        }
        Ok(sources)
    }
}

impl Sources {
    /// The address for the client of this number: each in turn.
    pub fn of(self, number: usize) -> Ipv4Addr {
        let count = u64::from(self.last - self.first) + 1;
        Ipv4Addr::from(self.first + (number as u64 % count) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let server = Server::of_ws_url("ws://127.0.0.1:8080/push").unwrap();
        assert_eq!(server.address, "127.0.0.1:8080".parse().unwrap());
        assert_eq!((server.authority.as_str(), server.path.as_str()), ("127.0.0.1:8080", "/push"));
        let server = Server::of_http_url("http://127.0.0.1").unwrap();
        assert_eq!((server.address.port(), server.path.as_str()), (80, "/"));
        let server = Server::of_ws_url("wss://127.0.0.1/").unwrap();
        assert_eq!((server.address.port(), server.has_tls), (443, true));
        assert!(Server::of_ws_url("https://127.0.0.1/").is_err());
        assert!(Server::of_ws_url("ws:///").is_err());
    }

    #[test]
    fn sources_are_taken_in_turn() {
        let sources: Sources = "127.1.0.254-127.1.1.1".parse().unwrap();
        let taken: Vec<String> = (0..5).map(|number| sources.of(number).to_string()).collect();
        assert_eq!(taken, ["127.1.0.254", "127.1.0.255", "127.1.1.0", "127.1.1.1", "127.1.0.254"]);
        assert_eq!("127.0.0.9".parse::<Sources>().unwrap().of(7), Ipv4Addr::new(127, 0, 0, 9));
        assert!("127.0.0.9-127.0.0.8".parse::<Sources>().is_err());
        assert!("localhost".parse::<Sources>().is_err());
    }
}
