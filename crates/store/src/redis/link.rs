//! One link to one primary: a connection that is replaced when it fails, and a queue of its own. So a primary that is
//! slow, silent or gone affects only its own steps.
//!
//! While a broken connection is being replaced, steps wait in the queue. If that takes longer than a step may wait, or
//! if the primary has fallen silent, the link refuses steps at once until it is connected again. Attempts to connect back
//! off with jitter, and one link of the process tries at a time.

use super::{
    address::Node,
    backoff::{Backoff, jittered, random},
    batch::{self, Haste, Queue, Reply, Request, Since, Submitter},
    dial::{Dialed, now},
    fault::{Fault, LinkAction, StepAction},
    load::Load,
    primary::{Failure, Primary},
    script::SCRIPTS,
    topology::{Topology, learn_time, note_time},
};
use crate::Cause;
use redis::{Cmd, Pipeline, RedisError, Value, aio::MultiplexedConnection};
use std::{
    fmt,
    pin::pin,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Notify, oneshot},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval_at, sleep, timeout},
};

/// Most pipelines in flight. Further commands wait in the queue.
const PIPELINES_MAX: usize = 64;

/// How often a primary is asked for its time on each connection, and written to. This detects a silent primary, one that has been
/// demoted or has lost its data even if there are no steps, and a clock that jumps.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(3);

/// A connection that has lasted this long is replaced at once. After shorter ones the link backs off.
const GOOD_AFTER: Duration = Duration::from_secs(5);

/// The longest pause before a connection is replaced at once.
const RECONNECT_PAUSE: Duration = Duration::from_millis(50);

/// How far the clock of a primary may be ahead of that of the server whose place it has taken, so that a repeated step is recognized.
const CLOCKS_APART_MAX: Duration = Duration::from_secs(1);

/// Replicas have to have what was written within the time limit of a step divided by this.
const REPLICAS_SHARE: u32 = 4;

/// Time limit for outstanding answers on a connection that is replaced, unless it is silent or the server is not believed any
/// more.
const LAST_ANSWERS: Duration = Duration::from_millis(500);

/// A link to one primary.
pub(super) struct Link {
    shared: Arc<Shared>,
    submitter: Submitter,
    /// The task that connects and sends. It ends with the link.
    _task: JoinSet<()>,
}

struct Shared {
    topology: Arc<Topology>,
    primary: Arc<Primary>,
    step_timeout: Duration,
    load: Load,
    is_connected: AtomicBool,
    /// Why the last connection ended or could not be made.
    fault: Mutex<Option<Fault>>,
}

/// One connection.
struct Wire {
    at: Arc<Node>,
    connection: MultiplexedConnection,
    lost: Arc<Notify>,
    /// The number of pipelines that were answered.
    answered: AtomicU64,
    /// Why nothing more is sent on this connection.
    fault: OnceLock<Fault>,
}

impl Link {
    /// Starts to connect, on the caller's runtime.
    pub(super) fn start(topology: Arc<Topology>, primary: Arc<Primary>, step_timeout: Duration) -> Self {
        let shared = Arc::new(Shared {
            topology,
            primary,
            step_timeout,
            load: Load::new(step_timeout),
            is_connected: AtomicBool::new(false),
            fault: Mutex::default(),
        });
        let (submitter, queue) = batch::queue();
        let mut task = JoinSet::new();
        task.spawn(run(shared.clone(), queue));
        Self { shared, submitter, _task: task }
    }

    /// The primary of the link.
    pub(super) fn primary(&self) -> &Arc<Primary> {
        &self.shared.primary
    }

    /// Why steps are refused, if they are.
    pub(super) fn refusal(&self) -> Option<Fault> {
        if self.is_connected() { None } else { self.shared.primary.refusal() }
    }

    /// Why there is no connection, if there is none.
    pub(super) fn outage(&self) -> Option<Fault> {
        if self.is_connected() { None } else { self.shared.primary.outage() }
    }

    fn is_connected(&self) -> bool {
        self.shared.is_connected.load(Ordering::Acquire)
    }

    /// Sends the patient command that waits at once, or the next one if none does.
    pub(super) fn hurry(&self) {
        self.submitter.hurry();
    }

    /// Sends a command and waits for its answer. If the caller gives up first, the command is not sent. `since` and `deadline`
    /// are added to its arguments by the clock of the primary. With `asking`, `ASKING` goes in front of it.
    pub(super) async fn send(
        &self,
        command: Cmd,
        haste: Haste,
        since: Option<Since>,
        deadline: Option<Instant>,
        asking: bool,
        replicated: bool,
    ) -> Result<Reply, Fault> {
        let lacking = if replicated { self.shared.primary.lacks_replicas(now()) } else { None };
        if let Some(fault) = self.refusal().or(lacking) {
            return Err(fault);
        }
        let (reply, answer) = oneshot::channel();
        let (load, waiting) = (&self.shared.load, self.submitter.len());
        if load.is_overloaded(waiting)
            || haste == Haste::Spare && !load.has_spare_room(waiting)
            || !self
                .submitter
                .try_submit(Request { command, since, deadline, asking, replicated, reply }, haste)
        {
            return Err(Fault::refused(Cause::Overloaded, "more steps wait than Redis can perform in time"));
        }
        answer.await.unwrap_or_else(|_| Err(self.shared.interrupted()))
    }
}

impl Shared {
    /// The fault of a command that was dropped with its connection.
    fn interrupted(&self) -> Fault {
        let fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let fault = fault.unwrap_or_else(|| Fault::lost("the connection was given up".into()));
        let step = if fault.cause == Cause::Timeout { StepAction::Fail } else { StepAction::RetryOnce };
        Fault { step, is_uncertain: true, ..fault }
    }

    /// Connects, in turn with the other links to the primary. Steps wait meanwhile, until the outage has lasted too long.
    async fn connect(&self, queue: &mut Queue) -> (Node, Dialed) {
        let start = now();
        loop {
            let mut backoff = self.primary.dial_turn().await;
            match self.topology.dial(&self.primary).await {
                Ok(dialed) => {
                    backoff.succeeded();
                    self.is_connected.store(true, Ordering::Release);
                    if self.primary.succeeded() {
                        self.topology.interrupted(&self.primary);
                        tracing::info!(redis = %self.primary, "connected to Redis again");
                    }
                    return dialed;
                }
                Err(fault) => {
                    let is_lasting = fault.cause == Cause::Timeout || start.elapsed() >= self.step_timeout;
                    self.failed(&fault, is_lasting);
                    if is_lasting {
                        queue.refuse_all(&fault.unsent());
                    }
                    sleep(backoff.failed(random())).await;
                }
            }
        }
    }

    /// The connection has ended or could not be made.
    fn failed(&self, fault: &Fault, is_lasting: bool) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault.clone());
        self.topology.request_refresh();
        let failure = self.primary.failed(fault, is_lasting);
        if failure == Failure::First {
            self.topology.interrupted(&self.primary);
        }
        if failure != Failure::Same {
            tracing::warn!(redis = %self.primary, cause = %fault.cause, error = %fault, "no connection to Redis");
        }
    }
}

/// Connects, sends commands, and connects again.
async fn run(shared: Arc<Shared>, mut queue: Queue) {
    let mut backoff = Backoff::default();
    loop {
        let (at, dialed) = shared.connect(&mut queue).await;
        let start = now();
        if serve(&shared, &mut queue, at, dialed).await.is_none() {
            return;
        }
        if start.elapsed() >= GOOD_AFTER {
            backoff.succeeded();
            sleep(jittered(RECONNECT_PAUSE, random())).await;
        } else {
            sleep(backoff.failed(random())).await;
        }
    }
}

/// Sends pipelines on one connection until it has to be replaced. `None` if the link is dropped.
async fn serve(shared: &Arc<Shared>, queue: &mut Queue, at: Node, dialed: Dialed) -> Option<()> {
    let Dialed { connection, lost, .. } = dialed;
    let wire =
        Wire { at: Arc::new(at), connection, lost, answered: AtomicU64::new(0), fault: OnceLock::new() };
    let wire = Arc::new(wire);
    shared.load.start_over();
    queue.spread_over(shared.topology.map().primaries().len());
    let mut in_flight = JoinSet::new();
    let mut heartbeat = interval_at(now() + jittered(HEARTBEAT_INTERVAL, random()), HEARTBEAT_INTERVAL);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut deposed = pin!(shared.topology.deposed(&wire.at));
    while wire.fault.get().is_none() {
        let room = if in_flight.len() < PIPELINES_MAX { shared.load.room() } else { 0 };
        tokio::select! {
            Some(_) = in_flight.join_next() => {}
            fault = &mut deposed => wire.end(fault),
            () = wire.lost.notified() => wire.end(Fault::lost("the connection was closed".into())),
            _ = heartbeat.tick() => {
                queue.spread_over(shared.topology.map().primaries().len());
                in_flight.spawn(examine(shared.clone(), wire.clone()));
            }
            batch = queue.next(room), if room > 0 => {
                let batch = batch?;
                if wire.fault.get().is_some() {
                    queue.put_back(batch);
                } else {
                    let others_wait = !queue.is_empty();
                    let flight = Flight::begin(shared.clone(), batch.len(), others_wait);
                    in_flight.spawn(perform(flight, wire.clone(), batch));
                }
            }
        }
    }
    // Recorded before the commands in flight are dropped, because their callers then ask for it.
    let fault = wire.fault.get()?;
    let was_silent = fault.cause == Cause::Timeout;
    shared.failed(fault, was_silent);
    shared.is_connected.store(false, Ordering::Release);
    if was_silent {
        queue.refuse_all(&fault.unsent());
    } else if fault.link != LinkAction::Leave {
        let _ = timeout(LAST_ANSWERS, async { while in_flight.join_next().await.is_some() {} }).await;
    }
    Some(())
}

/// The commands of one pipeline while they are in flight. They count until this is dropped, also when their connection is
/// given up before they are answered.
struct Flight {
    shared: Arc<Shared>,
    commands: usize,
    /// Whether commands were left in the queue.
    others_wait: bool,
    /// Whether it fills the window ([`Load::sent`]).
    is_window_in_use: bool,
}

impl Flight {
    fn begin(shared: Arc<Shared>, commands: usize, others_wait: bool) -> Self {
        let is_window_in_use = shared.load.sent(commands, others_wait);
        Self { shared, commands, others_wait, is_window_in_use }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.shared.load.landed(self.commands);
    }
}

/// Sends one pipeline and passes the answers on.
async fn perform(flight: Flight, wire: Arc<Wire>, batch: Vec<Request>) {
    let shared = &flight.shared;
    let commands = flight.commands;
    let mut pipeline = Pipeline::with_capacity(commands);
    let mut replies = Vec::with_capacity(commands);
    let sent = now();
    let clock = shared.primary.clock();
    let waits = batch.iter().any(|request| request.replicated);
    for Request { mut command, since, deadline, asking, replicated, reply } in batch {
        if let Some(Since { at, clock_ms }) = since {
            let ms = clock.map_or(0, |clock| clock.earliest_ms(at));
            let ms = clock_ms.map_or(ms, |then| then.min(ms));
            command.arg(ms.saturating_sub(CLOCKS_APART_MAX.as_millis() as u64));
        }
        if let Some(deadline) = deadline {
            // With an unknown clock it is refused, and the answer says what the clock shows.
            command.arg(clock.map_or(0, |clock| clock.earliest_ms(deadline)));
        }
        if asking {
            pipeline.cmd("ASKING");
            replies.push(None);
        }
        pipeline.add_command(command);
        replies.push(Some((reply, replicated)));
    }
    if waits {
        // For all commands before it.
        let patience = shared.step_timeout / REPLICAS_SHARE;
        pipeline.cmd("WAIT").arg(shared.topology.replicas_wanted()).arg(patience.as_millis() as u64);
    }
    let answers = wire.ask(&pipeline, shared.step_timeout).await;
    let received = now();
    shared.load.measure(commands, sent, received, flight.others_wait);
    shared.load.adapt(commands, sent, received, flight.is_window_in_use);
    match answers {
        Ok(mut values) => {
            let waited = if waits { values.pop() } else { None };
            let lacking = waited.and_then(|waited| shared.replicas_lacking(&wire, waited, received));
            let answers: Vec<_> = values.into_iter().map(|value| wire.read(value)).collect();
            // The link reacts before a step can be retried.
            for fault in answers.iter().filter_map(|answer| answer.as_ref().err()) {
                if let StepAction::RetryWithClock(time) = fault.step {
                    note_time(&shared.primary, sent, time, received);
                }
                shared.react(&wire, fault, received);
            }
            for (reply, answer) in replies.into_iter().zip(answers) {
                let Some((reply, replicated)) = reply else { continue };
                let answer = match &lacking {
                    Some(lacking) if replicated && answer.is_ok() => Err(lacking.clone()),
                    Some(_) | None => answer,
                };
                // The caller may have given up.
                let _ = reply.send(answer.map(|value| Reply { value, from: wire.at.clone() }));
            }
        }
        Err(fault) => {
            for (reply, _) in replies.into_iter().flatten() {
                let _ = reply.send(Err(fault.clone()));
            }
        }
    }
}

/// Asks the primary for its time, and checks that it still is one and has its data.
async fn examine(shared: Arc<Shared>, wire: Arc<Wire>) {
    let mut pipeline = Pipeline::with_capacity(2);
    pipeline.cmd("TIME");
    let (check, slot) = shared.topology.check_call(&shared.primary).unzip();
    if let Some(call) = check {
        pipeline.add_command(SCRIPTS.check.with_text(&call));
    }
    let sent = now();
    let Ok(values) = wire.ask(&pipeline, shared.step_timeout).await else { return };
    let received = now();
    for value in values {
        match (wire.read(value), slot) {
            (Ok(epoch @ Value::BulkString(_)), Some(slot)) => {
                shared.topology.learn_epoch(&shared.primary, slot, &epoch);
            }
            (Ok(time), _) => learn_time(&shared.primary, sent, &time, received),
            (Err(fault), _) => {
                // No step follows the redirection.
                if fault.redirects() {
                    shared.topology.request_refresh();
                }
                shared.react(&wire, &fault, received);
            }
        }
    }
}

impl Shared {
    /// Reads the answer of `WAIT`: the fault of the commands before it that had to be replicated, if too few replicas have
    /// them.
    fn replicas_lacking(&self, wire: &Wire, waited: Value, now: Instant) -> Option<Fault> {
        let wanted = self.topology.replicas_wanted();
        let lacking = match wire.read(waited) {
            Ok(Value::Int(replicas)) if replicas >= i64::from(wanted) => None,
            Ok(Value::Int(replicas)) => Some(Fault::refused(
                Cause::NotDurable,
                format!("{replicas} of {wanted} replicas had it in time"),
            )),
            Ok(_) => Some(Fault::refused(Cause::Refused, "WAIT gave an answer that it never gives")),
            Err(fault) => Some(fault),
        };
        if let Some(fault) = &lacking {
            self.react(wire, fault, now);
        }
        self.primary.note_replicas(lacking.clone(), now);
        lacking
    }

    /// Reacts to an error that was answered on this connection.
    fn react(&self, wire: &Wire, fault: &Fault, now: Instant) {
        if fault.is_degradation() {
            self.primary.mark_degraded(fault.clone(), now);
        }
        match fault.link {
            LinkAction::Keep => {}
            LinkAction::RefreshTopology => self.topology.request_refresh(),
            LinkAction::Reconnect | LinkAction::Leave => wire.end(fault.clone()),
        }
    }
}

impl Wire {
    /// Sends a pipeline and waits for its answers. Ends the connection if it breaks, or if nothing at all is answered
    /// within the limit.
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
            // Earlier pipelines have been answered meanwhile, so the primary is slow, not silent.
            Err(_) if self.answered.load(Ordering::Relaxed) != answered => {
                Err(Fault { link: LinkAction::Keep, ..Fault::silent(limit) })
            }
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
        // Only the first reason is kept.
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
