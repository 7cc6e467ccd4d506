//! Sessions of operators: what a browser gets in exchange for a token, so that no page ever holds the token.
//!
//! A session is `expiry.mac.name`: until when it is valid, in seconds since 1970, and whose it is, authenticated with the token
//! itself. So every node with that token takes it, no node remembers it, and it ends with its time or with the token.

use crate::access::Tokens;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use beckon_ops::config::Secret;
use ring::hmac;
use std::time::Duration;

/// The name of the cookie.
const COOKIE: &str = "beckon_session";

/// The paths that it is sent with.
pub(crate) const PATHS: &str = "/api/";

/// Makes the key differ from every other use of a token.
const PURPOSE: &[u8] = b"beckon session 1\0";

/// A session that is valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The name of the operator's token.
    pub operator: String,
    /// When it ends, in seconds since 1970.
    pub expires_s: u64,
}

/// The value of `Set-Cookie` that begins a session for whoever shows this token; `None` if it is no operator's. `is_secure`
/// says that the browser is connected with TLS.
pub(crate) fn begin(
    tokens: &Tokens,
    shown: &str,
    now_s: u64,
    length: Duration,
    is_secure: bool,
) -> Option<(Session, String)> {
    let (name, secret) = tokens.find(shown)?;
    let expires_s = now_s + length.as_secs();
    let mac = URL_SAFE_NO_PAD.encode(hmac::sign(&key(secret), &signed(expires_s, name)));
    let value = format!("{expires_s}.{mac}.{name}");
    let cookie = set_cookie(&value, length.as_secs(), is_secure);
    Some((Session { operator: name.to_owned(), expires_s }, cookie))
}

/// The value of `Set-Cookie` that makes a browser forget its session.
pub(crate) fn end() -> String {
    set_cookie("", 0, false)
}

fn set_cookie(value: &str, age_s: u64, is_secure: bool) -> String {
    let secure = if is_secure { "; Secure" } else { "" };
    format!("{COOKIE}={value}; Path={PATHS}; Max-Age={age_s}; HttpOnly; SameSite=Strict{secure}")
}

/// The session in a `Cookie` header; `None` if there is none. It has to be [verified](verify).
pub(crate) fn in_cookies(header: &str) -> Option<&str> {
    let mut pairs = header.split(';').filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, value)| value)
}

/// Whose session this is, if it is valid now.
pub(crate) fn verify(tokens: &Tokens, session: &str, now_s: u64) -> Option<Session> {
    let Claim { expires_s, name, mac } = Claim::read(tokens, session, now_s)?;
    let is_by = |secret: &Secret| hmac::verify(&key(secret), &signed(expires_s, name), &mac).is_ok();
    tokens.of(name).any(is_by).then(|| Session { operator: name.to_owned(), expires_s })
}

/// Whether a token decides about this session. It is not valid otherwise, whatever the tokens are.
pub(crate) fn depends_on_token(tokens: &Tokens, session: &str, now_s: u64) -> bool {
    Claim::read(tokens, session, now_s).is_some()
}

/// What a session says, which only the token can prove.
struct Claim<'a> {
    expires_s: u64,
    name: &'a str,
    mac: Vec<u8>,
}

impl<'a> Claim<'a> {
    /// `None` if there is nothing to prove: it has ended, or is nobody's.
    fn read(tokens: &Tokens, session: &'a str, now_s: u64) -> Option<Self> {
        let mut parts = session.splitn(3, '.');
        let expires_s: u64 = parts.next()?.parse().ok()?;
        let mac = URL_SAFE_NO_PAD.decode(parts.next()?).ok()?;
        let name = parts.next()?;
        let is_open = expires_s > now_s && tokens.of(name).next().is_some();
        is_open.then_some(Self { expires_s, name, mac })
    }
}

fn key(secret: &Secret) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes())
}

fn signed(expires_s: u64, name: &str) -> Vec<u8> {
    [PURPOSE, &expires_s.to_be_bytes(), name.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";
    const NOW: u64 = 1_800_000_000;
    const HOUR: Duration = Duration::from_secs(3600);

    fn tokens(text: &str) -> Tokens {
        text.parse().unwrap()
    }

    fn begun(tokens: &Tokens) -> String {
        let (_, cookie) = begin(tokens, TOKEN, NOW, HOUR, false).unwrap();
        cookie.split(';').next().unwrap().to_owned()
    }

    #[test]
    fn a_session_is_valid_until_it_ends_and_while_its_token_is_set() {
        let alice = tokens(&format!("bob:{TOKEN}-of-bob,alice.b@example:{TOKEN}"));
        let cookie = begun(&alice);
        let session = in_cookies(&cookie).unwrap();
        let expected = Session { operator: "alice.b@example".into(), expires_s: NOW + 3600 };
        assert_eq!(verify(&alice, session, NOW), Some(expected.clone()));
        assert_eq!(verify(&alice, session, NOW + 3599), Some(expected));
        assert_eq!(verify(&alice, session, NOW + 3600), None);
        let rotated = tokens(&format!("alice.b@example:{TOKEN}-2"));
        assert_eq!(verify(&rotated, session, NOW), None);
        assert_eq!(verify(&tokens(&format!("carol:{TOKEN}")), session, NOW), None, "another name");
    }

    #[test]
    fn nothing_of_a_session_can_be_changed() {
        let alice = tokens(&format!("alice:{TOKEN}"));
        let cookie = begun(&alice);
        let session = in_cookies(&cookie).unwrap();
        assert!(verify(&alice, session, NOW).is_some());
        for at in 0..session.len() {
            let mut changed = session.as_bytes().to_vec();
            changed[at] = if changed[at] == b'7' { b'8' } else { b'7' };
            let changed = String::from_utf8(changed).unwrap();
            // The last character of the code has bits that mean nothing.
            let is_same = URL_SAFE_NO_PAD.decode(changed.split('.').nth(1).unwrap()).is_err();
            assert!(verify(&alice, &changed, NOW).is_none() || is_same, "{changed}");
        }
        for other in ["", ".", "1.2.alice", "99999999999..alice"] {
            assert_eq!(verify(&alice, other, NOW), None, "{other}");
        }
        assert!(begin(&alice, "0123456789abcdeF", NOW, HOUR, false).is_none());
    }

    #[test]
    fn only_the_server_reads_the_cookie() {
        let alice = tokens(&format!("alice:{TOKEN}"));
        let (_, cookie) = begin(&alice, TOKEN, NOW, HOUR, true).unwrap();
        assert!(
            cookie.ends_with("; Path=/api/; Max-Age=3600; HttpOnly; SameSite=Strict; Secure"),
            "{cookie}"
        );
        assert!(end().starts_with("beckon_session=; Path=/api/; Max-Age=0;"));
        assert_eq!(in_cookies("a=b; beckon_session=x.y.z; c=d"), Some("x.y.z"));
        assert_eq!(in_cookies("not_beckon_session=x"), None);
    }
}
