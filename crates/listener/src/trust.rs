//! Whose word counts, and who is limited.

use crate::{
    settings::Current,
    source::{Source, is_private},
};
use hyper::HeaderMap;
use std::{
    net::IpAddr,
    sync::atomic::{AtomicBool, Ordering},
};

/// How many times the limits of a source a shared one has.
const SHARED_FACTOR: u32 = 100;

/// The settings, and whether their operator has been warned.
#[derive(Debug)]
pub struct Trust {
    /// `None`: no proxy is trusted, and no source is limited.
    settings: Option<Current>,
    has_warned: AtomicBool,
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// The address, as far as it is known.
    address: IpAddr,
    /// Whether that is the address of a trusted proxy, so that the headers of each request say more.
    is_proxy: bool,
}

impl Trust {
    /// What the operator has set.
    pub(crate) fn new(settings: Current) -> Self {
        Self { settings: Some(settings), has_warned: AtomicBool::new(false) }
    }

    /// For a port without limits by source.
    pub fn none() -> Self {
        Self { settings: None, has_warned: AtomicBool::new(false) }
    }

    fn is_proxy(&self, address: IpAddr) -> bool {
        self.settings.as_ref().is_some_and(|settings| settings.load().trusted_proxies.contains(address))
    }

    /// The other end of a connection from this address.
    pub fn client(&self, address: IpAddr) -> Client {
        let address = address.to_canonical();
        Client { address, is_proxy: self.is_proxy(address) }
    }

    /// From whom a request is that has come in on a connection of this client. `None`: it is not limited.
    pub fn source(&self, client: Client, headers: &HeaderMap) -> Option<Source> {
        if !client.is_proxy {
            return self.limited(client.address);
        }
        let header = self.settings.as_ref()?.load().forwarded_header;
        let client = header.addresses(headers).find(|address| !self.is_proxy(*address))?;
        self.limited(client)
    }

    /// From whom a connection is, before a request says more. `None`: it is not limited.
    pub fn connection_source(&self, client: Client) -> Option<Source> {
        if client.is_proxy { None } else { self.limited(client.address) }
    }

    /// The source of an address, if it is limited.
    fn limited(&self, address: IpAddr) -> Option<Source> {
        if !self.settings.as_ref()?.load().limit_private_sources && is_private(address) {
            if !self.has_warned.swap(true, Ordering::Relaxed) {
                warn_of_private(address);
            }
            return None;
        }
        Source::of(address)
    }

    /// How many times the limits of one client this source has.
    pub fn factor(&self, source: Source) -> u32 {
        let is_shared = |settings: &Current| settings.load().shared_sources.contains(source.address());
        if self.settings.as_ref().is_some_and(is_shared) { SHARED_FACTOR } else { 1 }
    }
}

/// A proxy that the operator has forgotten looks like this, and so does a machine of one user.
fn warn_of_private(address: IpAddr) {
    let message =
        "a private address is not in trusted_proxies; limits by source do not apply to such addresses";
    if address.is_loopback() {
        tracing::info!(%address, message);
    } else {
        tracing::warn!(%address, message);
    }
}

impl Client {
    /// The address, as far as it is known.
    pub(crate) fn address(self) -> IpAddr {
        self.address
    }

    /// Whether this is a trusted proxy.
    pub fn is_proxy(self) -> bool {
        self.is_proxy
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::PortSettings;
    use beckon_ops::config::Source as Config;

    fn trust(variables: &[(&str, &str)]) -> Trust {
        let mut source = Config::new(std::iter::empty::<&str>(), variables.iter().copied());
        let settings = PortSettings::read(&mut source);
        Trust::new(Current::new(source.finish(settings).unwrap()))
    }

    fn source(trust: &Trust, peer: &str, forwarded: &'static str) -> Option<String> {
        let mut headers = HeaderMap::new();
        if !forwarded.is_empty() {
            headers.insert("x-forwarded-for", forwarded.parse().unwrap());
        }
        trust.source(trust.client(peer.parse().unwrap()), &headers).map(|source| source.to_string())
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        let trust = trust(&[("BECKON_TRUSTED_PROXIES", "10.0.0.0/8")]);
        for (peer, forwarded, expected) in [
            ("192.0.2.1", "", Some("192.0.2.1")),
            ("192.0.2.1", "198.51.100.1", Some("192.0.2.1")),
            ("10.0.0.1", "198.51.100.1", Some("198.51.100.1")),
            ("10.0.0.1", "203.0.113.5, 198.51.100.1, 10.0.0.2", Some("198.51.100.1")),
            ("10.0.0.1", "", None),
            ("10.0.0.1", "unknown", None),
            ("192.168.0.1", "198.51.100.1", None),
            ("10.0.0.1", "192.168.7.7", None),
        ] {
            assert_eq!(source(&trust, peer, forwarded).as_deref(), expected, "{peer} {forwarded}");
        }
    }

    #[test]
    fn private_sources_are_limited_if_the_operator_says_so() {
        let trust =
            trust(&[("BECKON_LIMIT_PRIVATE_SOURCES", "true"), ("BECKON_SHARED_SOURCES", "127.0.0.9")]);
        let peer = |text: &str| source(&trust, text, "");
        assert_eq!(peer("127.0.0.2").as_deref(), Some("127.0.0.2"));
        let factor = |text: &str| trust.factor(Source::of(text.parse().unwrap()).unwrap());
        assert_eq!((factor("127.0.0.2"), factor("127.0.0.9")), (1, SHARED_FACTOR));
    }
}
