//! The state machine: what may come in, what goes out.

mod ending;
mod greeting;
mod registering;
mod steps;
mod timers;

use crate::{
    api::{CloseCode, Context, Effect, Input, Settings},
    message::{Command, EMPTY_OBJECT, Kind, Request, error_reply},
    simplepush::SimplePush,
    violation::Violation,
    webpush::WebPush,
};
use beckon_types::{Dialect, Moment, Notification, Presence, Spelling, Uaid};
pub(crate) use steps::{Frame, Job, Steps};
use timers::Silence;

/// One client's conversation.
#[derive(Debug, Clone)]
pub struct Session {
    pub(crate) presence: Presence,
    /// The UAID that this socket owns or is claiming. Whoever sees none here has nothing to release.
    pub(crate) identity: Option<Identity>,
    pub(crate) client: Client,
    pub(crate) steps: Steps,
    silence: Silence,
    /// The last ping.
    pinged: Option<Moment>,
    phase: Phase,
}

/// A UAID as the user agent spells it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Identity {
    pub(crate) uaid: Uaid,
    pub(crate) spelling: Spelling,
}

/// Who is at the other end. The dialect that the first hello fixes is a variant here.
#[derive(Debug, Clone)]
pub(crate) enum Client {
    /// Nobody has said hello with success.
    Stranger {
        /// When the socket was upgraded.
        since: Moment,
    },
    /// A SimplePush user agent.
    SimplePush(SimplePush),
    /// A Web Push user agent.
    WebPush(WebPush),
}

impl Client {
    /// The SimplePush user agent, if it is one.
    pub(crate) fn simplepush(&mut self) -> Option<&mut SimplePush> {
        match self {
            Self::SimplePush(client) => Some(client),
            Self::Stranger { .. } | Self::WebPush(_) => None,
        }
    }

    /// The Web Push user agent, if it is one.
    pub(crate) fn webpush(&mut self) -> Option<&mut WebPush> {
        match self {
            Self::WebPush(client) => Some(client),
            Self::Stranger { .. } | Self::SimplePush(_) => None,
        }
    }
}

/// How far the conversation is from its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It goes on.
    Open,
    /// Nothing is sent any more; the steps are finished.
    Ending {
        /// Whether this socket may still own the UAID.
        release: bool,
    },
    /// [`Effect::End`] is out.
    Over,
}

impl Session {
    /// A session on a socket that was upgraded just now.
    pub fn new(now: Moment, presence: Presence) -> Self {
        Self {
            presence,
            identity: None,
            client: Client::Stranger { since: now },
            steps: Steps::default(),
            silence: Silence::Heard(now),
            pinged: None,
            phase: Phase::Open,
        }
    }

    /// Takes one input and appends what has to be done.
    pub fn handle(&mut self, context: &Context<'_>, input: Input<'_>, effects: &mut Vec<Effect>) {
        match input {
            Input::Store(outcome) => self.conclude(context, outcome, effects),
            input if self.phase == Phase::Open => self.handle_open(context, input, effects),
            // After the end nothing else matters.
            Input::Text(_)
            | Input::Binary(_)
            | Input::Control
            | Input::Notification { .. }
            | Input::Broadcasts
            | Input::Timer
            | Input::Evicted
            | Input::Drain
            | Input::StoreLost
            | Input::Broken(_)
            | Input::Disconnected => {}
        }
    }

    fn handle_open(&mut self, context: &Context<'_>, input: Input<'_>, effects: &mut Vec<Effect>) {
        match input {
            Input::Text(text) => {
                self.silence = Silence::Heard(context.now);
                self.take_message(context, text, Frame::Text, effects);
            }
            Input::Binary(bytes) => {
                self.silence = Silence::Heard(context.now);
                self.take_binary(context, bytes, effects);
            }
            Input::Control => self.silence = Silence::Heard(context.now),
            Input::Notification { arrived, notification } => {
                self.notify(context, arrived, notification, effects);
            }
            Input::Broadcasts => self.broadcasts_changed(context.broadcasts, effects),
            Input::Timer => self.check_time(context, effects),
            Input::Evicted => self.close_disowned(effects),
            Input::Drain => self.close(CloseCode::GoingAway, effects),
            Input::StoreLost => self.close(CloseCode::Error, effects),
            Input::Broken(code) => self.close(code, effects),
            Input::Disconnected => self.wind_up(effects),
            Input::Store(_) => {}
        }
    }

    fn notify(
        &mut self,
        context: &Context<'_>,
        arrived: Moment,
        notification: Notification,
        effects: &mut Vec<Effect>,
    ) {
        match notification {
            Notification::Update(update) => self.deliver(context.now, &update, effects),
            Notification::Message(mut message) => {
                // It may have waited for a hello or for a congested socket.
                if message.age(context.now.since(arrived)) {
                    self.deliver_message(context, &message, effects);
                }
            }
            Notification::Missed => self.look(context, effects),
        }
    }

    /// A binary message: the same as a text message, except in Web Push.
    fn take_binary(&mut self, context: &Context<'_>, bytes: &[u8], effects: &mut Vec<Effect>) {
        match (&self.client, std::str::from_utf8(bytes)) {
            (_, Ok("")) => {}
            (Client::WebPush(_), _) => self.close(CloseCode::Unsupported, effects),
            (Client::Stranger { .. } | Client::SimplePush(_), Ok(text)) => {
                self.take_message(context, text, Frame::Binary, effects);
            }
            (Client::Stranger { .. } | Client::SimplePush(_), Err(_)) => {
                self.close(CloseCode::Invalid, effects);
            }
        }
    }

    /// A message as it comes in. Pings and `purge` are answered at once; everything else waits while the first
    /// hello is under way.
    fn take_message(&mut self, context: &Context<'_>, text: &str, frame: Frame, effects: &mut Vec<Effect>) {
        if text.is_empty() {
            return;
        }
        let Ok(request) = Request::parse(text) else {
            self.close(CloseCode::Invalid, effects);
            return;
        };
        match request.kind() {
            Kind::Ping => self.ping(context, &request, effects),
            Kind::Purge => effects.push(Effect::Send(EMPTY_OBJECT.into())),
            Kind::Command(_) | Kind::Unknown if self.steps.greets() => self.steps.hold(frame, text),
            Kind::Command(command) => self.command(context, command, &request, effects),
            Kind::Unknown => self.refuse(request.text, Violation::UnknownType, effects),
        }
    }

    /// The messages that came while the hello was under way.
    pub(crate) fn take_held(&mut self, context: &Context<'_>, effects: &mut Vec<Effect>) {
        while self.phase == Phase::Open
            && let Some((frame, text)) = self.steps.unhold()
        {
            match frame {
                Frame::Text => self.take_message(context, &text, frame, effects),
                Frame::Binary => self.take_binary(context, text.as_bytes(), effects),
            }
        }
    }

    fn command(
        &mut self,
        context: &Context<'_>,
        command: Command,
        request: &Request<'_>,
        effects: &mut Vec<Effect>,
    ) {
        match (&self.client, command) {
            (Client::Stranger { .. }, Command::Hello) => self.greet(context, request, effects),
            (Client::Stranger { .. }, Command::Register | Command::Unregister | Command::Ack) => {
                self.refuse(request.text, Violation::BeforeHello, effects);
            }
            (
                Client::Stranger { .. } | Client::SimplePush(_),
                Command::Nack | Command::BroadcastSubscribe | Command::Urgency,
            ) => self.refuse(request.text, Violation::UnknownType, effects),
            (Client::SimplePush(_), Command::Hello) => self.hello_again(context, request, effects),
            (Client::SimplePush(_), Command::Ack) => self.acknowledge(request, effects),
            (Client::SimplePush(_) | Client::WebPush(_), Command::Register) => {
                self.register(context, request, effects);
            }
            (Client::SimplePush(_) | Client::WebPush(_), Command::Unregister) => {
                self.unregister(request, effects);
            }
            (Client::WebPush(_), Command::Hello) => {
                self.refuse_hello(request.text, Violation::SecondHello, effects);
            }
            (Client::WebPush(_), Command::Ack) => self.acknowledge_messages(context, request, effects),
            (Client::WebPush(_), Command::Nack) => self.nack(request, effects),
            (Client::WebPush(_), Command::BroadcastSubscribe) => {
                self.subscribe(context.broadcasts, request, effects);
            }
            (Client::WebPush(_), Command::Urgency) => self.set_urgency(context, request, effects),
        }
    }

    fn ping(&mut self, context: &Context<'_>, request: &Request<'_>, effects: &mut Vec<Effect>) {
        let (now, settings) = (context.now, context.settings);
        let early = |min| self.pinged.is_some_and(|last| now.since(last) < min);
        match &self.client {
            Client::Stranger { .. } | Client::SimplePush(_) if early(settings.ping_min_sp) => {
                self.refuse(request.text, Violation::PingTooEarly, effects);
            }
            Client::WebPush(_) if early(settings.ping_min_wp) => {
                self.close(CloseCode::TooManyPings, effects);
            }
            Client::Stranger { .. } | Client::SimplePush(_) | Client::WebPush(_) => {
                self.pinged = Some(now);
                effects.push(Effect::Send(EMPTY_OBJECT.into()));
            }
        }
    }

    /// Sends the error reply to a request that breaks the rules, and closes.
    pub(crate) fn refuse(&mut self, request: &str, violation: Violation, effects: &mut Vec<Effect>) {
        effects.push(Effect::Send(error_reply(request, violation.reply(), &[])));
        self.close(CloseCode::Policy, effects);
    }

    /// When [`Input::Timer`] is wanted at the latest. `None` once the conversation is closing or over: then
    /// only the store and the socket are waited for.
    pub fn deadline(&self, settings: &Settings) -> Option<Moment> {
        match self.phase {
            Phase::Open => self.next_deadline(settings),
            Phase::Ending { .. } | Phase::Over => None,
        }
    }

    /// Whether [`Input::Notification`] may be brought now. While a hello is under way they wait
    /// in the mailbox, because its reply comes first. Before the hello, and from closing on, they are dropped.
    pub fn takes_notifications(&self) -> bool {
        self.phase != Phase::Open || !self.steps.greets()
    }

    /// Whether [`Input::Text`] and [`Input::Binary`] may be brought now. False while too many steps wait, and
    /// while a message waits for the hello before it; then the socket is not read, and TCP slows the peer down.
    pub fn takes_messages(&self) -> bool {
        self.phase != Phase::Open || !self.steps.are_full()
    }

    /// Whether no step is under way or waiting. A peer that closes the socket gets its Close answered only
    /// then, so that a user agent that waits for it knows that its acknowledgements are stored.
    pub fn is_settled(&self) -> bool {
        self.steps.are_done()
    }

    /// Whether a hello has succeeded, and in which dialect.
    pub fn dialect(&self) -> Option<Dialect> {
        match self.client {
            Client::Stranger { .. } => None,
            Client::SimplePush(_) => Some(Dialect::SimplePush),
            Client::WebPush(_) => Some(Dialect::WebPush),
        }
    }
}
