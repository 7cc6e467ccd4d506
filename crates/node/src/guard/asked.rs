//! What a guard needs to know of a request.

use crate::{access::Tokens, guesses::Shown, session};
use hyper::{
    HeaderMap, Method,
    header::{AUTHORIZATION, COOKIE, FORWARDED, HOST, HeaderName, ORIGIN, VIA},
};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Where an operator exchanges a token for a session, and ends it.
pub const SESSION_PATH: &str = "/api/session";

/// Whether a browser says that a page of this origin, or the user, sends a request.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whether an answer is for whoever asks.
pub(super) type IsOpen = fn(&str) -> bool;

/// A request.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub(super) method: &'a Method,
    pub(super) path: &'a str,
    pub(super) headers: &'a HeaderMap,
    pub(super) peer: Option<SocketAddr>,
}

impl<'a> Asked<'a> {
    pub(super) fn header(&self, name: HeaderName) -> Option<&'a str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Whether it changes nothing.
    pub(super) fn is_read(&self) -> bool {
        *self.method == Method::GET || *self.method == Method::HEAD
    }

    /// Whether its body shows a token, which is compared when it has come in.
    pub(super) fn is_sign_in(&self) -> bool {
        self.path == SESSION_PATH && *self.method == Method::POST
    }

    /// What is compared to decide about it.
    pub(super) fn shown(&self, operators: &Tokens, now_s: u64) -> Option<Shown<'a>> {
        let is_of_session = self.path.starts_with(session::PATHS) && !self.is_sign_in();
        let is_compared =
            |session: &&str| is_of_session && session::depends_on_token(operators, session, now_s);
        let session = || self.session().filter(is_compared).map(Shown::Session);
        self.token().map(Shown::Token).or_else(session)
    }

    /// Whether it is answered without a look at who asks.
    pub(super) fn is_for_everybody(&self, is_open: IsOpen) -> bool {
        self.is_read() && is_open(self.path)
    }

    /// The token of `Authorization: Bearer TOKEN`. Credentials of another kind are a token that admits to nothing.
    pub(super) fn token(&self) -> Option<&'a str> {
        let value = self.headers.get(AUTHORIZATION)?;
        let (scheme, token) = value.to_str().ok().and_then(|text| text.split_once(' ')).unwrap_or_default();
        Some(if scheme.eq_ignore_ascii_case("bearer") { token.trim() } else { "" })
    }

    /// What the browser keeps for the dashboard.
    pub(super) fn session(&self) -> Option<&'a str> {
        self.headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .find_map(session::in_cookies)
    }

    /// Whether a browser says that a page sends this that was not opened at this host, by whatever name: the page has no
    /// session of its own, because browsers keep those by host.
    pub(super) fn is_sent_by_another_page(&self) -> bool {
        let is_other_site =
            self.header(FETCH_SITE).is_some_and(|site| !matches!(site, "same-origin" | "none"));
        let Some(origin) = self.headers.get(ORIGIN) else { return is_other_site };
        let authority = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        is_other_site || authority.map(|(_, authority)| authority) != self.header(HOST)
    }

    pub(super) fn is_from_this_host(&self) -> bool {
        let is_forwarded = [FORWARDED, VIA].iter().any(|name| self.headers.contains_key(name))
            || self.headers.contains_key("x-forwarded-for");
        self.peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback()) && !is_forwarded
    }

    /// Whether a web page sends this that was not opened at this address. Browsers name the page in `Origin` with everything
    /// but GET and HEAD; other programs do not send it.
    pub(super) fn is_foreign_page(&self) -> bool {
        let Some(origin) = self.headers.get(ORIGIN) else { return false };
        let host = self.header(HOST);
        let is_own = |host: &str| {
            origin.to_str().ok().and_then(|origin| origin.strip_prefix("http://")) == Some(host)
                && is_address(host)
        };
        !host.is_some_and(is_own)
    }
}

/// Whether a `Host` is not a name that its owner may have pointed to this address.
pub(super) fn is_address(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    host.parse::<SocketAddr>().is_ok()
        || host.parse::<IpAddr>().is_ok()
        || host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).is_some_and(is_ipv6)
        || name.eq_ignore_ascii_case("localhost")
}

fn is_ipv6(text: &str) -> bool {
    text.parse::<Ipv6Addr>().is_ok()
}
