//! One primary, and what all links of this process share about it.

use super::{address::Node, backoff::Backoff, fault::Fault, slot::Slot};
use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::{sync, time::Instant};

/// How long a primary counts as failing after it has refused a step for a reason such as a lack of memory.
const DEGRADED_TIME: Duration = Duration::from_secs(10);

/// How long commands that have to be replicated are refused after some were not.
const LACK_TIME: Duration = Duration::from_secs(2);

/// The clock of a primary has jumped if it differs from the expected time by more than this.
const CLOCK_JUMP_MIN: Duration = Duration::from_secs(2);

/// A reading of the clock is ignored if the round trip took longer, unless it shows that the clock has jumped.
const READING_TIME_MAX: Duration = Duration::from_secs(1);

/// A server that accepts writes.
#[derive(Debug)]
pub(super) struct Primary {
    at: Option<Node>,
    clock: Mutex<Option<Reading>>,
    degradation: Mutex<Option<(Instant, Fault)>>,
    /// Why the last commands that had to be replicated were not.
    lack: Mutex<Option<(Instant, Fault)>>,
    outage: Mutex<Outage>,
    /// The epoch of its data when it was read last, and the slot of its key.
    epoch: Mutex<Option<(Slot, Vec<u8>)>>,
    /// Held by the link that connects, also between its attempts, so that one link of the process tries at a time.
    attempts: sync::Mutex<Backoff>,
}

/// Whether links without a connection can get one.
#[derive(Debug, Clone, Default)]
enum Outage {
    #[default]
    None,
    /// Not at the moment. Steps wait for it.
    Recent(Fault),
    /// Not for longer than a step may wait. Steps are refused.
    Lasting(Fault),
}

/// A failure of a link, compared with the failures of the other links to its primary since one of them has connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// There was none.
    First,
    /// The last one had another cause.
    Other,
    /// The last one had the same cause.
    Same,
}

/// A reading of the primary's clock. It was read during the round trip that ended at `received`, so at that moment the
/// clock showed between `time` and `time + round_trip`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    received: Instant,
    time: Duration,
    round_trip: Duration,
}

impl Reading {
    /// What the clock shows at a moment of this process, in milliseconds since the Unix epoch. As far as that is not
    /// certain, the earliest.
    pub(super) fn earliest_ms(&self, at: Instant) -> u64 {
        let earlier = self.received.saturating_duration_since(at);
        let time = self.time.saturating_sub(earlier) + at.saturating_duration_since(self.received);
        u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
    }
}

impl Primary {
    /// A primary at this address, or without one at the address that the Sentinels name.
    pub(super) fn new(at: Option<Node>) -> Self {
        Self {
            at,
            clock: Mutex::default(),
            degradation: Mutex::default(),
            lack: Mutex::default(),
            outage: Mutex::default(),
            epoch: Mutex::default(),
            attempts: sync::Mutex::default(),
        }
    }

    /// Its address, unless the Sentinels have to be asked.
    pub(super) fn node(&self) -> Option<&Node> {
        self.at.as_ref()
    }

    /// Learns the primary's time, given since the Unix epoch, which it read between two moments of this process. Returns
    /// by how many milliseconds its clock has jumped, forward or back, if it has.
    pub(super) fn learn_time(&self, sent: Instant, received: Instant, time: Duration) -> Option<i64> {
        let round_trip = received.saturating_duration_since(sent);
        let reading = Reading { received, time, round_trip };
        let mut clock = self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        let before = clock.replace(reading)?;
        let expected = before.time + received.saturating_duration_since(before.received);
        let ahead = time.saturating_sub(expected + before.round_trip);
        let behind = expected.saturating_sub(time + round_trip);
        if ahead.is_zero() && behind.is_zero() && round_trip > READING_TIME_MAX {
            *clock = Some(before);
        }
        let millis = |jump: Duration| i64::try_from(jump.as_millis()).unwrap_or(i64::MAX);
        if ahead > CLOCK_JUMP_MIN {
            Some(millis(ahead))
        } else {
            (behind > CLOCK_JUMP_MIN).then(|| -millis(behind))
        }
    }

    /// The last reading of its clock. A link that has connected has read it.
    pub(super) fn clock(&self) -> Option<Reading> {
        *self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Learns which epoch its data has, by a key in this slot. Returns whether the key had another one before.
    pub(super) fn learn_epoch(&self, slot: Slot, epoch: &[u8]) -> bool {
        let mut known = self.epoch.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.replace((slot, epoch.to_owned()));
        before.is_some_and(|(of, before)| of == slot && before != epoch)
    }

    /// Waits for the turn to connect.
    pub(super) async fn dial_turn(&self) -> sync::MutexGuard<'_, Backoff> {
        self.attempts.lock().await
    }

    /// A link has lost its connection or could not connect. With `is_lasting` steps are refused from now on.
    pub(super) fn failed(&self, fault: &Fault, is_lasting: bool) -> Failure {
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        let known = match &*outage {
            Outage::None => None,
            Outage::Recent(known) | Outage::Lasting(known) => Some(known.cause),
        };
        *outage = if is_lasting { Outage::Lasting(fault.clone()) } else { Outage::Recent(fault.clone()) };
        match known {
            None => Failure::First,
            Some(known) if known == fault.cause => Failure::Same,
            Some(_) => Failure::Other,
        }
    }

    /// A link has connected. Returns whether that ends an outage.
    pub(super) fn succeeded(&self) -> bool {
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        !matches!(std::mem::take(&mut *outage), Outage::None)
    }

    /// Why the last attempt to connect failed, if it did.
    pub(super) fn outage(&self) -> Option<Fault> {
        match &*self.outage.lock().unwrap_or_else(PoisonError::into_inner) {
            Outage::None => None,
            Outage::Recent(fault) | Outage::Lasting(fault) => Some(fault.unsent()),
        }
    }

    /// Why links without a connection refuse steps, if they do.
    pub(super) fn refusal(&self) -> Option<Fault> {
        match &*self.outage.lock().unwrap_or_else(PoisonError::into_inner) {
            Outage::None | Outage::Recent(_) => None,
            Outage::Lasting(fault) => Some(fault.unsent()),
        }
    }

    /// Remembers whether the last commands that had to be replicated were, and if not, why.
    pub(super) fn note_replicas(&self, lacking: Option<Fault>, now: Instant) {
        let lack = lacking.map(|fault| (now, fault));
        *self.lack.lock().unwrap_or_else(PoisonError::into_inner) = lack;
    }

    /// Why no command is sent that has to be replicated, if none is. All commands behind such a one wait, too, so while
    /// replicas are missing it is tried once in [`LACK_TIME`].
    pub(super) fn lacks_replicas(&self, now: Instant) -> Option<Fault> {
        let mut lack = self.lack.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, fault) = lack.as_mut()?;
        if now.saturating_duration_since(*since) < LACK_TIME {
            return Some(fault.unsent());
        }
        // The others wait for the outcome of this one.
        *since = now;
        None
    }

    /// Remembers that the primary has refused a step.
    pub(super) fn mark_degraded(&self, fault: Fault, now: Instant) {
        *self.degradation.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, fault));
    }

    /// Why the primary has refused a step within the last [`DEGRADED_TIME`], if it has.
    pub(super) fn degraded(&self, now: Instant) -> Option<Fault> {
        let degradation = self.degradation.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (since, fault) = degradation?;
        (now.saturating_duration_since(since) < DEGRADED_TIME).then_some(fault)
    }
}

impl fmt::Display for Primary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.at {
            Some(node) => node.fmt(f),
            None => f.write_str("the primary of the Sentinels"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cause;

    #[test]
    fn an_outage_is_new_once_per_cause_and_refuses_steps_when_it_lasts() {
        let primary = Primary::new(None);
        let (gone, loading) = (Fault::lost("reset".into()), Fault::refused(Cause::Loading, "LOADING"));
        assert!(!primary.succeeded(), "there was no outage");
        assert_eq!(primary.failed(&gone, false), Failure::First);
        assert!(primary.refusal().is_none());
        assert_eq!(primary.failed(&gone, true), Failure::Same);
        assert_eq!(primary.refusal(), Some(gone.unsent()));
        assert_eq!(primary.failed(&loading, true), Failure::Other);
        assert!(primary.succeeded() && primary.refusal().is_none());
    }

    #[test]
    fn a_jump_of_the_clock_is_noticed_and_a_slow_answer_is_ignored() {
        let primary = Primary::new(None);
        let start = super::super::dial::now();
        let at = |ms| start + Duration::from_millis(ms);
        let learn =
            |sent, received, ms| primary.learn_time(at(sent), at(received), Duration::from_millis(ms));
        assert_eq!(learn(0, 2, 1_000_000), None, "the first reading");
        assert_eq!(learn(3000, 3002, 1_003_000), None);
        assert_eq!(
            learn(6000, 10_000, 1_010_000),
            None,
            "it may have been read at any time of the round trip"
        );
        assert_eq!(learn(9001, 9001, 1_069_001), Some(60_000), "forward");
        assert_eq!(learn(9001, 9001, 1_009_001), Some(-60_000), "and back");
        assert_eq!(learn(10_000, 13_000, 1_073_000), Some(60_000), "a jump shows in a slow answer too");
    }

    #[test]
    fn what_the_clock_shows_is_never_taken_for_later_than_it_is() {
        let primary = Primary::new(None);
        let start = super::super::dial::now();
        let at = |ms| start + Duration::from_millis(ms);
        primary.learn_time(at(100), at(140), Duration::from_millis(5000));
        let clock = primary.clock().unwrap();
        assert_eq!((clock.earliest_ms(at(140)), clock.earliest_ms(at(3140))), (5000, 8000));
        assert_eq!((clock.earliest_ms(at(100)), clock.earliest_ms(start)), (4960, 4860));
    }

    #[test]
    fn while_replicas_are_missing_one_command_tries_from_time_to_time() {
        let primary = Primary::new(None);
        let start = super::super::dial::now();
        assert_eq!(primary.lacks_replicas(start), None);
        let fault = Fault::refused(Cause::NotDurable, "0 of 1");
        primary.note_replicas(Some(fault.clone()), start);
        assert_eq!(primary.lacks_replicas(start), Some(fault.clone()));
        let later = start + LACK_TIME;
        assert_eq!(primary.lacks_replicas(later), None, "it tries");
        assert_eq!(primary.lacks_replicas(later), Some(fault), "the others wait");
        primary.note_replicas(None, later);
        assert_eq!(primary.lacks_replicas(later), None);
    }

    #[test]
    fn another_epoch_of_the_same_key_is_noticed_once() {
        let primary = Primary::new(None);
        let learned = [("a", "1"), ("a", "1"), ("a", "2"), ("a", "2"), ("b", "3"), ("b", "4")]
            .map(|(key, epoch)| primary.learn_epoch(Slot::of_key(key.as_bytes()), epoch.as_bytes()));
        assert_eq!(learned, [false, false, true, false, false, true]);
    }

    #[test]
    fn a_refusal_is_remembered_for_a_while() {
        let primary = Primary::new(None);
        let start = super::super::dial::now();
        assert_eq!(primary.degraded(start), None);
        let fault = Fault::refused(Cause::Full, "OOM");
        primary.mark_degraded(fault.clone(), start);
        assert_eq!(primary.degraded(start + DEGRADED_TIME - Duration::from_millis(1)), Some(fault));
        assert_eq!(primary.degraded(start + DEGRADED_TIME), None);
    }
}
