//! Keep-alive: whether the peer still answers.

use crate::api::Settings;
use beckon_types::Moment;

/// How long nothing has come in.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Silence {
    /// Since this input from the socket.
    Heard(Moment),
    /// Nothing has come in since this Ping frame was sent.
    Asked(Moment),
}

impl Silence {
    /// When a Ping frame has to be sent, or the socket has to be closed. `None` if `keepalive_interval` is zero, which
    /// turns keep-alive off.
    pub(crate) fn deadline(self, settings: &Settings) -> Option<Moment> {
        match self {
            Self::Heard(_) if settings.keepalive_interval.is_zero() => None,
            Self::Heard(at) => Some(at + settings.keepalive_interval),
            Self::Asked(at) => Some(at + settings.keepalive_timeout),
        }
    }

    /// Whether that time has come.
    pub(crate) fn is_over(self, now: Moment, settings: &Settings) -> bool {
        self.deadline(settings).is_some_and(|deadline| deadline <= now)
    }
}
