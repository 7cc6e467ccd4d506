//! A set of links: one to each primary, created when first needed.
//!
//! A step is sent to the primary that serves the slot of its key. If it fails there it may be redirected or retried, as
//! [`super::fault`] says, until its time limit ends.

use super::{
    address::Node,
    backoff::{jittered, random},
    batch::{Haste, Reply, Since},
    dial::now,
    fault::{Fault, StepAction},
    link::Link,
    primary::Primary,
    script::{SCRIPTS, Script},
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
    time::{Instant, sleep, sleep_until, timeout, timeout_at},
};
use tokio_util::task::TaskTracker;

/// How often one step is sent.
const ATTEMPTS_MAX: usize = 8;

/// The first pause before a step is sent again to a slot that is moving. It doubles each time.
const MOVING_PAUSE: Duration = Duration::from_millis(20);

/// Links to nodes that serve no slot yet but import one. When there are more, all are dropped and created again when
/// needed.
const IMPORTING_MAX: usize = 16;

/// A step: one call of a script, or one command. All its keys are in one slot. Twice is as good as once, or recognized.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) script: Option<&'static Script>,
    pub(super) call: Cmd,
    pub(super) slot: Slot,
    pub(super) haste: Haste,
}

/// What the next attempt of a step differs in from the first.
struct Course<'a> {
    step: &'a Step,
    /// The script that is called.
    script: Option<&'static Script>,
    /// The call, if it is another one.
    changed: Option<Cmd>,
    /// The first fault, while the script for a full Redis is tried.
    full: Option<Fault>,
    /// A node to ask, with `ASKING`.
    ask_at: Option<Node>,
    /// The node that the last redirection has named.
    redirected: Option<Node>,
    /// Answers of nodes of a Redis Cluster that say that something is not stored. One is believed when another node redirects to
    /// the one that has given it.
    denials: Vec<Reply>,
    /// The link to that other node.
    witness: Option<Arc<Link>>,
    was_lost: bool,
    /// When the step was begun, by the clock of the primary that it was sent to before its answer was lost.
    since: Since,
    /// Whether the primary may have executed it, or may still do so until its deadline.
    is_uncertain: bool,
    pause: Duration,
}

impl<'a> Course<'a> {
    fn new(step: &'a Step) -> Self {
        Self {
            step,
            script: step.script,
            changed: None,
            full: None,
            ask_at: None,
            redirected: None,
            denials: Vec::new(),
            witness: None,
            was_lost: false,
            since: Since { at: now(), clock_ms: None },
            is_uncertain: false,
            pause: MOVING_PAUSE,
        }
    }

    fn call(&self) -> Cmd {
        self.changed.as_ref().unwrap_or(&self.step.call).clone()
    }

    /// When the step was sent first, if the primary of this link, to which it is sent now, has to know that.
    fn since(&mut self, link: &Link) -> Option<Since> {
        if !self.step.script.is_some_and(Script::notes_repetition) {
            return None;
        }
        if !self.was_lost {
            self.since.clock_ms = link.primary().clock().map(|clock| clock.earliest_ms(self.since.at));
            return None;
        }
        Some(self.since)
    }

    /// Notes whether the step may have been executed.
    fn noting(&mut self, answer: Result<Reply, Fault>) -> Result<Reply, Fault> {
        self.is_uncertain |= answer.as_ref().is_err_and(|fault| fault.is_uncertain);
        answer
    }

    /// Waits, twice as long each time.
    async fn pause(&mut self) {
        sleep(jittered(self.pause, random())).await;
        self.pause *= 2;
    }
}

/// One of them at random.
fn any<T>(of: &[T]) -> Option<&T> {
    let index = random().checked_rem(of.len() as u64)?;
    usize::try_from(index).ok().and_then(|index| of.get(index))
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

    /// Performs a step. It is not called failed while it can still be executed: by then, a later step could have been performed
    /// elsewhere.
    async fn route(&self, step: &Step, deadline: Instant) -> Result<Value, Fault> {
        let deadline = step.script.is_some_and(Script::is_timed).then_some(deadline);
        let mut course = Course::new(step);
        let answer = self.attempts(&mut course, deadline).await;
        if let (Err(_), true, Some(deadline)) = (&answer, course.is_uncertain, deadline) {
            sleep_until(deadline).await;
        }
        answer
    }

    /// The link to the primary that serves the slot of a step, as far as is known.
    fn link_for(&self, course: &Course<'_>) -> Result<Arc<Link>, Fault> {
        // The map may be of a node that does not know better.
        match course.redirected.as_ref().filter(|_| !course.denials.is_empty()) {
            Some(node) => Ok(self.link_at(node)),
            None => self.link_of(course.step.slot),
        }
    }

    async fn attempts(&self, course: &mut Course<'_>, deadline: Option<Instant>) -> Result<Value, Fault> {
        let step = course.step;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let (witness, ask_at) = (course.witness.take(), course.ask_at.take());
            let (is_witness, asking) = (witness.is_some(), ask_at.is_some());
            let link = match (witness, ask_at) {
                (Some(witness), _) => witness,
                (None, Some(node)) => self.link_at(&node),
                (None, None) => self.link_for(course)?,
            };
            let replicated =
                self.topology.replicas_wanted() > 0 && course.script.is_some_and(Script::is_replicated);
            // A witness redirects. It may be a replica, which has none, or lack its own.
            let waits = replicated && !is_witness;
            let answer =
                link.send(course.call(), step.haste, course.since(&link), deadline, asking, waits).await;
            let fault = match course.noting(answer) {
                Ok(reply) if !course.script.is_some_and(|script| script.denies(&reply.value)) => {
                    if !course.denials.is_empty() {
                        self.topology.moved(step.slot, &reply.from);
                    }
                    if waits == replicated {
                        return Ok(reply.value);
                    }
                    // It has performed the step, so it serves the slot. Once more, for its replicas.
                    course.denials.clear();
                    course.was_lost = true;
                    let fault = Fault::refused(Cause::NotDurable, "replicas were not waited for");
                    Fault { step: StepAction::RetryOnNextConnection, ..fault }
                }
                Ok(denial) if self.topology.is_cluster() => {
                    course.denials.push(denial);
                    // Who asks for the slot there was sent by the node that serves it, as far as that knows.
                    course.witness =
                        if asking { Some(self.link_of(step.slot)?) } else { self.witness(&course.denials)? };
                    match course.denials.pop_if(|_| course.witness.is_none()) {
                        // All of them deny it.
                        Some(denial) => return Ok(denial.value),
                        None => {
                            Fault::refused(Cause::Unconfirmed, "the nodes of the Redis Cluster do not agree")
                        }
                    }
                }
                // Boxed, so that the future of every other step is no larger for it.
                Ok(denial) => match Box::pin(self.confirm(&link, &denial.from)).await {
                    Ok(()) => return Ok(denial.value),
                    Err(fault) => fault,
                },
                Err(fault) if course.denials.is_empty() => fault,
                Err(fault) if fault.redirects() => {
                    match course.denials.iter().position(|denial| fault.redirects_to(&denial.from)) {
                        Some(confirmed) => return Ok(course.denials.swap_remove(confirmed).value),
                        None => fault,
                    }
                }
                Err(fault) => {
                    if fault.step == StepAction::RetryWithText {
                        course.changed = course.script.map(|script| script.with_text(&step.call));
                    }
                    course.witness = self.witness(&course.denials)?;
                    Fault::unconfirmed(&fault)
                }
            };
            if attempt == ATTEMPTS_MAX {
                return Err(if course.denials.is_empty() { fault } else { Fault::unconfirmed(&fault) });
            }
            if course.witness.is_none() {
                self.next(course, fault, attempt).await?;
            }
        }
    }

    /// Prepares the next attempt, or returns the fault if there is none.
    async fn next(&self, course: &mut Course<'_>, fault: Fault, attempt: usize) -> Result<(), Fault> {
        if let Some(full) = course.full.take_if(|_| fault.step == StepAction::Fail) {
            return Err(full);
        }
        if fault.cause == Cause::Full
            && let Some(when_full) = course.script.and_then(Script::when_full)
        {
            course.changed = Some(when_full.instead(&course.step.call));
            (course.script, course.full) = (Some(when_full), Some(fault));
            return Ok(());
        }
        match fault.step {
            StepAction::RetryOnce if !course.was_lost => course.was_lost = true,
            StepAction::Fail | StepAction::FailUnreadable | StepAction::RetryOnce => {
                return Err(fault);
            }
            // After a jump of the clock, the link has learned it from the answer.
            StepAction::RetryOnNextConnection | StepAction::RetryWithClock(_) => {}
            StepAction::RetryWithText => {
                course.changed = course.script.map(|script| script.with_text(&course.step.call));
            }
            StepAction::Ask(node) => course.ask_at = Some(node),
            StepAction::Redirect(slot, node) => {
                self.topology.moved(slot, &node);
                course.redirected = Some(node);
                // Two nodes that redirect to each other need time to agree.
                if attempt > 1 {
                    course.pause().await;
                }
            }
            StepAction::RetryLater => course.pause().await,
        }
        Ok(())
    }

    /// Confirms that a server that has answered on this link is the primary: by the Sentinels, or else by its replicas, which
    /// have to have what is written to it after the answer. Without either there is no one to ask.
    async fn confirm(&self, link: &Link, server: &Arc<Node>) -> Result<(), Fault> {
        if let Some(sentinels) = self.topology.sentinels() {
            return sentinels.confirm(server).await;
        }
        let check =
            if self.topology.replicas_wanted() > 0 { self.topology.check_call(link.primary()) } else { None };
        let Some((call, _)) = check else { return Ok(()) };
        let check = link.send(SCRIPTS.check.with_text(&call), Haste::AtOnce, None, None, false, true).await?;
        if Arc::ptr_eq(&check.from, server) {
            return Ok(());
        }
        let fault =
            Fault::refused(Cause::Unconfirmed, "the connection was replaced before the replicas answered");
        Err(Fault { step: StepAction::RetryOnNextConnection, ..fault })
    }

    /// The link to any node of the Redis Cluster but those that have said that something is not stored. `None` if there is no
    /// other.
    fn witness(&self, denials: &[Reply]) -> Result<Option<Arc<Link>>, Fault> {
        let denies = |node: &Node| denials.iter().any(|denial| *denial.from == *node);
        let is_other = |link: &&Arc<Link>| !link.primary().node().is_some_and(denies);
        let others: Vec<_> =
            self.with_routes(|routes| routes.links.iter().filter(is_other).cloned().collect());
        if others.is_empty() {
            let replicas = self.topology.replicas();
            let others: Vec<_> = replicas.iter().filter(|replica| !denies(replica)).collect();
            return Ok(any(&others).map(|replica| self.link_at(replica)));
        }
        let usable: Vec<_> = others.iter().filter(|link| link.outage().is_none()).collect();
        match any(&usable) {
            Some(link) => Ok(Some(Arc::clone(link))),
            None => Err(Fault::refused(Cause::Unconfirmed, "no other primary of the Redis Cluster answers")),
        }
    }

    /// Sends patient steps that wait at once.
    pub(super) fn hurry(&self) {
        self.with_routes(|routes| routes.links.iter().for_each(|link| link.hurry()));
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
