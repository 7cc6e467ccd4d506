//! The settings of endpoints that can change while a node runs.

use crate::{
    config::HttpSettings,
    http::{HandlerSettings, Rates},
};
use arc_swap::ArcSwap;
use beckon_listener::{connections::Limits, port::Port, settings::PortSettings};
use beckon_node::key_rings::KeyRings;
use beckon_ops::reload::Take;
use beckon_types::EndpointUrl;
use std::sync::Arc;

/// The settings that a [`Tuner`] takes.
pub const RELOADED: &[&str] = &[
    "endpoint_rate",
    "hsts",
    "http_body_timeout",
    "http_idle_timeout",
    "http_max_connections",
    "max_ttl",
    "msg_limit",
    "msg_reserve",
    "sp_max_data",
    "vapid_rate",
    "wp_max_data",
];

/// Gives a running node other settings of its endpoints.
#[derive(Debug, Clone)]
pub struct Tuner {
    pub(crate) settings: Arc<ArcSwap<HandlerSettings>>,
    pub(crate) rates: Arc<Rates>,
    pub(crate) port: Arc<Port>,
    pub(crate) url: EndpointUrl,
    pub(crate) key_rings: Arc<KeyRings>,
}

impl Tuner {
    /// What puts these settings in use. `connections_max` is [`HttpSettings::http_max_connections`], or fewer if the limit
    /// of open files does not allow as many.
    pub fn prepare(&self, settings: &HttpSettings, ports: &PortSettings, connections_max: u64) -> Take {
        let Self { settings: cell, rates, port, url, key_rings } = self.clone();
        let handler_settings = HandlerSettings::new(settings, &url);
        let (endpoint_rate, vapid_rate) = (settings.endpoint_rate, settings.vapid_rate);
        let connections_max = usize::try_from(connections_max).unwrap_or(usize::MAX);
        let limits = Limits::new(ports, connections_max, settings.http_idle_timeout);
        Box::new(move || {
            cell.store(Arc::new(handler_settings));
            rates.set(endpoint_rate, vapid_rate);
            port.set_limits(limits);
            key_rings.reloaded();
        })
    }
}
