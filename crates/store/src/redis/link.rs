//! One link to one primary: a connection that is made again when it is of no use any more, a queue of its own, and limits
//! on both, so that a primary that is slow, silent or gone concerns only the steps that are for it.
//!
//! A connection that breaks is made again while steps wait in the queue. If that takes longer than a step may wait, or if
//! the connection fell silent, the link refuses steps at once, and goes on trying: ever more slowly, not in step with
//! other processes, and one link of the process at a time.

use super::{
    address::Node,
    batch::{self, Entrance, Haste, Queue, Request},
    dial::{Dialed, now},
    fault::{Fault, LinkAction, StepAction},
    load::Load,
    pace::{Pace, jittered, random},
    primary::Primary,
    topology::{Topology, learn_time},
};
use crate::Cause;
use redis::{Cmd, Pipeline, RedisError, Value, aio::MultiplexedConnection};
use std::{
    fmt,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Notify, oneshot},
    task::JoinSet,
    time::{MissedTickBehavior, interval_at, sleep, timeout},
};

/// Pipelines under way at once. Further commands wait in the queue.
const PIPELINES_MAX: usize = 64;

/// How often a primary is asked for its time on each connection. It shows in time that a primary answers nothing,
/// also when no step is asked for, and how its clock goes.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(3);

/// After a connection that has lasted so long, the next one is made at once. Otherwise it is paced.
const GOOD_AFTER: Duration = Duration::from_secs(5);

/// The longest time between the end of a good connection and the attempt to make the next one.
const RECONNECT_PAUSE: Duration = Duration::from_millis(50);

/// Time for the last answers on a connection that is given up, but not for silence.
const LAST_ANSWERS: Duration = Duration::from_millis(500);

/// A link to one primary.
pub(super) struct Link {
    shared: Arc<Shared>,
    entrance: Entrance,
    /// The task that connects and sends. It ends with the link.
    _task: JoinSet<()>,
}

struct Shared {
    topology: Arc<Topology>,
    primary: Arc<Primary>,
    step_timeout: Duration,
    load: Load,
    is_connected: AtomicBool,
    /// Why the last connection ended, or could not be made.
    fault: Mutex<Option<Fault>>,
}

/// One connection.
struct Wire {
    at: Node,
    connection: MultiplexedConnection,
    lost: Arc<Notify>,
    /// Pipelines that were answered.
    answered: AtomicU64,
    /// Why nothing more is sent on it.
    fault: OnceLock<Fault>,
}

impl Link {
    /// Starts to connect. Runs on the caller's runtime.
    pub(super) fn start(topology: Arc<Topology>, primary: Arc<Primary>, step_timeout: Duration) -> Self {
        let shared = Arc::new(Shared {
            topology,
            primary,
            step_timeout,
            load: Load::new(step_timeout),
            is_connected: AtomicBool::new(false),
            fault: Mutex::default(),
        });
        let (entrance, queue) = batch::queue();
        let mut task = JoinSet::new();
        task.spawn(run(shared.clone(), queue));
        Self { shared, entrance, _task: task }
    }

    /// The primary that it is for.
    pub(super) fn primary(&self) -> &Arc<Primary> {
        &self.shared.primary
    }

    /// Why steps are refused, if they are.
    pub(super) fn fault(&self) -> Option<Fault> {
        let is_connected = self.shared.is_connected.load(Ordering::Acquire);
        if is_connected { None } else { self.shared.primary.refusal() }
    }

    /// Sends a command and waits for its answer. One whose caller has given up before it was sent is not sent.
    pub(super) async fn send(&self, command: Cmd, haste: Haste, asking: bool) -> Result<Value, Fault> {
        if let Some(fault) = self.fault() {
            return Err(fault);
        }
        let (reply, answer) = oneshot::channel();
        if self.shared.load.is_too_high(self.entrance.len())
            || !self.entrance.offer(Request { command, asking, reply }, haste)
        {
            return Err(Fault::refused(Cause::Overloaded, "more steps wait than Redis can do in time"));
        }
        answer.await.unwrap_or_else(|_| Err(self.shared.interrupted()))
    }
}

impl Shared {
    /// What became of a command whose answer nobody waits for any more.
    fn interrupted(&self) -> Fault {
        let fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let fault = fault.unwrap_or_else(|| Fault::lost("the connection was given up".into()));
        let step = if fault.cause == Cause::Timeout { StepAction::Fail } else { StepAction::GoIfHarmless };
        Fault { step, ..fault }
    }

    /// Connects, in turn with the other links to the primary. Meanwhile steps wait, but not longer than they may.
    async fn connect(&self, queue: &mut Queue) -> (Node, Dialed) {
        let start = now();
        loop {
            let mut pace = self.primary.turn().await;
            match self.topology.dial(&self.primary).await {
                Ok(dialed) => {
                    pace.succeeded();
                    self.is_connected.store(true, Ordering::Release);
                    if self.primary.succeeded() {
                        tracing::info!(redis = %self.primary, "connected to Redis again");
                    }
                    return dialed;
                }
                Err(fault) => {
                    let is_old = fault.cause == Cause::Timeout || start.elapsed() >= self.step_timeout;
                    self.failed(&fault, is_old);
                    if is_old {
                        queue.refuse_all(&fault.unsent());
                    }
                    sleep(pace.failed(random())).await;
                }
            }
        }
    }

    /// The connection has ended, or none could be made.
    fn failed(&self, fault: &Fault, is_old: bool) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault.clone());
        self.topology.mark_outdated();
        if self.primary.failed(fault, is_old) {
            tracing::warn!(redis = %self.primary, cause = %fault.cause, error = %fault, "no connection to Redis");
        }
    }
}

/// Connects, sends what is asked for, and connects again.
async fn run(shared: Arc<Shared>, mut queue: Queue) {
    let mut pace = Pace::default();
    loop {
        let (at, dialed) = shared.connect(&mut queue).await;
        let start = now();
        if serve(&shared, &mut queue, at, dialed).await.is_none() {
            return;
        }
        if start.elapsed() >= GOOD_AFTER {
            pace.succeeded();
            sleep(jittered(RECONNECT_PAUSE, random())).await;
        } else {
            sleep(pace.failed(random())).await;
        }
    }
}

/// Sends pipelines over one connection until it is of no use any more. `None` if no command can come any more.
async fn serve(shared: &Arc<Shared>, queue: &mut Queue, at: Node, dialed: Dialed) -> Option<()> {
    let Dialed { connection, lost, .. } = dialed;
    let wire = Wire { at, connection, lost, answered: AtomicU64::new(0), fault: OnceLock::new() };
    let wire = Arc::new(wire);
    let mut under_way = JoinSet::new();
    let mut heartbeat = interval_at(now() + jittered(HEARTBEAT_INTERVAL, random()), HEARTBEAT_INTERVAL);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while wire.fault.get().is_none() {
        let has_room = under_way.len() < PIPELINES_MAX && shared.load.has_room();
        tokio::select! {
            Some(_) = under_way.join_next() => {}
            () = wire.lost.notified() => wire.end(Fault::lost("the connection was closed".into())),
            _ = heartbeat.tick() => {
                under_way.spawn(ask_time(shared.clone(), wire.clone()));
            }
            batch = queue.next(), if has_room => {
                let batch = batch?;
                if wire.fault.get().is_some() {
                    queue.put_back(batch);
                } else {
                    let others_wait = !queue.is_empty();
                    shared.load.sent(batch.len(), others_wait);
                    under_way.spawn(perform(shared.clone(), wire.clone(), batch, others_wait));
                }
            }
        }
    }
    // Known before the commands under way are dropped, whose callers ask for it.
    let fault = wire.fault.get()?;
    shared.failed(fault, fault.cause == Cause::Timeout);
    shared.is_connected.store(false, Ordering::Release);
    if fault.cause != Cause::Timeout {
        let _ = timeout(LAST_ANSWERS, async { while under_way.join_next().await.is_some() {} }).await;
    }
    Some(())
}

/// Sends one pipeline and hands out the answers.
async fn perform(shared: Arc<Shared>, wire: Arc<Wire>, batch: Vec<Request>, others_wait: bool) {
    let commands = batch.len();
    let mut pipeline = Pipeline::with_capacity(commands);
    let mut replies = Vec::with_capacity(commands);
    for Request { command, asking, reply } in batch {
        if asking {
            pipeline.cmd("ASKING");
            replies.push(None);
        }
        pipeline.add_command(command);
        replies.push(Some(reply));
    }
    let sent = now();
    let answers = wire.ask(&pipeline, shared.step_timeout).await;
    let received = now();
    shared.load.ended(commands, sent, received, others_wait);
    match answers {
        Ok(values) => {
            let answers: Vec<_> = values.into_iter().map(|value| wire.read(value)).collect();
            // What follows for the link is known before a step can go again.
            for fault in answers.iter().filter_map(|answer| answer.as_ref().err()) {
                shared.heed(&wire, fault, received);
            }
            for (reply, answer) in replies.into_iter().zip(answers) {
                // A caller that does not wait any more does not want to know.
                let _ = reply.map(|reply| reply.send(answer));
            }
        }
        Err(fault) => {
            for reply in replies.into_iter().flatten() {
                let _ = reply.send(Err(fault.clone()));
            }
        }
    }
}

/// Asks the primary for its time.
async fn ask_time(shared: Arc<Shared>, wire: Arc<Wire>) {
    let mut pipeline = Pipeline::with_capacity(1);
    pipeline.cmd("TIME");
    let sent = now();
    if let Ok(values) = wire.ask(&pipeline, shared.step_timeout).await {
        let received = now();
        for value in values {
            match wire.read(value) {
                Ok(time) => learn_time(&shared.primary, sent, &time, received),
                Err(fault) => shared.heed(&wire, &fault, received),
            }
        }
    }
}

impl Shared {
    /// Does what an answer on this connection asks of the link.
    fn heed(&self, wire: &Wire, fault: &Fault, now: tokio::time::Instant) {
        if fault.is_complaint() {
            self.primary.complain(fault.clone(), now);
        }
        match fault.link {
            LinkAction::Keep => {}
            LinkAction::ReadTopology => self.topology.mark_outdated(),
            LinkAction::Reconnect => wire.end(fault.clone()),
        }
    }
}

impl Wire {
    /// Sends a pipeline and waits for its answers. If nothing at all was answered within the limit, or the connection
    /// broke, that was its end.
    async fn ask(&self, pipeline: &Pipeline, limit: Duration) -> Result<Vec<Value>, Fault> {
        let count = pipeline.len();
        let answered = self.answered.load(Ordering::Relaxed);
        let mut connection = self.connection.clone();
        match timeout(limit, connection.send_packed_commands(pipeline, 0, count)).await {
            Ok(Ok(values)) if values.len() == count => {
                self.answered.fetch_add(1, Ordering::Relaxed);
                Ok(values)
            }
            Ok(Ok(_)) => Err(self.ended(Fault::lost("the connection was closed".into()))),
            Ok(Err(error)) => Err(self.ended(Fault::from_redis(&error, &self.at))),
            // Others that were sent before it have been answered meanwhile: it is slow, not silent.
            Err(_) if self.answered.load(Ordering::Relaxed) != answered => Err(Fault::silent(limit).unsent()),
            Err(_) => Err(self.ended(Fault::silent(limit))),
        }
    }

    fn read(&self, value: Value) -> Result<Value, Fault> {
        match value {
            Value::ServerError(error) => Err(Fault::from_redis(&RedisError::from(error), &self.at)),
            value => Ok(value),
        }
    }

    fn end(&self, fault: Fault) {
        // The first reason counts.
        let _ = self.fault.set(fault);
    }

    fn ended(&self, fault: Fault) -> Fault {
        self.end(fault.clone());
        fault
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Link").field(&self.shared.primary).finish()
    }
}
