//! What the settings say about the program that is examined.

use crate::config::{Config, reachable};
use beckon_node::config::CommonSettings;
use beckon_ops::{
    config::{ConfigErrors, Secret, Source},
    program::ServerConfig as _,
};
use beckon_store::EMBEDDED;
use std::{net::SocketAddr, path::PathBuf};

/// A program with the settings that matter here.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) common: CommonSettings,
    /// The URL of Redis; `None` for the embedded store.
    pub(super) redis: Option<Secret>,
    /// The directory of the embedded store.
    pub(super) data_dir: Option<PathBuf>,
    /// Where devices connect, if this program holds their WebSockets.
    pub(super) ws_listen: Option<SocketAddr>,
    /// `max_connections`, if it is set.
    pub(super) connections_max: Option<u64>,
    /// The longest body that endpoints take, in bytes, if this program serves them.
    pub(super) body_len_max: Option<usize>,
    pub(super) admin: SocketAddr,
}

impl Subject {
    /// Reads the settings as the program of this name does.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub(super) fn read(program: &str, source: Source) -> Result<Self, ConfigErrors> {
        match program {
            "connection-node" => {
                let config = beckon_connection_node::config::Config::read(source)?;
                Ok(Self {
                    redis: Some(config.cluster.store),
                    data_dir: None,
                    ws_listen: Some(reachable(config.sockets.ws_listen)),
                    connections_max: config.sockets.max_connections,
                    body_len_max: None,
                    admin: reachable(config.node.admin_listen),
                    common: config.common,
                })
            }
            "endpoint-node" => {
                let config = beckon_endpoint_node::config::Config::read(source)?;
                Ok(Self {
                    redis: Some(config.cluster.store),
                    data_dir: None,
                    ws_listen: None,
                    connections_max: None,
                    body_len_max: Some(config.http.wp_max_data),
                    admin: reachable(config.node.admin_listen),
                    common: config.common,
                })
            }
            _ => {
                let config = Config::read(source)?;
                let is_embedded = config.process.store.expose() == EMBEDDED;
                Ok(Self {
                    redis: (!is_embedded).then_some(config.process.store),
                    data_dir: is_embedded.then_some(config.process.data_dir),
                    ws_listen: Some(reachable(config.sockets.ws_listen)),
                    connections_max: config.sockets.max_connections,
                    body_len_max: Some(config.http.wp_max_data),
                    admin: reachable(config.process.admin_listen),
                    common: config.common,
                })
            }
        }
    }
}
