//! Giving memory back when many clients have left.
//!
//! An allocator returns whole pages to the kernel, and the connections that stay are spread over nearly all of them:
//! when nine of ten clients have left at random, hardly a page is empty. So the remaining connections are moved
//! together: they are suspended and resumed in new tasks, for which the allocator takes the lowest free addresses. What
//! the peer or other nodes send meanwhile waits in the kernel and in the mailbox, for about a tenth of a second, longer
//! on a busy node.
//!
//! Connections are moved in batches that free all their old memory before they take new memory, except for the tables
//! of their channels, which are freed afterwards: memory that is freed and wanted again at once comes from the thread's
//! own cache, wherever that is. The mailboxes stay where they are, since other tasks hold them too.
//!
//! In the same way connections are suspended to be handed over to another process ([`Order`]).

use crate::{connection::Connection, shard::Shard, suspended::Suspended};
use beckon_ops::stage::Stage;
use std::{mem, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, oneshot},
    task::yield_now,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

/// Connections that are moved together.
pub(crate) const BATCH_LEN: usize = if cfg!(test) { 8 } else { 4096 };

/// Below this peak of a node, moving connections frees nothing worth the effort.
const PEAK_MIN: u64 = 1024;

/// How often the number of connections is compared with its peak.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// Stop gathering a batch once no connection has arrived for this long; the rest are busy and stay.
const GATHER_PAUSE: Duration = Duration::from_millis(5);

/// Connections that are resumed before other tasks get the thread.
const RESUMED_AT_ONCE: usize = 32;

/// Orders that may wait for a worker.
pub(crate) const ORDERS_MAX: usize = 4;

/// What a worker should do with its connections.
#[derive(Debug)]
pub(crate) enum Order {
    /// Suspend all that are at rest, or come to rest within this time after all were asked, and return them. Ends as soon as nobody
    /// waits for them.
    Park(Duration, oneshot::Sender<Vec<Suspended>>),
    /// Resume these.
    Resume(Vec<Suspended>),
}

/// Moves the connections whenever half of them have left, and obeys orders, until `stage` is asked to stop. Then it resumes what
/// is still suspended and returns.
pub(crate) async fn run(
    shard: Arc<Shard>,
    mut suspended: mpsc::Receiver<Suspended>,
    mut orders: mpsc::Receiver<Order>,
    stage: Stage,
) {
    let mut checks = interval(CHECK_INTERVAL);
    checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let registry = &shard.node.registry;
    loop {
        tokio::select! {
            () = stage.stopping() => break,
            // Came too late for its batch.
            Some(late) = suspended.recv() => {
                resume(&shard, vec![late], &stage).await;
            }
            Some(order) = orders.recv() => match order {
                Order::Park(patience, mut reply) => {
                    let mut parked = Vec::new();
                    tokio::select! {
                        () = reply.closed() => {}
                        () = park_all(&shard, &mut suspended, &mut parked, patience) => {}
                    }
                    if let Err(parked) = reply.send(parked) {
                        resume(&shard, parked, &stage).await;
                    }
                }
                Order::Resume(connections) => {
                    resume(&shard, connections, &stage).await;
                }
            },
            _ = checks.tick() => {
                let (open, peak) = (registry.open_of(shard.worker), registry.peak_of(shard.worker));
                if peak * u64::from(registry.workers()) >= PEAK_MIN && open <= peak / 2 && !shard.node.drain.is_draining() {
                    let moved = compact(&shard, &mut suspended, &stage).await;
                    tracing::info!(connections = open, moved, "many clients have left; compacted memory");
                    registry.reset_peak_of(shard.worker);
                }
            }
        }
    }
    suspended.close();
    let mut rest = Vec::new();
    while suspended.recv_many(&mut rest, BATCH_LEN).await > 0 {}
    resume(&shard, rest, &stage).await;
}

/// Moves all connections that are at rest. Returns how many were moved.
async fn compact(shard: &Arc<Shard>, suspended: &mut mpsc::Receiver<Suspended>, stage: &Stage) -> usize {
    let mut moved = 0;
    for batch in shard.node.registry.all_of(shard.worker).chunks(BATCH_LEN) {
        if shard.node.drain.is_draining() {
            break;
        }
        batch.iter().for_each(|mailbox| mailbox.signal_suspend());
        let mut gathered = Vec::with_capacity(batch.len());
        gather(suspended, batch.len(), &mut gathered).await;
        let resumed = resume(shard, gathered, stage).await;
        shard.node.metrics.connections_moved.inc_by(resumed as u64);
        moved += resumed;
    }
    moved
}

/// Suspends the connections that are at rest, or come to rest within `patience` after all were asked, and adds them to `parked`.
/// Cancel safe.
async fn park_all(
    shard: &Shard,
    suspended: &mut mpsc::Receiver<Suspended>,
    parked: &mut Vec<Suspended>,
    patience: Duration,
) {
    park_at_rest(shard, suspended, parked).await;
    // Those that it has by then.
    let _ = timeout(patience, park(shard, suspended, parked)).await;
}

/// Suspends the connections that are at rest, and adds them to `parked`. That takes as long as their tasks need to have a turn
/// each, however little of a processor there is: a connection that was not asked in time is not busy. Cancel safe.
async fn park_at_rest(shard: &Shard, suspended: &mut mpsc::Receiver<Suspended>, parked: &mut Vec<Suspended>) {
    for batch in shard.node.registry.all_of(shard.worker).chunks(BATCH_LEN) {
        let max = parked.len() + batch.iter().filter(|mailbox| mailbox.ask_to_suspend()).count();
        gather(suspended, max, parked).await;
        while batch.iter().any(|mailbox| mailbox.is_asked_to_suspend()) {
            // One that came too late for an earlier batch may be among them, so there is no telling how many come.
            gather(suspended, parked.len() + batch.len(), parked).await;
        }
    }
}

/// Suspends connections until none has a task, and adds them to `parked`. Those that are at work are asked again and again, so
/// this may never end. Cancel safe.
async fn park(shard: &Shard, suspended: &mut mpsc::Receiver<Suspended>, parked: &mut Vec<Suspended>) {
    loop {
        let all = shard.node.registry.all_of(shard.worker);
        let mut is_complete = true;
        for batch in all.chunks(BATCH_LEN) {
            let asked = batch.iter().filter(|mailbox| mailbox.ask_to_suspend()).count();
            is_complete &= asked == 0;
            let max = parked.len() + asked;
            gather(suspended, max, parked).await;
        }
        if is_complete {
            return;
        }
        sleep(GATHER_PAUSE).await;
    }
}

/// Receives suspended connections until there are `max`, or none has come for a while. Cancel safe.
async fn gather(suspended: &mut mpsc::Receiver<Suspended>, max: usize, gathered: &mut Vec<Suspended>) {
    while gathered.len() < max {
        let missing = max - gathered.len();
        match timeout(GATHER_PAUSE, suspended.recv_many(gathered, missing)).await {
            Ok(1..) => {}
            Ok(0) | Err(_) => break,
        }
    }
}

/// Resumes connections, each in its own task. Returns how many.
async fn resume(shard: &Arc<Shard>, connections: Vec<Suspended>, stage: &Stage) -> usize {
    let mut resumed = 0;
    let mut old_sessions = Vec::with_capacity(connections.len());
    for (index, mut suspended) in connections.into_iter().enumerate() {
        let session = suspended.session.clone();
        old_sessions.push(mem::replace(&mut suspended.session, session));
        match Connection::resume(shard.clone(), suspended) {
            Ok(connection) => {
                stage.spawn(connection.run());
                resumed += 1;
            }
            Err(error) => tracing::warn!(%error, "connection lost while it was suspended"),
        }
        if index % RESUMED_AT_ONCE == RESUMED_AT_ONCE - 1 {
            yield_now().await;
        }
    }
    resumed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_node::{Peer, TestNode};
    use beckon_ops::{shutdown::Shutdown, stage::Stopped};
    use std::task::{Context, Waker};
    use tokio::task::JoinSet;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// A node, and so many peers whose connections are at rest.
    async fn node_with(peers: usize) -> (TestNode, Vec<Peer>) {
        let mut test = TestNode::start(BATCH_LEN.max(peers)).await;
        let mut at_rest = Vec::with_capacity(peers);
        for _ in 0..peers {
            let mut peer = test.peer().await;
            peer.ping().await;
            at_rest.push(peer);
        }
        (test, at_rest)
    }

    #[tokio::test]
    async fn all_connections_at_rest_are_moved() {
        let (mut test, mut peers) = node_with(20).await;
        let stage = Stage::new(&Shutdown::new(), "sockets");
        // Connections of which nothing is heard are not waited for.
        let _silent: Vec<_> = (0..20).filter_map(|_| test.node.registry.enter(0, 100, None)).collect();
        assert_eq!(compact(&test.shard, &mut test.suspended, &stage).await, peers.len());
        assert_eq!(test.node.metrics.connections_moved.get(), peers.len() as u64);
        for peer in &mut peers {
            peer.ping().await;
        }
        drop(peers);
        assert_eq!(stage.stop(PATIENCE).await, Stopped::Complete);
    }

    #[tokio::test]
    async fn all_connections_at_rest_are_parked_however_late_it_is() {
        let (test, mut peers) = node_with(80).await;
        // Connections of which nothing is heard are not waited for.
        let _silent: Vec<_> = (0..10).filter_map(|_| test.node.registry.enter(0, 100, None)).collect();
        let stage = Stage::new(&Shutdown::new(), "sockets");
        let (orders, ordered) = mpsc::channel(ORDERS_MAX);
        stage.spawn(run(test.shard.clone(), test.suspended, ordered, stage.clone()));
        // As on a processor that is given to other processes for most of the time.
        let mut others = JoinSet::new();
        others.spawn(async {
            loop {
                std::thread::sleep(Duration::from_millis(5));
                yield_now().await;
            }
        });
        let (reply, parked) = oneshot::channel();
        orders.send(Order::Park(Duration::ZERO, reply)).await.unwrap();
        let parked = parked.await.unwrap();
        others.shutdown().await;
        assert_eq!(parked.len(), peers.len());
        orders.send(Order::Resume(parked)).await.unwrap();
        for peer in &mut peers {
            peer.ping().await;
        }
        assert_eq!(test.node.metrics.connections_moved.get(), 0, "they were not moved to free memory");
        drop(peers);
        assert_eq!(stage.stop(PATIENCE).await, Stopped::Complete);
    }

    #[tokio::test]
    async fn connections_that_end_while_others_are_parked_are_not_waited_for() {
        let (mut test, mut peers) = node_with(80).await;
        let mut parked = Vec::new();
        let mut parking = Box::pin(park_at_rest(&test.shard, &mut test.suspended, &mut parked));
        // The first batch is asked, and the others are to follow.
        assert!(parking.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        peers.truncate(40);
        // That batch may be of those who leave.
        let most = peers.len() + BATCH_LEN;
        while test.node.registry.open() > most as u64 {
            sleep(GATHER_PAUSE).await;
        }
        timeout(PATIENCE, parking).await.expect("somebody who has left is waited for");
        assert!((peers.len()..=most).contains(&parked.len()), "{} are parked", parked.len());
    }

    #[tokio::test]
    async fn connections_are_served_again_when_nobody_waits_for_them() {
        let (test, mut peers) = node_with(20).await;
        // One whose task never has a turn.
        let stuck = test.node.registry.enter(0, 100, None).unwrap();
        assert!(stuck.mailbox.poll_take(&mut Context::from_waker(Waker::noop()), true).is_pending());
        let stage = Stage::new(&Shutdown::new(), "sockets");
        let (orders, ordered) = mpsc::channel(ORDERS_MAX);
        stage.spawn(run(test.shard.clone(), test.suspended, ordered, stage.clone()));
        let (reply, parked) = oneshot::channel();
        orders.send(Order::Park(Duration::ZERO, reply)).await.unwrap();
        assert!(timeout(Duration::from_millis(50), parked).await.is_err());
        for peer in &mut peers {
            timeout(PATIENCE, peer.ping()).await.expect("the connection has no task");
        }
        drop((peers, stuck));
        assert_eq!(stage.stop(PATIENCE).await, Stopped::Complete);
    }

    #[tokio::test]
    async fn connections_that_are_suspended_when_the_node_stops_are_resumed() {
        let (mut test, peers) = node_with(20).await;
        for mailbox in test.node.registry.all() {
            mailbox.signal_suspend();
        }
        while let Some(ended) = test.running.join_next().await {
            ended.unwrap();
        }
        for mailbox in test.node.registry.all() {
            mailbox.signal_drain();
        }
        let stage = Stage::new(&Shutdown::new(), "sockets");
        let (_orders, orders) = mpsc::channel(ORDERS_MAX);
        stage.spawn(run(test.shard.clone(), test.suspended, orders, stage.clone()));
        let (stopped, ()) = tokio::join!(stage.stop(PATIENCE), async {
            for mut peer in peers {
                assert!(peer.receive().await.is_close());
            }
        });
        assert_eq!(stopped, Stopped::Complete);
        assert_eq!(test.node.registry.open(), 0);
    }
}
