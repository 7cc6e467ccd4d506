//! The one way into the admin listener: every request passes it before it is answered, and every change is logged.
//!
//! | request | admitted |
//! | --- | --- |
//! | GET or HEAD of what load balancers or the try page ask for | always |
//! | any other GET or HEAD, from this host | if `Host` is an address or `localhost` |
//! | the same, from another host or with a `Host` that is a name | with `admin_token`; `/metrics` also with `metrics_token` |
//! | `POST /api/session` | if no page of another origin sends it; it shows `admin_token` in its body |
//! | everything else below `/api/` | with `admin_token` or a [session], and not from a page of another origin |
//! | everything else | with `admin_token`, and not from a web page of another origin |
//!
//! Whichever of them shows a token: a source that has shown too many wrong ones is refused before it is compared (`guesses`).
//!
//! A browser reaches this listener for any page, and one whose name resolves to this address (DNS rebinding) counts as of the
//! same origin. Such a page shows itself by `Host`, which is its name. Whatever passed through a proxy comes from another
//! host.

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;

use crate::{
    access::Access,
    answer::json,
    audit::{self, AUDIT, Audit, Entry},
    denial::{Denial, Labels},
    error_body::ErrorBody,
    guesses::{self, Guesses},
    session::{self, Session},
};
use beckon_listener::port::Peer;
use beckon_ops::{
    clock::Clock,
    log_throttle::{INTERVAL, LogThrottle},
    metrics::Counters,
};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::Bytes,
    header::{
        AUTHORIZATION, COOKIE, FORWARDED, HOST, HeaderName, HeaderValue, ORIGIN, RETRY_AFTER, VIA,
        WWW_AUTHENTICATE,
    },
};
use prometheus_client::registry::Registry;
use std::net::{IpAddr, SocketAddr};

/// Where an operator exchanges a token for a session, and ends it.
pub const SESSION_PATH: &str = "/api/session";

/// Whether a browser says that a page of this origin, or the user, sends a request.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whether an answer is for whoever asks.
pub(crate) type IsOpen = fn(&str) -> bool;

/// Decides on every request to the admin listener.
#[derive(Debug)]
pub struct Guard {
    access: Access,
    clock: Clock,
    denied: Counters<Labels>,
    throttle: LogThrottle<(Denial, Option<IpAddr>)>,
    guesses: Guesses,
    audit: Audit,
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

impl Guard {
    /// A guard that admits whoever has these tokens. `registry` exports what it refuses.
    pub fn new(access: Access, clock: Clock, registry: &mut Registry) -> Self {
        let denied = Counters::new(Denial::ALL.map(|reason| Labels { reason }));
        denied.register(registry, "admin_denied", "Requests that the admin listener has refused, by reason");
        let (throttle, guesses) = (LogThrottle::new(INTERVAL), Guesses::default());
        Self { access, clock, denied, throttle, guesses, audit: Audit::default() }
    }

    /// Begins a session for whoever shows this token. Returns it, and the value of `Set-Cookie`.
    ///
    /// # Errors
    /// The answer to a token that is not an operator's, or to one too many.
    pub fn sign_in(
        &self,
        shown: &str,
        headers: &HeaderMap,
        peer: Option<SocketAddr>,
    ) -> Result<(Session, String), Box<Response<Bytes>>> {
        let asked = Asked { method: &Method::POST, path: SESSION_PATH, headers, peer };
        let is_secure = asked.header(ORIGIN).is_some_and(|origin| origin.starts_with("https://"));
        let Access { operators, session, .. } = &self.access;
        let begin = || {
            let begun = session::begin(operators, shown, self.clock.unix_seconds(), *session, is_secure);
            begun.ok_or(Denial::OtherToken)
        };
        let begun =
            self.judge(&asked, shown, begin).map_err(|denial| Box::new(self.refuse(denial, &asked)))?;
        let operator = begun.0.operator.clone();
        let change = Change { operator, peer, method: Method::POST, target: SESSION_PATH.into() };
        self.remember(change, "sign in".into(), StatusCode::OK);
        Ok(begun)
    }

    /// The value of `Set-Cookie` that ends a session in a browser.
    pub fn sign_out(&self) -> String {
        session::end()
    }

    /// The session that a request shows, if it is valid.
    pub fn session(&self, headers: &HeaderMap) -> Option<Session> {
        let asked = Asked { method: &Method::GET, path: SESSION_PATH, headers, peer: None };
        session::verify(&self.access.operators, asked.session()?, self.clock.unix_seconds())
    }

    /// The last changes that operators have made through this guard, oldest first.
    pub fn audit(&self) -> Vec<Entry> {
        self.audit.entries()
    }

    /// Logs and remembers what has come of a change.
    pub(crate) fn answered<B>(&self, change: Change, response: &Response<B>) {
        let what = audit::description(response);
        let what = what.unwrap_or_else(|| format!("{} {}", change.method, change.target));
        self.remember(change, what, response.status());
    }

    fn remember(&self, change: Change, what: String, status: StatusCode) {
        let Change { operator, peer, method, target } = change;
        let (from, code) = (peer.map(|peer| tracing::field::display(peer.ip())), status.as_u16());
        tracing::info!(
            target: AUDIT,
            operator,
            peer = from,
            %method,
            path = target,
            change = what,
            status = code,
            "changed by an operator"
        );
        self.audit.add(Entry { at_ms: self.clock.unix_ms(), operator, peer, change: what, status });
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
        let check = || check(&self.access, &asked, self.clock.unix_seconds(), is_open);
        let checked = match asked.token().filter(|_| !asked.is_for_everybody(is_open)) {
            Some(token) => self.judge(&asked, token, check),
            None => check(),
        };
        match checked {
            Ok(None) => Ok(None),
            Ok(Some(operator)) => {
                let target = request.uri().path_and_query().map_or(path, |target| target.as_str()).to_owned();
                Ok(Some(Change { operator, peer, method: method.clone(), target }))
            }
            Err(denial) => Err(Box::new(self.refuse(denial, &asked))),
        }
    }

    /// Has a token compared, unless too many wrong ones came from where the request comes from.
    fn judge<T>(
        &self,
        asked: &Asked<'_>,
        token: &str,
        compare: impl FnOnce() -> Result<T, Denial>,
    ) -> Result<T, Denial> {
        self.guesses.judge(asked.peer.map(|peer| peer.ip()), token, self.clock.now_us(), compare)
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
        if reason == Denial::Guesses {
            response.headers_mut().insert(RETRY_AFTER, guesses::RETRY_AFTER_S.into());
        }
        response
    }
}

/// Who changes something; `None` for what changes nothing.
fn check(access: &Access, asked: &Asked<'_>, now_s: u64, is_open: IsOpen) -> Result<Option<String>, Denial> {
    if asked.path.starts_with(session::PATHS) {
        return check_api(access, asked, now_s);
    }
    if !asked.is_read() {
        if asked.is_foreign_page() {
            return Err(Denial::Page);
        }
        if access.operators.is_empty() {
            return Err(Denial::NoneSet);
        }
        let token = asked.token().ok_or(Denial::NoToken)?;
        let holder = access.operators.holder(token).ok_or(Denial::OtherToken)?;
        return Ok(Some(holder.to_owned()));
    }
    if asked.is_for_everybody(is_open) {
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

/// As [`check`], for what the dashboard and scripts ask. Reading needs an operator as well, wherever it comes from.
fn check_api(access: &Access, asked: &Asked<'_>, now_s: u64) -> Result<Option<String>, Denial> {
    if asked.is_sent_by_another_page() {
        return Err(Denial::Page);
    }
    if access.operators.is_empty() {
        return Err(Denial::NoneSet);
    }
    if asked.path == SESSION_PATH && *asked.method == Method::POST {
        return Ok(None);
    }
    let operator = if let Some(token) = asked.token() {
        access.operators.holder(token).ok_or(Denial::OtherToken)?.to_owned()
    } else {
        let session = asked.session().ok_or(Denial::NoToken)?;
        // A browser names the page with every change, so a change without an origin is not the page's.
        if !asked.is_read() && !asked.headers.contains_key(ORIGIN) {
            return Err(Denial::Page);
        }
        session::verify(&access.operators, session, now_s).ok_or(Denial::Session)?.operator
    };
    Ok((!asked.is_read()).then_some(operator))
}

impl<'a> Asked<'a> {
    fn header(&self, name: HeaderName) -> Option<&'a str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Whether it changes nothing.
    fn is_read(&self) -> bool {
        *self.method == Method::GET || *self.method == Method::HEAD
    }

    /// Whether it is answered without a look at who asks.
    fn is_for_everybody(&self, is_open: IsOpen) -> bool {
        self.is_read() && is_open(self.path)
    }

    /// The token of `Authorization: Bearer TOKEN`. Credentials of another kind are a token that admits to nothing.
    fn token(&self) -> Option<&'a str> {
        let value = self.headers.get(AUTHORIZATION)?;
        let (scheme, token) = value.to_str().ok().and_then(|text| text.split_once(' ')).unwrap_or_default();
        Some(if scheme.eq_ignore_ascii_case("bearer") { token.trim() } else { "" })
    }

    /// What the browser keeps for the dashboard.
    fn session(&self) -> Option<&'a str> {
        self.headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .find_map(session::in_cookies)
    }

    /// Whether a browser says that a page sends this that was not opened at this host, by whatever name: the page has no
    /// session of its own, because browsers keep those by host.
    fn is_sent_by_another_page(&self) -> bool {
        let is_other_site =
            self.header(FETCH_SITE).is_some_and(|site| !matches!(site, "same-origin" | "none"));
        let Some(origin) = self.headers.get(ORIGIN) else { return is_other_site };
        let authority = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        is_other_site || authority.map(|(_, authority)| authority) != self.header(HOST)
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
    use std::time::Duration;

    const TOKEN: &str = "Bearer 0123456789abcdef";
    const METRICS: &str = "Bearer metrics-0123456789";
    const NOW: u64 = 1_800_000_000;

    fn access() -> Access {
        Access {
            operators: "alice:0123456789abcdef".parse().unwrap(),
            monitors: "metrics-0123456789".parse().unwrap(),
            session: Duration::from_secs(3600),
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
            map.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        let method = method.parse().unwrap();
        let peer = Some(SocketAddr::new(peer.parse().unwrap(), 4711));
        let asked = Asked { method: &method, path, headers: &map, peer };
        check(access, &asked, NOW, |path| path == "/live")
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

    #[test]
    fn the_api_is_for_operators_and_their_own_page() {
        let host = ("host", "node-1.example:8083");
        let own = ("origin", "http://node-1.example:8083");
        let evil = ("origin", "http://evil.example");
        let token = ("authorization", TOKEN);
        let hour = Duration::from_secs(3600);
        let begun = session::begin(&access().operators, "0123456789abcdef", NOW, hour, false).unwrap().1;
        let cookie = begun.split(';').next().unwrap().to_owned();
        let late =
            session::begin(&access().operators, "0123456789abcdef", NOW - 3600, hour, false).unwrap().1;
        let late = late.split(';').next().unwrap().to_owned();
        let (session, ended) = (("cookie", &*cookie), ("cookie", &*late));
        let alice = Ok(Some("alice".to_owned()));
        for (method, path, headers, expected) in [
            ("GET", "/api/cluster", &[("host", "127.0.0.1:8083")][..], Err(Denial::NoToken)),
            ("GET", "/api/cluster", &[host, token], Ok(None)),
            ("GET", "/api/cluster", &[host, ("authorization", METRICS)], Err(Denial::OtherToken)),
            ("GET", "/api/cluster", &[host, session], Ok(None)),
            ("GET", "/api/cluster", &[host, ended], Err(Denial::Session)),
            ("GET", "/api/cluster", &[host, session, own], Ok(None)),
            ("GET", "/api/cluster", &[host, session, evil], Err(Denial::Page)),
            ("GET", "/api/cluster", &[host, session, ("sec-fetch-site", "same-site")], Err(Denial::Page)),
            ("GET", "/api/cluster", &[host, session, ("sec-fetch-site", "same-origin")], Ok(None)),
            ("POST", "/api/node/drain", &[host, session, own], alice.clone()),
            ("POST", "/api/node/drain", &[host, session], Err(Denial::Page)),
            ("POST", "/api/node/drain", &[host, session, evil], Err(Denial::Page)),
            ("POST", "/api/node/drain", &[host, session, ("origin", "null")], Err(Denial::Page)),
            ("POST", "/api/node/drain", &[host, ended, own], Err(Denial::Session)),
            ("POST", "/api/node/drain", &[host, own], Err(Denial::NoToken)),
            ("POST", "/api/node/drain", &[host, token], alice.clone()),
            ("POST", "/api/session", &[host, own], Ok(None)),
            ("POST", "/api/session", &[host], Ok(None)),
            ("POST", "/api/session", &[host, evil], Err(Denial::Page)),
            ("DELETE", "/api/session", &[host, session, own], alice),
            // A session opens nothing but the API.
            ("POST", "/drain", &[("host", "127.0.0.1:8083"), session], Err(Denial::NoToken)),
        ] {
            let got = checked(&access(), method, path, "127.0.0.1", headers);
            assert_eq!(got, expected, "{method} {path} {headers:?}");
        }
        let none = Access::default();
        assert_eq!(checked(&none, "GET", "/api/cluster", "::1", &[host]), Err(Denial::NoneSet));
        assert_eq!(checked(&none, "POST", "/api/session", "::1", &[host]), Err(Denial::NoneSet));
    }
}
