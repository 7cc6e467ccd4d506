//! The other connection-nodes, as far as this one has something to tell them: that a client has moved here.

use parking_lot::Mutex;
use proto::{
    auth::{ClusterSecret, PresentSecret},
    push_v1::delivery_client::DeliveryClient,
    tls::Tls,
    transport,
};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tonic::transport::Channel;
use types::presence::Presence;

/// Evictions on other nodes that are under way at once. A further one is not sent: the old socket then lives
/// until it asks the store for anything, or its keep-alive ends; it owns nothing in the meantime.
pub const EVICTIONS_MAX: usize = 1024;

/// How long the other node may take.
const EVICT_TIMEOUT: Duration = Duration::from_secs(3);

/// The other connection-nodes.
#[derive(Debug)]
pub struct Peers {
    secret: Option<ClusterSecret>,
    tls: Option<Tls>,
    /// By address. Channels connect when first used, and again when they break.
    channels: Mutex<HashMap<String, Channel>>,
    permits: Arc<Semaphore>,
    tasks: TaskTracker,
}

impl Peers {
    /// Nobody is connected to yet. `tasks` owns what is sent.
    pub fn new(secret: Option<ClusterSecret>, tls: Option<Tls>, tasks: TaskTracker) -> Self {
        let permits = Arc::new(Semaphore::new(EVICTIONS_MAX));
        Self { secret, tls, channels: Mutex::default(), permits, tasks }
    }

    /// Has another node close a socket, in the background.
    pub fn evict(&self, former: Presence, address: &str) {
        let Some(channel) = self.channel(address) else { return };
        let Ok(permit) = self.permits.clone().try_acquire_owned() else {
            tracing::warn!(node.id = %former.node, "too many evictions under way, one is not sent");
            return;
        };
        let mut client = DeliveryClient::with_interceptor(channel, PresentSecret(self.secret.clone()));
        self.tasks.spawn(async move {
            let _permit = permit;
            let answer = tokio::time::timeout(EVICT_TIMEOUT, client.evict(tonic_request(former))).await;
            match answer {
                Ok(Ok(_)) => {}
                Ok(Err(status)) => {
                    let error = proto::status::Failure::from(status);
                    tracing::debug!(node.id = %former.node, error = %error, "socket not evicted");
                }
                Err(_) => tracing::debug!(node.id = %former.node, "socket not evicted in time"),
            }
        });
    }

    /// Forgets channels to addresses that are not in the directory any more.
    pub fn retain(&self, is_known: impl Fn(&str) -> bool) {
        self.channels.lock().retain(|address, _| is_known(address));
    }

    fn channel(&self, address: &str) -> Option<Channel> {
        let mut channels = self.channels.lock();
        if let Some(channel) = channels.get(address) {
            return Some(channel.clone());
        }
        match transport::client(address, self.tls.as_ref()) {
            Ok(endpoint) => {
                let channel = endpoint.connect_lazy();
                channels.insert(address.to_owned(), channel.clone());
                Some(channel)
            }
            Err(error) => {
                tracing::warn!(node.address = address, error = %error, "a node has announced an unusable address");
                None
            }
        }
    }
}

fn tonic_request(former: Presence) -> tonic::Request<proto::push_v1::EvictRequest> {
    tonic::Request::new(former.into())
}
