//! The world around the sessions of one user agent.

use super::{action::Action, store::Store};
use crate::talk::{A, X, Y, ack_text, channel, fresh, register_text, uaid, unregister_text};
use beckon_session::{Admission, Context, Effect, Input, Outcome, Session, Settings, Step};
use beckon_types::{
    Broadcasts, ChannelId, ConnectionId, Moment, NodeId, Notification, Presence, PutVersionOutcome, Uaid,
    Update, Version,
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

const CHANNELS: [&str; 3] = [X, Y, "00000000000040008000000000000abc"];

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

#[derive(Debug)]
enum Work {
    Asked(Step),
    Performed(Outcome),
}

#[derive(Debug)]
struct Socket {
    session: Session,
    presence: Presence,
    work: Option<Work>,
    inbox: VecDeque<String>,
    mailbox: VecDeque<Notification>,
    greeted: bool,
    closed: bool,
    ended: bool,
    /// Channels that a register or unregister was sent for, which was not answered.
    unanswered: Vec<ChannelId>,
    /// The last version sent, per channel.
    sent: BTreeMap<ChannelId, Version>,
    acknowledged: BTreeSet<u64>,
    /// Whether the step under way is that of an acknowledgement.
    acknowledges: bool,
    an_ack_failed: bool,
}

/// Everything, and the assertions at every effect of a session.
#[derive(Debug)]
pub(crate) struct World {
    settings: Settings,
    now: Moment,
    store: Store,
    /// The newest is last; only that one is used by the user agent.
    sockets: Vec<Socket>,
    deliveries: Vec<(Presence, Notification)>,
    evictions: Vec<Presence>,
    told: BTreeMap<ChannelId, Told>,
    /// Position of each write, by its version, which is unique.
    writes: BTreeMap<u64, usize>,
    received: BTreeSet<u64>,
    connections: u64,
}

impl World {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            now: Moment(0),
            store: Store::default(),
            sockets: Vec::new(),
            deliveries: Vec::new(),
            evictions: Vec::new(),
            told: CHANNELS.iter().map(|id| (channel(id), Told::Unregistered)).collect(),
            writes: BTreeMap::new(),
            received: BTreeSet::new(),
            connections: 0,
        }
    }

    pub(crate) fn act(&mut self, action: Action) {
        let sockets = self.sockets.len();
        let one = |number: usize| (sockets > 0).then(|| number % sockets.max(1));
        match action {
            Action::Connect => self.connect(),
            Action::HelloAgain => self.say(r#"{"messageType":"hello","channelIDs":[]}"#.into()),
            Action::Leave(n) => one(n).into_iter().for_each(|at| self.leave(at)),
            Action::Register(n) => self.request(n, register_text),
            Action::Unregister(n) => self.request(n, unregister_text),
            Action::Write(n) => self.write(n),
            Action::Acknowledge(n) => self.acknowledge(n),
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
                if let Some((_, notification)) = self.deliveries.get_mut(at) {
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
        self.sockets.push(Socket {
            session: Session::new(self.now, presence),
            presence,
            work: None,
            inbox: VecDeque::new(),
            mailbox: VecDeque::new(),
            greeted: false,
            closed: false,
            ended: false,
            unanswered: Vec::new(),
            sent: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
            acknowledges: false,
            an_ack_failed: false,
        });
        // A list may be out of date when the store gets it, which would cost the UAID.
        self.say(format!(r#"{{"messageType":"hello","uaid":"{A}","channelIDs":[]}}"#));
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

    fn acknowledge(&mut self, n: usize) {
        let id = CHANNELS[n % CHANNELS.len()];
        let Some(socket) = self.current() else { return };
        if let Some(version) = socket.sent.get(&channel(id)) {
            let message = ack_text(id, version.number());
            socket.inbox.push_back(message);
        }
    }

    fn write(&mut self, n: usize) {
        let id = channel(CHANNELS[n % CHANNELS.len()]);
        let position = self.writes.len();
        // Unique, and not in the order of the writes.
        let version = Version::new((position as u64 * 7919) % 10_007).unwrap();
        if let PutVersionOutcome::Stored { sequence, presence } = self.store.put(uaid(A), id, version) {
            self.writes.insert(version.number(), position);
            let update = Update { channel: id, version, sequence, data: Some("data".into()) };
            self.deliveries.extend(presence.map(|presence| (presence, Notification::Update(update))));
        }
    }

    fn read(&mut self, at: usize) {
        let socket = &mut self.sockets[at];
        if socket.closed || !socket.session.takes_messages() {
            return;
        }
        let Some(message) = socket.inbox.pop_front() else { return };
        let value: Value = serde_json::from_str(&message).unwrap();
        if value["messageType"] == "ack" {
            socket.acknowledged.insert(value["updates"][0]["version"].as_u64().unwrap());
        }
        self.handle(at, Input::Text(&message));
    }

    fn perform(&mut self, at: usize) {
        match self.sockets[at].work.take() {
            Some(Work::Asked(step)) => {
                let outcome = self.store.perform(step);
                self.sockets[at].work = Some(Work::Performed(outcome));
                let unseen = self
                    .store
                    .acknowledged
                    .drain(..)
                    .find(|version| !self.received.contains(&version.number()));
                assert_eq!(unseen, None, "removed without having been received");
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
            Some(Work::Performed(outcome)) => self.handle(at, Input::Store(outcome)),
            other => self.sockets[at].work = other,
        }
    }

    fn fail(&mut self, at: usize) {
        let socket = &mut self.sockets[at];
        if socket.work.take().is_none() {
            return;
        }
        socket.an_ack_failed |= socket.acknowledges;
        self.handle(at, Input::Store(Outcome::Failed));
    }

    fn arrive(&mut self, n: usize, keep: bool) {
        if self.deliveries.is_empty() {
            return;
        }
        let at = n % self.deliveries.len();
        let (presence, notification) =
            if keep { self.deliveries[at].clone() } else { self.deliveries.remove(at) };
        let to = self.sockets.iter_mut().find(|socket| socket.presence == presence);
        to.into_iter().for_each(|socket| socket.mailbox.push_back(notification.clone()));
    }

    fn mail(&mut self, at: usize) {
        let socket = &mut self.sockets[at];
        if !socket.session.takes_notifications() {
            return;
        }
        if let Some(notification) = socket.mailbox.pop_front() {
            self.handle(at, fresh(notification));
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
            }
        }
    }

    fn handle(&mut self, at: usize, input: Input<'_>) {
        let context = Context {
            now: self.now,
            settings: &self.settings,
            admission: &|| Admission::Open,
            broadcasts: &Broadcasts::default(),
            new_uaid: &|| Uaid([9; 16]),
        };
        let mut effects = Vec::new();
        self.sockets[at].session.handle(&context, input, &mut effects);
        for effect in effects {
            assert!(!self.sockets[at].ended, "{effect:?} after the end");
            self.observe(at, effect);
        }
    }

    fn observe(&mut self, at: usize, effect: Effect) {
        let newest = self.is_newest(at);
        let socket = &mut self.sockets[at];
        match effect {
            Effect::Send(text) => {
                assert!(!socket.closed, "{text} after the close");
                self.receive(at, &text);
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
                socket.acknowledges = matches!(step, Step::AckVersions(..));
                socket.work = Some(Work::Asked(step));
            }
            Effect::Evict(presence) => self.evictions.push(presence),
            Effect::Subscribed | Effect::Report(_) => panic!("{effect:?} in SimplePush"),
            Effect::End => {
                assert!(socket.work.is_none() && socket.closed);
                socket.ended = true;
            }
        }
    }

    fn receive(&mut self, at: usize, text: &str) {
        let value: Value = serde_json::from_str(text).unwrap();
        let (newest, socket) = (self.is_newest(at), &mut self.sockets[at]);
        let kind = value["messageType"].as_str().unwrap();
        match kind {
            "hello" => {
                assert_eq!((value["status"].as_u64(), value["uaid"].as_str()), (Some(200), Some(A)));
                socket.greeted = true;
            }
            "notification" => {
                assert!(socket.greeted);
                for entry in value["updates"].as_array().unwrap() {
                    self.receive_update(at, entry);
                }
            }
            "register" | "unregister" if newest => {
                let id = channel(value["channelID"].as_str().unwrap());
                let answered = socket.unanswered.iter().position(|unanswered| *unanswered == id).unwrap();
                socket.unanswered.remove(answered);
                let told = match (value["status"].as_u64().unwrap(), kind) {
                    (200, "register") => Told::Registered,
                    (200, _) => Told::Unregistered,
                    (status, _) => {
                        assert_eq!(status, 500);
                        Told::Nothing
                    }
                };
                self.told.insert(id, told);
            }
            _ => assert!(!newest, "unexpected {text}"),
        }
    }

    fn receive_update(&mut self, at: usize, entry: &Value) {
        let id = channel(entry["channelID"].as_str().unwrap());
        let number = entry["version"].as_u64().unwrap();
        let socket = &mut self.sockets[at];
        let before = socket.sent.insert(id, Version::new(number).unwrap());
        if let Some(before) = before {
            let (before, now) = (self.writes[&before.number()], self.writes[&number]);
            assert!(before <= now, "write {before} of the channel was sent, then {now}");
        }
        if !socket.an_ack_failed {
            assert!(!socket.acknowledged.contains(&number), "{number} sent again after its acknowledgement");
        }
        if self.is_newest(at) {
            assert_ne!(self.told[&id], Told::Unregistered, "sent for an unregistered channel");
        }
        self.received.insert(number);
    }

    /// Lets everything happen that is on its way, without failures, while the user agent acknowledges what it
    /// was sent; and what is due in the minutes after that.
    pub(crate) fn settle(&mut self) {
        for _ in 0..4 {
            self.calm_down();
            self.act(Action::Wait(61));
        }
    }

    fn calm_down(&mut self) {
        for _ in 0..100 {
            for n in 0..self.sockets.len().max(SOCKETS_MAX) {
                self.act(Action::Serve(n));
                self.act(Action::Arrive(0));
                self.act(Action::Evict(0));
            }
            (0..CHANNELS.len()).for_each(|n| self.acknowledge_pending(n));
            if self.is_quiet() {
                return;
            }
        }
        panic!("still busy");
    }

    fn is_quiet(&self) -> bool {
        let quiet = |socket: &Socket| {
            socket.work.is_none()
                && socket.mailbox.is_empty()
                && (socket.closed || socket.inbox.is_empty() && socket.session.is_settled())
        };
        self.deliveries.is_empty() && self.evictions.is_empty() && self.sockets.iter().all(quiet)
    }

    /// Acknowledges what was sent for a channel, if it is pending.
    fn acknowledge_pending(&mut self, n: usize) {
        let id = channel(CHANNELS[n % CHANNELS.len()]);
        let pending = self.pending().remove(&id);
        let idle = self.current().filter(|socket| socket.inbox.is_empty() && socket.session.is_settled());
        if pending.is_some() && idle.is_some_and(|socket| socket.sent.get(&id).copied() == pending) {
            self.acknowledge(n);
        }
    }

    fn pending(&self) -> BTreeMap<ChannelId, Version> {
        let channels = self.store.records.values().flat_map(|record| &record.channels);
        channels.filter_map(|(id, stored)| Some((*id, stored.pending?))).collect()
    }

    /// What is pending for channels that the user agent was told of has arrived and was acknowledged.
    pub(crate) fn assert_channels_told_are_drained(&mut self) {
        if self.current().is_some_and(|socket| socket.greeted) {
            let told = self.pending().into_keys().find(|id| self.told[id] == Told::Registered);
            assert_eq!(told, None, "pending for a connected client");
        }
    }

    pub(crate) fn assert_all_drained(&mut self) {
        assert!(self.current().is_some_and(|socket| socket.greeted), "no hello");
        assert_eq!(self.pending(), BTreeMap::new(), "still pending after a hello");
    }

    /// Of all sockets only the newest is left.
    pub(crate) fn assert_former_sockets_ended(&self) {
        assert_eq!(self.sockets.len(), 1);
    }
}
