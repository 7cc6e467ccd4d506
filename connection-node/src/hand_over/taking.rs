//! The new process: it prepares everything, and serves as soon as the old one says so or has died.

use super::{
    format::{
        self, Abort, Batch, Complete, Connection, FORMATS, Greeting, Left, Offer, Prepared, Ready, Said,
        Serving, VERSION,
    },
    step,
};
use crate::node::Former;
use beckon_ops::{
    clock::Clock,
    exit::Failure,
    hand_over::{Channel, Lock, Occupant, Place},
    listener::Listener,
    process,
};
use beckon_types::NodeId;
use std::{io, net, os::fd::OwnedFd, time::Duration};
use tokio::time::{sleep, timeout};

/// How long a process that does not answer is waited for. Then it is more likely that it should be looked at.
const FIND_MAX: Duration = Duration::from_secs(60);

/// Wait before it is asked again.
const FIND_INTERVAL: Duration = Duration::from_millis(200);

/// Time limit for the old process to say the next thing, before this one has everything. It may have to wait for steps of the
/// store.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// How a process begins.
#[derive(Debug)]
pub(crate) enum Beginning {
    /// No other process serves.
    Alone(Lock),
    /// Another process serves, and would hand over.
    Offered(Box<Offered>),
}

/// What another process would hand over. It serves on meanwhile.
#[derive(Debug)]
pub(crate) struct Offered {
    pub(crate) former: Former,
    /// What the clock of the node read when `read` read zero.
    clock_ms: u64,
    read: Clock,
    pub(crate) grpc_address: String,
    /// Its listening sockets, by their names.
    ports: Vec<(String, OwnedFd)>,
    round: u64,
    channel: Channel,
    place: Place,
}

/// What another process has sent, and still may decide to keep.
#[derive(Debug)]
pub(crate) struct Inheritance {
    /// Its WebSockets.
    pub(super) connections: Vec<(Connection, net::TcpStream)>,
    pub(super) generations: Vec<u32>,
    pub(super) left: Left,
    pub(super) frozen_ms: u64,
}

/// Why nothing was taken over.
#[derive(Debug, thiserror::Error)]
enum Failed {
    /// The old process stops or has ended, or does not listen yet.
    #[error("{0}")]
    Gone(String),
    #[error("the process that serves here does not hand over: {0}")]
    Refused(String),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Gone(error.to_string())
    }
}

/// Takes the lock if it is free, or asks the process that holds it.
///
/// # Errors
/// The place is not usable, or that process does not hand over.
pub(crate) async fn begin(place: &Place) -> Result<Beginning, Failure> {
    let begin = async {
        loop {
            if let Occupant::Myself(lock) = place.occupy().map_err(Failure::unavailable)? {
                return Ok(Beginning::Alone(lock));
            }
            match ask(place).await {
                Ok(offered) => return Ok(Beginning::Offered(Box::new(offered))),
                Err(Failed::Gone(reason)) => {
                    tracing::info!(reason, "another process serves here and does not answer; trying again");
                }
                Err(failed @ Failed::Refused(_)) => return Err(Failure::unavailable(failed)),
            }
            sleep(FIND_INTERVAL).await;
        }
    };
    timeout(FIND_MAX, begin).await.unwrap_or_else(|_| {
        let path = place.path().display();
        Err(Failure::unavailable(format!("another process has the lock of {path} and does not answer there")))
    })
}

/// Agrees on a format.
async fn ask(place: &Place) -> Result<Offered, Failed> {
    let mut channel = place.connect().await.map_err(|error| Failed::Gone(error.to_string()))?;
    let greeting = Greeting { reads: FORMATS.to_vec(), version: VERSION.to_owned() };
    format::send(&mut channel, Said::Greeting(greeting), &[]).await?;
    let (offer, files) = match answer(&mut channel).await? {
        (Said::Offer(offer), files) if offer.ports.len() == files.len() => (offer, files),
        (Said::Refusal(refusal), _) if refusal.is_stopping => return Err(Failed::Gone(refusal.reason)),
        (Said::Refusal(refusal), _) => return Err(Failed::Refused(refusal.reason)),
        _ => return Err(protocol()),
    };
    let read = Clock::start();
    let Offer { version, node, grpc_address, ports, clock_ms, epoch, round, tables, .. } = offer;
    let tables = u8::try_from(tables).map_err(|_| protocol())?;
    tracing::info!(version, "taking over from the process that serves here");
    step("offered");
    Ok(Offered {
        former: Former { id: NodeId(node), tables, epoch },
        clock_ms,
        read,
        grpc_address,
        ports: ports.into_iter().zip(files).collect(),
        round,
        channel,
        place: place.clone(),
    })
}

impl Offered {
    /// What the clock of the node reads now.
    pub(crate) fn clock_ms(&self) -> u64 {
        self.clock_ms.saturating_add(self.read.now_ms())
    }

    /// Lets the old process stand still, and receives everything. If that one dies before it has sent all, this process starts over
    /// as the first.
    ///
    /// # Errors
    /// The old process serves on.
    pub(crate) async fn receive(&mut self) -> Result<Inheritance, Failure> {
        let failed = match self.receive_all().await {
            Ok(inheritance) => return Ok(inheritance),
            Err(failed) => failed,
        };
        if let Failed::Gone(_) = failed
            && let Occupant::Myself(_) = self.place.occupy_after_end().await.map_err(Failure::unavailable)?
        {
            tracing::warn!("the other process has died; this one starts over");
            return Err(Failure::unavailable(process::start_over()));
        }
        Err(Failure::unavailable(format!("the other process serves on: {failed}")))
    }

    async fn receive_all(&mut self) -> Result<Inheritance, Failed> {
        let channel = &mut self.channel;
        format::send(channel, Said::Ready(Ready {}), &[]).await?;
        let mut connections = Vec::new();
        let complete = loop {
            match answer(channel).await? {
                (Said::Batch(Batch { connections: batch }), files) if batch.len() == files.len() => {
                    connections.extend(batch.into_iter().zip(files.into_iter().map(net::TcpStream::from)));
                }
                (Said::Complete(complete), _) => break complete,
                (Said::Abort(Abort { reason }), _) => return Err(Failed::Refused(reason)),
                _ => return Err(protocol()),
            }
        };
        let Complete { connections: count, generations, left, frozen_ms } = complete;
        if connections.len() as u64 != count || generations.len() != usize::from(self.former.tables) {
            return Err(protocol());
        }
        Ok(Inheritance { connections, generations, left, frozen_ms })
    }

    /// The port with this name, if the old process had it. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The runtime does not take it.
    pub(crate) fn port(&mut self, name: &str) -> io::Result<Option<Listener>> {
        let index = self.ports.iter().position(|(port, _)| port == name);
        index.map(|index| Listener::handed_over(self.ports.swap_remove(index).1)).transpose()
    }

    /// Tells the old process that everything is prepared, and waits until this one should serve: as long as the old one lives
    /// and does not say. It may be stopped; both of them serving is the worst that can happen.
    ///
    /// # Errors
    /// The old process serves on, or nobody knows what became of what it has served.
    pub(crate) async fn confirm(mut self) -> Result<Successor, Failure> {
        step("complete");
        let mut is_said = format::send(&mut self.channel, Said::Prepared(Prepared {}), &[]).await.is_ok();
        step("prepared");
        while is_said {
            match format::receive(&mut self.channel).await {
                Ok(Some((Said::Commit(_), mut files))) if files.len() == 1 => {
                    step("committed");
                    let lock = Lock::passed_on(files.remove(0));
                    return Ok(Successor { lock, channel: Some(self.channel) });
                }
                Ok(Some((Said::Abort(Abort { reason }), _))) => {
                    return Err(Failure::unavailable(format!("the other process serves on: {reason}")));
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => is_said = false,
            }
        }
        match self.place.occupy_after_end().await.map_err(Failure::unavailable)? {
            Occupant::Myself(lock) if lock.round() == self.round => {
                tracing::warn!("the other process has died; this one serves in its place");
                Ok(Successor { lock, channel: None })
            }
            Occupant::Myself(_) => Err(Failure::unavailable("the other process went on, and has died")),
            Occupant::Other => Err(Failure::unavailable("the other process serves on")),
        }
    }

    /// Tells the old process that this one cannot go on.
    pub(crate) async fn decline(mut self, failure: Failure) -> Failure {
        let abort = Said::Abort(Abort { reason: failure.message.clone() });
        // It notices the end as well.
        let _ = timeout(ANSWER_MAX, format::send(&mut self.channel, abort, &[])).await;
        failure
    }
}

/// The process that serves now.
#[derive(Debug)]
pub(crate) struct Successor {
    pub(crate) lock: Lock,
    channel: Option<Channel>,
}

impl Successor {
    /// Tells the old process that this one serves. Returns the lock.
    pub(crate) async fn serves(self) -> Lock {
        if let Some(mut channel) = self.channel {
            // It is only interested.
            let _ = timeout(ANSWER_MAX, format::send(&mut channel, Said::Serving(Serving {}), &[])).await;
        }
        self.lock
    }
}

async fn answer(channel: &mut Channel) -> Result<(Said, Vec<OwnedFd>), Failed> {
    let received = timeout(ANSWER_MAX, format::receive(channel)).await;
    received
        .map_err(|_| Failed::Gone("it did not answer in time".to_owned()))??
        .ok_or_else(|| Failed::Gone("it has ended".to_owned()))
}

fn protocol() -> Failed {
    Failed::Refused("it does not keep to the protocol".to_owned())
}
