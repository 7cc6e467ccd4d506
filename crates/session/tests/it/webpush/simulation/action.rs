//! What may happen.

/// What an application server sends. The numbers choose among what there is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Post {
    pub(crate) channel: usize,
    /// Seconds.
    pub(crate) ttl: u64,
    pub(crate) topic: Option<usize>,
    pub(crate) urgency: u8,
}

/// Something that may happen next. The numbers choose among what there is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Action {
    /// The user agent opens a socket and says hello.
    Connect,
    /// A socket ends.
    Leave(usize),
    Register(usize),
    Unregister(usize),
    /// An application server sends a message.
    Post(Post),
    /// An application server cancels a stored message.
    Cancel(usize),
    /// The user agent acknowledges a message that it has received, on whatever socket.
    Acknowledge(usize),
    /// The user agent says what matters to it.
    SetUrgency(u8),
    /// A session is brought a message of its socket.
    Read(usize),
    /// The store performs a step.
    Perform(usize),
    /// The outcome of a performed step comes back.
    Answer(usize),
    /// All that a socket waits for is done, once.
    Serve(usize),
    /// A step fails without having been performed.
    FailBefore(usize),
    /// A step is performed, but its outcome is lost.
    FailAfter(usize),
    /// A delivery reaches a mailbox.
    Arrive(usize),
    /// So does a copy of one.
    Repeat(usize),
    /// A delivery is lost, and a nudge sent in its place.
    Lose(usize),
    /// A session is brought what its mailbox has.
    Mail(usize),
    /// An eviction arrives.
    Evict(usize),
    /// Seconds pass.
    Wait(u64),
}
