//! What a connection of a port does, and since when.

/// What a connection does: three bits of [`Stated`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Its TLS handshake is not over.
    Handshake = 0,
    /// It has not sent the head of its first request.
    Opening = 1,
    /// It has been answered, and has sent nothing since.
    Idle = 2,
    /// It has sent a part of the head of another request.
    Head = 3,
    /// Its request is being answered.
    Busy = 4,
    /// It has to end.
    Ended = 5,
    /// It has sent the head of a request, and a part of the body is to come.
    Receiving = 6,
}

impl State {
    /// Whether no request has come in yet.
    pub(super) fn is_opening(self) -> bool {
        matches!(self, Self::Handshake | Self::Opening)
    }
}

/// A state, and since when. The time makes each state of a connection another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stated(pub(super) u64);

impl Stated {
    pub(super) fn new(state: State, now_ms: u64) -> Self {
        Self(now_ms << 3 | state as u64)
    }

    pub(super) fn state(self) -> State {
        match self.0 & 7 {
            0 => State::Handshake,
            1 => State::Opening,
            2 => State::Idle,
            3 => State::Head,
            4 => State::Busy,
            6 => State::Receiving,
            _ => State::Ended,
        }
    }

    pub(super) fn since_ms(self) -> u64 {
        self.0 >> 3
    }
}
