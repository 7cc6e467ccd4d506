//! The queue of a link: commands of concurrent callers, gathered into pipelines.
//!
//! A system call for each command costs more than the command. So when a command arrives, the queue lets the other ready
//! tasks run once, takes the commands that they submit as well, and returns them all as one pipeline. It waits only for
//! tasks that are ready, so a lone command is not delayed.
//!
//! A patient command, which no peer waits for, goes with the next pipeline, or a [`PAUSE`] after the last one if there is
//! no other. So the acknowledgements of a node's clients share a pipeline, instead of waking Redis and this node for
//! each of them. In a Redis Cluster they are spread over the primaries, so the pause is longer there: as many share a
//! pipeline as on one server.

use super::{address::Node, dial::now, fault::Fault};
use redis::{Cmd, Value};
use std::{mem, pin::Pin, sync::Arc, time::Duration};
use tokio::{
    sync::{
        Notify,
        mpsc::{self, error::TrySendError},
        oneshot,
    },
    task::yield_now,
    time::{Instant, Sleep, sleep_until},
};

/// Commands in one pipeline.
pub(super) const BATCH_LEN_MAX: usize = 256;

/// Commands of each [`Haste`] that wait to be sent. Further ones are refused.
pub(super) const QUEUE_LEN_MAX: usize = 8192;

/// The shortest time between a pipeline and the next one that has only patient commands, unless more of them wait than
/// fit into one, for each primary that they are spread over. The runtime's timer rounds it up by up to a millisecond.
const PAUSE: Duration = Duration::from_millis(2);

/// More primaries than this make the pause no longer.
const PAUSE_PRIMARIES_MAX: u32 = 3;

/// How soon a command has to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Haste {
    /// A peer waits for the outcome.
    AtOnce,
    /// No peer waits for the outcome, only later steps of the same session: it may be delayed by the pause.
    Patient,
    /// It can be asked for again later, and is refused while the primary has enough to do. It may be delayed, too.
    Spare,
}

/// When a step was sent that may have been executed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Since {
    pub(super) at: Instant,
    /// What the clock of its primary showed then, in milliseconds since the Unix epoch, if that was known. It may have jumped, or
    /// another server may be the primary.
    pub(super) clock_ms: Option<u64>,
}

/// A command and the channel for its answer.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) command: Cmd,
    /// When it was sent first, for a script that notes a repetition and may have been executed already.
    pub(super) since: Option<Since>,
    /// When its caller gives up, for a script that takes its deadline as the last argument.
    pub(super) deadline: Option<Instant>,
    /// Whether `ASKING` goes before it.
    pub(super) asking: bool,
    /// Whether replicas have to have what it has written.
    pub(super) replicated: bool,
    pub(super) reply: oneshot::Sender<Result<Reply, Fault>>,
}

/// An answer, and the server that has given it: another allocation for each connection.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reply {
    pub(super) value: Value,
    pub(super) from: Arc<Node>,
}

/// The end of the queue that callers have.
#[derive(Debug)]
pub(super) struct Submitter {
    at_once: mpsc::Sender<Request>,
    patient: mpsc::Sender<Request>,
    hurry: Arc<Notify>,
}

/// The end of the queue that the link has.
#[derive(Debug)]
pub(super) struct Queue {
    at_once: mpsc::Receiver<Request>,
    patient: mpsc::Receiver<Request>,
    /// The next pipeline. The first patient command waits here for the end of the pause; later ones stay in their channel,
    /// so that they do not wake the task.
    batch: Vec<Request>,
    /// Whether the batch is to be sent as soon as the ready tasks have run.
    is_due: bool,
    pause_len: Duration,
    pause_end: Instant,
    pause: Pin<Box<Sleep>>,
    /// Notified to end the pause.
    hurry: Arc<Notify>,
}

/// An empty queue.
pub(super) fn queue() -> (Submitter, Queue) {
    let (at_once, hasty_requests) = mpsc::channel(QUEUE_LEN_MAX);
    let (patient, patient_requests) = mpsc::channel(QUEUE_LEN_MAX);
    let (pause_end, hurry) = (now(), Arc::<Notify>::default());
    let queue = Queue {
        at_once: hasty_requests,
        patient: patient_requests,
        batch: Vec::new(),
        is_due: false,
        pause_len: PAUSE,
        pause_end,
        pause: Box::pin(sleep_until(pause_end)),
        hurry: hurry.clone(),
    };
    (Submitter { at_once, patient, hurry }, queue)
}

impl Submitter {
    /// Adds a command. False if the queue is full.
    pub(super) fn try_submit(&self, request: Request, haste: Haste) -> bool {
        let sender = match haste {
            Haste::AtOnce => &self.at_once,
            Haste::Patient | Haste::Spare => &self.patient,
        };
        // If the link has ended, the request is dropped, which its caller notices.
        !matches!(sender.try_send(request), Err(TrySendError::Full(_)))
    }

    /// Ends the pause of the patient command that waits, or of the next one if none does.
    pub(super) fn hurry(&self) {
        self.hurry.notify_one();
    }

    /// The number of commands that wait.
    pub(super) fn len(&self) -> usize {
        let waiting = |sender: &mpsc::Sender<Request>| sender.max_capacity() - sender.capacity();
        waiting(&self.at_once) + waiting(&self.patient)
    }
}

impl Queue {
    /// Commands are spread over so many primaries, of which this queue is for one.
    pub(super) fn spread_over(&mut self, primaries: usize) {
        let primaries = u32::try_from(primaries).unwrap_or(PAUSE_PRIMARIES_MAX);
        self.pause_len = PAUSE * primaries.clamp(1, PAUSE_PRIMARIES_MAX);
    }

    /// Waits until a pipeline is due and returns its commands, as many as there is `room` for, without those whose callers
    /// have given up. `None` when all submitters are gone. Cancel safe.
    pub(super) async fn next(&mut self, room: usize) -> Option<Vec<Request>> {
        let len_max = room.min(BATCH_LEN_MAX);
        loop {
            if !self.is_due {
                self.wait().await?;
            }
            yield_now().await;
            // Half of the room is reserved for patient commands, which would starve otherwise.
            fill(&mut self.batch, &mut self.patient, len_max / 2);
            fill(&mut self.batch, &mut self.at_once, len_max);
            fill(&mut self.batch, &mut self.patient, len_max);
            self.is_due = false;
            self.batch.retain(|request| !request.reply.is_closed());
            if self.batch.is_empty() {
                continue;
            }
            if self.patient.is_empty() {
                self.pause_end = now() + self.pause_len;
            }
            return Some(mem::take(&mut self.batch));
        }
    }

    /// Waits for a command that is to be sent at once, or for the end of the pause of a patient one.
    async fn wait(&mut self) -> Option<()> {
        while !self.is_due {
            tokio::select! {
                request = self.at_once.recv() => {
                    self.batch.push(request?);
                    self.is_due = true;
                }
                request = self.patient.recv(), if self.batch.is_empty() => {
                    self.batch.push(request?);
                    if now() < self.pause_end {
                        self.pause.as_mut().reset(self.pause_end);
                    } else {
                        self.is_due = true;
                    }
                }
                () = self.pause.as_mut(), if !self.batch.is_empty() => self.is_due = true,
                () = self.hurry.notified(), if !self.batch.is_empty() => self.is_due = true,
            }
        }
        Some(())
    }

    /// Returns a batch of [`Queue::next`] that could not be sent; it is the next pipeline.
    pub(super) fn put_back(&mut self, batch: Vec<Request>) {
        self.batch = batch;
        self.is_due = true;
    }

    /// Answers every waiting command with this fault.
    pub(super) fn refuse_all(&mut self, fault: &Fault) {
        let waiting = self.batch.drain(..);
        let queued = std::iter::from_fn(|| self.at_once.try_recv().or_else(|_| self.patient.try_recv()).ok());
        for request in waiting.chain(queued) {
            // The caller may have given up.
            let _ = request.reply.send(Err(fault.clone()));
        }
        self.is_due = false;
    }

    /// Whether no command waits.
    pub(super) fn is_empty(&self) -> bool {
        self.batch.is_empty() && self.at_once.is_empty() && self.patient.is_empty()
    }
}

/// Adds commands to a batch, up to this length.
fn fill(batch: &mut Vec<Request>, requests: &mut mpsc::Receiver<Request>, len_max: usize) {
    while batch.len() < len_max
        && let Ok(request) = requests.try_recv()
    {
        batch.push(request);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::{
        task::JoinSet,
        time::{advance, sleep, timeout},
    };

    /// A queue whose commands are all answered, its callers, and the lengths of its pipelines.
    struct Bench {
        submitter: Arc<Submitter>,
        callers: JoinSet<Result<Reply, Fault>>,
        sent: mpsc::Receiver<usize>,
        _sending: JoinSet<()>,
    }

    /// Submits a command and waits for the answer.
    async fn ask(submitter: Arc<Submitter>, haste: Haste) -> Result<Reply, Fault> {
        let (reply, answer) = oneshot::channel();
        assert!(submitter.try_submit(
            Request {
                command: redis::cmd("PING"),
                since: None,
                deadline: None,
                asking: false,
                replicated: false,
                reply
            },
            haste
        ));
        answer.await.unwrap()
    }

    impl Bench {
        fn new() -> Self {
            let (sizes, sent) = mpsc::channel(QUEUE_LEN_MAX);
            let (submitter, mut queue) = queue();
            let mut sending = JoinSet::new();
            sending.spawn(async move {
                while let Some(batch) = queue.next(BATCH_LEN_MAX).await {
                    sizes.try_send(batch.len()).unwrap();
                    for request in batch {
                        let from = Arc::new(Node { host: "h".into(), port: 1 });
                        let _ = request.reply.send(Ok(Reply { value: Value::Okay, from }));
                    }
                }
            });
            Self { submitter: Arc::new(submitter), callers: JoinSet::new(), sent, _sending: sending }
        }

        fn ask(&mut self, haste: Haste) {
            self.callers.spawn(ask(self.submitter.clone(), haste));
        }

        /// The lengths of the pipelines that are sent until no task is ready any more.
        async fn sizes(&mut self) -> Vec<usize> {
            for _ in 0..20 {
                yield_now().await;
            }
            std::iter::from_fn(|| self.sent.try_recv().ok()).collect()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn commands_submitted_at_the_same_moment_share_a_pipeline() {
        let mut bench = Bench::new();
        for _ in 0..10 {
            bench.ask(Haste::AtOnce);
        }
        assert_eq!(bench.sizes().await, [10]);
        for _ in 0..BATCH_LEN_MAX + 1 {
            bench.ask(Haste::AtOnce);
        }
        assert_eq!(bench.sizes().await, [BATCH_LEN_MAX, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_patient_command_is_sent_at_once_and_the_next_ones_after_a_pause() {
        let mut bench = Bench::new();
        bench.ask(Haste::Patient);
        assert_eq!(bench.sizes().await, [1]);
        for _ in 0..10 {
            bench.ask(Haste::Patient);
            assert_eq!(bench.sizes().await, [0; 0]);
        }
        advance(PAUSE - Duration::from_millis(1)).await;
        assert_eq!(bench.sizes().await, [0; 0]);
        // The timer counts in milliseconds, and rounds up.
        sleep(Duration::from_millis(2)).await;
        assert_eq!(bench.sizes().await, [10]);
        sleep(PAUSE * 2).await;
        bench.ask(Haste::Patient);
        assert_eq!(bench.sizes().await, [1], "the pause is over");
    }

    #[tokio::test(start_paused = true)]
    async fn the_pause_is_longer_for_more_primaries_up_to_three() {
        let (submitter, mut queue) = queue();
        let ms = |count| Duration::from_millis(count);
        for (primaries, pause) in [(1, ms(2)), (0, ms(2)), (2, ms(4)), (3, ms(6)), (1000, ms(6))] {
            queue.spread_over(primaries);
            // The first two only begin a pause of this length.
            for expected in [None, None, Some(pause)] {
                let (reply, _answer) = oneshot::channel();
                let command = redis::cmd("PING");
                let request =
                    Request { command, since: None, deadline: None, asking: false, replicated: false, reply };
                assert!(submitter.try_submit(request, Haste::Patient));
                let start = now();
                assert_eq!(queue.next(BATCH_LEN_MAX).await.unwrap().len(), 1);
                if let Some(pause) = expected {
                    let waited = start.elapsed();
                    assert!(waited >= pause && waited <= pause + ms(1), "{primaries}: {waited:?}");
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_ended_in_a_hurry() {
        let mut bench = Bench::new();
        bench.ask(Haste::Patient);
        assert_eq!(bench.sizes().await, [1]);
        for _ in 0..3 {
            bench.ask(Haste::Patient);
            assert_eq!(bench.sizes().await, [0; 0]);
        }
        bench.submitter.hurry();
        assert_eq!(bench.sizes().await, [3]);
        // Also if the command comes after it.
        bench.submitter.hurry();
        bench.ask(Haste::Patient);
        assert_eq!(bench.sizes().await, [1]);
        bench.ask(Haste::Patient);
        assert_eq!(bench.sizes().await, [0; 0], "once");
    }

    #[tokio::test(start_paused = true)]
    async fn patient_commands_that_fill_a_pipeline_are_not_delayed_again() {
        let mut bench = Bench::new();
        bench.ask(Haste::Patient);
        assert_eq!(bench.sizes().await, [1]);
        for _ in 0..BATCH_LEN_MAX + 44 {
            bench.ask(Haste::Patient);
        }
        assert_eq!(bench.sizes().await, [0; 0]);
        sleep(PAUSE + Duration::from_millis(1)).await;
        assert_eq!(bench.sizes().await, [BATCH_LEN_MAX, 44]);
    }

    #[tokio::test(start_paused = true)]
    async fn neither_haste_starves_the_other() {
        let mut bench = Bench::new();
        bench.ask(Haste::Patient);
        assert_eq!(bench.sizes().await, [1]);
        for _ in 0..BATCH_LEN_MAX {
            bench.ask(Haste::Patient);
            bench.ask(Haste::AtOnce);
        }
        assert_eq!(bench.sizes().await, [BATCH_LEN_MAX, BATCH_LEN_MAX]);
    }

    #[tokio::test(start_paused = true)]
    async fn patient_commands_join_the_next_command_that_is_sent_at_once() {
        let mut bench = Bench::new();
        bench.ask(Haste::AtOnce);
        assert_eq!(bench.sizes().await, [1]);
        for _ in 0..3 {
            bench.ask(Haste::Patient);
            assert_eq!(bench.sizes().await, [0; 0]);
        }
        bench.ask(Haste::AtOnce);
        assert_eq!(bench.sizes().await, [4]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pipeline_is_no_longer_than_there_is_room_for() {
        let (submitter, mut queue) = queue();
        let offer = |haste| {
            let (reply, answer) = oneshot::channel();
            let request = Request {
                command: redis::cmd("PING"),
                since: None,
                deadline: None,
                asking: false,
                replicated: false,
                reply,
            };
            assert!(submitter.try_submit(request, haste));
            answer
        };
        let _answers: Vec<_> = (0..10).flat_map(|_| [offer(Haste::AtOnce), offer(Haste::Spare)]).collect();
        for len in [2, 7, 11] {
            assert_eq!(queue.next(len).await.unwrap().len(), len);
        }
        assert!(queue.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_sent_for_a_caller_that_has_given_up() {
        let mut bench = Bench::new();
        bench.ask(Haste::Patient);
        assert_eq!(bench.sizes().await, [1]);
        let given_up = timeout(Duration::ZERO, ask(bench.submitter.clone(), Haste::Patient)).await;
        assert!(given_up.is_err());
        bench.ask(Haste::AtOnce);
        assert_eq!(bench.sizes().await, [1]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_refuses_and_a_refused_queue_is_empty() {
        let (submitter, mut queue) = queue();
        let offer = || {
            let (reply, answer) = oneshot::channel();
            let request = Request {
                command: redis::cmd("PING"),
                since: None,
                deadline: None,
                asking: false,
                replicated: false,
                reply,
            };
            submitter.try_submit(request, Haste::AtOnce).then_some(answer)
        };
        let waiting: Vec<_> = std::iter::from_fn(offer).collect();
        assert_eq!((waiting.len(), submitter.len()), (QUEUE_LEN_MAX, QUEUE_LEN_MAX));
        // A batch that was put back is refused as well.
        let batch = queue.next(BATCH_LEN_MAX).await.unwrap();
        queue.put_back(batch);
        let fault = Fault::refused(crate::Cause::Loading, "LOADING");
        queue.refuse_all(&fault);
        assert!(queue.is_empty());
        for answer in waiting {
            assert_eq!(answer.await.unwrap(), Err(fault.clone()));
        }
    }
}
