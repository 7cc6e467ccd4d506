//! The certificates of the public ports: read at start, and again when an operator has replaced the files.

use super::names::ByName;
use arc_swap::ArcSwap;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, gauge::ConstGauge},
    registry::{Registry, Unit},
};
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject as _},
    server::{NoServerSessionStorage, ProducesTickets},
    sign::CertifiedKey,
};
use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use x509_cert::{Certificate, der::Decode as _};

/// What clients may speak inside (RFC 7301). A client that offers others only is refused.
const PROTOCOLS: [&[u8]; 1] = [b"http/1.1"];

/// Session tickets for a client whose handshake was not resumed, and for one whose was. A device has one connection, and
/// gets a new ticket with each.
const TICKETS: usize = 1;

/// The files of one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pair {
    certificate: PathBuf,
    key: PathBuf,
}

/// The files of the settings `tls_cert` and `tls_key`, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files(Vec<Pair>);

/// The certificates cannot be used. The operator has to correct the files, or the settings.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The settings do not name a key for each certificate.
    #[error("tls_cert names {certificates} files and tls_key names {keys}, which have to be equally many")]
    Count {
        /// Files with certificates.
        certificates: usize,
        /// Files with keys.
        keys: usize,
    },
    /// A file cannot be read, or has something else in it.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A key does not belong to its certificate, or is of a kind that is not supported.
    #[error("{} and {} cannot be used together: {source}", certificate.display(), key.display())]
    Pair {
        /// The file with the certificate.
        certificate: PathBuf,
        /// The file with the key.
        key: PathBuf,
        /// Why not.
        source: rustls::Error,
    },
    /// A certificate is no longer valid.
    #[error("{}: the certificate expired {} ago", path.display(), days(*ago))]
    Expired {
        /// The file.
        path: PathBuf,
        /// Since when.
        ago: Duration,
    },
    /// The system has no random numbers for the keys of session tickets.
    #[error("no session tickets can be made: {0}")]
    Tickets(rustls::Error),
}

/// Whether a reload has found anything new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// New connections get other certificates.
    Yes,
    /// The files hold what they held.
    No,
}

/// The certificates that new connections get. Connections keep what they have agreed on.
pub struct Certificates {
    files: Files,
    /// Shared by all connections and all reloads: a ticket stays good when the certificates are replaced. Its keys are made
    /// at start, replaced every six hours, and accepted for twelve.
    tickets: Arc<dyn ProducesTickets>,
    loaded: ArcSwap<Loaded>,
}

struct Loaded {
    chains: Vec<Arc<CertifiedKey>>,
    config: Arc<ServerConfig>,
    expiry: UnixTime,
}

impl Files {
    /// Combines two lists of files. `None` if both are empty: there is no TLS.
    ///
    /// # Errors
    /// [`CertificateError::Count`]
    pub fn from_settings(
        certificates: &[PathBuf],
        keys: &[PathBuf],
    ) -> Result<Option<Self>, CertificateError> {
        if certificates.len() != keys.len() {
            return Err(CertificateError::Count { certificates: certificates.len(), keys: keys.len() });
        }
        let pairs = certificates.iter().cloned().zip(keys.iter().cloned());
        let pairs: Vec<_> = pairs.map(|(certificate, key)| Pair { certificate, key }).collect();
        Ok((!pairs.is_empty()).then_some(Self(pairs)))
    }
}

impl Certificates {
    /// Reads the files.
    ///
    /// # Errors
    /// A file cannot be read, a key does not belong to its certificate, or a certificate has expired.
    pub fn read(files: Files, now: UnixTime) -> Result<Self, CertificateError> {
        let tickets = ring::Ticketer::new().map_err(CertificateError::Tickets)?;
        let loaded = ArcSwap::from_pointee(Loaded::read(&files, &tickets, now)?);
        Ok(Self { files, tickets, loaded })
    }

    /// Reads the files again, and uses what they hold for new connections.
    ///
    /// # Errors
    /// As [`Certificates::read`]. Then nothing changes.
    pub fn reload(&self, now: UnixTime) -> Result<Changed, CertificateError> {
        let new = Loaded::read(&self.files, &self.tickets, now)?;
        if new.is_same(&self.loaded.load()) {
            return Ok(Changed::No);
        }
        self.loaded.store(Arc::new(new));
        Ok(Changed::Yes)
    }

    /// Uses the certificates of another one for new connections, with the session tickets of this one.
    pub fn replace(&self, new: &Self) {
        let (chains, expiry) = {
            let loaded = new.loaded.load();
            (loaded.chains.clone(), loaded.expiry)
        };
        let provider = Arc::new(ring::default_provider());
        let config = Arc::new(server_config(provider, chains.clone(), self.tickets.clone()));
        self.loaded.store(Arc::new(Loaded { chains, config, expiry }));
    }

    /// What the next connection is accepted with.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        self.loaded.load().config.clone()
    }

    /// When the first of the certificates expires.
    pub fn expiry(&self) -> UnixTime {
        self.loaded.load().expiry
    }

    /// Exports when the first of the certificates expires.
    pub(crate) fn register(self: &Arc<Self>, registry: &mut Registry) {
        registry.register_collector(Box::new(Expiry(self.clone())));
    }
}

impl Loaded {
    fn read(
        files: &Files,
        tickets: &Arc<dyn ProducesTickets>,
        now: UnixTime,
    ) -> Result<Self, CertificateError> {
        let provider = Arc::new(ring::default_provider());
        let mut chains = Vec::with_capacity(files.0.len());
        let mut expiry = Duration::MAX;
        for pair in &files.0 {
            let (key, not_after) = read_pair(pair, &provider)?;
            let since_epoch = Duration::from_secs(now.as_secs());
            if not_after <= since_epoch {
                let ago = since_epoch - not_after;
                return Err(CertificateError::Expired { path: pair.certificate.clone(), ago });
            }
            chains.push(Arc::new(key));
            expiry = expiry.min(not_after);
        }
        let config = Arc::new(server_config(provider, chains.clone(), tickets.clone()));
        Ok(Self { chains, config, expiry: UnixTime::since_unix_epoch(expiry) })
    }

    /// Whether clients see no difference. A key that is replaced comes with another certificate.
    fn is_same(&self, other: &Self) -> bool {
        let chains = |loaded: &Self| loaded.chains.iter().map(|key| key.cert.clone()).collect::<Vec<_>>();
        chains(self) == chains(other)
    }
}

#[expect(clippy::expect_used, reason = "the provider has cipher suites for both versions")]
fn server_config(
    provider: Arc<CryptoProvider>,
    chains: Vec<Arc<CertifiedKey>>,
    tickets: Arc<dyn ProducesTickets>,
) -> ServerConfig {
    let builder = ServerConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().expect("TLS 1.2 and 1.3");
    let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::new(ByName(chains)));
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
    // Tickets do without it, and a table of sessions would be of one process.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = tickets;
    config.send_tls13_tickets = TICKETS;
    config
}

/// A certificate with its key, and when it expires, from 1970.
fn read_pair(pair: &Pair, provider: &CryptoProvider) -> Result<(CertifiedKey, Duration), CertificateError> {
    let Pair { certificate, key } = pair;
    let wrong = |path: &Path, reason: String| CertificateError::File { path: path.to_owned(), reason };
    let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|error| wrong(certificate, describe(&error)))?;
    let Some(first) = chain.first() else {
        return Err(wrong(certificate, "there is no certificate in this file".into()));
    };
    let not_after = Certificate::from_der(first)
        .map_err(|error| wrong(certificate, format!("the certificate cannot be read: {error}")))?
        .tbs_certificate()
        .validity()
        .not_after
        .to_unix_duration();
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, describe(&error)))?;
    let certified = CertifiedKey::from_der(chain, private, provider).map_err(|source| {
        CertificateError::Pair { certificate: certificate.clone(), key: key.clone(), source }
    })?;
    Ok((certified, not_after))
}

fn describe(error: &rustls::pki_types::pem::Error) -> String {
    use rustls::pki_types::pem::Error;
    if let Error::Io(error) = error {
        error.to_string()
    } else if matches!(error, Error::NoItemsFound) {
        "there is no private key in this file, in PEM".into()
    } else {
        format!("not in PEM: {error}")
    }
}

fn days(time: Duration) -> String {
    match time.as_secs() / 86_400 {
        0 => "less than a day".into(),
        1 => "a day".into(),
        days => format!("{days} days"),
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("files", &self.files).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Expiry(Arc<Certificates>);

impl Collector for Expiry {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "When the first of the certificates of the public ports expires, since 1970";
        let gauge = ConstGauge::new(i64::try_from(self.0.expiry().as_secs()).unwrap_or(i64::MAX));
        let unit = Some(&Unit::Seconds);
        gauge.encode(encoder.encode_descriptor("tls_certificate_expiry", help, unit, MetricType::Gauge)?)
    }
}

#[cfg(test)]
mod tests;
