//! Message: what an application server sends to a Web Push channel (PROTOCOL.md sections 4.5 and 5).

use crate::{channel_id::ChannelId, draft::Draft, key_ring::KeyId, place::Place};
use std::time::Duration;

/// A message on its way to a socket, just accepted or read from the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The channel that it was sent to.
    pub channel: ChannelId,
    /// Where the store keeps it, if it is stored.
    pub place: Place,
    /// The key that seals its id.
    pub key: KeyId,
    /// What the application server said.
    pub draft: Draft,
}

impl Message {
    /// Subtracts the time that has passed since it was handed out from its TTL. Returns false if it has expired and
    /// must not be sent. A message that is not stored does not expire: it waits for its socket only.
    pub fn age(&mut self, by: Duration) -> bool {
        if self.draft.ttl.is_zero() {
            return true;
        }
        self.draft.ttl = self.draft.ttl.saturating_sub(by);
        !self.draft.ttl.is_zero()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{place::Nonce, sequence::Sequence};

    fn message(ttl: Duration) -> Message {
        let place = Place { sequence: Sequence(1), nonce: Nonce(1), topic: None };
        Message {
            channel: ChannelId([1; 16]),
            place,
            key: KeyId(1),
            draft: Draft { ttl, ..Draft::default() },
        }
    }

    #[test]
    fn a_message_is_good_until_its_ttl_has_passed() {
        let second = Duration::from_secs(1);
        let mut stored = message(2 * second);
        assert!(stored.age(second) && stored.draft.ttl == second);
        assert!(!stored.age(second));
        assert!(message(Duration::ZERO).age(second), "it is not stored, so it does not expire");
    }
}
