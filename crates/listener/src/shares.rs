//! What each source may take of a node.

use crate::{
    metrics::{Metrics, Reason},
    rate::{Counts, Jitter, Limiter},
    settings::{Current, PortSettings},
    source::Source,
    trust::Trust,
};
use beckon_ops::{
    clock::Clock,
    log_throttle::{self, LogThrottle},
};
use std::{sync::Arc, time::Duration};

/// After this long, a source with too many sockets may try again.
const SOCKETS_RETRY: Duration = Duration::from_secs(60);

/// The shares of all sources. A source of `None` is not limited.
#[derive(Debug)]
pub struct Shares {
    settings: Current,
    trust: Arc<Trust>,
    clock: Clock,
    metrics: Metrics,
    log: LogThrottle<(Reason, Source)>,
    jitter: Jitter,
    sockets: Counts,
    upgrades: Limiter,
    hellos: Limiter,
    registers: Limiter,
    requests: Limiter,
}

impl Shares {
    pub(crate) fn new(current: Current, trust: Arc<Trust>, clock: Clock, metrics: Metrics) -> Self {
        let settings = current.load();
        Self {
            settings: current.clone(),
            trust,
            clock,
            metrics,
            log: LogThrottle::new(log_throttle::INTERVAL),
            jitter: Jitter::default(),
            sockets: Counts::default(),
            upgrades: Limiter::new(settings.source_upgrades),
            hellos: Limiter::new(settings.source_hellos),
            registers: Limiter::new(settings.source_registers),
            requests: Limiter::new(settings.source_requests),
        }
    }

    /// From now on these settings, on all ports. Each port has limits besides ([`crate::port::Port::set_limits`]).
    pub fn replace(&self, settings: PortSettings) {
        self.upgrades.set_rate(settings.source_upgrades);
        self.hellos.set_rate(settings.source_hellos);
        self.registers.set_rate(settings.source_registers);
        self.requests.set_rate(settings.source_requests);
        self.settings.replace(settings);
    }

    /// One more upgrade, and the socket that comes of it; [`Shares::close`] has to follow.
    ///
    /// # Errors
    /// Too many: when to try again.
    pub fn open(&self, port: &'static str, source: Option<Source>) -> Result<(), Duration> {
        let Some(known) = source else { return Ok(()) };
        self.admit(port, Reason::SourceUpgrades, &self.upgrades, known)?;
        let max = self.settings.load().source_max_sockets.saturating_mul(self.trust.factor(known));
        if self.sockets.add(known, max) {
            return Ok(());
        }
        self.refused(port, Reason::SourceSockets, known);
        Err(self.jitter.spread(SOCKETS_RETRY))
    }

    /// One more socket, which another process has opened; [`Shares::close`] has to follow.
    pub fn adopt(&self, source: Option<Source>) {
        if let Some(source) = source {
            // Nobody has so many.
            let _ = self.sockets.add(source, u32::MAX);
        }
    }

    /// A socket has ended.
    pub fn close(&self, source: Option<Source>) {
        if let Some(source) = source {
            self.sockets.remove(source);
        }
    }

    /// Whether the source may say one more hello.
    pub fn admits_hello(&self, port: &'static str, source: Option<Source>) -> bool {
        source.is_none_or(|source| self.admit(port, Reason::SourceHellos, &self.hellos, source).is_ok())
    }

    /// Whether the source may register one more channel.
    pub fn admits_register(&self, port: &'static str, source: Option<Source>) -> bool {
        source.is_none_or(|source| self.admit(port, Reason::SourceRegisters, &self.registers, source).is_ok())
    }

    /// One more request.
    ///
    /// # Errors
    /// Too many: when to try again.
    pub(crate) fn request(&self, port: &'static str, source: Option<Source>) -> Result<(), Duration> {
        source.map_or(Ok(()), |source| self.admit(port, Reason::SourceRequests, &self.requests, source))
    }

    fn admit(
        &self,
        port: &'static str,
        reason: Reason,
        limiter: &Limiter,
        source: Source,
    ) -> Result<(), Duration> {
        limiter.admit(source, self.trust.factor(source), self.clock.now_us()).map_err(|wait| {
            self.refused(port, reason, source);
            self.jitter.spread(wait)
        })
    }

    fn refused(&self, port: &'static str, reason: Reason, source: Source) {
        self.metrics.refused(port, reason);
        if let Some(suppressed) = self.log.admit((reason, source), self.clock.now_ms()) {
            tracing::warn!(port, %source, ?reason, suppressed, "a source takes more than its share");
        }
    }
}
