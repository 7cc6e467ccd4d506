//! What became of each notification. Its number is in the notification itself, so that a delivery is matched
//! with its send exactly: latency, loss and duplicates are counted, not estimated.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// Notifications of one run; each takes 32 bytes. Sending stops there.
pub const SENDS_MAX: usize = 1 << 26;

/// Nothing was sent to the channel before.
const NONE: u32 = u32::MAX;

/// No answer has come yet, or none will come.
const UNANSWERED: u16 = 0;

#[derive(Debug, Clone, Copy)]
struct Send {
    /// When it was due (open loop) or sent (closed loop).
    at_us: u64,
    /// Which channel of which client.
    slot: u32,
    /// The send to the same channel before it; of one that was replaced, the newer one that was delivered.
    neighbour: u32,
    /// Of the answer.
    status: u16,
    /// How many had been sent when the answer came. What was sent by then may have been stored in any order with it.
    answered_at: u32,
    fate: Fate,
    /// A hash of the id that the server gave it, as it was delivered first.
    id: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Waiting,
    Delivered,
    /// A newer one was delivered instead, as SimplePush has it.
    Replaced,
}

/// What a delivery turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// The first of this notification.
    First {
        /// Since it was due.
        latency_us: u64,
    },
    /// A further one.
    Duplicate,
    /// The first under another id: the server has stored one request twice.
    StoredTwice,
    /// After a newer one of the same channel that was sent when this was answered: the server must not do that.
    Disordered,
    /// Of another run, or for another channel than it was sent to.
    Foreign,
}

/// All notifications of a run.
#[derive(Debug)]
pub struct Ledger {
    /// What the number of the first is; later runs have higher ones.
    base: u64,
    sends: Vec<Send>,
    /// By slot.
    last: Vec<u32>,
    /// A newer notification of a channel replaces those before it.
    latest_wins: bool,
    /// Accepted, and neither delivered nor replaced.
    missing: u64,
}

impl Ledger {
    /// An empty one for so many channels.
    pub fn new(base: u64, slots: usize, latest_wins: bool) -> Self {
        Self { base, sends: Vec::new(), last: vec![NONE; slots], latest_wins, missing: 0 }
    }

    /// Writes a send down and gives it its number. `None`: the run has sent [`SENDS_MAX`].
    pub fn sent(&mut self, slot: u32, at_us: u64) -> Option<u64> {
        if self.sends.len() >= SENDS_MAX {
            return None;
        }
        let index = self.sends.len();
        let last = self.last.get_mut(slot as usize)?;
        let former = std::mem::replace(last, index as u32);
        let neighbour = if self.latest_wins { former } else { NONE };
        let (status, answered_at, fate) = (UNANSWERED, u32::MAX, Fate::Waiting);
        self.sends.push(Send { at_us, slot, neighbour, status, answered_at, fate, id: 0 });
        Some(self.base + index as u64)
    }

    /// Writes the answer of the server down and returns the time since the send was due. 200, 201 and 202 are
    /// promises.
    pub fn answered(&mut self, number: u64, status: u16, now_us: u64) -> u64 {
        let sent = self.sends.len() as u32;
        let Some(send) = number.checked_sub(self.base).and_then(|index| self.sends.get_mut(index as usize))
        else {
            return 0;
        };
        (send.status, send.answered_at) = (status, sent);
        if is_promise(status) && send.fate == Fate::Waiting {
            self.missing += 1;
        }
        now_us.saturating_sub(send.at_us)
    }

    /// Writes a delivery down; `id` is the one that the server gave the notification, empty if it gives none.
    pub fn delivered(&mut self, number: u64, slot: u32, id: &str, now_us: u64) -> Delivery {
        let index = number.checked_sub(self.base).map_or(usize::MAX, |index| index as usize);
        let Some(send) = self.sends.get_mut(index).filter(|send| send.slot == slot) else {
            return Delivery::Foreign;
        };
        let former = std::mem::replace(&mut send.fate, Fate::Delivered);
        let latency_us = now_us.saturating_sub(send.at_us);
        let id = hash(id);
        match former {
            Fate::Delivered if send.id == id => return Delivery::Duplicate,
            Fate::Delivered => return Delivery::StoredTwice,
            Fate::Replaced if send.answered_at <= send.neighbour => return Delivery::Disordered,
            // Both were under way at once. It is not missing since the other one was delivered.
            Fate::Replaced => {
                send.id = id;
                return Delivery::First { latency_us };
            }
            Fate::Waiting => {}
        }
        send.id = id;
        self.missing -= u64::from(is_promise(send.status));
        let mut before = send.neighbour;
        while let Some(older) = self.sends.get_mut(before as usize) {
            if older.fate != Fate::Waiting {
                break;
            }
            older.fate = Fate::Replaced;
            self.missing -= u64::from(is_promise(older.status));
            before = std::mem::replace(&mut older.neighbour, index as u32);
        }
        Delivery::First { latency_us }
    }

    /// How many were sent.
    pub fn len(&self) -> u64 {
        self.sends.len() as u64
    }

    /// Whether none was sent.
    pub fn is_empty(&self) -> bool {
        self.sends.is_empty()
    }

    /// How many were accepted and have not arrived: at the end of a run, they are lost.
    pub fn missing(&self) -> u64 {
        self.missing
    }

    /// Whether a newer one was sent to the channel, so that this one need not arrive.
    pub fn is_superseded(&self, number: u64) -> bool {
        let index = number.checked_sub(self.base).map_or(usize::MAX, |index| index as usize);
        let last = self.sends.get(index).and_then(|send| self.last.get(send.slot as usize));
        self.latest_wins && last.is_some_and(|last| *last as usize != index)
    }

    /// How many were refused at last, and neither arrived nor were replaced.
    pub fn refused(&self) -> u64 {
        let is_refused = |send: &&Send| {
            send.status != UNANSWERED && !is_promise(send.status) && send.fate == Fate::Waiting
        };
        self.sends.iter().filter(is_refused).count() as u64
    }

    /// How many did not arrive because a newer one did.
    pub fn replaced(&self) -> u64 {
        self.sends.iter().filter(|send| send.fate == Fate::Replaced).count() as u64
    }
}

/// The same for the same text, in this run.
fn hash(text: &str) -> u32 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish() as u32
}

fn is_promise(status: u16) -> bool {
    matches!(status, 200..=202)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promise_that_is_not_kept_is_missing() {
        let mut ledger = Ledger::new(1_000, 2, true);
        assert_eq!(ledger.sent(0, 10), Some(1_000));
        assert_eq!(ledger.sent(1, 20), Some(1_001));
        assert_eq!(ledger.missing(), 0, "nothing is promised yet");
        assert_eq!(ledger.answered(1_000, 202, 15), 5);
        assert_eq!(ledger.answered(1_001, 503, 25), 5);
        assert_eq!(ledger.missing(), 1);
        assert_eq!(ledger.delivered(1_000, 0, "a", 40), Delivery::First { latency_us: 30 });
        assert_eq!(ledger.missing(), 0);
        assert_eq!(ledger.delivered(1_000, 0, "a", 50), Delivery::Duplicate);
        assert_eq!(ledger.delivered(1_000, 0, "b", 60), Delivery::StoredTwice);
    }

    #[test]
    fn a_delivery_may_come_before_the_answer() {
        let mut ledger = Ledger::new(0, 1, true);
        ledger.sent(0, 0);
        assert_eq!(ledger.delivered(0, 0, "", 1), Delivery::First { latency_us: 1 });
        ledger.answered(0, 200, 2);
        assert_eq!(ledger.missing(), 0);
    }

    #[test]
    fn a_newer_one_replaces_those_before_it() {
        let mut ledger = Ledger::new(0, 1, true);
        for at_us in 0..3 {
            ledger.sent(0, at_us);
            ledger.answered(at_us, 202, at_us);
        }
        assert_eq!(ledger.missing(), 3);
        assert_eq!(ledger.delivered(1, 0, "", 9), Delivery::First { latency_us: 8 });
        assert_eq!((ledger.missing(), ledger.replaced()), (1, 1));
        assert_eq!(ledger.delivered(0, 0, "", 9), Delivery::Disordered);
        assert_eq!((ledger.missing(), ledger.replaced()), (1, 0));
    }

    #[test]
    fn two_that_are_under_way_at_once_may_be_stored_in_either_order() {
        let mut ledger = Ledger::new(0, 1, true);
        ledger.sent(0, 0);
        ledger.sent(0, 1);
        assert_eq!(ledger.delivered(1, 0, "", 5), Delivery::First { latency_us: 4 });
        assert_eq!(ledger.delivered(0, 0, "", 6), Delivery::First { latency_us: 6 });
        assert_eq!(ledger.delivered(0, 0, "", 7), Delivery::Duplicate);
        ledger.answered(1, 202, 7);
        ledger.answered(0, 202, 7);
        assert_eq!((ledger.missing(), ledger.replaced()), (0, 0));
        // Once it is answered, nothing that is sent later can have been stored before it.
        ledger.sent(0, 8);
        ledger.sent(0, 9);
        ledger.answered(2, 202, 10);
        ledger.sent(0, 11);
        assert_eq!(ledger.delivered(4, 0, "", 12), Delivery::First { latency_us: 1 });
        assert_eq!(ledger.delivered(2, 0, "", 13), Delivery::Disordered);
        assert_eq!(ledger.delivered(3, 0, "", 14), Delivery::First { latency_us: 5 });
    }

    #[test]
    fn what_is_refused_may_be_accepted_later() {
        let mut ledger = Ledger::new(0, 2, true);
        for slot in [0, 0, 1] {
            ledger.sent(slot, 0);
        }
        for number in 0..3 {
            ledger.answered(number, 503, 1);
        }
        assert_eq!([0, 1, 2].map(|number| ledger.is_superseded(number)), [true, false, false]);
        assert_eq!((ledger.refused(), ledger.missing()), (3, 0));
        ledger.answered(1, 200, 2);
        assert_eq!((ledger.refused(), ledger.missing()), (2, 1));
        ledger.delivered(1, 0, "", 3);
        assert_eq!((ledger.refused(), ledger.missing()), (1, 0), "the first one is replaced");
        assert!(!Ledger::new(0, 1, false).is_superseded(0));
    }

    #[test]
    fn a_send_takes_32_bytes() {
        assert_eq!(size_of::<Send>(), 32);
    }

    #[test]
    fn where_every_one_counts_a_newer_one_replaces_none() {
        let mut ledger = Ledger::new(0, 1, false);
        for at_us in 0..2 {
            ledger.sent(0, at_us);
            ledger.answered(at_us, 201, at_us);
        }
        assert_eq!(ledger.delivered(1, 0, "", 9), Delivery::First { latency_us: 8 });
        assert_eq!((ledger.missing(), ledger.replaced()), (1, 0));
        assert_eq!(ledger.delivered(0, 0, "", 9), Delivery::First { latency_us: 9 });
        assert_eq!(ledger.missing(), 0);
    }

    #[test]
    fn what_was_not_sent_here_is_foreign() {
        let mut ledger = Ledger::new(100, 2, true);
        ledger.sent(0, 0);
        for (number, slot) in [(99, 0), (101, 0), (100, 1)] {
            assert_eq!(ledger.delivered(number, slot, "", 1), Delivery::Foreign, "{number} {slot}");
        }
        assert_eq!(ledger.sent(2, 0), None, "there is no such slot");
    }
}
