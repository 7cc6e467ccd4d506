//! A user agent and its sockets, with what holds in both dialects.

use super::{
    event::{AgentEvent, Publication},
    network::{Delivery, Network},
    socket::{Frame, Handed, Socket, Work, former_owner, step_for_former},
};
use crate::{
    parking::hand_over,
    talk::{X, Y, channel, client, register_text, uaid, unregister_text},
};
use beckon_session::{Admission, Context, Effect, Input, Outcome, Step};
use beckon_types::{Broadcasts, ChannelId, ConnectionId, HelloOutcome, Moment, Presence};
use serde_json::Value;
use std::collections::BTreeMap;

/// The channels of every user agent.
pub(super) const CHANNELS: [&str; 3] = [X, Y, "00000000-0000-4000-8000-000000000abc"];

/// Sockets that a user agent has open at once. Those that are ending are not counted.
const SOCKETS_MAX: usize = 3;

/// What only one dialect has: its requests, and what its notifications have to fulfil.
pub(super) trait Dialect: std::fmt::Debug + Default {
    /// The UAID of the user agent.
    const UAID: &'static str;
    /// What is remembered of the traffic of one socket.
    type Log: std::fmt::Debug + Default;

    /// A hello; `n` chooses among the ways to say it.
    fn hello(n: usize) -> String;
    /// An application server sends something. Returns whether the channel is registered.
    fn publish(&mut self, network: &mut Network, publication: Publication) -> bool;
    /// An application server cancels what is stored.
    fn cancel(&mut self, network: &mut Network, n: usize);
    /// Acknowledges something that was received.
    fn acknowledge(&mut self, log: &mut Self::Log, n: usize) -> Option<String>;
    /// Acknowledges everything that was received and is not acknowledged.
    fn acknowledge_all(&mut self, log: &mut Self::Log) -> Vec<String>;
    /// A request that only this dialect has.
    fn ask(&mut self, log: &mut Self::Log, n: usize) -> String;

    /// The session reads this message of the user agent.
    fn on_read(&mut self, network: &Network, log: &mut Self::Log, message: &Value);
    /// The session asks for this step.
    fn on_step(&mut self, log: &mut Self::Log, step: &Step);
    /// The store has performed a step.
    fn on_performed(&mut self, network: &mut Network, step: &Step);
    /// The step that the session asked for last has failed.
    fn on_failed(&mut self, log: &mut Self::Log);
    /// The user agent is sent this notification, on its newest socket or on another one. Returns the channels that it is
    /// for.
    fn on_notification(
        &mut self,
        network: &Network,
        log: &mut Self::Log,
        handed: &Handed,
        is_newest: bool,
        notification: &Value,
    ) -> Vec<ChannelId>;
    /// The user agent is sent the successful reply to an unregister, on its newest socket or on another one. What was
    /// sent to the channel before must not arrive on the newest socket any more.
    fn on_unregistered(&mut self, log: &mut Self::Log, channel: ChannelId, is_newest: bool);
    /// The user agent is sent a reply that only this dialect has.
    fn on_reply(&mut self, log: &mut Self::Log, kind: &str, reply: &Value);

    /// The store has lost what it had acknowledged: from now on only what is written later has to arrive on the socket in
    /// use.
    fn on_gone_back(&mut self);

    /// Channels on which something is pending that the user agent should have received on the socket in use.
    fn undelivered(&self, network: &Network, log: &Self::Log) -> Vec<ChannelId>;
    /// Whether nothing is pending.
    fn is_drained(&self, network: &Network) -> bool;
}

/// What the user agent knows about a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Registered,
    Unregistered,
    /// It cannot know: the reply was an error, or the socket ended before the reply.
    Nothing,
}

/// A user agent, and the assertions at every effect of its sessions.
#[derive(Debug)]
pub(super) struct Agent<D: Dialect> {
    dialect: D,
    /// The newest is last; the user agent uses only that one.
    sockets: Vec<Socket<D::Log>>,
    /// All connections that it ever had; the newest is last.
    connections: Vec<ConnectionId>,
    known: BTreeMap<ChannelId, Known>,
}

impl<D: Dialect> Agent<D> {
    pub(super) fn new() -> Self {
        Self {
            dialect: D::default(),
            sockets: Vec::new(),
            connections: Vec::new(),
            known: CHANNELS.iter().map(|id| (channel(id), Known::Unregistered)).collect(),
        }
    }

    pub(super) fn happen(&mut self, network: &mut Network, event: AgentEvent) {
        let sockets = self.sockets.len();
        let one = |n: usize| (sockets > 0).then(|| n % sockets.max(1));
        match event {
            AgentEvent::Connect(n) => self.connect(network, n),
            AgentEvent::Leave(n) => one(n).into_iter().for_each(|at| self.leave(network, at)),
            AgentEvent::Register(n) => self.request(n, register_text),
            AgentEvent::Unregister(n) => self.request(n, unregister_text),
            AgentEvent::Publish(publication) => _ = self.dialect.publish(network, publication),
            AgentEvent::PublishInVain(sent) => network.in_vain(|network| self.dialect.publish(network, sent)),
            AgentEvent::Cancel(n) => self.dialect.cancel(network, n),
            AgentEvent::Acknowledge(n) => self.say(|dialect, log| dialect.acknowledge(log, n)),
            AgentEvent::Ask(n) => self.say(|dialect, log| Some(dialect.ask(log, n))),
            AgentEvent::Read(n) => one(n).into_iter().for_each(|at| self.read(network, at)),
            AgentEvent::Perform(n) => one(n).into_iter().for_each(|at| self.perform(network, at)),
            AgentEvent::Answer(n) => one(n).into_iter().for_each(|at| self.answer(network, at)),
            AgentEvent::Reconnect(n) => self.reconnect(network, n),
            AgentEvent::Serve(n) => one(n).into_iter().for_each(|at| self.serve(network, at)),
            AgentEvent::FailBefore(n) => one(n).into_iter().for_each(|at| self.fail(network, at)),
            AgentEvent::FailAfter(n) => one(n).into_iter().for_each(|at| {
                self.perform(network, at);
                self.fail(network, at);
            }),
            AgentEvent::Mail(n) => one(n).into_iter().for_each(|at| self.mail(network, at)),
        }
        self.sockets.retain(|socket| !socket.has_ended);
    }

    fn connect(&mut self, network: &mut Network, n: usize) {
        let open = |socket: &Socket<D::Log>| !socket.is_closed;
        if self.sockets.iter().filter(|socket| open(socket)).count() == SOCKETS_MAX
            && let Some(at) = self.sockets.iter().position(open)
        {
            self.leave(network, at);
        }
        self.doubt_unanswered();
        let presence = network.connect();
        self.connections.push(presence.connection);
        let mut socket = Socket::new(network.now, presence);
        socket.say(D::hello(n));
        self.sockets.push(socket);
    }

    /// From now on the user agent does not know what became of its last requests.
    fn doubt_unanswered(&mut self) {
        for id in self.sockets.iter_mut().flat_map(|socket| socket.unanswered.drain(..)) {
            self.known.insert(id, Known::Nothing);
        }
    }

    fn leave(&mut self, network: &mut Network, at: usize) {
        if self.is_newest(at) {
            self.doubt_unanswered();
        }
        self.sockets[at].is_closed = true;
        self.handle(network, at, network.now, Input::Disconnected);
    }

    fn is_newest(&self, at: usize) -> bool {
        Some(&self.sockets[at].presence.connection) == self.connections.last()
    }

    /// The socket in use, if it has said hello and is open.
    fn current(&mut self) -> Option<(&mut D, &mut Socket<D::Log>)> {
        let newest = self.connections.last();
        let socket = self.sockets.last_mut().filter(|socket| {
            socket.is_greeted && !socket.is_closed && Some(&socket.presence.connection) == newest
        })?;
        Some((&mut self.dialect, socket))
    }

    fn say(&mut self, message: impl FnOnce(&mut D, &mut D::Log) -> Option<String>) {
        if let Some((dialect, socket)) = self.current()
            && let Some(message) = message(dialect, &mut socket.log)
        {
            socket.say(message);
        }
    }

    /// Connects again if all sockets have ended.
    fn reconnect(&mut self, network: &mut Network, n: usize) {
        if self.sockets.iter().all(|socket| socket.is_closed) {
            self.connect(network, n);
        }
    }

    fn request(&mut self, n: usize, text: fn(&str) -> String) {
        let id = CHANNELS[n % CHANNELS.len()];
        if let Some((_, socket)) = self.current() {
            socket.unanswered.push(channel(id));
            socket.say(text(id));
        }
    }

    fn read(&mut self, network: &mut Network, at: usize) {
        let socket = &mut self.sockets[at];
        if socket.is_closed || !socket.session.takes_messages(network.now, &network.settings) {
            return;
        }
        match socket.inbox.pop_front() {
            Some(Frame::Text(message)) => {
                let value: Value = serde_json::from_str(&message).unwrap();
                self.dialect.on_read(network, &mut socket.log, &value);
                if value["messageType"] == "unregister" {
                    socket.unregistering.push(channel(value["channelID"].as_str().unwrap()));
                }
                self.handle(network, at, network.now, Input::Text(&message));
            }
            Some(Frame::Pong) => self.handle(network, at, network.now, Input::Control),
            None => {}
        }
    }

    fn perform(&mut self, network: &mut Network, at: usize) {
        match self.sockets[at].work.take() {
            Some(Work::Asked(step)) => {
                let outcome = network.perform(&step);
                self.dialect.on_performed(network, &step);
                self.sockets[at].work = Some(Work::Performed(network.now, outcome));
            }
            other => self.sockets[at].work = other,
        }
    }

    fn answer(&mut self, network: &mut Network, at: usize) {
        match self.sockets[at].work.take() {
            Some(Work::Performed(performed, outcome)) => {
                self.handle(network, at, performed, Input::Store(outcome));
            }
            other => self.sockets[at].work = other,
        }
    }

    fn serve(&mut self, network: &mut Network, at: usize) {
        self.read(network, at);
        self.perform(network, at);
        self.answer(network, at);
        self.mail(network, at);
    }

    fn fail(&mut self, network: &mut Network, at: usize) {
        let socket = &mut self.sockets[at];
        if let Some(work) = socket.work.take() {
            self.dialect.on_failed(&mut socket.log);
            match work {
                Work::Asked(step) => {
                    self.forget_former_owner(step_for_former(&step));
                    network.forsake(step);
                }
                Work::Performed(_, outcome) => self.forget_former_owner(former_owner(&Input::Store(outcome))),
            }
            self.handle(network, at, network.now, Input::Store(Outcome::Failed));
        }
    }

    /// A step or an outcome is lost, so the socket that it names is not evicted, or does not get its client back.
    fn forget_former_owner(&mut self, former: Option<Presence>) {
        let sockets = self.sockets.iter_mut().filter(|socket| Some(socket.presence) == former);
        sockets.for_each(|socket| socket.is_unaware = true);
    }

    fn mail(&mut self, network: &mut Network, at: usize) {
        let socket = &mut self.sockets[at];
        if socket.session.takes_notifications()
            && let Some((arrived, previous, notification)) = socket.mailbox.pop_front()
        {
            let input = Input::Notification { arrived, previous, notification };
            self.handle(network, at, network.now, input);
        }
    }

    /// A notification arrives, unless the socket that it was sent to is gone.
    pub(super) fn arrive(&mut self, network: &Network, delivery: &Delivery) {
        let socket = self.sockets.iter_mut().find(|socket| socket.presence == delivery.to);
        socket.into_iter().for_each(|socket| socket.receive(network.now, delivery));
    }

    /// A notification arrives at all sockets, none of which it was sent to.
    pub(super) fn stray(&mut self, network: &Network, delivery: &Delivery) {
        self.sockets.iter_mut().for_each(|socket| socket.receive(network.now, delivery));
    }

    pub(super) fn evict(&mut self, network: &mut Network, presence: Presence) {
        if let Some(at) = self.sockets.iter().position(|socket| socket.presence == presence) {
            self.handle(network, at, network.now, Input::Evicted);
            self.sockets.retain(|socket| !socket.has_ended);
        }
    }

    /// Time has passed.
    pub(super) fn check_time(&mut self, network: &mut Network) {
        for at in 0..self.sockets.len() {
            let now = network.now;
            let is_due = |at: Option<Moment>| at.is_some_and(|at| at <= now);
            if is_due(self.sockets[at].session.deadline(network.now, &network.settings)) {
                self.handle(network, at, now, Input::Timer);
                let deadline = self.sockets[at].session.deadline(network.now, &network.settings);
                assert!(!is_due(deadline), "the timer would fire without end");
            }
        }
        self.sockets.retain(|socket| !socket.has_ended);
    }

    /// Brings an input that was made at some moment.
    fn handle(&mut self, network: &mut Network, at: usize, made: Moment, input: Input<'_>) {
        let handed = Handed::new(network.now, made, &input);
        let former = former_owner(&input).filter(|former| *former != self.sockets[at].presence);
        // A socket that has gone gives the client back, unless its hello has deleted the client.
        let is_deleted = matches!(input, Input::Store(Outcome::Hello(HelloOutcome::Deleted { .. })));
        let to_evict = former.filter(|_| is_deleted || !self.sockets[at].is_closed);
        let mut effects = Vec::new();
        let broadcasts = Broadcasts::default();
        let context = Context {
            now: network.now,
            settings: &network.settings,
            admission: &|| Admission::Open,
            broadcasts: &broadcasts,
            admits: &|_| true,
            sent: &|_| {},
            acknowledged: &|_| {},
            new_uaid: &|| uaid(D::UAID),
        };
        let socket = &mut self.sockets[at];
        socket.session.handle(&context, input, &mut effects);
        // Another process goes on with the session whenever it is at rest.
        hand_over(&mut socket.session, socket.presence, context.broadcasts);
        let evicted = effects
            .iter()
            .filter_map(|effect| if let Effect::Evict(presence) = effect { Some(*presence) } else { None });
        assert!(evicted.eq(to_evict), "{former:?} owned the UAID: {effects:?}");
        for effect in effects {
            assert!(!self.sockets[at].has_ended, "{effect:?} after the end");
            self.observe(network, at, &handed, effect);
        }
    }

    fn observe(&mut self, network: &mut Network, at: usize, handed: &Handed, effect: Effect) {
        let is_newest = self.is_newest(at);
        let socket = &mut self.sockets[at];
        match effect {
            Effect::Send(text) => {
                assert!(!socket.is_closed, "{text} after the close");
                self.receive(network, at, handed, &text);
            }
            Effect::Ping => {
                assert!(!socket.is_closed);
                // It has abandoned its other sockets.
                socket.inbox.extend(is_newest.then_some(Frame::Pong));
            }
            Effect::Close(_) => {
                assert!(!socket.is_closed, "closed twice");
                socket.is_closed = true;
                if is_newest {
                    self.doubt_unanswered();
                }
            }
            Effect::Store(step) => {
                assert!(socket.work.is_none(), "{step:?} while a step is under way");
                self.dialect.on_step(&mut socket.log, &step);
                socket.work = Some(Work::Asked(step));
            }
            Effect::Evict(presence) => {
                assert!(self.connections.contains(&presence.connection), "{presence:?} has another client");
                network.evictions.push(presence);
            }
            Effect::Report(_) => {}
            Effect::Subscribed => panic!("no broadcast was named"),
            Effect::End => {
                assert!(socket.work.is_none() && socket.is_closed);
                socket.has_ended = true;
            }
        }
    }

    fn receive(&mut self, network: &Network, at: usize, handed: &Handed, text: &str) {
        let value: Value = serde_json::from_str(text).unwrap();
        let (is_newest, socket) = (self.is_newest(at), &mut self.sockets[at]);
        let status = value["status"].as_u64();
        match value["messageType"].as_str().unwrap() {
            "hello" => {
                assert_eq!((status, value["uaid"].as_str()), (Some(200), Some(D::UAID)));
                socket.is_greeted = true;
            }
            "notification" => {
                assert!(socket.is_greeted);
                for id in self.dialect.on_notification(network, &mut socket.log, handed, is_newest, &value) {
                    assert!(
                        network.has_gone_back || !socket.unregistering.contains(&id),
                        "sent for a channel that is being unregistered"
                    );
                    assert!(
                        network.has_gone_back || !is_newest || self.known[&id] != Known::Unregistered,
                        "sent for an unregistered channel"
                    );
                }
            }
            kind @ ("register" | "unregister") => {
                let id = channel(value["channelID"].as_str().unwrap());
                if kind == "unregister" {
                    let read = socket.unregistering.iter().position(|unregistering| *unregistering == id);
                    socket.unregistering.remove(read.expect("it was read"));
                }
                let known = match (status, kind) {
                    (Some(200), "register") => Known::Registered,
                    (Some(200), _) => {
                        self.dialect.on_unregistered(&mut socket.log, id, is_newest);
                        Known::Unregistered
                    }
                    _ => {
                        assert_eq!(status, Some(500));
                        Known::Nothing
                    }
                };
                if is_newest {
                    let answered = socket.unanswered.iter().position(|unanswered| *unanswered == id);
                    socket.unanswered.remove(answered.expect("each request has one reply"));
                    self.known.insert(id, known);
                }
            }
            kind => self.dialect.on_reply(&mut socket.log, kind, &value),
        }
    }

    /// Everything that a socket waits for happens once, without failures.
    pub(super) fn calm_down(&mut self, network: &mut Network) {
        for n in 0..self.sockets.len() {
            self.happen(network, AgentEvent::Serve(n));
        }
        if let Some((dialect, socket)) = self.current()
            && socket.is_quiet()
        {
            let acks = dialect.acknowledge_all(&mut socket.log);
            acks.into_iter().for_each(|ack| socket.say(ack));
        }
    }

    /// An application server sends something to one of the channels that are registered.
    pub(super) fn publish_once(&mut self, network: &mut Network) {
        let publication = |channel| Publication { channel, ttl: 1_000_000, topic: None, urgency: 3 };
        let _ = (0..CHANNELS.len()).any(|channel| self.dialect.publish(network, publication(channel)));
    }

    /// Whether nothing is under way or waiting.
    pub(super) fn is_quiet(&self) -> bool {
        self.sockets.iter().all(Socket::is_quiet)
    }

    /// Everything that is pending for channels that the user agent knows of has arrived and was acknowledged.
    pub(super) fn assert_known_channels_are_drained(&mut self, network: &Network) {
        let Some((dialect, socket)) = self.current() else { return };
        let mut undelivered = dialect.undelivered(network, &socket.log);
        undelivered.retain(|id| self.known[id] == Known::Registered);
        assert_eq!(undelivered, [], "pending for a connected client");
    }

    /// The store has performed a step that had failed.
    pub(super) fn has_been_performed(&mut self, network: &mut Network, step: &Step) {
        self.dialect.on_performed(network, step);
    }

    /// The store has gone back in time.
    pub(super) fn gone_back(&mut self) {
        self.dialect.on_gone_back();
    }

    /// The client of the socket in use belongs to it. Before its claim is verified, the outcome may have been lost that would have
    /// told it that it does not.
    pub(super) fn assert_claim_is_held(&mut self, network: &Network, is_verified: bool) {
        let Some((_, socket)) = self.current() else { return };
        let owner = network.store.owner(client(D::UAID));
        assert!(
            owner == Some(socket.presence) || socket.is_unaware && !is_verified,
            "{owner:?} has the client of {:?}, which is open",
            socket.presence
        );
    }

    pub(super) fn assert_all_channels_are_drained(&mut self, network: &Network) {
        assert!(self.current().is_some(), "no hello");
        assert!(self.dialect.is_drained(network), "still pending after a hello: {network:?}");
    }

    /// Of all sockets only the newest is left.
    pub(super) fn assert_former_sockets_ended(&self) {
        assert_eq!(self.sockets.len(), 1);
    }
}
