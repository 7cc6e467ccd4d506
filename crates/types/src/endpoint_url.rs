//! The scheme, host and port that endpoints begin with.

use std::{fmt, str::FromStr};

/// The longest endpoint that a server may issue, in bytes (the limit of UnifiedPush).
pub const ENDPOINT_LEN_MAX: usize = 1000;

/// Bytes left for the path and the token of an endpoint.
const PATH_LEN_MAX: usize = 300;

/// The setting `endpoint_url`: the scheme, host and port of endpoints, as application servers reach them. Without a
/// slash at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointUrl(String);

/// The text is not the beginning of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEndpointUrl {
    /// The scheme is neither http nor https.
    #[error("does not begin with http:// or https://")]
    Scheme,
    /// There is no host, or it has characters that a host cannot have.
    #[error("has no usable host")]
    Host,
    /// The port is not a number from 1 to 65535.
    #[error("has a port that is not a number from 1 to 65535")]
    Port,
    /// There is a path, a query or a fragment.
    #[error("has more than scheme, host and port")]
    Path,
    /// With a token behind it, an endpoint would have more than [`ENDPOINT_LEN_MAX`] bytes.
    #[error("is too long")]
    TooLong,
}

impl EndpointUrl {
    /// The URL, without a slash at the end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its origin (RFC 6454 section 4): in lower case, and without the port if that is the default of the scheme.
    pub fn origin(&self) -> String {
        let default_port = if self.is_https() { ":443" } else { ":80" };
        self.0.strip_suffix(default_port).unwrap_or(&self.0).to_ascii_lowercase()
    }

    /// The host, an IPv6 address in brackets.
    pub fn host(&self) -> &str {
        let authority = self.0.split_once("://").map_or("", |(_, authority)| authority);
        match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => host,
            _ => authority,
        }
    }

    /// Whether the scheme is https.
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for EndpointUrl {
    type Err = InvalidEndpointUrl;

    fn from_str(text: &str) -> Result<Self, InvalidEndpointUrl> {
        let (scheme, authority) = text.split_once("://").ok_or(InvalidEndpointUrl::Scheme)?;
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        // In lower or upper case (RFC 3986 section 3.1).
        let scheme = scheme.to_ascii_lowercase();
        if !matches!(scheme.as_str(), "http" | "https") {
            return Err(InvalidEndpointUrl::Scheme);
        }
        if authority.contains(['/', '?', '#']) {
            return Err(InvalidEndpointUrl::Path);
        }
        // An IPv6 address has colons of its own, in brackets.
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (authority, None),
        };
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_host = match bracketed {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
                !host.is_empty() && host.bytes().all(allowed)
            }
        };
        if !is_host {
            return Err(InvalidEndpointUrl::Host);
        }
        let is_port = |port: &str| {
            port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
        };
        if !port.is_none_or(is_port) {
            return Err(InvalidEndpointUrl::Port);
        }
        if text.len() > ENDPOINT_LEN_MAX - PATH_LEN_MAX {
            return Err(InvalidEndpointUrl::TooLong);
        }
        Ok(Self(format!("{scheme}://{authority}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_in_lower_case_and_leaves_out_the_default_port() {
        for (url, expected) in [
            ("https://push.example.net", "https://push.example.net"),
            ("HTTPS://Push.example.net:443/", "https://push.example.net"),
            ("http://push.example.net:80", "http://push.example.net"),
            ("http://push.example.net:443", "http://push.example.net:443"),
            ("http://127.0.0.1:8081", "http://127.0.0.1:8081"),
            ("http://[::1]:80", "http://[::1]"),
        ] {
            assert_eq!(url.parse::<EndpointUrl>().unwrap().origin(), expected);
        }
    }

    #[test]
    fn only_scheme_host_and_port_are_accepted() {
        for (text, result) in [
            ("https://push.example.net", Ok("https://push.example.net")),
            ("Http://127.0.0.1:8081/", Ok("http://127.0.0.1:8081")),
            ("http://[::1]:8081", Ok("http://[::1]:8081")),
            ("http://[::1]", Ok("http://[::1]")),
            ("push.example.net", Err(InvalidEndpointUrl::Scheme)),
            ("ftp://push.example.net", Err(InvalidEndpointUrl::Scheme)),
            ("https://", Err(InvalidEndpointUrl::Host)),
            ("https://:80", Err(InvalidEndpointUrl::Host)),
            ("https://user@push.example.net", Err(InvalidEndpointUrl::Host)),
            ("https://push.example.net:0", Err(InvalidEndpointUrl::Port)),
            ("https://push.example.net:", Err(InvalidEndpointUrl::Port)),
            ("https://push.example.net:+80", Err(InvalidEndpointUrl::Port)),
            ("https://push.example.net:70000", Err(InvalidEndpointUrl::Port)),
            ("https://push.example.net/push", Err(InvalidEndpointUrl::Path)),
            ("https://push.example.net?x", Err(InvalidEndpointUrl::Path)),
        ] {
            assert_eq!(
                text.parse::<EndpointUrl>().as_ref().map(EndpointUrl::as_str),
                result.as_ref().copied(),
                "{text}"
            );
        }
        assert_eq!(
            format!("http://{}", "a".repeat(1000)).parse::<EndpointUrl>(),
            Err(InvalidEndpointUrl::TooLong)
        );
    }
}
