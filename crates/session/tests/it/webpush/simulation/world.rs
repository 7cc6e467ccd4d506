//! The world around the sessions of one user agent.

mod settling;

use super::{
    action::{Action, Post},
    socket::{BATCH_SIZE, Handed, Socket, Work},
    store::{Store, Stored},
};
use crate::{
    talk::{A, X, Y, channel, register_text, settings, uaid, unregister_text},
    webpush::talk::message,
};
use beckon_session::{Admission, Context, Effect, Input, Outcome, Session, Settings, Step};
use beckon_types::{
    Broadcasts, ChannelId, ConnectionId, MessageId, Moment, NodeId, Notification, Presence, TopicTag, Urgency,
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

const CHANNELS: [&str; 3] = [X, Y, "00000000-0000-4000-8000-000000000abc"];

/// Sockets of the user agent that may be open at once.
const SOCKETS_MAX: usize = 3;

/// What the user agent was told of a channel last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Registered,
    Unregistered,
    /// Nothing it could rely on: an error reply, or a request whose socket ended.
    Nothing,
}

/// Everything, and the assertions at every effect of a session.
#[derive(Debug)]
pub(crate) struct World {
    settings: Settings,
    now: Moment,
    store: Store,
    /// The newest is last; only that one is used by the user agent.
    sockets: Vec<Socket>,
    /// What was sent to sockets, and when.
    deliveries: Vec<(Moment, Presence, Notification)>,
    evictions: Vec<Presence>,
    told: BTreeMap<ChannelId, Told>,
    /// Ids that the user agent has received and not acknowledged.
    received: Vec<String>,
    /// All messages that it ever received.
    seen: BTreeSet<u64>,
    /// When the messages expire that are or were stored.
    expiries: BTreeMap<u64, Moment>,
    connections: u64,
}

impl World {
    pub(crate) fn new() -> Self {
        let mut settings = settings();
        settings.batch_size = BATCH_SIZE;
        settings.uaid_idle = Duration::from_secs(90);
        settings.keepalive_interval = Duration::ZERO;
        Self {
            settings,
            now: Moment(0),
            store: Store::default(),
            sockets: Vec::new(),
            deliveries: Vec::new(),
            evictions: Vec::new(),
            told: CHANNELS.iter().map(|id| (channel(id), Told::Unregistered)).collect(),
            received: Vec::new(),
            seen: BTreeSet::new(),
            expiries: BTreeMap::new(),
            connections: 0,
        }
    }

    pub(crate) fn act(&mut self, action: Action) {
        let sockets = self.sockets.len();
        let one = |number: usize| (sockets > 0).then(|| number % sockets.max(1));
        match action {
            Action::Connect => self.connect(),
            Action::Leave(n) => one(n).into_iter().for_each(|at| self.leave(at)),
            Action::Register(n) => self.request(n, register_text),
            Action::Unregister(n) => self.request(n, unregister_text),
            Action::Post(post) => self.post(post),
            Action::Cancel(n) => self.cancel(n),
            Action::Acknowledge(n) => self.acknowledge(n),
            Action::SetUrgency(n) => self.set_urgency(n),
            Action::Read(n) => one(n).into_iter().for_each(|at| self.read(at)),
            Action::Perform(n) => one(n).into_iter().for_each(|at| self.perform(at)),
            Action::Answer(n) => one(n).into_iter().for_each(|at| self.answer(at)),
            Action::Serve(n) => one(n).into_iter().for_each(|at| self.serve(at)),
            Action::FailBefore(n) => one(n).into_iter().for_each(|at| self.fail(at)),
            Action::FailAfter(n) => one(n).into_iter().for_each(|at| {
                self.perform(at);
                self.fail(at);
            }),
            Action::Arrive(n) => self.arrive(n, false),
            Action::Repeat(n) => self.arrive(n, true),
            Action::Lose(n) => {
                let at = n % self.deliveries.len().max(1);
                if let Some((_, _, notification)) = self.deliveries.get_mut(at) {
                    *notification = Notification::Missed;
                }
            }
            Action::Mail(n) => one(n).into_iter().for_each(|at| self.mail(at)),
            Action::Evict(n) => self.evict(n),
            Action::Wait(seconds) => self.wait(seconds),
        }
        self.sockets.retain(|socket| !socket.ended);
    }

    /// The user agent connects and registers two of its channels.
    pub(crate) fn begin(&mut self) {
        self.act(Action::Connect);
        for n in 0..2 {
            self.calm_down();
            self.act(Action::Register(n));
        }
        self.calm_down();
    }

    fn connect(&mut self) {
        if self.sockets.len() == SOCKETS_MAX {
            self.leave(0);
        }
        self.doubt_unanswered();
        self.connections += 1;
        let presence = Presence { node: NodeId(1), connection: ConnectionId(self.connections) };
        self.sockets.push(Socket::new(Session::new(self.now, presence), presence));
        self.say(format!(r#"{{"messageType":"hello","uaid":"{A}"}}"#));
    }

    /// From now on the user agent does not know what became of its last requests.
    fn doubt_unanswered(&mut self) {
        for id in self.sockets.iter_mut().flat_map(|socket| socket.unanswered.drain(..)) {
            self.told.insert(id, Told::Nothing);
        }
    }

    fn leave(&mut self, at: usize) {
        if self.is_newest(at) {
            self.doubt_unanswered();
        }
        self.sockets[at].closed = true;
        self.handle(at, Input::Disconnected);
    }

    fn is_newest(&self, at: usize) -> bool {
        self.sockets[at].presence.connection == ConnectionId(self.connections)
    }

    /// The socket in use, if it is open.
    fn current(&mut self) -> Option<&mut Socket> {
        let newest = ConnectionId(self.connections);
        self.sockets.last_mut().filter(|socket| !socket.closed && socket.presence.connection == newest)
    }

    fn say(&mut self, message: String) {
        self.current().into_iter().for_each(|socket| socket.inbox.push_back(message.clone()));
    }

    fn request(&mut self, n: usize, text: fn(&str) -> String) {
        let id = CHANNELS[n % CHANNELS.len()];
        if let Some(socket) = self.current().filter(|socket| socket.greeted) {
            socket.unanswered.push(channel(id));
            socket.inbox.push_back(text(id));
        }
    }

    fn set_urgency(&mut self, n: u8) {
        let name = ["very-low", "low", "normal", "high"][usize::from(n)];
        if let Some(socket) = self.current().filter(|socket| socket.greeted) {
            socket.min.extend(Urgency::from_number(n));
            socket.inbox.push_back(format!(r#"{{"messageType":"urgency","min":"{name}"}}"#));
        }
    }

    fn acknowledge(&mut self, n: usize) {
        let at = n % self.received.len().max(1);
        if self.current().is_some_and(|socket| socket.greeted) && at < self.received.len() {
            let version = self.received.swap_remove(at);
            let entry = format!(r#"{{"channelID":"{X}","version":"{version}"}}"#);
            self.say(format!(r#"{{"messageType":"ack","updates":[{entry}]}}"#));
        }
    }

    fn post(&mut self, Post { channel, ttl, topic, urgency }: Post) {
        let mut message = message(CHANNELS[channel], 0);
        message.draft.ttl = Duration::from_secs(ttl);
        message.draft.urgency = Urgency::from_number(urgency).unwrap();
        message.place.topic = topic.map(|n| TopicTag::parse(message.channel, ["a", "b"][n]).unwrap());
        if let Some((message, presence)) = self.store.put(self.now, message) {
            if !message.draft.ttl.is_zero() {
                self.expiries.insert(message.place.sequence.0, self.now + message.draft.ttl);
            }
            let delivery = |presence| (self.now, presence, Notification::Message(message));
            self.deliveries.extend(presence.map(delivery));
        }
    }

    fn cancel(&mut self, n: usize) {
        let stored = self.stored();
        let place = stored.get(n % stored.len().max(1)).map(|stored| stored.message.place);
        self.store.remove(place.as_slice());
    }

    fn stored(&self) -> Vec<&Stored> {
        let messages = self.store.record.iter().flat_map(|record| record.messages.values());
        messages.filter(|stored| self.now < stored.expires).collect()
    }

    fn read(&mut self, at: usize) {
        let socket = &mut self.sockets[at];
        if socket.closed || !socket.session.takes_messages() {
            return;
        }
        let Some(message) = socket.inbox.pop_front() else { return };
        let value: Value = serde_json::from_str(&message).unwrap();
        if value["messageType"] == "ack" {
            let id = value["updates"][0]["version"].as_str().unwrap();
            let place = MessageId::open(&self.settings.keys, id).unwrap().place;
            socket.sent.entry(place.sequence.0).and_modify(|sent| sent.acknowledged = true);
        }
        self.handle(at, Input::Text(&message));
    }

    fn perform(&mut self, at: usize) {
        match self.sockets[at].work.take() {
            Some(Work::Asked(step)) => {
                if let Step::RemoveMessages(_, places) = &step {
                    let unseen = places.iter().find(|place| !self.seen.contains(&place.sequence.0));
                    assert_eq!(unseen, None, "removed without having been received");
                }
                let outcome = self.store.perform(self.now, step);
                self.sockets[at].work = Some(Work::Performed(self.now, outcome));
            }
            done => self.sockets[at].work = done,
        }
    }

    fn serve(&mut self, at: usize) {
        self.read(at);
        self.perform(at);
        self.answer(at);
        self.mail(at);
    }

    fn answer(&mut self, at: usize) {
        match self.sockets[at].work.take() {
            Some(Work::Performed(performed, outcome)) => {
                self.handle_dated(at, performed, Input::Store(outcome));
            }
            other => self.sockets[at].work = other,
        }
    }

    fn fail(&mut self, at: usize) {
        let socket = &mut self.sockets[at];
        if socket.work.take().is_none() {
            return;
        }
        socket.not_removed.append(&mut socket.removing);
        self.handle(at, Input::Store(Outcome::Failed));
    }

    fn arrive(&mut self, n: usize, keep: bool) {
        if self.deliveries.is_empty() {
            return;
        }
        let at = n % self.deliveries.len();
        let (posted, presence, mut notification) =
            if keep { self.deliveries[at].clone() } else { self.deliveries.remove(at) };
        // As an endpoint-node does with what has waited for its connection-node.
        if let Notification::Message(message) = &mut notification
            && !message.age(self.now.since(posted))
        {
            notification = Notification::Missed;
        }
        let to = self.sockets.iter_mut().find(|socket| socket.presence == presence);
        to.into_iter().for_each(|socket| socket.mailbox.push_back((self.now, notification.clone())));
    }

    fn mail(&mut self, at: usize) {
        let socket = &mut self.sockets[at];
        if !socket.session.takes_notifications() {
            return;
        }
        if let Some((arrived, notification)) = socket.mailbox.pop_front() {
            self.handle(at, Input::Notification { arrived, notification });
        }
    }

    fn evict(&mut self, n: usize) {
        if self.evictions.is_empty() {
            return;
        }
        let presence = self.evictions.remove(n % self.evictions.len());
        if let Some(at) = self.sockets.iter().position(|socket| socket.presence == presence) {
            self.handle(at, Input::Evicted);
        }
    }

    fn wait(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
        for at in 0..self.sockets.len() {
            let deadline = self.sockets[at].session.deadline(&self.settings);
            if deadline.is_some_and(|deadline| deadline <= self.now) {
                self.handle(at, Input::Timer);
                let next = self.sockets[at].session.deadline(&self.settings);
                assert!(next.is_none_or(|next| next > self.now), "the timer would ring without end");
            }
        }
    }

    fn handle(&mut self, at: usize, input: Input<'_>) {
        self.handle_dated(at, self.now, input);
    }

    /// Brings an input that was made at some moment.
    fn handle_dated(&mut self, at: usize, made: Moment, input: Input<'_>) {
        let handed = Handed::new(made, &input);
        let mut effects = Vec::new();
        let context = Context {
            now: self.now,
            settings: &self.settings,
            admission: &|| Admission::Open,
            broadcasts: &Broadcasts::default(),
            new_uaid: &|| uaid(A),
        };
        self.sockets[at].session.handle(&context, input, &mut effects);
        for effect in effects {
            assert!(!self.sockets[at].ended, "{effect:?} after the end");
            self.observe(at, &handed, effect);
        }
    }

    fn observe(&mut self, at: usize, handed: &Handed, effect: Effect) {
        let newest = self.is_newest(at);
        let socket = &mut self.sockets[at];
        match effect {
            Effect::Send(text) => {
                assert!(!socket.closed, "{text} after the close");
                self.receive(at, handed, &text);
            }
            Effect::Ping => assert!(!socket.closed),
            Effect::Close(_) => {
                assert!(!socket.closed, "closed twice");
                socket.closed = true;
                if newest {
                    self.doubt_unanswered();
                }
            }
            Effect::Store(step) => {
                assert!(socket.work.is_none(), "{step:?} while a step is under way");
                socket.removing.clear();
                if let Step::RemoveMessages(_, places) = &step {
                    socket.begin_removing(places);
                }
                socket.work = Some(Work::Asked(step));
            }
            Effect::Evict(presence) => self.evictions.push(presence),
            Effect::Report(_) => {}
            Effect::Subscribed => panic!("nobody has subscribed"),
            Effect::End => {
                assert!(socket.work.is_none() && socket.closed);
                socket.ended = true;
            }
        }
    }

    fn receive(&mut self, at: usize, handed: &Handed, text: &str) {
        let value: Value = serde_json::from_str(text).unwrap();
        let (newest, socket) = (self.is_newest(at), &mut self.sockets[at]);
        let status = value["status"].as_u64();
        match value["messageType"].as_str().unwrap() {
            "hello" => {
                assert_eq!((status, value["uaid"].as_str()), (Some(200), Some(A)));
                socket.greeted = true;
            }
            "urgency" => {
                assert_eq!((status, socket.min.pop_front().is_some()), (Some(200), true));
            }
            "notification" => self.receive_message(at, handed, &value),
            kind @ ("register" | "unregister") => {
                let id = channel(value["channelID"].as_str().unwrap());
                let told = match (status.unwrap(), kind) {
                    (200, "register") => Told::Registered,
                    (200, _) => {
                        socket.sent.retain(|_, sent| sent.channel != id);
                        Told::Unregistered
                    }
                    (status, _) => {
                        assert_eq!(status, 500);
                        Told::Nothing
                    }
                };
                if newest {
                    let answered = socket.unanswered.iter().position(|unanswered| *unanswered == id);
                    socket.unanswered.remove(answered.unwrap());
                    self.told.insert(id, told);
                }
            }
            _ => panic!("unexpected {text}"),
        }
    }

    fn receive_message(&mut self, at: usize, handed: &Handed, value: &Value) {
        let id = channel(value["channelID"].as_str().unwrap());
        let version = value["version"].as_str().unwrap();
        let opened = MessageId::open(&self.settings.keys, version).unwrap();
        let message = handed.messages.iter().find(|message| message.place == opened.place);
        let message = message.expect("only what was handed over is sent");
        assert_eq!((opened.uaid, id), (uaid(A), message.channel));
        assert!(self.sockets[at].greeted);
        let expires = self.expiries.get(&message.place.sequence.0);
        assert!(expires.is_none_or(|expires| handed.at < *expires), "{message:?} has expired");
        self.sockets[at].take(self.now, message, handed.batch);
        if self.is_newest(at) {
            assert_ne!(self.told[&id], Told::Unregistered, "sent for an unregistered channel");
        }
        self.seen.insert(message.place.sequence.0);
        if !self.received.iter().any(|received| received == version) {
            self.received.push(version.to_owned());
        }
    }
}
