//! The state machine: what may come in, what goes out.

use std::time::Duration;
use types::{
    channel_id::ChannelId,
    dialect::Dialect,
    moment::Moment,
    notification::Update,
    presence::Presence,
    step::{Ack, AddChannel, AddChannelOutcome, Hello, HelloOutcome, NotOwner, Snapshot},
    token::KeyRing,
    uaid::Uaid,
};

/// What a conversation needs to know of the world at the moment of an input. Borrowed for one call, so that
/// an idle session holds none of it.
#[expect(missing_debug_implementations, reason = "holds a closure, and lives for one call")]
pub struct Context<'a> {
    /// The time of this input.
    pub now: Moment,
    /// The settings, the same for all sessions of a node.
    pub settings: &'a Settings,
    /// Whether this node takes SimplePush clients.
    pub admission: &'a Admission,
    /// A UAID from a secure random source.
    pub new_uaid: &'a mut dyn FnMut() -> Uaid,
}

/// Whether a node takes further SimplePush clients (PROTOCOL.md section 1.9, Balancing).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// There is room.
    Open,
    /// This node is above its threshold; the node at this URL has room.
    Redirect(String),
    /// No node has room.
    Full,
}

/// The settings of PROTOCOL.md section 1.10 that a conversation depends on.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Opens nothing here; seals the tokens of registered channels.
    pub keys: KeyRing,
    /// Scheme, host and port of endpoints, without a slash at the end.
    pub endpoint_url: String,
    /// Time from the upgrade until the first hello. Pings do not extend it.
    pub hello_timeout: Duration,
    /// Shortest time between two pings, before hello and in SimplePush.
    pub ping_min_sp: Duration,
    /// Inbound silence after which the server sends a Ping frame.
    pub keepalive_interval: Duration,
    /// Time from that Ping frame until the socket is closed, if nothing comes in.
    pub keepalive_timeout: Duration,
    /// How many channels a SimplePush client may have.
    pub channels_max_sp: u32,
    /// Time after a transmission until an unacknowledged update is sent again; zero for never.
    pub sp_retry_interval: Duration,
    /// Time after which the record of a client that is not connected expires. A connected session renews it.
    pub uaid_idle: Duration,
    /// What a hello is that names no dialect in any way.
    pub bare_hello: BareHello,
    /// What a SimplePush hello with a malformed UAID gets.
    pub invalid_uaid: InvalidUaid,
}

/// The dialect of a hello that has neither `use_webpush`, nor a stored UAID, nor a list of channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BareHello {
    /// Web Push, as KUnifiedPush and Sunup send it.
    WebPush,
    /// SimplePush, which then refuses it.
    Reject,
}

/// What a SimplePush hello with a malformed UAID gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidUaid {
    /// A new UAID.
    New,
    /// Error reply 503 and close, for runs of the public test suite.
    Refuse,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Input<'a> {
    /// A whole text message.
    Text(&'a str),
    /// A whole binary message.
    Binary(&'a [u8]),
    /// A Ping or Pong frame: a sign of life.
    Control,
    /// The outcome of the step that the session asked for last.
    Store(Outcome),
    /// A notification for this client.
    Update(Update),
    /// Something was stored for this client and could not be handed over.
    Missed,
    /// The deadline of [`Session::deadline`] may have come. Too early is harmless.
    Timer,
    /// A newer hello has claimed the UAID.
    Evicted,
    /// The node shuts down, or the store has lost its memory.
    Drain,
    /// The socket broke the WebSocket protocol, and is to be closed with this code (1002, 1007 or 1009).
    Broken(CloseCode),
    /// The socket has ended (closed by the peer, reset, or dropped for slowness). Nothing can be sent any more.
    Disconnected,
}

/// What the connection has to do, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Send a text message.
    Send(String),
    /// Send a Ping frame without payload.
    Ping,
    /// Send a Close frame. No [`Effect::Send`] follows.
    Close(CloseCode),
    /// Perform a step and bring its outcome as [`Input::Store`]. No other step is asked for before that.
    Store(Step),
    /// Close the socket that owned the UAID before, on whatever node it is; if it is on this node, before the
    /// effects that follow.
    Evict(Presence),
    /// The conversation is over and the store knows. Always the last effect; comes after
    /// [`Input::Disconnected`] or after [`Effect::Close`].
    End,
}

/// Why a socket is closed, as RFC 6455 section 7.4 and PROTOCOL.md section 1.7 number it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseCode {
    /// 1000: replaced by a newer connection of the same UAID, or sent to another node.
    Normal,
    /// 1001: the node shuts down.
    GoingAway,
    /// 1002: WebSocket protocol violation.
    Protocol,
    /// 1003: a binary frame in Web Push.
    Unsupported,
    /// 1007: malformed JSON, invalid UTF-8, JSON that is not an object.
    Invalid,
    /// 1008: after every closing error reply, and after the hello timeout.
    Policy,
    /// 1009: message too large.
    TooBig,
    /// 1011: internal failure, keep-alive timeout, storage failure during hello.
    Error,
    /// 4774, Web Push only: pings too frequent.
    TooManyPings,
}

impl CloseCode {
    /// The number on the wire.
    pub fn number(self) -> u16 {
        match self {
            Self::Normal => 1000,
            Self::GoingAway => 1001,
            Self::Protocol => 1002,
            Self::Unsupported => 1003,
            Self::Invalid => 1007,
            Self::Policy => 1008,
            Self::TooBig => 1009,
            Self::Error => 1011,
            Self::TooManyPings => 4774,
        }
    }
}

/// A step for the store. The session has at most one under way; further ones wait in the session.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Claim a UAID.
    Hello(Hello),
    /// Register a channel.
    AddChannel(AddChannel),
    /// Unregister a channel.
    RemoveChannel(Uaid, Presence, ChannelId),
    /// Acknowledge updates.
    Ack(Uaid, Vec<Ack>),
    /// Read what is pending, and renew the record.
    Snapshot(Uaid, Presence),
    /// Give the UAID up.
    Release(Uaid, Presence),
}

/// The outcome of the [`Step`] of the same name, or that the store failed.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Of [`Step::Hello`].
    Hello(HelloOutcome),
    /// Of [`Step::AddChannel`].
    AddChannel(AddChannelOutcome),
    /// Of [`Step::RemoveChannel`].
    RemoveChannel(Result<(), NotOwner>),
    /// Of [`Step::Ack`].
    Ack,
    /// Of [`Step::Snapshot`].
    Snapshot(Result<Snapshot, NotOwner>),
    /// Of [`Step::Release`].
    Release,
    /// Of any step: the store failed.
    Failed,
}

/// One client's conversation.
#[derive(Debug)]
pub struct Session {
    _todo: (),
}

impl Session {
    /// A conversation on a socket that was upgraded just now.
    pub fn new(_context: &Context<'_>, _presence: Presence) -> Self {
        Self { _todo: () }
    }

    /// Takes one input and appends what has to be done.
    pub fn handle(&mut self, _context: &mut Context<'_>, _input: Input<'_>, _effects: &mut Vec<Effect>) {}

    /// When [`Input::Timer`] is wanted at the latest. `None` once the conversation is over.
    pub fn deadline(&self, _settings: &Settings) -> Option<Moment> {
        None
    }

    /// Whether [`Input::Update`] and [`Input::Missed`] may be brought now. While a hello is under way they wait
    /// in the mailbox, because its reply comes first.
    pub fn takes_notifications(&self) -> bool {
        false
    }

    /// Whether [`Input::Text`] and [`Input::Binary`] may be brought now. False while too many steps wait; then
    /// the socket is not read, and TCP slows the peer down.
    pub fn takes_messages(&self) -> bool {
        false
    }

    /// Whether no step is under way or waiting. A peer that closes the socket gets its Close answered only
    /// then, so that a user agent that waits for it knows that its acknowledgements are stored.
    pub fn is_settled(&self) -> bool {
        true
    }

    /// Whether a hello has succeeded, and in which dialect.
    pub fn dialect(&self) -> Option<Dialect> {
        None
    }
}
