//! Commands of concurrent callers, sent together.
//!
//! A system call for each command costs more than the command. So one task takes commands from all callers; when
//! one is there it lets the other tasks that are ready run once, takes what they have asked for meanwhile too, and
//! hands all of it to the connection as one pipeline. It does not wait for anything but tasks that are ready, so a
//! lone command is not delayed.

use redis::{Cmd, ErrorKind, Pipeline, RedisError, Value, aio::ConnectionManager};
use std::time::Duration;
use tokio::{
    sync::{mpsc, oneshot},
    task::{JoinSet, yield_now},
    time::timeout,
};

/// Commands in one pipeline at most.
const BATCH_LEN_MAX: usize = 256;

/// Pipelines under way at once. Further commands wait in the queue.
const BATCHES_MAX: usize = 64;

/// Commands that wait to be put into a pipeline. Further callers wait, within their time limit.
const QUEUE_LEN_MAX: usize = 1024;

/// The way for a command into the next pipeline.
#[derive(Debug)]
pub(super) struct Batcher {
    requests: mpsc::Sender<Request>,
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
        let (sender, requests) = mpsc::channel(QUEUE_LEN_MAX);
        let mut task = JoinSet::new();
        task.spawn(run(manager, requests, limit));
        Self { requests: sender, _task: task }
    }

    /// Sends a command and waits for its answer. One whose caller has given up before it was sent is not sent.
    pub(super) async fn send(&self, command: Cmd) -> Result<Value, RedisError> {
        let (reply, answer) = oneshot::channel();
        // The task lives as long as the batcher, and answers every request.
        if self.requests.send(Request { command, reply }).await.is_err() {
            return Err(lost());
        }
        answer.await.unwrap_or_else(|_| Err(lost()))
    }
}

/// Sends pipelines until nobody can ask any more.
async fn run(manager: ConnectionManager, mut requests: mpsc::Receiver<Request>, limit: Duration) {
    let mut under_way = JoinSet::new();
    loop {
        let mut batch = Vec::new();
        tokio::select! {
            Some(_) = under_way.join_next() => continue,
            count = requests.recv_many(&mut batch, BATCH_LEN_MAX), if under_way.len() < BATCHES_MAX => {
                if count == 0 {
                    break;
                }
            }
        }
        yield_now().await;
        while batch.len() < BATCH_LEN_MAX
            && let Ok(request) = requests.try_recv()
        {
            batch.push(request);
        }
        batch.retain(|request| !request.reply.is_closed());
        under_way.spawn(send(manager.clone(), batch, limit));
    }
    under_way.join_all().await;
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

fn lost() -> RedisError {
    RedisError::from((ErrorKind::Io, "the connection was closed before the answer"))
}
