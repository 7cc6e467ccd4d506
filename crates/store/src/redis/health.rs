//! Health checks: whether every primary accepts writes.
//!
//! Anyone who can reach a public port can ask for a health check, and each check asks every primary. So checks are
//! shared: one runs at a time, and its outcome is valid for a second.

use super::{
    batch::Haste,
    dial::now,
    fault::Fault,
    links::{Links, Step},
    primary::Primary,
    script::SCRIPTS,
    topology::Topology,
};
use crate::{Cause, StoreError};
use futures_util::future::join_all;
use std::{sync::Arc, time::Duration};
use tokio::{sync::Mutex, time::Instant};

/// How long the outcome of a check is valid.
const OUTCOME_LIFETIME: Duration = Duration::from_secs(1);

/// The outcome of the last check.
#[derive(Debug, Default)]
pub(super) struct Health {
    last: Mutex<Option<(Instant, Outcome)>>,
}

/// Which primaries accept writes.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    /// Every one.
    pub(super) all: Result<(), StoreError>,
    /// At least one.
    pub(super) any: Result<(), StoreError>,
}

impl Health {
    /// Writes to every primary over the links that are reserved for it, and looks at the links for steps.
    pub(super) async fn check(&self, topology: &Topology, vital: &Links, steps: &Links) -> Outcome {
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
        let fails_whole = failing.len() == map.primaries().len();
        let all = match failing.first() {
            None if map.has_gaps() => Err(StoreError::unavailable(
                Cause::Cluster,
                "some slots of the Redis Cluster are not served by any node",
            )),
            None => Ok(()),
            Some((primary, fault)) => {
                let (failing, all) = (failing.len(), map.primaries().len());
                let reason = format!("{failing} of {all} primaries fail, such as {primary}: {fault}");
                Err(StoreError::unavailable(fault.cause, reason))
            }
        };
        let any = if fails_whole { all.clone() } else { Ok(()) };
        let outcome = Outcome { all, any };
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
    let (call, slot) = topology.check_call(primary)?;
    let script = Some(&SCRIPTS.check);
    let step = Step { script, call, slot, haste: Haste::AtOnce };
    let fault = match vital.perform(step).await {
        Err(fault) => Some(fault),
        Ok(_) => steps.refusal(primary).or_else(|| primary.degraded(now())),
    };
    fault.map(|fault| (&**primary, fault))
}

/// How full the fullest primary is, of those that say so. Fails if one does not answer: it may be the fullest.
pub(super) async fn fullness(topology: &Topology, vital: &Links) -> Result<Option<f64>, Fault> {
    let map = topology.map();
    let asked = join_all(map.primaries().iter().map(|primary| memory(topology, vital, primary))).await;
    let said: Vec<_> = asked.into_iter().collect::<Result<_, _>>()?;
    Ok(said.into_iter().flatten().max_by(f64::total_cmp))
}

/// How full a primary is; `None` if it has no limit, or its user may not send `INFO`.
async fn memory(topology: &Topology, vital: &Links, primary: &Arc<Primary>) -> Result<Option<f64>, Fault> {
    // Any slot of the primary will do.
    let Some((_, slot)) = topology.check_call(primary) else { return Ok(None) };
    let mut call = redis::cmd("INFO");
    call.arg("memory");
    match vital.perform(Step { script: None, call, slot, haste: Haste::AtOnce }).await {
        Ok(answer) => {
            let info: String = redis::from_redis_value(answer)
                .map_err(|error| Fault::refused(Cause::Unreadable, error.to_string()))?;
            Ok(fullness_in(&info))
        }
        Err(fault) if fault.is_lack_of_rights() => Ok(None),
        Err(fault) => Err(fault),
    }
}

/// How full a primary is according to `INFO memory`.
fn fullness_in(info: &str) -> Option<f64> {
    let field = |name: &str| -> Option<f64> {
        info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?.trim().parse().ok()
    };
    let (used, max) = (field("used_memory")?, field("maxmemory")?);
    (max > 0.0).then_some(used / max)
}
