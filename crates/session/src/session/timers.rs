//! What happens when nothing happens.

use super::{Client, Session};
use crate::api::{CloseCode, Context, Effect, Settings};
use beckon_types::Moment;

/// Since when nothing has come in.
#[derive(Debug, Clone, Copy)]
pub(super) enum Silence {
    /// Since the last input from the socket.
    Heard(Moment),
    /// A Ping frame was sent at that time, and nothing has come in since.
    Asked(Moment),
}

impl Silence {
    /// When the silence has an effect. A `keepalive_interval` of zero turns that off.
    fn deadline(self, settings: &Settings) -> Option<Moment> {
        match self {
            Self::Heard(_) if settings.keepalive_interval.is_zero() => None,
            Self::Heard(at) => Some(at + settings.keepalive_interval),
            Self::Asked(at) => Some(at + settings.keepalive_timeout),
        }
    }
}

impl Session {
    /// The earliest of all deadlines of an open session.
    pub(super) fn next_deadline(&self, settings: &Settings) -> Option<Moment> {
        let own = match &self.client {
            Client::Stranger { since } => Some(*since + settings.hello_timeout),
            // A look that is on its way decides when the next one is due.
            Client::SimplePush(_) | Client::WebPush(_) if self.steps.look() => None,
            Client::SimplePush(client) => Some(client.look_due(settings)),
            Client::WebPush(client) => Some(client.due(settings)),
        };
        self.silence.deadline(settings).into_iter().chain(own).min()
    }

    /// Does what is due.
    pub(super) fn check_time(&mut self, context: &Context<'_>, effects: &mut Vec<Effect>) {
        let (now, settings) = (context.now, context.settings);
        match &self.client {
            Client::Stranger { since } if now >= *since + settings.hello_timeout => {
                return self.close(CloseCode::Policy, effects);
            }
            Client::SimplePush(client) if !self.steps.look() && now >= client.look_due(settings) => {
                self.look(context, effects);
            }
            Client::WebPush(client) if !self.steps.look() && now >= client.due(settings) => {
                self.resume(context, effects);
            }
            Client::Stranger { .. } | Client::SimplePush(_) | Client::WebPush(_) => {}
        }
        if self.silence.deadline(settings).is_none_or(|due| now < due) {
            return;
        }
        match self.silence {
            // The socket is not being read, so it cannot be heard.
            _ if self.steps.are_full() => self.silence = Silence::Heard(now),
            Silence::Heard(_) => {
                self.silence = Silence::Asked(now);
                effects.push(Effect::Ping);
            }
            Silence::Asked(_) => self.close(CloseCode::Error, effects),
        }
    }
}
