//! The queue of store steps: one is under way, the others wait in the order of their requests.

use crate::{
    api::Step,
    limits::{ACKS_MERGED_MAX, STEPS_WAITING_BYTES_MAX, STEPS_WAITING_MAX},
};
use beckon_types::{Ack, AddChannel, ChannelId, ClientId, Fetch, Place, Presence, Sequence, Spelling};
use std::{collections::VecDeque, mem};

/// What a client asks of the store, and what it needs for handling the outcome. A sequence is the last write that it knows of
/// when it asks.
#[derive(Debug, Clone)]
pub(crate) enum Job {
    /// A hello after the first: [`Step::Snapshot`], after which all that is pending is sent again.
    HelloAgain(Sequence),
    /// Register a channel: [`Step::AddChannel`].
    Register(Register),
    /// Unregister a channel: [`Step::RemoveChannel`].
    Unregister(Unregister),
    /// Acknowledge updates: [`Step::AckVersions`]. Empty once it is under way.
    AckVersions(Vec<Ack>),
    /// Acknowledge messages: [`Step::RemoveMessages`]. They are kept until the store has removed them.
    RemoveMessages(Vec<Place>),
    /// Re-read the record: [`Step::Snapshot`].
    Refresh(Sequence),
    /// Make sure that the socket owns the UAID, and renew the record: [`Step::Verify`].
    Verify(Sequence),
    /// Read stored messages: [`Step::Fetch`].
    Fetch(Fetch),
}

/// A register, until it is answered.
#[derive(Debug, Clone)]
pub(crate) struct Register {
    /// The message, for an error reply.
    pub(crate) request: Box<str>,
    /// What the store is asked for.
    pub(crate) add: AddChannel,
    /// Whether a notification for the channel came meanwhile. It was dropped, so the store has to be re-read.
    pub(crate) missed: bool,
}

/// An unregister, until it is answered.
#[derive(Debug, Clone)]
pub(crate) struct Unregister {
    /// The message, for an error reply.
    pub(crate) request: Box<str>,
    /// The channel.
    pub(crate) channel: ChannelId,
    /// How the message spells it, for the reply.
    pub(crate) spelling: Spelling,
}

impl Job {
    /// The step to ask for. Acknowledgements of updates are moved into it.
    fn step(&mut self, client: ClientId, presence: Presence) -> Step {
        match self {
            Self::Register(Register { add, .. }) => Step::AddChannel(*add),
            Self::Unregister(Unregister { channel, .. }) => Step::RemoveChannel(client, presence, *channel),
            Self::AckVersions(acks) => Step::AckVersions(client, mem::take(acks)),
            Self::RemoveMessages(places) => Step::RemoveMessages(client, places.clone()),
            Self::HelloAgain(_) | Self::Refresh(_) => Step::Snapshot(client, presence),
            Self::Fetch(fetch) => Step::Fetch(*fetch),
            Self::Verify(_) => Step::Verify(client, presence),
        }
    }

    /// Bytes that it holds on the heap.
    fn heap_bytes(&self) -> usize {
        match self {
            Self::Register(Register { request, .. }) | Self::Unregister(Unregister { request, .. }) => {
                request.len()
            }
            Self::AckVersions(acks) => size_of_val(acks.as_slice()),
            Self::RemoveMessages(places) => size_of_val(places.as_slice()),
            Self::HelloAgain(_) | Self::Refresh(_) | Self::Fetch(_) | Self::Verify(_) => 0,
        }
    }

    /// Whether it changes nothing in the store except for renewing the record, so that it is pointless once the socket
    /// has ended.
    fn is_read(&self) -> bool {
        match self {
            Self::HelloAgain(_) | Self::Refresh(_) | Self::Fetch(_) | Self::Verify(_) => true,
            Self::Register(_) | Self::Unregister(_) | Self::AckVersions(_) | Self::RemoveMessages(_) => false,
        }
    }

    fn is_acknowledgement(&self) -> bool {
        match self {
            Self::AckVersions(_) | Self::RemoveMessages(_) => true,
            Self::HelloAgain(_)
            | Self::Register(_)
            | Self::Unregister(_)
            | Self::Refresh(_)
            | Self::Fetch(_)
            | Self::Verify(_) => false,
        }
    }
}

/// The queue. It takes one pointer while it is empty.
#[derive(Debug, Clone, Default)]
pub(crate) struct Steps(Option<Box<Queue>>);

#[derive(Debug, Clone, Default)]
struct Queue {
    under_way: Option<Job>,
    waiting: VecDeque<Job>,
    /// Heap bytes of `waiting`.
    waiting_bytes: usize,
}

impl Steps {
    /// Whether no job is under way or waiting.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Heap bytes of the jobs.
    pub(crate) fn held(&self) -> usize {
        let held = |queue: &Queue| queue.waiting_bytes + queue.under_way.as_ref().map_or(0, Job::heap_bytes);
        self.0.as_deref().map_or(0, held)
    }

    /// Whether so much waits that no further message should be read.
    pub(crate) fn is_full(&self) -> bool {
        self.0.as_ref().is_some_and(|queue| {
            queue.waiting.len() >= STEPS_WAITING_MAX || queue.waiting_bytes >= STEPS_WAITING_BYTES_MAX
        })
    }

    /// Adds a job. Returns its step if nothing else is under way; otherwise it waits. An acknowledgement joins an
    /// acknowledgement at the end of the queue. `client` is asked for only if there is a step, because it is a hash.
    pub(crate) fn push(
        &mut self,
        mut job: Job,
        client: impl FnOnce() -> ClientId,
        presence: Presence,
    ) -> Option<Step> {
        let queue = self.0.get_or_insert_default();
        if queue.under_way.is_none() && queue.waiting.is_empty() {
            let step = job.step(client(), presence);
            queue.under_way = Some(job);
            return Some(step);
        }
        queue.waiting_bytes += job.heap_bytes();
        match (queue.waiting.back_mut(), job) {
            (Some(Job::AckVersions(last)), Job::AckVersions(acks))
                if last.len() + acks.len() <= ACKS_MERGED_MAX =>
            {
                last.extend(acks);
            }
            (Some(Job::RemoveMessages(last)), Job::RemoveMessages(places))
                if last.len() + places.len() <= ACKS_MERGED_MAX =>
            {
                last.extend(places);
            }
            (_, job) => queue.waiting.push_back(job),
        }
        None
    }

    /// Takes the job that was under way.
    pub(crate) fn finish(&mut self) -> Option<Job> {
        let job = self.0.as_mut()?.under_way.take();
        self.shrink();
        job
    }

    /// Moves the next job under way, unless there is one, and returns its step. `client` is asked for only then.
    pub(crate) fn start(&mut self, client: impl FnOnce() -> ClientId, presence: Presence) -> Option<Step> {
        let queue = self.0.as_mut()?;
        if queue.under_way.is_some() {
            return None;
        }
        let mut job = queue.waiting.pop_front()?;
        queue.waiting_bytes -= job.heap_bytes();
        let step = job.step(client(), presence);
        queue.under_way = Some(job);
        Some(step)
    }

    /// Drops the waiting jobs that only read.
    pub(crate) fn keep_writes(&mut self) {
        self.retain(|job| !job.is_read());
    }

    /// Drops the waiting jobs that only the owner of the UAID may ask for.
    pub(crate) fn keep_acknowledgements(&mut self) {
        self.retain(Job::is_acknowledgement);
    }

    /// Drops all waiting jobs.
    pub(crate) fn keep_none(&mut self) {
        self.retain(|_| false);
    }

    fn retain(&mut self, keep: impl Fn(&Job) -> bool) {
        if let Some(queue) = &mut self.0 {
            queue.waiting.retain(keep);
            queue.waiting_bytes = queue.waiting.iter().map(Job::heap_bytes).sum();
        }
        self.shrink();
    }

    /// Frees the memory of an empty queue.
    fn shrink(&mut self) {
        if self.0.as_ref().is_some_and(|queue| queue.under_way.is_none() && queue.waiting.is_empty()) {
            self.0 = None;
        }
    }

    /// All jobs, the one under way first.
    fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.0.iter().flat_map(|queue| queue.under_way.iter().chain(&queue.waiting))
    }

    fn jobs_mut(&mut self) -> impl Iterator<Item = &mut Job> {
        self.0.iter_mut().flat_map(|queue| queue.under_way.iter_mut().chain(&mut queue.waiting))
    }

    /// Whether the store is being read or will be.
    pub(crate) fn is_reading(&self) -> bool {
        self.jobs().any(Job::is_read)
    }

    /// Whether a snapshot is waiting, which will include everything that has been stored by now.
    pub(crate) fn has_snapshot_waiting(&self) -> bool {
        self.waiting().any(|job| matches!(job, Job::Refresh(_) | Job::HelloAgain(_)))
    }

    /// Whether a read is waiting that will show whether the socket owns the UAID, and which write was the last one.
    pub(crate) fn has_verification_waiting(&self) -> bool {
        self.waiting().any(|job| match job {
            Job::HelloAgain(_) | Job::Refresh(_) | Job::Verify(_) => true,
            Job::Register(_)
            | Job::Unregister(_)
            | Job::AckVersions(_)
            | Job::RemoveMessages(_)
            | Job::Fetch(_) => false,
        })
    }

    fn waiting(&self) -> impl Iterator<Item = &Job> {
        self.0.iter().flat_map(|queue| &queue.waiting)
    }

    /// Whether stored messages are being read or will be.
    pub(crate) fn is_fetching(&self) -> bool {
        self.jobs().any(|job| matches!(job, Job::Fetch(_)))
    }

    /// Whether a register of this channel is under way or waiting.
    pub(crate) fn is_registering(&self, id: ChannelId) -> bool {
        self.jobs().any(|job| matches!(job, Job::Register(register) if register.add.channel == id))
    }

    /// Whether an unregister of this channel is under way or waiting.
    pub(crate) fn is_unregistering(&self, id: ChannelId) -> bool {
        self.jobs().any(|job| matches!(job, Job::Unregister(unregister) if unregister.channel == id))
    }

    /// Whether an acknowledgement is waiting for which `removes` is true.
    pub(crate) fn is_acknowledging(&self, removes: impl Fn(&Ack) -> bool) -> bool {
        self.jobs().any(|job| matches!(job, Job::AckVersions(acks) if acks.iter().any(&removes)))
    }

    /// Whether an acknowledgement of the message at this place is under way or waiting.
    pub(crate) fn is_removing(&self, place: Place) -> bool {
        self.jobs().any(|job| matches!(job, Job::RemoveMessages(places) if places.contains(&place)))
    }

    /// Notes that a notification for this channel was dropped because the channel is still being registered.
    pub(crate) fn mark_missed(&mut self, id: ChannelId) {
        for job in self.jobs_mut() {
            if let Job::Register(register) = job
                && register.add.channel == id
            {
                register.missed = true;
            }
        }
    }
}
