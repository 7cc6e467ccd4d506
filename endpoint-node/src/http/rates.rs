//! How often an endpoint takes a notification, and an application server sends one.

use beckon_listener::rate::{Jitter, Limiter, Rate};
use beckon_types::{ChannelId, ClientId, KeyHash};
use std::time::Duration;

/// Too many notifications: when to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooOften(pub(crate) Duration);

/// The rates of all endpoints and of all VAPID keys that this node has seen lately.
#[derive(Debug)]
pub(crate) struct Rates {
    endpoints: Limiter,
    keys: Limiter,
    jitter: Jitter,
}

impl Rates {
    /// Rates that nothing has used yet.
    pub(crate) fn new(endpoint: Rate, key: Rate) -> Self {
        Self { endpoints: Limiter::new(endpoint), keys: Limiter::new(key), jitter: Jitter::default() }
    }

    /// Other rates.
    pub(crate) fn set(&self, endpoint: Rate, key: Rate) {
        self.endpoints.set_rate(endpoint);
        self.keys.set_rate(key);
    }

    /// One more notification to this channel, at this reading of the node's clock.
    pub(crate) fn admit_channel(
        &self,
        client: ClientId,
        channel: ChannelId,
        now_us: u64,
    ) -> Result<(), TooOften> {
        self.endpoints.admit((client, channel), 1, now_us).map_err(|wait| self.too_often(wait))
    }

    /// One more notification of the application server with this key.
    pub(crate) fn admit_key(&self, key: KeyHash, now_us: u64) -> Result<(), TooOften> {
        self.keys.admit(key, 1, now_us).map_err(|wait| self.too_often(wait))
    }

    fn too_often(&self, wait: Duration) -> TooOften {
        TooOften(self.jitter.spread(wait))
    }
}
