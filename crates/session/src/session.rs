//! The state machine: who is at the other end, and who handles what comes in.

use crate::{
    api::{CloseCode, Context, Demand, Effect, Input, Outcome, Settings, Step},
    budget::Budget,
    greeting::{Greeting, evict, no_room},
    leaving::{Leaving, refuse},
    message::{Command, EMPTY_OBJECT, Frame, Kind, Request, simplepush::hello_reply},
    peer::{Client, Peer},
    seen::Seen,
    silence::Silence,
    simplepush::SimplePush,
    steps::{Job, Steps},
    turn::Turn,
    violation::{INTERNAL_ERROR, Violation},
    webpush::WebPush,
};
use beckon_types::{
    Backlog, Dialect, Hello, HelloOutcome, Moment, Notification, Presence, Sequence, Snapshot,
};
use std::{mem, num::NonZeroU64, str::Utf8Error};

/// The conversation on one connection.
///
/// It is a plain value. While [`Self::is_settled`], `peer`, `seen`, `silence` and `pinged` are all that it consists of.
#[derive(Debug, Clone)]
pub struct Session {
    /// Which connection this is.
    pub(crate) presence: Presence,
    pub(crate) peer: Peer,
    pub(crate) seen: Seen,
    pub(crate) steps: Steps,
    pub(crate) silence: Silence,
    pub(crate) budget: Budget,
    /// When the last ping came in. A millisecond is added, so that "never" takes no memory.
    pub(crate) pinged: Option<NonZeroU64>,
}

impl Session {
    /// A session on a socket that was upgraded just now.
    pub fn new(now: Moment, presence: Presence) -> Self {
        Self {
            presence,
            peer: Peer::Stranger { since: now },
            seen: Seen::default(),
            steps: Steps::default(),
            silence: Silence::Heard(now),
            budget: Budget::new(now),
            pinged: None,
        }
    }

    /// Handles one input and appends what the connection has to do.
    pub fn handle(&mut self, context: &Context<'_>, input: Input<'_>, effects: &mut Vec<Effect>) {
        match input {
            Input::Store(outcome) => self.conclude(context, outcome, effects),
            // After the end only outcomes matter.
            _ if !self.peer.is_open() => {}
            Input::Text(text) => {
                self.silence = Silence::Heard(context.now);
                self.receive(context, Frame::Text, Ok(text), effects);
            }
            Input::Binary(bytes) => {
                self.silence = Silence::Heard(context.now);
                self.receive(context, Frame::Binary, str::from_utf8(bytes), effects);
            }
            Input::Control => self.silence = Silence::Heard(context.now),
            Input::Notification { arrived, previous, mut notification } => {
                self.notify(context, (arrived, previous), &mut notification, effects);
            }
            Input::Broadcasts => {
                if let Some((Client::WebPush(client), mut turn)) = self.turn(context, effects) {
                    client.push_broadcasts(&mut turn);
                }
            }
            Input::Timer => self.check_time(context, effects),
            Input::Evicted => self.disown(context, CloseCode::Normal, effects),
            Input::Drain => self.close(context, CloseCode::GoingAway, effects),
            Input::Verify => self.verify(context, effects),
            Input::Broken(code) => self.close(context, code, effects),
            Input::Disconnected => self.leave(context, effects),
        }
    }

    /// When [`Input::Timer`] is needed. `None` after the end, when only the store and the socket are waited for.
    pub fn deadline(&self, now: Moment, settings: &Settings) -> Option<Moment> {
        let silence = self.silence.deadline(settings).filter(|_| self.peer.is_open());
        silence.into_iter().chain(self.due(settings)).chain(self.resumes_at(now, settings)).min()
    }

    /// When messages may be brought again after too many requests.
    fn resumes_at(&self, now: Moment, settings: &Settings) -> Option<Moment> {
        let is_client = matches!(self.peer, Peer::Client(..));
        Some(self.budget.next_at(settings))
            .filter(|next| is_client && settings.requests_max > 0 && *next > now)
    }

    /// When the hello timeout ends, or when the client has something to do by itself.
    fn due(&self, settings: &Settings) -> Option<Moment> {
        match &self.peer {
            Peer::Stranger { since } => Some(*since + settings.hello_timeout),
            Peer::Greeting(greeting) => Some(greeting.since + settings.hello_timeout),
            // A read that is under way or waiting decides when the next one is due.
            Peer::Client(..) if self.steps.is_reading() => None,
            Peer::Client(_, client) => Some(client.due(settings).min(self.seen.due())),
            Peer::Leaving(_) | Peer::Gone => None,
        }
    }

    /// Whether [`Input::Notification`] and [`Input::Broadcasts`] may be brought now. While a hello is under way they
    /// have to wait, because its reply comes first. Before the hello and after the end they are dropped.
    pub fn takes_notifications(&self) -> bool {
        !matches!(self.peer, Peer::Greeting(_))
    }

    /// Whether [`Input::Text`] and [`Input::Binary`] may be brought now. False while too many steps wait, while a
    /// message waits for the hello before it, and after too many requests, until [`Session::deadline`]. Then the socket
    /// should not be read, so that TCP slows the peer down.
    pub fn takes_messages(&self, now: Moment, settings: &Settings) -> bool {
        match &self.peer {
            Peer::Greeting(greeting) => greeting.held.is_empty(),
            Peer::Client(..) => !self.steps.is_full() && !self.budget.is_spent(now, settings),
            Peer::Stranger { .. } | Peer::Leaving(_) | Peer::Gone => true,
        }
    }

    /// About how many bytes it holds of messages that wait for the store.
    pub fn held(&self) -> usize {
        self.peer.held() + self.steps.held()
    }

    /// Whether no step is under way or waiting. A connection answers the peer's Close frame only then, so that a user
    /// agent that waits for the answer knows that its acknowledgements are stored.
    pub fn is_settled(&self) -> bool {
        match self.peer {
            Peer::Stranger { .. } | Peer::Gone => true,
            Peer::Client(..) => self.steps.is_empty(),
            Peer::Greeting(_) | Peer::Leaving(_) => false,
        }
    }

    /// The dialect; `None` unless there is a client, that is, from a successful hello until the end.
    pub fn dialect(&self) -> Option<Dialect> {
        self.peer.dialect()
    }

    /// Whether the conversation goes on: neither side has closed it.
    pub fn is_open(&self) -> bool {
        self.peer.is_open()
    }

    /// The client and its turn, if there is a client.
    fn turn<'a>(
        &'a mut self,
        context: &Context<'a>,
        effects: &'a mut Vec<Effect>,
    ) -> Option<(&'a mut Client, Turn<'a>)> {
        let Peer::Client(identity, client) = &mut self.peer else { return None };
        let (owner, steps, budget) = ((identity, &mut self.seen), &mut self.steps, &mut self.budget);
        Some((client, Turn::new(context, self.presence, owner, steps, budget, effects)))
    }

    /// Handles a message, or bytes that are not UTF-8. A user agent that breaks the rules is closed.
    fn receive(
        &mut self,
        context: &Context<'_>,
        frame: Frame,
        text: Result<&str, Utf8Error>,
        effects: &mut Vec<Effect>,
    ) {
        let result = match text {
            Ok("") => Ok(()),
            _ if frame == Frame::Binary && self.dialect() == Some(Dialect::WebPush) => {
                Err(Violation::BinaryMessage)
            }
            Ok(text) => self.read(context, frame, text, effects),
            Err(_) => Err(Violation::NotAnObject),
        };
        if let Err(violation) = result {
            refuse(text.unwrap_or_default(), violation, effects);
            self.leave(context, effects);
        }
    }

    fn read(
        &mut self,
        context: &Context<'_>,
        frame: Frame,
        text: &str,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let request = Request::parse(text).map_err(|_| Violation::NotAnObject)?;
        match (request.kind(), &mut self.peer) {
            (Kind::Ping, _) => self.ping(context, effects),
            (Kind::Purge, _) => {
                effects.push(Effect::Send(EMPTY_OBJECT.into()));
                Ok(())
            }
            (Kind::Command(_) | Kind::Unknown, Peer::Greeting(greeting)) => {
                greeting.held.push((frame, text.into()));
                Ok(())
            }
            (Kind::Command(command), _) => self.command(context, command, &request, effects),
            (Kind::Unknown, _) => Err(Violation::UnknownType),
        }
    }

    fn ping(&mut self, context: &Context<'_>, effects: &mut Vec<Effect>) -> Result<(), Violation> {
        let (min, violation) = if self.dialect() == Some(Dialect::WebPush) {
            (context.settings.ping_min_wp, Violation::EarlyPingWebPush)
        } else {
            (context.settings.ping_min_sp, Violation::EarlyPing)
        };
        if self.pinged.is_some_and(|last| context.now.since(Moment(last.get() - 1)) < min) {
            return Err(violation);
        }
        self.pinged = NonZeroU64::new(context.now.0.saturating_add(1));
        effects.push(Effect::Send(EMPTY_OBJECT.into()));
        Ok(())
    }

    fn command(
        &mut self,
        context: &Context<'_>,
        command: Command,
        request: &Request<'_>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        self.budget.spend(context.now, context.settings);
        if let Peer::Stranger { since } = self.peer {
            return match command {
                Command::Hello => {
                    let (greeting, hello) = Greeting::read(context, self.presence, since, request)?;
                    if greeting.is_admitted(context) {
                        self.claim(Box::new(greeting), hello, effects);
                    } else {
                        // Without a reply, because some user agents take any reply with a UAID for success.
                        self.close(context, CloseCode::Error, effects);
                    }
                    Ok(())
                }
                Command::Register | Command::Unregister | Command::Ack => Err(Violation::BeforeHello),
                Command::Nack | Command::BroadcastSubscribe | Command::Urgency => Err(Violation::UnknownType),
            };
        }
        if command == Command::Hello && !(context.admits)(Demand::Hello) {
            self.close(context, CloseCode::Error, effects);
            return Ok(());
        }
        match self.turn(context, effects) {
            Some((_, mut turn)) if command == Command::Register && !(context.admits)(Demand::Register) => {
                turn.send_error(request.text, INTERNAL_ERROR);
                Ok(())
            }
            Some((Client::SimplePush(client), mut turn)) => match command {
                Command::Hello => client.hello_again(&mut turn, request),
                Command::Register => client.register(&mut turn, request),
                Command::Unregister => client.unregister(&mut turn, request),
                Command::Ack => client.ack(&mut turn, request),
                Command::Nack | Command::BroadcastSubscribe | Command::Urgency => Err(Violation::UnknownType),
            },
            Some((Client::WebPush(client), mut turn)) => match command {
                Command::Hello => Err(Violation::SecondHello),
                Command::Register => client.register(&mut turn, request),
                Command::Unregister => client.unregister(&mut turn, request),
                Command::Ack => client.ack(&mut turn, request),
                Command::Nack => client.nack(&mut turn, request),
                Command::BroadcastSubscribe => client.subscribe(&mut turn, request),
                Command::Urgency => client.set_urgency(&mut turn, request),
            },
            None => Ok(()),
        }
    }
}

/// What comes from elsewhere: notifications and the passage of time.
impl Session {
    fn notify(
        &mut self,
        context: &Context<'_>,
        (arrived, previous): (Moment, Option<Sequence>),
        notification: &mut Notification,
        effects: &mut Vec<Effect>,
    ) {
        let Some((client, mut turn)) = self.turn(context, effects) else { return };
        match (client, notification) {
            (Client::SimplePush(client), Notification::Update(update)) => {
                client.push_update(&mut turn, update, previous);
            }
            (Client::SimplePush(client), Notification::Missed) => client.refresh(&mut turn),
            (Client::WebPush(client), Notification::Message(message)) => {
                client.push_message(&mut turn, arrived, message, previous);
            }
            (Client::WebPush(client), Notification::Missed) => client.read_again(&mut turn),
            // It was meant for a former client.
            (Client::SimplePush(_), Notification::Message(_))
            | (Client::WebPush(_), Notification::Update(_)) => {}
        }
    }

    /// Asks the store whether this socket still owns the UAID, and whether it has missed anything.
    fn verify(&mut self, context: &Context<'_>, effects: &mut Vec<Effect>) {
        self.turn(context, effects).into_iter().for_each(|(_, mut turn)| turn.verify());
    }

    /// Does what is due.
    fn check_time(&mut self, context: &Context<'_>, effects: &mut Vec<Effect>) {
        let (now, settings) = (context.now, context.settings);
        if self.due(settings).is_some_and(|due| due <= now) {
            match self.turn(context, effects) {
                Some((Client::SimplePush(client), mut turn)) => client.resume(&mut turn),
                Some((Client::WebPush(client), mut turn)) => client.resume(&mut turn),
                None => return self.close(context, CloseCode::Policy, effects),
            }
        }
        if self.silence.is_over(now, settings) {
            match self.silence {
                // The socket is not being read, so nothing can come in.
                _ if !self.takes_messages(now, settings) => self.silence = Silence::Heard(now),
                Silence::Heard(_) => {
                    self.silence = Silence::Asked(now);
                    effects.push(Effect::Ping);
                    // The socket wakes up anyway.
                    self.verify(context, effects);
                }
                Silence::Asked(_) => self.close(context, CloseCode::Error, effects),
            }
        }
    }
}

/// The first hello.
impl Session {
    fn claim(&mut self, greeting: Box<Greeting>, hello: Hello, effects: &mut Vec<Effect>) {
        self.peer = Peer::Greeting(greeting);
        effects.push(Effect::Store(Step::Hello(hello)));
    }

    /// Handles the outcome of a claim.
    fn claimed(
        &mut self,
        context: &Context<'_>,
        mut greeting: Box<Greeting>,
        outcome: Outcome,
        effects: &mut Vec<Effect>,
    ) {
        let Outcome::Hello(outcome) = outcome else {
            // The store failed, but may have performed the step.
            effects.push(Effect::Close(CloseCode::Error));
            return self.finish(Leaving::as_owner(greeting.identity.client(context.settings)), effects);
        };
        let dialect = match outcome {
            HelloOutcome::Claimed { dialect, former, snapshot, backlog } => {
                evict(former, self.presence, effects);
                return self.greet(context, *greeting, dialect, (&snapshot, &backlog), effects);
            }
            HelloOutcome::Deleted { former } => {
                evict(former, self.presence, effects);
                Dialect::SimplePush
            }
            HelloOutcome::Unknown { dialect } => dialect,
            HelloOutcome::ListMissing => {
                refuse(&greeting.request, Violation::IllFormed, effects);
                return self.leave(context, effects);
            }
            // Without a reply: Firefox takes any reply with a `uaid` for a success.
            HelloOutcome::Blocked => return self.close(context, CloseCode::Policy, effects),
            HelloOutcome::NoRoom => {
                let (status, url) = no_room((context.admission)());
                effects.push(Effect::Send(hello_reply(greeting.identity, status, url.as_deref())));
                return self.close(context, CloseCode::Normal, effects);
            }
        };
        if greeting.is_generated || !(context.admits)(Demand::NewClient) {
            // The store has refused a new UAID, or has no room for one.
            return self.close(context, CloseCode::Error, effects);
        }
        let hello = greeting.replace_uaid(context, self.presence, dialect);
        self.claim(greeting, hello, effects);
    }

    /// Welcomes the client that has claimed its UAID, and handles the messages that came meanwhile.
    fn greet(
        &mut self,
        context: &Context<'_>,
        greeting: Greeting,
        dialect: Dialect,
        (snapshot, backlog): (&Snapshot, &Backlog),
        effects: &mut Vec<Effect>,
    ) {
        let Greeting { mut identity, broadcasts, request, held, .. } = greeting;
        let (owner, steps, budget) = ((&mut identity, &mut self.seen), &mut self.steps, &mut self.budget);
        let turn = &mut Turn::new(context, self.presence, owner, steps, budget, effects);
        let client = match (dialect, broadcasts) {
            (Dialect::SimplePush, _) => Client::SimplePush(SimplePush::greet(turn, snapshot)),
            (Dialect::WebPush, Ok(broadcasts)) => {
                Client::WebPush(WebPush::greet(turn, &broadcasts, snapshot, backlog))
            }
            (Dialect::WebPush, Err(_)) => {
                refuse(&request, Violation::IllFormedHello, effects);
                return self.finish(Leaving::as_owner(identity.client(context.settings)), effects);
            }
        };
        self.peer = Peer::Client(identity, client);
        for (frame, text) in held {
            if self.peer.is_open() {
                self.receive(context, frame, Ok(&text), effects);
            }
        }
    }
}

/// Outcomes of steps.
impl Session {
    /// Passes the outcome of the step under way to the part that asked for it, and starts the next step.
    fn conclude(&mut self, context: &Context<'_>, outcome: Outcome, effects: &mut Vec<Effect>) {
        match &mut self.peer {
            Peer::Greeting(greeting) => {
                let stranger = Peer::Stranger { since: greeting.since };
                if let Peer::Greeting(greeting) = mem::replace(&mut self.peer, stranger) {
                    self.claimed(context, greeting, outcome, effects);
                }
            }
            Peer::Client(..) => {
                let Some(job) = self.steps.finish() else { return };
                self.answer(context, job, outcome, effects);
                if let Peer::Client(identity, _) = &self.peer {
                    let client = || identity.client(context.settings);
                    effects.extend(self.steps.start(client, self.presence).map(Effect::Store));
                }
            }
            Peer::Leaving(leaving) => {
                leaving.conclude(&outcome, &mut self.steps, self.presence, effects);
                self.go_on_leaving(effects);
            }
            Peer::Stranger { .. } | Peer::Gone => {}
        }
    }

    /// Passes the outcome of a client's job to the client.
    fn answer(&mut self, context: &Context<'_>, job: Job, outcome: Outcome, effects: &mut Vec<Effect>) {
        if let Some(code) = outcome.disowns() {
            return self.disown(context, code, effects);
        }
        let result = match self.turn(context, effects) {
            Some((Client::SimplePush(client), mut turn)) => client.conclude(&mut turn, job, outcome),
            Some((Client::WebPush(client), mut turn)) => client.conclude(&mut turn, job, outcome),
            None => Ok(()),
        };
        if let Err(code) = result {
            self.close(context, code, effects);
        }
    }
}

/// The end.
impl Session {
    fn close(&mut self, context: &Context<'_>, code: CloseCode, effects: &mut Vec<Effect>) {
        effects.push(Effect::Close(code));
        self.leave(context, effects);
    }

    /// Continues without a socket: requests that were received are performed, then the UAID is released.
    fn leave(&mut self, context: &Context<'_>, effects: &mut Vec<Effect>) {
        let leaving = match &self.peer {
            Peer::Greeting(greeting) => Leaving::during_hello(greeting.identity.client(context.settings)),
            Peer::Client(identity, _) => Leaving::as_owner(identity.client(context.settings)),
            Peer::Stranger { .. } | Peer::Leaving(_) | Peer::Gone => return self.end(effects),
        };
        self.finish(leaving, effects);
    }

    /// Closes a socket that does not own its UAID any more.
    fn disown(&mut self, context: &Context<'_>, code: CloseCode, effects: &mut Vec<Effect>) {
        effects.push(Effect::Close(code));
        let Peer::Client(identity, _) = &self.peer else { return self.leave(context, effects) };
        let leaving = Leaving::disowned(identity.client(context.settings));
        self.steps.keep_acknowledgements();
        self.finish(leaving, effects);
    }

    fn finish(&mut self, leaving: Leaving, effects: &mut Vec<Effect>) {
        self.peer = Peer::Leaving(leaving);
        self.steps.keep_writes();
        self.go_on_leaving(effects);
    }

    fn go_on_leaving(&mut self, effects: &mut Vec<Effect>) {
        if let Peer::Leaving(leaving) = &mut self.peer
            && leaving.go_on(&mut self.steps, self.presence, effects)
        {
            self.end(effects);
        }
    }

    fn end(&mut self, effects: &mut Vec<Effect>) {
        self.peer = Peer::Gone;
        effects.push(Effect::End);
    }
}
