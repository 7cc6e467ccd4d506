//! What this node measures. The doc comment of a field is its help text.

use beckon_node::step_failures::StepFailureCounter;
use beckon_ops::metrics::{Counter, Counters, Durations, Labelled};
use beckon_proto::delivery::{Receipt, Undelivered};
use beckon_types::Dialect;
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder},
    metrics::gauge::Gauge,
    registry::Registry,
};
use std::fmt;
use warp::http::StatusCode;

/// The measurements of an endpoint-node. Clones are the same measurements.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// `endpoint_requests_total["dialect", "status"]`: answered requests for endpoints, by HTTP status.
    requests: Counters<RequestLabels>,
    /// `endpoint_notifications_total["dialect", "outcome"]`: notifications accepted, by what became of handing them
    /// over.
    notifications: Counters<NotificationLabels>,
    /// `endpoint_refusals_total["errno"]`: refused Web Push requests, by the number of PROTOCOL.md section 5.8.
    refusals: Counters<RefusalLabels>,
    /// `endpoint_request_duration_seconds["dialect"]`: time from the head of a request to its answer.
    request_duration: Labelled<DialectLabels, Durations>,
    /// `endpoint_announcements_total["result"]`: readings of the directory, each of which announces this node.
    announcements: Counters<ResultLabels>,
    /// `endpoint_messages_dropped_total`: messages with TTL 0 that were not handed over and are therefore lost.
    pub(crate) messages_dropped: Counter,
    /// `endpoint_vapid_total["result"]`: credentials presented by application servers, by result.
    vapid: Counters<VapidLabel>,
    /// `endpoint_steps_failed_total["cause"]`: store steps that failed, by cause.
    pub(crate) steps_failed: StepFailureCounter,
    /// `endpoint_store_duration_seconds`: time until the store had taken a notification, or had failed.
    pub(crate) store_duration: Durations,
    /// `endpoint_delivery_duration_seconds`: time from storing a notification to the receipt of its client's node, or to
    /// giving up on it.
    pub(crate) delivery_duration: Durations,
    /// `endpoint_streams_open`: open streams, one to each worker of each connection-node.
    pub(crate) streams_open: Gauge,
    /// `endpoint_nodes`: connection-nodes known.
    pub(crate) nodes: Gauge,
    /// `endpoint_nudges_pending`: connections that missed a notification and will be told to re-read the store.
    pub(crate) nudges_pending: Gauge,
    /// `endpoint_nudges_dropped_total`: connections that missed a notification and were forgotten, because there were too
    /// many.
    pub(crate) nudges_dropped: Counter,
    /// `endpoint_releases_skipped_total`: stale presences left in place, because too many were being released.
    pub(crate) releases_skipped: Counter,
}

/// The dialect and the status of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    dialect: DialectName,
    status: u16,
}

/// The dialect of a notification, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NotificationLabels {
    dialect: DialectName,
    outcome: OutcomeName,
}

/// The dialect of a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DialectLabels {
    dialect: DialectName,
}

/// The number of a refusal; `none` if it has none.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    errno: Errno,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Errno(Option<u16>);

impl EncodeLabelValue for Errno {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        match self.0 {
            Some(number) => number.encode(encoder),
            None => "none".encode(encoder),
        }
    }
}

/// Whether something succeeded.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

impl From<bool> for ResultLabels {
    fn from(succeeded: bool) -> Self {
        Self { result: if succeeded { "ok" } else { "failed" } }
    }
}

/// The result of verifying a credential.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VapidLabel {
    result: VapidResult,
}

/// A dialect, as a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct DialectName(Dialect);

impl EncodeLabelValue for DialectName {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        self.0.name().encode(encoder)
    }
}

/// The result of verifying a VAPID credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum VapidResult {
    /// It is valid, and was remembered.
    Remembered,
    /// It is valid, and was not remembered.
    Verified,
    /// It is not valid.
    Invalid,
}

impl EncodeLabelValue for VapidResult {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        let text = match self {
            Self::Remembered => "remembered",
            Self::Verified => "verified",
            Self::Invalid => "invalid",
        };
        text.encode(encoder)
    }
}

/// What became of an accepted notification, as a label; `None` if the client was not connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct OutcomeName(Option<Result<Receipt, Undelivered>>);

impl EncodeLabelValue for OutcomeName {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        outcome_name(self.0).encode(encoder)
    }
}

/// What became of an accepted notification, in metrics and traces; `None` if the client was not connected.
pub(crate) fn outcome_name(outcome: Option<Result<Receipt, Undelivered>>) -> &'static str {
    match outcome {
        None => "offline",
        Some(Ok(Receipt::Delivered)) => "delivered",
        Some(Ok(Receipt::NotHere)) => "not_here",
        Some(Ok(Receipt::Busy)) => "busy",
        Some(Err(Undelivered::NodeGone)) => "node_gone",
        Some(Err(Undelivered::NodeLongGone)) => "node_long_gone",
        Some(Err(Undelivered::TimedOut)) => "timed_out",
        Some(Err(Undelivered::Broken)) => "broken",
        Some(Err(Undelivered::Unreadable)) => "unreadable",
        Some(Err(Undelivered::Overloaded)) => "overloaded",
    }
}

/// The outcome after this one, in an order that begins with `None` and has them all.
fn next_outcome(
    outcome: Option<Result<Receipt, Undelivered>>,
) -> Option<Option<Result<Receipt, Undelivered>>> {
    let next = match outcome {
        None => Ok(Receipt::Delivered),
        Some(Ok(Receipt::Delivered)) => Ok(Receipt::NotHere),
        Some(Ok(Receipt::NotHere)) => Ok(Receipt::Busy),
        Some(Ok(Receipt::Busy)) => Err(Undelivered::NodeGone),
        Some(Err(Undelivered::NodeGone)) => Err(Undelivered::NodeLongGone),
        Some(Err(Undelivered::NodeLongGone)) => Err(Undelivered::TimedOut),
        Some(Err(Undelivered::TimedOut)) => Err(Undelivered::Broken),
        Some(Err(Undelivered::Broken)) => Err(Undelivered::Unreadable),
        Some(Err(Undelivered::Unreadable)) => Err(Undelivered::Overloaded),
        Some(Err(Undelivered::Overloaded)) => return None,
    };
    Some(Some(next))
}

/// The numbers of PROTOCOL.md section 5.8 that this node answers with.
const ERRNOS: [Option<u16>; 12] = [
    None,
    Some(102),
    Some(103),
    Some(104),
    Some(106),
    Some(109),
    Some(110),
    Some(111),
    Some(112),
    Some(113),
    Some(114),
    Some(201),
];

impl Default for Metrics {
    fn default() -> Self {
        let results = [VapidResult::Remembered, VapidResult::Verified, VapidResult::Invalid];
        Self {
            requests: Counters::new(RequestLabels::of_accepted()),
            notifications: Counters::new(NotificationLabels::all()),
            refusals: Counters::new(ERRNOS.map(|errno| RefusalLabels { errno: Errno(errno) })),
            request_duration: Labelled::new(
                Dialect::ALL.map(|dialect| DialectLabels { dialect: DialectName(dialect) }),
            ),
            announcements: Counters::new([true, false].map(ResultLabels::from)),
            messages_dropped: Counter::default(),
            vapid: Counters::new(results.map(|result| VapidLabel { result })),
            steps_failed: StepFailureCounter::default(),
            store_duration: Durations::default(),
            delivery_duration: Durations::default(),
            streams_open: Gauge::default(),
            nodes: Gauge::default(),
            nudges_pending: Gauge::default(),
            nudges_dropped: Counter::default(),
            releases_skipped: Counter::default(),
        }
    }
}

impl RequestLabels {
    fn new(dialect: Dialect, status: StatusCode) -> Self {
        Self { dialect: DialectName(dialect), status: status.as_u16() }
    }

    /// Those of notifications that are accepted.
    fn of_accepted() -> [Self; 3] {
        [
            Self::new(Dialect::SimplePush, StatusCode::OK),
            Self::new(Dialect::SimplePush, StatusCode::ACCEPTED),
            Self::new(Dialect::WebPush, StatusCode::CREATED),
        ]
    }
}

impl NotificationLabels {
    fn all() -> impl Iterator<Item = Self> {
        let of = |dialect| {
            let outcomes = std::iter::successors(Some(None), |outcome| next_outcome(*outcome));
            outcomes.map(move |outcome| Self { dialect: DialectName(dialect), outcome: OutcomeName(outcome) })
        };
        Dialect::ALL.into_iter().flat_map(of)
    }
}

impl Metrics {
    /// New measurements, registered in `registry` with the prefix `endpoint_`. Pass the sub-registry of `beckon`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let registry = registry.sub_registry_with_prefix("endpoint");
        metrics.requests.register(registry, "requests", "Answered requests for endpoints, by HTTP status");
        metrics.notifications.register(
            registry,
            "notifications",
            "Notifications accepted, by what came of handing them over",
        );
        metrics.refusals.register(
            registry,
            "refusals",
            "Refused Web Push requests, by the number in the answer (PROTOCOL.md section 5.8)",
        );
        metrics.request_duration.register(
            registry,
            "request_duration_seconds",
            "Time from the head of a request to its answer, by dialect",
        );
        metrics.announcements.register(
            registry,
            "announcements",
            "Readings of the directory, each of which announces this node, by result",
        );
        registry.register(
            "messages_dropped",
            "Messages with TTL 0 that were not handed over and are therefore lost",
            metrics.messages_dropped.clone(),
        );
        registry.register("steps_failed", "Store steps that failed, by cause", metrics.steps_failed.clone());
        metrics.vapid.register(registry, "vapid", "Credentials presented by application servers, by result");
        registry.register(
            "store_duration_seconds",
            "Time until the store had taken a notification, or had failed",
            metrics.store_duration.clone(),
        );
        registry.register(
            "delivery_duration_seconds",
            "Time from storing a notification to the receipt of its client's node, or to giving up on it",
            metrics.delivery_duration.clone(),
        );
        registry.register(
            "streams_open",
            "Open streams: one to each worker of each connection-node",
            metrics.streams_open.clone(),
        );
        registry.register("nodes", "Connection-nodes known", metrics.nodes.clone());
        registry.register(
            "nudges_pending",
            "Connections that missed a notification and will be told to re-read the store",
            metrics.nudges_pending.clone(),
        );
        registry.register(
            "nudges_dropped",
            "Connections that missed a notification and were forgotten, because there were too many",
            metrics.nudges_dropped.clone(),
        );
        registry.register(
            "releases_skipped",
            "Stale presences left in place, because too many were being released",
            metrics.releases_skipped.clone(),
        );
        metrics
    }

    /// Counts an answer that is given at `now_us` to a request that began at `began_us`.
    pub(crate) fn count_request(&self, dialect: Dialect, status: StatusCode, began_us: u64, now_us: u64) {
        self.requests.inc(&RequestLabels::new(dialect, status));
        self.request_duration.observe(&DialectLabels { dialect: DialectName(dialect) }, began_us, now_us);
    }

    /// Counts a Web Push request that is refused with this number.
    pub(crate) fn count_refusal(&self, errno: Option<u16>) {
        self.refusals.inc(&RefusalLabels { errno: Errno(errno) });
    }

    /// Counts a reading of the directory.
    pub(crate) fn count_announcement(&self, succeeded: bool) {
        self.announcements.inc(&succeeded.into());
    }

    /// Counts what became of a notification: the receipt, or why there is none; `None` if the client was not
    /// connected.
    pub(crate) fn count_notification(&self, dialect: Dialect, outcome: Option<Result<Receipt, Undelivered>>) {
        let labels = NotificationLabels { dialect: DialectName(dialect), outcome: OutcomeName(outcome) };
        self.notifications.inc(&labels);
    }

    /// Counts the result of verifying a credential.
    pub(crate) fn count_vapid(&self, result: VapidResult) {
        self.vapid.inc(&VapidLabel { result });
    }
}
