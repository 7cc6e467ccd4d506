//! The old process: it serves until another one has everything, and goes on if that fails before.

use super::{
    format::{self, Abort, Batch, Commit, Complete, FORMATS, Greeting, Kind, Offer, Refusal, Said},
    seat::{PortFiles, Seat, step},
};
use beckon_ops::{
    clock::Clock,
    hand_over::{Channel, FILES_MAX, Lock, Place},
    program::Build,
    stage::Stage,
    supervisor,
    tenure::{Phase, Tenure},
};
use std::{
    fmt, io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    time::Duration,
};
use tokio::{
    net::UnixListener,
    sync::watch,
    time::{sleep, timeout},
};

/// Time limit for the other process to say the next thing, and to read what it is sent.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Time limit for saying that nothing is handed over. Nothing is served meanwhile.
const ABORT_MAX: Duration = Duration::from_millis(500);

/// Time limit for the new process to be ready; it announces the node, and reads from the store. Everything is served meanwhile.
const READY_MAX: Duration = Duration::from_secs(30);

/// Bytes of connections in a frame. The one that exceeds it is the last in its frame.
const BATCH_WEIGHT: usize = 128 * 1024;

/// The longest time for which nothing is served. The lease of a node lasts longer.
const FROZEN_MAX: Duration = Duration::from_secs(6);

/// Wait after something that is not a hand-over.
const PAUSE: Duration = Duration::from_millis(100);

/// What a program hands over, in the order in which it is asked. Each of these has a time limit of its own, and all from
/// [`Holdings::park`] on have six seconds together.
pub trait Holdings: fmt::Debug + Send + Sync + 'static {
    /// What the new process has to know before it is ready.
    fn about(&self) -> Vec<u8>;

    /// Does what takes long and can be done before. Everything is served meanwhile.
    fn prepare(&mut self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }

    /// Lets what cannot be handed over come to its end. Everything but new connections is served meanwhile.
    ///
    /// # Errors
    /// It does not.
    fn settle(&mut self) -> impl Future<Output = Result<(), Failed>> + Send;

    /// Stands still: what comes from now on waits.
    ///
    /// # Errors
    /// It cannot.
    fn park(&mut self) -> impl Future<Output = Result<(), Failed>> + Send;

    /// Sends everything that can be sent.
    ///
    /// # Errors
    /// The other process is gone, or does not read.
    fn send(&mut self, outgoing: &mut Outgoing<'_>) -> impl Future<Output = Result<Rest, Failed>> + Send;

    /// Nothing is handed over: goes on with everything.
    fn resume(&mut self) -> impl Future<Output = ()> + Send;

    /// Another process serves: goes on with what could not be sent, until that has ended. The program stops after this.
    fn leave(&mut self) -> impl Future<Output = ()> + Send;
}

/// What a program says besides its connections.
#[derive(Debug, Default)]
pub struct Rest {
    /// What the new process has to know.
    pub bytes: Vec<u8>,
    /// Connections that could not be sent, and are closed instead.
    pub closed: u64,
}

/// How the last hand-over has ended, if there was one.
pub(super) type Ended = Option<Result<Given, String>>;

/// What was handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Given {
    /// The process that serves now, if it is known.
    pub(super) process: Option<u32>,
    pub(super) sent: Sent,
    /// Connections that are closed instead.
    pub(super) closed: u64,
    /// How long nothing was served.
    pub(super) pause: Duration,
}

/// How many connections were sent, by their kinds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sent {
    /// WebSockets.
    pub(super) sockets: u64,
    /// HTTP connections.
    pub(super) requests: u64,
}

/// Why nothing is handed over. The old process serves on.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// The connection between the processes has ended.
    #[error("the new process is gone")]
    Gone,
    /// It is alive.
    #[error("the new process did not answer in time")]
    TimedOut,
    /// The node cannot be handed over while it is being announced.
    #[error("the store does not answer the announcement of this node")]
    Announcement,
    /// The embedded store does not come to rest.
    #[error("the store does not close: {0}")]
    Store(String),
    /// It closes its ports, which the new process would have as well.
    #[error("this process is stopping")]
    Stopping,
    /// In its own words.
    #[error("the new process says: {0}")]
    Aborted(String),
    /// In the words of this process.
    #[error("{0}")]
    Refused(String),
    /// It is another program.
    #[error("the new process does not keep to the protocol")]
    Protocol,
    /// The system reports it.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Hands a program over.
#[derive(Debug)]
pub struct Giver<H> {
    /// Which program it is.
    pub build: Build,
    /// What it has.
    pub holdings: H,
    /// Whether this process serves.
    pub tenure: Tenure,
    /// The clock that the next process continues.
    pub clock: Clock,
    /// Its listening sockets.
    pub ports: PortFiles,
    /// Owns the work.
    pub stage: Stage,
}

impl<H: Holdings> Giver<H> {
    /// Hands over to the first process that connects and can take everything; then the program stops. Until then it serves on.
    pub(super) async fn run(mut self, seat: Seat, listener: UnixListener, results: watch::Sender<Ended>) {
        let Seat { place, lock } = seat;
        let stage = self.stage.clone();
        loop {
            let Some(accepted) = stage.run_until_stopping(Place::accept(&listener)).await else { return };
            let given = match accepted {
                Ok(mut channel) => self.serve(&mut channel, &lock).await,
                Err(error) => Err(error.into()),
            };
            match given {
                Ok(given) => {
                    let Given { process, sent, closed, pause } = given;
                    let Sent { sockets, requests } = sent;
                    tracing::info!(process, sockets, requests, closed, ?pause, "another process serves now");
                    results.send_replace(Some(Ok(given)));
                    if let Some(process) = process {
                        supervisor::succeeded_by(process);
                    }
                    stage.shutdown().request();
                    return;
                }
                Err(failed) => {
                    tracing::warn!(reason = %failed, path = %place.path().display(), "nothing is handed over");
                    results.send_replace(Some(Err(failed.to_string())));
                    sleep(PAUSE).await;
                }
            }
        }
    }

    async fn serve(&mut self, channel: &mut Channel, lock: &Lock) -> Result<Given, Failed> {
        let format = self.offer(channel, lock.begin_round()?).await?;
        self.freeze_and_give(channel, lock, format).await
    }

    /// Agrees on a format. Changes nothing.
    async fn offer(&self, channel: &mut Channel, round: u64) -> Result<u32, Failed> {
        let (Said::Greeting(greeting), _) = answer(channel).await? else {
            return Err(Failed::Protocol);
        };
        let format = match self.agree(&greeting) {
            Ok(format) => format,
            Err(reason) => {
                let is_stopping = self.stage.shutdown().is_requested();
                let refusal = Said::Refusal(Refusal { reason: reason.clone(), is_stopping });
                say(channel, refusal, &[]).await?;
                return Err(Failed::Refused(reason));
            }
        };
        let offer = Offer {
            format,
            version: self.build.version.to_owned(),
            about: self.holdings.about(),
            ports: self.ports.iter().map(|(name, _)| (*name).to_owned()).collect(),
            clock_ms: self.clock.now_ms(),
            round,
        };
        let files: Vec<_> = self.ports.iter().map(|(_, socket)| socket.as_fd()).collect();
        say(channel, Said::Offer(offer), &files).await?;
        step("offered");
        let answered = tokio::select! {
            answered = answer_within(READY_MAX, channel) => answered?,
            () = self.stage.shutdown().requested() => {
                abort(channel, &Failed::Stopping).await;
                return Err(Failed::Stopping);
            }
        };
        match answered {
            (Said::Ready(_), _) => Ok(format),
            (Said::Abort(Abort { reason, .. }), _) => Err(Failed::Aborted(reason)),
            _ => Err(Failed::Protocol),
        }
    }

    /// The best format that both processes have, or why there is none.
    fn agree(&self, greeting: &Greeting) -> Result<u32, String> {
        let Greeting { reads, version, program } = greeting;
        let own = self.build.source;
        tracing::info!(version, program, "another process asks for what this one serves");
        if self.stage.shutdown().is_requested() {
            return Err(Failed::Stopping.to_string());
        }
        if program != own {
            return Err(format!(
                "this process is of the program {own}, and the new one of {program}; give each a path of its own"
            ));
        }
        FORMATS.iter().copied().find(|format| reads.contains(format)).ok_or_else(|| {
            format!(
                "this process writes the formats {FORMATS:?} of a hand-over, and the new one reads {reads:?}; restart instead"
            )
        })
    }

    /// Stands still, and hands over. If that fails, the process goes on where it was.
    async fn freeze_and_give(
        &mut self,
        channel: &mut Channel,
        lock: &Lock,
        format: u32,
    ) -> Result<Given, Failed> {
        self.holdings.prepare().await;
        self.tenure.enter(Phase::Settling);
        let settled = self.holdings.settle().await;
        let frozen_us = self.clock.now_us();
        let given = match settled {
            Ok(()) => self.give_and_commit(channel, lock, format, frozen_us / 1000).await,
            Err(failed) => Err(failed),
        };
        let (sent, closed) = match given {
            Ok(given) => given,
            Err(failed) => {
                if let Err(error) = lock.begin_round() {
                    tracing::error!(%error, "cannot write to the lock of hand-overs");
                }
                // So that it lets go of what it has opened. It may not have read this when this process dies; the round says
                // the same.
                abort(channel, &failed).await;
                self.holdings.resume().await;
                self.tenure.enter(Phase::Serving);
                return Err(failed);
            }
        };
        self.tenure.enter(Phase::Over);
        let pause = Duration::from_micros(self.clock.now_us() - frozen_us);
        self.holdings.leave().await;
        step("committed");
        // Only for the log and the operator.
        let _ = timeout(ANSWER_MAX, format::receive(channel)).await;
        Ok(Given { process: channel.peer_process(), sent, closed, pause })
    }

    async fn give_and_commit(
        &mut self,
        channel: &mut Channel,
        lock: &Lock,
        format: u32,
        frozen_ms: u64,
    ) -> Result<(Sent, u64), Failed> {
        self.tenure.enter(Phase::Frozen);
        // Ports that are closed are so for both processes. Frozen ones stay as they are.
        if self.stage.shutdown().is_requested() {
            return Err(Failed::Stopping);
        }
        let given = timeout(FROZEN_MAX, self.give(channel, format, frozen_ms)).await;
        let given = given.unwrap_or(Err(Failed::TimedOut))?;
        // From here on the new process serves, whatever becomes of it.
        timeout(ANSWER_MAX, commit(channel, lock)).await.unwrap_or(Err(Failed::TimedOut))?;
        Ok(given)
    }

    /// Sends everything, until the new process has prepared it.
    async fn give(
        &mut self,
        channel: &mut Channel,
        format: u32,
        frozen_ms: u64,
    ) -> Result<(Sent, u64), Failed> {
        self.holdings.park().await?;
        step("frozen");
        let mut outgoing = Outgoing { channel, sent: Sent::default() };
        let Rest { bytes: rest, closed } = self.holdings.send(&mut outgoing).await?;
        let sent = outgoing.sent;
        send_added(channel, format).await?;
        let complete = Complete { connections: sent.sockets + sent.requests, rest, frozen_ms };
        say(channel, Said::Complete(complete), &[]).await?;
        step("complete");
        match answer_within(FROZEN_MAX, channel).await? {
            (Said::Prepared(_), _) => Ok((sent, closed)),
            (Said::Abort(Abort { reason, .. }), _) => Err(Failed::Aborted(reason)),
            _ => Err(Failed::Protocol),
        }
    }
}

/// Sends connections to the new process.
#[derive(Debug)]
pub struct Outgoing<'a> {
    channel: &'a mut Channel,
    sent: Sent,
}

impl Outgoing<'_> {
    /// Sends connections as data, with their sockets, which stay open here.
    ///
    /// # Errors
    /// The other process is gone, or does not read.
    pub async fn send<'f>(
        &mut self,
        kind: Kind,
        connections: impl Iterator<Item = (Vec<u8>, BorrowedFd<'f>)> + Send,
    ) -> Result<(), Failed> {
        let (mut batch, mut files, mut weight) = (Vec::new(), Vec::new(), 0);
        for (connection, file) in connections {
            weight += connection.len();
            batch.push(connection);
            files.push(file);
            if files.len() == FILES_MAX || weight >= BATCH_WEIGHT {
                self.send_batch(kind, std::mem::take(&mut batch), &files).await?;
                (files, weight) = (Vec::new(), 0);
            }
        }
        if batch.is_empty() { Ok(()) } else { self.send_batch(kind, batch, &files).await }
    }

    async fn send_batch(
        &mut self,
        kind: Kind,
        connections: Vec<Vec<u8>>,
        files: &[BorrowedFd<'_>],
    ) -> Result<(), Failed> {
        let count = match kind {
            Kind::Socket => &mut self.sent.sockets,
            Kind::Request => &mut self.sent.requests,
        };
        *count += files.len() as u64;
        let batch = Batch {
            kind: kind.into(),
            connections,
            #[cfg(feature = "next-format")]
            added: format::next::ADDED.to_owned(),
        };
        say(self.channel, Said::Batch(batch), files).await
    }
}

/// What the next format has besides, if it was agreed on.
#[cfg(feature = "next-format")]
async fn send_added(channel: &mut Channel, format: u32) -> Result<(), Failed> {
    if format < format::next::FORMAT {
        return Ok(());
    }
    let text = format::next::ADDED.to_owned();
    say(channel, Said::Added(format::next::Added { text }), &[]).await
}

#[cfg(not(feature = "next-format"))]
async fn send_added(_: &mut Channel, _: u32) -> Result<(), Failed> {
    Ok(())
}

async fn commit(channel: &mut Channel, lock: &Lock) -> Result<(), Failed> {
    step("prepared");
    Ok(format::send(channel, Said::Commit(Commit {}), &[lock.to_pass_on()]).await?)
}

async fn abort(channel: &mut Channel, failed: &Failed) {
    let is_stopping = matches!(failed, Failed::Stopping);
    let abort = Said::Abort(Abort { reason: failed.to_string(), is_stopping });
    // It may be gone.
    let _ = timeout(ABORT_MAX, format::send(channel, abort, &[])).await;
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
