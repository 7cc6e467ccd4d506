//! The suite that every store passes: each sentence of the documentation of [`Store`] is a case, written once and run
//! on every implementation.
//!
//! A test crate names a function that makes a store, and gets one `#[tokio::test]` for each case:
//!
//! ```text
//! mod embedded {
//!     async fn fixture() -> beckon_store_conformance::Fixture { .. }
//!     beckon_store_conformance::suite!(fixture);
//! }
//! ```
//!
//! If a store takes seconds to start, [`run_all`] runs all cases on one store: the cases use random identifiers and
//! do not disturb each other.
//!
//! * [`hello`], [`channels`], [`pending`], [`messages`], [`backlog`], [`broadcasts`], [`records`], [`operators`],
//!   [`directory`]: the cases, by subject;
//! * [`late`]: steps that their callers have given up;
//! * [`model`]: random steps, compared with a simple reference;
//! * [`steps`], [`message_steps`]: helpers that perform a step.
//!
//! Some cases wait for a second until a message expires, so the store's clock has to advance.

pub mod backlog;
pub mod broadcasts;
pub mod cases;
pub mod channels;
pub mod directory;
pub mod hello;
pub mod late;
pub mod message_steps;
pub mod messages;
pub mod model;
pub mod operators;
pub mod pending;
pub mod records;
pub mod steps;

use beckon_store::Store;
use std::{any::Any, fmt, sync::Arc};

/// A store to run a case on, and what has to live as long as the store, such as a server or a directory.
pub struct Fixture {
    /// The store.
    pub store: Arc<dyn Store>,
    /// Dropped after the case.
    pub holds: Box<dyn Any + Send>,
}

impl fmt::Debug for Fixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fixture").field("store", &self.store).finish_non_exhaustive()
    }
}

/// Runs all cases on one store, one after the other.
///
/// # Panics
///
/// With the names of the cases that failed.
pub async fn run_all(store: &Arc<dyn Store>) {
    let mut failed = Vec::new();
    let cases = [
        hello::CASES,
        channels::CASES,
        pending::CASES,
        messages::CASES,
        backlog::CASES,
        broadcasts::CASES,
        records::CASES,
        operators::CASES,
        directory::CASES,
    ];
    for (name, case) in cases.concat() {
        // In a task, so that the other cases run even if this one panics.
        let mut task = tokio::task::JoinSet::new();
        task.spawn(case(Arc::clone(store)));
        if task.join_next().await.is_some_and(|outcome| outcome.is_err()) {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "cases failed: {failed:?}");
}

/// One test for each case, on the store that `$fixture` makes.
#[macro_export]
macro_rules! suite {
    ($fixture:path) => {
        $crate::hello_cases!($fixture);
        $crate::channel_cases!($fixture);
        $crate::pending_cases!($fixture);
        $crate::message_cases!($fixture);
        $crate::backlog_cases!($fixture);
        $crate::broadcast_cases!($fixture);
        $crate::record_cases!($fixture);
        $crate::operator_cases!($fixture);
        $crate::directory_cases!($fixture);
    };
}
