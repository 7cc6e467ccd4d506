//! The way from one program to its store.

use crate::forwarder::{Forwarder, Way};
use std::sync::Arc;

/// The forwarders between one program, or several, and all servers of a store. What is done to the links is done to
/// each of them.
#[derive(Debug, Clone)]
pub struct Links {
    url: String,
    /// By shard; each server of a shard has one.
    shards: Vec<Vec<Arc<Forwarder>>>,
    /// To the Sentinels. Nothing is done to these.
    _sentinels: Vec<Arc<Forwarder>>,
}

impl Links {
    pub(super) fn new(url: String, shards: Vec<Vec<Arc<Forwarder>>>) -> Self {
        Self { url, shards, _sentinels: Vec::new() }
    }

    /// Keeps these forwarders as long as the links, too.
    pub(super) fn with_sentinels(self, sentinels: Vec<Arc<Forwarder>>) -> Self {
        Self { _sentinels: sentinels, ..self }
    }

    /// The URL for `BECKON_STORE` that leads over these links.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Only those to the servers of one shard.
    pub fn shard(&self, shard: usize) -> Self {
        Self { shards: vec![self.shards[shard].clone()], ..self.clone() }
    }

    /// Only that to one server of one shard.
    pub fn server(&self, shard: usize, server: usize) -> &Forwarder {
        &self.shards[shard][server]
    }

    fn each(&self) -> impl Iterator<Item = &Arc<Forwarder>> {
        self.shards.iter().flatten()
    }

    /// [`Forwarder::cut`].
    pub fn cut(&self) {
        self.each().for_each(|link| link.cut());
    }

    /// [`Forwarder::reset`].
    pub fn reset(&self) {
        self.each().for_each(|link| link.reset());
    }

    /// [`Forwarder::silence`].
    pub fn silence(&self) {
        self.each().for_each(|link| link.silence());
    }

    /// [`Forwarder::stall`].
    pub fn stall(&self) {
        self.each().for_each(|link| link.stall());
    }

    /// [`Forwarder::stall_way`].
    pub fn stall_way(&self, way: Way) {
        self.each().for_each(|link| link.stall_way(way));
    }

    /// [`Forwarder::throttle`].
    pub fn throttle(&self, bytes_per_second: u64) {
        self.each().for_each(|link| link.throttle(bytes_per_second));
    }

    /// [`Forwarder::heal`].
    pub fn heal(&self) {
        self.each().for_each(|link| link.heal());
    }
}
