//! What is on its way to one connection-node, and which of its connections missed something.
//!
//! Pure: time comes in, replies go out. A lock of its [`Link`](super::link::Link) guards it.

use crate::metrics::Metrics;
use beckon_proto::{
    convert,
    delivery::{Parcel, Receipt, Undelivered},
    push_v1 as wire,
    transport::{PARCELS_MAX, REQUEST_WEIGHT_MAX},
};
use beckon_types::{Cause, ConnectionId, Moment, NodeId, Notification, Presence};
use std::{
    collections::{BTreeSet, VecDeque},
    task::Waker,
};
use tokio::sync::oneshot;

/// How many parcels may wait to be sent to a node; one more is [`Undelivered::Overloaded`].
pub(super) const OUTBOX_MAX: usize = 16_384;

/// How many sent parcels may wait for their receipt; more stay in the outbox.
pub(super) const IN_FLIGHT_MAX: usize = 16_384;

/// How many connections of a node are remembered. One more is not told to re-read the store: its client gets what it
/// missed with the next nudge for another notification, or at its next hello.
pub(super) const MISSED_MAX: usize = 65_536;

/// Where the outcome of a parcel goes.
pub(super) type Reply = oneshot::Sender<Result<Receipt, Undelivered>>;

/// An outcome that is due, to be sent when the lock is no longer held.
pub(super) type Settled = (Reply, Result<Receipt, Undelivered>);

/// A parcel that waits to be sent, or was sent and waits for its receipt.
#[derive(Debug)]
struct Waiting {
    parcel: Parcel,
    deadline: Moment,
    reply: Reply,
}

/// A parcel that was sent.
#[derive(Debug)]
enum Sent {
    Parcel(Waiting),
    /// No request waits for it.
    Nudge {
        connection: ConnectionId,
        deadline: Moment,
    },
}

impl Sent {
    fn connection(&self) -> ConnectionId {
        match self {
            Self::Parcel(sent) => sent.parcel.to.connection,
            Self::Nudge { connection, .. } => *connection,
        }
    }

    fn deadline(&self) -> Moment {
        match self {
            Self::Parcel(sent) => sent.deadline,
            Self::Nudge { deadline, .. } => *deadline,
        }
    }

    /// Where the outcome goes.
    fn reply(self) -> Option<Reply> {
        match self {
            Self::Parcel(sent) => Some(sent.reply),
            Self::Nudge { .. } => None,
        }
    }
}

/// How the node can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The first stream is being opened, or the one to the next process of a node that hands over: parcels wait for it.
    Opening,
    /// The stream works.
    Open,
    /// The last attempt failed, or the stream broke: parcels are refused until a stream works.
    Down,
    /// The node is gone, or this one shuts down.
    Closed,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Pending {
    node: NodeId,
    phase: Phase,
    /// The number of the stream that may take parcels. An older one that still lingers may not.
    stream: u64,
    outbox: VecDeque<Waiting>,
    /// Sent parcels in the order of their tags. Settled entries are `None`; the front entry never is.
    in_flight: VecDeque<Option<Sent>>,
    /// The tag of the first entry of `in_flight`.
    first_tag: u64,
    /// Connections that have to re-read the store and have not been told yet.
    missed: BTreeSet<ConnectionId>,
    /// A parcel timed out and nothing has come from the node since. Until something does, nudges go out one at a
    /// time, which is enough to find out that the node is back.
    silent: bool,
    /// Wakes the stream that had nothing to send.
    waker: Option<Waker>,
    metrics: Metrics,
}

impl Pending {
    /// Nothing is pending for a node to which no stream was opened yet.
    pub(super) fn new(node: NodeId, metrics: Metrics) -> Self {
        Self {
            node,
            phase: Phase::Opening,
            stream: 0,
            outbox: VecDeque::new(),
            in_flight: VecDeque::new(),
            first_tag: 0,
            missed: BTreeSet::new(),
            silent: false,
            waker: None,
            metrics,
        }
    }

    /// How the node can be reached.
    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    /// Queues a parcel, and returns the waker of a stream that had nothing to send. A parcel that is refused leaves
    /// its connection remembered, if that may still live.
    pub(super) fn offer(
        &mut self,
        parcel: Parcel,
        deadline: Moment,
        reply: Reply,
    ) -> Result<Option<Waker>, Undelivered> {
        let refused = match self.phase {
            Phase::Opening | Phase::Open if self.outbox.len() < OUTBOX_MAX => None,
            Phase::Opening | Phase::Open => Some(Undelivered::Overloaded),
            Phase::Down => Some(Undelivered::Broken),
            Phase::Closed => return Err(Undelivered::NodeGone),
        };
        if let Some(undelivered) = refused {
            self.remember(parcel.to.connection);
            return Err(undelivered);
        }
        self.outbox.push_back(Waiting { parcel, deadline, reply });
        Ok(self.waker.take())
    }

    /// A new stream is being opened: from now on only it may take parcels. Returns its number.
    pub(super) fn next_stream(&mut self) -> u64 {
        self.stream += 1;
        self.stream
    }

    /// The stream works: nudges may go out. Returns the waker of a stream that had nothing to send.
    pub(super) fn opened(&mut self) -> Option<Waker> {
        if self.phase != Phase::Closed {
            self.phase = Phase::Open;
        }
        self.silent = false;
        self.waker.take()
    }

    /// The next request for the stream of this number. `Err` if a newer stream has replaced it.
    pub(super) fn take_request(
        &mut self,
        stream: u64,
        nudge_deadline: Moment,
    ) -> Result<Option<wire::DeliverRequest>, Superseded> {
        if stream != self.stream || self.phase == Phase::Closed {
            return Err(Superseded);
        }
        let room = PARCELS_MAX.min(IN_FLIGHT_MAX.saturating_sub(self.in_flight.len()));
        let mut parcels = Vec::with_capacity(room.min(self.outbox.len()));
        let mut weight = 0;
        while parcels.len() < room && weight < REQUEST_WEIGHT_MAX {
            let Some(Waiting { mut parcel, deadline, reply }) = self.outbox.pop_front() else { break };
            // The two deadlines were set the same time ahead, so their difference is how long the parcel has waited.
            if let Notification::Message(message) = &mut parcel.notification
                && !message.age(nudge_deadline.since(deadline))
            {
                self.remember(parcel.to.connection);
                let _ = reply.send(Err(Undelivered::TimedOut));
                continue;
            }
            weight += parcel.notification.weight();
            parcels.push(convert::parcel_to_wire(self.next_tag(), &parcel));
            self.in_flight.push_back(Some(Sent::Parcel(Waiting { parcel, deadline, reply })));
        }
        while parcels.len() < room && self.may_nudge() {
            let Some(connection) = self.missed.pop_first() else { break };
            self.metrics.nudges_pending.dec();
            let to = Presence { node: self.node, connection };
            let (notification, cause) = (Notification::Missed, Cause::default());
            let nudge = Parcel { to, notification, previous: None, cause };
            parcels.push(convert::parcel_to_wire(self.next_tag(), &nudge));
            self.in_flight.push_back(Some(Sent::Nudge { connection, deadline: nudge_deadline }));
        }
        Ok((!parcels.is_empty()).then_some(wire::DeliverRequest { parcels }))
    }

    fn next_tag(&self) -> u64 {
        self.first_tag.wrapping_add(self.in_flight.len() as u64)
    }

    fn may_nudge(&self) -> bool {
        self.phase == Phase::Open && (!self.silent || self.in_flight.is_empty())
    }

    /// Keeps the waker of a stream that has nothing to send.
    pub(super) fn park(&mut self, waker: &Waker) {
        match &mut self.waker {
            Some(parked) => parked.clone_from(waker),
            None => self.waker = Some(waker.clone()),
        }
    }

    /// A receipt came; `None` if this version does not know what it says. One for a parcel that is unknown or already
    /// settled is ignored.
    pub(super) fn settle(&mut self, tag: u64, receipt: Option<Receipt>, settled: &mut Vec<Settled>) {
        self.silent = false;
        let index = usize::try_from(tag.wrapping_sub(self.first_tag)).unwrap_or(usize::MAX);
        if let Some(sent) = self.in_flight.get_mut(index).and_then(Option::take) {
            // A nudge, which has no reply, would be answered in the same way again.
            if receipt.is_none() && matches!(sent, Sent::Parcel(_)) {
                self.remember(sent.connection());
            }
            let receipt = receipt.ok_or(Undelivered::Unreadable);
            settled.extend(sent.reply().map(|reply| (reply, receipt)));
        }
        self.trim();
    }

    /// The waker of the stream, if the stream waits and there is something to send now.
    pub(super) fn take_waker_if_ready(&mut self) -> Option<Waker> {
        let ready = !self.outbox.is_empty() || (!self.missed.is_empty() && self.may_nudge());
        if ready { self.waker.take() } else { None }
    }

    /// Gives up on parcels whose deadline has passed.
    pub(super) fn expire(&mut self, now: Moment, settled: &mut Vec<Settled>) {
        while let Some(late) =
            self.in_flight.front_mut().and_then(|sent| sent.take_if(|sent| sent.deadline() <= now))
        {
            self.silent = true;
            self.remember(late.connection());
            settled.extend(late.reply().map(|reply| (reply, Err(Undelivered::TimedOut))));
            self.trim();
        }
        while self.outbox.front().is_some_and(|waiting| waiting.deadline <= now) {
            let Some(late) = self.outbox.pop_front() else { break };
            self.remember(late.parcel.to.connection);
            settled.push((late.reply, Err(Undelivered::TimedOut)));
        }
    }

    /// The stream has ended because the node hands over. Its process has posted nothing but what it has given a receipt for, so
    /// everything else is sent again to the next one.
    pub(super) fn handed_over(&mut self) {
        if self.phase != Phase::Closed {
            self.phase = Phase::Opening;
        }
        self.stream += 1;
        self.first_tag = self.next_tag();
        for sent in std::mem::take(&mut self.in_flight).into_iter().rev().flatten() {
            match sent {
                Sent::Parcel(waiting) => self.outbox.push_front(waiting),
                Sent::Nudge { connection, .. } => self.remember(connection),
            }
        }
    }

    /// The stream broke, or could not be opened.
    pub(super) fn broken(&mut self, settled: &mut Vec<Settled>) {
        if self.phase != Phase::Closed {
            self.phase = Phase::Down;
        }
        self.stream += 1;
        self.abandon(Undelivered::Broken, settled);
    }

    /// The node is gone, or this one shuts down: nothing more is sent. Returns the waker of a stream that had nothing
    /// to send.
    pub(super) fn close(&mut self, settled: &mut Vec<Settled>) -> Option<Waker> {
        self.phase = Phase::Closed;
        self.abandon(Undelivered::NodeGone, settled);
        self.metrics.nudges_pending.dec_by(i64::try_from(self.missed.len()).unwrap_or(i64::MAX));
        self.missed.clear();
        self.waker.take()
    }

    fn abandon(&mut self, why: Undelivered, settled: &mut Vec<Settled>) {
        self.first_tag = self.next_tag();
        for sent in std::mem::take(&mut self.in_flight).into_iter().flatten() {
            self.remember(sent.connection());
            settled.extend(sent.reply().map(|reply| (reply, Err(why))));
        }
        for waiting in std::mem::take(&mut self.outbox) {
            self.remember(waiting.parcel.to.connection);
            settled.push((waiting.reply, Err(why)));
        }
    }

    fn remember(&mut self, connection: ConnectionId) {
        if self.missed.len() >= MISSED_MAX && !self.missed.contains(&connection) {
            self.metrics.nudges_dropped.inc();
        } else if self.missed.insert(connection) {
            self.metrics.nudges_pending.inc();
        }
    }

    /// Drops settled entries from the front.
    fn trim(&mut self) {
        while let Some(None) = self.in_flight.front() {
            self.in_flight.pop_front();
            self.first_tag = self.first_tag.wrapping_add(1);
        }
    }
}

/// A stream was replaced by a newer one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Superseded;

#[cfg(test)]
mod tests;
