//! What a store has forgotten, and when: the only losses that are excused. All times are milliseconds since the start of the run.

use beckon_testbed::redis::Takeover;
use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

/// Replicas lag by less than this.
const LAG_MS: u64 = 500;

/// After more than half of the Sentinels know of another primary, nodes leave the former one within this time: they ask
/// once a second.
const LEAVING_MS: u64 = 1_000;

/// What was accepted earlier than this before a shard was lost had been delivered before, or was lost in another way. Devices
/// sleep for 15 s, and come back within 60 s after a fault.
const UNDELIVERED_MS: u64 = 120_000;

/// After a store has lost what it knew, each connected device is told within this time, and has another endpoint: 60 s,
/// and the time that a device takes.
const TOLD_MS: u64 = 75_000;

/// A device learns of its endpoint this long after that was stored, at most.
const REPLY_MS: u64 = 2_000;

/// Why a store has forgotten something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// A shard lost everything.
    Shard,
    /// Another server became primary without the last writes of the former one.
    FailOver,
}

/// What was accepted from then to then may be forgotten.
#[derive(Debug, Clone, Copy)]
struct Erasure {
    loss: Loss,
    from: u64,
    until: u64,
}

/// All that a store has forgotten.
#[derive(Debug, Default)]
pub(crate) struct Erasures {
    erasures: Vec<Erasure>,
    /// Nothing that a failover loses is excused: replicas have to have what is accepted.
    fail_overs_lose_nothing: bool,
    /// A shard is being lost since then.
    losing_since: Option<u64>,
    /// Replicas that are taking over, and from when the former primary accepts what is lost.
    takeovers: BTreeMap<SocketAddr, u64>,
    /// Replicas of a primary that works are being promoted in order, after it has stopped: nothing is lost.
    is_orderly: bool,
    /// How often another server has become primary and something may have been lost.
    pub(crate) taken_over: u64,
    /// The longest time of which what was accepted then may be lost.
    pub(crate) longest_ms: u64,
}

impl Erasures {
    pub(crate) fn new(fail_overs_lose_nothing: bool) -> Self {
        Self { fail_overs_lose_nothing, ..Self::default() }
    }

    /// A shard begins to lose everything.
    pub(crate) fn shard_begins(&mut self, now: u64) {
        self.losing_since = Some(now);
    }

    /// A shard has lost everything.
    pub(crate) fn shard_is_lost(&mut self, now: u64) {
        if let Some(since) = self.losing_since.take() {
            let from = since.saturating_sub(UNDELIVERED_MS);
            self.erasures.push(Erasure { loss: Loss::Shard, from, until: now });
        }
    }

    /// A primary was killed just now.
    pub(crate) fn primary_was_killed(&mut self, now: u64) {
        self.may_lose(now.saturating_sub(LAG_MS), now);
    }

    /// Whether replicas are being promoted in an order that loses nothing.
    pub(crate) fn set_orderly(&mut self, is_orderly: bool) {
        self.is_orderly = is_orderly;
    }

    /// Another server becomes primary. Whether that may lose something.
    pub(crate) fn takeover(&mut self, now: u64, takeover: Takeover) -> bool {
        let ago = |time: Duration| now.saturating_sub(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        match takeover {
            _ if self.is_orderly => return false,
            Takeover::Begins { server, followed } => {
                self.takeovers.insert(server, ago(followed).saturating_sub(LAG_MS));
            }
            Takeover::WasNone { server } => {
                self.takeovers.remove(&server);
            }
            Takeover::Done { server, followed, accepted } => {
                self.takeovers.remove(&server);
                self.taken_over += 1;
                // Nodes leave one that has ended at once.
                let leaving = if accepted.is_zero() { LEAVING_MS } else { 0 };
                self.may_lose(ago(followed).saturating_sub(LAG_MS), ago(accepted) + leaving);
            }
        }
        true
    }

    fn may_lose(&mut self, from: u64, until: u64) {
        if !self.fail_overs_lose_nothing {
            self.longest_ms = self.longest_ms.max(until.saturating_sub(from));
            self.erasures.push(Erasure { loss: Loss::FailOver, from, until });
        }
    }

    /// What may have erased a notification that was sent and accepted at these times. That it was a failover is said only if
    /// no shard was lost.
    pub(crate) fn of(&self, sent_ms: u64, answered_ms: u64) -> Option<Loss> {
        let covers = |erasure: &&Erasure| sent_ms <= erasure.until && answered_ms >= erasure.from;
        let losses = || self.erasures.iter().filter(covers).map(|erasure| erasure.loss);
        losses().find(|loss| *loss == Loss::Shard).or_else(|| losses().next())
    }

    /// Whether a store may have forgotten an endpoint that a device has had since then, and since when.
    fn forgot(&self, endpoint_since: u64, now: u64) -> Option<u64> {
        let covers = |erasure: &&Erasure| match erasure.loss {
            Loss::Shard => endpoint_since <= erasure.until,
            Loss::FailOver => (erasure.from..=erasure.until + REPLY_MS).contains(&endpoint_since),
        };
        let open =
            self.takeovers.values().any(|from| endpoint_since >= *from && !self.fail_overs_lose_nothing);
        let now = (self.losing_since.is_some() || open).then_some(now);
        now.or_else(|| self.erasures.iter().filter(covers).map(|erasure| erasure.until).max())
    }

    /// Whether a device may get another endpoint in place of that which it has had since then.
    pub(crate) fn explain_new_endpoint(&self, endpoint_since: u64, now: u64) -> bool {
        self.forgot(endpoint_since, now).is_some()
    }

    /// Whether an endpoint that a device has had since then may be gone, and the device need not know it yet: it is not connected, or
    /// has not been for long.
    pub(crate) fn explain_gone(&self, endpoint_since: u64, connected_since: Option<u64>, now: u64) -> bool {
        let Some(forgot) = self.forgot(endpoint_since, now) else { return false };
        connected_since.is_none_or(|connected| forgot.max(connected) + TOLD_MS >= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begins(followed_ms: u64) -> Takeover {
        let server = SocketAddr::from(([127, 0, 0, 1], 6379));
        Takeover::Begins { server, followed: Duration::from_millis(followed_ms) }
    }

    fn done(followed_ms: u64, accepted_ms: u64) -> Takeover {
        let server = SocketAddr::from(([127, 0, 0, 1], 6379));
        let (followed, accepted) = (Duration::from_millis(followed_ms), Duration::from_millis(accepted_ms));
        Takeover::Done { server, followed, accepted }
    }

    /// A replica that followed until 9.95 s, takes over at 10 s, and is known at 11.2 s.
    fn taken_over(lose_nothing: bool) -> Erasures {
        let mut erasures = Erasures::new(lose_nothing);
        assert!(erasures.takeover(10_000, begins(50)));
        assert_eq!(erasures.explain_gone(10_500, Some(0), 10_600), !lose_nothing, "while it happens");
        assert!(erasures.takeover(11_200, done(1_250, 0)));
        erasures
    }

    #[test]
    fn a_takeover_excuses_its_own_second_and_nothing_else() {
        let erasures = taken_over(false);
        assert_eq!(erasures.of(8_000, 9_449), None, "accepted before");
        assert_eq!(erasures.of(8_000, 9_450), Some(Loss::FailOver));
        assert_eq!(erasures.of(12_200, 12_300), Some(Loss::FailOver));
        assert_eq!(erasures.of(12_201, 12_300), None, "sent afterwards");
        assert_eq!((erasures.taken_over, erasures.longest_ms), (1, 2_750));
        assert!(!erasures.explain_new_endpoint(8_000, 20_000), "an endpoint that replicas had");
        assert!(erasures.explain_new_endpoint(10_500, 20_000));
        let told = 12_200 + TOLD_MS;
        let explains = |connected, now| erasures.explain_gone(10_500, connected, now);
        assert!(explains(Some(0), told) && !explains(Some(0), told + 1));
        assert!(explains(Some(13_000), told + 1) && explains(None, told + 1), "nobody could tell it before");
    }

    #[test]
    fn a_primary_that_has_ended_has_lost_what_its_replica_lacked() {
        let mut erasures = Erasures::new(false);
        // It ended at 8 s, and is replaced at 10 s.
        erasures.takeover(10_000, begins(2_020));
        erasures.takeover(10_100, done(2_120, 2_100));
        assert_eq!(erasures.of(6_900, 7_479), None);
        assert_eq!(erasures.of(7_900, 8_000), Some(Loss::FailOver));
        assert_eq!(erasures.of(8_001, 8_100), None, "other shards go on");
    }

    #[test]
    fn with_replicas_that_have_everything_no_failover_excuses_anything() {
        let mut erasures = taken_over(true);
        erasures.primary_was_killed(30_000);
        assert_eq!(erasures.of(10_000, 10_100), None);
        assert_eq!(erasures.of(29_900, 30_000), None);
        erasures.shard_begins(50_000);
        erasures.shard_is_lost(50_500);
        assert_eq!(erasures.of(40_000, 40_100), Some(Loss::Shard));
    }

    #[test]
    fn an_order_that_loses_nothing_and_what_was_no_takeover_excuse_nothing() {
        let mut erasures = Erasures::new(false);
        erasures.set_orderly(true);
        assert!(!erasures.takeover(10_000, begins(50)));
        assert!(!erasures.takeover(10_100, done(150, 0)));
        erasures.set_orderly(false);
        let Takeover::Begins { server, .. } = begins(50) else { unreachable!() };
        assert!(erasures.takeover(20_000, begins(50)));
        assert!(erasures.takeover(20_000, Takeover::WasNone { server }));
        assert_eq!((erasures.of(9_900, 10_000), erasures.of(19_900, 20_000)), (None, None));
        assert!(!erasures.explain_gone(20_000, None, 20_100));
        assert_eq!(erasures.taken_over, 0);
    }

    #[test]
    fn a_lost_shard_excuses_what_was_waiting_there() {
        let mut erasures = Erasures::new(false);
        erasures.shard_begins(500_000);
        assert!(erasures.explain_gone(1_000, Some(0), 500_100), "while it happens");
        erasures.shard_is_lost(500_500);
        assert_eq!(erasures.of(379_000, 379_900), None, "nothing waits for two minutes");
        assert_eq!(erasures.of(379_000, 380_000), Some(Loss::Shard));
        assert_eq!(erasures.of(500_501, 500_600), None);
    }
}
