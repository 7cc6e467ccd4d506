//! The one way into the admin listener: every request passes it before it is answered, and every change is logged.
//!
//! | request | admitted |
//! | --- | --- |
//! | GET or HEAD of what load balancers or the try page ask for | always |
//! | any other GET or HEAD, from this host | if `Host` is an address or `localhost` |
//! | the same, from another host or with a `Host` that is a name | with `admin_token`; `/metrics` also with `metrics_token` |
//! | everything else | with `admin_token`, and not from a web page of another origin |
//!
//! A browser reaches this listener for any page, and one whose name resolves to this address (DNS rebinding) counts as of the
//! same origin. Such a page shows itself by `Host`, which is its name. Whatever passed through a proxy comes from another
//! host.

use crate::{access::Access, answer::json, error_body::ErrorBody};
use beckon_listener::port::Peer;
use beckon_ops::{
    clock::Clock,
    log_throttle::{INTERVAL, LogThrottle},
    metrics::Counters,
};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::Bytes,
    header::{AUTHORIZATION, FORWARDED, HOST, HeaderValue, ORIGIN, VIA, WWW_AUTHENTICATE},
};
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder},
    registry::Registry,
};
use std::{
    fmt::{self, Write as _},
    net::{IpAddr, SocketAddr},
};

/// The target of the log lines that say who has changed what.
pub const AUDIT: &str = "beckon_audit";

/// Whether an answer is for whoever asks.
pub(crate) type IsOpen = fn(&str) -> bool;

/// Why a request is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Denial {
    /// It shows no token.
    NoToken,
    /// It shows a token that does not admit to this.
    OtherToken,
    /// It would change something, and there is no token for that.
    NoneSet,
    /// `Host` is a name, which its owner may have pointed to this address.
    Name,
    /// A web page of another origin would change something.
    Page,
}

impl Denial {
    const ALL: [Self; 5] = [Self::NoToken, Self::OtherToken, Self::NoneSet, Self::Name, Self::Page];

    fn reason(self) -> &'static str {
        match self {
            Self::NoToken => "no_token",
            Self::OtherToken => "other_token",
            Self::NoneSet => "none_set",
            Self::Name => "name",
            Self::Page => "page",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::NoToken | Self::OtherToken => StatusCode::UNAUTHORIZED,
            Self::NoneSet | Self::Page => StatusCode::FORBIDDEN,
            Self::Name => StatusCode::MISDIRECTED_REQUEST,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::NoToken => "Show admin_token: Authorization: Bearer TOKEN; see docs/operations.md",
            Self::OtherToken => "This is not an admin_token that is set here",
            Self::NoneSet => "Nothing can be changed here, because admin_token is not set",
            Self::Name => "Ask for an IP address or localhost, or show admin_token",
            Self::Page => "A web page must not do this",
        }
    }
}

impl EncodeLabelValue for Denial {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        encoder.write_str(self.reason())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    reason: Denial,
}

/// Decides on every request to the admin listener.
#[derive(Debug)]
pub struct Guard {
    access: Access,
    clock: Clock,
    denied: Counters<Labels>,
    throttle: LogThrottle<(Denial, Option<IpAddr>)>,
}

/// What a guard needs to know of a request.
#[derive(Debug)]
struct Asked<'a> {
    method: &'a Method,
    path: &'a str,
    headers: &'a HeaderMap,
    peer: Option<SocketAddr>,
}

/// A change that was admitted, for the log.
#[derive(Debug)]
pub(crate) struct Change {
    operator: String,
    peer: Option<SocketAddr>,
    method: Method,
    target: String,
}

impl Change {
    /// Logs what has come of it.
    pub(crate) fn answered(self, status: StatusCode) {
        let Self { operator, peer, method, target } = self;
        let peer = peer.map(|peer| tracing::field::display(peer.ip()));
        let status = status.as_u16();
        tracing::info!(target: AUDIT, operator, peer, %method, path = target, status, "changed by an operator");
    }
}

impl Guard {
    /// A guard that admits whoever has these tokens. `registry` exports what it refuses.
    pub fn new(access: Access, clock: Clock, registry: &mut Registry) -> Self {
        let denied = Counters::new(Denial::ALL.map(|reason| Labels { reason }));
        denied.register(registry, "admin_denied", "Requests that the admin listener has refused, by reason");
        Self { access, clock, denied, throttle: LogThrottle::new(INTERVAL) }
    }

    /// Whether a request is answered; if it may change something, what to log when it is.
    ///
    /// # Errors
    /// The answer to a request that is refused.
    pub(crate) fn admit<B>(
        &self,
        request: &Request<B>,
        is_open: IsOpen,
    ) -> Result<Option<Change>, Box<Response<Bytes>>> {
        let peer = request.extensions().get::<Peer>().map(|Peer(peer)| *peer);
        let (method, path, headers) = (request.method(), request.uri().path(), request.headers());
        let asked = Asked { method, path, headers, peer };
        match check(&self.access, &asked, is_open) {
            Ok(None) => Ok(None),
            Ok(Some(operator)) => {
                let target = request.uri().path_and_query().map_or(path, |target| target.as_str());
                let (operator, target) = (operator.to_owned(), target.to_owned());
                Ok(Some(Change { operator, peer, method: method.clone(), target }))
            }
            Err(denial) => Err(Box::new(self.refuse(denial, &asked))),
        }
    }

    fn refuse(&self, reason: Denial, asked: &Asked<'_>) -> Response<Bytes> {
        self.denied.inc(&Labels { reason });
        let peer = asked.peer.map(|peer| peer.ip());
        if let Some(suppressed) = self.throttle.admit((reason, peer), self.clock.now_ms()) {
            let peer = peer.map(tracing::field::display);
            let (method, path, reason) = (asked.method, asked.path, reason.reason());
            tracing::warn!(target: AUDIT, peer, %method, path, reason, suppressed, "refused on admin_listen");
        }
        let status = reason.status();
        let mut response = json(status, &ErrorBody::new(status, None, reason.text()));
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// Who changes something; `None` for what changes nothing.
fn check<'a>(access: &'a Access, asked: &Asked<'_>, is_open: IsOpen) -> Result<Option<&'a str>, Denial> {
    if *asked.method != Method::GET && *asked.method != Method::HEAD {
        if asked.is_foreign_page() {
            return Err(Denial::Page);
        }
        if access.operators.is_empty() {
            return Err(Denial::NoneSet);
        }
        let token = asked.token().ok_or(Denial::NoToken)?;
        return access.operators.holder(token).map(Some).ok_or(Denial::OtherToken);
    }
    if is_open(asked.path) {
        return Ok(None);
    }
    if let Some(token) = asked.token() {
        let is_metrics = matches!(asked.path, "/metrics" | "/metrics/");
        let is_admitted = access.operators.holder(token).is_some()
            || (is_metrics && access.monitors.holder(token).is_some());
        return if is_admitted { Ok(None) } else { Err(Denial::OtherToken) };
    }
    if !asked.is_from_this_host() {
        return Err(Denial::NoToken);
    }
    if asked.header(HOST).is_some_and(is_address) { Ok(None) } else { Err(Denial::Name) }
}

impl<'a> Asked<'a> {
    fn header(&self, name: hyper::header::HeaderName) -> Option<&'a str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The token of `Authorization: Bearer TOKEN`. Credentials of another kind are a token that admits to nothing.
    fn token(&self) -> Option<&'a str> {
        let value = self.headers.get(AUTHORIZATION)?;
        let (scheme, token) = value.to_str().ok().and_then(|text| text.split_once(' ')).unwrap_or_default();
        Some(if scheme.eq_ignore_ascii_case("bearer") { token.trim() } else { "" })
    }

    fn is_from_this_host(&self) -> bool {
        let is_forwarded = [FORWARDED, VIA].iter().any(|name| self.headers.contains_key(name))
            || self.headers.contains_key("x-forwarded-for");
        self.peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback()) && !is_forwarded
    }

    /// Whether a web page sends this that was not opened at this address. Browsers name the page in `Origin` with everything
    /// but GET and HEAD; other programs do not send it.
    fn is_foreign_page(&self) -> bool {
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
fn is_address(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    host.parse::<SocketAddr>().is_ok()
        || host.parse::<IpAddr>().is_ok()
        || host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).is_some_and(is_ipv6)
        || name.eq_ignore_ascii_case("localhost")
}

fn is_ipv6(text: &str) -> bool {
    text.parse::<std::net::Ipv6Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "Bearer 0123456789abcdef";
    const METRICS: &str = "Bearer metrics-0123456789";

    fn access() -> Access {
        Access {
            operators: "alice:0123456789abcdef".parse().unwrap(),
            monitors: "metrics-0123456789".parse().unwrap(),
        }
    }

    fn checked(
        access: &Access,
        method: &str,
        path: &str,
        peer: &str,
        headers: &[(&str, &str)],
    ) -> Result<Option<String>, Denial> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name.parse::<hyper::header::HeaderName>().unwrap(), value.parse().unwrap());
        }
        let method = method.parse().unwrap();
        let peer = Some(SocketAddr::new(peer.parse().unwrap(), 4711));
        let asked = Asked { method: &method, path, headers: &map, peer };
        check(access, &asked, |path| path == "/live").map(|operator| operator.map(str::to_owned))
    }

    #[test]
    fn reading_needs_a_token_from_elsewhere() {
        let local = ("host", "127.0.0.1:8083");
        let name = ("host", "evil.example:8083");
        for (path, peer, headers, expected) in [
            ("/live", "192.0.2.1", &[name][..], Ok(None)),
            ("/metrics", "127.0.0.1", &[local], Ok(None)),
            ("/metrics", "::1", &[("host", "[::1]:8083")], Ok(None)),
            ("/metrics", "::ffff:127.0.0.1", &[("host", "LocalHost:8083")], Ok(None)),
            ("/metrics", "127.0.0.1", &[name], Err(Denial::Name)),
            ("/metrics", "127.0.0.1", &[], Err(Denial::Name)),
            ("/metrics", "127.0.0.1", &[("host", "localhost.evil.example")], Err(Denial::Name)),
            ("/metrics", "127.0.0.1", &[local, ("x-forwarded-for", "192.0.2.1")], Err(Denial::NoToken)),
            ("/metrics", "127.0.0.1", &[name, ("authorization", TOKEN)], Ok(None)),
            ("/metrics", "192.0.2.1", &[local], Err(Denial::NoToken)),
            ("/metrics", "192.0.2.1", &[name, ("authorization", METRICS)], Ok(None)),
            ("/metrics", "192.0.2.1", &[name, ("authorization", "bearer 0123456789abcdef")], Ok(None)),
            (
                "/metrics",
                "192.0.2.1",
                &[name, ("authorization", "Basic 0123456789abcdef")],
                Err(Denial::OtherToken),
            ),
            ("/realstatus", "192.0.2.1", &[name, ("authorization", METRICS)], Err(Denial::OtherToken)),
            ("/realstatus", "192.0.2.1", &[name, ("authorization", TOKEN)], Ok(None)),
            ("/realstatus", "127.0.0.1", &[local, ("authorization", "Bearer x")], Err(Denial::OtherToken)),
        ] {
            let got = checked(&access(), "GET", path, peer, headers);
            assert_eq!(got, expected, "{path} {peer} {headers:?}");
        }
    }

    #[test]
    fn changing_always_needs_the_token_of_an_operator() {
        let host = ("host", "127.0.0.1:8083");
        let alice = Ok(Some("alice".to_owned()));
        let token = ("authorization", TOKEN);
        for (method, path, peer, headers, expected) in [
            ("POST", "/drain", "127.0.0.1", &[host][..], Err(Denial::NoToken)),
            ("POST", "/live", "127.0.0.1", &[host], Err(Denial::NoToken)),
            ("POST", "/drain", "127.0.0.1", &[host, ("authorization", METRICS)], Err(Denial::OtherToken)),
            ("POST", "/drain", "127.0.0.1", &[host, token], alice.clone()),
            ("DELETE", "/broadcasts/a", "192.0.2.1", &[("host", "node-1:8083"), token], alice.clone()),
            ("PUT", "/x", "::1", &[host, token, ("origin", "http://127.0.0.1:8083")], alice),
            ("PUT", "/x", "::1", &[host, token, ("origin", "null")], Err(Denial::Page)),
            ("PUT", "/x", "::1", &[host, token, ("origin", "http://evil.example")], Err(Denial::Page)),
            (
                "PUT",
                "/x",
                "::1",
                &[("host", "evil.example"), token, ("origin", "http://evil.example")],
                Err(Denial::Page),
            ),
        ] {
            let got = checked(&access(), method, path, peer, headers);
            assert_eq!(got, expected, "{method} {path} {peer} {headers:?}");
        }
        let none = Access::default();
        assert_eq!(checked(&none, "POST", "/drain", "::1", &[host, token]), Err(Denial::NoneSet));
        assert_eq!(checked(&none, "GET", "/metrics", "::1", &[host]), Ok(None));
    }
}
