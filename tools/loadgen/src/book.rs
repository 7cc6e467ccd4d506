//! Where everything that happens is written down.

use crate::{ledger::Ledger, stats::Stats};

/// Notifications one by one, and everything else in numbers.
#[derive(Debug)]
pub struct Book {
    /// What became of each notification.
    pub ledger: Ledger,
    /// What was counted.
    pub stats: Stats,
}
