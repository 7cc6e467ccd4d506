//! The sockets of the former process, in this one.

use super::format::{Connection, Left, Rest};
use crate::{compaction::Order, metrics::HandOver, node::Node, suspended::Suspended};
use beckon_listener::{source::Source, stream::SuspendedStream};
use beckon_node::hand_over::Inheritance;
use beckon_ops::exit::Failure;
use beckon_session::{Damaged, Session};
use beckon_types::{ClientId, ConnectionId, Dialect, Moment, Notification, Presence};
use prost::Message as _;
use std::{net, sync::Arc};
use tokio::sync::mpsc;

/// Sockets of another process that are not served yet.
#[derive(Debug)]
pub struct Adopted {
    /// By worker.
    suspended: Vec<Vec<Suspended>>,
    left: Left,
    frozen: Moment,
}

impl Adopted {
    /// Enters all sockets with the ids that they have had. Nothing is done with them yet.
    ///
    /// # Errors
    /// They are not what the former process could have had.
    pub(crate) fn prepare(node: &Arc<Node>, inheritance: Inheritance) -> Result<Self, Failure> {
        let workers = node.registry.workers();
        let mut suspended: Vec<_> = (0..workers).map(|_| Vec::new()).collect();
        let Inheritance { sockets, rest, frozen_ms, .. } = inheritance;
        for (connection, tcp) in sockets {
            let connection = Connection::decode(connection.as_slice()).map_err(Failure::software)?;
            let worker = ConnectionId(connection.id).worker() % workers;
            suspended[usize::from(worker)].push(adopt(node, connection, tcp).map_err(Failure::software)?);
        }
        let Rest { generations, left } = Rest::decode(rest.as_slice()).map_err(Failure::software)?;
        node.registry.seal(&generations);
        Ok(Self { suspended, left, frozen: Moment(frozen_ms) })
    }

    /// Which sockets own which clients.
    pub(crate) fn claims(&self, node: &Node) -> Vec<(ClientId, Presence, Dialect)> {
        let tunables = node.tunables();
        let claim = |suspended: &Suspended| {
            let presence = Presence { node: node.id, connection: suspended.registration.id };
            let (client, dialect) = suspended.session.client(&tunables.settings)?;
            Some((client, presence, dialect))
        };
        self.suspended.iter().flatten().filter_map(claim).collect()
    }

    /// Serves them from now on.
    pub(crate) async fn resume(self, node: &Node, workers: &[mpsc::Sender<Order>]) {
        let Self { suspended, left, frozen } = self;
        let taken = suspended.iter().map(|suspended| suspended.len() as u64).sum();
        for (orders, suspended) in workers.iter().zip(suspended) {
            // Fails only if the worker has ended, which ends the program.
            let _ = orders.send(Order::Resume(suspended)).await;
        }
        let outcomes = [(HandOver::Taken, taken), (HandOver::Tls, left.tls), (HandOver::Busy, left.busy)];
        for (outcome, sockets) in outcomes {
            node.metrics.handed_over(outcome, sockets);
        }
        let pause = node.now().since(frozen);
        node.metrics.hand_over_pause.set(pause.as_secs_f64());
        tracing::info!(
            sockets = taken,
            left.tls,
            left.busy,
            ?pause,
            "serving what another process has served"
        );
    }
}

fn adopt(node: &Arc<Node>, connection: Connection, tcp: net::TcpStream) -> Result<Suspended, Damaged> {
    let Connection { id, source, missed, entered_s, session } = connection;
    let id = ConnectionId(id);
    let registration = node.registry.adopt(id, Source::from_number(source), entered_s);
    let registration = registration.ok_or(Damaged::CONNECTION)?;
    let session =
        Session::resume(Presence { node: node.id, connection: id }, session, &node.broadcasts.load())?;
    if session.is_subscribed() {
        registration.mailbox.subscribe();
    }
    if missed {
        registration.mailbox.post(node.now(), Notification::Missed);
    }
    Ok(Suspended { stream: SuspendedStream::plain(tcp), session, registration })
}
