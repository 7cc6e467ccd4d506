//! The connections to the other nodes, one for each address.

use crate::{
    auth::ClusterSecret,
    tls::{Tls, Version},
    transport,
};
use parking_lot::Mutex;
use std::{collections::HashMap, sync::Arc};
use tonic::transport::Channel;

/// Connections to nodes by their addresses. Clones share them. A channel connects when it is first used, and again after
/// its connection has broken.
#[derive(Debug, Clone)]
pub struct Channels {
    secret: ClusterSecret,
    tls: Option<Tls>,
    channels: Arc<Mutex<HashMap<String, Connection>>>,
}

/// A connection, with the certificates that it uses.
type Connection = (Option<Version>, Channel);

impl Channels {
    /// No connections yet. They use these certificates.
    pub fn new(secret: ClusterSecret, tls: Option<Tls>) -> Self {
        Self { secret, tls, channels: Arc::default() }
    }

    /// What calls have to present on them.
    pub fn secret(&self) -> &ClusterSecret {
        &self.secret
    }

    /// The connection to the node at `host:port`. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The address cannot be used.
    pub fn get(&self, address: &str) -> Result<Channel, transport::InvalidTarget> {
        let version = self.tls.as_ref().map(Tls::version);
        let mut channels = self.channels.lock();
        if let Some((_, channel)) = channels.get(address).filter(|(used, _)| *used == version) {
            return Ok(channel.clone());
        }
        let channel = transport::client(address, self.tls.as_ref())?.connect_lazy();
        channels.insert(address.to_owned(), (version, channel.clone()));
        Ok(channel)
    }

    /// Drops the connections to all other addresses.
    pub fn retain(&self, is_kept: impl Fn(&str) -> bool) {
        self.channels.lock().retain(|address, _| is_kept(address));
    }
}
