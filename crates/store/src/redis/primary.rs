//! One primary, and what all links of this process to it know of it.

use super::{address::Node, fault::Fault, pace::Pace};
use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::{sync, time::Instant};

/// How long a primary counts as failing after it has refused a step for a reason that only its own answers tell.
const COMPLAINT_LIFETIME: Duration = Duration::from_secs(10);

/// A difference from the expected time of more than this is a jump of the primary's clock.
const CLOCK_JUMP_MIN: Duration = Duration::from_secs(2);

/// A clock that is read over a slower round trip is not known well enough: the moment is known to half of it.
const READING_TIME_MAX: Duration = Duration::from_secs(1);

/// A primary: a server that takes writes.
#[derive(Debug)]
pub(super) struct Primary {
    at: Option<Node>,
    clock: Mutex<Option<Reading>>,
    complaint: Mutex<Option<(Instant, Fault)>>,
    outage: Mutex<Outage>,
    /// Held while a link connects, and while it waits for the next attempt: there is one at a time in this process.
    attempts: sync::Mutex<Pace>,
}

/// Whether the links without a connection can get one.
#[derive(Debug, Clone, Default)]
enum Outage {
    #[default]
    None,
    /// Not now. Steps may wait for it.
    Young(Fault),
    /// Not for a while. Steps are refused.
    Old(Fault),
}

/// The primary's time at a moment of this process.
#[derive(Debug, Clone, Copy)]
struct Reading {
    at: Instant,
    time: Duration,
}

impl Primary {
    /// A primary at this address, or at the one that the Sentinels know.
    pub(super) fn new(at: Option<Node>) -> Self {
        Self {
            at,
            clock: Mutex::default(),
            complaint: Mutex::default(),
            outage: Mutex::default(),
            attempts: sync::Mutex::default(),
        }
    }

    /// Where it is, unless only the Sentinels know.
    pub(super) fn node(&self) -> Option<&Node> {
        self.at.as_ref()
    }

    /// Learns that it had this time, since the Unix epoch, at some moment between two of this process. Returns by how
    /// much its clock has jumped forward or back, in milliseconds, if it has.
    pub(super) fn learn_time(&self, sent: Instant, received: Instant, time: Duration) -> Option<i64> {
        let round_trip = received.saturating_duration_since(sent);
        if round_trip > READING_TIME_MAX {
            return None;
        }
        let reading = Reading { at: sent + round_trip / 2, time };
        let before = self.clock.lock().unwrap_or_else(PoisonError::into_inner).replace(reading)?;
        let expected = before.time + reading.at.saturating_duration_since(before.at);
        let jump = time.abs_diff(expected);
        let millis = i64::try_from(jump.as_millis()).unwrap_or(i64::MAX);
        (jump > CLOCK_JUMP_MIN).then_some(if time > expected { millis } else { -millis })
    }

    /// The turn to connect to it, with the pace of the attempts.
    pub(super) async fn turn(&self) -> sync::MutexGuard<'_, Pace> {
        self.attempts.lock().await
    }

    /// A link has lost its connection, or got none. `is_old` is whether steps should be refused from now on. Returns
    /// whether the reason is news.
    pub(super) fn failed(&self, fault: &Fault, is_old: bool) -> bool {
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        let known = match &*outage {
            Outage::None => None,
            Outage::Young(known) | Outage::Old(known) => Some(known.cause),
        };
        *outage = if is_old { Outage::Old(fault.clone()) } else { Outage::Young(fault.clone()) };
        known != Some(fault.cause)
    }

    /// A link has connected to it. Returns whether that is news.
    pub(super) fn succeeded(&self) -> bool {
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        !matches!(std::mem::take(&mut *outage), Outage::None)
    }

    /// Why links without a connection refuse steps, if they do.
    pub(super) fn refusal(&self) -> Option<Fault> {
        match &*self.outage.lock().unwrap_or_else(PoisonError::into_inner) {
            Outage::None | Outage::Young(_) => None,
            Outage::Old(fault) => Some(fault.unsent()),
        }
    }

    /// Remembers that it refused a step.
    pub(super) fn complain(&self, fault: Fault, now: Instant) {
        *self.complaint.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, fault));
    }

    /// Why it refused a step within the last [`COMPLAINT_LIFETIME`], if it has.
    pub(super) fn complaint(&self, now: Instant) -> Option<Fault> {
        let complaint = self.complaint.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (since, fault) = complaint?;
        (now.saturating_duration_since(since) < COMPLAINT_LIFETIME).then_some(fault)
    }
}

impl fmt::Display for Primary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.at {
            Some(node) => node.fmt(f),
            None => f.write_str("the primary that the Sentinels name"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cause;

    #[test]
    fn an_outage_is_news_once_per_cause_and_refuses_steps_when_it_is_old() {
        let primary = Primary::new(None);
        let (gone, loading) = (Fault::lost("reset".into()), Fault::refused(Cause::Loading, "LOADING"));
        assert!(!primary.succeeded(), "there was no outage");
        assert!(primary.failed(&gone, false) && primary.refusal().is_none());
        assert!(!primary.failed(&gone, true), "the same cause");
        assert_eq!(primary.refusal(), Some(gone.unsent()));
        assert!(primary.failed(&loading, true));
        assert!(primary.succeeded() && primary.refusal().is_none());
    }

    #[test]
    fn a_jump_of_its_clock_is_noticed_and_a_slow_answer_is_none() {
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
            "it may have been read at the end of the round trip"
        );
        assert_eq!(learn(9001, 9001, 1_069_000), Some(60_000), "forward");
        assert_eq!(learn(9001, 9001, 1_009_000), Some(-60_000), "and back");
    }

    #[test]
    fn a_complaint_is_remembered_for_a_while() {
        let primary = Primary::new(None);
        let start = super::super::dial::now();
        assert_eq!(primary.complaint(start), None);
        let fault = Fault::refused(Cause::Full, "OOM");
        primary.complain(fault.clone(), start);
        assert_eq!(primary.complaint(start + COMPLAINT_LIFETIME - Duration::from_millis(1)), Some(fault));
        assert_eq!(primary.complaint(start + COMPLAINT_LIFETIME), None);
    }
}
