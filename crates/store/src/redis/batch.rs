//! Commands of concurrent callers, sent together.
//!
//! A system call for each command costs more than the command. So one task takes commands from all callers; when
//! one is there it lets the other tasks that are ready run once, takes what they have asked for meanwhile too, and
//! hands all of it to the connection as one pipeline. It does not wait for anything but tasks that are ready, so a
//! lone command is not delayed.
//!
//! A patient command, which no peer waits for, goes with the next pipeline; and if there is none, then [`PAUSE`] after
//! the last one. That makes one pipeline of the acknowledgements of a node's clients, each of which
//! would wake Redis and this node for itself.

use redis::{Cmd, ErrorKind, Pipeline, RedisError, Value, aio::ConnectionManager};
use std::{mem, pin::pin, time::Duration};
use tokio::{
    sync::{mpsc, oneshot},
    task::{JoinSet, yield_now},
    time::{Instant, sleep_until, timeout},
};

/// Commands in one pipeline at most.
const BATCH_LEN_MAX: usize = 256;

/// Pipelines under way at once. Further commands wait in the queue.
const BATCHES_MAX: usize = 64;

/// Commands of either haste that wait to be put into a pipeline. Further callers wait, within their time limit.
const QUEUE_LEN_MAX: usize = 1024;

/// Time from one pipeline to the next that is sent for patient commands alone, unless more of them wait than one takes.
/// The runtime's timer rounds it up by a millisecond at most.
const PAUSE: Duration = Duration::from_millis(2);

/// How soon a command has to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Haste {
    /// A peer waits for the outcome.
    AtOnce,
    /// No peer waits for the outcome, only later steps of the same session: it may wait for others, a few milliseconds.
    Patient,
}

/// The way for a command into the next pipeline.
#[derive(Debug)]
pub(super) struct Batcher {
    at_once: mpsc::Sender<Request>,
    patient: mpsc::Sender<Request>,
    /// The task that sends pipelines; it ends with the batcher.
    _task: JoinSet<()>,
}

#[derive(Debug)]
struct Request {
    command: Cmd,
    reply: oneshot::Sender<Result<Value, RedisError>>,
}

impl Batcher {
    /// Starts to send pipelines, each of which is given up after the time limit.
    pub(super) fn start(manager: ConnectionManager, limit: Duration) -> Self {
        Self::with(move |batch| send(manager.clone(), batch, limit))
    }

    fn with<Sending>(send: impl Fn(Vec<Request>) -> Sending + Send + 'static) -> Self
    where
        Sending: Future<Output = ()> + Send + 'static,
    {
        let (at_once, hasty_requests) = mpsc::channel(QUEUE_LEN_MAX);
        let (patient, patient_requests) = mpsc::channel(QUEUE_LEN_MAX);
        let mut task = JoinSet::new();
        task.spawn(run(hasty_requests, patient_requests, send));
        Self { at_once, patient, _task: task }
    }

    /// Sends a command and waits for its answer. One whose caller has given up before it was sent is not sent.
    pub(super) async fn send(&self, command: Cmd, haste: Haste) -> Result<Value, RedisError> {
        let (reply, answer) = oneshot::channel();
        let requests = match haste {
            Haste::AtOnce => &self.at_once,
            Haste::Patient => &self.patient,
        };
        // The task lives as long as the batcher, and answers every request.
        if requests.send(Request { command, reply }).await.is_err() {
            return Err(lost());
        }
        answer.await.unwrap_or_else(|_| Err(lost()))
    }
}

/// Sends pipelines until nobody can ask any more.
async fn run<Sending>(
    mut at_once: mpsc::Receiver<Request>,
    mut patient: mpsc::Receiver<Request>,
    send: impl Fn(Vec<Request>) -> Sending,
) where
    Sending: Future<Output = ()> + Send + 'static,
{
    let mut under_way = JoinSet::new();
    let mut pause_end = now();
    let mut pause = pin!(sleep_until(pause_end));
    // While it is not empty, it has the first patient request, which waits for the end of the pause. The others
    // wait in their queue, and so wake nobody.
    let mut batch = Vec::new();
    loop {
        let has_room = under_way.len() < BATCHES_MAX;
        tokio::select! {
            Some(_) = under_way.join_next() => continue,
            request = at_once.recv(), if has_room => match request {
                Some(request) => batch.push(request),
                None => break,
            },
            request = patient.recv(), if has_room && batch.is_empty() => match request {
                Some(request) => {
                    batch.push(request);
                    if now() < pause_end {
                        pause.as_mut().reset(pause_end);
                        continue;
                    }
                }
                None => break,
            },
            () = pause.as_mut(), if has_room && !batch.is_empty() => {}
        }
        yield_now().await;
        // Half of the room is for the patient ones, which would otherwise go last when many have gathered.
        fill(&mut batch, &mut patient, BATCH_LEN_MAX / 2);
        fill(&mut batch, &mut at_once, BATCH_LEN_MAX);
        fill(&mut batch, &mut patient, BATCH_LEN_MAX);
        batch.retain(|request| !request.reply.is_closed());
        if batch.is_empty() {
            continue;
        }
        under_way.spawn(send(mem::take(&mut batch)));
        if patient.is_empty() {
            pause_end = now() + PAUSE;
        }
    }
    under_way.join_all().await;
}

/// Adds what has been asked for, up to this length.
fn fill(batch: &mut Vec<Request>, requests: &mut mpsc::Receiver<Request>, len_max: usize) {
    while batch.len() < len_max
        && let Ok(request) = requests.try_recv()
    {
        batch.push(request);
    }
}

/// Sends one pipeline and hands out the answers.
async fn send(mut manager: ConnectionManager, batch: Vec<Request>, limit: Duration) {
    let mut pipeline = Pipeline::with_capacity(batch.len());
    let mut replies = Vec::with_capacity(batch.len());
    for Request { command, reply } in batch {
        pipeline.add_command(command);
        replies.push(reply);
    }
    let count = replies.len();
    let answer = match timeout(limit, manager.send_packed_commands(&pipeline, 0, count)).await {
        Ok(Ok(values)) if values.len() == count => Ok(values),
        Ok(Ok(_)) => Err(lost()),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(RedisError::from((ErrorKind::Io, "no answer within the time limit"))),
    };
    match answer {
        // Whoever does not wait any more does not want to know.
        Ok(values) => replies.into_iter().zip(values).for_each(|(reply, value)| {
            let _ = reply.send(value.extract_error());
        }),
        Err(error) => replies.into_iter().for_each(|reply| {
            let _ = reply.send(Err(error.clone()));
        }),
    }
}

#[expect(clippy::disallowed_methods, reason = "the clock of the timer that ends the pause")]
fn now() -> Instant {
    Instant::now()
}

fn lost() -> RedisError {
    RedisError::from((ErrorKind::Io, "the connection was closed before the answer"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::time::{advance, sleep};

    /// A batcher whose commands are all answered, its callers, and how many commands were in each pipeline.
    struct Bench {
        batcher: Arc<Batcher>,
        callers: JoinSet<Result<Value, RedisError>>,
        sent: mpsc::Receiver<usize>,
    }

    impl Bench {
        fn new() -> Self {
            let (sizes, sent) = mpsc::channel(QUEUE_LEN_MAX);
            let batcher = Batcher::with(move |batch| {
                sizes.try_send(batch.len()).unwrap();
                async move {
                    for request in batch {
                        let _ = request.reply.send(Ok(Value::Okay));
                    }
                }
            });
            Self { batcher: Arc::new(batcher), callers: JoinSet::new(), sent }
        }

        fn ask(&mut self, haste: Haste) {
            let batcher = self.batcher.clone();
            self.callers.spawn(async move { batcher.send(redis::cmd("PING"), haste).await });
        }

        /// The sizes of the pipelines that are sent until every task waits for something else than its turn.
        async fn sizes(&mut self) -> Vec<usize> {
            for _ in 0..20 {
                yield_now().await;
            }
            std::iter::from_fn(|| self.sent.try_recv().ok()).collect()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_asked_at_the_same_moment_is_sent_together() {
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
    async fn more_patient_commands_than_a_pipeline_takes_are_sent_in_one_go() {
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
    async fn neither_haste_keeps_the_other_out() {
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
    async fn patient_commands_go_with_the_next_one_that_is_sent_at_once() {
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
    async fn who_has_given_up_is_not_sent_for() {
        let mut bench = Bench::new();
        bench.ask(Haste::Patient);
        assert_eq!(bench.sizes().await, [1]);
        let given_up = timeout(Duration::ZERO, bench.batcher.send(redis::cmd("PING"), Haste::Patient)).await;
        assert!(given_up.is_err());
        bench.ask(Haste::AtOnce);
        assert_eq!(bench.sizes().await, [1]);
    }
}
