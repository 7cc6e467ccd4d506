//! This node's lease in the directory, and what follows when the store or the lease was lost.
//!
//! There is no heartbeat for a client: its presence names this run of the node, and is valid as long as the node's
//! lease.

use crate::{mailbox::Mailbox, metrics::Doubt, node::Node, pace::spread};
use beckon_ops::{stage::Stage, tenure::Phase};
use beckon_store::{ANNOUNCE_INTERVAL, Announced, Disturbances, LEASE, Missed, NodeEntry, StoreError};
use beckon_types::Notification;
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::sync::{MutexGuard, Notify};

/// Connections that verify their claims each second, unless that would take longer than [`VERIFY_TIME_MAX`].
const VERIFY_RATE: u32 = 2000;

/// The longest time over which all connections verify their claims.
const VERIFY_TIME_MAX: Duration = Duration::from_secs(40);

/// How often all connections verify their claims while the store does not say whether they have to: it is not known what they
/// miss meanwhile.
const BLIND_INTERVAL: Duration = Duration::from_secs(45);

/// What the other nodes read of this node in the directory.
#[derive(Debug, Clone)]
pub struct Announcement {
    /// Where the node takes gRPC. Empty in a standalone server.
    pub grpc_address: String,
    /// The WebSocket URL of this very node, if clients may be redirected to it.
    pub ws_url: Option<String>,
}

/// Announces the node until `stage` is asked to stop, then ends its lease, unless another process has the node by then. `first` is
/// the first announcement, if it has succeeded; a process that takes a node over repeats it as soon as it serves.
///
/// Afterwards all connections verify their claims whenever the store may have forgotten them, or other nodes may have
/// taken this one for gone.
pub(crate) async fn keep_lease(
    node: Arc<Node>,
    announcement: Announcement,
    first: Option<Announced>,
    stage: Stage,
) {
    let doubt = Arc::new(Notify::new());
    stage.spawn_endless("verification", verify_claims(node.clone(), doubt.clone()));
    let is_inherited = node.tenure.is_frozen();
    let known_epoch = Some(node.epoch.load(Ordering::Relaxed)).filter(|epoch| *epoch != 0);
    let mut witness = Witness {
        epoch: known_epoch.or(first.map(|announced| announced.epoch)),
        disturbances: node.store.disturbances(),
        announced_ms: node.clock.now_ms(),
        blind_ms: None,
        owed: is_inherited.then_some(Doubt::HandedOver),
    };
    let mut interval = if is_inherited { Duration::ZERO } else { ANNOUNCE_INTERVAL };
    let mut next = async || {
        let _ = tokio::time::timeout(interval, node.key_rings.until_reloaded()).await;
        interval = ANNOUNCE_INTERVAL;
        turn(&node).await
    };
    while let Some(_announcing) = stage.run_until_stopping(next()).await {
        let began_ms = node.clock.now_ms();
        // Not one after the other: the primary that has the directory may be away alone, and the clients of the others go on.
        let (announced, missed) = tokio::join!(announce(&node, &announcement), pass_on_missed(&node));
        match &announced {
            Ok(announced) => node.epoch.store(announced.epoch, Ordering::Relaxed),
            Err(error) => {
                node.step_failed(error);
                tracing::warn!(%error, "could not renew the lease");
            }
        }
        let (now_ms, disturbances) = (node.clock.now_ms(), node.store.disturbances());
        let reason = witness.doubt(announced.as_ref().ok(), missed, disturbances, began_ms, now_ms);
        if let Some(reason) = reason {
            node.metrics.doubt(reason);
            if reason == Doubt::HandedOver {
                tracing::info!(reason = reason.text(), "all connections verify their claims");
            } else {
                tracing::warn!(reason = reason.text(), "all connections verify their claims");
            }
            doubt.notify_one();
        }
    }
    if node.tenure.is_frozen() {
        return;
    }
    if let Err(error) = node.store.retire(node.id).await {
        tracing::warn!(%error, "could not end the lease; it will lapse");
    }
}

/// Waits until this process may announce the node, and take notes of what was missed. It is not handed over meanwhile.
async fn turn(node: &Node) -> MutexGuard<'_, ()> {
    loop {
        node.tenure.reached(Phase::Serving).await;
        let announcing = node.announcing.lock().await;
        if !node.tenure.is_frozen() {
            return announcing;
        }
    }
}

/// Tells connections that have missed something, because an endpoint-node could not hand it over. Returns the reason if it
/// may have been any of them.
async fn pass_on_missed(node: &Node) -> Option<Doubt> {
    match node.store.take_missed(node.id).await {
        Ok(Missed::These(connections)) => {
            for connection in connections {
                node.registry.post(connection, node.now(), Notification::Missed);
            }
            None
        }
        Ok(Missed::Any) => Some(Doubt::ManyMissed),
        Err(error) => {
            node.step_failed(&error);
            // It may have been performed.
            Some(Doubt::MissedUnknown)
        }
    }
}

/// What the node knows of the store from its last announcement.
#[derive(Debug)]
struct Witness {
    epoch: Option<u64>,
    disturbances: Disturbances,
    /// When the last announcement that succeeded began.
    announced_ms: u64,
    /// When all connections verified their claims last because the store did not say whether they have to.
    blind_ms: Option<u64>,
    /// Why they have to do so again: at the next time for it, or as soon as the store answers.
    owed: Option<Doubt>,
}

impl Witness {
    /// Learns from an announcement that began and ended at these times, and what it has returned, if anything, and from whether
    /// something was missed. Returns the reason, if claims are in doubt.
    fn doubt(
        &mut self,
        announced: Option<&Announced>,
        missed: Option<Doubt>,
        disturbances: Disturbances,
        began_ms: u64,
        now_ms: u64,
    ) -> Option<Doubt> {
        let had_disturbances = std::mem::replace(&mut self.disturbances, disturbances);
        let is_disturbed = match disturbances {
            same if same == had_disturbances => None,
            Disturbances { losses, .. } if losses != had_disturbances.losses => Some(Doubt::StoreLostData),
            _ => Some(Doubt::StoreConnectionLost),
        };
        // An announcement that was given up may be performed late, and then there is no lapse that the next one can see.
        let has_lapsed = u128::from(now_ms - self.announced_ms) > LEASE.as_millis();
        let mut blind = missed.filter(|missed| *missed == Doubt::MissedUnknown);
        let missed = missed.filter(|missed| *missed != Doubt::MissedUnknown);
        let mut seen = is_disturbed.or(missed);
        if let Some(announced) = announced {
            let epoch = self.epoch.replace(announced.epoch);
            self.announced_ms = began_ms;
            if epoch.is_some_and(|epoch| epoch != announced.epoch) {
                seen = Some(Doubt::StoreLostData);
            } else if (announced.lapsed || has_lapsed) && seen != Some(Doubt::StoreLostData) {
                seen = Some(Doubt::LeaseLapsed);
            }
        } else if has_lapsed {
            blind = Some(Doubt::LeaseLapsed);
        }
        let is_due = |at: u64| u128::from(now_ms - at) >= BLIND_INTERVAL.as_millis();
        if blind.is_some() && !self.blind_ms.is_none_or(is_due) {
            // What was missed may have been taken, and nobody will say it again.
            self.owed = blind;
            return seen;
        }
        if blind.is_some() {
            self.blind_ms = Some(now_ms);
        }
        seen.or(blind).or(self.owed.take())
    }
}

/// Signals all connections to verify their claims whenever there is doubt. A doubt that comes meanwhile is dealt with
/// afterwards.
async fn verify_claims(node: Arc<Node>, doubt: Arc<Notify>) {
    loop {
        doubt.notified().await;
        let all = node.registry.all();
        let count = u32::try_from(all.len()).unwrap_or(u32::MAX);
        let time = (Duration::from_secs(1) * count / VERIFY_RATE).min(VERIFY_TIME_MAX);
        spread(&node.clock, all, time, Mailbox::signal_verify).await;
    }
}

/// Announces the node once, and keeps the directory that the store returns.
pub(crate) async fn announce(node: &Arc<Node>, announcement: &Announcement) -> Result<Announced, StoreError> {
    let announced = node
        .store
        .announce(NodeEntry {
            node: node.id,
            name: node.name.clone(),
            grpc_address: announcement.grpc_address.clone(),
            workers: node.registry.workers(),
            ws_url: announcement.ws_url.clone(),
            room: node.has_room(),
            keys: node.key_rings.own(),
        })
        .await;
    node.metrics.announced(announced.is_ok(), &node.lease);
    let announced = announced?;
    node.key_rings.compare(&announced.nodes, node.now());
    warn_of_same_address(node, announcement, &announced.nodes);
    node.peers.set_directory(announced.nodes.clone());
    Ok(announced)
}

/// Complains about other nodes that have announced the address of this one: each is reached through it at random. A run of
/// this node that was killed just now is one of them until its lease lapses.
fn warn_of_same_address(node: &Node, announcement: &Announcement, directory: &[NodeEntry]) {
    let address = &announcement.grpc_address;
    let is_twin = |entry: &&NodeEntry| entry.node != node.id && &entry.grpc_address == address;
    if let Some(twin) = directory.iter().find(is_twin).filter(|_| !address.is_empty()) {
        tracing::warn!(
            node.address = address,
            other.id = %twin.node,
            other.name = twin.name,
            "another node has announced the address of this one; unless it was killed just now, give each node its own \
            `grpc_advertise`"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announced(epoch: u64, lapsed: bool) -> Announced {
        Announced { nodes: Vec::new(), epoch, lapsed }
    }

    fn witness(epoch: Option<u64>) -> Witness {
        Witness { epoch, disturbances: after(4), announced_ms: 0, blind_ms: None, owed: None }
    }

    fn after(interruptions: u64) -> Disturbances {
        Disturbances { interruptions, losses: 1 }
    }

    #[test]
    fn claims_are_in_doubt_after_whatever_may_have_taken_them_away() {
        let mut witness = witness(None);
        let mut doubt = |(epoch, lapsed), interruptions, began_ms, now_ms| {
            witness.doubt(Some(&announced(epoch, lapsed)), None, after(interruptions), began_ms, now_ms)
        };
        let quiet = (1, false);
        assert_eq!(doubt(quiet, 4, 3000, 3001), None, "the first epoch that is known");
        assert_eq!(doubt(quiet, 4, 12_000, 13_000), None);
        assert_eq!(doubt(quiet, 4, 20_000, 22_001), Some(Doubt::LeaseLapsed), "it may have");
        assert_eq!(doubt((1, true), 4, 23_000, 23_001), Some(Doubt::LeaseLapsed));
        assert_eq!(doubt(quiet, 6, 26_000, 26_001), Some(Doubt::StoreConnectionLost));
        assert_eq!(doubt((2, true), 6, 29_000, 29_001), Some(Doubt::StoreLostData));
        assert_eq!(doubt((2, false), 6, 32_000, 32_001), None);
        let quiet = announced(2, false);
        let many_missed = Some(Doubt::ManyMissed);
        assert_eq!(witness.doubt(Some(&quiet), many_missed, after(6), 35_000, 35_001), many_missed);
        // Another primary than that of the directory.
        let lost = Disturbances { losses: 2, ..after(8) };
        assert_eq!(
            witness.doubt(Some(&announced(2, true)), None, lost, 38_000, 38_001),
            Some(Doubt::StoreLostData)
        );
        assert_eq!(witness.doubt(Some(&quiet), None, lost, 41_000, 41_001), None);
    }

    #[test]
    fn without_an_answer_claims_are_in_doubt_from_time_to_time() {
        let mut witness = witness(Some(1));
        let unknown = Some(Doubt::MissedUnknown);
        assert_eq!(witness.doubt(None, None, after(4), 9000, 9001), None, "the lease lasts");
        assert_eq!(witness.doubt(None, None, after(4), 12_000, 12_001), Some(Doubt::LeaseLapsed));
        assert_eq!(witness.doubt(None, unknown, after(4), 15_000, 15_001), None);
        assert_eq!(witness.doubt(None, None, after(5), 18_000, 18_001), Some(Doubt::StoreConnectionLost));
        assert_eq!(witness.doubt(None, None, after(5), 57_000, 57_001), Some(Doubt::LeaseLapsed));
        let quiet = announced(1, false);
        assert_eq!(witness.doubt(Some(&quiet), unknown, after(5), 60_000, 60_001), Some(Doubt::LeaseLapsed));
        for ms in (63_000..102_000).step_by(3000) {
            assert_eq!(witness.doubt(Some(&quiet), unknown, after(5), ms, ms + 1), None);
        }
        assert_eq!(witness.doubt(Some(&quiet), unknown, after(5), 102_000, 102_001), unknown);
        assert_eq!(witness.doubt(Some(&quiet), None, after(5), 105_000, 105_001), None);
        assert_eq!(witness.doubt(Some(&quiet), unknown, after(5), 108_000, 108_001), None);
        assert_eq!(
            witness.doubt(Some(&quiet), None, after(5), 111_000, 111_001),
            unknown,
            "the store answers again"
        );
        assert_eq!(witness.doubt(Some(&quiet), None, after(5), 114_000, 114_001), None);
    }
}
