//! Which writes to its client a socket knows of, so that it notices when it has not been given one.
//!
//! The store gives each write a sequence, and says which write was before it. So what is handed over is a chain, and a write
//! that does not follow the last one shows a gap: another is on its way, or nobody brings it, because it was stored and its
//! endpoint-node does not know that, or did not get it across.

use crate::parked::{ParkedAhead, ParkedClient};
use beckon_types::{Moment, Sequence};

/// The writes that a socket has been given or has found in the store.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    /// It knows of all writes up to this one.
    upto: Sequence,
    /// Writes that have come although one before them has not. Hardly any client has any, so it takes one pointer.
    ahead: Option<Box<Ahead>>,
}

/// Writes that follow each other without a gap. Of several such runs, the last one.
#[derive(Debug, Clone, Copy)]
struct Ahead {
    /// The write before the first of them.
    after: Sequence,
    /// The last of them.
    upto: Sequence,
    /// When to verify the claim because of the gap. `None`: there may be no gap, since an older node did not say which write was
    /// before one of them.
    due: Option<Moment>,
}

/// What an answer of the store says about the writes that a socket knows of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Learned {
    /// There are no others.
    Nothing,
    /// There may be others, until the socket reads them.
    Others,
    /// The same, and the store has lost some of them: it has gone back in time. The next writes may have any sequence above the last
    /// one that it has.
    Losses,
}

impl Seen {
    /// All writes up to this one, which the store has just been read at.
    pub(crate) fn at(upto: Sequence) -> Self {
        Self { upto, ahead: None }
    }

    /// The highest write that it knows of.
    pub(crate) fn last(&self) -> Sequence {
        self.ahead.as_ref().map_or(self.upto, |ahead| self.upto.max(ahead.upto))
    }

    /// A write has come, whatever becomes of it. If it does not follow the writes before it, and they do not come meanwhile, the
    /// claim has to be verified at the time that `due` returns.
    pub(crate) fn came(
        &mut self,
        previous: Option<Sequence>,
        sequence: Sequence,
        due: impl FnOnce() -> Moment,
    ) {
        if sequence <= self.upto {
            return;
        }
        // Any write may be before one that an older node has sent.
        let after = previous.unwrap_or(Sequence(sequence.0 - 1));
        match &mut self.ahead {
            None if after == self.upto => self.upto = sequence,
            Some(ahead) if after == self.upto => {
                self.upto = sequence;
                if ahead.after <= sequence {
                    self.upto = sequence.max(ahead.upto);
                    self.ahead = None;
                }
            }
            Some(ahead) if after == ahead.upto => ahead.upto = sequence,
            Some(ahead) if sequence == ahead.after => ahead.after = after,
            // One of them, or one in a gap before the last one.
            Some(ahead) if sequence <= ahead.upto => {}
            Some(ahead) => {
                let due = ahead.due.or_else(|| previous.map(|_| due()));
                **ahead = Ahead { after, upto: sequence, due };
            }
            None => {
                let due = previous.map(|_| due());
                self.ahead = Some(Box::new(Ahead { after, upto: sequence, due }));
            }
        }
    }

    /// The store has said which write was the last one. It was asked when [`Self::last`] was `asked`, or later. If there is a gap
    /// that this does not explain, the claim has to be verified again at the time that `due` returns.
    pub(crate) fn learn(&mut self, asked: Sequence, last: Sequence, due: impl FnOnce() -> Moment) -> Learned {
        let learned = if last != self.upto { Learned::Others } else { Learned::Nothing };
        if self.last() == asked {
            // Nothing has come meanwhile, so a store that has less has gone back in time.
            (self.upto, self.ahead) = (last, None);
            return if last < asked { Learned::Losses } else { learned };
        }
        // A store that has gone back may have what seemed to be older than the writes that it has lost.
        let learned = if last < asked { Learned::Others } else { learned };
        // What has come meanwhile may be more than there was then.
        self.upto = self.upto.max(last);
        if let Some(ahead) = &mut self.ahead {
            if ahead.after <= self.upto {
                self.upto = self.upto.max(ahead.upto);
                self.ahead = None;
            } else {
                ahead.due = ahead.due.map(|_| due());
            }
        }
        learned
    }

    /// When to verify the claim because of a gap; the end of time if there is none.
    pub(crate) fn due(&self) -> Moment {
        self.ahead.as_ref().and_then(|ahead| ahead.due).unwrap_or(Moment(u64::MAX))
    }

    /// The claim is being verified. Unless that succeeds, it has to be verified again at this time.
    pub(crate) fn postpone(&mut self, at: Moment) {
        if let Some(due) = self.ahead.as_mut().and_then(|ahead| ahead.due.as_mut()) {
            *due = at;
        }
    }

    /// Writes itself into a client as data.
    pub(crate) fn park(&self, client: &mut ParkedClient) {
        client.seen = self.upto.0;
        client.ahead = self.ahead.as_deref().map(|Ahead { after, upto, due }| ParkedAhead {
            after: after.0,
            upto: upto.0,
            due: due.map(|at| at.0),
        });
    }

    /// What was parked.
    pub(crate) fn resume(client: &ParkedClient) -> Self {
        let ahead = client.ahead.map(|ParkedAhead { after, upto, due }| Ahead {
            after: Sequence(after),
            upto: Sequence(upto),
            due: due.map(Moment),
        });
        Self { upto: Sequence(client.seen), ahead: ahead.map(Box::new) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NEVER: Moment = Moment(u64::MAX);

    /// Writes up to 10 are known. Then these come, each with the one before it, at the time of its number.
    fn seen(writes: &[(u64, u64)]) -> Seen {
        let mut seen = Seen::at(Sequence(10));
        for (previous, sequence) in writes {
            seen.came(Some(Sequence(*previous)), Sequence(*sequence), || Moment(*sequence));
        }
        seen
    }

    /// Up to where all writes are known, the last write, and when to verify.
    fn state(seen: &Seen) -> (u64, u64, Moment) {
        (seen.upto.0, seen.last().0, seen.due())
    }

    #[test]
    fn writes_that_follow_each_other_are_known() {
        for (writes, upto) in [(&[][..], 10), (&[(10, 11)], 11), (&[(10, 15), (15, 16), (16, 90)], 90)] {
            assert_eq!(state(&seen(writes)), (upto, upto, NEVER));
        }
    }

    #[test]
    fn a_write_that_has_not_come_is_a_gap() {
        assert_eq!(state(&seen(&[(11, 12)])), (10, 12, Moment(12)));
        // The time of the first gap counts, however many follow.
        assert_eq!(state(&seen(&[(11, 12), (12, 13), (14, 15), (16, 20)])), (10, 20, Moment(12)));
    }

    #[test]
    fn a_write_that_is_late_or_comes_again_is_no_gap() {
        assert_eq!(state(&seen(&[(10, 12), (10, 12), (9, 10), (3, 4)])), (12, 12, NEVER));
        assert_eq!(state(&seen(&[(11, 12), (12, 13), (11, 12), (12, 13)])), (10, 13, Moment(12)));
    }

    #[test]
    fn a_gap_that_is_filled_is_none() {
        for writes in [
            &[(11, 12), (10, 11)][..],
            &[(11, 12), (12, 13), (13, 14), (10, 11)],
            // It is filled from both ends, and from its upper one.
            &[(13, 14), (10, 11), (11, 12), (12, 13)],
            &[(13, 14), (12, 13), (11, 12), (10, 11)],
            &[(13, 14), (12, 13), (10, 11), (11, 12)],
        ] {
            let last = writes.iter().map(|(_, sequence)| *sequence).max().unwrap();
            assert_eq!(state(&seen(writes)), (last, last, NEVER), "{writes:?}");
        }
        // Of two runs only the last one is remembered.
        assert_eq!(state(&seen(&[(11, 12), (13, 14), (10, 11), (12, 13)])), (11, 14, Moment(12)));
    }

    #[test]
    fn a_store_that_has_gone_back_in_time_makes_a_gap() {
        assert_eq!(state(&seen(&[(5, 40)])), (10, 40, Moment(40)));
    }

    #[test]
    fn what_an_older_node_sends_is_neither_known_nor_a_gap() {
        let mut seen = seen(&[]);
        seen.came(None, Sequence(12), || panic!("it is no gap"));
        assert_eq!(state(&seen), (10, 12, NEVER));
        seen.came(Some(Sequence(12)), Sequence(13), || panic!("it follows"));
        seen.came(Some(Sequence(14)), Sequence(15), || Moment(7));
        seen.came(None, Sequence(16), || panic!("there is a time"));
        assert_eq!(state(&seen), (10, 16, Moment(7)));
        assert_eq!(seen.learn(Sequence(16), Sequence(16), || NEVER), Learned::Others);
        assert_eq!(state(&seen), (16, 16, NEVER));
        // The next sequence follows in any case.
        seen.came(None, Sequence(17), || NEVER);
        assert_eq!(state(&seen), (17, 17, NEVER));
    }

    #[test]
    fn a_read_shows_what_has_not_come() {
        let learn = |writes: &[(u64, u64)], asked, last| {
            let mut seen = seen(writes);
            let learned = seen.learn(Sequence(asked), Sequence(last), || Moment(99));
            (learned, state(&seen))
        };
        // Nothing was missed; something was; the store has gone back in time, with a gap and without one.
        assert_eq!(learn(&[], 10, 10), (Learned::Nothing, (10, 10, NEVER)));
        assert_eq!(learn(&[(10, 11)], 11, 11), (Learned::Nothing, (11, 11, NEVER)));
        assert_eq!(learn(&[], 10, 11), (Learned::Others, (11, 11, NEVER)));
        assert_eq!(learn(&[(11, 12)], 12, 14), (Learned::Others, (14, 14, NEVER)));
        assert_eq!(learn(&[], 10, 5), (Learned::Losses, (5, 5, NEVER)));
        assert_eq!(learn(&[(11, 12)], 12, 10), (Learned::Losses, (10, 10, NEVER)));
        // What has come since is not forgotten.
        assert_eq!(learn(&[(10, 11), (11, 12)], 11, 11), (Learned::Others, (12, 12, NEVER)));
        assert_eq!(learn(&[(10, 11), (12, 13)], 11, 12), (Learned::Others, (13, 13, NEVER)));
        assert_eq!(learn(&[(10, 11), (12, 13)], 11, 11), (Learned::Nothing, (11, 13, Moment(99))));
    }

    #[test]
    fn a_verification_that_fails_is_repeated_when_there_is_a_gap() {
        let mut seen = seen(&[(11, 12)]);
        seen.postpone(Moment(50));
        assert_eq!(seen.due(), Moment(50));
        seen = self::seen(&[]);
        seen.postpone(Moment(50));
        assert_eq!(seen.due(), NEVER);
    }

    #[test]
    fn it_is_small() {
        assert!(size_of::<Seen>() <= 16, "{} bytes", size_of::<Seen>());
    }

    proptest! {
        /// Of some writes one after the other, some are lost, and the others come in any order and some of them twice. When the
        /// last one has come, all writes are known, or there is a gap; none that was lost is taken for known.
        #[test]
        fn a_write_that_is_lost_is_noticed_when_the_last_one_has_come(
            fates in prop::collection::vec(prop::bool::weighted(0.8), 1..12),
            order: u64,
        ) {
            let sequence = |index: usize| 10 + 3 * index as u64;
            let mut coming: Vec<usize> = (1..=fates.len()).filter(|index| fates[index - 1]).collect();
            coming.extend(coming.clone().into_iter().filter(|index| index % 3 == 0));
            coming.sort_by_key(|index| (*index as u64 ^ order).wrapping_mul(0x9E37_79B9_7F4A_7C15));
            let writes: Vec<_> = coming.iter().map(|&index| (sequence(index - 1), sequence(index))).collect();
            let seen = seen(&writes);
            let first_lost = fates.iter().position(|arrives| !arrives).unwrap_or(fates.len());
            prop_assert!(seen.upto <= Sequence(sequence(first_lost)), "{seen:?}");
            let last = coming.iter().max().copied().unwrap_or(0);
            prop_assert_eq!(seen.last(), Sequence(sequence(last)));
            prop_assert!(seen.upto == seen.last() || seen.due() != NEVER, "{:?}", seen);
            prop_assert!(last <= first_lost || seen.due() != NEVER, "a gap is not noticed: {seen:?}");
        }
    }
}
