//! A set of links: one to each primary, made when it is first needed.
//!
//! A step goes to the primary that has the slot of its key. What it meets there may send it elsewhere, or let it go again
//! ([`super::fault`]), as long as its time limit lasts.

use super::{
    address::Node,
    batch::Haste,
    fault::{Fault, StepAction},
    link::Link,
    pace::{jittered, random},
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
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;

/// How often one step goes: first, and again.
const GOES_MAX: usize = 8;

/// The pause before a step goes again to a slot that is moving. It doubles each time.
const MOVING_PAUSE: Duration = Duration::from_millis(20);

/// Links to nodes that have no slot, as far as is known: those that slots are moving to. With more of them, all are
/// given up and made again when needed.
const STRANGERS_MAX: usize = 16;

/// Whether a command may be executed twice, because the answer to the first time was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Twice is as good as once.
    Harmless,
    /// Each time makes something new. So the lost answer is told.
    Harmful,
}

/// A step for Redis: one call of a script, with one key or several in the same slot.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) script: &'static Script,
    pub(super) call: Cmd,
    pub(super) slot: Slot,
    pub(super) repeat: Repeat,
    pub(super) haste: Haste,
}

/// Links to all primaries. Cheap to make: a thread may have its own.
pub(super) struct Links {
    topology: Arc<Topology>,
    step_timeout: Duration,
    routes: RwLock<Routes>,
    under_way: TaskTracker,
}

/// The links, as the map of this version has the primaries.
#[derive(Default)]
struct Routes {
    version: Option<u64>,
    map: Arc<Map>,
    /// The link to each primary of the map, by its number.
    links: Vec<Arc<Link>>,
    strangers: Vec<Arc<Link>>,
}

impl Links {
    /// No link yet.
    pub(super) fn new(topology: Arc<Topology>, step_timeout: Duration) -> Self {
        Self { topology, step_timeout, routes: RwLock::default(), under_way: TaskTracker::new() }
    }

    /// Performs a step within the time limit, and sends the script's text if the server does not have it.
    pub(super) async fn perform(&self, step: Step) -> Result<Value, Fault> {
        self.ensure_open()?;
        let _token = self.under_way.token();
        let answer = timeout(self.step_timeout, self.go(&step)).await;
        answer.unwrap_or_else(|_| Err(Fault::silent(self.step_timeout)))
    }

    /// # Errors
    /// It has been closed.
    pub(super) fn ensure_open(&self) -> Result<(), Fault> {
        if self.under_way.is_closed() {
            Err(Fault::refused(Cause::Closed, "the store is closed"))
        } else {
            Ok(())
        }
    }

    async fn go(&self, step: &Step) -> Result<Value, Fault> {
        let (mut with_text, mut ask_at) = (None, None);
        let (mut pause, mut was_lost, mut goes) = (MOVING_PAUSE, false, 0);
        loop {
            let asking = ask_at.is_some();
            let link = match ask_at.take() {
                Some(node) => self.link_at(&node),
                None => self.link_of(step.slot)?,
            };
            let call = with_text.as_ref().unwrap_or(&step.call).clone();
            let fault = match link.send(call, step.haste, asking).await {
                Ok(answer) => return Ok(answer),
                Err(fault) => fault,
            };
            goes += 1;
            if goes == GOES_MAX {
                return Err(fault);
            }
            match fault.step {
                StepAction::GoIfHarmless if step.repeat == Repeat::Harmless && !was_lost => was_lost = true,
                StepAction::Fail | StepAction::FailUnreadable | StepAction::GoIfHarmless => {
                    return Err(fault);
                }
                StepAction::GoOnNextConnection => {}
                StepAction::GoWithText => with_text = Some(step.script.with_text(&step.call)),
                StepAction::AskAt(node) => ask_at = Some(node),
                StepAction::GoTo(slot, node) => {
                    self.topology.moved(slot, &node);
                    // Two nodes that name each other will agree in a while.
                    if goes > 1 {
                        sleep(jittered(pause, random())).await;
                        pause *= 2;
                    }
                }
                StepAction::GoAfterPause => {
                    sleep(jittered(pause, random())).await;
                    pause *= 2;
                }
            }
        }
    }

    /// Why the link to a primary refuses steps, if there is one and it does.
    pub(super) fn fault(&self, primary: &Arc<Primary>) -> Option<Fault> {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        routes.links.iter().find(|link| Arc::ptr_eq(link.primary(), primary))?.fault()
    }

    /// Lets the steps under way end, within the time limit, and refuses further ones.
    pub(super) async fn close(&self) {
        self.under_way.close();
        let _ = timeout(self.step_timeout, self.under_way.wait()).await;
        *self.routes.write().unwrap_or_else(PoisonError::into_inner) = Routes::default();
    }

    /// The link to the primary that has a slot.
    fn link_of(&self, slot: Slot) -> Result<Arc<Link>, Fault> {
        let find =
            |routes: &Routes| routes.map.owner(slot).and_then(|owner| routes.links.get(owner).cloned());
        let link = self.with_routes(find);
        link.ok_or_else(|| {
            self.topology.mark_outdated();
            Fault::refused(Cause::Cluster, "no node of the Redis Cluster has the slot")
        })
    }

    /// The link to a node that need not have a slot.
    fn link_at(&self, node: &Node) -> Arc<Link> {
        let is_there = |link: &&Arc<Link>| link.primary().node() == Some(node);
        let find = |routes: &Routes| routes.links.iter().chain(&routes.strangers).find(is_there).cloned();
        if let Some(link) = self.with_routes(find) {
            return link;
        }
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(link) = find(&routes) {
            return link;
        }
        if routes.strangers.len() >= STRANGERS_MAX {
            routes.strangers.clear();
        }
        let link = self.start(Arc::new(Primary::new(Some(node.clone()))));
        routes.strangers.push(link.clone());
        link
    }

    /// Looks at the routes of the present map.
    fn with_routes<T>(&self, look: impl Fn(&Routes) -> T) -> T {
        let version = Some(self.topology.version());
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        if routes.version == version {
            return look(&routes);
        }
        drop(routes);
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        if routes.version != version {
            // The version first: a map that comes between the two is taken at the next look.
            routes.version = version;
            routes.map = self.topology.map();
            let before = std::mem::take(&mut routes.links);
            let links = routes.map.primaries().iter().map(|primary| {
                let known = before.iter().find(|link| Arc::ptr_eq(link.primary(), primary));
                known.cloned().unwrap_or_else(|| self.start(primary.clone()))
            });
            routes.links = links.collect();
            routes.strangers.clear();
        }
        look(&routes)
    }

    fn start(&self, primary: Arc<Primary>) -> Arc<Link> {
        Arc::new(Link::start(self.topology.clone(), primary, self.step_timeout))
    }
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Links").field("topology", &self.topology).finish_non_exhaustive()
    }
}
