//! The words of the interface between a session and its connection: what comes in and what goes out.

mod close_code;
mod report;
mod settings;
mod step;

pub use close_code::CloseCode;
pub use report::ClientReport;
pub use settings::{Admission, BareHello, InvalidUaid, Settings};
pub use step::{Outcome, Step};

use beckon_types::{Broadcasts, Moment, Notification, Presence, Sequence, Uaid};
use std::time::Duration;

/// What a session has to know about the world to handle one input. It is lent for one call, so an idle session
/// holds none of it.
#[derive(Clone, Copy)]
#[expect(missing_debug_implementations, reason = "holds closures, and lives for one call")]
pub struct Context<'a> {
    /// The time of the input.
    pub now: Moment,
    /// The settings, shared by all sessions of a node.
    pub settings: &'a Settings,
    /// Whether this node accepts SimplePush clients. Called for hellos only, so it may be expensive.
    pub admission: &'a dyn Fn() -> Admission,
    /// Whether the source of this connection may ask for this now. Called once for each such request.
    pub admits: &'a dyn Fn(Demand) -> bool,
    /// Called when a write is sent, with its sequence, which says when the store took it. Not called for versions that are
    /// read from the store, which does not keep when it took them.
    pub sent: &'a dyn Fn(Sequence),
    /// Called with the time from the last transmission of a notification to its acknowledgement. Not called for messages
    /// that are not stored, of which nothing is remembered.
    pub acknowledged: &'a dyn Fn(Duration),
    /// The broadcasts as the node knows them.
    pub broadcasts: &'a Broadcasts,
    /// Draws a UAID from a secure random source. Called for hellos only.
    pub new_uaid: &'a dyn Fn() -> Uaid,
}

/// What may be refused before it is tried: a request whose number is limited for each source, or something new that the store
/// may have no room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand {
    /// A hello.
    Hello,
    /// A register.
    Register,
    /// A client that the store does not have yet.
    NewClient,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Input<'a> {
    /// A complete text message.
    Text(&'a str),
    /// A complete binary message.
    Binary(&'a [u8]),
    /// A Ping or Pong frame: a sign of life.
    Control,
    /// The outcome of the last [`Effect::Store`].
    Store(Outcome),
    /// Something was sent to this client. Whether it has expired since it arrived is for the session to decide.
    Notification {
        /// When this node received it.
        arrived: Moment,
        /// The write to the client before the one that it tells of, if that is known. If this socket does not know of it, it has
        /// not been given a write.
        previous: Option<Sequence>,
        /// What was sent.
        notification: Notification,
    },
    /// [`Context::broadcasts`] has changed since the last input.
    Broadcasts,
    /// The time of [`Session::deadline`](crate::Session::deadline) may have come. Being early is harmless.
    Timer,
    /// A newer hello has claimed the UAID.
    Evicted,
    /// The node is shutting down.
    Drain,
    /// The store may have lost the claim of this socket, or something may have been stored and not handed over: make sure
    /// of it.
    Verify,
    /// The peer broke the WebSocket protocol; the socket has to be closed with this code (1002, 1007 or 1009).
    Broken(CloseCode),
    /// The socket has ended: closed by the peer, reset, or dropped because it was too slow. Nothing more can be
    /// sent.
    Disconnected,
}

/// What the connection has to do, in the order of the effects.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Send a text message.
    Send(String),
    /// Send a Ping frame without payload.
    Ping,
    /// Send a Close frame. No [`Effect::Send`] follows.
    Close(CloseCode),
    /// Perform a step and return its outcome as [`Input::Store`]. Until then, no other step is asked for.
    Store(Step),
    /// Close the socket that owned the UAID before, on whichever node it is. If it is on this node, close it
    /// before carrying out the effects that follow.
    Evict(Presence),
    /// Web Push: from now on, bring [`Input::Broadcasts`] whenever the broadcasts change. Emitted at most once.
    Subscribed,
    /// Web Push: count what the user agent reported.
    Report(ClientReport),
    /// The conversation is over and the store knows it. Always the last effect; follows
    /// [`Input::Disconnected`] or [`Effect::Close`].
    End,
}
