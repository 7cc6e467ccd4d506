//! Which web pages may connect.

/// Scheme, host and port, in lower case and without the default port of the scheme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(String);

impl std::str::FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim().to_ascii_lowercase();
        let uri: http::Uri =
            text.parse().map_err(|_| "is not an origin such as https://example.net".to_owned())?;
        let (Some(scheme), Some(host)) = (uri.scheme_str(), uri.host()) else {
            return Err("is not an origin such as https://example.net".into());
        };
        if uri.path() != "/" || text.ends_with('/') || uri.query().is_some() || text.contains('@') {
            return Err("has more than scheme, host and port".into());
        }
        let default_port = match scheme {
            "http" | "ws" => Some(80),
            "https" | "wss" => Some(443),
            _ => None,
        };
        Ok(Self(match uri.port_u16().filter(|port| Some(*port) != default_port) {
            Some(port) => format!("{scheme}://{host}:{port}"),
            None => format!("{scheme}://{host}"),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_compared_by_scheme_host_and_port() {
        let origin = |text: &str| text.parse::<Origin>();
        assert_eq!(origin("https://Example.net:443"), origin("https://example.net"));
        assert_ne!(origin("https://example.net:444"), origin("https://example.net"));
        assert_ne!(origin("http://example.net"), origin("https://example.net"));
        assert_eq!(origin("http://[::1]:8080").unwrap().0, "http://[::1]:8080");
        for bad in ["", "example.net", "https://", "https://example.net/", "https://example.net/x", "null"] {
            assert!(origin(bad).is_err(), "{bad}");
        }
    }
}
