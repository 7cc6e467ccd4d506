//! When a session asks the store again: whether it still owns its UAID, and for what the store failed to do.
//!
//! Nothing tells a socket that a store has forgotten its claim, or that a node has failed to hand over what it stored. So
//! each session asks from time to time, when it notices a gap between writes (`seen`), and whenever its node knows of a reason
//! ([`crate::Input::Verify`]).

use crate::{
    api::Settings,
    limits::{
        GAP_WAIT, RENEWAL_MIN, RENEWALS_PER_UAID_IDLE, REPEAT_AFTER, VERIFY_AGAIN_MAX, VERIFY_INTERVAL,
    },
};
use beckon_types::{ConnectionId, Moment};
use std::time::Duration;

/// When the session of this connection has to verify its claim, if it did so at this time. A socket that is silent
/// verifies its claim with each Ping frame, a little earlier than this.
pub(crate) fn verify_at(settings: &Settings, connection: ConnectionId, verified: Moment) -> Moment {
    let interval = match settings.keepalive_interval {
        Duration::ZERO => VERIFY_INTERVAL,
        interval => interval.min(VERIFY_INTERVAL),
    };
    let renewal = (settings.uaid_idle / RENEWALS_PER_UAID_IDLE).max(RENEWAL_MIN);
    verified + (interval + interval / 16 + spread(interval / 8, connection, verified)).min(renewal)
}

/// When the session of this connection repeats a step that has failed now.
pub(crate) fn repeat_at(connection: ConnectionId, now: Moment) -> Moment {
    now + REPEAT_AFTER + spread(REPEAT_AFTER / 2, connection, now)
}

/// When the session of this connection verifies its claim again, if the store has failed to do so now.
pub(crate) fn verify_again_at(connection: ConnectionId, now: Moment) -> Moment {
    now + REPEAT_AFTER + spread(VERIFY_AGAIN_MAX - REPEAT_AFTER, connection, now)
}

/// When the session of this connection verifies its claim because of a gap between writes that it has noticed now.
pub(crate) fn gap_at(connection: ConnectionId, now: Moment) -> Moment {
    now + GAP_WAIT + spread(GAP_WAIT / 2, connection, now)
}

/// A part of a duration that differs between connections, so that a store that comes back is not asked by all of them at
/// once.
fn spread(most: Duration, connection: ConnectionId, now: Moment) -> Duration {
    // Multiplicative hashing: the highest bits depend on all others.
    let hash = (connection.0 ^ now.0.rotate_left(32)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    most * (hash >> 56) as u32 / 256
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turn::rig::Rig;

    #[test]
    fn a_claim_is_verified_twice_before_a_client_without_channels_is_forgotten() {
        for keepalive in [Duration::ZERO, Duration::from_secs(300), Duration::from_secs(24 * 60 * 60)] {
            let latest = |turn: &mut crate::turn::Turn<'_>| {
                let settings = Settings { keepalive_interval: keepalive, ..turn.settings.clone() };
                (0..1000).map(|id| verify_at(&settings, ConnectionId(id), Moment(0))).max()
            };
            let (latest, _) = Rig::new().turn(latest);
            let latest = latest.unwrap().since(Moment(0));
            assert!(latest * 2 < beckon_types::UNREGISTERED_LIFETIME, "{keepalive:?}: {latest:?}");
        }
    }

    #[test]
    fn connections_that_fail_together_repeat_their_steps_apart() {
        let now = Moment(1_000_000);
        let times: Vec<u64> =
            (0..1000).map(|id| repeat_at(ConnectionId(id), now).since(now).as_secs()).collect();
        for second in 10..15 {
            let count = times.iter().filter(|time| **time == second).count();
            assert!((150..250).contains(&count), "{count} of 1000 after {second} s");
        }
        assert_eq!(times.iter().filter(|time| !(10..15).contains(*time)).count(), 0);
        let times: Vec<u64> =
            (0..3000).map(|id| verify_again_at(ConnectionId(id), now).since(now).as_secs()).collect();
        for second in 10..40 {
            let count = times.iter().filter(|time| **time == second).count();
            assert!((50..200).contains(&count), "{count} of 3000 after {second} s");
        }
    }
}
