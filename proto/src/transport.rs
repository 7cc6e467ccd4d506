//! Time limits and sizes that both ends of a connection between two nodes agree on.

use crate::tls::{Tls, TlsError};
use std::{error::Error, time::Duration};
use tonic::transport::{Endpoint, Server};

/// Parcels in one request at most. A node may refuse a stream that sends more at once.
pub const PARCELS_MAX: usize = 256;

/// Bytes of one message at most, some 17 MB. A longer one ends the stream. A full request of the largest parcels is
/// shorter; one of the usual parcels has 30 KB, or 1.5 MB if all of them have a Web Push body of the default's limit.
pub const MESSAGE_LEN_MAX: usize = PARCELS_MAX * (PAYLOAD_LEN_MAX + PARCEL_REST_MAX);

/// Bytes that application servers may have sent for one parcel, at most: 64 KiB of data or body, which is the most
/// that can be set on an endpoint-node, and the two headers that tell how a body is encrypted.
pub const PAYLOAD_LEN_MAX: usize = (64 + 4) * 1024;

/// Bytes of a parcel besides its payload or data, at most: numbers and identifiers, some 120 bytes.
const PARCEL_REST_MAX: usize = 256;

/// Time to connect, TLS included. A node that takes longer counts as unreachable.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// An HTTP/2 ping goes out after this time, so that a connection that was cut without a word is noticed, even
/// if nothing is sent on it.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// A connection on which a ping is not answered within this time is given up.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Where another node is cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidTarget {
    /// The address is not `host:port`.
    #[error("address {0:?} is not host:port")]
    Address(String),
    /// The TLS configuration does not fit it.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// A connection to the node at `host:port`, not opened yet.
///
/// Small messages go out at once (TCP_NODELAY), and a peer that has gone silent is noticed after
/// [`KEEPALIVE_INTERVAL`] and [`KEEPALIVE_TIMEOUT`].
pub fn client(address: &str, tls: Option<&Tls>) -> Result<Endpoint, InvalidTarget> {
    let invalid = || InvalidTarget::Address(address.to_owned());
    let scheme = if tls.is_some() { "https" } else { "http" };
    let endpoint = Endpoint::from_shared(format!("{scheme}://{address}")).map_err(|_| invalid())?;
    let uri = endpoint.uri();
    // With a path, the authority is shorter than what went in.
    let whole = uri.authority().is_some_and(|authority| authority.as_str() == address);
    if uri.port().is_none() || !whole || address.contains('@') {
        return Err(invalid());
    }
    let endpoint = endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    match tls {
        Some(tls) => {
            let config = tls.client().timeout(CONNECT_TIMEOUT);
            endpoint.tls_config(config).map_err(|error| TlsError::Unusable(chain(&error)).into())
        }
        None => Ok(endpoint),
    }
}

/// A server for the other nodes, with the same limits as [`client`].
pub fn server(tls: Option<&Tls>) -> Result<Server, TlsError> {
    let server = Server::builder()
        .tcp_nodelay(true)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT));
    match tls {
        Some(tls) => server.tls_config(tls.server()).map_err(|error| TlsError::Unusable(chain(&error))),
        None => Ok(server),
    }
}

/// An error and what caused it, in one sentence: the transport's own errors keep the reason for themselves.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_host_and_a_port_are_an_address() {
        for (address, good) in [
            ("127.0.0.1:8082", true),
            ("[::1]:8082", true),
            ("node-a.internal:8082", true),
            ("node-a.internal", false),
            ("127.0.0.1:8082/path", false),
            ("user@127.0.0.1:8082", false),
            ("", false),
            ("a b:1", false),
        ] {
            assert_eq!(client(address, None).is_ok(), good, "{address}");
        }
    }
}
