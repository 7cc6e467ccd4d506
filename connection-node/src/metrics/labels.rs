//! The labels of the metrics of a connection-node, and their values.

use beckon_proto::delivery::Receipt;
use beckon_session::{ClientReport, Outcome, Step};
use beckon_types::{Dialect, HelloOutcome, Notification};
use prometheus_client::encoding::EncodeLabelSet;

/// The outcome of an upgrade request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upgrade {
    Accepted,
    Full,
    SourceFull,
    Draining,
    ForeignOrigin,
    Malformed,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct UpgradeLabels {
    outcome: &'static str,
}

impl UpgradeLabels {
    pub(super) fn all() -> [Self; 6] {
        use Upgrade::{Accepted, Draining, ForeignOrigin, Full, Malformed, SourceFull};
        [Accepted, Full, SourceFull, Draining, ForeignOrigin, Malformed].map(Self::from)
    }
}

impl From<Upgrade> for UpgradeLabels {
    fn from(upgrade: Upgrade) -> Self {
        let outcome = match upgrade {
            Upgrade::Accepted => "accepted",
            Upgrade::Full => "full",
            Upgrade::SourceFull => "source_full",
            Upgrade::Draining => "draining",
            Upgrade::ForeignOrigin => "foreign_origin",
            Upgrade::Malformed => "malformed",
        };
        Self { outcome }
    }
}

/// What a parcel contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ParcelLabels {
    kind: &'static str,
    receipt: &'static str,
}

impl ParcelLabels {
    pub(super) fn new(kind: Kind, receipt: Receipt) -> Self {
        let kind = match kind {
            Kind::Update => "update",
            Kind::Message => "message",
            Kind::Missed => "missed",
        };
        let receipt = match receipt {
            Receipt::Delivered => "delivered",
            Receipt::NotHere => "not_here",
            Receipt::Busy => "busy",
        };
        Self { kind, receipt }
    }

    pub(super) fn all() -> impl Iterator<Item = Self> {
        let receipts = [Receipt::Delivered, Receipt::NotHere, Receipt::Busy];
        let of = move |kind| receipts.map(|receipt| Self::new(kind, receipt));
        [Kind::Update, Kind::Message, Kind::Missed].into_iter().flat_map(of)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ReportLabels {
    report: &'static str,
}

impl ReportLabels {
    pub(super) fn all() -> [Self; 11] {
        use ClientReport as Report;
        [
            Report::Delivered,
            Report::NotDecrypted,
            Report::NoReceiver,
            Report::HandlerThrew,
            Report::HandlerRejected,
            Report::OtherFailure,
            Report::UnknownFailure,
            Report::Unregistered,
            Report::QuotaExceeded,
            Report::PermissionRevoked,
            Report::UnregisteredOtherwise,
        ]
        .map(Self::from)
    }
}

impl From<ClientReport> for ReportLabels {
    fn from(report: ClientReport) -> Self {
        let report = match report {
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
        Self { report }
    }
}

/// The kind of a store step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StepKind {
    Hello,
    AddChannel,
    RemoveChannel,
    AckVersions,
    RemoveMessages,
    Fetch,
    Snapshot,
    Verify,
    Release,
    NoteMissed,
}

impl From<&Step> for StepKind {
    fn from(step: &Step) -> Self {
        match step {
            Step::Hello(_) => Self::Hello,
            Step::AddChannel(_) => Self::AddChannel,
            Step::RemoveChannel(..) => Self::RemoveChannel,
            Step::AckVersions(..) => Self::AckVersions,
            Step::RemoveMessages(..) => Self::RemoveMessages,
            Step::Fetch(_) => Self::Fetch,
            Step::Snapshot(..) => Self::Snapshot,
            Step::Verify(..) => Self::Verify,
            Step::Release(..) => Self::Release,
            Step::NoteMissed(_) => Self::NoteMissed,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct StepLabels {
    step: &'static str,
}

impl StepLabels {
    pub(super) fn all() -> [Self; 10] {
        use StepKind as Kind;
        [
            Kind::Hello,
            Kind::AckVersions,
            Kind::RemoveMessages,
            Kind::Fetch,
            Kind::Snapshot,
            Kind::Verify,
            Kind::Release,
            Kind::NoteMissed,
            Kind::AddChannel,
            Kind::RemoveChannel,
        ]
        .map(Self::from)
    }
}

impl From<StepKind> for StepLabels {
    fn from(kind: StepKind) -> Self {
        let step = match kind {
            StepKind::Hello => "hello",
            StepKind::AddChannel => "add_channel",
            StepKind::RemoveChannel => "remove_channel",
            StepKind::AckVersions => "ack_versions",
            StepKind::RemoveMessages => "remove_messages",
            StepKind::Fetch => "fetch",
            StepKind::Snapshot => "snapshot",
            StepKind::Verify => "verify",
            StepKind::Release => "release",
            StepKind::NoteMissed => "note_missed",
        };
        Self { step }
    }
}

/// What the store answered to a hello.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct HelloLabels {
    dialect: &'static str,
    outcome: &'static str,
}

impl HelloLabels {
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let of = |dialect| ["claimed", "unknown"].map(|outcome| Self { dialect, outcome });
        let others = ["deleted", "list_missing", "no_room"];
        Dialect::ALL
            .into_iter()
            .flat_map(move |dialect| of(dialect.name()))
            .chain(others.map(|outcome| Self { dialect: Dialect::SimplePush.name(), outcome }))
            .chain(["blocked", "failed"].map(|outcome| Self { dialect: "", outcome }))
    }
}

impl From<&Outcome> for HelloLabels {
    fn from(outcome: &Outcome) -> Self {
        let simplepush = Dialect::SimplePush.name();
        // No other outcome is one of a hello.
        let Outcome::Hello(hello) = outcome else { return Self { dialect: "", outcome: "failed" } };
        let (dialect, outcome) = match hello {
            HelloOutcome::Claimed { dialect, .. } => (dialect.name(), "claimed"),
            HelloOutcome::Unknown { dialect } => (dialect.name(), "unknown"),
            HelloOutcome::Deleted { .. } => (simplepush, "deleted"),
            HelloOutcome::ListMissing => (simplepush, "list_missing"),
            HelloOutcome::NoRoom => (simplepush, "no_room"),
            HelloOutcome::Blocked => ("", "blocked"),
        };
        Self { dialect, outcome }
    }
}

/// What became of the request to close the socket that owned a UAID before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Eviction {
    /// The socket was on this node.
    Here,
    /// The other node has closed it, or did not have it any more.
    There,
    /// The other node has no lease, and so no sockets.
    NodeGone,
    /// The other node could not be asked.
    Failed,
    /// Too many requests were under way.
    Skipped,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct EvictionLabels {
    outcome: &'static str,
}

impl EvictionLabels {
    pub(super) fn all() -> [Self; 5] {
        use Eviction::{Failed, Here, NodeGone, Skipped, There};
        [Here, There, NodeGone, Failed, Skipped].map(Self::from)
    }
}

impl From<Eviction> for EvictionLabels {
    fn from(eviction: Eviction) -> Self {
        let outcome = match eviction {
            Eviction::Here => "here",
            Eviction::There => "there",
            Eviction::NodeGone => "node_gone",
            Eviction::Failed => "failed",
            Eviction::Skipped => "skipped",
        };
        Self { outcome }
    }
}

/// What became of a socket of the process before this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HandOver {
    /// This process has it.
    Taken,
    /// It had TLS, so the other process closes it.
    Tls,
    /// It was in the middle of a message or of a step of the store for too long, so the other process closes it.
    Busy,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct HandOverLabels {
    outcome: &'static str,
}

impl HandOverLabels {
    pub(super) fn all() -> [Self; 3] {
        [HandOver::Taken, HandOver::Tls, HandOver::Busy].map(Self::from)
    }
}

impl From<HandOver> for HandOverLabels {
    fn from(outcome: HandOver) -> Self {
        let outcome = match outcome {
            HandOver::Taken => "taken",
            HandOver::Tls => "tls",
            HandOver::Busy => "busy",
        };
        Self { outcome }
    }
}

/// Why the claims of connections are verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doubt {
    StoreLostData,
    LeaseLapsed,
    StoreConnectionLost,
    ManyMissed,
    MissedUnknown,
    /// The former process may have had a reason, and not have told all connections yet.
    HandedOver,
}

impl Doubt {
    /// For the log.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::StoreLostData => "the store has lost its data",
            Self::LeaseLapsed => "the lease had lapsed",
            Self::StoreConnectionLost => "the connection to the store was lost",
            Self::ManyMissed => "many notifications could not be handed over",
            Self::MissedUnknown => "the store failed to say what was missed",
            Self::HandedOver => "the connections were handed over",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct DoubtLabels {
    reason: &'static str,
}

impl DoubtLabels {
    pub(super) fn all() -> [Self; 6] {
        use Doubt::{HandedOver, LeaseLapsed, ManyMissed, MissedUnknown, StoreConnectionLost, StoreLostData};
        [StoreLostData, LeaseLapsed, StoreConnectionLost, ManyMissed, MissedUnknown, HandedOver]
            .map(Self::from)
    }
}

impl From<Doubt> for DoubtLabels {
    fn from(doubt: Doubt) -> Self {
        let reason = match doubt {
            Doubt::StoreLostData => "store_lost_data",
            Doubt::LeaseLapsed => "lease_lapsed",
            Doubt::StoreConnectionLost => "store_connection_lost",
            Doubt::ManyMissed => "many_missed",
            Doubt::MissedUnknown => "missed_unknown",
            Doubt::HandedOver => "handed_over",
        };
        Self { reason }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ResultLabels {
    result: &'static str,
}

impl ResultLabels {
    pub(super) fn all() -> [Self; 2] {
        [true, false].map(Self::from)
    }
}

impl From<bool> for ResultLabels {
    fn from(succeeded: bool) -> Self {
        Self { result: if succeeded { "ok" } else { "failed" } }
    }
}
