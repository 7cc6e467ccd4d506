//! The sockets of a node, as its old process hands them over.

use super::format::{About, Connection, Left, Rest};
use crate::{
    compaction::Order, delivery_service::DeliveryService, mailbox, node::Node, suspended::Suspended,
};
use beckon_listener::{port::Port, source::Source};
use beckon_node::hand_over::{self, Failed, Holdings, Kind, Outgoing, until};
use beckon_types::ConnectionId;
use prost::Message as _;
use std::{
    collections::HashSet,
    os::fd::AsFd as _,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::{
    sync::{OwnedMutexGuard, mpsc, oneshot},
    time::timeout,
};

/// Time for connections that were accepted to be upgraded. They hold up nothing else.
const SETTLE_MAX: Duration = Duration::from_secs(2);

/// Time for an announcement of the node that is under way.
const ANNOUNCEMENT_MAX: Duration = Duration::from_secs(5);

/// Time for the streams of other nodes to end.
const STREAMS_MAX: Duration = Duration::from_millis(500);

/// Time for sockets to come to rest: a step of the store that is well, and the rest of a message.
const PARK_MAX: Duration = Duration::from_millis(500);

/// The sockets of a node.
#[derive(Debug)]
pub struct Sockets {
    node: Arc<Node>,
    /// To its workers.
    orders: Vec<mpsc::Sender<Order>>,
    delivery: DeliveryService,
    port: Arc<Port>,
    /// Where other nodes reach it.
    grpc_address: String,
    /// The node is not announced meanwhile.
    announcing: Option<OwnedMutexGuard<()>>,
    /// By worker, those that have come to rest.
    suspended: Vec<Vec<Suspended>>,
    /// Those of them that cannot be sent.
    stay: HashSet<ConnectionId>,
    /// Whether all sockets have to re-read the store.
    may_have_missed: bool,
}

impl Sockets {
    /// The sockets of a node that other nodes reach at this address; `orders` go to its workers, and `port` is for new ones.
    pub(crate) fn of(
        node: Arc<Node>,
        orders: Vec<mpsc::Sender<Order>>,
        delivery: DeliveryService,
        port: Arc<Port>,
        grpc_address: String,
    ) -> Self {
        Self {
            node,
            orders,
            delivery,
            port,
            grpc_address,
            announcing: None,
            suspended: Vec::new(),
            stay: HashSet::new(),
            may_have_missed: false,
        }
    }

    /// Notifications may come that are not noted any more, so all sockets have to re-read the store.
    pub fn may_miss(&mut self) {
        self.may_have_missed = true;
    }

    /// Whether all sockets are at rest.
    pub fn are_at_rest(&self) -> bool {
        let parked: usize = self.suspended.iter().map(Vec::len).sum();
        parked as u64 == self.node.registry.open()
    }

    /// Takes all sockets that come to rest within this time out of their tasks, besides those that have done so.
    pub async fn suspend(&mut self, patience: Duration) {
        let mut replies = Vec::with_capacity(self.orders.len());
        for orders in &self.orders {
            let (reply, parked) = oneshot::channel();
            // Fails only if the worker has ended, which ends the program.
            let _ = orders.send(Order::Park(patience, reply)).await;
            replies.push(parked);
        }
        self.suspended.resize_with(self.orders.len(), Vec::new);
        for (suspended, parked) in self.suspended.iter_mut().zip(replies) {
            suspended.extend(parked.await.unwrap_or_default());
        }
    }

    /// A socket as data. `None` if it has to end.
    fn connection(&self, suspended: &Suspended) -> Option<Connection> {
        let Suspended { session, registration, .. } = suspended;
        let missed = registration.mailbox.left()? == mailbox::Left::Missed;
        Some(Connection {
            id: registration.id.0,
            source: registration.source.map_or(0, Source::number),
            missed: missed || self.may_have_missed,
            entered_s: self.node.registry.entered_s(registration.id)?,
            session: session.park()?,
        })
    }

    /// Goes on with the sockets that are at rest.
    async fn wake(&mut self) {
        for (orders, suspended) in self.orders.iter().zip(std::mem::take(&mut self.suspended)) {
            let _ = orders.send(Order::Resume(suspended)).await;
        }
        (self.stay, self.announcing, self.may_have_missed) = (HashSet::new(), None, false);
    }
}

impl Holdings for Sockets {
    fn about(&self) -> Vec<u8> {
        let about = About {
            node: self.node.id.0,
            grpc_address: self.grpc_address.clone(),
            epoch: self.node.epoch.load(Ordering::Relaxed),
            tables: self.node.registry.generations().len() as u32,
        };
        about.encode_to_vec()
    }

    async fn settle(&mut self) -> Result<(), Failed> {
        until(SETTLE_MAX, || self.port.open_connections() == 0).await;
        let announcing = timeout(ANNOUNCEMENT_MAX, self.node.announcing.clone().lock_owned()).await;
        self.announcing = Some(announcing.map_err(|_| Failed::Announcement)?);
        Ok(())
    }

    async fn park(&mut self) -> Result<(), Failed> {
        until(STREAMS_MAX, || self.delivery.streams() == 0).await;
        self.suspend(PARK_MAX).await;
        Ok(())
    }

    async fn send(&mut self, outgoing: &mut Outgoing<'_>) -> Result<hand_over::Rest, Failed> {
        let (mut left, mut parked, mut stay) = (Left::default(), 0, HashSet::new());
        let connections = self.suspended.iter().flatten().filter_map(|suspended| {
            parked += 1;
            let reason = match (suspended.stream.as_plain(), self.connection(suspended)) {
                (Some(tcp), Some(connection)) => return Some((connection.encode_to_vec(), tcp.as_fd())),
                (None, _) => &mut left.tls,
                (Some(_), None) => &mut left.busy,
            };
            *reason += 1;
            stay.insert(suspended.registration.id);
            None
        });
        outgoing.send(Kind::Socket, connections).await?;
        left.busy += self.node.registry.open().saturating_sub(parked);
        self.stay = stay;
        let rest = Rest { generations: self.node.registry.generations(), left };
        Ok(hand_over::Rest { bytes: rest.encode_to_vec(), closed: left.tls + left.busy })
    }

    async fn resume(&mut self) {
        self.wake().await;
    }

    async fn leave(&mut self) {
        for suspended in &mut self.suspended {
            // The other sockets stay open: they are the new process's as well.
            suspended.retain(|suspended| self.stay.contains(&suspended.registration.id));
        }
        self.wake().await;
        self.node.drain.close_at_once();
    }
}
