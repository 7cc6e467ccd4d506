//! The queue of store steps: one under way, the others waiting in the order of their messages.

use super::Session;
use crate::{
    api::{Effect, Step},
    limits::{ACKS_MERGED_MAX, STEPS_WAITING_BYTES_MAX, STEPS_WAITING_MAX},
};
use beckon_types::{Ack, AddChannel, ChannelId, Fetch, Place, Presence, Spelling, Uaid};
use std::{collections::VecDeque, mem};

/// A step and what its outcome has to be answered with. A request is kept as long as it may get an error
/// reply.
#[derive(Debug, Clone)]
pub(crate) enum Job {
    /// The first hello, asked for by `greeting`.
    Greet(Greeting),
    /// A register.
    Register {
        request: Box<str>,
        add: AddChannel,
        /// Whether a delivery for the channel came meanwhile.
        missed: bool,
    },
    /// An unregister.
    Unregister { request: Box<str>, channel: ChannelId, spelling: Spelling },
    /// Acknowledgements of updates; empty once under way.
    Acknowledge(Vec<Ack>),
    /// Acknowledgements of messages; empty once under way.
    Remove(Vec<Place>),
    /// A look for what this session has not sent or should send again, or only to renew the record.
    Look,
    /// A look for stored messages.
    Fetch(Fetch),
    /// A hello after the first: what is pending is sent again.
    GreetAgain,
    /// The end of ownership.
    Release,
}

/// The first hello, while its step is under way.
#[derive(Debug, Clone)]
pub(crate) struct Greeting {
    /// The message, for an error reply.
    pub(crate) request: Box<str>,
    /// Whether the UAID that is being claimed was generated.
    pub(crate) generated: bool,
}

impl Job {
    /// The step to ask for. Acknowledgements move into it.
    fn step(&mut self, uaid: Uaid, presence: Presence) -> Step {
        match self {
            Self::Register { add, .. } => Step::AddChannel(*add),
            Self::Unregister { channel, .. } => Step::RemoveChannel(uaid, presence, *channel),
            Self::Acknowledge(acks) => Step::AckVersions(uaid, mem::take(acks)),
            Self::Remove(places) => Step::RemoveMessages(uaid, mem::take(places)),
            Self::Look | Self::GreetAgain => Step::Snapshot(uaid, presence),
            Self::Fetch(fetch) => Step::Fetch(*fetch),
            Self::Greet(_) | Self::Release => Step::Release(uaid, presence),
        }
    }

    /// Bytes that it holds on the heap.
    fn heap_bytes(&self) -> usize {
        match self {
            Self::Greet(Greeting { request, .. })
            | Self::Register { request, .. }
            | Self::Unregister { request, .. } => request.len(),
            Self::Acknowledge(acks) => size_of_val(acks.as_slice()),
            Self::Remove(places) => size_of_val(places.as_slice()),
            Self::Look | Self::GreetAgain | Self::Fetch(_) | Self::Release => 0,
        }
    }

    /// Whether it changes nothing that is stored, so that it need not be done for a socket that has ended.
    fn only_reads(&self) -> bool {
        match self {
            Self::Look | Self::GreetAgain | Self::Fetch(_) => true,
            Self::Greet(_)
            | Self::Register { .. }
            | Self::Unregister { .. }
            | Self::Acknowledge(_)
            | Self::Remove(_)
            | Self::Release => false,
        }
    }
}

/// The queue. An idle session holds a null pointer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Steps(Option<Box<Queue>>);

#[derive(Debug, Clone, Default)]
struct Queue {
    under_way: Option<Job>,
    waiting: VecDeque<Job>,
    /// Heap bytes of `waiting`.
    waiting_bytes: usize,
    /// Messages that came while the first hello was under way.
    held: VecDeque<(Frame, Box<str>)>,
}

/// How a message came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Frame {
    Text,
    Binary,
}

impl Steps {
    /// Whether nothing is under way, waiting or held.
    pub(crate) fn are_done(&self) -> bool {
        self.0.is_none()
    }

    /// Whether no further message is wanted.
    pub(crate) fn are_full(&self) -> bool {
        self.0.as_ref().is_some_and(|queue| {
            !queue.held.is_empty()
                || queue.waiting.len() >= STEPS_WAITING_MAX
                || queue.waiting_bytes >= STEPS_WAITING_BYTES_MAX
        })
    }

    /// Whether the first hello is under way.
    pub(crate) fn greets(&self) -> bool {
        self.0.as_ref().is_some_and(|queue| matches!(queue.under_way, Some(Job::Greet(_))))
    }

    /// Keeps a message until the hello is done.
    pub(crate) fn hold(&mut self, frame: Frame, text: &str) {
        self.0.get_or_insert_default().held.push_back((frame, text.into()));
    }

    /// The next message that was kept.
    pub(crate) fn unhold(&mut self) -> Option<(Frame, Box<str>)> {
        let held = self.0.as_mut()?.held.pop_front();
        self.tidy();
        held
    }

    /// Marks the first hello as under way.
    pub(crate) fn begin_greeting(&mut self, greeting: Greeting) {
        self.0.get_or_insert_default().under_way = Some(Job::Greet(greeting));
    }

    /// Puts a job under way and returns it, or has it wait behind the others. Acknowledgements join those at
    /// the end of the queue.
    fn push(&mut self, job: Job) -> Option<&mut Job> {
        let queue = self.0.get_or_insert_default();
        if queue.under_way.is_none() && queue.waiting.is_empty() {
            return Some(queue.under_way.insert(job));
        }
        queue.waiting_bytes += job.heap_bytes();
        match (queue.waiting.back_mut(), job) {
            (Some(Job::Acknowledge(last)), Job::Acknowledge(acks))
                if last.len() + acks.len() <= ACKS_MERGED_MAX =>
            {
                last.extend(acks);
            }
            (Some(Job::Remove(last)), Job::Remove(places))
                if last.len() + places.len() <= ACKS_MERGED_MAX =>
            {
                last.extend(places);
            }
            (_, job) => queue.waiting.push_back(job),
        }
        None
    }

    /// Moves the next job under way, unless one is.
    fn start(&mut self) -> Option<&mut Job> {
        let queue = self.0.as_mut()?;
        if queue.under_way.is_some() {
            return None;
        }
        let job = queue.waiting.pop_front()?;
        queue.waiting_bytes -= job.heap_bytes();
        Some(queue.under_way.insert(job))
    }

    /// Takes the job that was under way.
    pub(crate) fn finish(&mut self) -> Option<Job> {
        let job = self.0.as_mut()?.under_way.take();
        self.tidy();
        job
    }

    /// Forgets the messages that are held, and the waiting jobs that are not to be kept.
    pub(crate) fn keep(&mut self, keep: impl Fn(&Job) -> bool) {
        if let Some(queue) = &mut self.0 {
            queue.held.clear();
            queue.waiting.retain(keep);
            queue.waiting_bytes = queue.waiting.iter().map(Job::heap_bytes).sum();
        }
        self.tidy();
    }

    /// Forgets what a socket that has ended does not need.
    pub(crate) fn keep_writes(&mut self) {
        self.keep(|job| !job.only_reads());
    }

    /// Forgets what only the owner of a UAID may do.
    pub(crate) fn keep_acknowledgements(&mut self) {
        self.keep(|job| matches!(job, Job::Acknowledge(_) | Job::Remove(_)));
    }

    /// Gives the memory of an empty queue back.
    fn tidy(&mut self) {
        let empty =
            |queue: &Queue| queue.under_way.is_none() && queue.waiting.is_empty() && queue.held.is_empty();
        if self.0.as_deref().is_some_and(empty) {
            self.0 = None;
        }
    }

    /// All jobs, the one under way first.
    fn jobs_mut(&mut self) -> impl Iterator<Item = &mut Job> {
        self.0.iter_mut().flat_map(|queue| queue.under_way.iter_mut().chain(&mut queue.waiting))
    }

    fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.0.iter().flat_map(|queue| queue.under_way.iter().chain(&queue.waiting))
    }

    /// Whether a look into the store is under way or waiting.
    pub(crate) fn look(&self) -> bool {
        self.jobs().any(Job::only_reads)
    }

    /// Whether a snapshot waits, so that it will include what happens before now.
    pub(crate) fn will_look(&self) -> bool {
        self.0.iter().flat_map(|queue| &queue.waiting).any(Job::only_reads)
    }

    /// Whether a register of the channel is under way or waiting.
    pub(crate) fn register(&self, id: ChannelId) -> bool {
        self.jobs().any(|job| matches!(job, Job::Register { add, .. } if add.channel == id))
    }

    /// Whether an unregister of the channel is under way or waiting.
    pub(crate) fn unregister(&self, id: ChannelId) -> bool {
        self.jobs().any(|job| matches!(job, Job::Unregister { channel, .. } if *channel == id))
    }

    /// Whether an acknowledgement waits that removes what the test is true for.
    pub(crate) fn acknowledge(&self, removes: impl Fn(&Ack) -> bool) -> bool {
        self.jobs().any(|job| matches!(job, Job::Acknowledge(acks) if acks.iter().any(&removes)))
    }

    /// Whether a look for stored messages is under way or waiting.
    pub(crate) fn fetch(&self) -> bool {
        self.jobs().any(|job| matches!(job, Job::Fetch(_)))
    }

    /// Whether an acknowledgement waits that removes the message at this place.
    pub(crate) fn remove(&self, place: Place) -> bool {
        self.jobs().any(|job| matches!(job, Job::Remove(places) if places.contains(&place)))
    }

    /// Has a look into the store follow the registers of the channel.
    pub(crate) fn mark_missed(&mut self, id: ChannelId) {
        for job in self.jobs_mut() {
            if let Job::Register { add, missed, .. } = job
                && add.channel == id
            {
                *missed = true;
            }
        }
    }
}

impl Session {
    /// Has a step done, now or when those before it are done.
    pub(crate) fn ask(&mut self, job: Job, effects: &mut Vec<Effect>) {
        let Some(identity) = self.identity else { return };
        if let Some(job) = self.steps.push(job) {
            effects.push(Effect::Store(job.step(identity.uaid, self.presence)));
        }
    }

    /// Starts the next waiting step, unless one is under way. False if none waits.
    pub(super) fn start_next(&mut self, effects: &mut Vec<Effect>) -> bool {
        let Some(identity) = self.identity else { return false };
        if let Some(job) = self.steps.start() {
            effects.push(Effect::Store(job.step(identity.uaid, self.presence)));
        }
        !self.steps.are_done()
    }
}
