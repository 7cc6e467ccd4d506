//! What this node measures. The doc comment of a field is its help text.

use beckon_proto::delivery::{Receipt, Undelivered};
use beckon_types::Dialect;
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};
use std::fmt;
use warp::http::StatusCode;

/// The upper bound of the first bucket of a duration, in seconds; each further one doubles it, up to 3.3 s.
const FIRST_BUCKET: f64 = 0.000_1;

/// The number of buckets of a duration.
const BUCKETS: u16 = 16;

/// The measurements of an endpoint-node. Clones are the same measurements.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// `endpoint_requests_total["dialect", "status"]`: answered requests for endpoints, by HTTP status.
    requests: Family<RequestLabels, Counter>,
    /// `endpoint_notifications_total["dialect", "outcome"]`: notifications accepted, by what came of handing them
    /// over.
    notifications: Family<NotificationLabels, Counter>,
    /// `endpoint_messages_dropped_total`: messages with TTL 0 that were not handed over, and so are lost.
    pub(crate) messages_dropped: Counter,
    /// `endpoint_vapid_total["result"]`: credentials shown by application servers, by what was found.
    vapid: Family<VapidLabel, Counter>,
    /// `endpoint_store_duration_seconds`: time for the store to take a notification, or to fail.
    pub(crate) store_duration: Histogram,
    /// `endpoint_delivery_duration_seconds`: time from a notification being stored until the receipt of the node
    /// that has its client, or until that is given up.
    pub(crate) delivery_duration: Histogram,
    /// `endpoint_streams_open`: connection-nodes to which a stream is open.
    pub(crate) streams_open: Gauge,
    /// `endpoint_nodes`: connection-nodes known.
    pub(crate) nodes: Gauge,
    /// `endpoint_nudges_pending`: connections that got no receipt and will be told to look into the store.
    pub(crate) nudges_pending: Gauge,
    /// `endpoint_nudges_dropped_total`: connections that could not be remembered, because there were too many.
    pub(crate) nudges_dropped: Counter,
    /// `endpoint_releases_skipped_total`: stale presences left alone, because too many were being released.
    pub(crate) releases_skipped: Counter,
}

/// Whom an answer went to, and its status.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    dialect: DialectName,
    status: u16,
}

/// What was handed over, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NotificationLabels {
    dialect: DialectName,
    outcome: OutcomeName,
}

/// What was found of a credential.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VapidLabel {
    result: VapidResult,
}

/// A dialect, as a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct DialectName(Dialect);

impl EncodeLabelValue for DialectName {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        let text = match self.0 {
            Dialect::SimplePush => "simplepush",
            Dialect::WebPush => "webpush",
        };
        text.encode(encoder)
    }
}

/// What was found of a VAPID credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum VapidResult {
    /// It is good, and was remembered.
    Remembered,
    /// It is good, and was not remembered.
    Verified,
    /// It is worth nothing.
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
        let text = match self.0 {
            None => "offline",
            Some(Ok(Receipt::Delivered)) => "delivered",
            Some(Ok(Receipt::NotHere)) => "not_here",
            Some(Ok(Receipt::Busy)) => "busy",
            Some(Err(Undelivered::NodeGone)) => "node_gone",
            Some(Err(Undelivered::TimedOut)) => "timed_out",
            Some(Err(Undelivered::Broken)) => "broken",
            Some(Err(Undelivered::Overloaded)) => "overloaded",
        };
        text.encode(encoder)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let duration = || Histogram::new(exponential_buckets(FIRST_BUCKET, 2.0, BUCKETS));
        Self {
            requests: Family::default(),
            notifications: Family::default(),
            messages_dropped: Counter::default(),
            vapid: Family::default(),
            store_duration: duration(),
            delivery_duration: duration(),
            streams_open: Gauge::default(),
            nodes: Gauge::default(),
            nudges_pending: Gauge::default(),
            nudges_dropped: Counter::default(),
            releases_skipped: Counter::default(),
        }
    }
}

impl Metrics {
    /// New measurements, shown in `registry` under `endpoint_`. Pass the registry's part for `beckon`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let registry = registry.sub_registry_with_prefix("endpoint");
        registry.register(
            "requests",
            "Answered requests for endpoints, by HTTP status",
            metrics.requests.clone(),
        );
        registry.register(
            "notifications",
            "Notifications accepted, by what came of handing them over",
            metrics.notifications.clone(),
        );
        registry.register(
            "messages_dropped",
            "Messages with TTL 0 that were not handed over, and so are lost",
            metrics.messages_dropped.clone(),
        );
        registry.register(
            "vapid",
            "Credentials shown by application servers, by what was found",
            metrics.vapid.clone(),
        );
        registry.register(
            "store_duration_seconds",
            "Time for the store to take a notification, or to fail",
            metrics.store_duration.clone(),
        );
        registry.register(
            "delivery_duration_seconds",
            "Time from a notification being stored until the receipt of its client's node, or until that is given up",
            metrics.delivery_duration.clone(),
        );
        registry.register(
            "streams_open",
            "Connection-nodes to which a stream is open",
            metrics.streams_open.clone(),
        );
        registry.register("nodes", "Connection-nodes known", metrics.nodes.clone());
        registry.register(
            "nudges_pending",
            "Connections that got no receipt and will be told to look into the store",
            metrics.nudges_pending.clone(),
        );
        registry.register(
            "nudges_dropped",
            "Connections that could not be remembered, because there were too many",
            metrics.nudges_dropped.clone(),
        );
        registry.register(
            "releases_skipped",
            "Stale presences left alone, because too many were being released",
            metrics.releases_skipped.clone(),
        );
        metrics
    }

    /// Counts an answer.
    pub(crate) fn count_request(&self, dialect: Dialect, status: StatusCode) {
        let labels = RequestLabels { dialect: DialectName(dialect), status: status.as_u16() };
        self.requests.get_or_create(&labels).inc();
    }

    /// Counts what became of a notification: the receipt, or why there is none; `None` if the client was not
    /// connected.
    pub(crate) fn count_notification(&self, dialect: Dialect, outcome: Option<Result<Receipt, Undelivered>>) {
        let labels = NotificationLabels { dialect: DialectName(dialect), outcome: OutcomeName(outcome) };
        self.notifications.get_or_create(&labels).inc();
    }

    /// Counts what was found of a credential.
    pub(crate) fn count_vapid(&self, result: VapidResult) {
        self.vapid.get_or_create(&VapidLabel { result }).inc();
    }
}

/// The time between two readings of a clock in microseconds, in seconds.
pub(crate) fn seconds(from_us: u64, until_us: u64) -> f64 {
    until_us.saturating_sub(from_us) as f64 / 1e6
}
