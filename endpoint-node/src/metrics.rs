//! What this node measures. The doc comment of a field is its help text.

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use proto::delivery::{Receipt, Undelivered};

/// The measurements of an endpoint-node. Clones are the same measurements.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    /// `endpoint_requests_total["status"]`: answered requests for endpoints, by HTTP status.
    pub(crate) requests: Family<StatusLabel, Counter>,
    /// `endpoint_notifications_total["outcome"]`: notifications stored, by what came of handing them over.
    pub(crate) notifications: Family<OutcomeLabel, Counter>,
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

/// The status of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct StatusLabel {
    pub(crate) status: u16,
}

/// What came of handing a notification over.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct OutcomeLabel {
    pub(crate) outcome: Outcome,
}

/// What came of handing a stored notification over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum Outcome {
    /// A connection has taken it.
    Delivered,
    /// The presence was stale.
    NotHere,
    /// The connection's mailbox was full.
    Busy,
    /// The client was not connected.
    Offline,
    /// The client's node has no lease.
    NodeGone,
    /// No receipt came in time.
    TimedOut,
    /// The stream to the node was broken.
    Broken,
    /// Too much waited for the node.
    Overloaded,
}

impl From<Result<Receipt, Undelivered>> for Outcome {
    fn from(receipt: Result<Receipt, Undelivered>) -> Self {
        match receipt {
            Ok(Receipt::Delivered) => Self::Delivered,
            Ok(Receipt::NotHere) => Self::NotHere,
            Ok(Receipt::Busy) => Self::Busy,
            Err(Undelivered::NodeGone) => Self::NodeGone,
            Err(Undelivered::TimedOut) => Self::TimedOut,
            Err(Undelivered::Broken) => Self::Broken,
            Err(Undelivered::Overloaded) => Self::Overloaded,
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
            "Notifications stored, by what came of handing them over",
            metrics.notifications.clone(),
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

    /// Counts what came of handing a notification over.
    pub(crate) fn count_notification(&self, outcome: Outcome) {
        self.notifications.get_or_create(&OutcomeLabel { outcome }).inc();
    }
}
