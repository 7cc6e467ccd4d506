//! One connection: a socket, a mailbox, a session, and the store step that is under way.
//!
//! The connection is one state machine, polled by its own task: it brings the session what happened, and
//! carries out the effects. It waits for four things at once (the step, the mailbox, the socket to be readable,
//! the socket to be writable), and the wheel of [`crate::timers`] wakes it through the mailbox. While it waits
//! for nothing but the peer it holds no buffer and no timer, and can be moved ([`crate::compaction`]).

mod task;

pub use task::{Running, Suspended};

use crate::{
    mailbox::Arrival,
    node::Node,
    registry::Registration,
    socket::{Incoming, Socket},
};
use beckon_session::{CloseCode, Context as SessionContext, Effect, Input, Outcome, Session, Step};
use beckon_types::{Moment, Notification, Presence, Uaid};
use futures_util::future::BoxFuture;
use std::{
    collections::VecDeque,
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::sync::oneshot;

/// Time for the peer to answer a Close frame, or for the store to be told that the socket has ended. After
/// that TCP is dropped (PROTOCOL.md section 1.7).
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Time without the kernel taking a byte after which a peer that does not drain its socket is dropped
/// (PROTOCOL.md section 1.7).
const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a hello waits for the Close frame of the socket that it replaces on this node.
const EVICT_TIMEOUT: Duration = Duration::from_secs(1);

/// How many things a connection does before it lets others have the thread.
const ROUNDS_MAX: usize = 64;

/// A connection after its upgrade.
#[derive(Debug)]
pub struct Connection {
    node: Arc<Node>,
    socket: Socket,
    session: Session,
    registration: Registration,
    /// The step that the session asked for.
    step: Option<StepUnderWay>,
    /// Effects that wait for an eviction on this node.
    held: Option<Box<Held>>,
    stage: Stage,
    /// [`Effect::End`] has come.
    over: bool,
    /// The earliest time at which the wheel wakes this connection.
    armed: Option<Moment>,
    /// When the peer's patience with our bytes, or ours with its Close frame, ends.
    deadline: Option<Moment>,
    /// It should move, if it is at rest.
    moves: bool,
}

/// What ends a connection's task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// The socket has ended and the store knows.
    Over,
    /// The connection goes on in another task.
    Moving,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    /// The peer has sent a Close frame; it is answered when the conversation is over.
    PeerClosed,
    /// Our Close frame is queued; the peer's is awaited.
    Closing,
    /// As `Closing`, but the peer broke the protocol: nothing it sends is understood.
    Failed,
    /// Nothing can be sent or received any more.
    Gone,
}

struct StepUnderWay(BoxFuture<'static, Outcome>);

impl std::fmt::Debug for StepUnderWay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StepUnderWay")
    }
}

#[derive(Debug)]
struct Held {
    eviction: oneshot::Receiver<()>,
    until: Moment,
    effects: VecDeque<Effect>,
}

impl Connection {
    /// A connection on a socket that was upgraded just now.
    pub fn new(node: Arc<Node>, socket: Socket, registration: Registration) -> Self {
        let presence = Presence { node: node.id, connection: registration.id };
        let session = Session::new(node.now(), presence);
        Self::with(node, socket, session, registration)
    }

    fn with(node: Arc<Node>, socket: Socket, session: Session, registration: Registration) -> Self {
        Self {
            node,
            socket,
            session,
            registration,
            step: None,
            held: None,
            stage: Stage::Open,
            over: false,
            armed: None,
            deadline: None,
            moves: false,
        }
    }

    fn is_at_rest(&self) -> bool {
        self.stage == Stage::Open
            && self.step.is_none()
            && self.held.is_none()
            && self.deadline.is_none()
            && self.socket.is_at_rest()
            && self.session.is_settled()
    }

    fn go_on(&mut self, context: &mut Context<'_>) -> Poll<Ending> {
        for _ in 0..ROUNDS_MAX {
            let progress = self.poll_held(context)
                | self.poll_step(context)
                | self.poll_mailbox(context)
                | self.poll_socket(context)
                | self.poll_flush(context);
            if self.is_done() {
                return Poll::Ready(Ending::Over);
            }
            if !progress {
                self.arm();
                let moves = mem::take(&mut self.moves) && self.is_at_rest();
                return if moves { Poll::Ready(Ending::Moving) } else { Poll::Pending };
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn is_done(&self) -> bool {
        self.over && self.stage == Stage::Gone
    }

    /// Goes on with the effects that waited for an eviction.
    fn poll_held(&mut self, context: &mut Context<'_>) -> bool {
        let Some(held) = &mut self.held else { return false };
        if Pin::new(&mut held.eviction).poll(context).is_pending() && self.node.now() < held.until {
            return false;
        }
        if let Some(held) = self.held.take() {
            self.carry_out(held.effects);
        }
        true
    }

    fn poll_step(&mut self, context: &mut Context<'_>) -> bool {
        if self.held.is_some() {
            return false;
        }
        let Some(step) = &mut self.step else { return false };
        let Poll::Ready(outcome) = step.0.as_mut().poll(context) else { return false };
        self.step = None;
        self.bring(Input::Store(outcome));
        true
    }

    fn poll_mailbox(&mut self, context: &mut Context<'_>) -> bool {
        let takes = self.held.is_none() && !self.socket.is_congested() && self.session.takes_notifications();
        let Poll::Ready((signals, arrivals)) = self.registration.mailbox.poll_take(context, takes) else {
            return false;
        };
        for Arrival { at, notification } in arrivals {
            self.bring(Input::Notification { arrived: at, notification });
        }
        if signals.missed {
            let notification = Notification::Missed;
            self.bring(Input::Notification { arrived: self.node.now(), notification });
        }
        if signals.broadcasts {
            self.bring(Input::Broadcasts);
        }
        if signals.timer {
            self.armed = None;
            self.check_deadline();
            self.bring(Input::Timer);
        }
        if signals.evicted {
            self.bring(Input::Evicted);
        }
        if signals.drain {
            self.bring(Input::Drain);
        }
        if signals.store_lost {
            self.bring(Input::StoreLost);
        }
        self.moves |= signals.move_out;
        true
    }

    fn poll_socket(&mut self, context: &mut Context<'_>) -> bool {
        let reads = match self.stage {
            Stage::Open => {
                self.held.is_none() && self.session.takes_messages() && !self.socket.is_congested()
            }
            Stage::Closing | Stage::Failed => true,
            Stage::PeerClosed | Stage::Gone => false,
        };
        if !reads {
            return false;
        }
        let Poll::Ready(incoming) = self.socket.poll_next(context, self.node.message_len_max) else {
            return false;
        };
        if self.stage != Stage::Open {
            if incoming == Incoming::Ended {
                self.stage = Stage::Gone;
            }
            return true;
        }
        match incoming {
            Incoming::Text(text) => self.bring(Input::Text(&text)),
            Incoming::Binary(bytes) => self.bring(Input::Binary(&bytes)),
            Incoming::Control => self.bring(Input::Control),
            Incoming::Broken(code) => {
                self.stage = Stage::Failed;
                self.bring(Input::Broken(code));
            }
            Incoming::Closed => {
                self.stage = Stage::PeerClosed;
                self.deadline = Some(self.node.now() + CLOSE_TIMEOUT);
                self.registration.mailbox.close();
                self.bring(Input::Disconnected);
            }
            Incoming::Ended => self.lose(),
        }
        true
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> bool {
        if self.stage == Stage::Gone {
            return false;
        }
        if self.stage == Stage::PeerClosed && self.over {
            self.socket.answer_close();
        }
        if self.socket.is_flushed() {
            return false;
        }
        let mut progress = false;
        match self.socket.poll_flush(context, &mut progress) {
            Poll::Ready(Ok(())) => self.flushed(context),
            Poll::Ready(Err(_)) => self.lose(),
            Poll::Pending => {
                if self.stage == Stage::Open && (progress || self.deadline.is_none()) {
                    self.deadline = Some(self.node.now() + STALL_TIMEOUT);
                }
                return false;
            }
        }
        true
    }

    /// The kernel has taken everything that was queued.
    fn flushed(&mut self, context: &mut Context<'_>) {
        match self.stage {
            Stage::Open => self.deadline = None,
            Stage::PeerClosed if self.over => self.stage = Stage::Gone,
            Stage::Closing => self.registration.mailbox.evicted(),
            Stage::Failed => {
                // The peer cannot be expected to understand the Close frame, but it understands the end.
                let _ = self.socket.poll_shutdown(context);
            }
            Stage::PeerClosed | Stage::Gone => {}
        }
    }

    /// The socket is beyond sending or receiving.
    fn lose(&mut self) {
        self.stage = Stage::Gone;
        self.deadline = None;
        self.registration.mailbox.close();
        self.bring(Input::Disconnected);
    }

    /// Drops a socket whose time is up.
    fn check_deadline(&mut self) {
        if self.deadline.is_some_and(|deadline| deadline <= self.node.now()) {
            self.node.metrics.sockets_dropped.inc();
            self.lose();
        }
    }

    fn bring(&mut self, input: Input<'_>) {
        let mut effects = Vec::new();
        with_context(&self.node, |context| self.session.handle(context, input, &mut effects));
        if let Some(held) = &mut self.held {
            held.effects.extend(effects);
        } else if !effects.is_empty() {
            self.carry_out(effects.into());
        }
    }

    fn carry_out(&mut self, mut effects: VecDeque<Effect>) {
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Send(text) if self.stage == Stage::Open => {
                    self.node.metrics.messages_sent.inc();
                    self.socket.send(text);
                }
                Effect::Ping if self.stage == Stage::Open => self.socket.ping(),
                Effect::Send(_) | Effect::Ping => {}
                Effect::Close(code) => self.close(code),
                Effect::Store(step) => self.step = Some(StepUnderWay(self.node.clone().perform(step))),
                Effect::Evict(former) => {
                    if let Some(eviction) = self.node.evict(former) {
                        let until = self.node.now() + EVICT_TIMEOUT;
                        self.held = Some(Box::new(Held { eviction, until, effects }));
                        return;
                    }
                }
                Effect::Subscribed => self.registration.mailbox.subscribe(),
                Effect::Report(report) => self.node.metrics.client_report(report),
                Effect::End => self.over = true,
            }
        }
    }

    fn close(&mut self, code: CloseCode) {
        self.registration.mailbox.close();
        self.node.metrics.closed(code);
        match self.stage {
            Stage::Open | Stage::Failed => {
                let broken = self.stage == Stage::Failed;
                self.socket.close(code.number(), broken, self.node.message_len_max);
                self.stage = if broken { Stage::Failed } else { Stage::Closing };
                self.deadline = Some(self.node.now() + CLOSE_TIMEOUT);
            }
            Stage::PeerClosed | Stage::Closing | Stage::Gone => {}
        }
    }

    /// Has the wheel wake this connection in time.
    fn arm(&mut self) {
        let held = self.held.as_ref().map(|held| held.until);
        let deadline = [self.session.deadline(&self.node.settings), self.deadline, held];
        let Some(at) = deadline.into_iter().flatten().min() else { return };
        if self.armed.is_none_or(|armed| at < armed) {
            self.armed = Some(at);
            self.node.timers.arm(self.registration.id, at);
        }
    }
}

impl Node {
    /// Performs a step of a session.
    fn perform(self: Arc<Self>, step: Step) -> BoxFuture<'static, Outcome> {
        Box::pin(async move {
            let store = &self.store;
            let result = match step {
                Step::Hello(hello) => store.hello(hello).await.map(Outcome::from),
                Step::AddChannel(add) => store.add_channel(add).await.map(Outcome::from),
                Step::RemoveChannel(uaid, presence, channel) => {
                    store.remove_channel(uaid, presence, channel).await.map(Outcome::from)
                }
                Step::AckVersions(uaid, acks) => store.ack_versions(uaid, acks).await.map(Outcome::from),
                Step::RemoveMessages(uaid, places) => {
                    store.remove_messages(uaid, places).await.map(Outcome::from)
                }
                Step::Fetch(fetch) => store.fetch(fetch).await.map(Outcome::from),
                Step::Snapshot(uaid, presence) => store.snapshot(uaid, presence).await.map(Outcome::from),
                Step::Release(uaid, presence) => store.release(uaid, presence).await.map(Outcome::from),
            };
            result.unwrap_or_else(|error| {
                self.metrics.steps_failed.inc();
                tracing::debug!(error = %error, "step failed");
                Outcome::Failed
            })
        })
    }
}

/// Calls the session with the world as it is now.
fn with_context<T>(node: &Node, call: impl FnOnce(&SessionContext<'_>) -> T) -> T {
    // Held for the call only, which waits for nothing.
    let broadcasts = node.broadcasts.read();
    call(&SessionContext {
        now: node.now(),
        settings: &node.settings,
        admission: &|| node.admission(),
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
