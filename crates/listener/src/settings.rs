//! What an operator can set on public ports.

use crate::{
    forwarded::ForwardedHeader,
    rate::Rate,
    source::Networks,
    tls::{Certificates, Files},
};
use arc_swap::{ArcSwap, Guard};
use beckon_ops::config::{Part, Source, in_range, positive};
use rustls::pki_types::UnixTime;
use std::{path::PathBuf, sync::Arc, time::Duration};

/// The largest number of connections in a setting.
const CONNECTIONS_MAX: usize = 1_000_000;

beckon_ops::settings! {
    /// Who is at the other end of a public port, and what each source may take.
    pub struct PortSettings {
        /// PEM files with certificates for the public ports, each with its intermediate certificates, separated by commas:
        /// a client gets the one for the name that it asks for, or the first. Empty: no TLS.
        tls_cert: Vec<PathBuf> = "" => parse_paths,
        /// PEM files with the private keys of tls_cert, in the same order.
        tls_key: Vec<PathBuf> = "" => parse_paths,
        /// Time limit for a TLS handshake, from the accepted connection; then it is closed.
        tls_handshake_timeout: Duration = "10s" => positive,
        /// Most TLS handshakes under way on one port; beyond it, the one that began first is closed.
        tls_max_handshakes: usize = "4096" => parse_connections,
        /// Addresses and networks of proxies, separated by commas: what they say about the address of a client
        /// is believed.
        trusted_proxies: Networks = "" => parse_networks,
        /// Header in which the trusted proxies name the client: x-forwarded-for, forwarded, or none.
        forwarded_header: ForwardedHeader = "x-forwarded-for" => ForwardedHeader::parse,
        /// Addresses and networks that many clients share, such as those of a mobile carrier, separated by commas:
        /// limits by source are a hundred times as high for each of their addresses.
        shared_sources: Networks = "" => parse_networks,
        /// Whether limits by source also apply to loopback and private addresses. If not, such a peer that is not
        /// one of trusted_proxies is taken for a proxy, and not limited.
        limit_private_sources: bool = "false",
        /// Time limit for the head of a request, from the connection or the end of its TLS handshake; then it is closed.
        head_timeout: Duration = "5s" => positive,
        /// Most connections of one source to one port that have not sent a request; beyond it, its oldest is closed.
        source_max_pending: usize = "512" => parse_connections,
        /// Most open sockets of one source on a node; further upgrades are answered with 429.
        source_max_sockets: u32 = "5000",
        /// Upgrades that a node takes from one source; others are answered with 429. 6000/m allows 6000 at
        /// once, and then 100 each second. 0: no limit, as for every rate.
        source_upgrades: Rate = "6000/m" => Rate::parse,
        /// Hellos of one source to a node; the sockets of others are closed with 1011.
        source_hellos: Rate = "6000/m" => Rate::parse,
        /// Channels that clients of one source register on a node; others get status 500.
        source_registers: Rate = "30000/m" => Rate::parse,
        /// HTTP requests of one source to a node; others are answered with 429.
        source_requests: Rate = "30000/m" => Rate::parse,
    }
}

impl PortSettings {
    /// How help shows these settings.
    pub const PART: Part =
        Part { heading: "TLS, proxies, and what one source may take", fields: Self::FIELDS };
}

impl PortSettings {
    /// The certificates that the files hold, `None` without TLS. What is wrong with them is rejected in `source`.
    pub fn certificates(&self, source: &mut Source) -> Option<Arc<Certificates>> {
        let files = Files::from_settings(&self.tls_cert, &self.tls_key);
        match files
            .and_then(|files| files.map(|files| Certificates::read(files, UnixTime::now())).transpose())
        {
            Ok(certificates) => certificates.map(Arc::new),
            Err(error) => {
                source.reject("tls_cert", error.to_string());
                None
            }
        }
    }
}

fn parse_paths(text: &str) -> Result<Vec<PathBuf>, String> {
    let paths = text.split(',').map(str::trim).filter(|path| !path.is_empty());
    Ok(paths.map(PathBuf::from).collect())
}

/// The settings as they are now. Clones are the same; reading them takes no lock.
#[derive(Debug, Clone)]
pub(crate) struct Current(Arc<ArcSwap<PortSettings>>);

impl Current {
    /// These settings.
    pub(crate) fn new(settings: PortSettings) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(settings)))
    }

    /// From now on these settings.
    pub(crate) fn replace(&self, settings: PortSettings) {
        self.0.store(Arc::new(settings));
    }

    /// Not to be kept while waiting.
    pub(crate) fn load(&self) -> Guard<Arc<PortSettings>> {
        self.0.load()
    }
}

fn parse_networks(text: &str) -> Result<Networks, String> {
    text.parse()
}

/// A parser for a number of connections.
///
/// # Errors
/// It is not a number from 1 to 1000000.
pub fn parse_connections(text: &str) -> Result<usize, String> {
    in_range(1..=CONNECTIONS_MAX, text)
}
