//! What answering a request takes.

use super::{rates::Rates, request_ids::RequestIds};
use crate::{config::HttpSettings, dispatch::Dispatcher, metrics::Metrics, vapid::Verifier};
use arc_swap::{ArcSwap, Guard};
use beckon_node::{key_rings::KeyRings, store_room::StoreRoom, trace::Tracer};
use beckon_ops::{clock::Clock, log_throttle::LogThrottle};
use beckon_types::{Cause, EndpointUrl, KeyRing, Moment};
use std::{sync::Arc, time::Duration};
use warp::http::{HeaderMap, HeaderValue, Method, header::CONTENT_LENGTH};

/// What an operator sets.
#[derive(Debug)]
pub(crate) struct HandlerSettings {
    /// The longest `data`, in bytes after decoding.
    pub(crate) sp_max_data: usize,
    /// The longest body of a message, in bytes.
    pub(crate) wp_max_data: usize,
    /// The longest time to live of a message; a longer one is shortened.
    pub(crate) ttl_max: Duration,
    /// How many stored messages a client may have.
    pub(crate) messages_max: u32,
    /// How many more one of its channels may have.
    pub(crate) channel_reserve: u32,
    /// `Strict-Transport-Security` on Web Push paths.
    pub(crate) hsts: Option<HeaderValue>,
    /// Time for a request body to arrive.
    pub(crate) body_timeout: Duration,
}

/// What the requests on one worker share.
#[derive(Debug)]
pub(crate) struct Handler {
    pub(crate) dispatcher: Dispatcher,
    /// Opens the tokens of endpoints, and opens and seals the ids of messages.
    pub(crate) keys: KeyRing,
    /// Whether other nodes have keys that this one lacks.
    pub(crate) key_rings: Arc<KeyRings>,
    /// Can change at any time. Reading it takes no lock.
    pub(crate) settings: Arc<ArcSwap<HandlerSettings>>,
    pub(crate) vapid: Arc<Verifier>,
    pub(crate) rates: Arc<Rates>,
    /// What endpoints begin with.
    pub(crate) url: EndpointUrl,
    pub(crate) metrics: Metrics,
    pub(crate) clock: Clock,
    /// Names the requests.
    pub(crate) request_ids: RequestIds,
    pub(crate) tracer: Tracer,
    /// Bounds what is logged of requests that fail, by status.
    pub(crate) server_errors: Arc<LogThrottle<u16>>,
    /// What the store has room for.
    pub(crate) room: Arc<StoreRoom>,
}

impl Handler {
    /// What an operator has set, as it is now. Not to be kept while waiting.
    pub(super) fn settings(&self) -> Guard<Arc<HandlerSettings>> {
        self.settings.load()
    }

    /// Whether what this node cannot open may have been made by another one, so that it must not be denied.
    pub(super) fn lacks_keys(&self) -> bool {
        self.key_rings.lacks_keys(Moment(self.clock.now_ms()))
    }
}

impl HandlerSettings {
    /// `url` is what endpoints begin with.
    pub(crate) fn new(settings: &HttpSettings, url: &EndpointUrl) -> Self {
        Self {
            sp_max_data: settings.sp_max_data,
            wp_max_data: settings.wp_max_data,
            ttl_max: settings.max_ttl,
            messages_max: settings.msg_limit,
            channel_reserve: settings.msg_reserve,
            hsts: settings.hsts.clone().filter(|_| url.is_https()),
            body_timeout: settings.http_body_timeout,
        }
    }
}

/// The head of a request, without its path.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) method: Method,
    /// Empty if there is none.
    pub(super) query: String,
    pub(super) headers: HeaderMap,
    /// What follows from the request names it.
    pub(super) cause: Cause,
}

impl Head {
    /// The length of the body, if the client announces it. The HTTP server has refused what is not a number.
    pub(super) fn body_len(&self) -> Option<u64> {
        self.headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
    }
}
