//! What is measured on a connection-node.

use crate::{memory::Memory, registry::Registry as Connections};
use beckon_node::step_failures::StepFailureCounter;
use beckon_ops::metrics::{Counter, Counters};
use beckon_proto::delivery::Receipt;
use beckon_session::{ClientReport, CloseCode};
use beckon_types::Notification;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, EncodeMetric as _, LabelValueEncoder},
    metrics::{family::Family, gauge::ConstGauge},
    registry::Registry,
};
use std::{fmt, sync::Arc};

/// The metrics of a connection-node, except the number of open sockets, which is read from the registry at each
/// scrape ([`Open`]).
#[derive(Debug)]
pub(crate) struct Metrics {
    /// Upgrade requests by outcome.
    pub(crate) upgrades: Family<UpgradeLabels, Counter>,
    /// Text messages queued to sockets.
    pub(crate) messages_sent: Counter,
    /// Notifications from endpoint-nodes, by kind and receipt.
    parcels: Counters<ParcelLabels>,
    /// Sockets closed by this node, by close code.
    closes: Family<CloseLabels, Counter>,
    /// Sockets dropped because the peer did not drain its socket or answer a Close frame in time.
    pub(crate) sockets_dropped: Counter,
    /// Sockets dropped because they held the most when the node held too much for its peers.
    pub(crate) sockets_overdrawn: Counter,
    /// Older sockets, here or on another node, that a newer hello replaced.
    pub(crate) evictions: Counter,
    /// Store steps that failed, by cause.
    pub(crate) steps_failed: StepFailureCounter,
    /// What Web Push user agents reported about messages and channels.
    client_reports: Counters<ReportLabels>,
    /// Changes of the broadcasts that this node has seen.
    pub(crate) broadcast_changes: Counter,
    /// Connections moved in memory, so that the memory of those that left is given back.
    pub(crate) connections_moved: Counter,
}

/// The metrics `connections` and `worker_connections`: the sockets that are open now, on the node and on each worker; and
/// `buffered_bytes`: what they hold for their peers.
#[derive(Debug)]
pub(crate) struct Open(pub(crate) Arc<Connections>, pub(crate) Arc<Memory>);

impl Collector for Open {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let gauge = |open: u64| ConstGauge::new(i64::try_from(open).unwrap_or(i64::MAX));
        let help = "WebSockets that are open now";
        let open = gauge(self.0.open());
        open.encode(encoder.encode_descriptor("connections", help, None, open.metric_type())?)?;
        let help = "Bytes that WebSockets hold for their peers, of max_buffered";
        let buffered = gauge(self.1.held());
        buffered.encode(encoder.encode_descriptor(
            "buffered_bytes",
            help,
            None,
            buffered.metric_type(),
        )?)?;
        let help = "WebSockets that are open now on each worker thread";
        let mut family = encoder.encode_descriptor("worker_connections", help, None, open.metric_type())?;
        for worker in 0..self.0.workers() {
            gauge(self.0.open_of(worker)).encode(family.encode_family(&[("worker", worker)])?)?;
        }
        Ok(())
    }
}

/// The labels of `upgrades`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct UpgradeLabels {
    /// The outcome.
    pub(crate) outcome: Upgrade,
}

/// The outcome of an upgrade request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Upgrade {
    Accepted,
    Full,
    SourceFull,
    Draining,
    ForeignOrigin,
    Malformed,
}

impl EncodeLabelValue for Upgrade {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        let text = match self {
            Self::Accepted => "accepted",
            Self::Full => "full",
            Self::SourceFull => "source_full",
            Self::Draining => "draining",
            Self::ForeignOrigin => "foreign_origin",
            Self::Malformed => "malformed",
        };
        text.encode(encoder)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ParcelLabels {
    kind: Kind,
    receipt: ReceiptLabel,
}

/// What a parcel contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// A SimplePush write.
    Update,
    /// A Web Push message.
    Message,
    /// Word that something was stored and could not be handed over.
    Missed,
}

impl From<&Notification> for Kind {
    fn from(notification: &Notification) -> Self {
        match notification {
            Notification::Update(_) => Self::Update,
            Notification::Message(_) => Self::Message,
            Notification::Missed => Self::Missed,
        }
    }
}

impl EncodeLabelValue for Kind {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        let text = match self {
            Self::Update => "update",
            Self::Message => "message",
            Self::Missed => "missed",
        };
        text.encode(encoder)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct ReceiptLabel(Receipt);

impl EncodeLabelValue for ReceiptLabel {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        let text = match self.0 {
            Receipt::Delivered => "delivered",
            Receipt::NotHere => "not_here",
            Receipt::Busy => "busy",
        };
        text.encode(encoder)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReportLabels {
    report: ReportLabel,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct ReportLabel(ClientReport);

impl EncodeLabelValue for ReportLabel {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        let text = match self.0 {
            ClientReport::Delivered => "delivered",
            ClientReport::NotDecrypted => "not_decrypted",
            ClientReport::NoReceiver => "no_receiver",
            ClientReport::HandlerThrew => "handler_threw",
            ClientReport::HandlerRejected => "handler_rejected",
            ClientReport::OtherFailure => "other_failure",
            ClientReport::UnknownFailure => "unknown_failure",
            ClientReport::Unregistered => "unregistered",
            ClientReport::QuotaExceeded => "quota_exceeded",
            ClientReport::PermissionRevoked => "permission_revoked",
            ClientReport::UnregisteredOtherwise => "unregistered_otherwise",
        };
        text.encode(encoder)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CloseLabels {
    code: u16,
}

impl Default for Metrics {
    fn default() -> Self {
        let kinds = [Kind::Update, Kind::Message, Kind::Missed];
        let receipts = [Receipt::Delivered, Receipt::NotHere, Receipt::Busy].map(ReceiptLabel);
        let parcels =
            kinds.into_iter().flat_map(|kind| receipts.map(|receipt| ParcelLabels { kind, receipt }));
        Self {
            upgrades: Family::default(),
            messages_sent: Counter::default(),
            parcels: Counters::new(parcels),
            closes: Family::default(),
            sockets_dropped: Counter::default(),
            sockets_overdrawn: Counter::default(),
            evictions: Counter::default(),
            steps_failed: StepFailureCounter::default(),
            client_reports: Counters::new([ReportLabels { report: ReportLabel(ClientReport::Delivered) }]),
            broadcast_changes: Counter::default(),
            connections_moved: Counter::default(),
        }
    }
}

impl Metrics {
    /// Metrics that the registry exports.
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let Self {
            upgrades,
            messages_sent,
            parcels,
            closes,
            sockets_dropped,
            sockets_overdrawn,
            evictions,
            steps_failed,
            client_reports,
            broadcast_changes,
            connections_moved,
        } = &metrics;
        registry.register("upgrades", "Upgrade requests by outcome", upgrades.clone());
        registry.register("messages_sent", "Text messages queued to sockets", messages_sent.clone());
        parcels.register(registry, "parcels", "Notifications from endpoint-nodes by kind and receipt");
        registry.register("closes", "Sockets closed by this node, by close code", closes.clone());
        registry.register(
            "sockets_dropped",
            "Sockets dropped because the peer did not drain them or answer a Close frame",
            sockets_dropped.clone(),
        );
        registry.register(
            "sockets_overdrawn",
            "Sockets dropped because they held the most when the node held too much for its peers",
            sockets_overdrawn.clone(),
        );
        registry.register("evictions", "Older sockets that a newer hello replaced", evictions.clone());
        registry.register("steps_failed", "Store steps that failed, by cause", steps_failed.clone());
        client_reports.register(
            registry,
            "client_reports",
            "What Web Push clients reported about messages and channels",
        );
        registry.register(
            "broadcast_changes",
            "Changes of the broadcasts that this node has seen",
            broadcast_changes.clone(),
        );
        registry.register(
            "connections_moved",
            "Connections moved in memory to give back the memory of those that left",
            connections_moved.clone(),
        );
        metrics
    }

    /// Counts an upgrade request.
    pub(crate) fn upgrade(&self, outcome: Upgrade) {
        self.upgrades.get_or_create(&UpgradeLabels { outcome }).inc();
    }

    /// Counts a notification.
    pub(crate) fn parcel(&self, kind: Kind, receipt: Receipt) {
        self.parcels.inc(&ParcelLabels { kind, receipt: ReceiptLabel(receipt) });
    }

    /// Counts what a user agent reported.
    pub(crate) fn client_report(&self, report: ClientReport) {
        self.client_reports.inc(&ReportLabels { report: ReportLabel(report) });
    }

    /// Counts a socket that this node closes.
    pub(crate) fn closed(&self, code: CloseCode) {
        self.closes.get_or_create(&CloseLabels { code: code.number() }).inc();
    }
}
