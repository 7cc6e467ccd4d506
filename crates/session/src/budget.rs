//! How many requests of a user agent are read at once, and how often after that.

use crate::api::Settings;
use beckon_types::Moment;

/// A token bucket (GCRA). Each notification that is sent adds a request, up to the limit, so that acknowledgements do not use up what
/// a user agent may ask for besides.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    /// When it is full again; it is full if that has passed.
    full_at: Moment,
}

impl Budget {
    /// One that is full at this moment.
    pub(crate) fn new(full_at: Moment) -> Self {
        Self { full_at }
    }

    /// When it is full again.
    pub(crate) fn full_at(self) -> Moment {
        self.full_at
    }

    /// A request was read.
    pub(crate) fn spend(&mut self, now: Moment, settings: &Settings) {
        self.full_at = self.full_at.max(now) + settings.request_interval;
    }

    /// So many notifications were sent, each of which is acknowledged.
    pub(crate) fn refund(&mut self, count: usize, settings: &Settings) {
        let refunded = settings.request_interval.as_millis() as u64 * count as u64;
        self.full_at = Moment(self.full_at.0.saturating_sub(refunded));
    }

    /// When the next request may be read; it may if that has passed.
    pub(crate) fn next_at(self, settings: &Settings) -> Moment {
        // All but the last one may be spent.
        let spendable = settings.request_interval * settings.requests_max.saturating_sub(1);
        Moment(self.full_at.0.saturating_sub(spendable.as_millis() as u64))
    }

    /// Whether the next request has to wait.
    pub(crate) fn is_spent(self, now: Moment, settings: &Settings) -> bool {
        settings.requests_max > 0 && self.next_at(settings) > now
    }
}
