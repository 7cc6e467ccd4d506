//! After how long without a connection a record expires.

use crate::newcomers::NEWCOMER_IDLE_PARTS;
use beckon_types::UNREGISTERED_LIFETIME;
use redis::Cmd;
use std::time::Duration;

/// The longest time that is used, a thousand years: Redis rejects an expiry that overflows.
const IDLE_MS_MAX: u64 = 1000 * 365 * 24 * 60 * 60 * 1000;

/// The time in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct IdleMs {
    /// That of a client that has come back, or was written to.
    pub(super) known: u64,
    /// That of any other: no longer.
    pub(super) newcomer: u64,
    /// That of a client without channels: no longer. Its record exists only while it is connected.
    unregistered: u64,
}

impl IdleMs {
    pub(super) fn new(known: Duration, newcomer: Duration) -> Self {
        let ms = |idle: Duration| u64::try_from(idle.as_millis()).unwrap_or(u64::MAX).clamp(1, IDLE_MS_MAX);
        let (known, unregistered) = (ms(known), ms(UNREGISTERED_LIFETIME));
        let newcomer = ms(newcomer).min(known);
        Self { known, newcomer, unregistered: unregistered.min(newcomer) }
    }

    /// The same for a store that is fuller than it should be.
    pub(super) fn when_high(self) -> Self {
        let newcomer = (self.newcomer / u64::from(NEWCOMER_IDLE_PARTS)).max(1);
        Self { newcomer, unregistered: self.unregistered.min(newcomer), ..self }
    }

    /// Adds the arguments of a script that renews the record of a connected client.
    pub(super) fn add_to(self, call: &mut Cmd) {
        call.arg(self.known).arg(self.newcomer).arg(self.unregistered);
    }

    /// What a write gives a client that was a newcomer; 0 for nothing.
    pub(super) fn after_a_write(self) -> u64 {
        if self.newcomer < self.known { self.known } else { 0 }
    }
}
