//! Time limits and sizes that both ends of a connection between two nodes agree on.

pub use crate::error_chain::chain;

use crate::{
    server_stream::ServerStream,
    tls::{Tls, TlsError},
    worker_line,
};
use beckon_types::TRACESTATE_LEN_MAX;
use hyper_util::rt::TokioIo;
use std::{io, time::Duration};
use tokio::net::TcpStream;
use tokio_util::either::Either;
use tonic::{
    codegen::http::{Uri, uri::Authority},
    transport::{Channel, Endpoint, Server},
};
use tower::service_fn;

/// The most parcels in one request. A node may refuse a stream that sends more at once.
pub const PARCELS_MAX: usize = 256;

/// The data and payloads in one request, in bytes. The parcel that exceeds it is the last in its request.
pub const REQUEST_WEIGHT_MAX: usize = 1024 * 1024;

/// The longest message, in bytes, about 1.3 MB; a longer one ends the stream. The largest request that a node makes fits;
/// a full request of usual parcels has 30 KB.
pub const MESSAGE_LEN_MAX: usize = REQUEST_WEIGHT_MAX + PAYLOAD_LEN_MAX + PARCELS_MAX * PARCEL_REST_MAX;

/// The most bytes that an application server can have sent for one parcel: 64 KiB of data or body, the largest limit that
/// can be configured on an endpoint-node, and the two encryption headers.
pub const PAYLOAD_LEN_MAX: usize = (64 + 4) * 1024;

/// The most bytes of a parcel besides its payload or data: numbers and identifiers, in practice about 130 bytes, and the
/// `tracestate` of one that is traced.
const PARCEL_REST_MAX: usize = 256 + TRACESTATE_LEN_MAX;

/// Time limit to connect, TLS included. A node that takes longer counts as unreachable.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How often an HTTP/2 ping is sent, so that a connection that was cut silently is noticed even if nothing else is sent on
/// it.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// A connection is closed when a ping is not answered within this time.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// The address of another node is not usable. The operator of that node has to correct it.
#[derive(Debug, thiserror::Error)]
pub enum InvalidTarget {
    /// The address is not `host:port`.
    #[error("address {0:?} is not host:port")]
    Address(String),
    /// The certificate, the key or the authority is not usable.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// A connection to the node at `host:port` that is not opened yet.
///
/// Small messages are sent at once (TCP_NODELAY), and a silent peer is noticed after [`KEEPALIVE_INTERVAL`] plus
/// [`KEEPALIVE_TIMEOUT`].
///
/// # Errors
///
/// The address is not `host:port`, or the TLS files are not usable.
pub fn client(address: &str, tls: Option<&Tls>) -> Result<Endpoint, InvalidTarget> {
    let invalid = || InvalidTarget::Address(address.to_owned());
    let scheme = if tls.is_some() { "https" } else { "http" };
    let endpoint = Endpoint::from_shared(format!("{scheme}://{address}")).map_err(|_| invalid())?;
    let uri = endpoint.uri();
    // With a path, the authority is shorter than the address.
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

/// Opens a connection to one of a node's workers, by its index. The caller limits the time.
///
/// # Errors
///
/// The node cannot be reached.
pub async fn connect(endpoint: &Endpoint, worker: u8) -> Result<Channel, tonic::transport::Error> {
    let connector = service_fn(move |uri: Uri| async move {
        let address = uri.authority().map(Authority::as_str).unwrap_or_default();
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        worker_line::write(&mut stream, worker).await?;
        Ok::<_, io::Error>(TokioIo::new(stream))
    });
    endpoint.connect_with_connector(connector).await
}

/// A server for the other nodes, with the same limits as [`client`]. It serves what [`accept`] returns.
pub fn server() -> Server {
    Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
}

/// Makes a connection of another node, from which its worker line was read, ready to be served: with the handshake of TLS,
/// if that is used, and the beginning of HTTP/2.
///
/// # Errors
/// The other end is not a node of this cluster, or takes longer than [`CONNECT_TIMEOUT`] for the handshake, or than
/// [`LINE_TIMEOUT`](crate::worker_line::LINE_TIMEOUT) for the beginning.
pub async fn accept(stream: TcpStream, tls: Option<&Tls>) -> io::Result<ServerStream> {
    stream.set_nodelay(true)?;
    let stream = match tls {
        None => Either::Left(stream),
        Some(tls) => {
            let handshake = tokio::time::timeout(CONNECT_TIMEOUT, tls.server().accept(stream));
            Either::Right(handshake.await??)
        }
    };
    ServerStream::begin(stream).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
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
