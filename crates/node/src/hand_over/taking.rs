//! The new process: it prepares everything, and serves as soon as the old one says so or has died.

use super::{
    format::{self, Abort, Batch, Complete, FORMATS, Greeting, Kind, Offer, Prepared, Ready, Said, Serving},
    requests::read,
    seat::{Seat, step},
};
use beckon_listener::port::Rested;
use beckon_ops::{
    clock::Clock,
    exit::Failure,
    hand_over::{Channel, Lock, Occupant, Place},
    listener::{Listener, bind},
    process,
    program::Build,
    shutdown::Shutdown,
};
use std::{
    io,
    net::{self, SocketAddr},
    os::fd::OwnedFd,
    path::Path,
    time::Duration,
};
use tokio::time::{sleep, timeout};

/// How long a process that does not answer is waited for. Then it is more likely that it should be looked at.
const FIND_MAX: Duration = Duration::from_secs(60);

/// Wait before it is asked again.
const FIND_INTERVAL: Duration = Duration::from_millis(200);

/// Time limit for the old process to say the next thing, before this one has everything. It may have to wait for steps of the
/// store, and for a checkpoint.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// How a process begins.
#[derive(Debug)]
pub enum Beginning {
    /// No other process serves. Where this one hands over, if it does.
    Alone(Option<Seat>),
    /// Another process serves, and would hand over.
    Offered(Box<Offered>),
}

/// What another process would hand over. It serves on meanwhile.
#[derive(Debug)]
pub struct Offered {
    /// What it says of itself.
    pub about: Vec<u8>,
    /// What its clock read when `read` read zero.
    clock_ms: u64,
    read: Clock,
    /// Its listening sockets, by their names.
    ports: Vec<(String, OwnedFd)>,
    format: u32,
    round: u64,
    channel: Channel,
    place: Place,
}

/// What another process has sent, and still may decide to keep.
#[derive(Debug, Default)]
pub struct Inheritance {
    /// Its WebSockets, and what it says of each.
    pub sockets: Vec<(Vec<u8>, net::TcpStream)>,
    /// Its HTTP connections.
    pub requests: Vec<Rested>,
    /// What it says besides.
    pub rest: Vec<u8>,
    /// When it began to stand still, in milliseconds of the clock.
    pub frozen_ms: u64,
}

/// Why nothing was taken over.
#[derive(Debug, thiserror::Error)]
enum Failed {
    /// The old process stops or has ended, or does not listen yet.
    #[error("{0}")]
    Gone(String),
    #[error("the process that serves here does not hand over: {0}")]
    Refused(String),
    /// The old process closes its ports.
    #[error("the process that serves here is stopping")]
    Stopping,
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Gone(error.to_string())
    }
}

/// Takes the lock at this place if it is free, or asks the process that holds it, which has to be of the same program. `None` if
/// `shutdown` is requested first.
///
/// # Errors
/// The place is not usable, or that process does not hand over.
pub async fn begin(
    build: Build,
    place: Option<&Path>,
    shutdown: &Shutdown,
) -> Result<Option<Beginning>, Failure> {
    let Some(place) = place else { return Ok(Some(Beginning::Alone(None))) };
    tokio::select! {
        beginning = begin_at(build, place) => beginning.map(Some),
        () = shutdown.requested() => Ok(None),
    }
}

async fn begin_at(build: Build, place: &Path) -> Result<Beginning, Failure> {
    let place = Place::at(place).map_err(|error| Failure::usage(format!("hand_over: {error}")))?;
    let begin = async {
        loop {
            if let Occupant::Myself(lock) = place.occupy().map_err(Failure::unavailable)? {
                return Ok(Beginning::Alone(Some(Seat { place: place.clone(), lock })));
            }
            match ask(build, &place).await {
                Ok(offered) => return Ok(Beginning::Offered(Box::new(offered))),
                Err(Failed::Gone(reason)) => {
                    tracing::info!(reason, "another process serves here and does not answer; trying again");
                }
                Err(failed @ (Failed::Refused(_) | Failed::Stopping)) => {
                    return Err(Failure::unavailable(failed));
                }
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
async fn ask(build: Build, place: &Place) -> Result<Offered, Failed> {
    let mut channel = place.connect().await.map_err(|error| Failed::Gone(error.to_string()))?;
    let greeting = Greeting {
        reads: FORMATS.to_vec(),
        version: build.version.to_owned(),
        program: build.source.to_owned(),
    };
    format::send(&mut channel, Said::Greeting(greeting), &[]).await?;
    let (offer, files) = match answer(&mut channel).await? {
        (Said::Offer(offer), files) if offer.ports.len() == files.len() => (offer, files),
        (Said::Refusal(refusal), _) if refusal.is_stopping => return Err(Failed::Gone(refusal.reason)),
        (Said::Refusal(refusal), _) => return Err(Failed::Refused(refusal.reason)),
        _ => return Err(protocol()),
    };
    let read = Clock::start();
    let Offer { format, version, about, ports, clock_ms, round } = offer;
    if !FORMATS.contains(&format) {
        return Err(protocol());
    }
    tracing::info!(version, format, "taking over from the process that serves here");
    step("offered");
    let ports = ports.into_iter().zip(files).collect();
    Ok(Offered { about, clock_ms, read, ports, format, round, channel, place: place.clone() })
}

impl Offered {
    /// The clock of the old process, for this one to go on with.
    pub fn clock(&self) -> Clock {
        Clock::continuing(self.clock_ms.saturating_add(self.read.now_ms()))
    }

    /// Lets the old process stand still, and receives everything. If that one stops or dies before it has sent all, this process
    /// starts over, as the first.
    ///
    /// # Errors
    /// The old process serves on.
    pub async fn receive(&mut self) -> Result<Inheritance, Failure> {
        let failed = match self.receive_all().await {
            Ok(inheritance) => return Ok(inheritance),
            Err(failed) => failed,
        };
        let starts_over = match failed {
            Failed::Gone(_) => {
                let occupant = self.place.occupy_after_end().await.map_err(Failure::unavailable)?;
                matches!(occupant, Occupant::Myself(_))
            }
            Failed::Refused(_) => false,
            Failed::Stopping => true,
        };
        if starts_over {
            tracing::warn!(reason = %failed, "the other process has ended, or does so soon; this one starts over");
            return Err(Failure::unavailable(process::start_over()));
        }
        Err(Failure::unavailable(format!("the other process serves on: {failed}")))
    }

    async fn receive_all(&mut self) -> Result<Inheritance, Failed> {
        let channel = &mut self.channel;
        // It may have said why not and be gone.
        let _ = format::send(channel, Said::Ready(Ready {}), &[]).await;
        let mut inheritance = Inheritance::default();
        #[cfg_attr(not(feature = "next-format"), expect(unused_mut, reason = "no format has it"))]
        let mut has_added = false;
        let complete = loop {
            match answer(channel).await? {
                (Said::Batch(batch), files) if batch.connections.len() == files.len() => {
                    let kind = Kind::try_from(batch.kind).map_err(|_| protocol())?;
                    let Batch { connections: batch, .. } = batch;
                    for (connection, tcp) in
                        batch.into_iter().zip(files.into_iter().map(net::TcpStream::from))
                    {
                        match kind {
                            Kind::Socket => inheritance.sockets.push((connection, tcp)),
                            Kind::Request => {
                                inheritance.requests.push(read(&connection, tcp).ok_or_else(protocol)?);
                            }
                        }
                    }
                }
                (Said::Complete(complete), _) => break complete,
                (Said::Abort(Abort { is_stopping: true, .. }), _) => return Err(Failed::Stopping),
                (Said::Abort(Abort { reason, .. }), _) => return Err(Failed::Refused(reason)),
                #[cfg(feature = "next-format")]
                (Said::Added(_), _) => has_added = true,
                _ => return Err(protocol()),
            }
        };
        let Complete { connections: count, rest, frozen_ms } = complete;
        let received = inheritance.sockets.len() + inheritance.requests.len();
        if received as u64 != count || has_added != (self.format > 1) {
            return Err(protocol());
        }
        Ok(Inheritance { rest, frozen_ms, ..inheritance })
    }

    /// The port with this name at this address: that of the old process if it has it, or a new one. `setting` is its name in error
    /// messages. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// A new one cannot be bound, or the runtime does not take the old one.
    pub fn port(
        &mut self,
        name: &str,
        setting: &'static str,
        address: SocketAddr,
    ) -> Result<Listener, Failure> {
        if let Some(index) = self.ports.iter().position(|(port, _)| port == name) {
            let (_, socket) = self.ports.swap_remove(index);
            let port = Listener::handed_over(socket).map_err(Failure::unavailable)?;
            if port.local_addr().is_ok_and(|had| is_same(had, address)) {
                return Ok(port);
            }
        }
        Ok(bind(setting, address)?)
    }

    /// Tells the old process that everything is prepared, and waits until this one should serve: as long as the old one lives
    /// and does not say. It may be stopped; both of them serving is the worst that can happen.
    ///
    /// # Errors
    /// The old process serves on, or nobody knows what became of what it has served.
    pub async fn confirm(mut self) -> Result<Successor, Failure> {
        step("complete");
        let mut is_said = format::send(&mut self.channel, Said::Prepared(Prepared {}), &[]).await.is_ok();
        step("prepared");
        while is_said {
            match format::receive(&mut self.channel).await {
                Ok(Some((Said::Commit(_), mut files))) if files.len() == 1 => {
                    step("committed");
                    let seat = Seat { place: self.place, lock: Lock::passed_on(files.remove(0)) };
                    return Ok(Successor { seat, channel: Some(self.channel) });
                }
                Ok(Some((Said::Abort(Abort { reason, .. }), _))) => {
                    return Err(Failure::unavailable(format!("the other process serves on: {reason}")));
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => is_said = false,
            }
        }
        match self.place.occupy_after_end().await.map_err(Failure::unavailable)? {
            Occupant::Myself(lock) if lock.round() == self.round => {
                tracing::warn!("the other process has died; this one serves in its place");
                Ok(Successor { seat: Seat { place: self.place, lock }, channel: None })
            }
            Occupant::Myself(_) => Err(Failure::unavailable("the other process went on, and has died")),
            Occupant::Other => Err(Failure::unavailable("the other process serves on")),
        }
    }

    /// Tells the old process that this one cannot go on.
    pub async fn decline(mut self, failure: Failure) -> Failure {
        let abort = Said::Abort(Abort { reason: failure.message.clone(), is_stopping: false });
        // It notices the end as well.
        let _ = timeout(ANSWER_MAX, format::send(&mut self.channel, abort, &[])).await;
        failure
    }
}

/// The process that serves now.
#[derive(Debug)]
pub struct Successor {
    seat: Seat,
    channel: Option<Channel>,
}

impl Successor {
    /// Tells the old process that this one serves. Returns what it takes to hand over to the next one.
    pub async fn serves(self) -> Seat {
        if let Some(mut channel) = self.channel {
            // It is only interested.
            let _ = timeout(ANSWER_MAX, format::send(&mut channel, Said::Serving(Serving {}), &[])).await;
        }
        self.seat
    }
}

/// Whether a port with this address is the one that a setting names; the setting may leave the number to the system.
fn is_same(had: SocketAddr, named: SocketAddr) -> bool {
    had.ip() == named.ip() && (named.port() == 0 || had.port() == named.port())
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
