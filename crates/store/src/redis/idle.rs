//! After how long without a connection a record expires.

/// The time in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct IdleMs {
    /// That of a client that has come back, or was written to.
    pub(super) known: u64,
    /// That of any other: no longer.
    pub(super) newcomer: u64,
}

impl IdleMs {
    /// What a write gives a client that was a newcomer; 0 for nothing.
    pub(super) fn after_a_write(self) -> u64 {
        if self.newcomer < self.known { self.known } else { 0 }
    }
}
