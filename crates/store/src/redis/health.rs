//! Whether every primary takes writes, for health checks.
//!
//! A health check may be asked for by whoever reaches a port, and each asks every primary. So they share: one at a time,
//! and what it has found is good for a second.

use super::{
    batch::Haste,
    dial::now,
    fault::Fault,
    links::{Links, Repeat, Step},
    primary::Primary,
    script::SCRIPTS,
    topology::Topology,
};
use crate::{Cause, StoreError};
use futures_util::future::join_all;
use std::{sync::Arc, time::Duration};
use tokio::{sync::Mutex, time::Instant};

/// How long the outcome of a check is good for.
const OUTCOME_LIFETIME: Duration = Duration::from_secs(1);

/// The outcome of the last check.
#[derive(Debug, Default)]
pub(super) struct Health {
    last: Mutex<Option<(Instant, Result<(), StoreError>)>>,
}

impl Health {
    /// Asks every primary to write, in the lane that is kept free for it, and looks at how steps fare on theirs.
    pub(super) async fn check(
        &self,
        topology: &Topology,
        vital: &Links,
        steps: &Links,
    ) -> Result<(), StoreError> {
        let mut last = self.last.lock().await;
        if let Some((since, outcome)) = &*last
            && since.elapsed() < OUTCOME_LIFETIME
        {
            return outcome.clone();
        }
        let map = topology.map();
        let checks = map.primaries().iter().map(|primary| check(topology, vital, steps, primary));
        let outcomes = join_all(checks).await;
        let failing: Vec<_> = outcomes.into_iter().flatten().collect();
        let outcome = match failing.first() {
            None if map.has_gaps() => {
                Err(StoreError::unavailable(Cause::Cluster, "some slots of the Redis Cluster are at no node"))
            }
            None => Ok(()),
            Some((primary, fault)) => {
                let (failing, all) = (failing.len(), map.primaries().len());
                let reason = format!("{failing} of {all} primaries fail, such as {primary}: {fault}");
                Err(StoreError::unavailable(fault.cause, reason))
            }
        };
        *last = Some((now(), outcome.clone()));
        outcome
    }
}

/// What is wrong with a primary.
async fn check<'a>(
    topology: &Topology,
    vital: &Links,
    steps: &Links,
    primary: &'a Arc<Primary>,
) -> Option<(&'a Primary, Fault)> {
    let (call, slot) = topology.check(primary)?;
    let script = &SCRIPTS.check;
    let step = Step { script, call, slot, repeat: Repeat::Harmless, haste: Haste::AtOnce };
    let fault = match vital.perform(step).await {
        Err(fault) => Some(fault),
        Ok(_) => steps.fault(primary).or_else(|| primary.complaint(now())),
    };
    fault.map(|fault| (&**primary, fault))
}
