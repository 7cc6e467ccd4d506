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
//! Whichever of them shows a token or a session: a source that has shown too many wrong ones is refused before it is compared
//! (`guesses`).
//!
//! A browser reaches this listener for any page, and one whose name resolves to this address (DNS rebinding) counts as of the
//! same origin. Such a page shows itself by `Host`, which is its name. Whatever passed through a proxy comes from another
//! host.

mod asked;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;

pub use asked::SESSION_PATH;

use crate::{
    access::Access,
    answer::json,
    audit::{self, AUDIT, Audit, Entry},
    denial::{Denial, Labels},
    error_body::ErrorBody,
    guesses::{self, Guesses, Shown},
    session::{self, Session},
};
use asked::{Asked, IsOpen, is_address};
use beckon_listener::port::Peer;
use beckon_ops::{
    clock::Clock,
    log_throttle::{INTERVAL, LogThrottle},
    metrics::Counters,
};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::Bytes,
    header::{HOST, HeaderValue, ORIGIN, RETRY_AFTER, WWW_AUTHENTICATE},
};
use prometheus_client::registry::Registry;
use std::net::{IpAddr, SocketAddr};

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
        let begun = self
            .judge(&asked, Shown::Token(shown), begin)
            .map_err(|denial| Box::new(self.refuse(denial, &asked)))?;
        self.guesses.begun(peer.map(|peer| peer.ip()), session::in_cookies(&begun.1).unwrap_or_default());
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
        let now_s = self.clock.unix_seconds();
        let check = || check(&self.access, &asked, now_s, is_open);
        let shown = asked.shown(&self.access.operators, now_s);
        let checked = match shown.filter(|_| !asked.is_for_everybody(is_open)) {
            Some(shown) => self.judge(&asked, shown, check),
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

    /// Has something compared, unless too much that was wrong came from where the request comes from.
    fn judge<T>(
        &self,
        asked: &Asked<'_>,
        shown: Shown<'_>,
        compare: impl FnOnce() -> Result<T, Denial>,
    ) -> Result<T, Denial> {
        self.guesses.judge(asked.peer.map(|peer| peer.ip()), shown, self.clock.now_us(), compare)
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
    if asked.is_sign_in() {
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

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::{COOKIE, HeaderName};
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

    /// What a browser at this address shows, which is answered so.
    fn answered_to(guard: &Guard, peer: &str, cookie: &str) -> StatusCode {
        let peer = Peer(SocketAddr::new(peer.parse().unwrap(), 4711));
        let request = Request::get("/api/cluster").header(COOKIE, cookie).extension(peer).body(()).unwrap();
        guard.admit(&request, |_| false).map_or_else(|refused| refused.status(), |_| StatusCode::OK)
    }

    /// The cookie of a session that Alice began with this token, so many seconds ago.
    fn begun(secret: &str, ago_s: u64) -> String {
        let (operators, begun_s) =
            (format!("alice:{secret}").parse().unwrap(), Clock::start().unix_seconds() - ago_s);
        session::begin(&operators, secret, begun_s, Duration::from_secs(3600), false).unwrap().1
    }

    fn guard() -> Guard {
        Guard::new(access(), Clock::start(), &mut Registry::default())
    }

    #[test]
    fn a_session_that_is_signed_with_a_guess_is_a_guess() {
        let (guard, own) = (guard(), begun("0123456789abcdef", 0));
        let (operator, other) = ("192.0.2.1", "192.0.2.2");
        assert_eq!(answered_to(&guard, operator, &own), StatusCode::OK);
        for peer in [operator, other] {
            for number in 0..30 {
                let guessed = begun(&format!("a-guess-at-the-token-{number}"), 0);
                let expected =
                    if number < 10 { StatusCode::UNAUTHORIZED } else { StatusCode::TOO_MANY_REQUESTS };
                assert_eq!(answered_to(&guard, peer, &guessed), expected, "{peer} {number}");
            }
        }
        assert_eq!(answered_to(&guard, operator, &own), StatusCode::OK, "it was seen to be right before");
        let refused = answered_to(&guard, other, &own);
        assert_eq!(refused, StatusCode::TOO_MANY_REQUESTS, "or trying on would pay");
        assert_eq!(answered_to(&guard, "192.0.2.3", &own), StatusCode::OK, "another source");
    }

    /// No token decides about them, so they say nothing about one.
    #[test]
    fn sessions_that_have_ended_do_not_count() {
        let (guard, peer) = (guard(), "192.0.2.1");
        let nobodys = |number: u64| format!("beckon_session={}.AAAA.bob", u64::MAX - number);
        for number in 0..30 {
            for cookie in [begun("0123456789abcdef", 3600 + number), nobodys(number)] {
                assert_eq!(answered_to(&guard, peer, &cookie), StatusCode::UNAUTHORIZED, "{number}");
            }
        }
        assert_eq!(answered_to(&guard, peer, &begun("0123456789abcdef", 0)), StatusCode::OK);
        for number in 0..20 {
            let _ = answered_to(&guard, peer, &begun(&format!("a-guess-at-the-token-{number}"), 0));
        }
        let ended = answered_to(&guard, peer, &begun("0123456789abcdef", 3600));
        assert_eq!(ended, StatusCode::UNAUTHORIZED, "so that the page asks for a token");
    }

    /// Many operators are behind one address, and their pages show a session of last year's token every two seconds.
    #[test]
    fn whoever_has_a_session_of_a_token_that_was_replaced_can_sign_in() {
        let (guard, peer) = (guard(), "192.0.2.1");
        for _ in 0..30 {
            let old = begun("the-token-of-last-year", 0);
            assert_eq!(answered_to(&guard, peer, &old), StatusCode::UNAUTHORIZED, "one page does not guess");
        }
        for number in 0..300 {
            let _ = answered_to(&guard, peer, &begun("the-token-of-last-year", number));
        }
        let from = Some(SocketAddr::new(peer.parse().unwrap(), 4711));
        for _ in 0..30 {
            let (_, cookie) = guard.sign_in("0123456789abcdef", &HeaderMap::new(), from).unwrap();
            assert_eq!(answered_to(&guard, peer, &cookie), StatusCode::OK);
        }
    }
}
