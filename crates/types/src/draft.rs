//! Draft: what an application server says in a message.

use crate::{payload::Payload, urgency::Urgency};
use std::time::Duration;

/// What an application server says in a Web Push message: all of it but the channel that it goes to and the topic
/// under which it replaces another.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Draft {
    /// How soon it matters.
    pub urgency: Urgency,
    /// How long it is good for, from the moment at which it was handed out. Zero: it is not stored.
    pub ttl: Duration,
    /// The encrypted body; `None` if the body is empty.
    pub payload: Option<Payload>,
}
