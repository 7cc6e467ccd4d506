//! Clients that never came back.

use std::time::Duration;

/// Newcomers expire this many times sooner when the store is fuller than [`Newcomers::memory_high`].
pub(crate) const NEWCOMER_IDLE_PARTS: u32 = 7;

/// When clients are forgotten that never came back after their first socket, and were never written to. Anyone can make
/// them, so they are worth little.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Newcomers {
    /// The record of one that was not seen for so long expires; a seventh of it when the store is fuller than
    /// `memory_high`. [`crate::OpenOptions::uaid_idle`] applies if it is less.
    pub idle: Duration,
    /// How full a store may be ([`crate::Store::fullness`]), from 0 to 1.
    pub memory_high: f64,
}

impl Default for Newcomers {
    fn default() -> Self {
        Self { idle: Duration::from_secs(7 * 24 * 60 * 60), memory_high: 0.8 }
    }
}
