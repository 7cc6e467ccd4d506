//! What a web page in an operator's browser may do on the admin listener.
//!
//! The listener trusts whoever reaches it, and a browser reaches it for any page. A page of another origin can send a POST,
//! and one whose name resolves to this address (DNS rebinding) counts as of the same origin. Browsers name the page in
//! `Origin` with everything but GET and HEAD; other programs do not send it. So a request that may change something is
//! answered only without `Origin`, or if the page comes from this listener and was opened at an address: a name could be
//! another site's.

use hyper::{Method, Response, StatusCode, body::Bytes};
use std::{
    future,
    net::{IpAddr, SocketAddr},
};
use warp::{Filter, Rejection};

/// The answer to what a foreign page must not do. Everything else is rejected, so that other filters answer it.
pub(crate) fn refusal(
    answer: impl Fn() -> Response<Bytes> + Clone + Send + Sync + 'static,
) -> impl Filter<Extract = (Response<Bytes>,), Error = Rejection, Future: Send> + Clone + Send + Sync + 'static
{
    let headers = warp::header::optional::<String>("origin").and(warp::header::optional::<String>("host"));
    warp::method().and(headers).and_then(
        move |method: Method, origin: Option<String>, host: Option<String>| {
            let is_refused = is_refused(&method, origin.as_deref(), host.as_deref());
            future::ready(if is_refused { Ok(answer()) } else { Err(warp::reject::not_found()) })
        },
    )
}

/// The status of the answer.
pub(crate) const STATUS: StatusCode = StatusCode::FORBIDDEN;

fn is_refused(method: &Method, origin: Option<&str>, host: Option<&str>) -> bool {
    let Some(origin) = origin else { return false };
    let may_change = *method != Method::GET && *method != Method::HEAD;
    may_change && !host.is_some_and(|host| origin.strip_prefix("http://") == Some(host) && is_address(host))
}

/// Whether a `Host` cannot have been resolved to this address by the name server of another site.
fn is_address(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    host.parse::<SocketAddr>().is_ok() || host.parse::<IpAddr>().is_ok() || name == "localhost"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_may_write_only_if_it_is_of_this_address() {
        for (method, origin, host, expected) in [
            ("POST", None, Some("node-1:8083"), false),
            ("GET", Some("http://evil.example:8083"), Some("evil.example:8083"), false),
            ("POST", Some("http://127.0.0.1:8083"), Some("127.0.0.1:8083"), false),
            ("DELETE", Some("http://[::1]:8083"), Some("[::1]:8083"), false),
            ("PUT", Some("http://localhost:8083"), Some("localhost:8083"), false),
            ("POST", Some("http://evil.example"), Some("127.0.0.1:8083"), true),
            ("POST", Some("null"), Some("127.0.0.1:8083"), true),
            ("PUT", Some("http://evil.example:8083"), Some("evil.example:8083"), true),
            ("PUT", Some("http://localhost.evil.example"), Some("localhost.evil.example"), true),
            ("POST", Some("http://127.0.0.1:8083"), None, true),
        ] {
            let method: Method = method.parse().unwrap();
            assert_eq!(is_refused(&method, origin, host), expected, "{method} {origin:?} {host:?}");
        }
    }
}
