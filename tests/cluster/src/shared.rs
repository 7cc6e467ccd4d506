//! Fleets that many tests share.

use crate::{connected::wait_until_connected, tls};
use beckon_conformance::server::Times;
use beckon_testbed::{
    fleet::Fleet,
    plan::{Plan, Shape},
};
use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

/// Settings that many tests share, so that they can share the programs too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// The defaults of PROTOCOL.md section 1.10.
    Defaults,
    /// Times of seconds instead of minutes.
    ShortTimes,
    /// What the public SimplePush suite wants, low limits, and few origins.
    Strict,
    /// The defaults, with TLS on the public ports.
    Tls,
}

const PROFILES: usize = 4;
const SHAPES: usize = 2;

/// The times of [`Profile::ShortTimes`].
const SHORT: Times = Times {
    hello_timeout: Duration::from_secs(2),
    ping_min_sp: Duration::from_secs(1),
    keepalive_interval: Duration::from_secs(2),
    keepalive_timeout: Duration::from_secs(1),
    sp_retry_interval: Duration::from_secs(1),
};

impl Profile {
    /// The times that its servers are set to.
    pub(crate) fn times(self) -> Times {
        if self == Self::ShortTimes { SHORT } else { Times::default() }
    }

    fn plan(self, shape: Shape) -> Plan {
        let plan = Plan::new(shape);
        match self {
            Self::Defaults => plan,
            Self::Tls => plan.tls(tls::certificates()),
            Self::ShortTimes => {
                let seconds = |time: Duration| format!("{}s", time.as_secs());
                plan.sockets("BECKON_HELLO_TIMEOUT", &seconds(SHORT.hello_timeout))
                    .sockets("BECKON_PING_MIN_SP", &seconds(SHORT.ping_min_sp))
                    .sockets("BECKON_PING_MIN_WP", &seconds(SHORT.ping_min_sp))
                    .sockets("BECKON_KEEPALIVE_INTERVAL", &seconds(SHORT.keepalive_interval))
                    .sockets("BECKON_KEEPALIVE_TIMEOUT", &seconds(SHORT.keepalive_timeout))
                    .sockets("BECKON_SP_RETRY_INTERVAL", &seconds(SHORT.sp_retry_interval))
            }
            Self::Strict => plan
                .sockets("BECKON_ALLOWED_ORIGINS", "https://app.example, https://other.example:8443")
                .sockets("BECKON_BARE_HELLO", "reject")
                .sockets("BECKON_INVALID_UAID", "503")
                .sockets("BECKON_MAX_MESSAGE_GREETED", "262144")
                .sockets("BECKON_MAX_CHANNELS_SP", "5")
                .sockets("BECKON_MAX_CHANNELS_WP", "5")
                .sockets("BECKON_BATCH_SIZE", "2")
                .http("BECKON_SP_MAX_DATA", "10")
                .http("BECKON_WP_MAX_DATA", "4096")
                .http("BECKON_MAX_TTL", "60s")
                .http("BECKON_MSG_LIMIT", "4"),
        }
    }
}

/// The fleet that all tests of a profile share; the first one starts it. It lives as long as the process, so a test
/// must not stop anything in it.
pub(crate) fn fleet(shape: Shape, profile: Profile) -> Arc<Fleet> {
    static FLEETS: [[OnceLock<Arc<Fleet>>; PROFILES]; SHAPES] =
        [const { [const { OnceLock::new() }; PROFILES] }; SHAPES];
    let fleet = &FLEETS[shape as usize][profile as usize];
    Arc::clone(fleet.get_or_init(|| {
        let fleet = profile.plan(shape).start();
        wait_until_connected(&fleet);
        Arc::new(fleet)
    }))
}
