//! A set of links: one to each primary, created when first needed.
//!
//! A step is sent to the primary that serves the slot of its key. If it fails there it may be redirected or retried, as
//! [`super::fault`] says, until its time limit ends.

use super::{
    address::Node,
    backoff::{jittered, random},
    batch::Haste,
    dial::now,
    fault::{Fault, StepAction},
    link::Link,
    primary::Primary,
    script::Script,
    slot::Slot,
    topology::{Map, Topology},
};
use crate::Cause;
use redis::{Cmd, Value};
use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};
use tokio::{
    runtime::Handle,
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_util::task::TaskTracker;

/// How often one step is sent.
const ATTEMPTS_MAX: usize = 8;

/// The first pause before a step is sent again to a slot that is moving. It doubles each time.
const MOVING_PAUSE: Duration = Duration::from_millis(20);

/// Links to nodes that serve no slot yet but import one. When there are more, all are dropped and created again when
/// needed.
const IMPORTING_MAX: usize = 16;

/// A step: one call of a script, or one command. All its keys are in one slot. Twice is as good as once.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) script: Option<&'static Script>,
    pub(super) call: Cmd,
    pub(super) slot: Slot,
    pub(super) haste: Haste,
}

/// Links to all primaries. Cheap to create, so that each thread can have its own set.
pub(super) struct Links {
    topology: Arc<Topology>,
    step_timeout: Duration,
    /// Where the links run.
    runtime: Handle,
    routes: RwLock<Routes>,
    under_way: TaskTracker,
}

/// The links that belong to one version of the map.
#[derive(Default)]
struct Routes {
    version: Option<u64>,
    map: Arc<Map>,
    /// The link to each primary, by the number that the map gives it.
    links: Vec<Arc<Link>>,
    importing: Vec<Arc<Link>>,
}

impl Links {
    /// An empty set. The links run on this runtime.
    pub(super) fn new(topology: Arc<Topology>, step_timeout: Duration, runtime: Handle) -> Self {
        Self { topology, step_timeout, runtime, routes: RwLock::default(), under_way: TaskTracker::new() }
    }

    /// Performs a step within the time limit.
    pub(super) async fn perform(&self, step: Step) -> Result<Value, Fault> {
        self.ensure_open()?;
        let _token = self.under_way.token();
        let deadline = now() + self.step_timeout;
        if let Ok(answer) = timeout_at(deadline, self.route(&step, deadline)).await {
            return answer;
        }
        // It may have spent all of its time waiting for a connection.
        let outage = self.link_of(step.slot).ok().and_then(|link| link.outage());
        Err(outage.unwrap_or_else(|| Fault::silent(self.step_timeout)))
    }

    /// # Errors
    /// [`Links::close`] has been called.
    pub(super) fn ensure_open(&self) -> Result<(), Fault> {
        if self.under_way.is_closed() {
            Err(Fault::refused(Cause::Closed, "the store is closed"))
        } else {
            Ok(())
        }
    }

    async fn route(&self, step: &Step, deadline: Instant) -> Result<Value, Fault> {
        let (mut changed, mut ask_at) = (None, None);
        let (mut script, mut full) = (step.script, None);
        let deadline = step.script.is_some_and(Script::is_timed).then_some(deadline);
        let (mut pause, mut was_lost, mut attempts) = (MOVING_PAUSE, false, 0);
        loop {
            let asking = ask_at.is_some();
            let link = match ask_at.take() {
                Some(node) => self.link_at(&node),
                None => self.link_of(step.slot)?,
            };
            let mut call = changed.as_ref().unwrap_or(&step.call).clone();
            if was_lost && step.script.is_some_and(Script::notes_repetition) {
                call.arg(1);
            }
            let replicated = script.is_some_and(Script::is_replicated);
            let fault = match link.send(call, step.haste, deadline, asking, replicated).await {
                Ok(answer) => return Ok(answer),
                Err(fault) => fault,
            };
            attempts += 1;
            if attempts == ATTEMPTS_MAX {
                return Err(fault);
            }
            if let Some(full) = full.take_if(|_| fault.step == StepAction::Fail) {
                return Err(full);
            }
            if fault.cause == Cause::Full
                && let Some(when_full) = script.and_then(Script::when_full)
            {
                changed = Some(when_full.instead(&step.call));
                (script, full) = (Some(when_full), Some(fault));
                continue;
            }
            match fault.step {
                StepAction::RetryOnce if !was_lost => was_lost = true,
                StepAction::Fail | StepAction::FailUnreadable | StepAction::RetryOnce => {
                    return Err(fault);
                }
                // After a jump of the clock, the link has learned it from the answer.
                StepAction::RetryOnNextConnection | StepAction::RetryWithClock(_) => {}
                StepAction::RetryWithText => {
                    changed = script.map(|script| script.with_text(&step.call));
                }
                StepAction::Ask(node) => ask_at = Some(node),
                StepAction::Redirect(slot, node) => {
                    self.topology.moved(slot, &node);
                    // Two nodes that redirect to each other need time to agree.
                    if attempts > 1 {
                        sleep(jittered(pause, random())).await;
                        pause *= 2;
                    }
                }
                StepAction::RetryLater => {
                    sleep(jittered(pause, random())).await;
                    pause *= 2;
                }
            }
        }
    }

    /// Why the link to a primary refuses steps, if there is such a link and it does.
    pub(super) fn refusal(&self, primary: &Arc<Primary>) -> Option<Fault> {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        routes.links.iter().find(|link| Arc::ptr_eq(link.primary(), primary))?.refusal()
    }

    /// Waits until the steps in flight have ended, within the time limit, and refuses new ones.
    pub(super) async fn close(&self) {
        self.under_way.close();
        let _ = timeout(self.step_timeout, self.under_way.wait()).await;
        *self.routes.write().unwrap_or_else(PoisonError::into_inner) = Routes::default();
    }

    /// The link to the primary that serves a slot.
    fn link_of(&self, slot: Slot) -> Result<Arc<Link>, Fault> {
        let find =
            |routes: &Routes| routes.map.owner(slot).and_then(|owner| routes.links.get(owner).cloned());
        let link = self.with_routes(find);
        link.ok_or_else(|| {
            self.topology.request_refresh();
            Fault::refused(Cause::Cluster, "no node of the Redis Cluster serves the slot")
        })
    }

    /// The link to a node that may not serve any slot.
    fn link_at(&self, node: &Node) -> Arc<Link> {
        let is_there = |link: &&Arc<Link>| link.primary().node() == Some(node);
        let find = |routes: &Routes| routes.links.iter().chain(&routes.importing).find(is_there).cloned();
        if let Some(link) = self.with_routes(find) {
            return link;
        }
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(link) = find(&routes) {
            return link;
        }
        if routes.importing.len() >= IMPORTING_MAX {
            routes.importing.clear();
        }
        let link = self.start(Arc::new(Primary::new(Some(node.clone()))));
        routes.importing.push(link.clone());
        link
    }

    /// Reads the routes of the current map.
    fn with_routes<T>(&self, look: impl Fn(&Routes) -> T) -> T {
        let version = Some(self.topology.version());
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        if routes.version == version {
            return look(&routes);
        }
        drop(routes);
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        if routes.version != version {
            // The version is read before the map: a newer map is then noticed by the next call.
            routes.version = version;
            routes.map = self.topology.map();
            let before = std::mem::take(&mut routes.links);
            let links = routes.map.primaries().iter().map(|primary| {
                let known = before.iter().find(|link| Arc::ptr_eq(link.primary(), primary));
                known.cloned().unwrap_or_else(|| self.start(primary.clone()))
            });
            routes.links = links.collect();
            routes.importing.clear();
        }
        look(&routes)
    }

    fn start(&self, primary: Arc<Primary>) -> Arc<Link> {
        let _entered = self.runtime.enter();
        Arc::new(Link::start(self.topology.clone(), primary, self.step_timeout))
    }
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Links").field("topology", &self.topology).finish_non_exhaustive()
    }
}
