//! What the probe measures.

use super::round::{Round, Stage};
use beckon_ops::metrics::{Counters, Durations, Labelled};
use beckon_types::Dialect;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RoundLabels {
    dialect: &'static str,
    /// `ok`, or the stage that failed.
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StageLabels {
    dialect: &'static str,
    stage: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DialectLabels {
    dialect: &'static str,
}

/// The metrics of the probe.
#[derive(Debug)]
pub(super) struct Metrics {
    rounds: Counters<RoundLabels>,
    durations: Labelled<StageLabels, Durations>,
    /// Has a value once there was a round.
    success: Family<DialectLabels, Gauge>,
}

impl Metrics {
    /// Metrics that the registry exports, for these dialects.
    pub(super) fn register(registry: &mut Registry, dialects: &[Dialect]) -> Self {
        let names = || dialects.iter().map(|dialect| dialect.name());
        let results = || std::iter::once("ok").chain(Stage::ALL.map(Stage::name));
        let of_rounds =
            names().flat_map(|dialect| results().map(move |result| RoundLabels { dialect, result }));
        let timed = || Stage::ALL.into_iter().filter(|stage| *stage != Stage::Content).map(Stage::name);
        let of_stages = names().flat_map(|dialect| timed().map(move |stage| StageLabels { dialect, stage }));
        let metrics = Self {
            rounds: Counters::new(of_rounds),
            durations: Labelled::new(of_stages),
            success: Family::default(),
        };
        let registry = registry.sub_registry_with_prefix("beckon_probe");
        metrics.rounds.register(registry, "rounds", "Rounds of the probe, by the stage that failed");
        metrics.durations.register(
            registry,
            "duration_seconds",
            "Time of each stage of a round that succeeded; of arrival, from the beginning of the request",
        );
        let help = "1 if a device has heard in the last round what it was sent, and 0 if not";
        registry.register("success", help, metrics.success.clone());
        metrics
    }

    /// Counts a round.
    pub(super) fn count(&self, dialect: Dialect, round: &Round) {
        let dialect = dialect.name();
        for (stage, took_us) in &round.took {
            self.durations.observe(&StageLabels { dialect, stage: stage.name() }, 0, *took_us);
        }
        let result = round.failure.as_ref().map_or("ok", |(stage, _)| stage.name());
        self.rounds.inc(&RoundLabels { dialect, result });
        let success = i64::from(round.failure.is_none());
        self.success.get_or_create(&DialectLabels { dialect }).set(success);
    }
}
