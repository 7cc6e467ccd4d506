//! Fuzz target for requests to the admin listener.

use super::{Asked, check};
use crate::{access::Access, session};
use hyper::{
    HeaderMap, Method,
    header::{HeaderName, HeaderValue},
};
use std::{net::SocketAddr, sync::LazyLock, time::Duration};

/// The Unix time at which requests come in.
const NOW_S: u64 = 1_800_000_000;

const HOUR: Duration = Duration::from_secs(3600);

const TOKEN: &str = "0123456789abcdef";
const METRICS_TOKEN: &str = "metrics-0123456789";

/// Most fields of a request.
const FIELDS_MAX: usize = 64;

/// What a request shows is written as `@` and a letter.
struct Shown {
    letter: u8,
    text: String,
}

static ACCESS: LazyLock<Access> = LazyLock::new(|| Access {
    operators: format!("alice:{TOKEN}").parse().expect("a token"),
    monitors: METRICS_TOKEN.parse().expect("a token"),
    session: HOUR,
});

static SHOWN: LazyLock<[Shown; 4]> = LazyLock::new(|| {
    let session = |since_s| {
        let (_, cookie) =
            session::begin(&ACCESS.operators, TOKEN, since_s, HOUR, false).expect("alice has this token");
        session::in_cookies(&cookie).expect("a session").to_owned()
    };
    [
        Shown { letter: b't', text: TOKEN.into() },
        Shown { letter: b'm', text: METRICS_TOKEN.into() },
        Shown { letter: b's', text: session(NOW_S) },
        Shown { letter: b'x', text: session(NOW_S - 3600) },
    ]
});

/// A request: a line with its method, its path, and another word if it comes from another host; then lines of a name, a colon
/// and a value, in which `@t` is the token of an operator, `@m` that of a monitor, `@s` a session, and `@x` one that has ended.
///
/// Nothing is changed, and nothing of the API is read, without a token or a session; and other hosts read nothing without a
/// token, except for what is open.
pub fn admin_requests(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let Ok(start) = str::from_utf8(lines.next().unwrap_or_default()) else { return };
    let mut words = start.split(' ');
    let Ok(method) = Method::from_bytes(words.next().unwrap_or_default().as_bytes()) else { return };
    let path = words.next().unwrap_or_default();
    let is_local = words.next().is_none();
    let peer = SocketAddr::from((if is_local { [127, 0, 0, 1] } else { [192, 0, 2, 1] }, 4711));
    let mut headers = HeaderMap::new();
    for line in lines.take(FIELDS_MAX) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(&with_shown(line[colon + 1..].trim_ascii()));
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    let shows = |letter| data.windows(2).any(|pair| pair == [b'@', letter]);
    let asked = Asked { method: &method, path, headers: &headers, peer: Some(peer) };
    let is_open = |path: &str| path == "/live";
    let is_api = path.starts_with(session::PATHS);
    match check(&ACCESS, &asked, NOW_S, is_open) {
        Err(_) => {}
        Ok(Some(operator)) => {
            assert_eq!(operator, "alice");
            assert!(shows(b't') || (is_api && shows(b's')), "{asked:?}");
        }
        // It shows its token in its body.
        Ok(None) if path == super::SESSION_PATH && method == Method::POST => {}
        Ok(None) => {
            assert!(method == Method::GET || method == Method::HEAD, "{asked:?}");
            let is_monitor = path.starts_with("/metrics") && shows(b'm');
            let is_admitted = if is_api {
                shows(b't') || shows(b's')
            } else {
                is_local || is_open(path) || shows(b't') || is_monitor
            };
            assert!(is_admitted, "{asked:?}");
        }
    }
}

/// A value with what is shown in place of its letters.
fn with_shown(value: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(value.len());
    let mut rest = value;
    while let [byte, after @ ..] = rest {
        let shown = after.first().and_then(|letter| SHOWN.iter().find(|shown| shown.letter == *letter));
        match shown {
            Some(shown) if *byte == b'@' => {
                text.extend(shown.text.bytes());
                rest = &after[1..];
            }
            _ => {
                text.push(*byte);
                rest = after;
            }
        }
    }
    text
}
