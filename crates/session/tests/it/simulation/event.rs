//! What may happen. The numbers choose among what there is.

use beckon_types::Dialect;

/// Something that may happen next.
#[derive(Debug, Clone, Copy)]
pub(super) enum Event {
    /// Something happens to the user agent of this dialect.
    Of(Dialect, AgentEvent),
    /// A notification reaches the mailbox that it was sent to.
    Arrive(usize),
    /// A copy of a notification does.
    Repeat(usize),
    /// A copy of a notification reaches the mailboxes of the other user agent.
    Stray(usize),
    /// A notification is lost, and a nudge is sent in its place.
    Lose(usize),
    /// An eviction arrives.
    Evict(usize),
    /// The store performs a step that has failed.
    Late(usize),
    /// The store makes a snapshot of itself.
    Keep,
    /// The store goes back to its snapshot. Its clock is behind from then on, or is not.
    GoBack { clock_is_behind: bool },
    /// Seconds pass.
    Wait(u64),
}

/// Something that may happen to a user agent or to one of its sockets.
#[derive(Debug, Clone, Copy)]
pub(super) enum AgentEvent {
    /// It opens a socket and says hello.
    Connect(usize),
    /// It does so if it has no open socket.
    Reconnect(usize),
    /// A socket ends.
    Leave(usize),
    /// It registers a channel.
    Register(usize),
    /// It unregisters a channel.
    Unregister(usize),
    /// An application server sends to a channel.
    Publish(Publication),
    /// An application server sends to a channel, and is told that it failed. It is stored, and nobody tells the user agent.
    PublishInVain(Publication),
    /// An application server cancels what is stored.
    Cancel(usize),
    /// It acknowledges something that it has received.
    Acknowledge(usize),
    /// It makes a request that only its dialect has.
    Ask(usize),
    /// A session reads a message of its socket.
    Read(usize),
    /// The store performs a step.
    Perform(usize),
    /// The outcome of a performed step comes back.
    Answer(usize),
    /// Everything that a socket waits for happens once.
    Serve(usize),
    /// A step fails without having been performed, or its outcome is lost.
    FailBefore(usize),
    /// A step is performed, but its outcome is lost.
    FailAfter(usize),
    /// A session takes a notification from its mailbox.
    Mail(usize),
}

impl Event {
    /// Whether it may happen while everything works: no socket ends, no step fails, no store lies, and no time passes.
    pub(super) fn is_harmless(self) -> bool {
        match self {
            Self::Arrive(_) | Self::Repeat(_) | Self::Stray(_) | Self::Lose(_) => true,
            Self::Evict(_) | Self::Late(_) | Self::Keep | Self::GoBack { .. } | Self::Wait(_) => false,
            Self::Of(_, event) => match event {
                AgentEvent::Register(_)
                | AgentEvent::Unregister(_)
                | AgentEvent::Publish(_)
                | AgentEvent::PublishInVain(_)
                | AgentEvent::Cancel(_)
                | AgentEvent::Acknowledge(_)
                | AgentEvent::Ask(_)
                | AgentEvent::Read(_)
                | AgentEvent::Perform(_)
                | AgentEvent::Answer(_)
                | AgentEvent::Serve(_)
                | AgentEvent::Mail(_) => true,
                AgentEvent::Connect(_)
                | AgentEvent::Reconnect(_)
                | AgentEvent::Leave(_)
                | AgentEvent::FailBefore(_)
                | AgentEvent::FailAfter(_) => false,
            },
        }
    }
}

/// What an application server sends. SimplePush has only the channel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Publication {
    pub(super) channel: usize,
    /// In seconds.
    pub(super) ttl: u64,
    pub(super) topic: Option<usize>,
    pub(super) urgency: u8,
}
