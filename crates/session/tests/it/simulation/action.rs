//! What may happen.

/// Something that may happen next. The numbers choose among what there is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Action {
    /// The user agent opens a socket and says hello.
    Connect,
    HelloAgain,
    /// A socket ends.
    Leave(usize),
    Register(usize),
    Unregister(usize),
    /// An application server writes.
    Write(usize),
    /// The user agent acknowledges the last version it was sent for a channel.
    Acknowledge(usize),
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
