//! Draining: sending new work elsewhere, and keeping what is there until the peers have gone.
//!
//! A drain is not a shutdown. An operator can begin one and take it back (`POST /drain`, `POST /undrain`); a shutdown
//! begins one and ends the program when it is over. It has two phases:
//!
//! 1. [`Phase::Leaving`], for `drain_delay`: load balancers read that the node is not ready, and everything is served.
//! 2. [`Phase::Closing`]: upgrades are refused, and sockets are closed at `drain_rate`. Requests are served on.

use beckon_ops::shutdown::Shutdown;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::gauge::ConstGauge,
    registry::Registry,
};
use serde::Serialize;
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{sync::watch, time::timeout};

/// How far a drain has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// The node is not draining.
    #[default]
    Serving,
    /// Load balancers should use another node; everything is served.
    Leaving,
    /// Sockets are closed and upgrades are refused; requests are served.
    Closing,
}

/// The program is stopping, so its drain cannot be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the node is stopping")]
pub struct Stopping;

/// The drain of a node. Clones are the same drain.
#[derive(Debug, Clone)]
pub struct Drain {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    shutdown: Shutdown,
    delay_ms: AtomicU64,
    phase: watch::Sender<Phase>,
    /// The same as a phase that is not [`Phase::Serving`], without its lock: every request asks this.
    is_draining: AtomicBool,
}

impl Drain {
    /// The drain of a node that is serving; `delay` is the time between [`Phase::Leaving`] and [`Phase::Closing`].
    #[must_use]
    pub fn new(shutdown: &Shutdown, delay: Duration) -> Self {
        let (shutdown, phase) = (shutdown.clone(), watch::Sender::default());
        let is_draining = AtomicBool::new(false);
        let drain =
            Self { shared: Arc::new(Shared { shutdown, delay_ms: AtomicU64::new(0), phase, is_draining }) };
        drain.set_delay(delay);
        drain
    }

    /// Changes the delay, for the drains that begin after this.
    pub fn set_delay(&self, delay: Duration) {
        let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.shared.delay_ms.store(delay_ms, Ordering::Relaxed);
    }

    fn delay(&self) -> Duration {
        Duration::from_millis(self.shared.delay_ms.load(Ordering::Relaxed))
    }

    /// Registers the metric `draining`: 1 while the node drains.
    pub(crate) fn register(&self, metrics: &mut Registry) {
        metrics.register_collector(Box::new(Draining(self.clone())));
    }

    /// The phase now.
    pub fn phase(&self) -> Phase {
        *self.shared.phase.borrow()
    }

    /// Whether load balancers should use another node. True as soon as the shutdown is requested. Takes no lock.
    pub fn is_draining(&self) -> bool {
        self.shared.shutdown.is_requested() || self.shared.is_draining.load(Ordering::Relaxed)
    }

    /// Whether sockets are being closed.
    pub fn is_closing(&self) -> bool {
        self.phase() == Phase::Closing
    }

    /// Begins to drain. Changes nothing if the node drains already.
    pub fn begin(&self) {
        let begins = self.shared.phase.send_if_modified(|phase| {
            let begins = *phase == Phase::Serving;
            if begins {
                *phase = Phase::Leaving;
                self.shared.is_draining.store(true, Ordering::Relaxed);
            }
            begins
        });
        if begins {
            tracing::info!(delay = ?self.delay(), "draining");
        }
    }

    /// Closes sockets from now on, for good: another process serves, and this one stops.
    pub fn close_at_once(&self) {
        self.shared.is_draining.store(true, Ordering::Relaxed);
        self.shared.phase.send_replace(Phase::Closing);
    }

    /// Serves as before from now on. Sockets that are closed already stay closed.
    ///
    /// # Errors
    /// The program is stopping.
    pub fn undo(&self) -> Result<(), Stopping> {
        if self.shared.shutdown.is_requested() {
            return Err(Stopping);
        }
        let was_draining = self.shared.phase.send_if_modified(|phase| {
            self.shared.is_draining.store(false, Ordering::Relaxed);
            std::mem::take(phase) != Phase::Serving
        });
        if was_draining {
            tracing::info!("not draining any more");
        }
        Ok(())
    }

    /// Ready when the drain is in this phase.
    pub async fn reached(&self, phase: Phase) {
        // The sender lives as long as `self`.
        let _ = self.shared.phase.subscribe().wait_for(|now| *now == phase).await;
    }

    /// Ready when the drain is in another phase than this.
    pub async fn left(&self, phase: Phase) {
        let _ = self.shared.phase.subscribe().wait_for(|now| *now != phase).await;
    }

    /// Begins the drain when the shutdown is requested, and lets each drain go from one phase to the next. Never
    /// ends.
    pub async fn keep(self) {
        let Shared { shutdown, phase, .. } = &*self.shared;
        let on_shutdown = async {
            shutdown.requested().await;
            self.begin();
            std::future::pending::<()>().await;
        };
        let on_delay = async {
            loop {
                self.reached(Phase::Leaving).await;
                if timeout(self.delay(), self.left(Phase::Leaving)).await.is_err() {
                    phase.send_if_modified(|phase| {
                        let is_over = *phase == Phase::Leaving;
                        if is_over {
                            *phase = Phase::Closing;
                        }
                        is_over
                    });
                }
            }
        };
        tokio::join!(on_shutdown, on_delay);
    }

    /// For a stopping program: waits until the delay is over. Less after a second signal or a failure.
    pub async fn delayed(&self) {
        // The timer of `keep` ends first; the second is for a machine that is busy.
        let bound = self.delay() + Duration::from_secs(1);
        if self.shared.shutdown.within(bound, self.reached(Phase::Closing)).await.is_none() {
            self.shared.phase.send_replace(Phase::Closing);
        }
    }
}

#[derive(Debug)]
struct Draining(Drain);

impl Collector for Draining {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let draining = ConstGauge::new(i64::from(self.0.is_draining()));
        let help = "1 while the node drains";
        draining.encode(encoder.encode_descriptor("draining", help, None, draining.metric_type())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use beckon_ops::stage::Stage;
    use tokio::time::sleep;

    const DELAY: Duration = Duration::from_secs(5);

    fn drain() -> (Shutdown, Drain, Stage) {
        let shutdown = Shutdown::new();
        let (drain, stage) = (Drain::new(&shutdown, DELAY), Stage::new(&shutdown, "admin"));
        stage.spawn_endless("drain", drain.clone().keep());
        (shutdown, drain, stage)
    }

    #[tokio::test(start_paused = true)]
    async fn sockets_are_closed_after_the_delay() {
        let (_, drain, _stage) = drain();
        assert!(!drain.is_draining());
        drain.begin();
        assert_eq!((drain.phase(), drain.is_draining()), (Phase::Leaving, true));
        sleep(DELAY - Duration::from_millis(1)).await;
        drain.begin();
        assert_eq!(drain.phase(), Phase::Leaving);
        sleep(Duration::from_millis(2)).await;
        assert_eq!(drain.phase(), Phase::Closing);
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_that_is_taken_back_begins_anew() {
        let (_, drain, _stage) = drain();
        drain.begin();
        sleep(DELAY / 2).await;
        assert_eq!(drain.undo(), Ok(()));
        assert!(!drain.is_draining());
        sleep(DELAY).await;
        assert_eq!(drain.phase(), Phase::Serving);
        drain.begin();
        sleep(DELAY / 2).await;
        assert_eq!(drain.phase(), Phase::Leaving);
        drain.reached(Phase::Closing).await;
        assert_eq!(drain.undo(), Ok(()));
        assert_eq!(drain.phase(), Phase::Serving);
    }

    #[tokio::test(start_paused = true)]
    async fn a_shutdown_drains_for_good() {
        let (shutdown, drain, _stage) = drain();
        shutdown.request();
        assert!(drain.is_draining());
        drain.delayed().await;
        assert_eq!((drain.undo(), drain.phase()), (Err(Stopping), Phase::Closing));
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_signal_ends_the_delay() {
        let (shutdown, drain, _stage) = drain();
        shutdown.hurry();
        let delayed = timeout(Duration::from_secs(1), drain.delayed()).await;
        assert_eq!((delayed, drain.phase()), (Ok(()), Phase::Closing));
    }
}
