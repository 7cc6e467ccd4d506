//! What programs and their store have at several points of a run: what only grows, shows.

use crate::{census::Census, ledger::Ledger};
use std::fmt;

/// The parts of the run after which is counted, besides its start and its end.
const MARKS: [f64; 3] = [0.25, 0.5, 0.75];

/// Memory that a program may have added in the second half of a run, in bytes: 64 for each notification of a million, of which half
/// came then. What it needs for its devices, it has had in the first half.
const SPARE_BYTES: f64 = 32.0 * 1024.0 * 1024.0;

/// The counts so far.
#[derive(Debug, Default)]
pub(crate) struct Growth {
    counts: Vec<Count>,
}

#[derive(Debug)]
struct Count {
    at_ms: u64,
    sent: u64,
    census: Census,
}

impl Growth {
    /// Whether it is time to count again, after this part of the run. The first is counted at the start.
    pub(crate) fn is_due(&self, part: f64) -> bool {
        let passed = self.counts.len().checked_sub(1).and_then(|passed| MARKS.get(passed));
        passed.is_some_and(|mark| part >= *mark)
    }

    /// Adds what was counted now.
    pub(crate) fn add(&mut self, ledger: &Ledger, census: Census) {
        self.counts.push(Count { at_ms: ledger.now(), sent: ledger.sent(), census });
    }

    /// At the start.
    pub(crate) fn first(&self) -> Option<&Census> {
        self.counts.first().map(|count| &count.census)
    }

    /// The programs that have needed much more memory at the end than after half of the run, and have not been started again.
    pub(crate) fn found(&self) -> Vec<String> {
        let half = MARKS.iter().position(|mark| *mark == 0.5).and_then(|passed| self.counts.get(passed + 1));
        let (Some(half), Some(end)) = (half, self.counts.last()) else { return Vec::new() };
        end.census.grown_since(&half.census, SPARE_BYTES)
    }
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Count { at_ms, sent, census } in &self.counts {
            writeln!(f, "after {:.0} s and {sent} notifications:\n{census}", *at_ms as f64 / 1000.0)?;
        }
        Ok(())
    }
}
