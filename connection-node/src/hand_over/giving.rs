//! The old process: it serves until another one has everything, and goes on if that fails before.

use super::{
    format::{
        self, Abort, Batch, Commit, Complete, Connection, FORMATS, Greeting, Left, Offer, Refusal, Said,
        VERSION,
    },
    step,
};
use crate::{
    compaction::Order, delivery_service::DeliveryService, mailbox, node::Node, suspended::Suspended,
};
use beckon_listener::{port::Port, source::Source};
use beckon_ops::{
    hand_over::{Channel, FILES_MAX, Lock, Place},
    stage::Stage,
    supervisor,
    tenure::Phase,
};
use beckon_types::ConnectionId;
use std::{
    collections::HashSet,
    fmt, io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::{
    net::UnixListener,
    sync::{mpsc, oneshot, watch},
    time::{sleep, timeout},
};

/// Time limit for the other process to say the next thing, and to read what it is sent.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Time limit for the new process to be ready; it announces the node, and reads from the store. Everything is served meanwhile.
const READY_MAX: Duration = Duration::from_secs(30);

/// Time for connections that were accepted to be upgraded. They hold up nothing else.
const SETTLE_MAX: Duration = Duration::from_secs(2);

/// Time for the streams of other nodes to end.
const STREAMS_MAX: Duration = Duration::from_millis(500);

/// Time for sockets to come to rest: a step of the store that is well, and the rest of a message.
const PARK_MAX: Duration = Duration::from_millis(500);

/// How often that is checked.
const CHECK_INTERVAL: Duration = Duration::from_millis(2);

/// The longest time for which nothing is served. The lease lasts longer.
const FROZEN_MAX: Duration = Duration::from_secs(6);

/// Bytes of sessions in a frame. The one that exceeds it is the last in its frame.
const BATCH_WEIGHT: usize = 128 * 1024;

/// Wait after something that is not a hand-over.
const PAUSE: Duration = Duration::from_millis(100);

/// What a node hands over.
#[derive(Debug)]
pub(crate) struct Giver {
    pub(crate) node: Arc<Node>,
    /// To its workers.
    pub(crate) orders: Vec<mpsc::Sender<Order>>,
    pub(crate) delivery: DeliveryService,
    pub(crate) port: Arc<Port>,
    /// Its listening sockets, by their names.
    pub(crate) ports: Vec<(&'static str, OwnedFd)>,
    /// Where other nodes reach it.
    pub(crate) grpc_address: String,
    /// Of the sockets.
    pub(crate) stage: Stage,
    /// How each hand-over has ended.
    pub(crate) results: watch::Sender<Ended>,
}

/// How the last hand-over has ended, if there was one.
pub(crate) type Ended = Option<Result<Given, String>>;

/// What was handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Given {
    /// The process that serves now, if it is known.
    pub(crate) process: Option<u32>,
    pub(crate) sockets: u64,
    /// Sockets that are closed instead.
    pub(crate) closed: u64,
    /// How long nothing was served.
    pub(crate) pause: Duration,
}

/// Why nothing is handed over. The old process serves on.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("the new process is gone")]
    Gone,
    #[error("the new process did not answer in time")]
    TimedOut,
    #[error("the store does not answer the announcement of this node")]
    Store,
    #[error("the new process says: {0}")]
    Aborted(String),
    #[error("{0}")]
    Refused(String),
    #[error("the new process does not keep to the protocol")]
    Protocol,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Sockets that have come to rest.
#[derive(Debug, Default)]
struct Outgoing {
    /// By worker.
    suspended: Vec<Vec<Suspended>>,
    /// Those of them that cannot be sent.
    stay: HashSet<ConnectionId>,
    left: Left,
    sockets: u64,
    /// When the process began to stand still.
    frozen_ms: u64,
}

impl Giver {
    /// Hands over to the first process that connects and can take it; then the program stops. Until then it serves on.
    pub(crate) async fn run(self, place: Place, listener: UnixListener, lock: Lock) {
        loop {
            let Some(accepted) = self.stage.run_until_stopping(Place::accept(&listener)).await else {
                return;
            };
            let given = match accepted {
                Ok(mut channel) => self.serve(&mut channel, &lock).await,
                Err(error) => Err(error.into()),
            };
            match given {
                Ok(given) => {
                    let Given { process, sockets, closed, pause } = given;
                    tracing::info!(process, sockets, closed, ?pause, "another process serves now");
                    self.results.send_replace(Some(Ok(given)));
                    return self.stop(process);
                }
                Err(failed) => {
                    tracing::warn!(reason = %failed, path = %place.path().display(), "nothing is handed over");
                    self.results.send_replace(Some(Err(failed.to_string())));
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// The program ends when the sockets that have stayed are closed.
    fn stop(&self, process: Option<u32>) {
        if let Some(process) = process {
            supervisor::succeeded_by(process);
        }
        self.node.drain.close_at_once();
        self.stage.shutdown().request();
    }

    async fn serve(&self, channel: &mut Channel, lock: &Lock) -> Result<Given, Failed> {
        self.offer(channel, lock.begin_round()?).await?;
        let served = self.freeze_and_give(channel, lock).await;
        if let Err(failed) = &served {
            // The new process may not have read this when this one dies; the round says the same.
            let reason = failed.to_string();
            let abort = format::send(channel, Said::Abort(Abort { reason }), &[]);
            // It may be gone.
            let _ = timeout(ANSWER_MAX, abort).await;
        }
        served
    }

    /// Agrees on a format. Changes nothing.
    async fn offer(&self, channel: &mut Channel, round: u64) -> Result<(), Failed> {
        let (Said::Greeting(Greeting { reads, version }), _) = answer(channel).await? else {
            return Err(Failed::Protocol);
        };
        tracing::info!(version, "another process asks for what this one serves");
        let is_stopping = self.stage.shutdown().is_requested();
        let format = FORMATS.iter().copied().find(|format| reads.contains(format));
        let refused = match format {
            _ if is_stopping => Err("this process is stopping".to_owned()),
            None => Err(format!(
                "this process writes the formats {FORMATS:?} of a hand-over, and the new one reads {reads:?}; restart instead"
            )),
            Some(format) => Ok(format),
        };
        let format = match refused {
            Ok(format) => format,
            Err(reason) => {
                let refusal = Said::Refusal(Refusal { reason: reason.clone(), is_stopping });
                say(channel, refusal, &[]).await?;
                return Err(Failed::Refused(reason));
            }
        };
        let offer = Offer {
            format,
            version: VERSION.to_owned(),
            node: self.node.id.0,
            grpc_address: self.grpc_address.clone(),
            ports: self.ports.iter().map(|(name, _)| (*name).to_owned()).collect(),
            clock_ms: self.node.clock.now_ms(),
            epoch: self.node.epoch.load(Ordering::Relaxed),
            round,
            tables: self.node.registry.generations().len() as u32,
        };
        let files: Vec<_> = self.ports.iter().map(|(_, socket)| socket.as_fd()).collect();
        say(channel, Said::Offer(offer), &files).await?;
        step("offered");
        match answer_within(READY_MAX, channel).await? {
            (Said::Ready(_), _) => Ok(()),
            (Said::Abort(Abort { reason }), _) => Err(Failed::Aborted(reason)),
            _ => Err(Failed::Protocol),
        }
    }

    /// Stands still, and hands over. If that fails, the process goes on where it was.
    async fn freeze_and_give(&self, channel: &mut Channel, lock: &Lock) -> Result<Given, Failed> {
        let tenure = &self.node.tenure;
        tenure.enter(Phase::Settling);
        until(SETTLE_MAX, || self.port.open_connections() == 0).await;
        let Ok(_announcing) = timeout(ANSWER_MAX, self.node.announcing.lock()).await else {
            tenure.enter(Phase::Serving);
            return Err(Failed::Store);
        };
        tenure.enter(Phase::Frozen);
        let frozen_us = self.node.clock.now_us();
        let mut outgoing = Outgoing { frozen_ms: frozen_us / 1000, ..Outgoing::default() };
        let given = timeout(FROZEN_MAX, self.give(channel, &mut outgoing)).await;
        let committed = match given.unwrap_or(Err(Failed::TimedOut)) {
            // From here on the new process serves, whatever becomes of it.
            Ok(()) => timeout(ANSWER_MAX, commit(channel, lock)).await.unwrap_or(Err(Failed::TimedOut)),
            Err(failed) => Err(failed),
        };
        if let Err(failed) = committed {
            if let Err(error) = lock.begin_round() {
                tracing::error!(%error, "cannot write to the lock of hand-overs");
            }
            self.resume(outgoing.suspended).await;
            tenure.enter(Phase::Serving);
            return Err(failed);
        }
        tenure.enter(Phase::Over);
        let pause = Duration::from_micros(self.node.clock.now_us() - frozen_us);
        let Outgoing { mut suspended, stay, left, sockets, .. } = outgoing;
        for suspended in &mut suspended {
            // The other sockets stay open: they are the new process's as well.
            suspended.retain(|suspended| stay.contains(&suspended.registration.id));
        }
        self.resume(suspended).await;
        step("committed");
        // Only for the log and the operator.
        let _ = timeout(ANSWER_MAX, format::receive(channel)).await;
        let Left { tls, busy } = left;
        Ok(Given { process: channel.peer_process(), sockets, closed: tls + busy, pause })
    }

    /// Sends everything, until the new process has prepared it.
    async fn give(&self, channel: &mut Channel, outgoing: &mut Outgoing) -> Result<(), Failed> {
        until(STREAMS_MAX, || self.delivery.streams() == 0).await;
        self.park(outgoing).await;
        step("frozen");
        self.send_all(channel, outgoing).await?;
        let Outgoing { left, sockets, frozen_ms, .. } = *outgoing;
        let generations = self.node.registry.generations();
        let complete = Complete { connections: sockets, generations, left, frozen_ms };
        say(channel, Said::Complete(complete), &[]).await?;
        step("complete");
        match answer(channel).await? {
            (Said::Prepared(_), _) => Ok(()),
            (Said::Abort(Abort { reason }), _) => Err(Failed::Aborted(reason)),
            _ => Err(Failed::Protocol),
        }
    }

    /// Takes all sockets that come to rest out of their tasks.
    async fn park(&self, outgoing: &mut Outgoing) {
        let mut replies = Vec::with_capacity(self.orders.len());
        for orders in &self.orders {
            let (reply, parked) = oneshot::channel();
            // Fails only if the worker has ended, which ends the program.
            let _ = orders.send(Order::Park(PARK_MAX, reply)).await;
            replies.push(parked);
        }
        for parked in replies {
            outgoing.suspended.push(parked.await.unwrap_or_default());
        }
    }

    /// Sends what can be sent, and counts what cannot.
    async fn send_all(&self, channel: &mut Channel, outgoing: &mut Outgoing) -> Result<(), Failed> {
        let Outgoing { suspended, stay, left, sockets, .. } = outgoing;
        let mut parked = 0;
        for suspended in suspended.iter() {
            let (mut batch, mut files, mut weight) = (Vec::new(), Vec::new(), 0);
            for suspended in suspended {
                parked += 1;
                let Some(tcp) = suspended.stream.as_plain() else {
                    left.tls += 1;
                    stay.insert(suspended.registration.id);
                    continue;
                };
                let Some(connection) = self.connection(suspended) else {
                    left.busy += 1;
                    stay.insert(suspended.registration.id);
                    continue;
                };
                weight += prost::Message::encoded_len(&connection);
                batch.push(connection);
                files.push(tcp.as_fd());
                *sockets += 1;
                if files.len() == FILES_MAX || weight >= BATCH_WEIGHT {
                    send_batch(channel, std::mem::take(&mut batch), &files).await?;
                    (files, weight) = (Vec::new(), 0);
                }
            }
            if !batch.is_empty() {
                send_batch(channel, batch, &files).await?;
            }
        }
        left.busy += self.node.registry.open().saturating_sub(parked);
        Ok(())
    }

    /// A socket as data. `None` if it has to end.
    fn connection(&self, suspended: &Suspended) -> Option<Connection> {
        let Suspended { session, registration, .. } = suspended;
        let missed = registration.mailbox.left()? == mailbox::Left::Missed;
        Some(Connection {
            id: registration.id.0,
            source: registration.source.map_or(0, Source::number),
            missed,
            entered_s: self.node.registry.entered_s(registration.id)?,
            session: session.park()?,
        })
    }

    /// Goes on with the sockets.
    async fn resume(&self, suspended: Vec<Vec<Suspended>>) {
        for (orders, suspended) in self.orders.iter().zip(suspended) {
            let _ = orders.send(Order::Resume(suspended)).await;
        }
    }
}

async fn send_batch(
    channel: &mut Channel,
    connections: Vec<Connection>,
    files: &[BorrowedFd<'_>],
) -> Result<(), Failed> {
    say(channel, Said::Batch(Batch { connections }), files).await
}

async fn commit(channel: &mut Channel, lock: &Lock) -> Result<(), Failed> {
    step("prepared");
    Ok(format::send(channel, Said::Commit(Commit {}), &[lock.to_pass_on()]).await?)
}

async fn say(channel: &mut Channel, said: Said, files: &[BorrowedFd<'_>]) -> Result<(), Failed> {
    let sent = timeout(ANSWER_MAX, format::send(channel, said, files)).await;
    Ok(sent.map_err(|_| Failed::TimedOut)??)
}

async fn answer(channel: &mut Channel) -> Result<(Said, Vec<OwnedFd>), Failed> {
    answer_within(ANSWER_MAX, channel).await
}

async fn answer_within(limit: Duration, channel: &mut Channel) -> Result<(Said, Vec<OwnedFd>), Failed> {
    let received = timeout(limit, format::receive(channel)).await;
    received.map_err(|_| Failed::TimedOut)??.ok_or(Failed::Gone)
}

/// Waits until something is so, or the time is over.
async fn until(limit: Duration, is_so: impl Fn() -> bool) {
    let reached = async {
        while !is_so() {
            sleep(CHECK_INTERVAL).await;
        }
    };
    let _ = timeout(limit, reached).await;
}

impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sockets, closed, pause, .. } = self;
        write!(f, "{sockets} sockets handed over in {pause:?}, {closed} closed")
    }
}
