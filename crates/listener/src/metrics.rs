//! What is measured on public ports.

use parking_lot::Mutex;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, EncodeMetric as _, LabelValueEncoder},
    metrics::{MetricType, counter::Counter, family::Family, gauge::ConstGauge},
    registry::Registry,
};
use std::{fmt, sync::Arc};

/// Why a connection or a request did not get what it came for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The port was full, and this was the oldest connection without a request.
    Crowded,
    /// The port was full, and this was the connection that was idle longest.
    Idle,
    /// The port was full of connections at work.
    Busy,
    /// The source had too many connections without a request, and this was its oldest.
    SourceCrowded,
    /// No whole head of a request came in time.
    SlowHead,
    /// Too many TLS handshakes were under way, and this was the first of them.
    Handshakes,
    /// The TLS handshake was not over in time.
    SlowHandshake,
    /// The TLS handshake failed: no common version, a certificate that the client does not trust, or no TLS at all.
    Handshake,
    /// The client sent plain HTTP to a port with TLS.
    PlainHttp,
    /// A trusted proxy did not begin with a PROXY protocol header.
    ProxyHeader,
    /// The target of the request has no path.
    Target,
    /// The target or the head of the request is too long.
    Length,
    /// The program has panicked while it served the request, which is a bug.
    Panic,
    /// The source has too many sockets.
    SourceSockets,
    /// The source asks for too many upgrades.
    SourceUpgrades,
    /// The source says too many hellos.
    SourceHellos,
    /// The source registers too many channels.
    SourceRegisters,
    /// The source sends too many requests.
    SourceRequests,
}

impl Reason {
    /// All of them.
    const ALL: [Self; 18] = [
        Self::Crowded,
        Self::Idle,
        Self::Busy,
        Self::SourceCrowded,
        Self::SlowHead,
        Self::Handshakes,
        Self::SlowHandshake,
        Self::Handshake,
        Self::PlainHttp,
        Self::ProxyHeader,
        Self::Target,
        Self::Length,
        Self::Panic,
        Self::SourceSockets,
        Self::SourceUpgrades,
        Self::SourceHellos,
        Self::SourceRegisters,
        Self::SourceRequests,
    ];
}

impl EncodeLabelValue for Reason {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        let text = match self {
            Self::Crowded => "crowded",
            Self::Idle => "idle",
            Self::Busy => "busy",
            Self::SourceCrowded => "source_crowded",
            Self::SlowHead => "slow_head",
            Self::Handshakes => "handshakes",
            Self::SlowHandshake => "slow_handshake",
            Self::Handshake => "handshake",
            Self::PlainHttp => "plain_http",
            Self::ProxyHeader => "proxy_header",
            Self::Target => "target",
            Self::Length => "length",
            Self::Panic => "panic",
            Self::SourceSockets => "source_sockets",
            Self::SourceUpgrades => "source_upgrades",
            Self::SourceHellos => "source_hellos",
            Self::SourceRegisters => "source_registers",
            Self::SourceRequests => "source_requests",
        };
        text.encode(encoder)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    port: &'static str,
    reason: Reason,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HandshakeLabels {
    port: &'static str,
    protocol: &'static str,
    resumed: &'static str,
}

/// The metrics of all public ports of a node.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    refused: Family<Labels, Counter>,
    handshakes: Family<HandshakeLabels, Counter>,
    ports: Arc<Mutex<Vec<Watched>>>,
}

/// How many connections of a port do what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted {
    /// Their TLS handshake is not over.
    pub handshake: usize,
    /// They have not sent the head of a request.
    pub opening: usize,
    /// Their request is being answered.
    pub busy: usize,
    /// They have been answered.
    pub idle: usize,
}

/// Something whose connections are counted at each scrape.
pub trait Count: fmt::Debug + Send + Sync {
    /// How many there are.
    fn count(&self) -> Counted;
}

#[derive(Debug)]
struct Watched {
    port: &'static str,
    connections: Arc<dyn Count>,
}

impl Metrics {
    /// Metrics that the registry exports.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let help = "Connections and requests that a public port did not serve, by reason";
        registry.register("port_refused", help, metrics.refused.clone());
        let help = "TLS handshakes that a public port has completed";
        registry.register("tls_handshakes", help, metrics.handshakes.clone());
        registry.register_collector(Box::new(metrics.clone()));
        metrics
    }

    /// Measures these connections from now on.
    pub(crate) fn watch(&self, port: &'static str, connections: Arc<dyn Count>) {
        for reason in Reason::ALL {
            drop(self.refused.get_or_create(&Labels { port, reason }));
        }
        self.ports.lock().push(Watched { port, connections });
    }

    /// Counts a TLS handshake.
    pub(crate) fn handshake(&self, port: &'static str, protocol: &'static str, is_resumed: bool) {
        let resumed = if is_resumed { "true" } else { "false" };
        self.handshakes.get_or_create(&HandshakeLabels { port, protocol, resumed }).inc();
    }

    /// Counts a connection or a request that was not served.
    pub(crate) fn refused(&self, port: &'static str, reason: Reason) {
        self.refused.get_or_create(&Labels { port, reason }).inc();
    }
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Connections of a public port that are not upgraded, by what they do";
        let mut family = encoder.encode_descriptor("port_connections", help, None, MetricType::Gauge)?;
        for Watched { port, connections } in &*self.ports.lock() {
            let counted = connections.count();
            for (state, count) in [
                ("handshake", counted.handshake),
                ("opening", counted.opening),
                ("busy", counted.busy),
                ("idle", counted.idle),
            ] {
                let gauge = ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX));
                gauge.encode(family.encode_family(&[("port", *port), ("state", state)])?)?;
            }
        }
        Ok(())
    }
}
