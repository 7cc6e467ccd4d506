//! Whether this process serves: a process that hands over to another one stops for a moment, and then for good or not.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};
use tokio::sync::watch;

/// How far a process has given up its service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It serves.
    #[default]
    Serving,
    /// It accepts no connections. They wait in the kernel, whichever process will accept them.
    Settling,
    /// It also changes nothing of what it hands over.
    Frozen,
    /// Another process serves.
    Over,
}

/// The service of a process. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Tenure {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    phase: watch::Sender<Phase>,
    /// The same as a phase of at least [`Phase::Frozen`], without its lock.
    is_frozen: AtomicBool,
    /// How often the phase has changed.
    changes: AtomicU64,
}

impl Tenure {
    /// A process that serves.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A process that does not serve yet, because another one does.
    #[must_use]
    pub fn frozen() -> Self {
        let tenure = Self::default();
        tenure.enter(Phase::Frozen);
        tenure
    }

    /// Enters a phase. Nothing follows [`Phase::Over`].
    pub fn enter(&self, phase: Phase) {
        self.shared.phase.send_if_modified(|now| {
            let changes = *now != Phase::Over && *now != phase;
            if changes {
                *now = phase;
                self.shared.is_frozen.store(phase >= Phase::Frozen, Ordering::Release);
                self.shared.changes.fetch_add(1, Ordering::AcqRel);
            }
            changes
        });
    }

    /// The phase now.
    pub fn phase(&self) -> Phase {
        *self.shared.phase.borrow()
    }

    /// Whether the process is frozen, or another one serves. Costs one atomic load.
    pub fn is_frozen(&self) -> bool {
        self.shared.is_frozen.load(Ordering::Acquire)
    }

    /// How often the phase has changed. Costs one atomic load.
    pub fn changes(&self) -> u64 {
        self.shared.changes.load(Ordering::Acquire)
    }

    /// Whether another process serves.
    pub fn is_over(&self) -> bool {
        self.phase() == Phase::Over
    }

    /// Ready in this phase. Cancel safe.
    pub async fn reached(&self, phase: Phase) {
        // The sender lives as long as `self`.
        let _ = self.shared.phase.subscribe().wait_for(|now| *now == phase).await;
    }

    /// Ready in this phase or a later one. Cancel safe.
    pub async fn at_least(&self, phase: Phase) {
        let _ = self.shared.phase.subscribe().wait_for(|now| *now >= phase).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_goes_on_unless_another_one_serves() {
        let tenure = Tenure::frozen();
        assert!(tenure.is_frozen() && !tenure.is_over());
        tenure.enter(Phase::Serving);
        tenure.reached(Phase::Serving).await;
        tenure.enter(Phase::Settling);
        assert!(!tenure.is_frozen());
        tenure.enter(Phase::Over);
        tenure.enter(Phase::Serving);
        tenure.at_least(Phase::Settling).await;
        assert!(tenure.is_frozen() && tenure.is_over());
    }
}
