//! The settings of sockets that can change while a node runs.

use crate::{
    config::SocketSettings,
    node::{Limits, Node},
};
use beckon_listener::{connections::Limits as PortLimits, port::Port, settings::PortSettings};
use beckon_node::config::CommonSettings;
use beckon_ops::reload::Take;
use std::sync::Arc;

/// The settings that a [`Tuner`] takes.
pub const RELOADED: &[&str] = &[
    "allowed_origins",
    "bare_hello",
    "batch_size",
    "dead_client",
    "drain_rate",
    "hello_timeout",
    "invalid_uaid",
    "keepalive_interval",
    "keepalive_timeout",
    "max_channels_sp",
    "max_channels_wp",
    "max_connections",
    "max_buffered",
    "max_message",
    "max_message_greeted",
    "message_timeout",
    "ping_min_sp",
    "ping_min_wp",
    "redirect_threshold",
    "socket_requests",
    "sp_retry_interval",
    "ws_max_pending",
];

/// Gives a running node other settings of its sockets.
#[derive(Debug)]
pub struct Tuner {
    pub(crate) node: Arc<Node>,
    pub(crate) port: Arc<Port>,
}

impl Tuner {
    /// What puts these settings in use. `limits` are those of [`SocketSettings::limits`].
    pub fn prepare(
        &self,
        settings: &SocketSettings,
        common: &CommonSettings,
        ports: &PortSettings,
        limits: Limits,
    ) -> Take {
        let (node, port) = (self.node.clone(), self.port.clone());
        let mut tunables = settings.tunables(common, limits);
        // With another one, no client would be known.
        tunables.settings.uaid_key = self.node.tunables().settings.uaid_key.clone();
        let port_limits = PortLimits::new(ports, settings.ws_max_pending, SocketSettings::IDLE_TIMEOUT);
        Box::new(move || {
            node.tune(tunables);
            port.set_limits(port_limits);
            node.key_rings.reloaded();
        })
    }
}
