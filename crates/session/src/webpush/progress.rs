//! How many of its stored messages a client has been sent. The crate's documentation states the rules.

use crate::{
    limits::{ACKS_MERGED_MAX, SENT_MAX, UNREMOVED_MAX},
    parked::{Damaged, ParkedMessage, ParkedNext, ParkedPlace, ParkedWebPush, channel_id},
};
use beckon_types::{ChannelId, Message, Moment, Nonce, Place, Position, Sequence, TopicTag};
use std::time::Duration;

/// What was sent and is not acknowledged, and how to continue.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    /// Stored messages that were sent on this socket and are not acknowledged, oldest transmission first.
    sent: Vec<Sent>,
    /// How to continue reading the backlog; `None` if it has been read to its end.
    next: Option<Next>,
    /// When to re-read the store because a read failed. The store is not read earlier.
    reread: Option<Moment>,
    /// Acknowledged messages that the store failed to remove, oldest first. The store may still have them.
    unremoved: Vec<Place>,
    /// When to ask the store again to remove them.
    remove_again: Option<Moment>,
}

/// A transmission.
#[derive(Debug, Clone, Copy)]
struct Sent {
    channel: ChannelId,
    sequence: Sequence,
    expires: Moment,
    /// When it was: the low half of the [`Moment`], so that it takes no memory.
    at: u32,
    /// Whether it belongs to the batch: it was read from the backlog.
    is_in_batch: bool,
}

/// How to continue reading the backlog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Next {
    /// Behind this position; `None`: from the beginning.
    pub(super) after: Option<Position>,
    /// Whether to wait until nothing of the batch is outstanding. Otherwise it is enough that the batch has room.
    pub(super) waits_for_batch: bool,
}

impl Progress {
    /// Whether there is nothing to remember.
    pub(super) fn is_idle(&self) -> bool {
        self.sent.is_empty() && self.next.is_none() && self.reread.is_none() && self.unremoved.is_empty()
    }

    /// Writes itself into a client as data.
    pub(super) fn park(&self, parked: &mut ParkedWebPush) {
        parked.sent = self.sent.iter().map(Sent::park).collect();
        parked.next = self.next.map(|Next { after, waits_for_batch }| ParkedNext {
            after: after.map(|position| position.sequence.0),
            without_topic: after.is_some_and(|position| position.without_topic),
            waits_for_batch,
        });
        parked.client.reread = self.reread.map(|at| at.0);
        let park = |place: &Place| ParkedPlace {
            sequence: place.sequence.0,
            nonce: place.nonce.0,
            topic: place.topic.map(|topic| topic.0.to_vec()),
        };
        parked.unremoved = self.unremoved.iter().map(park).collect();
        parked.remove_again = self.remove_again.map(|at| at.0);
    }

    /// What was parked.
    pub(super) fn resume(parked: &ParkedWebPush) -> Result<Self, Damaged> {
        let next = parked.next.map(|ParkedNext { after, without_topic, waits_for_batch }| {
            let after = after.map(|sequence| Position { without_topic, sequence: Sequence(sequence) });
            Next { after, waits_for_batch }
        });
        let place = |place: &ParkedPlace| {
            let topic = place.topic.as_deref().map(TryInto::try_into).transpose();
            Ok(Place {
                sequence: Sequence(place.sequence),
                nonce: Nonce(place.nonce),
                topic: topic.map_err(|_| Damaged("topic"))?.map(TopicTag),
            })
        };
        Ok(Self {
            sent: parked.sent.iter().map(Sent::resume).collect::<Result<_, Damaged>>()?,
            next,
            reread: parked.client.reread.map(Moment),
            unremoved: parked.unremoved.iter().map(place).collect::<Result<_, Damaged>>()?,
            remove_again: parked.remove_again.map(Moment),
        })
    }

    /// Transmissions that fit before more memory is allocated.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.sent.capacity()
    }

    /// Whether a message was sent on this socket and is not acknowledged.
    pub(super) fn has_sent(&self, sequence: Sequence) -> bool {
        self.sent.iter().any(|sent| sent.sequence == sequence)
    }

    /// Messages of the batch that are neither acknowledged nor expired.
    pub(super) fn outstanding(&self, now: Moment) -> usize {
        self.batch().filter(|sent| now < sent.expires).count()
    }

    fn batch(&self) -> impl Iterator<Item = &Sent> {
        self.sent.iter().filter(|sent| sent.is_in_batch)
    }

    /// Notes that a stored message is being sent. Expired messages are dropped before more memory is allocated, which
    /// costs no more than [`Self::has_sent`] did.
    pub(super) fn note(&mut self, now: Moment, message: &Message, is_in_batch: bool) {
        if self.sent.len() == self.sent.capacity() || self.sent.len() >= SENT_MAX {
            self.sent.retain(|sent| now < sent.expires);
        }
        if self.sent.len() >= SENT_MAX {
            let oldest = self.sent.iter().position(|sent| !sent.is_in_batch).unwrap_or_default();
            self.sent.remove(oldest);
        }
        self.sent.push(Sent {
            channel: message.channel,
            sequence: message.place.sequence,
            expires: now + message.draft.ttl,
            at: low_half(now),
            is_in_batch,
        });
    }

    /// Notes that messages are acknowledged, and says how long each took. After 49 days, the time begins at zero again.
    pub(super) fn acknowledge(&mut self, now: Moment, places: &[Place], acknowledged: &dyn Fn(Duration)) {
        self.sent.retain(|sent| {
            let is_acknowledged = places.iter().any(|place| place.sequence == sent.sequence);
            if is_acknowledged {
                let ms = low_half(now).wrapping_sub(sent.at);
                acknowledged(Duration::from_millis(ms.into()));
            }
            !is_acknowledged
        });
    }

    /// Notes that the messages of a channel are gone.
    pub(super) fn forget_channel(&mut self, channel: ChannelId) {
        self.sent.retain(|sent| sent.channel != channel);
    }

    /// Notes that the store has lost all writes after this one.
    pub(super) fn forget_after(&mut self, last: Sequence) {
        self.sent.retain(|sent| sent.sequence <= last);
    }

    /// Notes that the store failed to remove acknowledged messages, and when to ask it again.
    pub(super) fn remove_failed(&mut self, again: Moment, places: Vec<Place>) {
        self.unremoved.extend(places);
        let excess = self.unremoved.len().saturating_sub(UNREMOVED_MAX);
        self.unremoved.drain(..excess);
        self.remove_again = Some(again);
    }

    /// Whether the message at this place is acknowledged, and the store failed to remove it.
    pub(super) fn is_unremoved(&self, place: Place) -> bool {
        self.unremoved.contains(&place)
    }

    /// Takes some of the messages that the store should be asked to remove again, if it is time.
    pub(super) fn take_unremoved(&mut self, now: Moment) -> Vec<Place> {
        if self.remove_again.is_none_or(|at| now < at) {
            return Vec::new();
        }
        let count = self.unremoved.len().min(ACKS_MERGED_MAX);
        let places = self.unremoved.drain(..count).collect();
        if self.unremoved.is_empty() {
            (self.unremoved, self.remove_again) = (Vec::new(), None);
        }
        places
    }

    /// When to ask the store again to remove messages.
    pub(super) fn remove_again(&self) -> Option<Moment> {
        self.remove_again
    }

    /// Notes how to continue, unless the backlog is to be read from its beginning.
    pub(super) fn go_on(&mut self, next: Next) {
        self.next.get_or_insert(next);
    }

    /// Notes that the backlog has to be read from its beginning, even if a read has just failed.
    pub(super) fn start_over(&mut self) {
        self.next = Some(Next { after: None, waits_for_batch: false });
        self.reread = None;
    }

    /// Notes that a read failed, and when to repeat it.
    pub(super) fn fail(&mut self, again: Moment) {
        self.reread = Some(again);
    }

    /// When to re-read the store because a read failed.
    pub(super) fn reread(&self) -> Option<Moment> {
        self.reread
    }

    /// Forgets what has expired, and a failed read that is long enough ago.
    pub(super) fn take_time(&mut self, now: Moment) {
        self.sent.retain(|sent| now < sent.expires);
        self.reread = self.reread.filter(|at| now < *at);
    }

    /// Takes what is to be read now, if it is time.
    pub(super) fn begin(&mut self, now: Moment, batch_size: usize) -> Option<Next> {
        let outstanding = self.outstanding(now);
        let is_time = |next: &Next| outstanding == 0 || !next.waits_for_batch && outstanding < batch_size;
        if self.reread.is_some() {
            return None;
        }
        self.next.take_if(|next| is_time(next))
    }

    /// When reading continues without an acknowledgement, because messages of the batch expire.
    pub(super) fn due(&self) -> Option<Moment> {
        let expiries = self.batch().map(|sent| sent.expires);
        if self.next?.waits_for_batch { expiries.max() } else { expiries.min() }
    }
}

impl Sent {
    fn park(&self) -> ParkedMessage {
        let Self { channel, sequence, expires, at, is_in_batch } = *self;
        let (channel, sequence, expires) = (channel.0.to_vec(), sequence.0, expires.0);
        ParkedMessage { channel, sequence, expires, at, is_in_batch }
    }

    fn resume(parked: &ParkedMessage) -> Result<Self, Damaged> {
        let &ParkedMessage { ref channel, sequence, expires, at, is_in_batch } = parked;
        let (channel, sequence, expires) = (channel_id(channel)?, Sequence(sequence), Moment(expires));
        Ok(Self { channel, sequence, expires, at, is_in_batch })
    }
}

fn low_half(moment: Moment) -> u32 {
    moment.0 as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn a_transmission_is_small() {
        assert!(size_of::<Sent>() <= 40, "{} bytes", size_of::<Sent>());
    }

    #[test]
    fn the_time_of_an_acknowledgement_is_that_since_the_transmission() {
        let (mut progress, day) = (Progress::default(), Duration::from_secs(24 * 60 * 60));
        // The low half of the clock overflows in between.
        let sent = Moment(u64::from(u32::MAX) - 10);
        let places = [1, 2].map(|sequence| Place {
            sequence: Sequence(sequence),
            nonce: Nonce(sequence),
            topic: None,
        });
        for place in places {
            let draft = beckon_types::Draft { ttl: day, ..Default::default() };
            let (channel, key) = (ChannelId([1; 16]), beckon_types::KeyId(1));
            progress.note(sent, &Message { channel, place, key, draft }, false);
        }
        let times = RefCell::new(Vec::new());
        let now = sent + Duration::from_millis(250);
        for _ in 0..2 {
            progress.acknowledge(now, &places[..1], &|time| times.borrow_mut().push(time));
        }
        assert_eq!(times.into_inner(), [Duration::from_millis(250)]);
        assert!(progress.has_sent(Sequence(2)) && !progress.has_sent(Sequence(1)));
    }
}
