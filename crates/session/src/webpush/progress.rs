//! How far a client has been sent its stored messages. The rules are in the crate's documentation.

use crate::limits::{LOOK_AGAIN_AFTER, SENT_MAX};
use beckon_types::{ChannelId, Message, Moment, Place, Position, Sequence};

/// What was sent and not acknowledged, and what follows.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    /// Stored messages that were sent on this socket and not acknowledged, oldest transmission first.
    sent: Vec<Sent>,
    /// How the backlog goes on; `None` if there was nothing behind what was read.
    next: Option<Next>,
    /// When the store may be looked into once more, and not before, because a look failed.
    again: Option<Moment>,
}

/// A transmission.
#[derive(Debug, Clone, Copy)]
struct Sent {
    channel: ChannelId,
    sequence: Sequence,
    expires: Moment,
    /// Whether it came out of the backlog.
    batch: bool,
}

/// How the backlog goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Next {
    /// Behind this position, or from the beginning.
    pub(super) after: Option<Position>,
    /// Only when nothing of the batch is outstanding any more. Else as soon as there is room.
    pub(super) drained: bool,
}

impl Progress {
    /// Whether there is nothing to remember.
    pub(super) fn is_idle(&self) -> bool {
        self.sent.is_empty() && self.next.is_none() && self.again.is_none()
    }

    /// Transmissions that there is room for before memory is asked for.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.sent.capacity()
    }

    /// Whether a message was sent on this socket and is not acknowledged.
    pub(super) fn has_sent(&self, sequence: Sequence) -> bool {
        self.sent.iter().any(|sent| sent.sequence == sequence)
    }

    /// Messages of the backlog that were sent, and neither acknowledged nor expired.
    pub(super) fn outstanding(&self, now: Moment) -> usize {
        self.batch().filter(|sent| now < sent.expires).count()
    }

    fn batch(&self) -> impl Iterator<Item = &Sent> {
        self.sent.iter().filter(|sent| sent.batch)
    }

    /// Notes that a stored message is being sent. What has expired makes room before memory is asked for, which
    /// costs no more than [`Self::has_sent`] did.
    pub(super) fn note(&mut self, now: Moment, message: &Message, batch: bool) {
        if self.sent.len() == self.sent.capacity() || self.sent.len() >= SENT_MAX {
            self.sent.retain(|sent| now < sent.expires);
        }
        if self.sent.len() >= SENT_MAX {
            let oldest = self.sent.iter().position(|sent| !sent.batch).unwrap_or_default();
            self.sent.remove(oldest);
        }
        self.sent.push(Sent {
            channel: message.channel,
            sequence: message.place.sequence,
            expires: now + message.draft.ttl,
            batch,
        });
    }

    /// Takes messages as acknowledged.
    pub(super) fn forget(&mut self, places: &[Place]) {
        self.sent.retain(|sent| places.iter().all(|place| place.sequence != sent.sequence));
    }

    /// Waits no longer for the messages of a channel.
    pub(super) fn forget_channel(&mut self, channel: ChannelId) {
        self.sent.retain(|sent| sent.channel != channel);
    }

    /// Has the backlog go on, unless it is to start over.
    pub(super) fn go_on(&mut self, next: Next) {
        self.next.get_or_insert(next);
    }

    /// Has the backlog start over, even if a look has just failed.
    pub(super) fn start_over(&mut self) {
        self.next = Some(Next { after: None, drained: false });
        self.again = None;
    }

    /// Takes a look as failed.
    pub(super) fn fail(&mut self, now: Moment) {
        self.again = Some(now + LOOK_AGAIN_AFTER);
    }

    /// When the store may be looked into after a look that failed.
    pub(super) fn again(&self) -> Option<Moment> {
        self.again
    }

    /// Forgets what has expired, and that a look failed long enough ago.
    pub(super) fn take_time(&mut self, now: Moment) {
        self.sent.retain(|sent| now < sent.expires);
        self.again = self.again.filter(|at| now < *at);
    }

    /// What is to be read now, if it is its time.
    pub(super) fn begin(&mut self, now: Moment, batch_size: usize) -> Option<Next> {
        let outstanding = self.outstanding(now);
        let room = |next: &Next| outstanding == 0 || !next.drained && outstanding < batch_size;
        if self.again.is_some() {
            return None;
        }
        self.next.take_if(|next| room(next))
    }

    /// When the backlog goes on without an acknowledgement, because what is outstanding expires.
    pub(super) fn due(&self) -> Option<Moment> {
        let expiries = self.batch().map(|sent| sent.expires);
        if self.next?.drained { expiries.max() } else { expiries.min() }
    }
}
