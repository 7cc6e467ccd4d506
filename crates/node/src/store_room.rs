//! What the store has room for. A stranger can fill it; when it fills up, what is new is refused first, so that known clients
//! get what is sent to them and can acknowledge it.

use beckon_store::Store;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::gauge::ConstGauge,
    registry::Registry,
};
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};

/// How often the store is asked how full it is.
const INTERVAL: Duration = Duration::from_secs(2);

/// The store has to be so much emptier before something is no longer refused, so that this does not change all the time.
const MARGIN: f64 = 0.01;

/// What may be refused, the first first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Newcomer {
    /// Clients that the store does not have yet.
    Client = 1,
    /// Channels.
    Channel = 2,
    /// Messages of an urgency below normal, unless their TTL is 0.
    Message = 3,
}

impl Newcomer {
    const ALL: [Self; 3] = [Self::Client, Self::Channel, Self::Message];

    /// How full the store is when this is refused; `high` is the mark of the first.
    fn mark(self, high: f64) -> f64 {
        high + (1.0 - high) * f64::from(self as u8 - 1) / 3.0
    }
}

/// How full the store is, and so what it has room for.
#[derive(Debug)]
pub struct StoreRoom {
    /// The setting `store_memory_high`.
    high: f64,
    /// The bits of an `f64`.
    fullness: AtomicU64,
    /// How many of [`Newcomer::ALL`] are refused.
    refused: AtomicU8,
}

impl StoreRoom {
    /// Room for everything, until it is known how full the store is. `high` is how full it is when new clients are
    /// refused, from 0 to 1.
    #[must_use]
    pub fn new(high: f64) -> Self {
        Self { high, fullness: AtomicU64::new(0), refused: AtomicU8::new(0) }
    }

    /// Registers the metric `store_fullness`.
    pub(crate) fn register(self: &Arc<Self>, registry: &mut Registry) {
        registry.register_collector(Box::new(Fullness(self.clone())));
    }

    /// Whether there is room for this.
    pub fn has_room_for(&self, newcomer: Newcomer) -> bool {
        self.refused.load(Ordering::Relaxed) < newcomer as u8
    }

    /// Asks the store how full it is, again and again. Never ends.
    pub(crate) async fn keep_current(self: Arc<Self>, store: Arc<dyn Store>) {
        let mut interval = tokio::time::interval(INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut is_answered = true;
        loop {
            interval.tick().await;
            match store.fullness().await {
                Ok(fullness) => {
                    self.set(fullness.unwrap_or_default());
                    is_answered = true;
                }
                // It may be as full as before.
                Err(error) => {
                    if is_answered {
                        tracing::warn!(%error, "the store does not say how full it is, and counts as full as before");
                    }
                    is_answered = false;
                }
            }
        }
    }

    fn set(&self, fullness: f64) {
        self.fullness.store(fullness.to_bits(), Ordering::Relaxed);
        let before = self.refused.load(Ordering::Relaxed);
        let is_refused = |newcomer: &Newcomer| {
            let margin = if *newcomer as u8 <= before { MARGIN } else { 0.0 };
            self.high < 1.0 && fullness >= newcomer.mark(self.high) - margin
        };
        let refused = Newcomer::ALL.iter().filter(|newcomer| is_refused(newcomer)).count() as u8;
        self.refused.store(refused, Ordering::Relaxed);
        if refused == before {
            return;
        }
        let percent = (fullness * 100.0).round();
        match refused {
            0 => tracing::info!(percent, "the store has room for new clients again"),
            1 => tracing::warn!(percent, "the store is so full that new clients are refused"),
            2 => tracing::warn!(percent, "the store is so full that new clients and channels are refused"),
            _ => tracing::error!(
                percent,
                "the store is so full that new clients, new channels and messages of low urgency are refused"
            ),
        }
    }
}

/// The metric `store_fullness`.
#[derive(Debug)]
struct Fullness(Arc<StoreRoom>);

impl Collector for Fullness {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let gauge = ConstGauge::new(f64::from_bits(self.0.fullness.load(Ordering::Relaxed)));
        let help = "How full the store is, from 0 to 1; 0 if that is unknown or it has no limit";
        gauge.encode(encoder.encode_descriptor("store_fullness", help, None, gauge.metric_type())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_is_refused_first() {
        let room = StoreRoom::new(0.7);
        for (fullness, refused) in [
            (0.0, 0),
            (0.69, 0),
            (0.7, 1),
            (0.695, 1),
            (0.68, 0),
            (0.81, 2),
            (0.795, 2),
            (0.91, 3),
            (1.0, 3),
            (0.895, 3),
            (0.88, 2),
            (0.1, 0),
        ] {
            room.set(fullness);
            let all = Newcomer::ALL.map(|newcomer| !room.has_room_for(newcomer));
            assert_eq!(all, [refused > 0, refused > 1, refused > 2], "{fullness}");
        }
        let never = StoreRoom::new(1.0);
        never.set(1.0);
        assert!(never.has_room_for(Newcomer::Client));
    }
}
