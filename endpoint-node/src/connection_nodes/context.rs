//! What the links to all connection-nodes share.

use crate::metrics::Metrics;
use beckon_dashboard::local::Local;
use beckon_ops::{clock::Clock, stage::Stage};
use beckon_proto::{auth::ClusterSecret, tls::Tls};
use beckon_types::Moment;
use std::{sync::Arc, time::Duration};
use tokio::sync::SetOnce;

#[derive(Debug)]
pub(super) struct Context {
    pub(super) delivery_timeout: Duration,
    pub(super) secret: ClusterSecret,
    pub(super) tls: Option<Tls>,
    pub(super) metrics: Metrics,
    pub(super) clock: Clock,
    /// Owns the tasks of the links and of the directory.
    pub(super) stage: Stage,
    /// This node, as it answers to operators of others, once it has started.
    pub(super) local: SetOnce<Arc<Local>>,
}

impl Context {
    pub(super) fn now(&self) -> Moment {
        Moment(self.clock.now_ms())
    }

    /// When a parcel that is offered now counts as late.
    pub(super) fn deadline(&self) -> Moment {
        self.now() + self.delivery_timeout
    }

    /// A random number for jitter. Without a source of randomness there is no jitter.
    pub(super) fn random(&self) -> u64 {
        getrandom::u64().unwrap_or_default()
    }
}
