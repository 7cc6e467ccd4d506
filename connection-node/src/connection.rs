//! One connection: a socket, a mailbox, a session, and the store step that is under way.
//!
//! The connection is one state machine, polled by its own task: it tells the session what happened and carries out
//! the effects. It waits for four things at once (the step, the mailbox, the socket to be readable, the socket to be
//! writable), and the wheel of [`crate::timers`] wakes it through the mailbox. While it waits for nothing but the
//! peer it holds no buffer and no timer, and can be suspended ([`Suspended`]).

use crate::{
    mailbox::{Arrival, Post, Signals},
    memory::Charge,
    metrics::{Because, End, StepKind},
    node::{Messages, Node},
    registry::Registration,
    shard::Shard,
    socket::{Incoming, MessageLimits, Socket},
    store_steps::{StepUnderWay, perform},
    suspended::Suspended,
    traces::Followed,
};
use beckon_listener::source::Source;
use beckon_session::{CloseCode, Context as SessionContext, Effect, Input, Outcome, Session};
use beckon_types::{Moment, Notification, Presence, Uaid};
use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::sync::oneshot;

/// How long a hello waits for the Close frame of the socket that it replaces on this node.
const EVICT_TIMEOUT: Duration = Duration::from_secs(1);

/// How many things a connection does before it lets others have the thread.
const ROUNDS_MAX: usize = 64;

/// A connection after its upgrade.
#[derive(Debug)]
pub(crate) struct Connection {
    shard: Arc<Shard>,
    socket: Socket,
    session: Session,
    registration: Registration,
    /// The step that the session asked for. Boxed, because a connection at rest has none.
    step: Option<Box<StepUnderWay>>,
    /// Effects that wait for an eviction on this node.
    held: Option<Box<Held>>,
    /// The earliest time at which the wheel wakes this connection, or [`NEVER`].
    armed: Moment,
    /// What it holds for its peer.
    charge: Charge,
}

/// The wheel does not wake the connection.
const NEVER: Moment = Moment(u64::MAX);

/// Why a connection stops being polled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// The socket has ended and the store knows.
    Ended,
    /// The connection should be suspended, and is at rest.
    Suspend,
}

#[derive(Debug)]
struct Held {
    eviction: oneshot::Receiver<()>,
    until: Moment,
    effects: VecDeque<Effect>,
    /// When the hello came that waits for this, in microseconds of the clock.
    hello_us: Option<u64>,
}

impl Connection {
    /// A connection on a socket that was upgraded just now.
    pub(crate) fn new(shard: Arc<Shard>, socket: Socket, registration: Registration) -> Self {
        let presence = Presence { node: shard.node.id, connection: registration.id };
        let session = Session::new(shard.now(), presence);
        Self::with(shard, socket, session, registration)
    }

    /// A connection that was suspended. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The runtime does not take the socket. Then it is closed, and the next notification finds that out.
    pub(crate) fn resume(shard: Arc<Shard>, suspended: Suspended) -> io::Result<Self> {
        let Suspended { stream, session, registration } = suspended;
        Ok(Self::with(shard, Socket::resume(stream)?, session, registration))
    }

    fn with(shard: Arc<Shard>, socket: Socket, session: Session, registration: Registration) -> Self {
        let charge = Charge::default();
        Self { shard, socket, session, registration, step: None, held: None, armed: NEVER, charge }
    }

    /// Runs the connection until the socket has ended and the store knows, or until it has been suspended and sent
    /// to [`Shard::suspended`].
    ///
    /// Not an `async fn`: its state machine would have room for the connection twice, once as the argument and once
    /// as what is worked on.
    pub(crate) fn run(self) -> impl Future<Output = ()> + Send {
        let mut running = Some(self);
        poll_fn(move |context| Self::poll_run(&mut running, context))
    }

    fn poll_run(running: &mut Option<Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some(connection) = running else { return Poll::Ready(()) };
        let polled = connection.poll(context);
        connection.charge(polled == Poll::Ready(Stop::Ended));
        match ready!(polled) {
            // Dropping its registration closes the mailbox.
            Stop::Ended => {
                connection.shard.traces.ended(connection.registration.id);
                *running = None;
            }
            Stop::Suspend => {
                let shard = connection.shard.clone();
                let Ok(permit) = shard.suspended.try_reserve() else {
                    // The queue is full, so the connection goes on. Its wakers are registered already.
                    return Poll::Pending;
                };
                match running.take().map(Self::suspend) {
                    Some(Ok(suspended)) => permit.send(suspended),
                    Some(Err(error)) => tracing::warn!(%error, "connection lost while being suspended"),
                    None => {}
                }
            }
        }
        Poll::Ready(())
    }

    /// Charges the connection for what it holds now. One that waits for nothing but its peer holds nothing.
    fn charge(&mut self, has_ended: bool) {
        let holds_nothing = has_ended || (self.socket.is_at_rest() && self.step.is_none());
        if holds_nothing && self.charge.is_zero() {
            return;
        }
        let holds = match holds_nothing {
            true => 0,
            // What waits in the mailbox counts only if the connection does not take it.
            false => self.socket.held() + self.session.held() + self.registration.mailbox.bytes(),
        };
        self.shard.node.memory.charge(self.registration.id, &mut self.charge, holds);
    }

    fn suspend(self) -> io::Result<Suspended> {
        let Self { socket, session, registration, .. } = self;
        // Its waker would keep the task's memory.
        registration.mailbox.forget_task();
        Ok(Suspended { stream: socket.suspend()?, session, registration })
    }

    fn is_at_rest(&self) -> bool {
        self.step.is_none() && self.held.is_none() && self.socket.is_at_rest() && self.session.is_settled()
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Stop> {
        let now = self.shard.now();
        let mut should_suspend = false;
        for _ in 0..ROUNDS_MAX {
            let progress = self.poll_held(context, now)
                | self.poll_step(context, now)
                | self.poll_mailbox(context, now, &mut should_suspend)
                | self.poll_socket(context, now)
                | self.poll_flush(context, now);
            if self.socket.is_done() {
                return Poll::Ready(Stop::Ended);
            }
            if !progress {
                self.arm(now);
                let suspends = should_suspend && self.is_at_rest();
                return if suspends { Poll::Ready(Stop::Suspend) } else { Poll::Pending };
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Goes on with the effects that waited for an eviction.
    fn poll_held(&mut self, context: &mut Context<'_>, now: Moment) -> bool {
        let Some(held) = &mut self.held else { return false };
        if Pin::new(&mut held.eviction).poll(context).is_pending() && now < held.until {
            return false;
        }
        if let Some(held) = self.held.take() {
            self.carry_out(now, held.effects);
            self.went_on(held.hello_us);
        }
        true
    }

    fn poll_step(&mut self, context: &mut Context<'_>, now: Moment) -> bool {
        if self.held.is_some() {
            return false;
        }
        let Some(step) = &mut self.step else { return false };
        let Poll::Ready(result) = Pin::new(&mut **step).poll(context) else { return false };
        let now_us = self.shard.node.clock.now_us();
        let (kind, began_us) = (step.kind, step.began_us(now_us));
        let hello_us = (kind == StepKind::Hello).then(|| step.asked_us(now_us));
        self.step = None;
        let error = result.as_ref().err().map(|error| error.cause().label());
        self.shard.traces.stepped(self.registration.id, error);
        let outcome = result.unwrap_or_else(|error| {
            self.shard.node.step_failed(&error);
            Outcome::Failed
        });
        self.shard.node.metrics.step(kind, &outcome, began_us, now_us);
        self.handle(now, Input::Store(outcome));
        self.went_on(hello_us);
        true
    }

    /// Measures the hello that came then, unless its reply waits for an eviction or for another step of the store.
    fn went_on(&mut self, hello_us: Option<u64>) {
        let Some(came_us) = hello_us else { return };
        if let Some(held) = &mut self.held {
            held.hello_us = hello_us;
            return;
        }
        let now_us = self.shard.node.clock.now_us();
        match &mut self.step {
            Some(step) if step.kind == StepKind::Hello => step.goes_on_from(came_us),
            Some(_) | None => self.shard.node.metrics.hello(came_us, now_us),
        }
    }

    fn poll_mailbox(&mut self, context: &mut Context<'_>, now: Moment, should_suspend: &mut bool) -> bool {
        let takes = self.held.is_none() && !self.socket.is_congested() && self.session.takes_notifications();
        let Poll::Ready((signals, arrivals)) = self.registration.mailbox.poll_take(context, takes) else {
            return false;
        };
        for arrival in arrivals {
            self.take(now, arrival);
        }
        *should_suspend |= signals.suspend;
        self.handle_signals(now, signals);
        true
    }

    /// Handles a notification out of the mailbox.
    fn take(&mut self, now: Moment, arrival: Arrival) {
        let Arrival { at: arrived, post: Post { notification, previous, request, span } } = arrival;
        self.shard.node.metrics.took_from_mailbox(now.since(arrived));
        let followed = Followed::begin(span, &notification, now);
        let is_sent = self.has_sent(now, Input::Notification { arrived, previous, notification });
        if let Some(followed) = followed {
            self.shard.traces.follow(self.registration.id, followed, is_sent);
        }
        if let Some(request) = request {
            tracing::debug!(target: "beckon_requests", request_id = %request, is_sent, "taken by its connection");
        }
    }

    fn handle_signals(&mut self, now: Moment, signals: Signals) {
        if signals.missed {
            let notification = Notification::Missed;
            self.handle(now, Input::Notification { arrived: now, previous: None, notification });
        }
        if signals.verify {
            self.handle(now, Input::Verify);
        }
        if signals.broadcasts {
            self.handle(now, Input::Broadcasts);
        }
        if signals.timer {
            self.armed = NEVER;
            let holds_too_much = self.shard.node.memory.is_ending(self.registration.id, &self.charge);
            if holds_too_much && self.socket.is_open() {
                self.shard.node.metrics.sockets_overdrawn.inc();
                self.socket.abort();
                self.disconnected(now, End::Overdrawn);
            }
            if self.socket.end_if_overdue(now) {
                self.shard.node.metrics.sockets_dropped.inc();
                self.disconnected(now, End::Stalled);
            } else if self.socket.is_message_overdue(now) {
                self.handle(now, Input::Broken(CloseCode::Policy));
            }
            self.handle(now, Input::Timer);
        }
        if signals.evicted {
            self.handle(now, Input::Evicted);
        }
        if signals.drain {
            self.handle(now, Input::Drain);
        }
    }

    fn poll_socket(&mut self, context: &mut Context<'_>, now: Moment) -> bool {
        let may_read = !self.socket.is_open()
            || (self.held.is_none()
                && self.session.takes_messages(now, &self.shard.node.tunables().settings)
                && !self.socket.is_congested());
        if !may_read {
            if !self.socket.is_congested() {
                self.socket.pause();
            }
            return false;
        }
        let limits = self.message_limits();
        let Poll::Ready(incoming) = self.socket.poll_next(context, now, limits) else {
            return false;
        };
        match incoming {
            Incoming::Text(text) => self.handle(now, Input::Text(&text)),
            Incoming::Binary(bytes) => self.handle(now, Input::Binary(&bytes)),
            Incoming::Control => self.handle(now, Input::Control),
            Incoming::Broken(code) => self.handle(now, Input::Broken(code)),
            Incoming::Closed => self.disconnected(now, End::ByPeer),
            Incoming::Ended => self.disconnected(now, End::Lost),
        }
        true
    }

    /// The limits of the next message.
    fn message_limits(&self) -> MessageLimits {
        let Messages { before_hello, greeted } = self.shard.node.tunables().messages;
        if self.session.dialect().is_some() { greeted } else { before_hello }
    }

    fn poll_flush(&mut self, context: &mut Context<'_>, now: Moment) -> bool {
        if self.socket.poll_flush(context, now).is_pending() {
            return false;
        }
        if self.socket.has_ended() {
            self.disconnected(now, End::Lost);
        } else {
            self.shard.traces.written(self.registration.id);
        }
        if !self.socket.is_open() {
            self.registration.mailbox.release_evictors();
        }
        true
    }

    /// The peer has closed the socket, or the socket has ended: nothing can be sent to the client any more.
    fn disconnected(&mut self, now: Moment, end: End) {
        if self.session.is_open() {
            self.shard.node.metrics.ended(end);
        }
        self.registration.mailbox.close();
        self.handle(now, Input::Disconnected);
        self.hurry();
    }

    /// The user agent may say hello elsewhere at once: what it has acknowledged should not be sent to it again.
    fn hurry(&self) {
        if self.step.as_ref().is_some_and(|step| step.is_patient()) {
            self.shard.store.hurry();
        }
    }

    /// Tells the session what happened, and does what it asks for.
    fn handle(&mut self, now: Moment, input: Input<'_>) {
        let _ = self.has_sent(now, input);
    }

    /// As [`Self::handle`]. Returns whether the session sends something.
    fn has_sent(&mut self, now: Moment, input: Input<'_>) -> bool {
        let (mut effects, because) = (Vec::new(), Because::from(&input));
        with_context(&self.shard.node, self.registration.source, now, |context| {
            self.session.handle(context, input, &mut effects)
        });
        for effect in &effects {
            if let Effect::Close(code) = effect {
                self.shard.node.metrics.ended(End::Closed(because, *code));
            }
        }
        let sends = effects.iter().any(|effect| matches!(effect, Effect::Send(_)));
        if let Some(held) = &mut self.held {
            held.effects.extend(effects);
        } else if !effects.is_empty() {
            self.carry_out(now, effects.into());
        }
        sends
    }

    fn carry_out(&mut self, now: Moment, mut effects: VecDeque<Effect>) {
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Send(text) if self.socket.is_open() => {
                    let was_congested = self.socket.is_congested();
                    self.socket.send(text);
                    let metrics = &self.shard.node.metrics;
                    metrics.messages_sent.inc();
                    if self.socket.is_congested() && !was_congested {
                        metrics.congestions.inc();
                    }
                }
                Effect::Ping if self.socket.is_open() => self.socket.ping(),
                Effect::Send(_) | Effect::Ping => {}
                Effect::Close(code) => {
                    self.registration.mailbox.close();
                    let limits = self.message_limits();
                    self.socket.close(code, now, limits);
                }
                Effect::Store(step) => {
                    self.shard.traces.asked(self.registration.id, &step);
                    let now_us = self.shard.node.clock.now_us();
                    self.step = Some(Box::new(perform(&*self.shard.store, step, now_us)));
                    if !self.session.is_open() {
                        self.hurry();
                    }
                }
                Effect::Evict(former) => {
                    if let Some(eviction) = self.shard.node.evict(former) {
                        let until = now + EVICT_TIMEOUT;
                        self.held = Some(Box::new(Held { eviction, until, effects, hello_us: None }));
                        return;
                    }
                }
                Effect::Subscribed => self.registration.mailbox.subscribe(),
                Effect::Report(report) => self.shard.node.metrics.client_report(report),
                Effect::End => self.socket.finish(),
            }
        }
    }

    /// Arms the timer wheel for the next deadline.
    fn arm(&mut self, now: Moment) {
        let session = self.session.deadline(now, &self.shard.node.tunables().settings);
        let held = self.held.as_ref().map(|held| held.until);
        let deadline = [session, self.socket.deadline(), held].into_iter().flatten().min();
        if let Some(at) = deadline.filter(|at| *at < self.armed) {
            self.armed = at;
            self.shard.timers.arm(self.registration.id, at);
        }
    }
}

/// Calls the session with the world as it is now.
fn with_context<T>(
    node: &Node,
    source: Option<Source>,
    now: Moment,
    call: impl FnOnce(&SessionContext<'_>) -> T,
) -> T {
    let broadcasts = node.broadcasts.load();
    let tunables = node.tunables();
    call(&SessionContext {
        now,
        settings: &tunables.settings,
        admission: &|| node.admission(),
        admits: &|demand| node.admits(source, demand),
        sent: &|sequence| node.metrics.sent(sequence, node.clock.unix_ms()),
        acknowledged: &|waited| node.metrics.acknowledged(waited),
        broadcasts: &broadcasts,
        new_uaid: &new_uaid,
    })
}

fn new_uaid() -> Uaid {
    let mut bytes = [0; 16];
    #[expect(clippy::expect_used, reason = "without a random source no secret can be made")]
    getrandom::fill(&mut bytes).expect("the system has a random source");
    Uaid::from_random(bytes)
}

#[cfg(test)]
mod tests;
