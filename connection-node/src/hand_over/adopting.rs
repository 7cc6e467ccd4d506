//! The sockets of the former process, in this one.

use super::{
    format::{Connection, Left},
    taking::Inheritance,
};
use crate::{compaction::Order, metrics::HandOver, node::Node, suspended::Suspended};
use beckon_listener::{source::Source, stream::SuspendedStream};
use beckon_session::{Damaged, Session};
use beckon_types::{ConnectionId, Moment, Notification, Presence};
use std::{net, sync::Arc};
use tokio::sync::mpsc;

/// Sockets that wait for their turn.
#[derive(Debug)]
pub(crate) struct Adopted {
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
    pub(crate) fn prepare(node: &Arc<Node>, inheritance: Inheritance) -> Result<Self, Damaged> {
        let workers = node.registry.workers();
        let mut suspended: Vec<_> = (0..workers).map(|_| Vec::new()).collect();
        let Inheritance { connections, generations, left, frozen_ms } = inheritance;
        for (connection, tcp) in connections {
            let worker = ConnectionId(connection.id).worker() % workers;
            suspended[usize::from(worker)].push(adopt(node, connection, tcp)?);
        }
        node.registry.seal(&generations);
        Ok(Self { suspended, left, frozen: Moment(frozen_ms) })
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
