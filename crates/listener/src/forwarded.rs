//! The address of a client in the headers of a trusted proxy: `X-Forwarded-For`, or `Forwarded` of RFC 7239.

use hyper::header::{FORWARDED, HeaderMap, HeaderName};
use std::net::{IpAddr, SocketAddr};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Which header the trusted proxies write. Only that one is read, because a proxy passes on what its client says in the
/// other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// None: the proxies use the PROXY protocol, or there are none.
    None,
    /// `X-Forwarded-For`.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

impl ForwardedHeader {
    /// A parser for the setting.
    ///
    /// # Errors
    /// It is none of the three.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            "x-forwarded-for" => Ok(Self::XForwardedFor),
            "forwarded" => Ok(Self::Forwarded),
            _ => Err("must be x-forwarded-for, forwarded, or none".into()),
        }
    }

    /// The addresses that the header names, the nearest first. It ends at the first one that is not an address:
    /// nothing behind that can be trusted.
    pub fn addresses(self, headers: &HeaderMap) -> impl Iterator<Item = IpAddr> + '_ {
        let name = match self {
            Self::None => None,
            Self::XForwardedFor => Some(X_FORWARDED_FOR),
            Self::Forwarded => Some(FORWARDED),
        };
        let lines = name.into_iter().flat_map(|name| headers.get_all(name).iter().rev());
        let elements = lines.flat_map(|line| line.to_str().unwrap_or_default().rsplit(','));
        elements.map_while(move |element| match self {
            Self::Forwarded => node(parameter_for(element)?),
            Self::None | Self::XForwardedFor => node(element.trim()),
        })
    }
}

/// The `for` of an element of `Forwarded`, without quotes.
fn parameter_for(element: &str) -> Option<&str> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let value = value.trim();
        name.trim()
            .eq_ignore_ascii_case("for")
            .then(|| value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value))
    })
}

/// An address, with a port or without.
fn node(text: &str) -> Option<IpAddr> {
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    text.parse::<IpAddr>()
        .ok()
        .or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
        .or_else(bare)
        .map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(header: ForwardedHeader, lines: &[(&'static str, &'static str)], expected: &[&str]) {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        let addresses: Vec<String> = header.addresses(&headers).map(|address| address.to_string()).collect();
        assert_eq!(addresses, expected, "{lines:?}");
    }

    #[test]
    fn the_nearest_address_is_the_last_one() {
        let header = ForwardedHeader::XForwardedFor;
        check(header, &[("x-forwarded-for", "192.0.2.1, 10.0.0.1")], &["10.0.0.1", "192.0.2.1"]);
        check(
            header,
            &[("x-forwarded-for", "192.0.2.1"), ("x-forwarded-for", "[2001:db8::1]:80,10.0.0.1:4096")],
            &["10.0.0.1", "2001:db8::1", "192.0.2.1"],
        );
        check(header, &[("x-forwarded-for", "192.0.2.1, unknown, 10.0.0.1")], &["10.0.0.1"]);
        check(header, &[("forwarded", "for=192.0.2.1")], &[]);
        check(ForwardedHeader::None, &[("x-forwarded-for", "192.0.2.1")], &[]);
    }

    #[test]
    fn forwarded_has_parameters_and_quotes() {
        let header = ForwardedHeader::Forwarded;
        let line = r#"for=192.0.2.1;proto=https, By=10.0.0.9; For="[2001:db8::1]:4711""#;
        check(header, &[("forwarded", line)], &["2001:db8::1", "192.0.2.1"]);
        check(header, &[("forwarded", "for=192.0.2.1, proto=https")], &[]);
        check(header, &[("forwarded", "for=192.0.2.1, for=_hidden")], &[]);
        check(header, &[("x-forwarded-for", "192.0.2.1")], &[]);
    }
}
