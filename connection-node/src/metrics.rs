//! What is measured on a connection-node. docs/metrics.md lists it, as a program exports it.

mod ends;
mod labels;

use crate::{memory::Memory, registry::Registry as Connections};
use beckon_node::step_failures::StepFailureCounter;
use beckon_ops::{
    clock::Clock,
    metrics::{Counter, Counters, Durations, Labelled, Long},
};
use beckon_proto::delivery::Receipt;
use beckon_session::{ClientReport, Outcome};
use beckon_types::Sequence;
use ends::EndLabels;
pub(crate) use ends::{Because, End};
pub(crate) use labels::{Doubt, Eviction, HandOver, Kind, StepKind, Upgrade};
use labels::{
    DoubtLabels, EvictionLabels, HandOverLabels, HelloLabels, ParcelLabels, ReportLabels, ResultLabels,
    StepLabels, UpgradeLabels,
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::gauge::{ConstGauge, Gauge},
    registry::Registry,
};
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// The metrics of a connection-node, except those that are read at each scrape ([`Open`] and [`Lease`]).
#[derive(Debug)]
pub(crate) struct Metrics {
    upgrades: Counters<UpgradeLabels>,
    hellos: Counters<HelloLabels>,
    /// From the first hello of a connection to its reply.
    pub(crate) hello_duration: Durations,
    ends: Counters<EndLabels>,
    /// From the upgrade to the end of each connection. The registry measures it.
    pub(crate) lifetimes: Durations<Long>,
    /// Text messages queued to sockets.
    pub(crate) messages_sent: Counter,
    /// Sockets that had more to write than a peer took.
    pub(crate) congestions: Counter,
    parcels: Counters<ParcelLabels>,
    /// From the mailbox to the socket.
    mailbox_duration: Durations,
    /// From the store to the socket.
    age: Durations<Long>,
    /// From the socket to the acknowledgement.
    ack_duration: Durations<Long>,
    /// Sockets dropped because the peer did not drain its socket or answer a Close frame in time.
    pub(crate) sockets_dropped: Counter,
    /// Sockets dropped because they held the most when the node held too much for its peers.
    pub(crate) sockets_overdrawn: Counter,
    evictions: Counters<EvictionLabels>,
    step_duration: Labelled<StepLabels, Durations>,
    /// Store steps that failed, by cause.
    pub(crate) steps_failed: StepFailureCounter,
    announcements: Counters<ResultLabels>,
    doubts: Counters<DoubtLabels>,
    /// Verifications that the store has put off.
    verifications_postponed: Counter,
    client_reports: Counters<ReportLabels>,
    /// Changes of the broadcasts that this node has seen.
    pub(crate) broadcast_changes: Counter,
    /// Sockets of the hand-over with which this process began.
    handed_over: Counters<HandOverLabels>,
    /// How long nothing was served at that hand-over, in seconds; 0 if there was none.
    pub(crate) hand_over_pause: Gauge<f64, AtomicU64>,
    /// Connections moved in memory, so that the memory of those that left is given back.
    pub(crate) connections_moved: Counter,
}

/// The metrics `connections`, `connections_max` and `worker_connections`: the sockets that are open now, on the node and on
/// each worker, and how many there may be; and `buffered_bytes`: what they hold for their peers.
pub(crate) struct Open {
    /// Has the sockets.
    pub(crate) registry: Arc<Connections>,
    /// Knows what they hold.
    pub(crate) memory: Arc<Memory>,
    /// The limit of the node, which an operator can change.
    pub(crate) max: Box<dyn Fn() -> u64 + Send + Sync>,
}

impl fmt::Debug for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Open").field("registry", &self.registry).finish_non_exhaustive()
    }
}

impl Collector for Open {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let gauge = |open: u64| ConstGauge::new(i64::try_from(open).unwrap_or(i64::MAX));
        for (name, help, value) in [
            ("connections", "WebSockets that are open now", self.registry.open()),
            ("connections_max", "WebSockets that may be open: the setting max_connections", (self.max)()),
            (
                "buffered_bytes",
                "Bytes that WebSockets hold for their peers, of max_buffered",
                self.memory.held(),
            ),
        ] {
            let gauge = gauge(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        let (help, metric_type) =
            ("WebSockets that are open now on each worker thread", gauge(0).metric_type());
        let mut family = encoder.encode_descriptor("worker_connections", help, None, metric_type)?;
        for worker in 0..self.registry.workers() {
            gauge(self.registry.open_of(worker)).encode(family.encode_family(&[("worker", worker)])?)?;
        }
        Ok(())
    }
}

/// The metric `lease_age_seconds`. Clones are the same lease.
#[derive(Debug, Clone)]
pub(crate) struct Lease {
    clock: Clock,
    /// When the node was last announced, in milliseconds of the clock.
    renewed_ms: Arc<AtomicU64>,
}

impl Lease {
    /// A lease that has not been renewed since the clock began.
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, renewed_ms: Arc::default() }
    }

    fn renew(&self) {
        self.renewed_ms.store(self.clock.now_ms(), Ordering::Relaxed);
    }
}

impl Collector for Lease {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let age = Duration::from_millis(
            self.clock.now_ms().saturating_sub(self.renewed_ms.load(Ordering::Relaxed)),
        );
        let help = "Time since this node was last announced in the directory; its lease lapses after 10 s";
        let gauge = ConstGauge::new(age.as_secs_f64());
        gauge.encode(encoder.encode_descriptor("lease_age_seconds", help, None, gauge.metric_type())?)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            upgrades: Counters::new(UpgradeLabels::all()),
            hellos: Counters::new(HelloLabels::all()),
            hello_duration: Durations::default(),
            ends: Counters::new(EndLabels::all()),
            lifetimes: Durations::default(),
            messages_sent: Counter::default(),
            congestions: Counter::default(),
            parcels: Counters::new(ParcelLabels::all()),
            mailbox_duration: Durations::default(),
            age: Durations::default(),
            ack_duration: Durations::default(),
            sockets_dropped: Counter::default(),
            sockets_overdrawn: Counter::default(),
            evictions: Counters::new(EvictionLabels::all()),
            step_duration: Labelled::new(StepLabels::all()),
            steps_failed: StepFailureCounter::default(),
            announcements: Counters::new(ResultLabels::all()),
            doubts: Counters::new(DoubtLabels::all()),
            verifications_postponed: Counter::default(),
            client_reports: Counters::new(ReportLabels::all()),
            broadcast_changes: Counter::default(),
            handed_over: Counters::new(HandOverLabels::all()),
            hand_over_pause: Gauge::default(),
            connections_moved: Counter::default(),
        }
    }
}

impl Metrics {
    /// Metrics that the registry exports.
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        metrics.register_connections(registry);
        metrics.register_deliveries(registry);
        metrics.register_store(registry);
        metrics
    }

    fn register_connections(&self, registry: &mut Registry) {
        self.upgrades.register(registry, "upgrades", "Upgrade requests, by outcome");
        self.hellos.register(
            registry,
            "hellos",
            "First hellos that the store has answered, by dialect and outcome; blocked and failed have none",
        );
        let help = "Time from the first hello of a connection to its reply, or until it failed: the store, and closing an older socket here";
        registry.register("hello_duration_seconds", help, self.hello_duration.clone());
        self.ends.register(registry, "connection_ends", "Connections that have ended, by whom and why");
        let help = "Time from the upgrade of a connection to its end";
        registry.register("connection_duration_seconds", help, self.lifetimes.clone());
        let help = "Sockets dropped because the peer did not drain them or answer a Close frame";
        registry.register("sockets_dropped", help, self.sockets_dropped.clone());
        let help = "Sockets dropped because they held the most when the node held too much for its peers";
        registry.register("sockets_overdrawn", help, self.sockets_overdrawn.clone());
        let help = "Times that a socket had more to write than its peer took, so that nothing more was taken from it";
        registry.register("congestions", help, self.congestions.clone());
        self.evictions.register(
            registry,
            "evictions",
            "Older sockets of a client that has said hello here, by what became of closing them",
        );
        let help = "Sockets of the process from which this one has taken over, by what became of them";
        self.handed_over.register(registry, "hand_over_sockets", help);
        let help =
            "How long nothing was served when this process took over from another one; 0 if it did not";
        registry.register("hand_over_pause_seconds", help, self.hand_over_pause.clone());
        let help = "Connections moved in memory to give back the memory of those that left";
        registry.register("connections_moved", help, self.connections_moved.clone());
    }

    fn register_deliveries(&self, registry: &mut Registry) {
        let help = "Text messages queued to sockets";
        registry.register("messages_sent", help, self.messages_sent.clone());
        self.parcels.register(registry, "parcels", "Notifications from endpoint-nodes, by kind and receipt");
        let help = "Time from the receipt of a notification on this node to writing it to its socket";
        registry.register("mailbox_duration_seconds", help, self.mailbox_duration.clone());
        let help = "Time from accepting a notification to writing it to a socket, by the clocks of the store and this node";
        registry.register("delivery_age_seconds", help, self.age.clone());
        let help = "Time from the last transmission of a stored notification to its acknowledgement";
        registry.register("ack_duration_seconds", help, self.ack_duration.clone());
        let help = "What Web Push clients reported about messages and channels";
        self.client_reports.register(registry, "client_reports", help);
        let help = "Changes of the broadcasts that this node has seen";
        registry.register("broadcast_changes", help, self.broadcast_changes.clone());
    }

    fn register_store(&self, registry: &mut Registry) {
        self.step_duration.register(
            registry,
            "step_duration_seconds",
            "Time that the store took for a step of a connection, or until it failed, by step",
        );
        registry.register("steps_failed", "Store steps that failed, by cause", self.steps_failed.clone());
        self.announcements.register(
            registry,
            "announcements",
            "Announcements of this node in the directory, each of which renews its lease, by result",
        );
        self.doubts.register(
            registry,
            "claim_doubts",
            "Times that all connections verify that they own their clients, by reason",
        );
        let help = "Verifications that are repeated later, because the store has enough to do";
        registry.register("verifications_postponed", help, self.verifications_postponed.clone());
    }

    /// Counts an upgrade request.
    pub(crate) fn upgrade(&self, outcome: Upgrade) {
        self.upgrades.inc(&outcome.into());
    }

    /// Counts a notification.
    pub(crate) fn parcel(&self, kind: Kind, receipt: Receipt) {
        self.parcels.inc(&ParcelLabels::new(kind, receipt));
    }

    /// Counts what a user agent reported.
    pub(crate) fn client_report(&self, report: ClientReport) {
        self.client_reports.inc(&report.into());
    }

    /// Counts a connection whose end begins. Once for each.
    pub(crate) fn ended(&self, end: End) {
        self.ends.inc(&end.into());
    }

    /// Measures a step of a connection that the store has answered, from these readings of the clock. Its first hello is
    /// counted.
    pub(crate) fn step(&self, kind: StepKind, outcome: &Outcome, began_us: u64, now_us: u64) {
        self.step_duration.observe(&kind.into(), began_us, now_us);
        if kind == StepKind::Hello {
            self.hellos.inc(&outcome.into());
        }
        if matches!(outcome, Outcome::Postponed) {
            self.verifications_postponed.inc();
        }
    }

    /// Measures a first hello, which came and was answered at these readings of the clock.
    pub(crate) fn hello(&self, came_us: u64, now_us: u64) {
        self.hello_duration.observe(came_us, now_us);
    }

    /// Measures a notification that goes to its socket.
    pub(crate) fn took_from_mailbox(&self, waited: Duration) {
        self.mailbox_duration.observe(0, microseconds(waited));
    }

    /// Measures the age of a write that is sent. `now_ms` is the time since 1970.
    pub(crate) fn sent(&self, sequence: Sequence, now_ms: u64) {
        // At least the store's clock, which may be ahead.
        self.age.observe(0, now_ms.saturating_sub(sequence.0).saturating_mul(1000));
    }

    /// Measures an acknowledgement.
    pub(crate) fn acknowledged(&self, waited: Duration) {
        self.ack_duration.observe(0, microseconds(waited));
    }

    /// Counts sockets of the process before this one.
    pub(crate) fn handed_over(&self, outcome: HandOver, sockets: u64) {
        self.handed_over.inc_by(&outcome.into(), sockets);
    }

    /// Counts what became of an eviction.
    pub(crate) fn evicted(&self, eviction: Eviction) {
        self.evictions.inc(&eviction.into());
    }

    /// Counts an announcement of this node; `lease` is renewed by one that succeeded.
    pub(crate) fn announced(&self, succeeded: bool, lease: &Lease) {
        self.announcements.inc(&succeeded.into());
        if succeeded {
            lease.renew();
        }
    }

    /// Counts a doubt.
    pub(crate) fn doubt(&self, doubt: Doubt) {
        self.doubts.inc(&doubt.into());
    }
}

fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
